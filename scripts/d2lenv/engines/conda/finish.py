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
from d2lenv.prefix import baseline, locations
from d2lenv.prefix.archives import Archive, Fact
from d2lenv.prefix.scan import Known

Installed = tuple[RepoDataRecord, Archive]


@dataclass(frozen=True)
class Prepared:
    """What can be done as soon as it is known which packages get into a prefix.

    Attributes:
        python: the environment's interpreter, None for none.
        files: path → what is known of the files that are in the prefix as in their package, and of bytecode.
        shelves: the bytecode that was kept, and that is to be made.
    """

    python: bytecode.Interpreter | None
    files: dict[str, Known]
    shelves: bytecode.Shelves


def prepare(cache: Cache, prefix: Path, installed: Collection[Installed]) -> Prepared:
    """Link the bytecode that was kept into ``prefix``, and say what its files will be."""
    python = _interpreter(prefix, [record for record, _ in installed])
    if python is None:
        return Prepared(None, _files(installed, prefix, None), bytecode.Shelves([], []))
    noarch = [(record, archive) for record, archive in installed if record.noarch.python]
    shelves = bytecode.look_up(cache, python, noarch)
    compiled = bytecode.take(shelves, prefix, python)
    return Prepared(python, _files(installed, prefix, python) | compiled, shelves)


def complete(cache: Cache, prefix: Path, prepared: Prepared) -> dict[str, Known]:
    """Do the rest once py-rattler has ended, and return path → what is known of it."""
    _open_modes(prefix, cache.mask)
    if prepared.python is None:
        return prepared.files
    return prepared.files | bytecode.make(prepared.shelves, prefix, prepared.python)


def _interpreter(prefix: Path, records: Iterable[RepoDataRecord]) -> bytecode.Interpreter | None:
    python = next((record for record in records if record.name.normalized == "python"), None)
    program = prefix / ("python.exe" if sys.platform == "win32" else "bin/python")
    return bytecode.Interpreter(python, program, _site(python)) if python else None


def _files(
    installed: Collection[Installed], prefix: Path, python: bytecode.Interpreter | None
) -> dict[str, Known]:
    """Return path in the prefix → what is known, for the files that are in it as they are in their package.

    Two packages may bring one path: py-rattler puts one of the files aside, so nothing is said of it.
    """
    found: dict[str, Known] = {}
    unclear: set[str] = set()
    for record, archive in installed:
        noarch = python is not None and record.noarch.python
        place = _moved(python.site) if python is not None and noarch else str
        own, links = _own(archive, place)
        unclear |= links | (found.keys() & own.keys())
        if noarch:
            unclear.update(f"{_scripts()}/{name}" for name in _entry_points(archive))
        found.update(baseline.known_files(own, archive.folder, prefix))
    for path in unclear:
        found.pop(path, None)
    return found


def _own(archive: Archive, place: Callable[[str], str]) -> tuple[dict[str, Fact], set[str]]:
    """Return path in the prefix → fact of the package's files that are not rewritten, and its links."""
    files = {
        place(path): fact
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
    return locations.new_site_packages(".".join(str(python.version).split(".")[:2]))


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
