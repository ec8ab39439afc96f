"""Packages that single notebooks of the books import and that no environment has.

They are locked with hashes for each environment (``locks/``, made by ``tests/looks/book_extras.py``) and go
into a folder of their own, which only a run of a book sees: the environment stays as it is. gym 0.21.0 is the
last whose ``reset`` and ``seed`` are those that d2l 1.0.3 calls. It exists as source only, with metadata that
newer installers refuse, so a pip and a setuptools of its time build it (tried 2026-11-24). On Python 3.12 it
cannot be imported, so the locks for that have none and its two chapters need a package.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from d2lenv.base import process
from d2lenv.base.errors import D2lEnvError
from d2lenv.base.files import exclusive_lock
from d2lenv.base.messages import tr
from d2lenv.books.store import digest
from d2lenv.prefix import locations
from d2lenv.solve import uv

MODULES = ("SimpleITK", "diskcache", "gpytorch", "gym", "h5py", "imageio", "syne_tune", "tqdm")
"""The modules that notebooks import: 1.0.3's chapters on Gaussian processes, search of hyperparameters and
reinforcement learning, and *Deep Learning with PyTorch* 3, 4 and part 2."""

_TIMEOUT_S = 1800


@dataclass(frozen=True)
class Extras:
    """Extra packages that are installed.

    Attributes:
        folder: for PYTHONPATH.
        packages: ``name==version``, one a line.
    """

    folder: Path
    packages: str


def text_of(environment: str) -> str:
    """Return the lock of an environment's extras.

    Raises:
        D2lEnvError: if there is none.
    """
    file = resources.files("d2lenv") / "books" / "locks" / f"{environment}.txt"
    if not file.is_file():
        raise D2lEnvError(
            tr("no extra packages are locked for {name}", name=environment), fix=tr("leave --extras out")
        )
    return file.read_text(encoding="utf-8")


def install(environment: str, python: Path, place: Path, say: Callable[[str], None]) -> Extras:
    """Install the extras of ``environment`` below ``place``, unless they are there.

    Raises:
        D2lEnvError: if there are none, or the package index does not give them.
    """
    text = text_of(environment)
    packages = "\n".join(re.findall(r"^[\w.-]+==[\w.]+", text, re.MULTILINE))
    folder = place / f"books-{environment}-{digest((text + str(python)).encode())[:12]}"
    with exclusive_lock(place / ".lock", tr("extra packages"), say):
        if not folder.is_dir():
            say(tr("installing {names}", names=packages.replace("\n", ", ")))
            with tempfile.TemporaryDirectory(dir=place, prefix=".building-") as building:
                _install(text, python, Path(building))
                shutil.move(Path(building) / "site", folder)
    return Extras(folder, packages)


def _install(text: str, python: Path, building: Path) -> None:
    source = "".join(re.findall(r"^gym==.*\n(?:\s.*\n)*", text, re.MULTILINE))
    (building / "wheels.txt").write_text(text.replace(source, ""), encoding="utf-8")
    hashed = ("--no-deps", "--require-hashes")
    wheels = (*hashed, "--only-binary", ":all:")
    _uv(
        "pip",
        "install",
        *wheels,
        "--python",
        python,
        "--target",
        building / "site",
        "-r",
        building / "wheels.txt",
    )
    if source:
        _build(source, python, building, hashed)


def _build(source: str, python: Path, building: Path, hashed: tuple[str, ...]) -> None:
    """Build what exists as source only, with the tools of its time."""
    (building / "source.txt").write_text(source, encoding="utf-8")
    builders = (resources.files("d2lenv") / "books" / "locks" / "builders.txt").read_text(encoding="utf-8")
    (building / "builders.txt").write_text(builders, encoding="utf-8")
    wheels = (*hashed, "--only-binary", ":all:")
    _uv("venv", "--python", python, building / "venv")
    builder = locations.interpreter(building / "venv")
    _uv("pip", "install", *wheels, "--python", builder, "-r", building / "builders.txt")
    pip = ("pip", "install", "--disable-pip-version-check", *hashed, "--no-build-isolation")
    done = process.run(
        process.python_module(
            builder, *pip, "--target", str(building / "site"), "-r", str(building / "source.txt")
        ),
        timeout_s=_TIMEOUT_S,
        cwd=building,
    )
    _refuse(done)


def _uv(*arguments: str | Path) -> None:
    _refuse(uv.run(*arguments, timeout_s=_TIMEOUT_S, pip_index=True))


def _refuse(done: process.Done) -> None:
    if done.returncode:
        raise D2lEnvError(
            tr("the extra packages cannot be installed"),
            why=done.stderr.strip()[-800:],
            fix=tr("leave --extras out: their chapters are then said to need a package"),
        )
