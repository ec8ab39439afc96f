"""`--imports`: the environment's Python is started once; each import has an end and a cause."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from d2lenv.doctor.model import Context
from d2lenv.doctor.probe.deep import Probe
from d2lenv.doctor.probe.imports import imports
from d2lenv.prefix.contents.prefix import read_prefix
from doctor.environments import LINUX, NO_GPU, Environment

MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture
def env(tmp_path: Path) -> Environment:
    """An environment that this Python can run: its programs are this one's, its modules are made here."""
    env = Environment(tmp_path / "env", python=MINOR)
    python = env.path / "bin" / "python"
    python.unlink()
    python.symlink_to(sys.executable)
    (env.path / "pyvenv.cfg").write_text(
        f"home = {Path(sys.base_prefix) / 'bin'}\nversion_info = {MINOR}.1\n"
    )
    return env


def found(env: Environment, timeout_s: float = 60) -> dict[str, Probe]:
    context = Context(read_prefix(env.path), LINUX, NO_GPU)
    return {probe.name: probe for probe in imports(context, timeout_s)}


def test_each_import_says_its_version_or_its_cause(env: Environment) -> None:
    env.dist("numpy", "1.0", files={"numpy/__init__.py": "print('noise')\n__version__ = '1.0'\n"})
    env.dist("pandas", "2.0", files={"pandas/__init__.py": "from pandas import core\n"})
    env.module("pandas/core.py", "import _nothing_like_this\n")
    env.dist("requests", "2.31", files={"requests/__init__.py": "import os\nos.abort()\n"})
    env.dist("torch", "2.0.1", files={"torch/__init__.py": "raise SystemExit('no')\n"})
    probes = found(env)
    assert probes["numpy"] == Probe("numpy", "ok", "1.0")
    assert probes["pandas"].state == "failed"
    assert probes["pandas"].detail == (
        "ModuleNotFoundError: No module named '_nothing_like_this', "
        f"in lib/python{MINOR}/site-packages/pandas/core.py"
    )
    assert probes["requests"].detail == "the process crashed (signal 6)"
    assert probes["torch"].detail.startswith("SystemExit: no, in ")


def test_a_hanging_import_is_not_checked_and_holds_up_nobody(env: Environment) -> None:
    env.dist("torch", "2.0.1", files={"torch/__init__.py": "import time\ntime.sleep(600)\n"})
    env.dist("numpy", "1.0", files={"numpy/__init__.py": ""})
    probes = found(env, timeout_s=8)
    assert probes["torch"].state == "not-checked"
    assert probes["numpy"].state == "ok"


def test_what_is_not_installed_is_not_imported(env: Environment) -> None:
    assert found(env) == {}


def test_a_python_that_does_not_start_is_one_failure(env: Environment) -> None:
    env.dist("numpy", "1.0")
    python = env.path / "bin" / "python"
    python.unlink()
    python.write_text("#!/gone/python\n")
    python.chmod(0o755)
    (probe,) = found(env).values()
    assert (probe.name, probe.state) == ("python", "failed")


def test_a_python_that_talks_nonsense_is_a_failure(env: Environment) -> None:
    env.dist("numpy", "1.0")
    python = env.path / "bin" / "python"
    python.unlink()
    shell = shutil.which("sh")
    python.write_text(f"#!{shell}\necho nonsense\n")
    python.chmod(0o755)
    assert found(env)["numpy"].state == "failed"


def test_nothing_in_the_working_folder_is_imported(
    env: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env.dist("numpy", "1.0", files={"numpy/__init__.py": "__version__ = '1.0'\n"})
    for name in ("json", "subprocess", "tempfile", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('from the working folder')\n")
    monkeypatch.chdir(tmp_path)
    assert found(env)["numpy"].state == "ok"
