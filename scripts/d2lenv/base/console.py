"""What every command prints with: tables and lines for people, one JSON document for machines.

Results go to standard output, progress and notes to standard error, colour only to a terminal.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

from d2lenv.base.messages import printable_lines

if TYPE_CHECKING:
    from rich.console import Console


@cache
def out() -> Console:
    """Standard output."""
    from rich.console import Console  # 60 ms that `--json` and `--help` do without

    return Console(highlight=False, soft_wrap=False)


@cache
def err() -> Console:
    """Standard error."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def note(text: str) -> None:
    """One line of progress or explanation, on standard error."""
    with suppress(OSError):  # the terminal was closed: there is nobody left to tell
        err().print(printable_lines(text), markup=False, soft_wrap=True)


def document(command: str, ok: bool, data: Mapping[str, object], *, schema: int = 1) -> dict[str, object]:
    """Return ``data`` as what ``--json`` prints and a file of results holds.

    Args:
        command: the document's kind; ``docs/json.md`` has a section for each.
        ok: the verdict: would the command's exit status be 0?
        schema: counts the changes of this kind that take a key away or change its meaning.
    """
    return {"schema": schema, "command": command, "ok": ok, **data}


def print_json(command: str, ok: bool, data: Mapping[str, object], *, schema: int = 1) -> None:
    """Print a :func:`document` on standard output."""
    print_document(document(command, ok, data, schema=schema))


def print_document(made: Mapping[str, object]) -> None:
    """Print what :func:`document` has made, indented."""
    json.dump(made, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


def print_table(headers: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = "") -> None:
    """A plain table that reads well without colour; cells wrap at the terminal's width."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(*headers, title=title or None, box=box.SIMPLE, pad_edge=False, title_justify="left")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    out().print(table)
