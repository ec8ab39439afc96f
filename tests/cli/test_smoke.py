"""`d2lenv smoke` as a person or a program calls it."""

from __future__ import annotations

import json
import os
import select
import signal
import stat
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import nbformat
import pytest
from click.testing import CliRunner
from nbformat.v4 import new_code_cell, new_notebook

import diskkit
from d2lenv.base import signals
from d2lenv.cli.app import cli
from d2lenv.engines import build
from d2lenv.workspace.pins import Difference
from smokekit import RESULT, WAIT, gone, notebook, shows, written


def workspace(root: Path, **notebooks: Any) -> Path:
    """A workspace with notebooks of its own."""
    root.mkdir()
    (root / "pixi.toml").write_text(
        '[workspace]\nname = "w"\nchannels = ["c"]\nplatforms = ["linux-64"]\n', encoding="utf-8"
    )
    written(root / "notebooks", **notebooks)
    return root


def run(root: Path, *arguments: object, **environ: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "d2lenv", "--workspace", str(root), "smoke", *map(str, arguments)]
    return subprocess.run(
        words, capture_output=True, encoding="utf-8", timeout=120, env={**os.environ, **environ}, check=False
    )


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "d2lenv", "smoke", *map(str, arguments)]


@pytest.mark.skipif(sys.platform == "win32", reason="a console's Ctrl-C cannot be sent to one process there")
@pytest.mark.parametrize("number", signals.NUMBERS)
def test_ctrl_c_ends_the_kernels_and_reports_what_had_finished(
    light_prefix: Path, tmp_path: Path, number: signal.Signals
) -> None:
    folder = written(tmp_path / "nb", a_quick=notebook("1"), b_long=notebook(WAIT), c_never=notebook("1"))
    report = tmp_path / "report"
    arguments = ("x", "--prefix", light_prefix, "--notebooks", folder, "--report", report, "--jobs", 1)
    process = subprocess.Popen(command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    pid = folder / "pid"
    wait_for(pid, process)
    process.send_signal(number)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 128 + number, complaint
    assert b"Task was destroyed" not in complaint
    assert gone(int(pid.read_text(encoding="ascii")))
    data = json.loads((report / "result.json").read_text(encoding="utf-8"))
    assert [entry["status"] for entry in data["notebooks"]] == ["passed", "stopped", "stopped"]
    assert (data["interrupted"], data["partial"], data["ended"], data["total"]) == (True, True, 1, 3)
    assert (report / "notebooks" / "a_quick.ipynb").exists()


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if path.exists() or process.poll() is not None:
            return
        time.sleep(0.1)


@pytest.mark.skipif(sys.platform == "win32", reason="terminals are POSIX's")
def test_a_terminal_that_is_closed_ends_the_run_with_its_report(light_prefix: Path, tmp_path: Path) -> None:
    import fcntl
    import pty
    import termios

    folder = written(tmp_path / "nb", a_quick=notebook("1"), b_long=notebook(WAIT))
    report = tmp_path / "report"
    arguments = ("x", "--prefix", light_prefix, "--notebooks", folder, "--report", report, "--jobs", 1)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command(*arguments), stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0) and None,
    )  # fmt: skip
    os.close(theirs)
    while not (folder / "pid").exists() and process.poll() is None:
        if select.select([ours], [], [], 0.1)[0]:  # what the terminal shows: else the process waits for it
            with suppress(OSError):
                os.read(ours, 65536)
    os.close(ours)
    assert process.wait(60) == 128 + signal.SIGHUP
    data = json.loads((report / "result.json").read_text(encoding="utf-8"))
    assert [entry["status"] for entry in data["notebooks"]] == ["passed", "stopped"]
    assert gone(int((folder / "pid").read_text(encoding="ascii")))


def test_the_command_writes_the_report_and_its_exit_status_says_the_outcome(
    light_prefix: Path, tmp_path: Path
) -> None:
    unchecked = {**RESULT, "checks": [
        {"name": "gpu", "status": "not-checked", "detail": "no NVIDIA GPU", "needs": "gpu"}
    ]}  # fmt: skip
    folder = written(tmp_path / "nb", one=notebook("1", result=shows(unchecked)), two=notebook("1/0"))
    arguments = ("x", "--prefix", light_prefix, "--notebooks", folder, "--notebook", "one", "--json")
    passed = subprocess.run(command(*arguments, "--report", tmp_path / "a"), capture_output=True, timeout=120)
    assert passed.returncode == 0, passed.stderr
    data = json.loads(passed.stdout)
    assert (data["environment"], data["ok"]) == ("x", True)
    assert [entry["name"] for entry in data["notebooks"]] == ["one"]
    assert {path.name for path in (tmp_path / "a").iterdir()} == {
        "junit.xml", "notebooks", "report.html", "result.json",
    }  # fmt: skip

    strict = subprocess.run(
        command(*arguments, "--require-gpu", "--report", tmp_path / "b"), capture_output=True, timeout=120
    )
    assert strict.returncode == 1
    (entry,) = json.loads(strict.stdout)["notebooks"]
    assert entry["reason"] == "gpu (a GPU is required: no NVIDIA GPU)"


