"""A Python that was replaced, an environment that was moved, the tool's own environment."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from d2lenv import doctor
from d2lenv.doctor.model import Context
from d2lenv.prefix.contents.prefix import read_prefix
from doctor.environments import LINUX, NO_GPU, Environment, commands, spoil


def link(env: Environment, name: str) -> Path:
    """Let the environment's Python be a link to a program called ``name`` elsewhere."""
    target = env.path.parent / "elsewhere" / "bin" / name
    target.parent.mkdir(parents=True)
    python = env.path / "bin" / "python"
    shutil.move(python, target)
    python.symlink_to(target)
    return target


@pytest.fixture
def env(tmp_path: Path) -> Environment:
    return Environment(tmp_path / "env")


def test_a_python_of_another_version_is_found_and_given_back(env: Environment) -> None:
    env.book()
    link(env, "python3.11")
    found = env.findings()["D2L008"]
    assert found.severity == "error"
    assert found.title == "made with Python 3.10, but its Python is 3.11 now"
    assert commands(found) == [f"uv venv --allow-existing --python 3.10 {env.path}"]


def test_the_version_beside_a_plain_name_counts(env: Environment) -> None:
    """pyenv's and macOS's `python3` says its version only by the folder of its library."""
    env.book()
    target = link(env, "python3")
    (target.parent.parent / "lib" / "python3.12").mkdir(parents=True)
    assert read_prefix(env.path).python_minor == "3.12"
    assert "D2L008" in env.findings()
    (target.parent.parent / "lib" / "python3.10").mkdir()  # two: which one is meant is unknown
    assert "D2L008" not in env.findings()


def test_the_same_minor_version_keeps_what_pyvenv_says(env: Environment) -> None:
    env.book()
    link(env, "python3.10")
    assert read_prefix(env.path).python_version == "3.10.1"
    assert "D2L008" not in env.findings()


def test_a_python_that_cannot_be_followed_is_not_judged(env: Environment) -> None:
    env.book()
    spoil(env.path / "bin" / "python")
    assert "D2L008" not in env.findings()


def test_a_project_of_uv_is_synced_again(tmp_path: Path) -> None:
    env = Environment(tmp_path / ".venv").book()
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\n')
    (tmp_path / "uv.lock").write_text("version = 1\n")
    link(env, "python3.11")
    assert commands(env.findings()["D2L008"]) == [f"uv sync --project {tmp_path} --reinstall"]


@pytest.mark.parametrize(
    "head", ["#!{0}/bin/python\n", "#!/bin/sh\n'''exec' '{0}/bin/python' \"$0\" \"$@\"\n' '''\n"]
)
def test_a_program_that_names_another_place_shows_that_the_environment_was_moved(
    env: Environment, head: str
) -> None:
    env.dist("jupyterlab", "4.2.0")
    env.file("bin/jupyter", head.format("/old/place/env"))
    found = env.findings()["D2L009"]
    assert found.found[0].what == "/old/place/env/bin/python"
    assert commands(found) == [f"{env.path}/bin/python -m jupyter lab"]
    env.file("bin/jupyter", head.format(env.path))
    assert "D2L009" not in env.findings()


def test_a_link_to_the_environment_is_its_place_too(env: Environment) -> None:
    alias = env.path.parent / "alias"
    alias.symlink_to(env.path)
    env.file("bin/pip", f"#!{alias}/bin/python3.10\n")
    assert "D2L009" not in env.findings()


@pytest.mark.parametrize("head", ["#!/usr/bin/python3\n", "\x7fELF", "#!/usr/bin/env python\n", ""])
def test_other_programs_say_nothing_of_the_place(env: Environment, head: str) -> None:
    env.file("bin/jupyter", head)
    assert "D2L009" not in env.findings()


def test_a_program_that_cannot_be_read_says_nothing(env: Environment) -> None:
    spoil(env.file("bin/jupyter"))
    assert "D2L009" not in env.findings()


def test_the_tool_knows_its_own_environment() -> None:
    found = doctor.examine(Context(read_prefix(Path(sys.prefix)), LINUX, NO_GPU))
    assert "D2L090" in {finding.code for finding in found}
    assert not [finding for finding in found if finding.severity == "error"]


PYTHONS = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if Path(folder).is_dir()]


def other_python() -> Path | None:
    """Return a Python of another minor version than this one, from the PATH or beside this one (pyenv)."""
    own = f"{sys.version_info[0]}.{sys.version_info[1]}"
    beside = sorted(Path(sys.base_prefix).parent.glob("3.*/bin"))
    for folder in (*PYTHONS, *beside):
        for minor in ("3.10", "3.11", "3.13", "3.12", "3.9"):
            if minor != own and (folder / f"python{minor}").exists():
                return folder / f"python{minor}"
    return None


def test_uv_gives_a_real_environment_its_python_back(tmp_path: Path) -> None:
    other = other_python()
    if other is None:
        pytest.skip("there is no second Python on this machine")
    venv = tmp_path / "venv"
    environ = {**os.environ, "PATH": f"{Path(sys.base_prefix) / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "-q", "venv", "--python", sys.executable, venv], check=True, env=environ)
    minor = f"{sys.version_info[0]}.{sys.version_info[1]}"
    site = venv / "lib" / f"python{minor}" / "site-packages"
    (site / "torch-2.0.1.dist-info").mkdir()
    (site / "torch-2.0.1.dist-info" / "METADATA").write_text("Name: torch\nVersion: 2.0.1\n\n")
    (site / "treasure.py").write_text("value = 7\n")
    ask = [venv / "bin" / "python", "-c", "import treasure; print(treasure.value)"]
    (venv / "bin" / "python").unlink()
    (venv / "bin" / "python").symlink_to(other)
    assert subprocess.run(ask, capture_output=True, check=False).returncode
    found = doctor.examine(Context(read_prefix(venv), LINUX, NO_GPU))
    command = next(f.fix[0] for f in found if f.code == "D2L008")
    subprocess.run([*uv, "-q", *command.argv[1:]], check=True, env=environ)
    assert subprocess.run(ask, capture_output=True, text=True, check=True).stdout == "7\n"
    found = doctor.examine(Context(read_prefix(venv), LINUX, NO_GPU))
    assert "D2L008" not in {finding.code for finding in found}


def test_an_environment_without_its_configuration_is_an_error(env: Environment) -> None:
    env.book()
    link(env, "python3.10")
    (env.path / "pyvenv.cfg").unlink()
    found = env.findings()["D2L039"]
    assert found.severity == "error"
    assert commands(found) == [f"uv venv --allow-existing --python 3.10 {env.path}"]
    # A Python that is no environment has its own library there.
    env.file("lib/python3.10/os.py")
    assert "D2L039" not in env.findings()


def test_an_empty_folder_without_a_configuration_is_nothing(env: Environment) -> None:
    link(env, "python3.10")
    (env.path / "pyvenv.cfg").unlink()
    assert "D2L039" not in env.findings()


def test_a_python_that_may_not_be_run_is_as_good_as_gone(env: Environment) -> None:
    (env.path / "bin" / "python").chmod(0o644)
    assert env.findings()["D2L006"].severity == "error"
    foreign = dataclasses.replace(LINUX, system="Windows")
    assert "D2L006" not in env.findings(machine=foreign)
