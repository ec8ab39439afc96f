"""Other programs are started so that the working folder cannot take part."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

from d2lenv.base import process
from labkit import wait_for


def canaries(folder: Path, *names: str) -> None:
    for name in names:
        (folder / f"{name}.py").write_text("raise SystemExit('imported from the working folder')\n", "utf-8")


@pytest.mark.parametrize("name", ["runpy", "pkgutil", "random", "json", "json.tool", "typing", "site", "os"])
def test_a_module_is_not_taken_from_the_working_folder(tmp_path: Path, name: str) -> None:
    canaries(tmp_path, name.partition(".")[0])
    command = process.python_module(sys.executable, "json.tool", "--compact")
    done = subprocess.run(
        command, input='{"a": 1}', text=True, capture_output=True, cwd=tmp_path, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, '{"a":1}\n', "")


def test_dash_m_does_take_it_so_the_canary_is_a_real_one(tmp_path: Path) -> None:
    canaries(tmp_path, "argparse")
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    done = subprocess.run(
        [sys.executable, "-m", "json.tool"], env=environ, input="1", text=True, capture_output=True,
        cwd=tmp_path, timeout=60, check=False,
    )  # fmt: skip
    assert "imported from the working folder" in done.stderr


def test_empty_and_relative_entries_of_pythonpath_are_left_out(tmp_path: Path) -> None:
    given = {"PYTHONPATH": os.pathsep.join(["", str(tmp_path), "here", "."]), "LANG": "C"}
    assert process.python_environment(given) == {"PYTHONPATH": str(tmp_path), "LANG": "C"}
    assert process.python_environment({"PYTHONPATH": os.pathsep}) == {}


@pytest.mark.skipif(sys.platform == "win32", reason="scripts with a shebang")
def test_a_program_is_not_taken_from_a_closed_or_relative_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, outside, linked = tmp_path / "env" / "bin", tmp_path / "usr", tmp_path / "linked"
    for folder in (inside, outside, linked):
        folder.mkdir(parents=True)
    for folder in (inside, outside):
        (folder / "nvidia-smi").write_text("#!/bin/sh\n", encoding="utf-8")
        (folder / "nvidia-smi").chmod(0o755)
    (linked / "nvidia-smi").symlink_to(inside / "nvidia-smi")
    monkeypatch.chdir(inside)
    environ = {"PATH": os.pathsep.join(["", ".", str(inside), str(linked), str(outside)])}
    closed = [tmp_path / "env"]
    assert process.which("nvidia-smi", environ, outside=closed) == outside / "nvidia-smi"
    assert process.which("nvidia-smi", environ) == inside / "nvidia-smi"
    assert process.which("nvidia-smi", {"PATH": str(inside)}, outside=closed) is None


def test_run_returns_status_and_output_and_has_no_standard_input() -> None:
    done = process.run(
        [
            sys.executable,
            "-c",
            "import sys; sys.stdout.buffer.write((sys.stdin.read() + chr(0x597d)).encode()); sys.exit(3)",
        ],
        timeout_s=60,
    )
    assert (done.returncode, done.stdout) == (3, "好")


def test_run_ends_what_takes_too_long() -> None:
    with pytest.raises(TimeoutError, match="no end after"):
        process.run([sys.executable, "-c", "import time; time.sleep(60)"], timeout_s=0.5)


SERVICE = "import sys; print('ready', flush=True); sys.stdin.read(); print('alone', flush=True); {then}"


@pytest.mark.parametrize(("then", "status"), [("sys.exit(3)", 3), ("import time; time.sleep(600)", None)])
def test_a_service_notices_the_end_of_its_input_and_is_killed_when_it_lasts(
    tmp_path: Path, then: str, status: int | None
) -> None:
    with (tmp_path / "log").open("wb") as log:
        command = [sys.executable, "-c", SERVICE.format(then=then)]
        service = process.start_service(command, cwd=tmp_path, environ=os.environ, output=log)
    assert service.stdin is not None
    service.stdin.close()
    assert wait_for(lambda: "alone" in (tmp_path / "log").read_text(encoding="utf-8"))
    process.kill_service(service, 0.1 if status is None else 60.0)
    if status is None:
        assert service.returncode not in (None, 0)
    else:
        assert service.returncode == status


def test_the_collector_rests_only_as_long_as_the_body_runs() -> None:
    assert gc.isenabled()
    with process.without_collector():
        assert not gc.isenabled()
    assert gc.isenabled()
