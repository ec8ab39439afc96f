"""What py-rattler leaves to do in a prefix: modes, bytecode, and which digest each file has."""

from __future__ import annotations

import json
import stat
import sys
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from rattler import RepoDataRecord

from d2lenv.engines.conda import bytecode
from d2lenv.engines.conda.cache import Cache
from d2lenv.prefix.archives import Archive

Installed = tuple[RepoDataRecord, Archive]


@dataclass(frozen=True)
class Prepared:
    """What can be done as soon as it is known which packages get into a prefix.

    Attributes:
        python: the environment's interpreter; None for none.
        digests: path → sha256 of the files that are in the prefix as in their package, and of bytecode.
        shelves: the bytecode that was kept, and that is to be made.
    """

    python: bytecode.Interpreter | None
    digests: dict[str, str]
    shelves: bytecode.Shelves


def prepare(cache: Cache, prefix: Path, installed: Collection[Installed]) -> Prepared:
    """Link the bytecode that was kept into ``prefix``, and say which digests its files will have."""
    python = _interpreter(prefix, [record for record, _ in installed])
    if python is None:
        return Prepared(None, _digests(installed, None), bytecode.Shelves([], []))
    noarch = [(record, archive) for record, archive in installed if record.noarch.python]
    shelves = bytecode.look_up(cache, python, noarch)
    compiled = bytecode.take(shelves, prefix, python)
    return Prepared(python, _digests(installed, python) | compiled, shelves)


def complete(cache: Cache, prefix: Path, prepared: Prepared) -> dict[str, str]:
    """Do the rest once py-rattler has ended; return path → sha256 of the files that are vouched for."""
    _open_modes(prefix, cache.mask)
    if prepared.python is None:
        return prepared.digests
    return prepared.digests | bytecode.make(prepared.shelves, prefix, prepared.python)


def _interpreter(prefix: Path, records: Iterable[RepoDataRecord]) -> bytecode.Interpreter | None:
    python = next((record for record in records if record.name.normalized == "python"), None)
    program = prefix / ("python.exe" if sys.platform == "win32" else "bin/python")
    return bytecode.Interpreter(python, program, _site(python)) if python else None


def _digests(installed: Collection[Installed], python: bytecode.Interpreter | None) -> dict[str, str]:
    """Return path in the prefix → sha256, for the files that are in it as they are in their package.

    Two packages may bring one path: py-rattler puts one of the files aside, so nothing is said of it.
    """
    found: dict[str, str] = {}
    unclear: set[str] = set()
    for record, archive in installed:
        noarch = python is not None and record.noarch.python
        place = _moved(python.site) if python is not None and noarch else str
        own, links = _own(archive, place)
        unclear |= links | (found.keys() & own.keys())
        if noarch:
            unclear.update(f"{_scripts()}/{name}" for name in _entry_points(archive))
        found.update(own)
    return {path: digest for path, digest in found.items() if path not in unclear}


def _own(archive: Archive, place: Callable[[str], str]) -> tuple[dict[str, str], set[str]]:
    """Return path in the prefix → sha256 of the package's files that are not rewritten, and its links."""
    files = {
        place(path): fact.content
        for path, fact in archive.facts.items()
        if stat.S_ISREG(fact.mode) and not path.startswith("info/")
    }
    for path in archive.patched:
        files.pop(place(path), None)
    return files, {place(path) for path, fact in archive.facts.items() if stat.S_ISLNK(fact.mode)}


def _moved(site: str) -> Callable[[str], str]:
    """Return what gives the place of a noarch package's file."""
    places = {"site-packages": site, "python-scripts": _scripts()}

    def place(path: str) -> str:
        first, _, rest = path.partition("/")
        return f"{places[first]}/{rest}" if rest and first in places else path

    return place


def _entry_points(archive: Archive) -> list[str]:
    """Return the names of the programs that py-rattler makes for the package."""
    try:
        noarch = json.loads((archive.folder / "info" / "link.json").read_bytes())["noarch"]
        return [line.partition("=")[0].strip() for line in noarch.get("entry_points") or ()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


def _site(python: RepoDataRecord) -> str:
    if python.python_site_packages_path:
        return python.python_site_packages_path
    if sys.platform == "win32":
        return "Lib/site-packages"
    return f"lib/python{'.'.join(str(python.version).split('.')[:2])}/site-packages"


def _scripts() -> str:
    return "Scripts" if sys.platform == "win32" else "bin"


def _open_modes(prefix: Path, mask: int) -> None:
    """Give the files that py-rattler itself wrote the modes that the umask leaves.

    It writes conda-meta for the owner alone, and programs of entry points for the group to change (0.28).
    """
    for path in (prefix / "conda-meta").glob("*.json"):
        path.chmod(0o666 & ~mask)
    for folder in (prefix / "bin", prefix / "Scripts"):
        for path in folder.glob("*"):
            status = path.lstat()
            if stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and status.st_mode & mask:
                path.chmod(stat.S_IMODE(status.st_mode) & ~mask)
