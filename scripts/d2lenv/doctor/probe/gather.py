"""Which prefix is meant, and everything that the findings look at."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from d2lenv.base.errors import D2lEnvError
from d2lenv.base.messages import tr
from d2lenv.doctor.model import Context, Notebook
from d2lenv.doctor.probe import hardware, system
from d2lenv.doctor.rules import drift
from d2lenv.prefix import read as prefixes
from d2lenv.prefix.read import Unreadable, read_text
from d2lenv.workspace import manifest, settings

_NOTEBOOKS = 200
_NOTEBOOK_LIMIT = 4 << 20
_WORKSPACE_LIMIT = 1 << 20


def gather(path: Path, environ: Mapping[str, str], cwd: Path, *, active: bool, root: Path | None) -> Context:
    """Look at the prefix and the machine.

    Args:
        path: the prefix.
        cwd: its notebooks are looked at.
        active: the prefix is the active environment.
        root: the d2l-env workspace, ``None`` outside of one.
    """
    home = system.home(environ)
    found = prefixes.read(path)
    return Context(
        prefix=found,
        machine=system.look(found.path, environ, home),
        gpu=hardware.look(environ, found.path),
        environ=environ,
        expected=drift.expected(found, root),
        notebooks=tuple(notebooks(cwd)),
        active=active,
        home=home,
    )


def target(name: str | None, environ: Mapping[str, str], root: Path | None) -> tuple[Path, bool]:
    """The prefix that is meant, and whether it is the active one.

    Args:
        name: a path, an environment of the workspace, or nothing for the active environment.

    Raises:
        D2lEnvError: if there is no such environment, it is not built, or none is active.
    """
    running = active(environ)
    if name is None:
        if running is None:
            raise D2lEnvError(
                tr("no environment is active and there is no `python` on the PATH"),
                fix=tr("name one: `d2lenv doctor PATH`"),
            )
        return running, True
    path = Path(name)
    if root is not None and re.fullmatch(r"[\w-]{1,64}", name) and not path.exists():
        built = built_environments(root, name)
        if not built:
            settings.get(manifest.load(root), name)
            raise D2lEnvError(
                tr("there is no environment `{name}` here, and no such folder", name=name),
                why=tr("looked in {folders}", folders=f"{root / '.pixi' / 'envs'}, {root / '.d2lenv'}"),
                fix=tr("build it first, or give the path of an environment"),
            )
        path = built[0]
    elif not path.exists() and not path.is_symlink():
        raise D2lEnvError(
            tr("there is no folder {path}", path=path), fix=tr("give the path of an environment")
        )
    path = prefixes.absolute(path)
    return path, running is not None and path == running


def built_environments(root: Path, name: str) -> list[Path]:
    """Prefixes of environment ``name`` in the workspace, whatever engine built them."""
    places = [root / ".pixi" / "envs" / name]
    places += [root / ".d2lenv" / f"{name}-{engine}" for engine in ("pixi", "rattler", "wheels")]
    return [place for place in places if place.is_dir()]


def active(environ: Mapping[str, str]) -> Path | None:
    """The active environment: the one whose Python the prompt starts, of those that say they are active."""
    stated = [Path(environ[name]) for name in ("VIRTUAL_ENV", "CONDA_PREFIX") if environ.get(name)]
    python = shutil.which("python", path=environ.get("PATH")) or shutil.which(
        "python3", path=environ.get("PATH")
    )
    if python is not None:
        for path in stated:
            if Path(python).is_relative_to(path):
                return prefixes.absolute(path)
    if stated:
        return prefixes.absolute(stated[0])
    if python is None:
        return None
    folder = prefixes.absolute(Path(python)).parent
    return folder.parent if folder.name in ("bin", "Scripts") else folder


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
        names = _d2l_names(read_text(file, _NOTEBOOK_LIMIT, ignored))
        if names:
            yield Notebook(file, names)


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


def _d2l_names(text: str) -> frozenset[str]:
    try:
        data: Any = json.loads(text) if "d2l" in text else None
    except (ValueError, RecursionError):
        return frozenset()
    cells = data.get("cells") if isinstance(data, dict) else None
    names: set[str] = set()
    for cell in cells if isinstance(cells, list) else ():
        if isinstance(cell, dict) and cell.get("cell_type") == "code":
            source = cell.get("source")
            code = "".join(p for p in source if isinstance(p, str)) if isinstance(source, list) else source
            names.update(re.findall(r"\bd2l\.([A-Za-z_]\w*)", code) if isinstance(code, str) else ())
    return frozenset(names)
