"""The data sets of the books: their files, where those can be had, and the notebooks that need them.

``table.json`` is derived from the books and from the released d2l and torchvision by
``tests/looks/book_data.py``; sizes come from :mod:`d2lenv.facts.datasets`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path, PurePosixPath

from d2lenv.base.errors import USAGE, D2lEnvError
from d2lenv.base.messages import tr
from d2lenv.facts.datasets import MEBIBYTES, SIZES

BOOKS = ("en", "zh", "dlwpt")
"""The English and the Chinese edition, and *Deep Learning with PyTorch* (part 1)."""

ALGORITHMS = ("sha1", "md5", "sha256-prefix")
"""How a file is known: d2l states a sha1, torchvision an md5, torch.hub the first digits of a sha256."""

_MIB = 1 << 20
_MOST_BYTES = 8 << 30


@dataclass(frozen=True)
class DataFile:
    """One file.

    Attributes:
        path: where it lies below the shared folder, as ``../data`` and ``TORCH_HOME`` have it.
        algorithm: one of :data:`ALGORITHMS`.
        digest: in hexadecimal digits.
        urls: its addresses, the first is tried first.
    """

    path: str
    algorithm: str
    digest: str
    urls: tuple[str, ...]

    @property
    def name(self) -> str:
        """Its name without folders."""
        return PurePosixPath(self.path).name

    @property
    def size(self) -> int | None:
        """Its bytes, if a source states them."""
        return SIZES.get(self.path)

    @property
    def about(self) -> int | None:
        """Its bytes or nearly so, if a source states them."""
        return self.size or (round(MEBIBYTES[self.path] * _MIB) if self.path in MEBIBYTES else None)

    @property
    def at_most(self) -> int:
        """The bytes beyond which a file is not this one."""
        if self.size is not None:
            return self.size
        return self.about + _MIB if self.about else _MOST_BYTES


@dataclass(frozen=True)
class DataSet:
    """A data set, or the weights of a model.

    Attributes:
        name: as in ``d2l.DATA_HUB``, or torchvision's.
        sources: what states the addresses and digests.
    """

    name: str
    sources: tuple[str, ...]
    files: tuple[DataFile, ...]

    @property
    def about(self) -> int | None:
        """The bytes of all files, None if one is not known."""
        sizes = [file.about for file in self.files]
        return None if None in sizes else sum(size or 0 for size in sizes)


@dataclass(frozen=True)
class Need:
    """A notebook needs a data set.

    Attributes:
        notebook: its path in the book, with ``/``.
        root: the folder in which the notebook looks for it, from the notebook's own, empty for weights, which
            torch looks for in ``TORCH_HOME``.
        unpacked: the notebook does not unpack the archive itself.
    """

    book: str
    notebook: str
    dataset: DataSet
    root: str
    unpacked: bool = False

    @property
    def chapter(self) -> str:
        """The folder of the notebook."""
        return PurePosixPath(self.notebook).parts[0]


@dataclass(frozen=True)
class Table:
    """All data sets, and all needs."""

    sets: tuple[DataSet, ...]
    needs: tuple[Need, ...]

    def notebooks(self, dataset: DataSet) -> tuple[Need, ...]:
        """Return the needs for ``dataset``."""
        return tuple(need for need in self.needs if need.dataset == dataset)


@cache
def load() -> Table:
    """Return the table that is part of this package."""
    return read((resources.files("d2lenv") / "data" / "table.json").read_text(encoding="utf-8"))


def read(text: str) -> Table:
    """Return the table of a text as ``table.json`` has it."""
    raw = json.loads(text)
    sets = {
        row["name"]: DataSet(row["name"], tuple(row["sources"]), _files(row["files"])) for row in raw["sets"]
    }
    needs = tuple(
        Need(book, notebook, sets[name], root, bool(unpacked))
        for book, rows in raw["needs"].items()
        for notebook, wanted in rows.items()
        for name, root, *unpacked in wanted
    )
    return Table(tuple(sets.values()), needs)


def _files(rows: Iterable[dict[str, object]]) -> tuple[DataFile, ...]:
    return tuple(
        DataFile(str(row["path"]), algorithm, str(row[algorithm]), tuple(_texts(row["urls"])))
        for row in rows
        for algorithm in ALGORITHMS
        if algorithm in row
    )


def _texts(value: object) -> list[str]:
    return [str(part) for part in value] if isinstance(value, list) else []


def choose(
    table: Table, *, names: Sequence[str] = (), book: str | None = None, chapters: Sequence[str] = ()
) -> tuple[DataSet, ...]:
    """Return the data sets of these names, or those that notebooks of a book and of chapters need.

    Without any of the three: all that some notebook needs (d2l names others, which no notebook opens).

    Args:
        chapters: names of chapters' folders, or a part of them, as ``computer-vision``.

    Raises:
        D2lEnvError: if a name or a chapter is not known.
    """
    if names:
        known = {dataset.name.lower(): dataset for dataset in table.sets}
        for name in names:
            if name.lower() not in known:
                raise _unknown(tr("no data set is called `{name}`", name=name), (s.name for s in table.sets))
        return tuple(dict.fromkeys(known[name.lower()] for name in names))
    needs = [need for need in table.needs if book in (None, need.book)]
    for chapter in chapters:
        if not any(_is(chapter, need.chapter) for need in needs):
            text = tr("no notebook of a chapter `{name}` needs data", name=chapter)
            raise _unknown(text, (need.chapter for need in needs))
    chosen = [need for need in needs if not chapters or any(_is(c, need.chapter) for c in chapters)]
    wanted = {need.dataset.name for need in chosen}
    return tuple(dataset for dataset in table.sets if dataset.name in wanted)


def _is(wanted: str, chapter: str) -> bool:
    return wanted.lower().removeprefix("chapter_") in chapter.lower()


def _unknown(what: str, names: Iterable[str]) -> D2lEnvError:
    known = ", ".join(sorted(set(names), key=str.lower))
    return D2lEnvError(what, fix=tr("choose one of: {names}", names=known), status=USAGE)


def needs_of(table: Table, book: str, notebook: str) -> tuple[Need, ...]:
    """Return the data that a notebook needs, by its path in the book (``chapter_x/name.ipynb``)."""
    return tuple(need for need in table.needs if need.book == book and need.notebook == notebook)


def book_in(table: Table, folder: Path) -> str | None:
    """Return which book lies in ``folder``: the one of whose notebooks most are there, None for no book.

    The editions share some paths, and each has many that the other has not.
    """
    paths = {book: {need.notebook for need in table.needs if need.book == book} for book in BOOKS}
    count = {book: sum((folder / path).is_file() for path in paths[book]) for book in BOOKS}
    best = max(BOOKS, key=lambda book: (count[book] / max(1, len(paths[book])), count[book]))
    return best if count[best] else None
