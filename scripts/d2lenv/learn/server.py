"""A lab's server, from its start to its end.

It runs in a session of its own: Ctrl-C reaches this process alone, which then asks the server to stop its
kernels and itself, and ends whatever is left. If this process is killed, the server notices by its standard
input (guard.py).
"""

from __future__ import annotations

import re
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

import psutil

from d2lenv.base import signals
from d2lenv.base.console import note, say
from d2lenv.base.errors import D2lEnvError
from d2lenv.base.files import open_private
from d2lenv.base.messages import tr
from d2lenv.base.process import Service, kill_service, start_service
from d2lenv.learn import folders
from d2lenv.learn.address import free_port, is_loopback, ssh_line
from d2lenv.learn.lab import MARK, Lab, command, variables, write_settings

START_TIMEOUT_S = 120.0
_SHUTDOWN_S = 15.0
_TERMINATE_S = 5.0
_IDLE_S = 1.0
_POLL_S = 0.05
_WATCH_S = 0.2
_LOG_BYTES = 16384
_LOG_LINES = 20

# The messages of jupyter_server 1 and 2 before they end, and the system's.
_PORT_TAKEN = re.compile(r"port \d+ is not available|address already in use", re.IGNORECASE)


@dataclass(frozen=True)
class RunningLab:
    """A lab whose page can be opened."""

    lab: Lab
    pid: int

    def as_json(self) -> dict[str, object]:
        """Return the document of ``--json``."""
        lab = self.lab
        return {
            "environment": lab.environment,
            "url": lab.url,
            "base": lab.base,
            "token": lab.token,
            "port": lab.port,
            "pid": self.pid,
            "prefix": str(lab.prefix),
            "kernel": lab.kernels[0],
            "root": str(lab.root),
            "log": str(lab.log),
        }


class _PortTaken(Exception):
    """Another program took the port between the look for a free one and the server's start."""


class _Stop:
    """Return True if the reader has asked to stop, and, by a second Ctrl-C, not to wait.

    A signal's handler calls it, at any moment of the main thread. It must not wait for a lock that the main
    thread holds just then, as the one in a threading.Event.
    """

    def __init__(self) -> None:
        self.asked = False
        self.hurry = False

    def __call__(self, number: int) -> None:
        self.hurry = self.hurry or (self.asked and number == signal.SIGINT)
        self.asked = True

    def pause(self, seconds: float) -> bool:
        """Sleep, and return whether the reader has asked to stop."""
        time.sleep(seconds)
        return self.asked


def run(lab: Lab, environ: Mapping[str, str], on_ready: Callable[[RunningLab], None]) -> int:
    """Start the lab, call ``on_ready`` when its page can be opened, stay until it ends.

    It ends by Ctrl-C (or SIGTERM, or a closed terminal), or by *Shut Down* in the page. No process of it
    stays behind; a second Ctrl-C does not wait for the server's good-bye.

    Returns:
        0, however it ended.

    Raises:
        D2lEnvError: if it did not start, or died.
    """
    stop = _Stop()
    with signals.answered_by(stop), folders.short_runtime(environ, lab.moved) as moved:
        lab = replace(lab, moved=moved)
        while True:
            try:
                return _run_once(lab, environ, stop, on_ready)
            except _PortTaken:
                lab = replace(lab, port=free_port(lab.host, None))


def _run_once(
    lab: Lab, environ: Mapping[str, str], stop: _Stop, on_ready: Callable[[RunningLab], None]
) -> int:
    with _server(lab, environ, stop) as process:
        if not _wait_until_ready(lab, process, stop):
            return 0
        on_ready(RunningLab(lab, process.pid))
        while process.poll() is None and not stop.pause(_WATCH_S):
            pass
        if process.returncode:
            raise _died(lab, process.returncode)
        return 0


def show(running: RunningLab, environ: Mapping[str, str]) -> None:
    """Print the address, and on standard error how to use it."""
    lab = running.lab
    note(
        tr(
            "JupyterLab of {name} is ready ({folder}, kernel {kernel})",
            name=lab.environment,
            folder=lab.root,
            kernel=lab.kernels[0],
        )
    )
    say(lab.url)
    if lab.browser:
        note(tr("your browser opens it; Ctrl-C here ends it and its kernels"))
        return
    note(tr("open this address in a browser; Ctrl-C here ends it and its kernels"))
    if is_loopback(lab.host):
        note(tr("from another computer, type there first: {line}", line=ssh_line(lab.port, environ)))


@contextmanager
def _server(lab: Lab, environ: Mapping[str, str], stop: _Stop) -> Iterator[Service]:
    """Yield the server's process; end it and everything that it has started after the body."""
    write_settings(lab)
    process = _start(lab, environ)
    try:
        yield process
    finally:
        _end(lab, process, stop)


def _start(lab: Lab, environ: Mapping[str, str]) -> Service:
    with open_private(lab.log) as log:
        try:
            return start_service(command(lab), cwd=lab.nowhere, environ=variables(lab, environ), output=log)
        except OSError as error:
            raise D2lEnvError(
                tr("{path} does not run", path=lab.python),
                why=error.strerror or str(error),
                fix=tr("build the environment again: `d2lenv build {name} --fresh`", name=lab.environment),
            ) from error


