"""The Python of a prefix."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from d2lenv.base import process
from d2lenv.base.errors import D2lEnvError
from d2lenv.smoke import interpreter
from d2lenv.smoke.execution import session


def test_a_folder_without_python_is_not_an_environment(tmp_path: Path) -> None:
    with pytest.raises(D2lEnvError, match="has no Python"):
        interpreter.interpreter_of(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell script that can be run")
@pytest.mark.parametrize(
    "script", ["#!/bin/sh\necho broken >&2; exit 3\n", "#!/bin/sh\necho not json\n", "#!/none\n"]
)
def test_a_python_that_does_not_run_is_a_clear_error(tmp_path: Path, script: str) -> None:
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(script, encoding="utf-8")
    python.chmod(0o755)
    with pytest.raises(D2lEnvError, match="does not run"):
        interpreter.describe(interpreter.interpreter_of(tmp_path))


def test_a_conda_prefix_on_windows_brings_its_library_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Library" / "bin").mkdir(parents=True)
    (tmp_path / "conda-meta").mkdir()
    said = {
        "prefix": str(tmp_path),
        "version": "3.10.13",
        "platform": "Windows",
        "folders": ["P", "P"],
        "packages": {},
    }
    answer = subprocess.CompletedProcess([], 0, stdout=json.dumps(said), stderr="")
    monkeypatch.setattr(process, "run", lambda *arguments, **options: answer)
    described = interpreter.describe(Path("python"))
    assert described.folders == ("P", str(tmp_path / "Library" / "bin"))
    variables = session.variables(described, 1, tmp_path)
    assert variables["PATH"].startswith(f"P{os.pathsep}{tmp_path}")
    assert variables["CONDA_PREFIX"] == str(tmp_path)
    assert "VIRTUAL_ENV" not in variables


def test_the_working_folder_has_no_part_in_the_answer(
    light_prefix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A canary for every module that the question really imports."""
    question = (
        interpreter._DESCRIBE + "\nprint(json.dumps(sorted({n.partition('.')[0] for n in sys.modules})))"
    )
    python = interpreter.interpreter_of(light_prefix)
    said = subprocess.run(
        [python, "-I", "-c", question], capture_output=True, text=True, timeout=60, check=True
    )
    names = set(json.loads(said.stdout.splitlines()[-1])) - {"__main__"}
    assert {"json", "platform", "importlib", "sysconfig"} <= names
    for name in names:
        (tmp_path / f"{name}.py").write_text(
            "raise SystemExit('imported from the folder')\n", encoding="utf-8"
        )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert interpreter.describe(python).packages["ipykernel"]
