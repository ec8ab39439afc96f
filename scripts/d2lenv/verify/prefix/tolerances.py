"""List the traces of use that make a prefix no other one; docs/fingerprint.md has the same list."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Container
from dataclasses import dataclass
from pathlib import Path

from d2lenv.base.messages import tr
from d2lenv.prefix import launchers
from d2lenv.prefix.contents.model import Unreadable
from d2lenv.prefix.contents.text import read_text
from d2lenv.prefix.scan import Entry
from d2lenv.verify.prefix import bytecode

_JSON_LIMIT = 1 << 20
# Other keys of a page_config.json name addresses that scripts are loaded from.
_SETTINGS = frozenset({"disabledExtensions", "lockedExtensions"})


@dataclass(frozen=True)
class Surroundings:
    """The places where a tolerance looks.

    Attributes:
        root: the prefix.
        known: the paths that were built, not left behind by use.
        folders: whether `known` has every folder.
    """

    root: Path
    known: Container[str]
    folders: bool = False


@dataclass(frozen=True)
class Tolerance:
    """A trace of use that makes a prefix no other one.

    Attributes:
        name: stable, for JSON.
        reason: why it is no finding.
        pattern: the whole path.
        condition: what must hold besides.
    """

    name: str
    reason: Callable[[], str]
    pattern: re.Pattern[str]
    condition: Callable[[Surroundings, Entry], bool]


def _has_source(around: Surroundings, entry: Entry) -> bool:
    """Python reads ``__pycache__/x.cpython-310.pyc`` only beside the ``x.py`` that it was made from."""
    found = bytecode.compiled(entry.path)
    return entry.kind == "file" and found is not None and found.source in around.known


def _starts_own_python(around: Surroundings, entry: Entry) -> bool:
    """A kernel as ``ipykernel install`` writes it for this prefix's Python, or the pictures beside one."""
    text = _text(around.root / posixpath.dirname(entry.path) / "kernel.json")
    return entry.kind == "file" and launchers.starts_own_python(text, around.root)


def _only_switches(around: Surroundings, entry: Entry) -> bool:
    try:
        data = json.loads(_text(around.root / entry.path))
    except (ValueError, RecursionError):
        return False
    return entry.kind == "file" and isinstance(data, dict) and data.keys() <= _SETTINGS


def _text(path: Path) -> str:
    trouble: list[Unreadable] = []
    return "" if path.is_symlink() else read_text(path, _JSON_LIMIT, trouble)


def _is_file(_around: Surroundings, entry: Entry) -> bool:
    return entry.kind == "file"


def _is_folder(_around: Surroundings, entry: Entry) -> bool:
    return entry.kind == "folder"


def _is_other_clients_folder(around: Surroundings, entry: Entry) -> bool:
    return entry.kind == "folder" and not around.folders


TOLERANCES: tuple[Tolerance, ...] = (
    Tolerance(
        "bytecode",
        lambda: tr("Python compiles a module at its first import; its source compiles to the same"),
        re.compile(r"(.*/)?__pycache__/[^/]+\.pyc"),
        _has_source,
    ),
    Tolerance(
        "jupyter-settings",
        lambda: tr("JupyterLab notes which of its own extensions the user switched off"),
        re.compile(r"(etc/jupyter/labconfig|share/jupyter/lab/settings)/page_config\.json"),
        _only_switches,
    ),
    Tolerance(
        "kernelspec",
        lambda: tr("the user added a Jupyter kernel that starts this same Python"),
        re.compile(r"share/jupyter/kernels/[^/]+/(kernel\.json|logo-[\w]+\.(png|svg))"),
        _starts_own_python,
    ),
    Tolerance(
        "installer-notes",
        lambda: tr("installers note their own work there; no program reads it to run"),
        re.compile(
            r"conda-meta/(history|created_at|pixi|pixi_env_prefix|\.pixi-environment-fingerprint)|\.lock|CACHEDIR\.TAG"
        ),
        _is_file,
    ),
    Tolerance(
        "folder",
        lambda: tr("a folder for what is tolerated; it is judged by what lies in it"),
        re.compile(
            r"(.*/)?__pycache__|etc(/jupyter(/labconfig)?)?"
            r"|share(/jupyter(/kernels(/[^/]+)?|/lab(/settings)?)?)?"
        ),
        _is_folder,
    ),
    Tolerance(
        "empty-folder",
        lambda: tr("conda's clients leave empty folders, and no list has them"),
        re.compile(r".*"),
        _is_other_clients_folder,
    ),
)
"""Everything that may be in a prefix, or differ in it, besides the locked packages."""


def tolerance(around: Surroundings, entry: Entry) -> Tolerance | None:
    """Return the tolerance for an entry that was not built, None when there is none."""
    return next(
        (item for item in TOLERANCES if item.pattern.fullmatch(entry.path) and item.condition(around, entry)),
        None,
    )
