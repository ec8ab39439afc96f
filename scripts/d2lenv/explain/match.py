"""Find the rows that know a text.

The text is untrusted: 10 MB of it, made to be slow. Each step is bounded by construction. Only the beginning
and the end of a long text are looked at. A pattern begins with plain text, which ``str.rfind`` looks for; the
regular expression sees a short window from there on, a limited number of times, and at most one of its parts
has a free length (tests/explain/grammar.py proves it for every row). So google-re2 is not needed: it would be
one more compiled library (without a wheel for Python 3.14 on macOS 11, asked 2026-11-24), and the page in the
browser has none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from d2lenv.explain.rows import Pattern, Row

HEAD = 128 << 10
TAIL = 384 << 10
"""How many characters of the beginning and of the end of a text are looked at."""

WINDOW = 600
"""How many characters an expression sees."""

TRIES = 50
"""How often an expression is tried, from the end of the text."""

# Colours, and the titles of windows, that a terminal's text has.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]{0,32}[ -/]{0,4}[@-~]|\][^\x07\x1b]{0,256}(?:\x07|\x1b\\)?)")
QUOTES = {"‘": "'", "’": "'", "“": '"', "”": '"', "`": "'"}
FRAMES = "│┃╭╰╮╯─━┏┓┗┛├▶×❱\x00\xa0"
_PLAIN = str.maketrans({**QUOTES, **dict.fromkeys(FRAMES, " ")})


@dataclass(frozen=True)
class Match:
    """A row that knows the text.

    Attributes:
        said: the words by which it was known.
        groups: what the groups of the expression matched.
        start: where ``said`` begins in the plain text.
    """

    row: Row
    said: str
    groups: Mapping[str, str]
    start: int


def plain(text: str) -> str:
    """Return ``text`` as one line without colours and frames, with straight quotes.

    Programs and terminals break a message anywhere, so line ends say nothing.
    """
    if len(text) > HEAD + TAIL:
        text = text[:HEAD] + "\n" + text[-TAIL:]
    return " ".join(_ESCAPES.sub("", text).translate(_PLAIN).split())


def find(text: str, rows: Sequence[Row]) -> tuple[Match, ...]:
    """Return the rows that know ``text``, the one that stands last in it first.

    The end of a traceback is the error. A general row counts only where nothing else was found.
    """
    line = plain(text)
    found = [match for row in rows if (match := _find(line, row)) is not None]
    special = [match for match in found if not match.row.general]
    return tuple(sorted(special or found, key=lambda match: -match.start))


def _find(line: str, row: Row) -> Match | None:
    found = [match for pattern in row.patterns if (match := _last(line, row, pattern)) is not None]
    return max(found, key=lambda match: match.start, default=None)


def _last(line: str, row: Row, pattern: Pattern) -> Match | None:
    for start in _places(line, pattern.literal):
        window = line[start : start + WINDOW]
        if match := compiled(pattern.expression).match(window):
            groups = {name: text or "" for name, text in match.groupdict().items()}
            return Match(row, match[0], groups, start)
    return None


def _places(line: str, literal: str) -> Iterator[int]:
    """Yield the last places of ``literal``, from the end."""
    end = len(line)
    for _ in range(TRIES):
        start = line.rfind(literal, 0, end)
        if start < 0:
            return
        yield start
        end = start + len(literal) - 1


@cache
def compiled(expression: str) -> re.Pattern[str]:
    # As JavaScript has it: \d and \w are ASCII.
    return re.compile(expression, re.ASCII)
