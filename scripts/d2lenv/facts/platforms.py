"""The platforms: one row for each conda subdir, with all that any module knows of it.

A row is all that a new platform takes beside pixi.toml. :func:`row` names what is missing.

Virtual packages have two spellings, which must not be mixed (pixi 0.77, ``pixi_manifest/src/platform.rs``
and ``pixi_core/src/workspace/virtual_packages.rs``): the text that the lock carries, and the version and
build that the solver sees. A lock that carries the solver's spelling counts as customised and is refused by
``pixi install --locked``.
"""

from __future__ import annotations

import platform as machine
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from d2lenv.base.errors import D2lEnvError
from d2lenv.base.messages import tr

if TYPE_CHECKING:
    from rattler import GenericVirtualPackage, PackageRecord
    from rattler.package import BuildString


def _build_string(text: str) -> BuildString:
    try:
        from rattler.package import BuildString
    except ImportError:  # py-rattler 0.25, the newest in the `dev` environment's channel, takes plain text
        return text  # type: ignore[return-value]
    return BuildString(text)


@dataclass(frozen=True)
class VirtualPackage:
    """A virtual package that pixi assumes on a bare platform.

    Attributes:
        name: such as ``__glibc``.
        version: as the solver sees it.
        build: as the solver sees it.
        locked: the text in the lock.
    """

    name: str
    version: str
    build: str
    locked: str

    def for_solver(self) -> GenericVirtualPackage:
        from rattler import GenericVirtualPackage, PackageName, Version

        return GenericVirtualPackage(PackageName(self.name), Version(self.version), _build_string(self.build))

    def as_record(self, subdir: str) -> PackageRecord:
        """Return the same as a record, so that a ``depends`` such as ``__glibc >=2.17`` can be matched."""
        from rattler import PackageRecord

        fields: dict[str, Any] = {"build_number": 0, "subdir": subdir}
        return PackageRecord(self.name, self.version, _build_string(self.build), **fields)


@dataclass(frozen=True)
class System:
    """An operating system.

    Attributes:
        name: as ``platform.system()`` and the markers' ``platform_system`` have it.
        sys_platform: as ``sys.platform`` and the markers have it.
        os_name: as ``os.name`` and the markers have it.
        families: pixi's names for it, which a ``target`` may have.
        cuda: whether PyTorch has CUDA builds for it.
    """

    name: Literal["Linux", "Darwin", "Windows"]
    sys_platform: str
    os_name: str
    families: frozenset[str]
    cuda: bool = False


LINUX = System("Linux", "linux", "posix", frozenset({"unix", "linux"}), cuda=True)
MACOS = System("Darwin", "darwin", "posix", frozenset({"unix", "osx", "macos"}))
WINDOWS = System("Windows", "win32", "nt", frozenset({"win"}), cuda=True)

_SYSTEMS = {"linux": LINUX, "osx": MACOS, "win": WINDOWS}


@dataclass(frozen=True)
class CondaLock:
    """A platform as conda-lock knows it (versions 2 to 4, read 2026-11-22).

    Attributes:
        selector: the mark in environment.yml that is true there and nowhere else (its ``selectors.py``).
        virtual: (name, version, build string) of the virtual packages that it assumes
            (its ``default-virtual-packages.yaml``).
    """

    selector: str
    virtual: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class Subdir:
    """A platform, called as conda's folder for it.

    Attributes:
        system: its operating system.
        machine: its processor as Python and the markers' ``platform_machine`` have it.
        virtual: pixi's default virtual packages, in the order in which pixi writes them.
        uv: uv's name for it (``--python-platform``), with the glibc or macOS that pixi assumes.
        program: (format, processor) in the first bytes of its programs: ``e_machine`` of ELF, ``cputype`` of
            Mach-O, ``Machine`` of PE.
        runner: GitHub's machine that stands for it in CI, empty for none.
        conda_lock: None where conda-lock does not know it.
        last_torch: the last release of torch with wheels for it, empty while there are new ones, None when
            that was not looked up. Asked with pip's ``--platform``, 2026-11-24.
        index_cuda: whether the Python package index's wheels of torch are CUDA builds there (seen to 2.10).
    """

    system: System
    machine: str
    virtual: tuple[VirtualPackage, ...]
    uv: str
    program: tuple[Literal["ELF", "Mach-O", "PE"], int]
    runner: str = ""
    conda_lock: CondaLock | None = None
    last_torch: str | None = None
    index_cuda: bool = False


def _archspec(name: str) -> VirtualPackage:
    return VirtualPackage("__archspec", "1", name, f"__archspec=0={name}")


_UNIX = VirtualPackage("__unix", "0", "0", "__unix=0=0")
_LINUX = (
    _UNIX,
    VirtualPackage("__linux", "4.18", "0", "__linux=4.18"),
    VirtualPackage("__glibc", "2.28", "0", "__glibc=2.28"),
)
_OSX = (_UNIX, VirtualPackage("__osx", "13.0", "0", "__osx=13.0"))
_WIN = VirtualPackage("__win", "10.0", "0", "__win=10.0")