def test_a_prefix_is_run_outside_a_workspace_too(light_prefix: Path, tmp_path: Path) -> None:
    folder = written(tmp_path / "nb", one=notebook("1"))
    words = ("x", "--prefix", light_prefix, "--notebooks", folder, "--report", tmp_path / "report")
    answer = subprocess.run(command(*words), cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert answer.returncode == 0, answer.stderr


def test_the_command_without_a_prefix_builds_the_environment_first(
    tmp_path: Path, light_prefix: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pixi.toml").write_text(
        '[workspace]\nname = "w"\nchannels = ["c"]\nplatforms = ["linux-64"]\n', encoding="utf-8"
    )
    asked: list[tuple[str, str]] = []
    different = Difference("mpmath", "1.4.1", "mpmath", "1.3.0")

    def pretended(_: object, name: str, *, engine: str, **__: object) -> build.Built:
        asked.append((name, engine))
        return build.Built(name, engine, light_prefix, light_prefix, "d", False, (different,))

    monkeypatch.setattr(build, "build", pretended)
    (tmp_path / "notebooks").mkdir()
    nbformat.write(new_notebook(cells=[new_code_cell("1 + 1")]), tmp_path / "notebooks" / "one.ipynb")
    answer = CliRunner().invoke(
        cli,
        ["--workspace", str(tmp_path), "smoke", "x", "--engine", "wheels", "--report", str(tmp_path / "r")],
    )
    assert answer.exit_code == 0, answer.output
    assert asked == [("x", "wheels")]
    assert json.loads((tmp_path / "r" / "result.json").read_text("utf-8"))["differences"] == [
        {"conda_name": "mpmath", "conda_version": "1.4.1", "pypi_name": "mpmath", "pypi_version": "1.3.0"}
    ]
    assert "1.4.1" in (tmp_path / "r" / "report.html").read_text("utf-8")


def test_a_partial_run_leaves_the_full_report_and_says_in_every_format_that_it_is_one(
    light_prefix: Path, tmp_path: Path
) -> None:
    root = workspace(tmp_path / "w", one=notebook("1"), two=notebook("2"))
    assert run(root, "x", "--prefix", light_prefix).returncode == 0
    full = {path: path.read_bytes() for path in (root / "reports" / "x").rglob("*") if path.is_file()}
    done = run(root, "x", "--prefix", light_prefix, "--notebook", "one")
    assert done.returncode == 0, done.stderr
    assert {path: path.read_bytes() for path in full} == full
    assert "only 1 of 2 notebooks: a partial run" in done.stdout
    partial = root / "reports" / "x-partial"
    assert str(partial / "report.html") in done.stdout.replace("\n", "")
    assert "A partial run: 1 of 2 notebooks" in (partial / "report.html").read_text("utf-8")
    assert 'message="partial: 1 of 2 notebooks"' in (partial / "junit.xml").read_text("utf-8")
    data = json.loads((partial / "result.json").read_text("utf-8"))
    assert (data["partial"], data["ended"], data["total"]) == (True, 1, 2)
    for name, words in (("report.html", "A partial run"), ("junit.xml", "partial:")):
        assert words not in (root / "reports" / "x" / name).read_text("utf-8")
    assert json.loads((root / "reports" / "x" / "result.json").read_text("utf-8"))["partial"] is False


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_an_interrupted_run_leaves_the_full_report(light_prefix: Path, tmp_path: Path) -> None:
    root = workspace(tmp_path / "w", one=notebook("1"), two=notebook(WAIT))
    (root / "reports" / "x").mkdir(parents=True)
    (root / "reports" / "x" / "result.json").write_text("full", encoding="utf-8")
    words = [sys.executable, "-m", "d2lenv", "--workspace", str(root), "smoke", "x", "--prefix", light_prefix]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(root / "notebooks" / "pid", process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 128 + signal.SIGTERM
    assert (root / "reports" / "x" / "result.json").read_text("utf-8") == "full"
    assert json.loads((root / "reports" / "x-partial" / "result.json").read_text("utf-8"))["interrupted"]


def test_other_notebooks_have_a_report_of_their_own(light_prefix: Path, tmp_path: Path) -> None:
    root = workspace(tmp_path / "w", one=notebook("1"))
    mine = written(tmp_path / "mine", one=notebook("1"))
    assert run(root, "x", "--prefix", light_prefix, "--notebooks", mine).returncode == 0
    assert [path.name for path in (root / "reports").iterdir()] == ["x-mine"]


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_in_a_checkout_that_cannot_be_written_the_report_goes_to_the_users_folder(
    light_prefix: Path, tmp_path: Path
) -> None:
    with diskkit.read_only(tmp_path / "disk", "1m") as close:
        root = workspace(tmp_path / "disk" / "w", one=notebook("1"))
        close()
        own = {"HOME": str(tmp_path / "home"), "XDG_STATE_HOME": str(tmp_path / "home" / "state")}
        done = run(root, "x", "--prefix", light_prefix, **own)
        assert done.returncode == 0, done.stderr
        (page,) = (tmp_path / "home").rglob("report.html")
        assert f"{root} cannot be written: the report goes to {page.parent.parent}" in done.stderr
        assert str(page) in done.stdout.replace("\n", "")
        chosen = run(root, "x", "--prefix", light_prefix, "--report", tmp_path / "chosen", **own)
        assert chosen.returncode == 0, chosen.stderr
        assert (tmp_path / "chosen" / "report.html").is_file()
        refused = run(root, "x", "--prefix", light_prefix, "--report", root / "r", **own)
        assert refused.returncode == 1
        assert "the report cannot be written to" in refused.stderr


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
@pytest.mark.parametrize("way", [[], ["--kernels"]], ids=["forks", "kernels"])
def test_what_a_running_notebook_makes_is_the_users_alone_and_the_report_is_not(
    light_prefix: Path, tmp_path: Path, way: list[str]
) -> None:
    """The notebook looks at the folders of the run that it is a part of."""
    look = """
import os, pathlib, stat, subprocess
scratch = pathlib.Path(os.environ["JUPYTER_RUNTIME_DIR"]).parent
top = [oct(stat.S_IMODE(scratch.stat().st_mode)), os.stat(scratch).st_uid == os.geteuid()]
files = [*scratch.rglob("connection.json"), *scratch.rglob("*.log")]
modes = [oct(stat.S_IMODE(path.stat().st_mode)) for path in files]
assert top == ["0o700", True] and files and set(modes) == {"0o600"}, (top, files, modes)
assert not list(pathlib.Path("../reports").glob("*/notebooks"))
if os.geteuid() == 0:
    listed = [subprocess.run(["ls", folder], user=65534).returncode for folder in (scratch, scratch.parent)]
    assert listed[0] != 0 and listed[1] == 0, listed  # another user sees that there is one, and no more
"""
    root = workspace(tmp_path / "w", before=notebook("1"), one=notebook(look))
    mask = os.umask(0o022)
    try:
        done = run(root, "x", "--prefix", light_prefix, "--jobs", 1, *way)
    finally:
        os.umask(mask)
    assert done.returncode == 0, done.stdout
    report = root / "reports" / "x"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [report, *report.rglob("*")]}
    assert modes == {
        "x": 0o755, "before.ipynb": 0o644, "notebooks": 0o755, "one.ipynb": 0o644, "report.html": 0o644,
        "junit.xml": 0o644, "result.json": 0o644,
    }  # fmt: skip


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such names")
def test_escape_sequences_in_a_notebooks_name_do_not_reach_the_terminal(
    light_prefix: Path, tmp_path: Path
) -> None:
    name = "a\x1b]0;title\x07\x1b[31m[bold]\u202e\x9b31m"
    root = workspace(tmp_path / "w", **{name: notebook("1/0"), "b": "{"})
    words = ["x", "--prefix", light_prefix]
    shown = run(root, *words)
    machine = run(root, *words, "--json")
    nothing = run(root, *words, "--notebook", "\x1b[31mc")
    assert (shown.returncode, machine.returncode, nothing.returncode) == (1, 1, 2)
    for text in (shown.stdout, shown.stderr, machine.stdout, machine.stderr, nothing.stderr):
        assert not {"\x1b", "\x07", "\u202e", "\x9b"} & set(text)
    assert "a\\x1b]0;title\\x07\\x1b[31m[bold]\\u202e\\x9b31m" in shown.stderr
    assert json.loads(machine.stdout)["notebooks"][0]["name"] == name
