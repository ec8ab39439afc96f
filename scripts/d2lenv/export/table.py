"""An environment of a lock as plain, checked values: all that a format module ever sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from d2lenv.workspace.beside import FILE, PIP
from d2lenv.workspace.channels import CHANNEL_HOST
from d2lenv.workspace.pins import Pin


@dataclass(frozen=True)
class CondaPackage:
    """One locked conda package.

    Attributes:
        channel: the channel's address without a closing slash.
        subdir: the folder that the archive lies in: the platform's, or ``noarch``.
        md5, sha256: lower-case hex, empty where the lock has none.
        size: bytes of the archive, None where the lock does not say.
        depends: match specs as in the channel's index.
        pypi: the name on the Python package index of what it installs, empty for what is not Python's.
    """

    name: str
    version: str
    build: str
    url: str
    channel: str
    subdir: str
    file_name: str
    md5: str
    sha256: str
    size: int | None
    license: str
    depends: tuple[str, ...]
    pypi: str = ""

    @property
    def archive(self) -> str:
        """``conda`` or ``tar.bz2``."""
        return "conda" if self.file_name.endswith(".conda") else "tar.bz2"


@dataclass(frozen=True)
class Wheel:
    """One locked PyPI package: a wheel or a source archive at an https address.

    Attributes:
        name: normalised as the packaging standard has it.
        md5, sha256: lower-case hex, empty where the lock has none.
        requires: its requirements (``Requires-Dist``).
    """

    name: str
    version: str
    url: str
    md5: str
    sha256: str
    requires: tuple[str, ...]


@dataclass(frozen=True)
class PlatformTable:
    """The packages of one platform.

    Attributes:
        platform: its name: the subdir, or that of a named platform, as ``linux-64-cuda``.
        subdir: the conda subdir.
        packages: conda packages, dependencies first.
        wheels: PyPI packages by name.
        digest: sha256 (hex) of the lock's words on it; for our own lock the one in ``lock-digests.json``.
        needs: the virtual packages that it promises beyond pixi's defaults, as ``__cuda >=12.8``.
    """

    platform: str
    subdir: str
    packages: tuple[CondaPackage, ...]
    wheels: tuple[Wheel, ...]
    digest: str
    needs: tuple[str, ...] = ()

    @property
    def needs_note(self) -> tuple[str, ...]:
        """Return the lines that say for which machines alone the platform is, nothing for a bare subdir."""
        return ("", f"Only for a machine that has {', '.join(self.needs)}.") if self.needs else ()


@dataclass(frozen=True)
class EnvironmentTable:
    """One environment, ready to be exported.

    Attributes:
        environment: its name in the lock.
        title: the name that the exported files give it.
        folder: where its files go, relative to the root of the export.
        channels: addresses without a closing slash, highest priority first.
        targets: by platform name.
        digest: sha256 (hex) over the digests of its platforms.
        command: the one that makes the files again.
        asked: platform → names of the packages that a person asked for, None where no manifest says it.
        previous: platform → package → version and build of the previous release, None without one.
        previous_name: that release's name.
        binder: whether Binder gets this environment.
        beside: wheels that its conda packages have beside them.
    """

    environment: str
    title: str
    folder: str
    channels: tuple[str, ...]
    targets: tuple[PlatformTable, ...]
    digest: str
    command: str
    asked: Mapping[str, frozenset[str]] | None = None
    previous: Mapping[str, Mapping[str, str]] | None = None
    previous_name: str = ""
    binder: bool = False
    beside: tuple[Pin, ...] = ()

    @property
    def beside_note(self) -> tuple[str, ...]:
        """Return the lines that say how to add the wheels beside conda's packages, nothing without any."""
        if not self.beside:
            return ()
        names = ", ".join(f"{pin.name} {pin.version}" for pin in self.beside)
        command = f"  python -I -m {' '.join(PIP)} {FILE}"
        return ("", f"{names} is no conda package here; in the environment, after that:", command)

    def head(self, target: PlatformTable | None = None) -> str:
        """Return the line that every exported file carries: its source, and the command that makes it again.

        Args:
            target: the platform that the file is for, None for a file of the whole environment.
        """
        source = f"{self.environment}/{target.platform}" if target else self.environment
        digest = target.digest if target else self.digest
        return f"Made from pixi.lock, {source} (sha256 {digest}), by `{self.command}`. Do not edit."

    @property
    def has_wheels(self) -> bool:
        return any(target.wheels for target in self.targets)

    def target(self, subdir: str) -> PlatformTable | None:
        """Return the table of that conda subdir, if the environment has it: the one that needs least."""
        found = [target for target in self.targets if target.subdir == subdir]
        return min(found, key=lambda target: len(target.needs), default=None)

    def parts(self) -> tuple[tuple[str, EnvironmentTable], ...]:
        """Return the tables of which each has a subdir once, for formats that know no other name.

        Where two share a subdir, each named platform stands alone. Before a table: how its files' names end.
        """
        subdirs = [target.subdir for target in self.targets]
        if len(set(subdirs)) == len(subdirs):
            return (("", self),)
        bare = tuple(target for target in self.targets if target.platform == target.subdir)
        named = (target for target in self.targets if target.platform != target.subdir)
        alone = ((f"-{target.platform}", replace(self, targets=(target,))) for target in named)
        return ((("", replace(self, targets=bare)),) if bare else ()) + tuple(alone)


@dataclass(frozen=True)
class PinTable:
    """An environment that exists as wheels alone, ready to be exported.

    Attributes:
        environment: its name in the manifest.
        title: the name that the exported files give it.
        folder: where its files go, relative to the root of the export.
        command: the one that makes the files again.
        pins: platform → the pins of its requirements file.
        asked: names of the packages that a person asked for.
        python: the Python that these pins are for, where the file is for several.
    """

    environment: str
    title: str
    folder: str
    command: str
    pins: Mapping[str, tuple[Pin, ...]]
    asked: frozenset[str]
    python: str = ""


def channel_name(url: str) -> str:
    """Return a channel as people and conda write it: ``conda-forge``, or the whole address on other hosts.

    A bare name follows the reader's own ``channel_alias``, and so their mirror.
    """
    prefix = CHANNEL_HOST + "/"
    return url.removeprefix(prefix)
