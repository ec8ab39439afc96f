"""The examined environment is untrusted: without --deep nothing in it is ever started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from d2lenv.doctor.probe import deep, hardware
from doctor.environments import Environment

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="scripts with a shebang")

# What the doctor, its libraries or the standard library could start, and whatever else this machine has.
STARTED = """
nvidia-smi uv conda mamba micromamba pixi jupyter git python python3 pip ipython docker rm sh bash env
uname ldconfig gcc cc ld objdump file lsb_release sysctl getconf which locale stty tput less
"""


def programs() -> set[str]:
    found = {
        entry.name
        for folder in os.environ.get("PATH", "").split(os.pathsep)
        if Path(folder).is_dir()
        for entry in Path(folder).iterdir()
    }
    return found | set(STARTED.split())


def plant(folder: Path, marks: Path, names: set[str]) -> None:
    """Make each of ``names`` a program in ``folder`` that leaves its name in ``marks``."""
    folder.mkdir(parents=True, exist_ok=True)
    canary = folder.parent / "canary"
    canary.write_text(f'#!/bin/sh\necho "$*" >> "{marks}/${{0##*/}}"\n', encoding="utf-8")
    canary.chmod(0o755)
    for name in names:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(canary)


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    (tmp_path / "marks").mkdir()
    return tmp_path / "marks"


@pytest.fixture
def env(tmp_path: Path, marks: Path) -> Environment:
    """The book's environment with a numpy that pip or uv can mend, and a canary of every program."""
    env = Environment(tmp_path / "env").book()
    (env.site / "numpy-1.23.5.dist-info" / "METADATA").write_text("Name: numpy\nVersion: 2.1.0\n\n")
    plant(env.path / "bin", marks, programs())
    return env


def doctor(
    env: Environment, *words: str, path: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    environ = {
        **os.environ,
        "VIRTUAL_ENV": str(env.path),
        "PATH": os.pathsep.join([f"{env.path}/bin", path or os.environ["PATH"]]),
        "HOME": str(env.path.parent / "home"),
        **variables,
    }
    command = [sys.executable, "-m", "d2lenv", "doctor", *words]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)


def test_the_canaries_are_real_ones(env: Environment, marks: Path) -> None:
    for name in ("nvidia-smi", "uv", "python"):
        subprocess.run([env.path / "bin" / name, "-m", "x"], check=True)
        assert (marks / name).read_text() == "-m x\n"


@pytest.mark.parametrize("words", [(), ("--json",), ("--fix",), ("--plan", "d2l==1.0.3")])
def test_nothing_of_the_environment_is_started(env: Environment, marks: Path, words: tuple[str, ...]) -> None:
    named = () if "--plan" in words else (str(env.path),)
    for target in {(), named}:
        done = doctor(env, *target, *words)
        assert "Traceback" not in done.stderr
        assert done.returncode in (0, 1)
        assert not list(marks.iterdir())


def test_fix_yes_takes_uv_from_outside(env: Environment, marks: Path, tmp_path: Path) -> None:
    (tmp_path / "outer").mkdir()
    plant(tmp_path / "usr" / "bin", tmp_path / "outer", {"uv"})
    done = doctor(env, "--fix", "--yes", path=str(tmp_path / "usr" / "bin"))
    assert "$ uv pip install" in done.stderr
    assert "numpy==1.23.5" in (tmp_path / "outer" / "uv").read_text()
    assert not list(marks.iterdir())


def test_fix_yes_starts_the_environments_python_for_pip_and_nothing_else(
    env: Environment, marks: Path
) -> None:
    env.dist("pip", "24.0")
    done = doctor(env, "--fix", "--yes")
    assert f"$ {env.path}/bin/python -m pip install" in done.stderr
    assert [mark.name for mark in marks.iterdir()] == ["python"]
    assert "numpy==1.23.5" in (marks / "python").read_text()


def test_nvidia_smi_is_asked_outside_when_the_environment_has_one_too(
    env: Environment, marks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usr = tmp_path / "usr"
    usr.mkdir()
    (usr / "nvidia-smi").write_text('#!/bin/sh\necho "0, NVIDIA T4, 15360, 550.54.15, 7.5"\n')
    (usr / "nvidia-smi").chmod(0o755)
    monkeypatch.setattr(hardware, "_nvml", lambda: hardware.Gpu("no-driver", why="not asked"))
    inside = {"PATH": f"{env.path}/bin"}
    both = {"PATH": f"{env.path}/bin:{usr}"}
    assert hardware.look(both, env.path).driver == "550.54.15"
    left = hardware.look(inside, env.path)
    assert (left.state, left.driver) == ("no-driver", "")
    assert left.why == f"{env.path}/bin/nvidia-smi was not started: it lies in the examined environment"
    assert not list(marks.iterdir())


def test_a_drivers_library_in_the_environment_is_not_loaded(
    env: Environment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(hardware, "driver_signs", lambda *_: True)
    monkeypatch.setattr(hardware, "_nvml", lambda: pytest.fail("loaded"))
    library = env.file("lib/libnvidia-ml.so.1")
    link = tmp_path / "linked"
    link.symlink_to(env.path / "lib")
    for folder in (env.path / "lib", link):
        found = hardware.look({"LD_LIBRARY_PATH": f"/nowhere:{folder}", "PATH": ""}, env.path)
        assert found.state == "failed"
        assert found.why == f"{folder / library.name} was not loaded: LD_LIBRARY_PATH names it"


def names_of_a_childs_modules(program: str) -> set[str]:
    """Top-level names of everything that ``python -c program gpu`` has in ``sys.modules`` at its end."""
    tail = "\nprint('NAMES', *sorted({name.partition('.')[0] for name in sys.modules}))\n"
    done = subprocess.run(
        [sys.executable, "-c", program + tail, "math"], capture_output=True, text=True, timeout=60, check=True
    )
    return set(done.stdout.partition("NAMES ")[2].split()) - {"__main__", "sys", "builtins"}


@pytest.mark.parametrize("where", ["working folder", "bin"])
def test_deep_imports_nothing_from_the_working_folder_or_bin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    env = Environment(tmp_path / "env")
    python = env.path / "bin" / "python"
    python.unlink()
    python.symlink_to(sys.executable)
    names = names_of_a_childs_modules(deep._PROGRAM)
    assert {"json", "codecs", "encodings"} <= names
    folder = tmp_path / "here" if where == "working folder" else env.path / "bin"
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'a').write({name!r})\n")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", "."]))
    (probe,) = deep.probe(python, ("itertools",))
    assert probe.state == "ok"
    assert not (tmp_path / "mark").exists()


def test_fix_yes_imports_nothing_from_the_working_folder(
    env: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pip is started as `python -m pip`, which by itself would import the reader's `pip.py`."""
    env.dist("pip", "24.0")
    env.module("pip/__main__.py", f"open({str(tmp_path / 'real')!r}, 'w').close()\n")
    python = env.path / "bin" / "python"
    python.unlink()
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{env.site}" exec "{sys.executable}" "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    for name in ("pip", "runpy", "argparse", "json"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'w').close()\n")
    command = [sys.executable, "-c", "import sys; sys.path.pop(0); from d2lenv.cli.main import main; main()"]
    done = subprocess.run(
        [*command, "doctor", str(env.path), "--fix", "--yes", "--json"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert json.loads(done.stdout)["prefix"] == str(env.path)
    assert (tmp_path / "real").exists()
    assert not (tmp_path / "mark").exists()
