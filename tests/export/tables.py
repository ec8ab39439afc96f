"""Locks as the exports see them, for the tests of each format."""

from __future__ import annotations

from pathlib import Path

from d2lenv.export import read
from d2lenv.export.table import EnvironmentTable
from d2lenv.workspace import lockfile

REPOSITORY = Path(__file__).resolve().parents[2]


def tables_of(path: Path) -> list[EnvironmentTable]:
    """Every environment of the lock at ``path``."""
    lock = lockfile.read(path)
    return [
        read.environment(lock, name, title=name, folder=name, command="d2lenv export", seen={})
        for name in lock.environments
    ]
