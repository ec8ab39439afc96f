"""The rows of docs/data.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from d2lenv.data import show
from d2lenv.data import table as data
from d2lenv.facts.datasets import LICENCES

BOOKS = {"en": "English", "zh": "Chinese", "dlwpt": "DLwPT 1"}


def data_rows() -> Iterator[str]:
    """The data sets, and how many notebooks of each chapter need them."""
    table = data.load()
    yield "| data set | files | size | known by | chapters (notebooks) | licence |"
    yield "|---|---|---|---|---|---|"
    for dataset in table.sets:
        sizes = show.megabytes(dataset.about)
        kinds = ", ".join(dict.fromkeys(file.algorithm for file in dataset.files))
        files = ", ".join(f"`{file.path}`" for file in dataset.files)
        licence, source = LICENCES.get(dataset.name, ("not looked up", ""))
        needed = chapters(table, dataset)
        yield f"| `{dataset.name}` | {files} | {sizes} | {kinds} | {needed} | {licence} {source} |".replace(
            "  ", " "
        )


def chapters(table: data.Table, dataset: data.DataSet) -> str:
    """Return the chapters of each book that need ``dataset``."""
    needs = table.notebooks(dataset)
    count = Counter((need.book, need.chapter.removeprefix("chapter_")) for need in needs)
    by_book = {
        book: ", ".join(f"{chapter} ({many})" for (where, chapter), many in count.items() if where == book)
        for book in BOOKS
    }
    return (
        "; ".join(f"{BOOKS[book]}: {text}" for book, text in by_book.items() if text) or "named, never opened"
    )


def own_places() -> Iterator[str]:
    """The notebooks that look for their data elsewhere than in `../data`."""
    yield "| book | notebook | data set | where it looks |"
    yield "|---|---|---|---|"
    for need in data.load().needs:
        if need.root not in ("../data", ""):
            place = f"`{need.root}`" + (" (must be unpacked there)" if need.unpacked else "")
            yield f"| {BOOKS[need.book]} | `{need.notebook}` | `{need.dataset.name}` | {place} |"
