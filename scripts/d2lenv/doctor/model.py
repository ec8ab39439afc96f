"""What a finding is, what it is given, and how its text is made safe to print."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from packaging.version import InvalidVersion, Version

from d2lenv.doctor.probe.hardware import Gpu
from d2lenv.doctor.probe.system import Machine
from d2lenv.facts import platforms
from d2lenv.prefix.contents.model import Distribution, Prefix, Unreadable
from d2lenv.prefix.contents.text import read_optional

Severity = Literal["error", "warning", "info", "not-checked"]

TRIO = ("torch", "torchvision", "torchaudio")
"""Import names, and names on the Python package index; conda calls the first one `pytorch`."""

CONDA_NAMES = {"torch": "pytorch"}
"""Import name → conda name, where they differ."""

_VERSION_FILE_LIMIT = 64 << 10


@dataclass(frozen=True)
class Command:
    """One thing to type.

    Attributes:
        argv: the program and its arguments, empty for advice that no command carries out.
        text: the advice.
        safe: it touches nothing but the examined prefix and can be run without a question.
        installs: what pip or uv would install, as it is asked for (``numpy<2``).
        removes: distributions that pip or uv would remove.
        index: PyTorch's own index, where it is given.
        specs: the words of ``argv`` that name packages, one after the other, empty when it names none.
    """

    argv: tuple[str, ...] = ()
    text: str = ""
    safe: bool = False
    installs: tuple[str, ...] = ()
    removes: tuple[str, ...] = ()
    index: str = ""
    specs: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.argv:
            return self.text
        return for_windows(self.argv) if os.name == "nt" else shlex.join(self.argv)


def for_windows(argv: Sequence[str]) -> str:
    """``argv`` for cmd and PowerShell, which read `numpy<2` without quotes as a redirection."""
    return " ".join(f'"{word}"' if re.search(r"[\s<>|&^;,()']", word) or not word else word for word in argv)


@dataclass(frozen=True)
class Found:
    """Something that was seen: what, its version, and the file that says so."""

    what: str
    version: str = ""
    file: str = ""


@dataclass(frozen=True)
class Problem:
    """What a finding's function reports; the runner adds the code and the explanation."""

    severity: Severity
    title: str
    subject: str = ""
    found: tuple[Found, ...] = ()
    fix: tuple[Command, ...] = ()


@dataclass(frozen=True)
class Finding:
    """A problem with its stable code and its explanation, ready to print.

    Attributes:
        why: why it matters, in the reader's language.
        safe: every command of ``fix`` is safe.
    """

    code: str
    severity: Severity
    title: str
    subject: str
    found: tuple[Found, ...]
    why: str
    fix: tuple[Command, ...]

    @property
    def safe(self) -> bool:
        return bool(self.fix) and all(command.safe for command in self.fix)


@dataclass(frozen=True)
class Build:
    """How one of the PyTorch packages was built.

    Attributes:
        cuda: ``11.7``, empty for a CPU build; ``None`` when the files do not say.
        file: what says so.
    """

    version: str
    cuda: str | None
    file: Path


@dataclass(frozen=True)
class Notebook:
    """A notebook of the reader's.

    Attributes:
        names: what it uses as ``d2l.<name>``.
        kernel: the kernel that it asks for, empty when it says none.
    """

    file: Path
    names: frozenset[str]
    kernel: str = ""


@dataclass(frozen=True)
class Locked:
    """One package as the lock has it; ``build`` and ``channel`` are empty for wheels."""

    name: str
    version: str
    build: str = ""
    channel: str = ""


