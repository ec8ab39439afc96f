"""A command is the one of the program that made the environment: pixi, uv, or this tool."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from d2lenv.doctor import fixes, show
from d2lenv.doctor.model import Command, Expected, Locked
from d2lenv.solve import uv as real_uv
from doctor.environments import Environment, commands


def pixi(tmp_path: Path, manifest: str = '[workspace]\nchannels = ["conda-forge"]\n') -> Environment:
    """An environment as pixi 0.77 leaves it, in a place that says nothing: `detached-environments`."""
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "pixi.toml").write_text(manifest)
    env = Environment(tmp_path / "cache" / "cuda", kind="conda")
    said = {
        "manifest_path": str(tmp_path / "project" / "pixi.toml"),
        "environment_name": "cuda",
        "pixi_version": "0.77.0",
        "environment_lock_file_hash": "12729dbafa3e2072",
    }
    env.file("conda-meta/pixi", json.dumps(said))
    return env


def test_pixi_is_asked_for_what_it_would_undo(tmp_path: Path) -> None:
    env = pixi(tmp_path)
    env.torch(installer="conda")
    manifest = ("--manifest-path", str(tmp_path / "project" / "pixi.toml"))
    lab = fixes.install(env.context(), ("jupyterlab",), ("jupyterlab",))
    assert lab.argv == ("pixi", "add", *manifest, "jupyterlab")
    assert not lab.safe
    wheel = fixes.pip_install(env.context(), "d2l==1.0.3")
    assert wheel.argv == ("pixi", "add", "--pypi", *manifest, "d2l==1.0.3")


def test_a_feature_of_the_environments_name_is_where_pixi_adds(tmp_path: Path) -> None:
    env = pixi(tmp_path, '[feature.cuda.dependencies]\npytorch = "2.0.1"\n')
    assert "--feature cuda jupyterlab" in str(fixes.install(env.context(), ("jupyterlab",), ()))


def test_what_pixi_has_in_that_version_it_puts_back(tmp_path: Path) -> None:
    env = pixi(tmp_path)
    env.conda("numpy", "1.23.5", "py310h0_0")
    words = str(fixes.install(env.context(), ("numpy=1.23.5",), ("numpy==1.23.5",)))
    assert words.startswith("pixi reinstall ")
    assert words.endswith(" --environment cuda numpy")
    assert str(fixes.install(env.context(), ("numpy=1.21.5",), ())).startswith("pixi add ")


def test_a_channel_that_pixi_does_not_have_is_added_first(tmp_path: Path) -> None:
    env = pixi(tmp_path)
    given = fixes.conda_install(env.context(), "pytorch=2.0.1", channels=("pytorch", "conda-forge"))
    first, second = str(given).splitlines()
    assert first.startswith("pixi workspace channel add ")
    assert first.endswith(" pytorch")
    assert second.startswith("pixi add ")


@pytest.mark.parametrize("said", ["{", "[]", '{"environment_name": "a b", "manifest_path": "/x"}', "{}"])
def test_a_mark_of_pixi_that_cannot_be_read_is_none(tmp_path: Path, said: str) -> None:
    env = pixi(tmp_path)
    env.file("conda-meta/pixi", said)
    assert str(fixes.install(env.context(), ("jupyterlab",), ())).startswith("conda install ")


@pytest.fixture
def project(tmp_path: Path) -> Environment:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\n')
    (tmp_path / "uv.lock").write_text('version = 1\n[[package]]\nname = "numpy"\nversion = "1.26.4"\n')
    return Environment(tmp_path / ".venv")


def test_uv_adds_to_its_project(project: Environment, tmp_path: Path) -> None:
    context = project.context()
    assert str(fixes.pip_install(context, "pandas<3")) == f"uv add --project {tmp_path} 'pandas<3'"
    index = "https://download.pytorch.org/whl/cu118"
    given = fixes.pip_install(context, "torch==2.0.1", index=index)
    assert given.argv == ("uv", "add", "--project", str(tmp_path), "--index", index, "torch==2.0.1")
    assert given.installs == ("torch==2.0.1",)
    assert not given.safe


def test_what_uv_has_locked_it_puts_back(project: Environment, tmp_path: Path) -> None:
    context = project.context()
    assert str(fixes.pip_install(context, "numpy<2")) == f"uv sync --project {tmp_path}"
    forced = fixes.pip_install(context, "numpy==1.26.4", options=("--force-reinstall", "--no-deps"))
    assert str(forced) == f"uv sync --project {tmp_path} --reinstall-package numpy"
    assert str(fixes.pip_install(context, "numpy<1.26")).startswith("uv add ")
    assert str(fixes.pip_uninstall(context, "numpy")) == f"uv remove --project {tmp_path} numpy"
    assert str(fixes.pip_uninstall(context, "pytorch")) == f"uv sync --project {tmp_path}"


def test_a_folder_called_venv_without_a_lock_is_pips(tmp_path: Path) -> None:
    env = Environment(tmp_path / ".venv")
    env.dist("pip", "24.0")
    assert str(fixes.pip_install(env.context(), "numpy<2")).endswith("-m pip install 'numpy<2'")


def ours(tmp_path: Path) -> tuple[Environment, Expected]:
    env = Environment(tmp_path / ".d2lenv" / "cuda-wheels").book()
    marker = {"environment": "cuda", "engine": "wheels", "prefix": str(env.path), "digest": "0"}
    env.file("d2lenv.json", json.dumps(marker))
    locked = tuple(Locked(item.key, item.version) for item in env.context().prefix.distributions)
    return env, Expected("cuda", "linux-64", tmp_path / "x.txt", conda=False, packages=locked)


def test_our_own_is_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env, expected = ours(tmp_path)
    context = env.context(expected=expected)
    build = f"d2lenv --workspace {tmp_path} build cuda --engine wheels --fresh"
    for command in (
        fixes.pip_install(context, "numpy==1.23.5"),
        fixes.install(context, ("pytorch=2.0.1",), ("torch==2.0.1",)),
        fixes.pip_uninstall(context, "numpy"),
        fixes.anew(context),
    ):
        assert str(command) == build
    monkeypatch.chdir(tmp_path)
    assert str(fixes.anew(context)) == "d2lenv build cuda --engine wheels --fresh"


def test_what_our_lock_does_not_have_is_not_built(tmp_path: Path) -> None:
    env, expected = ours(tmp_path)
    context = env.context(expected=expected)
    assert "build" not in fixes.pip_install(context, "torchtext==0.15.2").argv


def test_a_copy_of_ours_is_not_ours(tmp_path: Path) -> None:
    """Its marker names another place: what that place's build does helps the copy nothing."""
    env, expected = ours(tmp_path)
    marker = {**env.context().prefix.marker, "prefix": str(tmp_path / "elsewhere")}
    env.file("d2lenv.json", json.dumps(marker))
    context = env.context(expected=expected)
    assert "build" not in fixes.pip_install(context, "numpy==1.23.5").argv


