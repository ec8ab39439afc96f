"""The real JupyterLab of both environments, without a browser: who gets in, what runs, what stays behind."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from driver import Running
from tornado.websocket import websocket_connect

import labkit
from labkit import gone, wait_for

pytestmark = pytest.mark.browser

NOTEBOOK = {
    "cells": [],
    "metadata": {"kernelspec": {"name": "python3", "display_name": "x", "language": "python"}},
    "nbformat": 4,
    "nbformat_minor": 4,
}
ENVIRONMENTS = ("cuda", "zh")


def ask(running: Running, path: str, data: object = None) -> Any:
    request = urllib.request.Request(
        running.base + path,
        data=None if data is None else json.dumps(data).encode(),
        headers={"Authorization": f"token {running.token}"},
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
        text = answer.read().decode()
    return json.loads(text) if text.startswith(("{", "[")) else text


def open_notebook(running: Running, code: str = "pass") -> str:
    """Start a kernel beside the notebook, run ``code`` as its first cell and return what that prints."""
    name = next(iter(ask(running, "/api/kernelspecs")["kernelspecs"]))
    wanted = {"path": "x.ipynb", "type": "notebook", "name": "x", "kernel": {"name": name}}
    kernel = ask(running, "/api/sessions", wanted)["kernel"]["id"]
    address = running.base.replace("http", "ws") + f"/api/kernels/{kernel}/channels?token={running.token}"
    return asyncio.run(asyncio.wait_for(run_cell(address, code), timeout=90))


async def run_cell(address: str, code: str) -> str:
    header = {"msg_id": "1", "msg_type": "execute_request", "username": "", "session": "1", "version": "5.3"}
    content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False}
    connection = await websocket_connect(address)
    message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
    await connection.write_message(json.dumps(message))
    said = ""
    while (text := await connection.read_message()) is not None:
        received = json.loads(text)
        if received["parent_header"].get("msg_id") == "1":
            said += received["content"].get("text", "")
            if received["msg_type"] == "error":
                raise AssertionError(received["content"])
            if received["content"].get("execution_state") == "idle":
                break
    connection.close()
    return said


def family(running: Running) -> list[psutil.Process]:
    server = next(process for process in psutil.Process(running.process.pid).children())
    return [server, *server.children(recursive=True)]


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A folder that every user may walk into; pytest's own are closed to them."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@labkit.as_root
@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_a_second_user_finds_the_token_nowhere(
    start_lab: Callable[..., Running], open_place: Path, environment: str, umask: int
) -> None:
    (open_place / "notebooks").mkdir()
    (open_place / "notebooks" / "x.ipynb").write_text(json.dumps(NOTEBOOK), encoding="utf-8")
    before = os.umask(umask)
    try:
        folder, home = open_place / "notebooks", open_place / "home"
        running = start_lab(environment, folder, workspace=open_place, home=home)
        open_notebook(running)
    finally:
        os.umask(before)
    assert list(open_place.glob("home/.local/share/jupyter/runtime/jpserver-*-open.html"))
    parts = ("cmdline", "environ")
    processes = [f"/proc/{process.pid}/{part}" for process in family(running) for part in parts]
    for place in (str(open_place), *processes):
        command = ["grep", "-rlF", "--", running.token, place]
        mine = subprocess.run(command, capture_output=True, text=True, timeout=60)
        theirs = subprocess.run(command, user=labkit.SECOND_USER, capture_output=True, text=True, timeout=60)
        assert theirs.stdout == "", place
        assert bool(mine.stdout) is not place.endswith("cmdline"), place


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_opening_a_folder_runs_nothing_that_lies_in_it(
    start_lab: Callable[..., Running], tmp_path: Path, environment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "notebooks"
    folder.mkdir()
    (folder / "x.ipynb").write_text(json.dumps(NOTEBOOK), encoding="utf-8")
    # Every module that the server and the kernel import, by their own account.
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    running = start_lab(environment, folder)
    open_notebook(running)
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(timeout=60) == 0
    monkeypatch.delenv("PYTHONPROFILEIMPORTTIME")
    log = next(tmp_path.glob(f".d2lenv/lab/{environment}/*.log")).read_text(encoding="utf-8")
    names = {name.partition(".")[0] for name in re.findall(r"^import time:.*\| +(\S+)$", log, re.MULTILINE)}
    assert {"runpy", "jupyterlab", "ipykernel", "asyncio", "json"} <= names

    kinds = ("jupyter", "jupyter_server", "jupyter_lab", "ipython", "ipython_kernel")
    config = [f"{name}_config" for name in kinds]
    hits = tmp_path / "hits"
    labkit.plant(
        folder,
        sorted(names | {*config, "ipykernel_launcher", "sitecustomize", "usercustomize", "random"}),
        hits,
    )
    for name in ("lab", "classic", "basic", "base"):
        (folder / name).mkdir()
        for template in ("index.html.j2", "base.html.j2"):
            (folder / name / template).write_text(
                "{{ cycler.__init__.__globals__.os.system('touch %s') }}" % (hits / f"template-{name}"),
                encoding="utf-8",
            )
    (folder / "mine_alone.py").write_text("answer = 42", encoding="utf-8")
    running = start_lab(environment, folder)
    assert open_notebook(running, "import mine_alone; print(mine_alone.answer)") == "42\n"
    assert "<html" in ask(running, "/nbconvert/html/x.ipynb").lower()
    assert sorted(path.name for path in hits.iterdir()) == []


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_a_terminal_opens_where_the_notebooks_are(
    start_lab: Callable[..., Running], tmp_path: Path, environment: str
) -> None:
    folder = tmp_path / "notebooks"
    (folder / "chapter").mkdir(parents=True)
    running = start_lab(environment, folder)
    for wanted, place in (({}, folder), ({"cwd": ""}, folder), ({"cwd": "chapter"}, folder / "chapter")):
        before = {process.pid for process in family(running)}
        ask(running, "/api/terminals", wanted)
        shell = next(process for process in family(running) if process.pid not in before)
        assert wait_for(lambda shell=shell, place=place: shell.cwd() == str(place), 10), (wanted, shell.cwd())


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("killed", ["lab", "server"])
def test_a_killed_lab_or_server_leaves_no_process_behind(
    start_lab: Callable[..., Running], tmp_path: Path, environment: str, killed: str
) -> None:
    folder = tmp_path / "notebooks"
    folder.mkdir()
    (folder / "x.ipynb").write_text(json.dumps(NOTEBOOK), encoding="utf-8")
    running = start_lab(environment, folder)
    child = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])"
    open_notebook(running, child)
    ask(running, "/api/terminals", {})
    left = family(running)
    assert len(left) >= 4  # the server, a kernel and its child, a shell
    (running.process if killed == "lab" else left[0]).kill()
    assert wait_for(lambda: all(gone(process.pid) for process in left)), [p for p in left if p.is_running()]
    assert running.process.wait(timeout=60) == (-signal.SIGKILL if killed == "lab" else 1)


def can_connect(path: str) -> bool:
    """Try to connect to a socket as the second user."""
    child = os.fork()
    if child == 0:
        os.setgid(labkit.SECOND_USER)
        os.setuid(labkit.SECOND_USER)
        with suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            os._exit(0)
        os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@labkit.as_root
@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("length", [0, 60], ids=["short", "long"])
def test_a_second_user_cannot_listen_to_a_kernel(
    start_lab: Callable[..., Running], open_place: Path, environment: str, length: int
) -> None:
    """Jupyter's default is a port of this machine, where everybody can subscribe to what a kernel prints."""
    (open_place / "x.ipynb").write_text(json.dumps(NOTEBOOK), encoding="utf-8")
    home = open_place / ("h" + "o" * length)
    running = start_lab(environment, open_place, workspace=open_place, home=home)
    open_notebook(running)
    (kernel,) = (process for process in family(running) if "ipykernel_launcher" in process.cmdline())
    said = json.loads(Path(kernel.cmdline()[-1]).read_text(encoding="utf-8"))
    assert said["transport"] == "ipc"
    runtime = Path(said["ip"]).parent
    assert runtime.is_relative_to(home) is (length == 0)
    assert not can_connect(f"{said['ip']}-{said['iopub_port']}")
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(timeout=60) == 0
    assert runtime.exists() is (length == 0)
