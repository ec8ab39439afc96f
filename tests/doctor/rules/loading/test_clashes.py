"""Packages that do not work together although their metadata allows it."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from d2lenv.facts.clashes import CLASHES, NUMPY_2, Clash
from doctor.environments import Environment, commands, spoil


@pytest.fixture
def env(tmp_path: Path) -> Environment:
    env = Environment(tmp_path / "env")
    env.dist("pip", "24.0")
    return env


def edge(versions: str) -> str:
    """Return a version that ``versions`` holds."""
    (one,) = SpecifierSet(versions)
    if one.operator == "<":
        *head, last = Version(one.version).release
        return ".".join(map(str, (*head, last - 1, 99))) if last else f"{head[0] - 1}.99" if head else "0"
    return one.version


@pytest.mark.parametrize("row", CLASHES, ids=lambda row: f"{row.one}-{row.other}")
def test_each_row_is_found_and_its_command_leaves_the_row(env: Environment, row: Clash) -> None:
    assert edge(row.one_versions) in SpecifierSet(row.one_versions)
    one = env.dist(row.one, edge(row.one_versions))
    other = env.dist(row.other, edge(row.other_versions))
    found = env.findings()["D2L035"]
    assert found.severity == ("error" if row.stops else "warning")
    assert row.says in [item.what for item in found.found]
    for spec in row.install:
        requirement = Requirement(spec)
        have = edge(row.one_versions if requirement.name == row.one else row.other_versions)
        assert requirement.name in (row.one, row.other, "ipywidgets")
        assert requirement.name == "ipywidgets" or have not in requirement.specifier
    for folder in (one, other):
        spoil(folder / "METADATA")
    # The folders' names still say the versions.
    assert "D2L099" in env.findings()


@pytest.mark.parametrize("row", CLASHES, ids=lambda row: f"{row.one}-{row.other}")
def test_one_of_two_is_no_clash(env: Environment, row: Clash) -> None:
    env.dist(row.one, edge(row.one_versions))
    assert "D2L035" not in env.findings()
    env.dist(row.other, "0.0.1" if row.other_versions.startswith(">") else "999")
    assert "D2L035" not in env.findings()


@pytest.mark.parametrize("name", NUMPY_2)
def test_what_was_compiled_for_numpy_1_is_found_under_numpy_2(env: Environment, name: str) -> None:
    env.dist("numpy", "2.0.2")
    folder = env.dist(name, "0.0.1")
    found = env.findings()["D2L034"]
    assert commands(found)[0].endswith("-m pip install 'numpy<2'")
    assert found.severity == ("error" if name == "matplotlib" else "warning")
    (folder / "METADATA").write_text(f"Name: {name}\nVersion: {NUMPY_2[name]}\n\n")
    assert "D2L034" not in env.findings()


def test_under_numpy_1_everything_is_fine(env: Environment) -> None:
    env.dist("numpy", "1.26.4")
    env.dist("pandas", "2.0.3")
    assert "D2L034" not in env.findings()


def test_numpy_2_under_the_book_is_one_fault_with_the_books_numpy(tmp_path: Path) -> None:
    env = Environment(tmp_path / "env").book()
    env.dist("pip", "24.0")
    (env.site / "numpy-1.23.5.dist-info" / "METADATA").write_text("Name: numpy\nVersion: 2.1.0\n\n")
    found = env.findings()["D2L034"]
    assert found.severity == "error"
    assert commands(found)[0].endswith("numpy==1.23.5")
