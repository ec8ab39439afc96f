"""Plain text in columns and paragraphs, Chinese and English.

Importing rich takes longer than everything else that the doctor does; a table, wrapped lines and four colours
need none of it. Unlike rich, a line may end between two Chinese characters.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Sequence

WIDTH = 80
_NARROWEST = 40

_COLOURS = {"error": "1;31", "warning": "33", "not-checked": "36", "info": "2", "bold": "1"}
_RULE = "─"
# Chinese punctuation that must not begin a line.
_CLOSING = "，。；：、！？）》」』】…"


def width() -> int:
    """Return how wide lines may be: the terminal's width or COLUMNS, 80 at most."""
    return max(_NARROWEST, min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns))


def columns(text: str) -> int:
    """How many columns of a terminal ``text`` takes: Chinese characters two, combining marks none."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )


def wrap(text: str, width: int) -> list[str]:
    """Lines of at most ``width`` columns; line ends in ``text`` are kept, words that are too long are cut."""
    return [line for paragraph in text.split("\n") for line in _wrap(paragraph, width)]


def _wrap(text: str, width: int) -> list[str]:
    lines, line, used = [], "", 0
    for piece in _pieces(text):
        size = columns(piece)
        if used + size > width and line:
            lines.append(line.rstrip())
            line, used = "", 0
            if piece.isspace():
                continue
        rest = piece
        while size > width:  # a path or an address
            head = _head(rest, width)
            lines.append(head)
            rest = rest[len(head) :]
            size = columns(rest)
        line, used = line + rest, used + size
    return [*lines, line.rstrip()]


def _pieces(text: str) -> list[str]:
    """Words, spaces, and single wide characters with the punctuation that follows them."""
    wide = "[⺀-鿿豈-﫿！-｠]"
    return re.findall(rf"\s+|{wide}[{_CLOSING}]*|(?:(?!{wide})\S)+[{_CLOSING}]*", text)


def _head(text: str, width: int) -> str:
    """As much of ``text`` as fits; at least one character."""
    used = 0
    for number, character in enumerate(text):
        used += columns(character)
        if used > width and number:
            return text[:number]
    return text


def padded(text: str, width: int) -> str:
    return text + " " * max(0, width - columns(text))


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], width: int = WIDTH) -> list[str]:
    """Lines of a table; the widest column gives way when the table is wider than ``width``."""
    cells = [list(headers), *(list(row) for row in rows)]
    sizes = [max(columns(line) for row in cells for line in row[n].split("\n")) for n in range(len(headers))]
    gap = 2
    while sum(sizes) + gap * (len(sizes) - 1) > width and max(sizes) > 1:
        sizes[sizes.index(max(sizes))] -= 1
    lines = []
    for number, row in enumerate(cells):
        parts = [wrap(cell, size) for cell, size in zip(row, sizes, strict=True)]
        for level in range(max(len(part) for part in parts)):
            texts = (
                padded(part[level] if level < len(part) else "", size)
                for part, size in zip(parts, sizes, strict=True)
            )
            lines.append((" " * gap).join(texts).rstrip())
        if number == 0:
            lines.append((" " * gap).join(_RULE * size for size in sizes))
    return lines


def coloured(text: str, style: str) -> str:
    """``text`` in colour where standard output is a terminal that wants it (https://no-color.org)."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not sys.stdout.isatty():
        return text
    return f"\x1b[{_COLOURS[style]}m{text}\x1b[0m"
