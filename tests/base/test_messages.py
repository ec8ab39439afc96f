"""Every user-facing text exists in every language, with the same placeholders."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import pytest

import d2lenv
from d2lenv import doctor
from d2lenv.base import catalogue, messages
from d2lenv.explain import rows

SOURCE = Path(d2lenv.__file__).parent
ROOT = Path(__file__).resolve().parents[2]
OTHERS = messages.languages()[1:]

CLICKS = "click.po"
"""click's own words: those of all its versions that are supported."""

# In a template, `t("…")` and `t('…')` are messages.each_language().
IN_TEMPLATE = re.compile(r"""\bt\((?:"([^"]+)"|'([^']+)')""")


def calls(path: Path) -> Iterator[tuple[str, str]]:
    """The key of each text in a module, as a .mo file has it, and its place."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        name = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
        if name in ("tr", "mark", "trn", "each_language") and path.name != "messages.py":
            assert isinstance(node, ast.Call)
            words = [word.value for word in node.args if isinstance(word, ast.Constant)]
            if name != "tr" and not words:
                continue  # a marked text on its way
            assert len(words) == (2 if name == "trn" else 1), f"{path}:{node.lineno}: {name}() takes literals"
            yield "\0".join(map(str, words)), f"{path}:{node.lineno}"


def texts_in_source() -> dict[str, str]:
    """Key → place, for each text in the package, in its templates and in run.py."""
    found = dict(pair for path in (ROOT / "run.py", *sorted(SOURCE.rglob("*.py"))) for pair in calls(path))
    for path in sorted(SOURCE.rglob("*.j2")):
        for double, single in IN_TEMPLATE.findall(path.read_text(encoding="utf-8")):
            found[double or single] = str(path.relative_to(SOURCE))
    # The docstring of a finding is the explanation that the reader gets.
    for code, check in (*doctor.FINDINGS, *doctor.PLANNED):
        found[doctor.explanation_key(check)] = code
    found.update(rows.texts())
    return found


def families(language: str) -> dict[str, dict[str, str]]:
    """File → key → translation, without the files' heads."""
    folder = SOURCE / "locale" / language
    found = {path.name: catalogue.read(path.read_text(encoding="utf-8")) for path in folder.iterdir()}
    return {name: {key: text for key, text in entries.items() if key} for name, entries in found.items()}


def translated(language: str) -> dict[str, str]:
    """Key → translation of our own texts."""
    return {
        key: text
        for name, entries in families(language).items()
        for key, text in entries.items()
        if name != CLICKS
    }


def placeholders(text: str) -> set[str]:
    return {
        name for part in text.split("\0") for _, name, _, _ in Formatter().parse(part) if name is not None
    }


@pytest.mark.parametrize("language", OTHERS)
def test_every_text_is_translated(language: str) -> None:
    known = translated(language)
    missing = {text: place for text, place in texts_in_source().items() if text not in known}
    assert not missing


@pytest.mark.parametrize("language", OTHERS)
def test_no_translation_is_left_over(language: str) -> None:
    assert not set(translated(language)) - set(texts_in_source())


@pytest.mark.parametrize("language", OTHERS)
def test_a_translation_has_the_same_placeholders(language: str) -> None:
    wrong = {
        key: text for key, text in translated(language).items() if placeholders(text) != placeholders(key)
    }
    assert not wrong


@pytest.mark.parametrize("language", OTHERS)
def test_every_file_of_a_language_says_which_it_is(language: str) -> None:
    for path in (SOURCE / "locale" / language).iterdir():
        assert f"Language: {language}\n" in catalogue.read(path.read_text(encoding="utf-8"))[""], path


@pytest.mark.parametrize("language", OTHERS)
def test_no_text_is_translated_twice(language: str) -> None:
    seen: dict[str, str] = {}
    for name in families(language):
        entries = re.findall(
            r'^msgid (".*(?:\n".*)*)', (SOURCE / "locale" / language / name).read_text("utf-8"), re.MULTILINE
        )
        for entry in entries:
            assert entry == '""' or entry not in seen, f"{entry} stands in {seen.get(entry)} and {name}"
            seen[entry] = name


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"D2LENV_LANG": "zh"}, "zh_CN"),
        ({"D2LENV_LANG": "zh_CN"}, "zh_CN"),
        ({"D2LENV_LANG": "zh-Hans"}, "zh_CN"),
        ({"D2LENV_LANG": "en", "LANG": "zh_CN.UTF-8"}, "en"),
        ({"LC_ALL": "zh_CN.UTF-8", "LANG": "en_US.UTF-8"}, "zh_CN"),
        ({"LANG": "zh_CN.UTF-8@x"}, "zh_CN"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "xx"}, "en"),
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


def test_one_thing_is_one_thing(monkeypatch: pytest.MonkeyPatch) -> None:
    form = messages.trn
    texts = ("{count} file; not signed", "{count} files; not signed")
    assert [form(*texts, count=count) for count in (0, 1, 2)] == [
        "0 files; not signed", "1 file; not signed", "2 files; not signed"
    ]  # fmt: skip
    monkeypatch.setenv("D2LENV_LANG", "zh")
    assert form(*texts, count=1) == "1 个文件；未签名"


FRENCH = """
msgid ""
msgstr ""
"Language: fr\\n"
"Plural-Forms: nplurals=2; plural=(n > 1);\\n"

msgid "English"
msgstr "Français"

msgid "passed"
msgstr "réussi"
"""


def test_a_folder_is_all_that_a_new_language_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "d2lenv" / "locale"
    (package / "fr").mkdir(parents=True)
    (package / "fr" / "words.po").write_text(FRENCH, encoding="utf-8")
    monkeypatch.setattr(messages, "_FOLDER", package)
    messages.languages.cache_clear()
    messages.translations.cache_clear()
    try:
        monkeypatch.setenv("D2LENV_LANG", "fr_CA.UTF-8")
        assert messages.languages() == ("en", "fr")
        assert messages.tr("passed") == "réussi"
        assert messages.each_language("English") == {"en": "English", "fr": "Français"}
    finally:
        messages.languages.cache_clear()
        messages.translations.cache_clear()


def test_foreign_text_for_the_terminal_keeps_chinese_and_shows_the_rest() -> None:
    assert messages.printable("数据 é\x1b[0m\u202e\n\udc80") == "数据 é\\x1b[0m\\u202e\\n\\udc80"
    assert messages.printable("全\u3000角\u00a0") == "全\u3000角\u00a0"
    assert messages.printable_lines("a\x07\n\tb") == "a\\x07\n        b"
