"""A stand-in for a prefix with JupyterLab, and what the tests of the lab ask of processes."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from d2lenv.learn import server
from d2lenv.learn.lab import Lab
from d2lenv.learn.server import RunningLab

# Speaks the few addresses that are used, writes what Jupyter writes, and starts a "kernel" with a child.
STAND_IN = """
import http.server, json, os, signal, subprocess, sys, threading, time

words = dict(word.removeprefix("--").split("=", 1) for word in sys.argv[1:] if "=" in word)
manner = os.environ.get("STAND_IN")
if manner == "dies":
    print("Traceback: the stand-in was told to die", flush=True)
    sys.exit(3)


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, status, text="{}"):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def do_GET(self):
        if self.headers["Authorization"] != "token " + os.environ["JUPYTER_TOKEN"]:
            return self.answer(403)
        modules = sorted({name.partition(".")[0] for name in sys.modules})
        said = {"environ": dict(os.environ), "cwd": os.getcwd(), "pid": os.getpid(), "kernel": kernel.pid}
        with open(os.environ["STAND_IN_SAYS"], "w") as file:
            json.dump({**said, "modules": modules, "path": sys.path, "arguments": sys.argv}, file)
        self.answer(200)

    def do_POST(self):
        if manner == "deaf":
            return self.answer(500)
        self.answer(200)
        if manner != "slow":
            stop()

    def log_message(self, *_):
        pass


def stop(*_):
    threading.Thread(target=server.shutdown).start()


server = http.server.ThreadingHTTPServer((words["ServerApp.ip"], int(words["ServerApp.port"])), Handler)
signal.signal(signal.SIGTERM, signal.SIG_IGN if manner == "deaf" else stop)
# As Jupyter does: a file of its runtime folder that shows the token, with the mode that the umask gives.
page = os.path.join(os.environ.get("JUPYTER_RUNTIME_DIR") or
                    os.path.join(os.environ["HOME"], ".local", "share", "jupyter", "runtime"),
                    f"jpserver-{os.getpid()}-open.html")
with open(page, "w") as file:
    file.write(os.environ["JUPYTER_TOKEN"])
print("token:", os.environ["JUPYTER_TOKEN"], flush=True)
CHILD = "import time; time.sleep(600)"
PARENT = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', %r]); time.sleep(600)" % CHILD
kernel = subprocess.Popen([sys.executable, "-c", PARENT], start_new_session=True)
if manner == "ends":
    threading.Timer(1.0, server.shutdown).start()
server.serve_forever()
"""

posix = pytest.mark.skipif(
    os.name == "nt", reason="not checked on Windows: the stand-in prefix is a shell script"
)
as_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0,
    reason="not checked: only root can act as a second user",
)
SECOND_USER = 65534


def make_prefix(prefix: Path, name: str = "cuda") -> Path:
    """Make a folder that looks like a prefix with JupyterLab."""
    site = prefix / "lib" / "python3.10" / "site-packages"
    (site / "jupyterlab").mkdir(parents=True)
    (site / "jupyterlab" / "__init__.py").touch()
    (site / "jupyterlab" / "__main__.py").write_text(STAND_IN, encoding="utf-8")
    # As ipykernel requires it.
    (site / "psutil").symlink_to(Path(psutil.__file__).parent)
    python = prefix / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{site}" exec "{sys.executable}" "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    kernelspec(prefix, f"d2l-{name}", python)
    return prefix


def kernelspec(prefix: Path, name: str, program: object, language: str = "python", **more: object) -> None:
    file = prefix / "share" / "jupyter" / "kernels" / name / "kernel.json"
    file.parent.mkdir(parents=True)
    spec = {"argv": [str(program), "-m", "x"], "language": language, "display_name": f"{name} there", **more}
    file.write_text(json.dumps(spec), encoding="utf-8")


def plant(folder: Path, names: list[str], hits: Path) -> None:
    """Put a module of each name into ``folder`` that leaves a file in ``hits`` when it is imported."""
    hits.mkdir()
    for name in names:
        if name.isidentifier() and not name.startswith("__"):
            text = f"open({str(hits / name)!r}, 'w').close()\n"
            (folder / f"{name}.py").write_text(text, encoding="utf-8")


def run_until(made: Lab, environ: dict[str, str], after: Callable[[RunningLab], object]) -> RunningLab:
    """Run the lab in this thread and do ``after``, which ends it, in another when it is ready."""
    ready: list[RunningLab] = []

    def on_ready(running: RunningLab) -> None:
        ready.append(running)
        threading.Thread(target=after, args=(running,)).start()

    assert server.run(made, environ, on_ready) == 0
    return ready[0]


def ctrl_c(running: RunningLab | None = None) -> None:
    os.kill(os.getpid(), signal.SIGINT)


def said(environ: dict[str, str]) -> dict[str, Any]:
    """What the stand-in has written of itself."""
    found: dict[str, Any] = json.loads(Path(environ["STAND_IN_SAYS"]).read_text(encoding="utf-8"))
    return found


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_for(condition: Callable[[], object], seconds: float = 60.0) -> bool:
    """Wait until ``condition`` is so; False when it never is."""
    limit = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > limit:
            return False
        time.sleep(0.05)
    return True
