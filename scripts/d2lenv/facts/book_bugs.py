"""Known faults of the books: a notebook that fails in an environment that is as the book wants it.

Each row was seen in a whole run of the book on its date, and its cause was read in the source.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class BookBug:
    """One fault.

    Attributes:
        book: ``en``, ``zh`` or ``dlwpt``.
        notebook: its path in the book.
        cell: the one that fails, counted from 1 over all cells.
        error: matches the beginning of the error's last line.
        text: the cause and what a reader does about it, marked for translation.
        seen: the date.
        environments: where it fails; empty for everywhere.
    """

    book: str
    notebook: str
    cell: int
    error: str
    text: str
    seen: str
    environments: tuple[str, ...] = ()


BUGS: tuple[BookBug, ...] = ()


def find(book: str, notebook: str, error: str) -> BookBug | None:
    """Return the fault that explains ``error``; None if none does."""
    return next(
        (bug for bug in BUGS if (bug.book, bug.notebook) == (book, notebook) and re.match(bug.error, error)),
        None,
    )
