"""Every user-facing text exists in both languages, with the same placeholders."""

from __future__ import annotations

import ast
import json
import re
from importlib import resources
from pathlib import Path
from string import Formatter

import pytest

import d2lenv
from d2lenv import doctor
from d2lenv.base import messages

SOURCE = Path(d2lenv.__file__).parent
ROOT = Path(__file__).resolve().parents[2]


# In a template, `t("…")` and `t('…')` are messages.both().
IN_TEMPLATE = re.compile(r"""\bt\((?:"([^"]+)"|'([^']+)')""")


def texts_in_source() -> dict[str, str]:
    """English text → place, for each literal ``tr("…")`` in the package and ``t("…")`` in its templates."""
    found: dict[str, str] = {}
    for path in (ROOT / "run.py", *sorted(SOURCE.rglob("*.py"))):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "tr":
                first = node.args[0]
                assert isinstance(first, ast.Constant), f"{path}:{node.lineno}: tr() takes a literal"
                found[str(first.value)] = f"{path}:{node.lineno}"
    for path in sorted(SOURCE.rglob("*.j2")):
        for double, single in IN_TEMPLATE.findall(path.read_text(encoding="utf-8")):
            found[double or single] = str(path.relative_to(SOURCE))
    # The docstring of a finding is the explanation that the reader gets.
    for code, check in (*doctor.FINDINGS, *doctor.PLANNED):
        found[doctor.explanation_key(check)] = code
    return found


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


def test_every_text_has_a_chinese_one() -> None:
    missing = {text: place for text, place in texts_in_source().items() if text not in messages.chinese()}
    assert not missing


def test_no_chinese_text_is_left_over() -> None:
    assert not set(messages.chinese()) - set(texts_in_source())


@pytest.mark.parametrize("english", sorted(messages.chinese()))
def test_a_translation_has_the_same_placeholders(english: str) -> None:
    assert placeholders(messages.chinese()[english]) == placeholders(english)


def test_no_text_is_translated_twice() -> None:
    seen: dict[str, str] = {}
    for file in (resources.files("d2lenv") / "locale" / "zh_CN").iterdir():
        for text in json.loads(file.read_text(encoding="utf-8")):
            assert text not in seen, f"{text!r} stands in {seen[text]} and {file.name}"
            seen[text] = file.name


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"D2LENV_LANG": "zh"}, "zh"),
        ({"D2LENV_LANG": "en", "LANG": "zh_CN.UTF-8"}, "en"),
        ({"LC_ALL": "zh_CN.UTF-8", "LANG": "en_US.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({}, "en"),
    ],
)
def test_the_language_comes_from_the_variable_then_the_locale(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str
) -> None:
    for name in ("D2LENV_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert messages.language() == expected


def test_a_text_without_translation_is_shown_in_english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("D2LENV_LANG", "zh")
    shown = messages.tr  # under another name, so that the scan above does not ask for a translation
    assert shown("no such text {x}", x=1) == "no such text 1"


def test_foreign_text_for_the_terminal_keeps_chinese_and_shows_the_rest() -> None:
    assert messages.printable("数据 é\x1b[0m\u202e\n\udc80") == "数据 é\\x1b[0m\\u202e\\n\\udc80"
