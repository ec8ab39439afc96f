"""Find a Python of the right version that really runs.

Shims and Windows' app aliases are on the PATH without being a Python, so every candidate is started; its
answer, not its name, counts.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

from d2lenv.base import process
from d2lenv.base.errors import D2lEnvError
from d2lenv.base.messages import tr
from d2lenv.solve import uv

_PROBE_TIMEOUT_S = 15.0
_DOWNLOAD_TIMEOUT_S = 600.0
_PROBE = """
import json, os, platform, struct, sys
base = getattr(sys, "_base_executable", None) or sys.executable
if sys.prefix != sys.base_prefix and os.path.dirname(base) == os.path.dirname(sys.executable):
    base = os.path.realpath(base)  # before Python 3.11 a virtual environment does not say where it comes from
bits = struct.calcsize("P") * 8
print(json.dumps([sys.version_info[:2], sys.implementation.name, bits, platform.machine(), base]))
"""


@dataclass(frozen=True)
class Interpreter:
    """A Python that ran.

    Attributes:
        path: its executable; of a virtual environment, the one it was made from.
        version: ``3.10``.
        source: where it was found, in the reader's language.
    """

    path: Path
    version: str
    source: str


def search(versions: Sequence[str], asked: Path | None) -> Interpreter | None:
    """Return ``asked``, else the first Python that is here, in the order of ``versions``; download none.

    Raises:
        D2lEnvError: if ``asked`` is none of them.
    """
    if asked is not None:
        found = probe(asked, tr("--python"))
        if found is None or found.version not in versions:
            raise D2lEnvError(
                tr("{path} is not a Python {version}", path=asked, version=", ".join(versions)),
                why=tr("it is Python {version}", version=found.version) if found else tr("it does not run"),
                fix=_how_to_get(versions[0]),
            )
        return found
    return next(filter(None, map(_here, versions)), None)


def find(
    version: str,
    asked: Path | None,
    say: Callable[[str], None],
    *,
    download: bool = True,
    others: Sequence[str] = (),
) -> Interpreter:
    """The first 64-bit CPython ``version`` in this order: ``asked``, the PATH, pyenv's versions, a conda
    base, the system's packages, uv's managed download.

    Args:
        version: ``3.10``.
        asked: ``--python``: nothing else is then tried.
        download: whether uv may fetch one.
        others: versions that would have done as well, none of which is here.

    Raises:
        D2lEnvError: none; the message says which commands would get one.
    """
    found = search([version], asked) or (_from_uv(version, say) if download else None)
    if found is not None:
        return found
    wanted = " / ".join(sorted({version, *others}, key=Version))
    raise D2lEnvError(
        tr("no Python {version} was found", version=wanted),
        why=tr("looked on the PATH, in pyenv's versions, conda bases, the system's packages and uv's own"),
        fix=_how_to_get(version),
    )


def _here(version: str) -> Interpreter | None:
    """Return the first Python ``version`` of the candidates."""
    # Several at a time: a program that is slow to say what it is does not hold up the others.
    pool = ThreadPoolExecutor(max_workers=8)
    try:
        found = pool.map(lambda candidate: probe(*candidate), candidates(version))
        return next((one for one in found if one is not None and one.version == version), None)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def candidates(version: str) -> Iterator[tuple[Path, str]]:
    """(executable, where it was found), best first: none of them has been started yet."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    # What runs behind pyenv's shims is in its versions; they take a tenth of a second each to say so.
    folders = [
        folder
        for folder in dict.fromkeys(folders)
        if Path(folder).is_absolute() and Path(folder) != pyenv / "shims"
    ]
    for name in (f"python{version}", "python3", "python"):
        # Every folder, not the first one alone: a shim that does not run may hide a Python that does.
        for folder in folders:
            on_path = shutil.which(name, path=folder)
            if on_path and _may_be(Path(on_path), version):
                yield Path(on_path), tr("on the PATH")
    for place in _newest_first(pyenv / "versions", version):
        yield _python_in(place), tr("in pyenv's versions")
    for base in _conda_bases():
        yield _python_in(base), tr("a conda base")
    yield Path("/usr/bin") / f"python{version}", tr("the system's package")


def _may_be(path: Path, version: str) -> bool:
    """Return False if the program behind ``path`` has another version in its own name: 20 ms saved."""
    stated = re.fullmatch(r"python(\d+\.\d+)(\.exe)?", path.resolve().name)
    return stated is None or stated[1] == version


def probe(path: Path, source: str) -> Interpreter | None:
    """Start ``path`` and ask what it is.

    None when it does not run, is no 64-bit CPython, or is built for another processor than the one that
    the wheels are chosen for (an Intel Python on Apple silicon).
    """
    try:
        # -B: a finished prefix is probed too, and bytecode would name the folder that it was built in.
        done = process.run([path, "-I", "-B", "-c", _PROBE], timeout_s=_PROBE_TIMEOUT_S)
        (major, minor), implementation, bits, machine, base = json.loads(done.stdout)
    except (OSError, ValueError, TypeError):
        return None
    if done.returncode != 0 or implementation != "cpython" or bits != 64:
        return None
    if machine.lower() != platform.machine().lower():
        return None
    return Interpreter(Path(base), f"{major}.{minor}", source)


def _newest_first(folder: Path, version: str) -> list[Path]:
    def patch(path: Path) -> tuple[int, ...]:
        return tuple(int(part) for part in path.name.split(".") if part.isdigit())

    try:
        return sorted(folder.glob(f"{version}.*"), key=patch, reverse=True)
    except OSError:
        return []


def _python_in(folder: Path) -> Path:
    return folder / "python.exe" if sys.platform == "win32" else folder / "bin" / "python"


def _conda_bases() -> Iterator[Path]:
    conda = os.environ.get("CONDA_EXE") or shutil.which("conda")
    if conda:
        # <base>/bin/conda, <base>/condabin/conda or <base>\Scripts\conda.exe
        yield Path(conda).resolve().parent.parent
    root = os.environ.get("MAMBA_ROOT_PREFIX")
    if root:
        yield Path(root)
    for name in ("miniforge3", "mambaforge", "miniconda3", "anaconda3"):
        yield Path.home() / name


def _from_uv(version: str, say: Callable[[str], None]) -> Interpreter | None:
    def run(arguments: list[str]) -> str:
        try:
            done = uv.run("python", *arguments, timeout_s=_DOWNLOAD_TIMEOUT_S)
        except OSError:
            return ""
        return done.stdout.strip() if done.returncode == 0 else ""

    query = ["find", "--managed-python", "--no-python-downloads", "--no-project", version]
    path = run(query)
    if not path:
        say(tr("no Python {version} here; asking uv to download one", version=version))
        run(["install", version])
        path = run(query)
    return probe(Path(path), tr("uv's managed download")) if path else None


def _how_to_get(version: str) -> str:
    ways = [
        f"uv python install {version}",
        f"pyenv install {version}",
        f"conda create -n py python={version}",
    ]
    if sys.platform == "linux":
        ways.append(f"sudo apt install python{version}")
    return tr("one of these gets it: {commands}", commands="; ".join(f"`{way}`" for way in ways))
