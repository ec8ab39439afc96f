"""What every command prints with: tables and lines for people, one JSON document for machines.

Results go to standard output, progress and notes to standard error, colour only to a terminal.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING

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
    err().print(text, markup=False, soft_wrap=True)


def print_json(data: object) -> None:
    """``data`` as one indented JSON document on standard output."""
    json.dump(data, sys.stdout, indent=2, ensure_ascii=False, sort_keys=False)
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
