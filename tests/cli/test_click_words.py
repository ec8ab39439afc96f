"""click's own words are in the reader's language too."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from string import Formatter

import click
import pytest

import d2lenv
from d2lenv.base import catalogue, messages

# The modules whose texts a command of ours can show: no prompt, no editor, no completion.
MODULES = ("core", "decorators", "exceptions", "formatting", "parser", "types")
# Texts for the programmer, and those of kinds of parameters and options that no command here has.
NOT_SHOWN = (
    "DeprecationWarning", "Could not determine name", "No options defined but", "Arguments take exactly one",
    "Name '{name}' defined twice", "Boolean option", "Value must be an iterable", "Do you want to continue?",
    "Confirm the action", "Choice(", "does not match the format", "is not a valid boolean",
    "values are required", "is not a valid UUID", "Invalid start character",
    "(Deprecated)", "{text} {deprecated_message}", "%(prog)s",
)  # fmt: skip


def clicks() -> set[str]:
    """The key of each text of the installed click that a reader can meet."""
    found = set()
    for module in MODULES:
        tree = ast.parse((Path(click.__file__).parent / f"{module}.py").read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in ("_", "ngettext")
            ):
                words = [word.value for word in node.args if isinstance(word, ast.Constant)]
                found.add("\0".join(word for word in words if isinstance(word, str)))
    return {text for text in found if text and not any(part in text for part in NOT_SHOWN)}


def translations(language: str) -> dict[str, str]:
    folder = Path(d2lenv.__file__).parent / "locale" / language
    texts = [path.read_text(encoding="utf-8") for path in folder.glob("*.po")]
    return {key: text for entries in map(catalogue.read, texts) for key, text in entries.items()}


def fields(text: str) -> set[str]:
    return {name for part in text.split("\0") for _, name, _, _ in Formatter().parse(part) if name}


@pytest.mark.parametrize("language", messages.languages()[1:])
def test_every_word_of_click_is_translated(language: str) -> None:
    known = translations(language)
    assert not clicks() - set(known)
    assert all(fields(known[text]) <= fields(text) for text in clicks())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("build", "--help"), ("用法: ", "选项:", "默认：auto", "显示本说明后退出。")),
        (("--help",), ("命令:", "显示版本号后退出。")),
        (("smoke",), ("用法: ", "smoke --help' 查看帮助。", "错误：缺少参数 'ENV'")),
        (("bild",), ("错误：没有命令 'bild'", "build")),
        (("build", "--x"), ("错误：没有选项 '--x'",)),
        (("books", "get", "nosuch"), ("的值无效：'nosuch' 不在可选值之中：",)),
    ],
)
def test_click_speaks_chinese(words: tuple[str, ...], expected: tuple[str, ...]) -> None:
    command = [sys.executable, "-X", "utf8", "-m", "d2lenv", "--lang", "zh", *words]
    answer = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    told = answer.stdout + answer.stderr
    for text in expected:
        assert text in told
    assert not [word for word in ("Usage", "Options", "Error", "Show", "Missing", "No such") if word in told]
