"""The requirements files' place among the exports: looked at, never written."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from packaging.requirements import Requirement

from d2lenv.cli.app import cli
from d2lenv.export.formats import requirements
from d2lenv.solve import wheels
from d2lenv.workspace import lockfile, settings
from d2lenv.workspace import manifest as workspace
from d2lenv.workspace import pins as pinned
from d2lenv.workspace.manifest import Workspace
from export.tables import REPOSITORY


@pytest.fixture
def copy(tmp_path: Path) -> Workspace:
    """This repository's manifest, lock and requirements files, to be spoiled."""
    for name in ("pixi.toml", "pixi.lock"):
        shutil.copy(REPOSITORY / name, tmp_path / name)
    for path in (REPOSITORY / "envs").glob("*/requirements*.txt"):
        target = tmp_path / path.relative_to(REPOSITORY)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return workspace.load(tmp_path)


def found(copy: Workspace) -> dict[str, str]:
    return dict(requirements.problems(copy, lockfile.read(copy.lock)))


def test_those_of_this_repository_belong_to_its_lock(copy: Workspace) -> None:
    assert found(copy) == {}


def test_packaging_reads_the_same_versions_and_hashes() -> None:
    ours = workspace.load(REPOSITORY)
    seen = 0
    for name, one in settings.load(ours).items():
        for platform in wheels.files(one):
            path = pinned.path_of(ours, name, platform)
            read = []
            for line in path.read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
                if line.startswith("#"):
                    continue
                requirement = Requirement(line.partition(" --hash")[0].strip())
                (pin,) = requirement.specifier
                assert pin.operator == "=="
                hashes = tuple(re.findall(r"--hash=sha256:([0-9a-f]{64})", line))
                read.append((requirement.name, pin.version, str(requirement.marker or ""), hashes))
            pins = pinned.read_file(path)
            assert read == [(pin.name, pin.version, pin.marker, pin.sha256) for pin in pins]
            seen += len(read)
    assert seen > 500


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("anyio==", "anyio=="[:-1] + "~"),  # not exact
        ("anyio==4", "anyio==3"),  # another version than the head's digest
        ("# Generated", "# Written"),
        (" \\\n", "\n"),
        ("\n", "\r\n"),
        ("\nanyio", "\n--extra-index-url https://wheels.example/simple\nanyio"),
    ],
)
def test_an_edited_file_is_found(copy: Workspace, old: str, new: str) -> None:
    path = pinned.path_of(copy, "cuda", "linux-64")
    content = path.read_bytes().decode()
    assert old in content
    path.write_bytes(content.replace(old, new, 1).encode())
    assert list(found(copy)) == ["envs/cuda/requirements-linux-64.txt"]


def test_a_missing_file_is_found(copy: Workspace) -> None:
    pinned.path_of(copy, "zh", "win-64").unlink()
    assert list(found(copy)) == ["envs/zh/requirements-win-64.txt"]


def test_a_file_for_another_lock_is_found(copy: Workspace) -> None:
    text = copy.lock.read_text(encoding="utf-8")
    copy.lock.write_text(text.replace("  license: ISC\n", "  license: MIT\n"), encoding="utf-8")
    problems = found(copy)
    assert "envs/cuda/requirements-linux-64.txt" in problems
    assert "d2lenv lock" in problems["envs/cuda/requirements-linux-64.txt"]


def test_one_environment_does_not_speak_for_the_others(copy: Workspace) -> None:
    pinned.path_of(copy, "zh", "win-64").unlink()
    assert not requirements.problems(copy, lockfile.read(copy.lock), ("cuda",))


def test_the_command_names_the_file_and_what_makes_it(copy: Workspace) -> None:
    pinned.path_of(copy, "zh", "win-64").unlink()
    words = ["--workspace", str(copy.root), "export", "--check", "--format", "requirements"]
    result = CliRunner().invoke(cli, words, standalone_mode=False)
    assert result.return_value == 1
    assert "not the lock's: envs/zh/requirements-win-64.txt" in result.stdout
    assert "`d2lenv lock`" in result.stdout
    assert "`d2lenv export`" not in result.stdout