def _wait_until_ready(lab: Lab, process: Service, stop: _Stop) -> bool:
    """Wait for the page and the list of kernels, and return False when asked to stop before.

    Raises:
        _PortTaken: if the server ended because of it, and the reader did not ask for this port.
        D2lEnvError: if it ended for another reason, or did not answer in time.
    """
    limit = time.monotonic() + START_TIMEOUT_S
    while not stop.asked:
        if process.poll() is not None:
            if not lab.port_named and _PORT_TAKEN.search(_tail(lab)):
                raise _PortTaken
            raise _died(lab, process.returncode)
        if _ask(lab, process, "/api/kernelspecs") and _ask(lab, process, "/lab"):
            return True
        if time.monotonic() > limit:
            raise D2lEnvError(
                tr("JupyterLab did not answer within {seconds} s", seconds=int(START_TIMEOUT_S)),
                why=_tail(lab),
                fix=tr("look into {path}", path=lab.log),
            )
        stop.pause(_POLL_S)
    return False


def _ask(lab: Lab, process: Service, path: str, method: str = "GET", timeout_s: float = 10.0) -> bool:
    """Ask the server and return whether it answered with 200.

    Nobody else is asked: the question carries the token, and another user may have taken the port.
    """
    if not _has_port(process, lab.port):
        return False
    request = urllib.request.Request(
        lab.base + path, method=method, headers={"Authorization": f"token {lab.token}"}
    )
    # No proxy: a configured one would be asked for 127.0.0.1 too.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=timeout_s) as answer:
            answer.read()
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _has_port(process: Service, port: int) -> bool:
    """Return whether ``process`` listens on ``port``, or one that it started, as Python does on Windows."""
    try:
        server = psutil.Process(process.pid)
        return any(
            connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
            for member in (server, *server.children(recursive=True))
            for connection in member.net_connections("tcp")
        )
    except psutil.Error:
        return False


def _end(lab: Lab, process: Service, stop: _Stop) -> None:
    """End the server, its kernels and their children; ask first, then insist."""
    family = _family(process.pid) if process.poll() is None else _orphans(lab)
    patience = _TERMINATE_S
    if process.poll() is None and _ask(lab, process, "/api/shutdown", "POST", timeout_s=_SHUTDOWN_S):
        patience = _wait_for_the_end(lab, process, stop, family)
    _kill(process, family, 0.0 if stop.hurry else patience)


def _wait_for_the_end(lab: Lab, process: Service, stop: _Stop, family: list[psutil.Process]) -> float:
    """Wait for a server that was asked to end, add new children to ``family``, return the patience left."""
    patience = _TERMINATE_S
    limit = time.monotonic() + _SHUTDOWN_S
    while process.poll() is None and time.monotonic() < limit and not stop.hurry:
        stop.pause(_POLL_S)
        children = _family(process.pid)
        family += [member for member in children if member not in family]
        if not children and not _has_port(process, lab.port):
            # Its kernels are gone and its port is closed: nothing is left to wait for. Now and then it does
            # not end all the same, because a worker thread of anyio waits for work for ever (seen with
            # jupyter_server 2.20, 2026-11-22: MainThread in threading._shutdown).
            limit = min(limit, time.monotonic() + _IDLE_S)
            patience = _IDLE_S
    return patience


def _kill(process: Service, family: list[psutil.Process], patience: float) -> None:
    """Terminate the processes that are left; kill those that have not ended after ``patience`` seconds."""
    survivors = [member for member in family if member.is_running()]
    for member in survivors:
        with suppress(psutil.Error):
            member.terminate()
    if process.poll() is None:
        process.terminate()
    limit = time.monotonic() + patience
    _, alive = psutil.wait_procs(survivors, timeout=patience)
    for member in alive:
        with suppress(psutil.Error):
            member.kill()
    psutil.wait_procs(alive, timeout=_TERMINATE_S)  # a killed process is gone a moment later
    kill_service(process, limit - time.monotonic())


def _family(pid: int) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return psutil.Process(pid).children(recursive=True)
    return []


def _orphans(lab: Lab) -> list[psutil.Process]:
    """Return the processes that a killed server has left: only their environment tells whose they were."""
    found: list[psutil.Process] = []
    for member in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if member.environ().get(MARK) == str(lab.log):
                found.append(member)
    return found


def _died(lab: Lab, code: int) -> D2lEnvError:
    return D2lEnvError(
        tr("JupyterLab ended with status {code}", code=code),
        why=_tail(lab),
        fix=tr("look into {path}; `d2lenv doctor` examines the environment", path=lab.log),
    )


def _tail(lab: Lab) -> str:
    """Return the last lines of the log."""
    with suppress(OSError):
        lines = lab.log.read_bytes()[-_LOG_BYTES:].decode("utf-8", "replace").splitlines()
        return "\n".join(line for line in lines[-_LOG_LINES:] if line.strip())
    return ""
