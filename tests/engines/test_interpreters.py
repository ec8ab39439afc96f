"""Finding a Python that really runs."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from d2lenv.base.errors import D2lEnvError
from d2lenv.engines import interpreters
from d2lenv.engines.interpreters import Interpreter
from d2lenv.solve import uv

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the stand-ins are shell scripts")

WANTED = "3.10"


@pytest.fixture(autouse=True)
def _bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No Python anywhere but where a test puts one."""
    monkeypatch.setenv("D2LENV_LANG", "en")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for name in ("PYENV_ROOT", "CONDA_EXE", "MAMBA_ROOT_PREFIX"):
        monkeypatch.delenv(name, raising=False)


def write_python(
    path: Path,
    version: str = WANTED,
    *,
    implementation: str = "cpython",
    bits: int = 64,
    machine: str = "",
    status: int = 0,
) -> Path:
    """A stand-in that answers the question as that Python would."""
    answer = [
        [int(part) for part in version.split(".")],
        implementation,
        bits,
        machine or platform.machine(),
        str(path),
    ]
    return write_script(path, f"echo '{json.dumps(answer)}'\nexit {status}\n")


def write_script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + text, encoding="utf-8")
    path.chmod(0o755)
    return path


def find(asked: Path | None = None, *, download: bool = False) -> Interpreter:
    return interpreters.find(WANTED, asked, lambda line: None, download=download)


def test_this_python_is_recognised() -> None:
    found = interpreters.probe(Path(sys.executable), "here")
    assert found is not None
    assert found.version == f"{sys.version_info.major}.{sys.version_info.minor}"


def test_of_a_virtual_environment_the_base_is_taken(tmp_path: Path) -> None:
    venv = [sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"]
    subprocess.run(venv, check=True, timeout=120)
    found = interpreters.probe(tmp_path / "venv" / "bin" / "python", "")
    assert found is not None
    assert not found.path.is_relative_to(tmp_path)
    assert found.path.exists()


def test_the_order_is_path_pyenv_conda_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    conda = write_python(home / "miniforge3" / "bin" / "python")
    assert find() == Interpreter(conda, WANTED, "a conda base")
    older = write_python(home / ".pyenv" / "versions" / "3.10.9" / "bin" / "python")
    assert find() == Interpreter(older, WANTED, "in pyenv's versions")
    newer = write_python(home / ".pyenv" / "versions" / "3.10.13" / "bin" / "python")
    assert find().path == newer
    on_path = write_python(tmp_path / "bin" / "python3")
    assert find() == Interpreter(on_path, WANTED, "on the PATH")
    named = write_python(tmp_path / "bin" / "python3.10")
    assert find().path == named
    system = [(str(path), source) for path, source in interpreters.candidates(WANTED)][-1]
    assert system == ("/usr/bin/python3.10", "the system's package")


@pytest.mark.parametrize("variable", ["CONDA_EXE", "MAMBA_ROOT_PREFIX"])
def test_a_conda_base_is_known_by_its_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    python = write_python(tmp_path / "base" / "bin" / "python")
    value = tmp_path / "base" / "bin" / "conda" if variable == "CONDA_EXE" else tmp_path / "base"
    monkeypatch.setenv(variable, str(value))
    assert find() == Interpreter(python, WANTED, "a conda base")


def test_a_shim_that_does_not_run_hides_no_python_further_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shim = "echo 'pyenv: python3.10: command not found' >&2\nexit 127\n"
    write_script(tmp_path / "shims" / "python3.10", shim)
    real = write_python(tmp_path / "bin" / "python3.10")
    monkeypatch.setenv("PATH", f"{tmp_path / 'shims'}{os.pathsep}{os.pathsep}{tmp_path / 'bin'}")
    assert find() == Interpreter(real, WANTED, "on the PATH")


def test_pyenvs_shims_are_not_asked_what_is_behind_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pyenv = tmp_path / "home" / ".pyenv"
    write_script(pyenv / "shims" / "python3.10", f"/usr/bin/touch {tmp_path}/asked\n")
    behind = write_python(pyenv / "versions" / "3.10.1" / "bin" / "python")
    monkeypatch.setenv("PATH", str(pyenv / "shims"))
    assert find() == Interpreter(behind, WANTED, "in pyenv's versions")
    assert not (tmp_path / "asked").exists()


@pytest.mark.parametrize(
    "python",
    [
        {"version": "3.11"},
        {"implementation": "pypy"},
        {"bits": 32},
        {"machine": "another"},
        {"status": 1},
    ],
    ids=lambda value: next(iter(value)),
)
def test_what_the_wheels_do_not_fit_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python: dict[str, object]
) -> None:
    unfit = write_python(tmp_path / "unfit", **python)  # type: ignore[arg-type]
    fit = write_python(tmp_path / "fit")
    monkeypatch.setattr(interpreters, "candidates", lambda version: iter([(unfit, "first"), (fit, "second")]))
    assert find() == Interpreter(fit, WANTED, "second")


