"""run.py chooses how the tool is installed, and starts it; `nox -s readme` really installs it."""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from d2lenv.base.errors import D2lEnvError

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> types.ModuleType:
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec = importlib.util.spec_from_file_location("run", ROOT / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    return module


def having(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    """Make this Python one that has just ``modules`` of what can install."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if name in modules else None)


def test_a_python_that_is_too_old_can_still_read_it_and_says_so() -> None:
    source = (ROOT / "run.py").read_text(encoding="utf-8")
    tree = ast.parse(source, feature_version=(3, 7))
    # The version is looked at before anything that an old Python might not have is imported.
    assert [type(node).__name__ for node in tree.body[:3]] == ["Expr", "Import", "If"]


def test_every_way_checks_hashes_and_takes_nothing_that_is_not_locked(
    run: types.ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    having(monkeypatch, "ensurepip", "pip")
    ways = [run.commands(tmp_path / "tool")]
    having(monkeypatch, "pip")
    ways.append(run.commands(tmp_path / "tool"))
    (tmp_path / "uv").write_text("#!/bin/sh\n")
    (tmp_path / "uv").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    ways.append(run.commands(tmp_path / "tool"))
    assert len({str(way) for way in ways}) == 3
    assert ways[2][0][0] == str(tmp_path / "uv")
    for _, wheels, editable in ways:
        assert set(run.HASHED) <= set(wheels)
        assert {"--require-hashes", "--no-deps", "--only-binary=:all:"} <= set(wheels)
        assert {"--no-deps", "--no-build-isolation", f"--editable={ROOT}"} <= set(editable)


def test_debians_python_without_pip_is_told_what_to_install(
    run: types.ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    having(monkeypatch)
    with pytest.raises(D2lEnvError, match="neither pip nor") as error:
        run.commands(tmp_path)
    assert "sudo apt install python3-venv" in str(error.value)


def test_a_tool_that_is_there_is_started_and_another_lock_is_another_tool(
    run: types.ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made: list[Path] = []

    def install(place: Path) -> None:
        made.append(place)
        run.python_of(place).parent.mkdir(parents=True)
        run.python_of(place).touch()

    lock = tmp_path / "tool.txt"
    lock.write_text("a==1\n")
    monkeypatch.setattr(run, "LOCK", lock)
    monkeypatch.setattr(run, "folders", lambda name: [tmp_path / "clone" / name, tmp_path / "cache" / name])
    monkeypatch.setattr(run, "install", install)
    first = run.tool()
    assert run.tool() == first
    assert len(made) == 1
    lock.write_text("a==2\n")
    assert run.tool() != first
    assert len(made) == 2


def test_a_read_only_clone_takes_the_users_cache(
    run: types.ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "clone").write_text("no folder, as root could write into one\n")
    monkeypatch.setattr(run, "folders", lambda name: [tmp_path / "clone" / name, tmp_path / "cache" / name])
    monkeypatch.setattr(run, "install", lambda place: None)
    assert run.tool().is_relative_to(tmp_path / "cache")
    monkeypatch.setattr(run, "folders", lambda name: [tmp_path / "clone" / name])
    with pytest.raises(D2lEnvError, match="no folder for it can be written"):
        run.tool()


def test_an_installation_that_fails_leaves_nothing(
    run: types.ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    steps = [
        [sys.executable, "-c", "print('made')"],
        [sys.executable, "-c", "raise SystemExit('no network')"],
    ]
    monkeypatch.setattr(run, "commands", lambda folder: steps)
    with pytest.raises(D2lEnvError, match="could not be installed"):
        run.install(tmp_path / "tool-1")
    assert "no network" in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_environment_of_uv_run_is_not_the_active_one(
    run: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", "/cache/uv/run")
    monkeypatch.setenv("VIRTUAL_ENV", "/cache/uv/run")
    monkeypatch.setenv("PATH", os.pathsep.join(["/cache/uv/run/bin", "/usr/bin"]))
    found = run.environment()
    assert "VIRTUAL_ENV" not in found
    assert found["PATH"] == "/usr/bin"
    monkeypatch.setenv("VIRTUAL_ENV", "/home/me/venv")
    assert run.environment()["VIRTUAL_ENV"] == "/home/me/venv"


@pytest.mark.skipif(sys.platform == "win32", reason="there it waits instead")
def test_it_becomes_the_tool_and_nothing_is_imported_from_the_working_folder(tmp_path: Path) -> None:
    """Its exit status and its answer are the tool's. The tests' Python stands in for the installed one."""
    (tmp_path / "json.py").write_text("raise SystemExit('imported from the working folder')\n")
    (tmp_path / "d2lenv.py").write_text("raise SystemExit('imported from the working folder')\n")
    program = (
        f"import sys; sys.path[0] = {str(ROOT)!r}; import run; "
        f"run.tool = lambda: {sys.executable!r}; sys.exit(run.main(sys.argv[1:]))"
    )
    for words, status, text in (
        (["doctor", "--plan", "d2l==1.0.3", "--json"], 0, '"ok": true'),
        (["no-such-command"], 2, ""),
        (["nox", "--version"], 0, ""),
    ):
        done = subprocess.run(
            [sys.executable, "-c", program, *words],
            cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert "working folder" not in done.stderr
        assert done.returncode == status, done.stderr
        assert text in done.stdout
