"""A Python that runs from any folder, for machines that have none.

uv knows the builds of python-build-standalone with their sha256, for other platforms too, and fetches one.
Where that host does not answer, a folder with such a Python is named by hand. Whether it really runs from
another folder is tried on this machine's platform.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from d2lenv.base import process
from d2lenv.base.errors import D2lEnvError
from d2lenv.base.messages import tr
from d2lenv.bundle import tar
from d2lenv.engines import interpreters
from d2lenv.facts import platforms
from d2lenv.prefix import locations
from d2lenv.solve import uv

_TIMEOUT_S = 1800.0
_TRY_S = 60.0
# Modules whose libraries a copied Python loses first.
_TRIAL = "import ctypes, sqlite3, ssl, sys, venv, zlib; print(sys.prefix)"


@dataclass(frozen=True)
class Source:
    """A folder with a Python.

    Attributes:
        folder: its prefix.
        version: ``3.10``.
        release: ``3.10.13``.
    """

    folder: Path
    version: str
    release: str


def given(folder: Path) -> Source:
    """Return the Python in ``folder``, which must be one for this machine.

    Raises:
        D2lEnvError: if it has none that runs.
    """
    program = locations.interpreter(folder)
    found = interpreters.probe(program, tr("--python"))
    if found is None:
        raise D2lEnvError(
            tr("{path} has no Python that runs here", path=folder),
            fix=tr("name the folder that holds its `bin`, as `uv python dir` has them"),
        )
    done = process.run(
        [program, "-I", "-c", "import platform; print(platform.python_version())"], timeout_s=_TRY_S
    )
    return Source(folder.resolve(), found.version, done.stdout.strip())


def from_uv(version: str, platform: str, folder: Path) -> Source | None:
    """Let uv fetch a Python into ``folder``; None if it cannot."""
    words: list[str | Path] = [
        "python",
        "install",
        "--no-bin",
        "--install-dir",
        folder,
        uv_name(version, platform),
    ]
    try:
        done = uv.run(*words, timeout_s=_TIMEOUT_S)
    except OSError:
        return None
    places = [place for place in folder.glob("cpython-*") if place.is_dir() and not place.is_symlink()]
    if done.returncode != 0 or len(places) != 1:
        return None
    return Source(places[0], version, places[0].name.split("-")[1])


def uv_name(version: str, platform: str) -> str:
    """Return uv's name for a Python, as ``cpython-3.10-linux-x86_64-gnu``."""
    row = platforms.row(platform)
    system = {"Linux": "linux", "Darwin": "macos", "Windows": "windows"}[row.system.name]
    machine = {"arm64": "aarch64", "AMD64": "x86_64"}.get(row.machine, row.machine)
    return f"cpython-{version}-{system}-{machine}-{'gnu' if system == 'linux' else 'none'}"


def pack(source: Source, platform: str, target: Path) -> None:
    """Write the archive ``target`` of a Python; its one folder has the archive's name.

    Raises:
        D2lEnvError: if it does not run from another folder, or the disk is full.
    """
    tar.write(target, ((f"{target.stem}/{name}", path) for name, path in _files(source)))
    if platform == platforms.current():
        _try(target)


def _files(source: Source) -> Iterator[tuple[str, Path]]:
    """Yield (name, file): no compiled modules, whose bytes vary, and nothing that was installed into it."""
    for here, folders, files in os.walk(source.folder):
        at = Path(here)
        folders[:] = [name for name in folders if name not in ("__pycache__", "site-packages")]
        links = [name for name in folders if (at / name).is_symlink()]
        for name in (*files, *links):
            path = at / name
            if not path.is_symlink() or _stays_inside(path, source.folder):
                yield path.relative_to(source.folder).as_posix(), path


def _stays_inside(link: Path, folder: Path) -> bool:
    return not link.readlink().is_absolute() and link.resolve().is_relative_to(folder) and link.exists()


def _try(archive: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="d2lenv-python-") as name:
        tar.unpack(archive, Path(name))
        folder = Path(name) / archive.stem
        try:
            done = process.run(
                [locations.interpreter(folder), "-I", "-B", "-c", _TRIAL], timeout_s=_TRY_S, environ={}
            )
        except OSError as error:
            raise _fixed(archive, str(error)) from error
        if done.returncode != 0 or Path(done.stdout.strip()).resolve() != folder.resolve():
            raise _fixed(archive, (done.stderr or done.stdout).strip()[-300:])


def _fixed(archive: Path, why: str) -> D2lEnvError:
    archive.unlink(missing_ok=True)
    return D2lEnvError(
        tr("this Python does not run from another folder: {name}", name=archive.stem),
        why=why,
        fix=tr("take one of `uv python install`: those are made to be moved"),
    )


def choose(sources: Sequence[Source], version: str) -> Source | None:
    """Return the given Python of a version."""
    return next((source for source in sources if source.version == version), None)
