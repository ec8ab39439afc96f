"""The platforms and their virtual packages, exactly as pixi has them.

Two spellings exist and must not be mixed (pixi 0.77, ``pixi_manifest/src/platform.rs`` and
``pixi_core/src/workspace/virtual_packages.rs``): the text that the lock carries, and the version and
build that the solver sees. A lock that carries the solver's spelling counts as customised and is refused
by ``pixi install --locked``.
"""

from __future__ import annotations

import platform as machine
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rattler import GenericVirtualPackage, PackageName, PackageRecord, Version

from d2lenv.base.errors import D2lEnvError
from d2lenv.base.messages import tr

if TYPE_CHECKING:
    from rattler.package import BuildString
else:
    try:
        from rattler.package import BuildString
    except ImportError:  # py-rattler 0.25, the newest in the `dev` environment's channel, takes plain text
        BuildString = str


@dataclass(frozen=True)
class VirtualPackage:
    """A virtual package that pixi assumes on a bare platform.

    Attributes:
        name: such as ``__glibc``.
        version: what the solver sees.
        build: what the solver sees.
        locked: the text in the lock.
    """

    name: str
    version: str
    build: str
    locked: str

    def for_solver(self) -> GenericVirtualPackage:
        return GenericVirtualPackage(PackageName(self.name), Version(self.version), BuildString(self.build))

    def as_record(self, subdir: str) -> PackageRecord:
        """The same as a record, so that a ``depends`` such as ``__glibc >=2.17`` can be matched."""
        fields: dict[str, Any] = {"build_number": 0, "subdir": subdir}
        return PackageRecord(self.name, self.version, BuildString(self.build), **fields)


def _archspec(name: str) -> VirtualPackage:
    return VirtualPackage("__archspec", "1", name, f"__archspec=0={name}")


_UNIX = VirtualPackage("__unix", "0", "0", "__unix=0=0")
_LINUX = VirtualPackage("__linux", "4.18", "0", "__linux=4.18")
_GLIBC = VirtualPackage("__glibc", "2.28", "0", "__glibc=2.28")
_OSX = VirtualPackage("__osx", "13.0", "0", "__osx=13.0")
_WIN = VirtualPackage("__win", "10.0", "0", "__win=10.0")

VIRTUAL_PACKAGES: dict[str, tuple[VirtualPackage, ...]] = {
    "linux-64": (_UNIX, _LINUX, _GLIBC, _archspec("x86_64")),
    "osx-64": (_UNIX, _OSX, _archspec("x86_64")),
    "osx-arm64": (_UNIX, _OSX, _archspec("m1")),
    "win-64": (_WIN, _archspec("x86_64")),
}
"""Platform → pixi's defaults, in the order in which pixi writes them."""

PLATFORMS = tuple(VIRTUAL_PACKAGES)
"""The platforms that this distribution serves, as conda subdirs."""


@dataclass(frozen=True)
class CondaLockPlatform:
    """A platform as conda-lock knows it, whether this distribution serves it or not.

    Attributes:
        selector: the mark in environment.yml that is true there and nowhere else (its ``selectors.py``).
        virtual: (name, version, build string) of the virtual packages that it assumes
            (its ``default-virtual-packages.yaml``).
    """

    selector: str
    virtual: tuple[tuple[str, str, str], ...]


_LOCK_UNIX, _LOCK_X86 = ("__unix", "0", ""), ("__archspec", "1", "x86_64")
_LOCK_LINUX = (_LOCK_UNIX, ("__linux", "5.10", ""), ("__glibc", "2.28", ""), ("__cuda", "11.4", ""))

CONDA_LOCK: Mapping[str, CondaLockPlatform] = {
    "linux-64": CondaLockPlatform("linux64", (*_LOCK_LINUX, _LOCK_X86)),
    "linux-aarch64": CondaLockPlatform("aarch64", (*_LOCK_LINUX, ("__archspec", "1", "aarch64"))),
    "linux-ppc64le": CondaLockPlatform("ppc64le", (*_LOCK_LINUX, ("__archspec", "1", "ppc64le"))),
    # The second __osx is for the sake of its older versions' hashes.
    "osx-64": CondaLockPlatform(
        "osx64", (_LOCK_UNIX, _LOCK_X86, ("__osx", "11.0", ""), ("__osx", "10.15", ""))
    ),
    "osx-arm64": CondaLockPlatform(
        "arm64", (_LOCK_UNIX, ("__archspec", "1", "arm64"), ("__osx", "11.0", ""))
    ),
    "win-64": CondaLockPlatform("win64", (("__win", "0", ""), _LOCK_X86, ("__cuda", "11.4", ""))),
}
"""conda subdir → conda-lock's knowledge of it (versions 2 to 4, read 2026-11-22)."""

SERVICES = "linux-64"
"""The platform of Colab, Studio Lab and Binder."""

_MACHINES = {
    ("linux", "x86_64"): "linux-64",
    ("darwin", "x86_64"): "osx-64",
    ("darwin", "arm64"): "osx-arm64",
    ("win32", "amd64"): "win-64",
}


def current() -> str:
    """The platform of this machine.

    Raises:
        D2lEnvError: this distribution has nothing for it (32-bit, Linux on Arm, musl …).
    """
    key = (sys.platform, machine.machine().lower())
    if key not in _MACHINES:
        raise D2lEnvError(
            tr("no environment of this distribution runs on {machine}", machine=f"{key[0]} {key[1]}"),
            fix=tr("use one of these machines: {names}", names=", ".join(PLATFORMS)),
        )
    return _MACHINES[key]