@pytest.mark.parametrize(
    "text", ["echo hello", "echo '[1]'", "exit 127", "echo '[3, 1, 2, 3, 4]'", "kill $$"]
)
def test_any_other_program_is_no_python(tmp_path: Path, text: str) -> None:
    assert interpreters.probe(write_script(tmp_path / "bin" / "python3.10", text + "\n"), "") is None


def test_a_program_that_hangs_or_is_not_there_is_no_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interpreters, "_PROBE_TIMEOUT_S", 0.2)
    assert interpreters.probe(write_script(tmp_path / "hangs", "exec /bin/sleep 30\n"), "") is None
    assert interpreters.probe(tmp_path / "none", "") is None


def test_the_one_that_was_asked_for_is_taken_or_refused(tmp_path: Path) -> None:
    write_python(tmp_path / "bin" / "python3.10")
    asked = write_python(tmp_path / "mine")
    assert find(asked) == Interpreter(asked, WANTED, "--python")
    write_python(asked, "3.12")
    with pytest.raises(D2lEnvError) as caught:
        find(asked)
    assert caught.value.what == f"{asked} is not a Python 3.10"
    assert caught.value.why == "it is Python 3.12"
    with pytest.raises(D2lEnvError, match="it does not run"):
        find(tmp_path / "none")


def without_system_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where /usr/bin has that version."""
    monkeypatch.setattr(interpreters, "candidates", lambda version: iter(()))


def test_when_there_is_none_the_commands_that_get_one_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    without_system_python(monkeypatch)
    with pytest.raises(D2lEnvError) as caught:
        find()
    assert caught.value.what == "no Python 3.10 was found"
    for command in ("uv python install 3.10", "pyenv install 3.10", "conda create -n py python=3.10"):
        assert f"`{command}`" in caught.value.fix


def test_uvs_own_is_used_and_downloaded_once_when_there_is_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_system_python(monkeypatch)
    managed = write_python(tmp_path / "managed" / "python")
    script = write_script(
        tmp_path / "uv",
        f'echo "$2" >> {tmp_path}/asked\n'
        f'case "$2" in install) /usr/bin/touch {tmp_path}/there;;\n'
        f"find) [ -e {tmp_path}/there ] && echo {managed};; esac\n",
    )
    monkeypatch.setattr(uv, "program", lambda: str(script))
    lines: list[str] = []
    found = interpreters.find(WANTED, None, lines.append)
    assert found == Interpreter(managed, WANTED, "uv's managed download")
    assert lines == ["no Python 3.10 here; asking uv to download one"]
    lines.clear()
    interpreters.find(WANTED, None, lines.append)
    assert lines == []
    assert (tmp_path / "asked").read_text(encoding="utf-8").split() == ["find", "install", "find", "find"]


def test_a_uv_that_fails_or_is_missing_leads_to_the_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_system_python(monkeypatch)
    for script in (str(write_script(tmp_path / "uv", "exit 2\n")), str(tmp_path / "none")):
        monkeypatch.setattr(uv, "program", lambda path=script: path)
        with pytest.raises(D2lEnvError, match="no Python 3"):
            find(download=True)


def test_the_real_uv_knows_the_words_that_are_used() -> None:
    words = ("python", "find", "--managed-python", "--no-python-downloads", "--no-project", "3.2")
    done = uv.run(*words, timeout_s=60)
    assert "unexpected argument" not in done.stderr
    assert done.returncode != 0


def test_a_python_of_the_working_folder_is_not_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_python(tmp_path / "here" / "python3")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("PATH", os.pathsep.join([".", "", str(tmp_path / "bin")]))
    without_system_python(monkeypatch)
    with pytest.raises(D2lEnvError, match="no Python 3"):
        find()


def test_a_program_whose_own_name_says_another_version_is_not_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Debian's `python3` is a link to `python3.11`; a shim has a name that says nothing."""
    for folder, name in (("real", "python3.11"), ("mine", "python3.10"), ("shims", "pyenv-shim")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text("#!/bin/sh\n", encoding="utf-8")
        (tmp_path / folder / name).chmod(0o755)
        if folder != "real":
            (tmp_path / folder / "python3").symlink_to(name)
    (tmp_path / "real" / "python3").symlink_to("python3.11")
    monkeypatch.setenv(
        "PATH", os.pathsep.join(str(tmp_path / folder) for folder in ("real", "mine", "shims"))
    )
    found = [path for path, _ in interpreters.candidates("3.10") if path.parent.parent == tmp_path]
    names = [path.relative_to(tmp_path).as_posix() for path in found]
    assert names == ["mine/python3.10", "mine/python3", "shims/python3"]
