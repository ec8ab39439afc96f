"""What py-rattler leaves to do in a prefix: modes, bytecode, and which digest each file has."""

from __future__ import annotations

import stat
import sys
from collections.abc import Collection, Iterable
from pathlib import Path

from rattler import RepoDataRecord

from d2lenv.engines.conda import bytecode
from d2lenv.engines.conda.cache import Cache
from d2lenv.prefix.archives import Archive

Installed = tuple[RepoDataRecord, Archive]


def open_modes(prefix: Path, mask: int) -> None:
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


def compile_noarch(cache: Cache, prefix: Path, installed: Collection[Installed]) -> dict[str, str]:
    """Compile the packages that come without bytecode; return path → sha256 of what was made."""
    python = next((record for record, _ in installed if record.name.normalized == "python"), None)
    if python is None:
        return {}
    program = prefix / ("python.exe" if sys.platform == "win32" else "bin/python")
    interpreter = bytecode.Interpreter(python, program, _site(python))
    return bytecode.add(
        cache,
        prefix,
        interpreter,
        [(record, archive) for record, archive in installed if record.noarch.python],
    )


def digests(installed: Iterable[Installed]) -> dict[str, str]:
    """Return path in the prefix → sha256, for the files that are in it as they are in their package.

    Two packages may bring one path: py-rattler puts one of the files aside, so nothing is said of it.
    """
    installed = list(installed)
    python = next((record for record, _ in installed if record.name.normalized == "python"), None)
    places = {"site-packages": _site(python), "python-scripts": _scripts()} if python else {}
    found: dict[str, str] = {}
    twice: set[str] = set()
    for record, archive in installed:
        moved = places if record.noarch.python else {}
        for path, fact in archive.facts.items():
            first, slash, rest = path.partition("/")
            if first == "info" or path in archive.patched or not stat.S_ISREG(fact.mode):
                continue
            place = f"{moved[first]}/{rest}" if slash and first in moved else path
            if place in found:
                twice.add(place)
            found[place] = fact.content
    for place in twice:
        del found[place]
    return found


def _site(python: RepoDataRecord) -> str:
    if python.python_site_packages_path:
        return python.python_site_packages_path
    if sys.platform == "win32":
        return "Lib/site-packages"
    return f"lib/python{'.'.join(str(python.version).split('.')[:2])}/site-packages"


def _scripts() -> str:
    return "Scripts" if sys.platform == "win32" else "bin"
