"""A lab opens what it says, and leaves no process behind.

The server here is a stand-in (tests/labkit.py); tests/browser does the same with the real JupyterLab.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from d2lenv.base.errors import USAGE, D2lEnvError
from d2lenv.base.process import Service
from d2lenv.cli import app as cli
from d2lenv.learn import server
from d2lenv.learn.lab import Lab
from d2lenv.learn.server import RunningLab
from labkit import ctrl_c, gone, posix, run_until, said


@posix
def test_ctrl_c_ends_the_server_and_its_kernels(
    prepare: Callable[..., Lab], environ: dict[str, str], root: Path
) -> None:
    made = prepare()
    running = run_until(made, environ, ctrl_c)
    assert gone(running.pid)
    assert gone(said(environ)["kernel"])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert said(environ)["cwd"] == str(made.state / "nowhere")
    assert said(environ)["environ"]["D2LENV_PYTHON"] == sys.executable
    config = Path(said(environ)["environ"]["JUPYTER_CONFIG_PATH"].split(os.pathsep)[0])
    settings = json.loads(
        (config / "labconfig" / "default_setting_overrides.json").read_text(encoding="utf-8")
    )
    assert settings["@jupyterlab/apputils-extension:notification"]["fetchNews"] == "false"
    assert running.as_json()["kernel"] == "d2l-cuda"
    assert running.as_json()["root"] == str(root)


@posix
def test_a_port_that_another_takes_before_the_start_is_given_up_unless_it_was_named(
    prepare: Callable[..., Lab], environ: dict[str, str]
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        made = replace(prepare(), port=other.getsockname()[1])
        running = run_until(made, environ, ctrl_c)
        assert running.lab.port != made.port
        assert f":{running.lab.port}/" in running.lab.url
        with pytest.raises(D2lEnvError, match="JupyterLab ended with status 1") as caught:
            server.run(replace(made, port_named=True), environ, lambda running: None)
        other.setblocking(False)
        with pytest.raises(BlockingIOError):  # nobody has called: a call would have carried the token
            other.accept()
    assert "already in use" in caught.value.why


@posix
@pytest.mark.parametrize("manner", ["deaf", "slow"])
def test_a_server_that_does_not_listen_is_ended_all_the_same(
    prepare: Callable[..., Lab],
    environ: dict[str, str],
    manner: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "_SHUTDOWN_S", 0.5)
    running = run_until(prepare(), environ | {"STAND_IN": manner}, ctrl_c)
    assert gone(running.pid)
    assert gone(said(environ)["kernel"])


@posix
def test_a_server_that_has_stopped_everything_and_does_not_end_is_not_waited_for(
    prepare: Callable[..., Lab], environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_SHUTDOWN_S", 3600.0)  # if it were waited for, this test would hang
    running = run_until(prepare(), environ | {"STAND_IN": "lingers"}, ctrl_c)
    assert gone(running.pid)


@posix
def test_a_second_ctrl_c_does_not_wait_for_the_servers_good_bye(
    prepare: Callable[..., Lab], environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_SHUTDOWN_S", 3600.0)  # without the second one, this test would hang

    def twice(running: RunningLab) -> None:
        ctrl_c()
        time.sleep(0.5)
        ctrl_c()

    running = run_until(prepare(), environ | {"STAND_IN": "slow"}, twice)
    assert gone(running.pid)
    assert gone(said(environ)["kernel"])


@posix
def test_shut_down_in_the_page_ends_the_lab_quietly(
    prepare: Callable[..., Lab], environ: dict[str, str]
) -> None:
    running = run_until(prepare(), environ | {"STAND_IN": "ends"}, lambda _: None)
    assert gone(running.pid)


@posix
def test_a_server_that_dies_is_explained_with_its_last_words(
    prepare: Callable[..., Lab], environ: dict[str, str]
) -> None:
    made = prepare()
    with pytest.raises(D2lEnvError, match="status 3") as caught:
        server.run(made, environ | {"STAND_IN": "dies"}, lambda _: None)
    assert "told to die" in caught.value.why
    assert str(made.log) in caught.value.fix


@posix
def test_ctrl_c_before_the_page_is_there_ends_it_too(
    prepare: Callable[..., Lab], environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Service] = []
    real = server.start_service

    def remembered(*arguments: Any, **options: Any) -> Service:
        started.append(real(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(server, "start_service", remembered)
    monkeypatch.setattr(server, "_ask", lambda *_, **__: False)
    threading.Timer(0.5, ctrl_c).start()
    assert server.run(prepare(), environ, lambda _: pytest.fail("it was never ready")) == 0
    assert gone(started[0].pid)


@posix
def test_a_server_that_never_answers_is_given_up(
    prepare: Callable[..., Lab], environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "START_TIMEOUT_S", 0.3)
    monkeypatch.setattr(server, "_ask", lambda *_, **__: False)
    with pytest.raises(D2lEnvError, match="did not answer"):
        server.run(prepare(), environ, lambda _: None)


def test_a_python_that_does_not_start_is_explained(
    prepare: Callable[..., Lab], environ: dict[str, str], prefix: Path
) -> None:
    made = prepare()
    (prefix / "bin" / "python").unlink()
    with pytest.raises(D2lEnvError, match="does not run"):
        server.run(made, environ, lambda _: None)


@posix
@pytest.mark.parametrize("as_json", [True, False])
def test_the_command_says_where_it_is_and_ends(
    tmp_path: Path, prefix: Path, root: Path, environ: dict[str, str], as_json: bool
) -> None:
    words = [
        sys.executable,
        "-m",
        "d2lenv",
        "--workspace",
        str(tmp_path),
        "lab",
        "cuda",
        "--prefix",
        str(prefix),
    ]
    words += ["--notebooks", str(root), "--no-browser", *(["--json"] if as_json else [])]
    done = subprocess.run(
        words,
        env=environ | {"STAND_IN": "ends", "D2LENV_LANG": "en"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "the lab has ended" in done.stderr
    if as_json:
        assert json.loads(done.stdout)["url"].startswith("http://127.0.0.1:")
    else:
        assert done.stdout.startswith("http://127.0.0.1:")
        assert "ssh -N -L" in done.stderr


def test_the_command_refuses_an_open_address_without_a_token(
    tmp_path: Path, prefix: Path, root: Path, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str]
) -> None:
    monkeypatch.delenv("JUPYTER_TOKEN", raising=False)
    monkeypatch.setenv("HOME", environ["HOME"])
    result = CliRunner().invoke(
        cli.cli,
        [
            "--workspace",
            str(tmp_path),
            "lab",
            "--prefix",
            str(prefix),
            "--notebooks",
            str(root),
            "--host",
            "0.0.0.0",
        ],
    )
    assert isinstance(result.exception, D2lEnvError)
    assert result.exception.status == USAGE


AT_ANY_MOMENT = """
import random, signal
from d2lenv.learn.server import _Stop

for _ in range(5000):
    stop = _Stop()
    signal.signal(signal.SIGALRM, lambda number, _: stop(number))
    signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 2e-4))
    while not stop.pause(1e-6):
        pass
print("heard")
"""


@posix
def test_a_signal_at_any_moment_of_the_wait_is_heard() -> None:
    """With a threading.Event this hung: the handler wanted the lock that the interrupted wait held."""
    done = subprocess.run(
        [sys.executable, "-c", AT_ANY_MOMENT], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout == "heard\n", done.stderr
