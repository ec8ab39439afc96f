"""The table of known errors: what a row has, and how the files are read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources

import tomli

SHELL = "$ "
"""What a step begins with that is to be typed; every other step is a sentence, and translated."""

# What ends the text that a pattern begins with: from there on it is more than letters.
_LITERAL = re.compile(r"(?:[^\\\[\](){}.|?*+^$]|\\[^dDwWsSbB0-9])*")


@dataclass(frozen=True)
class Pattern:
    """A regular expression that begins with plain text.

    Attributes:
        literal: that text. It is looked for first, and the expression is tried where it stands.
    """

    expression: str
    literal: str


@dataclass(frozen=True)
class Cause:
    """One cause of an error.

    Attributes:
        why: a sentence or two; ``{name}`` stands for what the group of that name matched.
        steps: what to do. A step that begins with ``$ `` is a command.
        codes: the doctor's findings that prove this cause.
    """

    why: str
    steps: tuple[str, ...]
    codes: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """One known error.

    Attributes:
        family: the file that it stands in.
        versions: the versions that it happens with, or empty for all of them.
        source: a public report or page that shows it.
        example: its text there, shortened.
        unlike: texts that look like it and are something else.
        general: it answers only where no other row does.
    """

    name: str
    family: str
    patterns: tuple[Pattern, ...]
    causes: tuple[Cause, ...]
    versions: str
    source: str
    example: str
    unlike: tuple[str, ...]
    general: bool


@cache
def load() -> tuple[Row, ...]:
    """Return all rows, family by family."""
    folder = resources.files("d2lenv.explain") / "table"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".toml")), key=lambda f: f.name)
    return tuple(
        _row(file.name.removesuffix(".toml"), entry)
        for file in files
        for entry in tomli.loads(file.read_text(encoding="utf-8"))["error"]
    )


def _row(family: str, entry: dict[str, object]) -> Row:
    known = {"name", "find", "cause", "versions", "source", "example", "unlike", "general"}
    if wrong := entry.keys() - known:
        raise ValueError(f"{family}.toml: {entry.get('name')}: {sorted(wrong)}")
    return Row(
        name=_text(entry, "name"),
        family=family,
        patterns=tuple(Pattern(expression, literal(expression)) for expression in _texts(entry, "find")),
        causes=tuple(
            Cause(_text(one, "why"), _texts(one, "do"), _texts(one, "codes"))
            for one in _tables(entry, "cause")
        ),
        versions=_text(entry, "versions") if "versions" in entry else "",
        source=_text(entry, "source"),
        example=_text(entry, "example").strip(),
        unlike=_texts(entry, "unlike"),
        general=bool(entry.get("general")),
    )


def literal(expression: str) -> str:
    """Return the plain text that an expression begins with."""
    match = _LITERAL.match(expression)
    assert match is not None
    head = match[0]
    if expression[match.end() : match.end() + 1] in {"?", "{", "*"}:
        head = head[: -2 if head[-2:-1] == "\\" else -1]
    return re.sub(r"\\(.)", r"\1", head)


def texts() -> Iterator[tuple[str, str]]:
    """Yield (text, name of its row) for all that is translated."""
    for row in load():
        for cause in row.causes:
            yield cause.why, row.name
            yield from ((step, row.name) for step in cause.steps if not step.startswith(SHELL))


def _text(entry: dict[str, object], key: str) -> str:
    value = entry[key]
    if not isinstance(value, str):
        raise TypeError(f"{entry.get('name')}: {key}")
    return value


def _texts(entry: dict[str, object], key: str) -> tuple[str, ...]:
    value = entry.get(key, [])
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise TypeError(f"{entry.get('name')}: {key}")
    return tuple(value)


def _tables(entry: dict[str, object], key: str) -> list[dict[str, object]]:
    value = entry[key]
    if not isinstance(value, list) or not value or not all(isinstance(one, dict) for one in value):
        raise TypeError(f"{entry.get('name')}: {key}")
    return value
