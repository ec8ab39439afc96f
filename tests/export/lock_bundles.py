"""Locks as the exports see them, for the tests of each format."""

from __future__ import annotations

from pathlib import Path

from d2lenv import lockfile
from d2lenv.export import bundle
from d2lenv.export.bundle import Bundle

REPOSITORY = Path(__file__).resolve().parents[2]


def bundles_of(path: Path) -> list[Bundle]:
    """Every environment of the lock at ``path``."""
    lock = lockfile.read(path)
    return [
        bundle.read(lock, name, title=name, folder=name, command="d2lenv export")
        for name in lock.environments
    ]
