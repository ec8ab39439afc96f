"""A book that a reader has unpacked: its data in their places, for as long as the book is there."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from d2lenv.base.messages import trn
from d2lenv.data import store
from d2lenv.data.prepare import prepare, variables
from d2lenv.data.table import Need, Table, book_in, load

TORCH_HOME = "TORCH_HOME"


def needs_in(table: Table, folder: Path) -> tuple[Need, ...]:
    """Return the needs of the notebooks that lie in ``folder``, if a book does."""
    book = book_in(table, folder)
    return tuple(need for need in table.needs if need.book == book and (folder / need.notebook).is_file())


def lay_out(
    folder: Path, shared: Path, torch_home: Path, environ: Mapping[str, str], say: Callable[[str], None]
) -> dict[str, str]:
    """Put links to the shared data where the notebooks in ``folder`` look for them; say which are missing.

    Args:
        torch_home: the folder for the weights of models, unless the reader has one (``TORCH_HOME``).

    Returns:
        the environment variables that the notebooks need, none without weights in the shared folder.

    Raises:
        D2lEnvError: if a link cannot be made.
    """
    table = load()
    needs = needs_in(table, folder)
    if not needs:
        return {}
    sets = tuple(dict.fromkeys(need.dataset for need in needs))
    states = store.states(shared, store.files_of(sets))
    store.note(shared, (file for file, state in states.items() if state == "present"))
    given = environ.get(TORCH_HOME, "")
    home = Path(given) if given else torch_home
    here = [need for need in needs if any(states[file] == "present" for file in need.dataset.files)]
    for need in here:
        prepare((folder / need.notebook).parent, [need], shared, home)
    missing = [dataset for dataset in sets if any(states[file] != "present" for file in dataset.files)]
    if missing:
        _say_missing(needs[0].book, [dataset.name for dataset in missing], shared, say)
    weights = any(not need.root for need in here)
    return variables(home) if weights and not given else {}


def _say_missing(book: str, names: list[str], shared: Path, say: Callable[[str], None]) -> None:
    say(
        trn(
            "{count} data set of the book is not in {folder} ({names}): d2lenv data get --book {book}",
            "{count} data sets of the book are not in {folder} ({names}): d2lenv data get --book {book}",
            count=len(names),
            folder=os.fspath(shared),
            names=", ".join(names),
            book=book,
        )
    )