def test_a_fault_in_a_locked_environment_of_ours_is_mended_by_one_command(tmp_path: Path) -> None:
    env, expected = ours(tmp_path)
    (env.site / "numpy-1.23.5.dist-info" / "METADATA").write_text("Name: numpy\nVersion: 2.1.0\n\n")
    errors = [f for f in env.context_findings(expected=expected) if f.severity == "error"]
    assert len(errors) > 2
    build = f"d2lenv --workspace {tmp_path} build cuda --engine wheels --fresh"
    assert {line for finding in errors for line in commands(finding)} == {build}


def test_uv_itself_takes_what_is_printed(tmp_path: Path) -> None:
    """Without an index: a project whose only dependency is a folder beside it."""
    own = tmp_path / "own"
    own.mkdir()
    (own / "pyproject.toml").write_text(
        '[project]\nname = "own"\nversion = "1"\nrequires-python = ">=3.10"\n'
    )
    # nox names its own environment in a variable: `uv sync` would empty that one.
    uv, environ = [sys.executable, "-m", "uv"], {**real_uv.environment(os.environ), "UV_OFFLINE": "1"}
    subprocess.run([*uv, "-q", "lock", "--project", own, "--python", sys.executable], check=True, env=environ)
    subprocess.run([*uv, "-q", "venv", "--python", sys.executable, own / ".venv"], check=True, env=environ)
    venv = Environment.__new__(Environment)
    venv.path = own / ".venv"
    for command in (fixes.anew(venv.context()), fixes.pip_uninstall(venv.context(), "nothing")):
        subprocess.run([*uv, "-q", *command.argv[1:]], check=True, env=environ)


def test_no_command_is_told_of_another_projects_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Mapping[str, str]] = []

    def run(_words: Sequence[str], *, environ: Mapping[str, str], **_rest: object) -> int:
        told.append(environ)
        return 0

    monkeypatch.setattr(show.process, "run_visibly", run)
    context = replace(
        Environment(tmp_path).context(), environ={**os.environ, "UV_PROJECT_ENVIRONMENT": "/another"}
    )
    assert show._run(Command((sys.executable, "-c", "")), context)
    assert "UV_PROJECT_ENVIRONMENT" not in told[0]
