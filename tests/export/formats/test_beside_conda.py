"""``beside-conda.txt``, and what the other files say of a wheel beside conda's packages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from d2lenv.export.formats import beside_conda, conda_lock, environment_yml, explicit, listing, sbom
from d2lenv.export.table import EnvironmentTable
from d2lenv.workspace.pins import Pin
from export import sample_locks
from export.tables import tables_of

PIN = Pin("d2l", "1.0.3", ("c625a01e66eb5d793a7e0a6f8582b1e1e35dfad02b5e77f3d2ab299d07177ba6",))


@pytest.fixture
def table(tmp_path: Path) -> EnvironmentTable:
    (one,) = tables_of(sample_locks.write_named(tmp_path))
    return replace(one, beside=(PIN,))


def test_the_file_is_what_pip_reads(table: EnvironmentTable) -> None:
    ((path, text),) = beside_conda.files(table).items()
    assert path == "default/beside-conda.txt"
    assert text.splitlines()[-1] == f"d2l==1.0.3 --hash=sha256:{PIN.sha256[0]}"
    assert all(line.startswith("#") for line in text.splitlines()[:-1])
    assert "://" not in text


def test_every_file_that_installs_says_how_to_add_it(table: EnvironmentTable) -> None:
    made = {**explicit.files(table), **conda_lock.files(table), **environment_yml.every_package(table)}
    told = {path for path, text in made.items() if "d2l 1.0.3 is no conda package here" in text}
    assert {path for path in made if path != "default/environment.yml"} == told


def test_inventories_have_it(table: EnvironmentTable) -> None:
    assert all('"pkg:pypi/d2l@1.0.3"' in text for text in sbom.files(table).values())
    assert "d2l 1.0.3" in listing.files(table)["default/PACKAGES.md"]


def test_without_such_a_wheel_nothing_is_said(table: EnvironmentTable) -> None:
    bare = replace(table, beside=())
    assert not beside_conda.files(bare)
    assert not any("beside-conda" in text for text in explicit.files(bare).values())
