"""Everything that the rules look at."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from d2lenv.doctor.model import Context, Notebook
from d2lenv.doctor.probe import hardware, system
from d2lenv.doctor.rules import drift
from d2lenv.prefix.contents.model import Unreadable
from d2lenv.prefix.contents.prefix import read_prefix
from d2lenv.prefix.contents.text import exists, read_text, text_of

_NOTEBOOKS = 200
_NOTEBOOK_LIMIT = 4 << 20
_WORKSPACE_LIMIT = 1 << 20
_BESIDE = 2000


def gather(path: Path, environ: Mapping[str, str], cwd: Path, *, active: bool, root: Path | None) -> Context:
    """Look at the prefix and the machine.

    Args:
        path: the prefix.
        cwd: its notebooks are looked at.
        active: the prefix is the active environment.
        root: the d2l-env workspace, ``None`` outside of one.
    """
    home = system.home(environ)
    found = read_prefix(path)
    return Context(
        prefix=found,
        machine=system.look(found.path, environ, home),
        gpu=hardware.look(environ, found.path),
        environ=environ,
        expected=drift.expected(found, root),
        notebooks=(found_notebooks := tuple(notebooks(cwd))),
        beside=tuple(beside(dict.fromkeys((cwd, *(item.file.parent for item in found_notebooks))))),
        active=active,
        home=home,
    )


def workspace_root(start: Path) -> Path | None:
    """The nearest folder at or above ``start`` that is a d2l-env workspace."""
    ignored: list[Unreadable] = []
    for folder in (start, *start.parents):
        file = folder / "pixi.toml"
        if file.is_file() and '"d2l-env"' in read_text(file, _WORKSPACE_LIMIT, ignored):
            return folder
    return None


def notebooks(folder: Path) -> Iterator[Notebook]:
    """Notebooks in ``folder`` and its subfolders, the first 200, with the names that they use of d2l."""
    for file in _notebook_files(folder):
        ignored: list[Unreadable] = []  # the reader's notebooks are not part of the environment
        names, kernel = _read_notebook(read_text(file, _NOTEBOOK_LIMIT, ignored))
        if names:
            yield Notebook(file, names, kernel)


def beside(folders: Iterable[Path]) -> Iterator[Path]:
    """Yield what Python would import from ``folders``: modules, and folders with an ``__init__.py``."""
    for folder in folders:
        try:
            entries = sorted(folder.iterdir())[:_BESIDE]
        except OSError:
            continue
        for path in entries:
            if path.name.endswith(".py") or exists(path / "__init__.py"):
                yield path


def _notebook_files(folder: Path) -> list[Path]:
    found: list[Path] = []
    for place in (folder, *_subfolders(folder)):
        try:
            names = sorted(path for path in place.iterdir() if path.name.endswith(".ipynb"))
        except OSError:
            continue
        found += names
        if len(found) >= _NOTEBOOKS:
            break
    return found[:_NOTEBOOKS]


def _subfolders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(e.path) for e in entries if e.is_dir() and not e.name.startswith("."))[
                :_NOTEBOOKS
            ]
    except OSError:
        return []


def _read_notebook(text: str) -> tuple[frozenset[str], str]:
    """Return the names that a notebook uses of d2l, and the name of its kernel."""
    try:
        data: Any = json.loads(text) if "d2l" in text else None
    except (ValueError, RecursionError):
        return frozenset(), ""
    metadata = data.get("metadata") if isinstance(data, dict) else None
    spec = metadata.get("kernelspec") if isinstance(metadata, dict) else None
    cells = data.get("cells") if isinstance(data, dict) else None
    names: set[str] = set()
    for cell in cells if isinstance(cells, list) else ():
        if isinstance(cell, dict) and cell.get("cell_type") == "code":
            source = cell.get("source")
            code = "".join(p for p in source if isinstance(p, str)) if isinstance(source, list) else source
            names.update(re.findall(r"\bd2l\.([A-Za-z_]\w*)", code) if isinstance(code, str) else ())
    return frozenset(names), text_of(spec, "name") if isinstance(spec, dict) else ""
