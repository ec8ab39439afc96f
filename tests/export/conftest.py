"""What the tests of the exports share."""

from __future__ import annotations

from pathlib import Path

import pytest

from d2lenv.export.table import EnvironmentTable
from export import sample_locks
from export.command import MANIFEST, lock_text
from export.tables import REPOSITORY, tables_of


@pytest.fixture(params=sorted(sample_locks.good()))
def sample(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Each lock that can be exported, as a file."""
    path = tmp_path / "pixi.lock"
    path.write_text(sample_locks.good()[request.param], encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def own_tables() -> list[EnvironmentTable]:
    """This project's own environments."""
    return tables_of(REPOSITORY / "pixi.lock")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small workspace with a lock for ``default`` and ``cpu``."""
    folder = tmp_path / "workspace"
    folder.mkdir()
    (folder / "pixi.toml").write_text(MANIFEST, encoding="utf-8")
    (folder / "pixi.lock").write_text(lock_text("default", "cpu"), encoding="utf-8")
    return folder
