"""A prefix in memory."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from packaging.utils import canonicalize_name

Kind = Literal["conda", "venv", "python", "unknown"]


@dataclass(frozen=True)
class Unreadable:
    """A file or folder of the prefix that could not be read, and why, in the system's words."""

    path: Path
    why: str


@dataclass(frozen=True)
class Distribution:
    """One installed Python distribution (``*.dist-info`` or ``*.egg-info``).

    Attributes:
        name: as its metadata spells it; the folder's name when the metadata does not say.
        key: the normalised name (PEP 503).
        version: empty when unknown.
        folder: the metadata's folder, or file for an old egg-info.
        installer: the content of ``INSTALLER`` (``pip``, ``uv``, ``conda``), empty when absent.
        conda: name of the conda package that owns the metadata, empty when none does.
        requires: the ``Requires-Dist`` lines.
        requested: the user named it on an installer's command line (``REQUESTED``).
        editable: installed from a working tree.
        origin: the address in ``direct_url.json``, empty for an index.
    """

    name: str
    key: str
    version: str
    folder: Path
    installer: str = ""
    conda: str = ""
    requires: tuple[str, ...] = ()
    requires_python: str = ""
    requested: bool = False
    editable: bool = False
    origin: str = ""

    @property
    def site(self) -> Path:
        """Return the site-packages folder that holds it."""
        return self.folder.parent

    @property
    def source(self) -> str:
        """Return ``conda`` or the installer's name; ``pip`` where the metadata does not say."""
        return "conda" if self.conda else (self.installer or "pip")


@dataclass(frozen=True)
class CondaPackage:
    """One record of ``conda-meta``.

    Attributes:
        file: the record.
        channel: the channel's last part (``conda-forge``), empty when unknown.
        paths: path in the prefix (forward slashes) → sha256 of the installed file, empty where unknown.
    """

    name: str
    version: str
    build: str
    channel: str
    subdir: str
    url: str
    file: Path
    depends: tuple[str, ...] = ()
    paths: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False, hash=False)


@dataclass(frozen=True)
class Kernelspec:
    """One ``kernel.json``; Jupyter starts its ``argv``."""

    name: str
    file: Path
    argv: tuple[str, ...]
    display_name: str = ""
    language: str = ""


@dataclass(frozen=True)
class Site:
    """One folder of installed distributions: a site-packages folder, or an entry of PYTHONPATH.

    Attributes:
        modules: importable top-level names, as far as the folder's listing shows them.
        leftovers: ``~name`` folders that an interrupted pip left behind.
    """

    folder: Path
    distributions: tuple[Distribution, ...] = ()
    modules: frozenset[str] = frozenset()
    leftovers: tuple[Path, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()


@dataclass(frozen=True)
class Prefix:
    """An environment on disk.

    Attributes:
        python: the interpreter's path, ``None`` when the prefix has none.
        python_version: ``3.10.13``, ``3.10`` when only that is known, empty when unknown.
        platform: conda subdir (``linux-64``), empty when unknown.
        config: ``pyvenv.cfg``, keys in lower case.
        marker: ``d2lenv.json``, which `d2lenv build` leaves.
    """

    path: Path
    kind: Kind
    python: Path | None
    python_version: str
    platform: str
    sites: tuple[Site, ...]
    conda: tuple[CondaPackage, ...]
    kernelspecs: tuple[Kernelspec, ...]
    config: Mapping[str, str]
    marker: Mapping[str, Any]
    unreadable: tuple[Unreadable, ...]

    @property
    def distributions(self) -> tuple[Distribution, ...]:
        return tuple(item for site in self.sites for item in site.distributions)

    @property
    def modules(self) -> frozenset[str]:
        return frozenset().union(*(site.modules for site in self.sites))

    @property
    def python_minor(self) -> str:
        """Return ``3.10``, empty when unknown."""
        match = re.match(r"(\d+\.\d+)", self.python_version)
        return match.group(1) if match else ""

    def find(self, name: str) -> Distribution | None:
        """Return the distribution called ``name`` (any spelling) that Python would meet first."""
        key = canonicalize_name(name)
        return next((item for item in self.distributions if item.key == key), None)

    def conda_package(self, name: str) -> CondaPackage | None:
        return next((item for item in self.conda if item.name == name), None)
