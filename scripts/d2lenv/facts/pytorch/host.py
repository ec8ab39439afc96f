"""PyTorch's own host: builds that the Python package index does not have, by file and hash.

Its Linux wheels without CUDA, and its Windows wheels with it. A file is ``HOST/BUILD/FILE``, on mirrors too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from urllib.parse import quote

from packaging.utils import parse_wheel_filename

HOST = "https://download.pytorch.org/whl"

TRIO = ("torch", "torchvision", "torchaudio")
"""The packages that it has builds of its own of."""

_PLATFORMS = {
    "linux-64": ("manylinux_2_28_x86_64", "linux_x86_64"),
    "win-64": ("win_amd64",),
}
# What only the index's CUDA build for Linux needs (Requires-Dist of torch 2.0.1 and 2.10.0).
_CUDA_ONLY = re.compile(r"(nvidia|cuda)-.+|triton|cmake|lit")


@dataclass(frozen=True)
class HostFile:
    """One wheel.

    Attributes:
        name: the file's.
        version: with the build, as ``2.10.0+cpu``.
        size: bytes; 0 where no source says it.
    """

    name: str
    project: str
    version: str
    sha256: str
    size: int

    def address(self, base: str = HOST) -> str:
        """Return where it lies below ``base``, PyTorch's host or a mirror of it."""
        build = self.version.partition("+")[2]
        return f"{base.rstrip('/')}/{build}/{quote(self.name)}"


@cache
def _rows() -> tuple[HostFile, ...]:
    text = resources.files(__package__).joinpath("wheels.tsv").read_text(encoding="utf-8")
    lines = (line.split("\t") for line in text.splitlines() if not line.startswith("#"))
    return tuple(_row(name, sha256, size) for name, sha256, size, _ in lines)


def _row(name: str, sha256: str, size: str) -> HostFile:
    project, version, _, _ = parse_wheel_filename(name)
    return HostFile(name, project, str(version), sha256, int(size or 0))


def files(build: str, platform: str, python: str) -> Mapping[tuple[str, str], HostFile]:
    """Return (project, version without the build) → file, of those that are known for a platform and Python.

    Args:
        build: ``cpu`` or ``cu128``.
        python: ``3.12``.
    """
    tag = f"cp{python.replace('.', '')}"
    found = {}
    for file in _rows():
        version, _, local = file.version.partition("+")
        _, _, _, tags = parse_wheel_filename(file.name)
        here = any(t.interpreter == tag and t.platform in _PLATFORMS.get(platform, ()) for t in tags)
        if local == build and here:
            found[file.project, version] = file
    return found


def of_pin(project: str, version: str, sha256: str) -> HostFile | None:
    """Return the file that a pin names, None if it is none of the host's."""
    asked = (project, version, sha256)
    return next((file for file in _rows() if (file.project, file.version, file.sha256) == asked), None)


def is_needless(project: str, build: str) -> bool:
    """Return True if a package is there for the index's CUDA build alone."""
    return build == "cpu" and bool(_CUDA_ONLY.fullmatch(project))
