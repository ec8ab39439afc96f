"""The .po files are read as Babel reads them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from babel.messages import mofile, pofile
from babel.messages.catalog import Catalog

import d2lenv
from d2lenv.base import catalogue

FILES = sorted((Path(d2lenv.__file__).parent / "locale").glob("*/*.po"))

# What translators' tools write: comments, flags, wrapped strings, escapes, contexts left open, old entries.
RUSSIAN = r"""
# a translator's comment
#, fuzzy
msgid ""
msgstr ""
"Language: ru\n"
"Content-Type: text/plain; charset=UTF-8\n"
"Plural-Forms: nplurals=3; plural=(n%10==1 && n%100!=11 ? 0 : n%10>=2 && n%10<=4 && (n%100<10 || n%100>=20) "
"? 1 : 2);\n"

#. extracted
#: base/x.py:3
#, python-brace-format
msgid "{count} file"
msgid_plural "{count} files"
msgstr[0] "{count} файл"
msgstr[1] "{count} файла"
msgstr[2] "{count} файлов"

msgid ""
"two lines\n"
"a \"quoted\" word, a \\backslash and a\ttab"
msgstr ""
"две строки\n"
"\"слово\" \\ и\tтаб"

#, fuzzy
msgid "not sure"
msgstr "не точно"

msgid "not yet"
msgstr ""

#~ msgid "gone"
#~ msgstr "нет"
""".replace('#, fuzzy\nmsgid ""', 'msgid ""')


def judged(text: str) -> dict[str, Any]:
    """What Babel makes of it, in the form of a .mo file's entries."""
    read: Catalog = pofile.read_po(io.BytesIO(text.encode()))
    found = {}
    for entry in read:
        if entry.id and not entry.fuzzy:
            ids = entry.id if isinstance(entry.id, tuple) else (entry.id,)
            strings = entry.string if isinstance(entry.string, tuple) else (entry.string,)
            if all(strings):
                found["\0".join(ids)] = "\0".join(strings)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_babel_reads_the_same(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    ours = catalogue.read(text)
    assert ours.pop("").startswith("Language: ")
    assert ours == judged(text)


def test_comments_flags_escapes_and_plurals_are_read_as_babel_reads_them() -> None:
    ours = catalogue.read(RUSSIAN)
    ours.pop("")
    assert ours == judged(RUSSIAN)
    assert len(ours) == 2


def test_the_compiled_catalogue_answers_as_babels() -> None:
    ours = catalogue.compiled([RUSSIAN])
    buffer = io.BytesIO()
    mofile.write_mo(buffer, pofile.read_po(io.BytesIO(RUSSIAN.encode())))
    theirs = type(ours)(io.BytesIO(buffer.getvalue()))
    for count in (*range(25), 101, 111, 122):
        found = ours.ngettext("{count} file", "{count} files", count)
        assert found == theirs.ngettext("{count} file", "{count} files", count)
    assert ours.ngettext("{count} file", "{count} files", 2) == "{count} файла"
    assert ours.gettext("not yet") == "not yet"


def test_families_are_one_catalogue() -> None:
    other = 'msgid ""\nmsgstr "Language: ru\\n"\n\nmsgid "word"\nmsgstr "слово"\n'
    both = catalogue.compiled([RUSSIAN, other])
    assert both.gettext("word") == "слово"
    assert both.ngettext("{count} file", "{count} files", 5) == "{count} файлов"
