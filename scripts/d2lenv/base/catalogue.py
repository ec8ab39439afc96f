"""Read gettext's .po files as they are.

The tool runs from a checkout in which nothing was compiled, and run.py speaks before anything is installed:
so the text files are the catalogues, read with the standard library alone. ``tests/base/test_catalogue.py``
proves that Babel reads the same out of them.
"""

from __future__ import annotations

import ast
import gettext
import io
import re
import struct
from collections.abc import Iterable, Mapping

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_FIELD = re.compile(
    r'^(msgid|msgid_plural|msgstr(?:\[\d+\])?)[ \t]+("(?:[^"\\\n]|\\.)*"(?:\s*\n"(?:[^"\\\n]|\\.)*")*)',
    re.MULTILINE,
)


def read(text: str) -> dict[str, str]:
    """Return the entries of a .po file as a .mo file has them.

    The key is the English text, and with a plural both forms with NUL between them; so is the value. Entries
    that are marked as fuzzy or have no translation are left out.
    """
    entries = {}
    for block in re.split(r"\n\s*\n", text.replace("\r\n", "\n")):
        if re.search(r"^#,.*\bfuzzy\b", block, re.MULTILINE):
            continue
        fields = {name: _unquoted(strings) for name, strings in _FIELD.findall(block)}
        forms = [value for name, value in fields.items() if name.startswith("msgstr")]
        if "msgid" in fields and all(forms):
            names = [fields[name] for name in ("msgid", "msgid_plural") if name in fields]
            entries["\0".join(names)] = "\0".join(forms)
    return entries


def _unquoted(strings: str) -> str:
    # The escapes of .po files are Python's. Most strings have none, and there are two thousand of them.
    parts = _STRING.findall(strings)
    return "".join(ast.literal_eval(part) if "\\" in part else part[1:-1] for part in parts)


def compiled(texts: Iterable[str]) -> gettext.GNUTranslations:
    """Return one catalogue of several .po files of a language; the first one's header counts."""
    entries: dict[str, str] = {}
    for text in texts:
        entries = read(text) | entries
    # The last of the same name counts, and this is how the entries are encoded here.
    entries[""] = entries.get("", "") + "Content-Type: text/plain; charset=UTF-8\n"
    return gettext.GNUTranslations(io.BytesIO(_mo(entries)))


def _mo(entries: Mapping[str, str]) -> bytes:
    """Return a .mo file: a head, two tables of (length, offset), and the strings with NUL after each.

    https://www.gnu.org/software/gettext/manual/html_node/MO-Files.html
    """
    rows = sorted((key.encode(), value.encode()) for key, value in entries.items())
    count, head = len(rows), 28
    tables, strings = bytearray(), bytearray()
    start = head + 16 * count
    for column in (0, 1):
        for row in rows:
            tables += struct.pack("<II", len(row[column]), start + len(strings))
            strings += row[column] + b"\0"
    return struct.pack("<7I", 0x950412DE, 0, count, head, head + 8 * count, 0, 0) + tables + strings