@dataclass(frozen=True)
class Expected:
    """What the lock says should be in the prefix.

    Attributes:
        file: the lock, or the requirements derived from it.
        trouble: why it could not be read, empty when it could.
        beside: wheels that belong to conda's packages.
        overrides: packages that are meant to be others than d2l asks for.
    """

    environment: str
    platform: str
    file: Path
    conda: bool
    packages: tuple[Locked, ...] = ()
    trouble: str = ""
    beside: tuple[Locked, ...] = ()
    overrides: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Context:
    """Everything that the findings may look at; gathered once.

    Attributes:
        beside: modules and packages of the reader's own in the folders of the notebooks.
        changed: distributions that are not as their files say: this is a forecast (see advice.py).
    """

    prefix: Prefix
    machine: Machine
    gpu: Gpu
    environ: Mapping[str, str] = field(default_factory=dict)
    expected: Expected | None = None
    notebooks: tuple[Notebook, ...] = ()
    beside: tuple[Path, ...] = ()
    active: bool = False
    home: Path = field(default_factory=Path.home)
    changed: frozenset[str] = frozenset()

    @cached_property
    def builds(self) -> Mapping[str, Build]:
        """Import name → how it was built, for those of the trio that are installed."""
        found = ((name, self._build(name)) for name in TRIO)
        return {name: build for name, build in found if build is not None}

    @cached_property
    def trouble(self) -> list[Unreadable]:
        """What the findings themselves could not read; they add to it."""
        return []

    def is_meant(self, name: str) -> bool:
        """Return True if the environment is meant to have another ``name`` than d2l asks for."""
        return self.expected is not None and name in self.expected.overrides

    def version(self, name: str) -> str:
        """Version of the distribution or conda package ``name``, without a local part, empty when absent."""
        found = self.prefix.find(name)
        if found is not None:
            return found.version.partition("+")[0]
        package = self.prefix.conda_package(CONDA_NAMES.get(name, name))
        return package.version.partition("+")[0] if package else ""

    def _build(self, name: str) -> Build | None:
        package = self.prefix.conda_package(CONDA_NAMES.get(name, name))
        distribution = self.prefix.find(name)
        if package is not None and (distribution is None or distribution.conda):
            return Build(package.version, cuda_of_build_string(package.build), package.file)
        if distribution is None:
            return None
        if name in self.changed:
            return Build(distribution.version, None, distribution.folder)
        file = distribution.site / name / "version.py"
        text = read_optional(file, _VERSION_FILE_LIMIT, self.trouble)
        # torch: `__version__ = '2.0.1+cu117'`, `cuda = '11.7'` or None; the others only the first line.
        version = _assigned(text, "__version__") or distribution.version
        local = version.partition("+")[2]
        if local.startswith("cu") and local[2:].isdecimal():
            return Build(version, f"{local[2:-1]}.{local[-1]}", file)
        if local == "cpu" or local.startswith(("rocm", "xpu")):
            return Build(version, "", file)
        cuda = _assigned(text, "cuda")
        if cuda:
            return Build(version, cuda, file)
        # A macOS build has neither a local version nor CUDA.
        none = re.search(r"^cuda\b[^=\n]*=\s*None", text, re.MULTILINE) is not None
        system = platforms.system_of(self.prefix.platform)
        return Build(version, "" if none or (system is not None and not system.cuda) else None, file)


def _assigned(text: str, name: str) -> str:
    match = re.search(rf"^{name}\b[^=\n]*=\s*['\"]([^'\"\n]{{1,64}})['\"]", text, re.MULTILINE)
    return match.group(1) if match else ""


def cuda_of_build_string(build: str) -> str | None:
    """CUDA version in a conda build string, empty for a CPU build, ``None`` when it does not say."""
    if match := re.search(r"cuda_?(\d{1,2}\.\d{1,2})", build):
        return match.group(1)
    if match := re.search(r"(?:cu|cuda)(\d{2})(\d)(?!\d)", build):
        return f"{match.group(1)}.{match.group(2)}"
    if "cpu" in build or re.fullmatch(r"py3\.\d+_\d+", build):  # pytorch's macOS builds: py3.10_0
        return ""
    return None


Check = Callable[[Context], Iterator[Problem]]
"""A finding: yields nothing when all is well. Its docstring is the explanation that the reader gets."""


def parsed(version: str) -> Version | None:
    """The version, or ``None`` for something that is none."""
    try:
        return Version(version)
    except (InvalidVersion, ValueError):  # ValueError: a number of more digits than `int` takes
        return None


def from_distribution(distribution: Distribution) -> Found:
    return Found(
        f"{distribution.name} ({distribution.source})", distribution.version, str(distribution.folder)
    )


def joined(items: Iterable[str]) -> str:
    return ", ".join(items)
