"""Locks as the exports see them, for the tests of each format."""

from __future__ import annotations

from pathlib import Path

from d2lenv.export import table as bundle
from d2lenv.export.table import Bundle
from d2lenv.workspace import lockfile

REPOSITORY = Path(__file__).resolve().parents[2]


def bundles_of(path: Path) -> list[Bundle]:
    """Every environment of the lock at ``path``."""
    lock = lockfile.read(path)
    return [
        bundle.read(lock, name, title=name, folder=name, command="d2lenv export")
        for name in lock.environments
    ]
