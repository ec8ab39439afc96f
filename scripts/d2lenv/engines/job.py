"""What an engine is asked to do, and what all of them may have to say of the disk."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from d2lenv.base.messages import tr
from d2lenv.workspace.lockfile import Lock
from d2lenv.workspace.manifest import Workspace
from d2lenv.workspace.settings import Variant

# In the installers' own words and Rust's numbers: ENOSPC and ERROR_DISK_FULL; EACCES and EROFS.
_FULL = re.compile(r"no space left|os error (28|112)\b", re.IGNORECASE)
_CLOSED = re.compile(r"permission denied|read-only file system|os error (13|30)\b", re.IGNORECASE)


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


def disk_step(reason: str, cache: str) -> str:
    """What to do when an installer could not write; empty when its ``reason`` is another.

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
