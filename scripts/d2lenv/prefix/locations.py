"""Where things lie in a prefix, conda's or a virtual environment's, and what is installed by their names."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from packaging.utils import canonicalize_name, canonicalize_version

from d2lenv.base.messages import tr
from d2lenv.prefix.contents.text import exists

_SITES = ("lib/python*/site-packages", "Lib/site-packages")


def interpreter(prefix: Path) -> Path:
    """Return the interpreter of a prefix, of any system; the usual place if there is none.

    A Python that is no environment may have ``python3`` alone, as Debian's.
    """
    names = ["bin/python", "python.exe", "Scripts/python.exe"]
    if not any(exists(prefix / mark) for mark in ("conda-meta", "pyvenv.cfg")):
        names.append("bin/python3")
    usual = "Scripts/python.exe" if sys.platform == "win32" else "bin/python"
    return prefix / next((name for name in names if exists(prefix / name)), usual)


def site_packages(prefix: Path) -> list[Path]:
    """Return the site-packages folders that exist in ``prefix``, sorted."""
    return sorted(folder for pattern in _SITES for folder in prefix.glob(pattern) if folder.is_dir())


def new_site_packages(version: str) -> str:
    """Return where a new prefix with Python ``version`` (``3.10``) will have its site-packages."""
    return "Lib/site-packages" if sys.platform == "win32" else f"lib/python{version}/site-packages"


def distributions(prefix: Path) -> list[tuple[str, str]]:
    """Return (normalised name, version) of each distribution, as its ``.dist-info`` folder is called."""
    found = []
    for site in site_packages(prefix):
        for folder in site.glob("*.dist-info"):
            name, _, version = folder.name.removesuffix(".dist-info").rpartition("-")
            found.append((canonicalize_name(name), canonical_version(version)))
    return sorted(found)


def canonical_version(version: str) -> str:
    """Return a distribution's version in the one spelling that PEP 440 has for it; another one as it is."""
    return canonicalize_version(version, strip_trailing_zero=False)


def conda_packages(prefix: Path) -> list[tuple[str, str]]:
    """Return (name, ``version build``) of each conda package, as its file in ``conda-meta`` is called."""
    found = []
    for file in (prefix / "conda-meta").glob("*.json"):
        name, version, build = ["", "", *file.stem.rsplit("-", 2)][-3:]
        found.append((name, f"{version} {build}"))
    return sorted(found)


def differences(wanted: Mapping[str, str], found: Iterable[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """Compare installed packages with those that were asked for.

    Returns:
        a line for each package that is missing or of another version, and one for each that is too many.
    """
    versions: dict[str, list[str]] = {}
    for name, version in found:
        versions.setdefault(name, []).append(version)
    wrong = [
        tr("{name}: {wanted} expected, {found} found", name=name, wanted=version, found=_said(versions, name))
        for name, version in wanted.items()
        if version not in versions.get(name, ())
    ]
    more = [
        f"{name} {version}"
        for name, there in versions.items()
        for version in there
        if wanted.get(name) != version or there.count(version) > 1
    ]
    return wrong, list(dict.fromkeys(more))


def _said(versions: Mapping[str, list[str]], name: str) -> str:
    return ", ".join(versions.get(name, ())) or tr("nothing")
