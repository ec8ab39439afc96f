"""A server whose lab is gone ends, its kernels with it; the notebooks' folder takes no part in the server."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

import labkit
from d2lenv.base.process import python_file
from d2lenv.learn import guard
from labkit import gone, wait_for

pytestmark = labkit.posix


@dataclass(frozen=True)
class Started:
    """A lab's process, its server's, its kernel's and that of the kernel's child."""

    lab: subprocess.Popen[str]
    said: dict[str, Any]
    others: tuple[int, ...]


def family(environ: dict[str, str], server: int) -> tuple[int, ...]:
    said = Path(environ["STAND_IN_SAYS"])
    assert wait_for(said.exists)
    kernel = int(json.loads(said.read_text(encoding="utf-8"))["kernel"])
    assert wait_for(lambda: psutil.Process(kernel).children())
    return (server, kernel, *(child.pid for child in psutil.Process(kernel).children()))


@pytest.fixture
def command(tmp_path: Path, prefix: Path, root: Path) -> list[str]:
    words = [
        sys.executable,
        "-m",
        "d2lenv",
        "--workspace",
        str(tmp_path),
        "lab",
        "cuda",
        "--no-browser",
        "--json",
    ]
    return [*words, "--prefix", str(prefix), "--notebooks", str(root)]


@pytest.fixture
def start(environ: dict[str, str]) -> Iterator[Callable[[list[str]], Started]]:
    """Start a lab and wait until it is ready; whatever a failed test leaves is killed."""
    left: list[psutil.Process] = []

    def call(command: list[str]) -> Started:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environ
        )
        left.append(psutil.Process(process.pid))
        assert process.stdout is not None
        text = ""
        for line in process.stdout:
            text += line
            if line == "}\n":
                break
        said = json.loads(text)
        others = family(environ, said["pid"])
        left.extend(psutil.Process(pid) for pid in others)
        return Started(process, said, others)

    yield call
    for process in left:
        if process.is_running():
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_sigterm_and_sighup_end_everything(
    start: Callable[[list[str]], Started], command: list[str], number: int
) -> None:
    started = start(command)
    started.lab.send_signal(number)
    assert started.lab.wait(timeout=60) == 0
    assert all(gone(pid) for pid in started.others)


def test_a_killed_lab_leaves_no_process_behind(
    start: Callable[[list[str]], Started], command: list[str]
) -> None:
    started = start(command)
    environ = json.loads(Path(os.environ["STAND_IN_SAYS"]).read_text(encoding="utf-8"))["environ"]
    runtime = Path(environ["D2LENV_TEMPORARY"])  # pytest's folders have long paths
    assert runtime.is_dir()
    started.lab.kill()
    assert wait_for(lambda: all(gone(pid) for pid in started.others))
    assert wait_for(lambda: not runtime.exists())


def test_a_lab_under_nohup_outlives_its_terminal(
    start: Callable[[list[str]], Started], command: list[str]
) -> None:
    started = start(["nohup", *command])
    started.lab.send_signal(signal.SIGHUP)
    started.lab.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        started.lab.wait(timeout=1)
    started.lab.send_signal(signal.SIGTERM)
    assert started.lab.wait(timeout=60) == 0


# `script` would do as well, and is not everywhere: the child takes the terminal as its own.
IN_A_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_a_closed_terminal_ends_everything(environ: dict[str, str], command: list[str]) -> None:
    terminal, theirs = os.openpty()
    words = [sys.executable, "-c", IN_A_TERMINAL, *command]
    process = subprocess.Popen(
        words, stdin=theirs, stdout=theirs, stderr=theirs, env=environ, start_new_session=True
    )
    os.close(theirs)
    said = b""
    while b"\n}\r\n" not in said:
        said += os.read(terminal, 65536)
    others = family(environ, json.loads(said[said.index(b"{\r") : said.index(b"\n}") + 2])["pid"])
    os.close(terminal)
    assert process.wait(timeout=60) == 0
    assert all(gone(pid) for pid in others)


@pytest.mark.parametrize("manner", ["", "deaf"])
def test_a_closed_pipe_ends_the_server_its_kernels_and_their_children(
    tmp_path: Path, prefix: Path, environ: dict[str, str], manner: str
) -> None:
    impatient = tmp_path / "guard.py"
    text = Path(guard.__file__).read_text(encoding="utf-8")
    assert "PATIENCE_S = 10.0" in text
    impatient.write_text(text.replace("PATIENCE_S = 10.0", "PATIENCE_S = 1.0"), encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as free:  # not one that labs of other tests look at
        port = free.getsockname()[1]
    runtime = Path(environ["HOME"])
    words = ["--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}"]
    server = subprocess.Popen(
        python_file(prefix / "bin" / "python", impatient, *words),
        env={**environ, "JUPYTER_TOKEN": "x", "JUPYTER_RUNTIME_DIR": str(runtime), "STAND_IN": manner},
        stdin=subprocess.PIPE,
    )
    assert server.stdin is not None
    request = urllib.request.Request(f"http://127.0.0.1:{port}", headers={"Authorization": "token x"})

    def answers() -> bool:
        with suppress(OSError), urllib.request.build_opener().open(request, timeout=10) as answer:
            return bool(answer.status == 200)
        return False

    assert wait_for(answers)
    others = family(environ, server.pid)
    server.stdin.close()
    server.wait(timeout=60)
    assert wait_for(lambda: all(gone(pid) for pid in others))


def test_the_server_imports_nothing_from_the_notebooks_folder(
    tmp_path: Path,
    start: Callable[[list[str]], Started],
    command: list[str],
    environ: dict[str, str],
    root: Path,
) -> None:
    first = start(command)
    first.lab.terminate()
    first.lab.wait(timeout=60)
    said = json.loads(Path(environ["STAND_IN_SAYS"]).read_text(encoding="utf-8"))
    assert {"runpy", "http", "threading"} <= {*said["modules"]}
    assert not {"", ".", str(root)} & {*said["path"]}
    labkit.plant(root, [*said["modules"], "jupyterlab", "psutil", "sitecustomize"], tmp_path / "hits")
    Path(environ["STAND_IN_SAYS"]).unlink()
    second = start(command)
    second.lab.kill()
    assert wait_for(lambda: all(gone(pid) for pid in second.others))
    assert [*(tmp_path / "hits").iterdir()] == []
    # The canaries are real: this is how the server was started before.
    python = command[command.index("--prefix") + 1] + "/bin/python"
    subprocess.run([python, "-m", "jupyterlab"], cwd=root, env=environ, capture_output=True, timeout=60)
    assert [*(tmp_path / "hits").iterdir()] != []
