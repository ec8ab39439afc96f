"""The tables of docs/book-runs.md, from the whole runs that docs/book_runs keeps."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from d2lenv.books import coverage


@cache
def runs() -> list[coverage.Coverage]:
    """Return the runs that tests/looks/book_summary.py has put there."""
    return coverage.read(Path(__file__).with_name("book_runs"))


def run_rows() -> Iterator[str]:
    """Yield the table of all runs."""
    yield from coverage.runs_table(runs())


def chapter_rows(book: str) -> Iterator[str]:
    """Yield the chapters of a book, and the notebooks that did not pass."""
    yield from coverage.chapters_table(runs(), book)
    yield ""
    yield "| notebook that did not pass | in | why | |"
    yield "|---|---|---|---|"
    yield from coverage.reasons(runs(), book)