_LOCK_UNIX, _LOCK_X86 = ("__unix", "0", ""), ("__archspec", "1", "x86_64")
_LOCK_LINUX = (_LOCK_UNIX, ("__linux", "5.10", ""), ("__glibc", "2.28", ""), ("__cuda", "11.4", ""))

ROWS = {
    "linux-64": Subdir(
        system=LINUX,
        machine="x86_64",
        virtual=(*_LINUX, _archspec("x86_64")),
        uv="x86_64-manylinux_2_28",
        program=("ELF", 0x3E),
        runner="ubuntu-24.04",
        conda_lock=CondaLock("linux64", (*_LOCK_LINUX, _LOCK_X86)),
        last_torch="",
        index_cuda=True,
    ),
    "linux-aarch64": Subdir(
        system=LINUX,
        machine="aarch64",
        virtual=(*_LINUX, _archspec("aarch64")),
        uv="aarch64-manylinux_2_28",
        program=("ELF", 0xB7),
        runner="ubuntu-24.04-arm",
        conda_lock=CondaLock("aarch64", (*_LOCK_LINUX, ("__archspec", "1", "aarch64"))),
    ),
    "osx-64": Subdir(
        system=MACOS,
        machine="x86_64",
        virtual=(*_OSX, _archspec("x86_64")),
        uv="x86_64-apple-darwin",
        program=("Mach-O", 0x01000007),
        runner="macos-15-intel",
        # The second __osx is for the sake of its older versions' hashes.
        conda_lock=CondaLock("osx64", (_LOCK_UNIX, _LOCK_X86, ("__osx", "11.0", ""), ("__osx", "10.15", ""))),
        last_torch="2.2.2",
    ),
    "osx-arm64": Subdir(
        system=MACOS,
        machine="arm64",
        virtual=(*_OSX, _archspec("m1")),
        uv="aarch64-apple-darwin",
        program=("Mach-O", 0x0100000C),
        runner="macos-15",
        conda_lock=CondaLock("arm64", (_LOCK_UNIX, ("__archspec", "1", "arm64"), ("__osx", "11.0", ""))),
        last_torch="",
    ),
    "win-64": Subdir(
        system=WINDOWS,
        machine="AMD64",
        virtual=(_WIN, _archspec("x86_64")),
        uv="x86_64-pc-windows-msvc",
        program=("PE", 0x8664),
        runner="windows-2022",
        conda_lock=CondaLock("win64", (("__win", "0", ""), _LOCK_X86, ("__cuda", "11.4", ""))),
        last_torch="",
    ),
}
"""Every platform that is known, by its subdir."""

SERVICES = "linux-64"
"""The platform of Colab, Studio Lab and Binder."""


def row(subdir: str) -> Subdir:
    """Return the row of a platform.

    Raises:
        D2lEnvError: if there is none.
    """
    if subdir not in ROWS:
        raise D2lEnvError(
            tr("nothing is known of the platform `{name}`", name=subdir),
            why=tr("scripts/d2lenv/facts/platforms.py has no row for it"),
            fix=tr("take one of these: {names}", names=", ".join(ROWS)),
        )
    return ROWS[subdir]


def index_cuda(subdir: str) -> bool:
    """Return True if the Python package index's wheels of torch for the platform are CUDA builds."""
    return subdir in ROWS and ROWS[subdir].index_cuda


def in_conda_lock(subdir: str) -> bool:
    """Return True if conda-lock knows the platform."""
    return subdir in ROWS and ROWS[subdir].conda_lock is not None


def conda_lock(subdir: str) -> CondaLock:
    """Return a platform as conda-lock knows it.

    Raises:
        D2lEnvError: if conda-lock does not know it.
    """
    known = row(subdir).conda_lock
    if known is None:
        raise D2lEnvError(tr("conda-lock does not know the platform `{name}`", name=subdir))
    return known


def system_of(subdir: str) -> System | None:
    """Return the operating system that a subdir's name begins with, whether there is a row or not."""
    return _SYSTEMS.get(subdir.partition("-")[0])


def of_machine(sys_platform: str, processor: str) -> str:
    """Return the platform of a machine, empty when there is no row for it."""
    return next(
        (
            name
            for name, row in ROWS.items()
            if row.system.sys_platform == sys_platform and row.machine.lower() == processor.lower()
        ),
        "",
    )


def of_program(form: str, processor: int) -> str:
    """Return the platform that a program with such a header was made for, empty without a row."""
    return next((name for name, row in ROWS.items() if row.program == (form, processor)), "")


def current() -> str:
    """Return the platform of this machine.

    Raises:
        D2lEnvError: if there is no row for it (32-bit, musl …).
    """
    name = of_machine(sys.platform, machine.machine())
    if not name:
        raise D2lEnvError(
            tr(
                "no environment of this distribution runs on {machine}",
                machine=f"{sys.platform} {machine.machine().lower()}",
            ),
            fix=tr("use one of these machines: {names}", names=", ".join(ROWS)),
        )
    return name
