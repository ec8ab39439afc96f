"""The question that an engine gets, and all that it must answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from d2lenv.base.messages import tr
from d2lenv.prefix.scan import Known
from d2lenv.workspace.lockfile import Lock
from d2lenv.workspace.manifest import Workspace
from d2lenv.workspace.pins import Difference, Variation
from d2lenv.workspace.settings import Settings

# In the installers' own words and Rust's numbers: ENOSPC and ERROR_DISK_FULL; EACCES and EROFS.
_FULL = re.compile(r"no space left|os error (28|112)\b", re.IGNORECASE)
_CLOSED = re.compile(r"permission denied|read-only file system|os error (13|30)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Job:
    """One environment to build on this machine.

    Attributes:
        workspace: the checkout.
        lock: its pixi.lock.
        settings: of the environment, its name among them.
        platform: the one of the environment's that this machine gets.
        prefix: where the environment will live.
        building: where it is built; renamed to ``prefix`` unless the engine builds in place.
        fresh: build anew, and trust nothing that only ``stat`` vouches for.
        python: the interpreter that the reader asked for (wheels engine).
        variation: what was chosen of the wheels on this machine.
        pytorch: the edition that the reader asked for, ``cpu`` or ``cuda``; ``auto`` for this machine's.
        mirror: a mirror of PyTorch's own host; empty for the host.
        link_mode: how files get from the cache into the prefix; None for the engine's own way.
        wheels: a folder with every wheel of it, the only place to look; None for the package index.
        link_scripts: whether packages may run their post-link scripts.
        say: receives lines of progress.
    """

    workspace: Workspace
    lock: Lock
    settings: Settings
    platform: str
    prefix: Path
    building: Path
    fresh: bool
    python: Path | None
    variation: Variation
    pytorch: str
    mirror: str
    link_mode: str | None
    wheels: Path | None
    link_scripts: bool
    say: Callable[[str], None]

    @property
    def locked(self) -> bool:
        """Return True if pixi.lock has this environment for this platform."""
        return self.platform in self.lock.platforms(self.settings.name)


class Engine(Protocol):
    """A way to build an environment; each is a module of these functions.

    Attributes:
        IN_PLACE: it builds in its own place and sees itself to what an interruption leaves there.
    """

    IN_PLACE: bool

    def places(self, workspace: Workspace, environment: str) -> Mapping[Variation, Path]:
        """Return where the environment goes unless the reader names another place, the best choice first."""

    def choose(
        self,
        workspace: Workspace,
        own: Settings,
        prefix: Path | None,
        asked: Path | None,
        pytorch: str,
    ) -> Variation:
        """Return what is taken where an environment leaves a choice; asks no network.

        Args:
            prefix: where it goes, if the reader names a place.
            asked: the interpreter that the reader asked for.
            pytorch: ``auto``, or the edition that the reader asked for: ``cpu`` or ``cuda``.

        Raises:
            D2lEnvError: if the environment is not for that Python, or has not that edition.
        """

    def available(self, job: Job) -> Variation:
        """Return what can be had now: the job's, or another one where no server has that; it is said then.

        Raises:
            D2lEnvError: if it cannot be had and the reader asked for it.
        """

    def platform(self, workspace: Workspace, environment: str) -> str:
        """Return the platform of the environment that this machine gets, which pixi.toml may have named.

        Raises:
            D2lEnvError: if this distribution has nothing for this machine.
        """

    def serves(self, job: Job) -> bool:
        """Return True if the lock has the environment for this engine; asks no network and no program."""

    def why_not(self, job: Job) -> str:
        """Return why the engine cannot do the job on this machine, or nothing."""

    def digest(
        self,
        workspace: Workspace,
        environment: str,
        platform: str,
        lock: Callable[[], Lock],
        variation: Variation,
    ) -> str:
        """Return the sha256 (hex) of all that the environment is built from, as the prefix notes it.

        Args:
            variation: what was chosen of the wheels.
            lock: gives pixi.lock; called only by an engine that builds from it.

        Raises:
            D2lEnvError: if the lock or the requirements cannot be read.
        """

    def packages(self, job: Job) -> Mapping[str, str]:
        """Return name → version of all that must be installed, in the words of :meth:`installed`."""

    def installed(self, prefix: Path) -> Sequence[tuple[str, str]]:
        """Return (name, version) of all that is installed."""

    def size(self, job: Job) -> float:
        """Return about how many bytes the build needs on an empty disk."""

    def differences(self, job: Job) -> Sequence[Difference]:
        """Return where the versions are not those of pixi.lock."""

    def note(self, job: Job) -> str:
        """Return what else a reader should know of this environment; empty for most."""

    def build(self, job: Job) -> Mapping[str, Known]:
        """Make the environment in ``job.building``.

        Returns:
            path → what is known of the files for which the engine vouches, its packages having been screened;
            nothing if their own records are to be read.

        Raises:
            D2lEnvError: if it cannot be made.
        """


def disk_step(reason: str, cache: str) -> str:
    """Return what to do when an installer could not write; empty when its ``reason`` is another.

    Args:
        cache: the variable that names its cache.
    """
    if _FULL.search(reason):
        return tr("free some space or make the folder writable, then run the command again")
    if _CLOSED.search(reason):
        return tr(
            "make that folder writable, or name another one for the cache in {variable}", variable=cache
        )
    return ""
