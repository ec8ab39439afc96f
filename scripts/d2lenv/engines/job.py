"""What an engine is asked to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from d2lenv.lockfile import Lock
from d2lenv.variants import Variant
from d2lenv.workspace import Workspace


@dataclass(frozen=True)
class Job:
    """One environment to build on this machine.

    Attributes:
        workspace: the checkout.
        lock: its pixi.lock.
        variant: the environment.
        platform: this machine's.
        prefix: where the environment will live.
        building: where it is built; renamed to ``prefix`` when it is whole. pixi builds in place.
        fresh: ``--fresh``; only pixi, which builds in place, has to know.
        python: ``--python``, for the wheels engine.
        link_scripts: whether packages may run their post-link scripts.
        say: receives lines of progress.
    """

    workspace: Workspace
    lock: Lock
    variant: Variant
    platform: str
    prefix: Path
    building: Path
    fresh: bool
    python: Path | None
    link_scripts: bool
    say: Callable[[str], None]

    @property
    def locked(self) -> bool:
        """Whether pixi.lock has this environment for this platform."""
        return self.platform in self.lock.platforms(self.variant.name)
