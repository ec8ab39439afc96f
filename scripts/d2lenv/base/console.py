"""Print tables and lines for people, and one JSON document for machines.

Results go to standard output, progress and notes to standard error, colour only to a terminal.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, TextIO

from d2lenv.base.messages import printable_lines

if TYPE_CHECKING:
    from rich.console import Console


@cache
def out() -> Console:
    """Standard output."""
    from rich.console import Console  # 60 ms that `--json` and `--help` do without

    return Console(highlight=False, emoji=False)


@cache
def err() -> Console:
    """Standard error."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, emoji=False)


def say(text: str) -> None:
    """Print a line of the result on standard output; no word of it is markup, nothing in it acts."""
    write(printable_lines(text))


def write(*lines: str) -> None:
    """Write lines that are ready for the terminal, their colour included, on standard output.

    A character that the encoding (Windows' code page 936) does not have is shown as an escape.
    """
    for line in lines:
        _write(sys.stdout, line)


def _write(stream: TextIO, line: str) -> None:
    encoding = stream.encoding or "utf-8"
    stream.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    stream.flush()


def note(text: str) -> None:
    """Print a line of progress or explanation on standard error."""
    with suppress(OSError):  # the terminal was closed: there is nobody left to tell
        _write(sys.stderr, printable_lines(text))


def document(command: str, ok: bool, data: Mapping[str, object], *, schema: int = 1) -> dict[str, object]:
    """Return ``data`` in the form that ``--json`` prints and a file of results has.

    Args:
        command: the document's kind; ``docs/json.md`` has a section for each.
        ok: the verdict: would the command's exit status be 0?
        schema: counts the changes of this kind that take a key away or change its meaning.
    """
    head: dict[str, object] = {"schema": schema, "command": command, "ok": ok}
    assert not head.keys() & data.keys()
    return {**head, **data}


def print_json(command: str, ok: bool, data: Mapping[str, object], *, schema: int = 1) -> None:
    """Print a :func:`document` on standard output."""
    print_document(document(command, ok, data, schema=schema))


def print_document(made: Mapping[str, object]) -> None:
    """Print a document that :func:`document` has made, indented."""
    text = json.dumps(made, indent=2, ensure_ascii=False)
    # Within a string JSON writes any character as \\uXXXX, and a terminal acts on none of those.
    sys.stdout.write("".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text) + "\n")


def print_table(headers: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = "") -> None:
    """A plain table that reads well without colour; cells wrap at the terminal's width."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        *headers,
        title=Text(printable_lines(title)) if title else None,
        box=box.SIMPLE,
        pad_edge=False,
        title_justify="left",
    )
    for row in rows:
        table.add_row(*(Text(printable_lines(cell)) for cell in row))
    out().print(table)
