"""Start other programs so that nothing in the working folder can run instead of them.

Python puts the working folder first on ``sys.path`` for ``-m`` and ``-c``: a reader's ``random.py`` beside
a notebook would be imported by every process that starts there. ``-P`` exists since Python 3.11 only, and
``-I`` also switches ``PYTHONPATH`` off, which the `dev` environment of pixi needs. So a module is started by
a line of code that drops the folder before it imports anything.
"""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from typing import BinaryIO

from d2lenv.base.messages import tr

_STDERR = 2

# `sys` is built in: nothing is looked up on the path before the folder is off it.
_START = (
    "import sys; sys.path[0] == '' and sys.path.pop(0); module = sys.argv.pop(1); import runpy; "
    "runpy.run_module(module, run_name='__main__', alter_sys=True)"
)
_START_FILE = (
    "import sys; sys.path[0] == '' and sys.path.pop(0); file = sys.argv.pop(1); import runpy; "
    "runpy.run_path(file, run_name='__main__')"
)


def python_module(python: Path | str, module: str, *arguments: str, options: Sequence[str] = ()) -> list[str]:
    """Return the command that runs ``module`` as ``python -m`` does, without the working folder on the path.

    Args:
        options: of the interpreter, as ``-B``.
    """
    return [str(python), *options, "-c", _START, module, *arguments]


def python_file(python: Path | str, file: Path, *arguments: str) -> list[str]:
    """Return the command that runs ``file``, with neither its folder nor the working folder on the path."""
    return [str(python), "-c", _START_FILE, str(file), *arguments]


def python_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return ``environ`` for a Python process, without the ways in which it names the working folder.

    An empty or relative entry of ``PYTHONPATH`` means the working folder or one below it.
    """
    found = dict(environ)
    entries = [
        entry
        for entry in found.pop("PYTHONPATH", "").split(os.pathsep)
        if entry and Path(entry).is_absolute()
    ]
    if entries:
        found["PYTHONPATH"] = os.pathsep.join(entries)
    return found


def which(name: str, environ: Mapping[str, str], *, outside: Sequence[Path] = ()) -> Path | None:
    """Return the program ``name`` on the PATH, skipping relative folders and those below ``outside``.

    The examined environment is untrusted: what lies in it must not be started for the sake of its name.
    """
    closed = [folder.resolve() for folder in outside]
    for entry in environ.get("PATH", os.defpath).split(os.pathsep):
        if not entry or not Path(entry).is_absolute():
            continue
        found = shutil.which(name, path=entry)
        if found is None:
            continue
        places = (Path(found).absolute(), Path(found).resolve())
        if not any(place.is_relative_to(folder) for place in places for folder in closed):
            return Path(found)
    return None


Done = subprocess.CompletedProcess[str]
"""A process that has ended: ``returncode``, ``stdout``, ``stderr``."""


@contextmanager
def _timed() -> Iterator[None]:
    """Turn subprocess's own exception into Python's, which is an OSError as all else that can go wrong."""
    try:
        yield
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(tr("no end after {seconds} s", seconds=f"{error.timeout:g}")) from error


class StalledError(TimeoutError):
    """A process was killed because nothing came of it any more."""


@dataclass(frozen=True)
class Watch:
    """A look at a process from time to time.

    Attributes:
        every_s: seconds between two looks.
        goes_on: whether it still gets on.
    """

    every_s: float
    goes_on: Callable[[], bool]


def run(
    command: Sequence[str | Path],
    *,
    timeout_s: float,
    cwd: Path | None = None,
    environ: Mapping[str, str] | None = None,
    shown: bool = False,
    text: str = "",
    watch: Watch | None = None,
) -> Done:
    """Run ``command`` and return its status and both outputs as text.

    Args:
        text: its whole standard input.
        shown: its standard error goes to this process's own, as progress on a terminal must.
        watch: looks whether it gets on.

    Raises:
        OSError: if it cannot be started.
        TimeoutError: if it takes longer than ``timeout_s``; it is killed then.
        StalledError: if ``watch`` says that it does not go on; likewise.
    """
    with (
        _timed(),
        subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if shown else subprocess.PIPE,
            encoding="utf-8",
            errors="backslashreplace",
            cwd=cwd,
            env=None if environ is None else dict(environ),
        ) as process,
    ):
        try:
            out, error = _communicate(process, text, timeout_s, watch)
        except BaseException:
            process.kill()
            raise
        return Done(process.args, process.returncode, out, error)


def _communicate(
    process: subprocess.Popen[str], text: str, timeout_s: float, watch: Watch | None
) -> tuple[str, str]:
    end = time.monotonic() + timeout_s
    while True:
        left = max(0.0, end - time.monotonic())
        if watch is None or left <= watch.every_s:
            return process.communicate(text, timeout=left)
        with suppress(subprocess.TimeoutExpired):
            return process.communicate(text, timeout=watch.every_s)
        if not watch.goes_on():
            raise StalledError


def run_visibly(
    command: Sequence[str | Path],
    *,
    timeout_s: float,
    cwd: Path | None = None,
    environ: Mapping[str, str] | None = None,
    aside: bool = False,
) -> int:
    """Run ``command`` without standard input, with its output where ours goes, and return its status.

    Args:
        aside: all its output goes to our standard error, because standard output is ours alone.

    Raises:
        OSError: if it cannot be started.
        TimeoutError: if it takes longer than ``timeout_s``; it is killed then.
    """
    with _timed():
        return subprocess.run(
            [str(word) for word in command],
            stdout=_STDERR if aside else None,
            timeout=timeout_s,
            check=False,
            stdin=subprocess.DEVNULL,
            cwd=cwd,
            env=None if environ is None else dict(environ),
        ).returncode


class Conversation:
    """A process that gets one request and gives one answer."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def send(self, request: bytes) -> None:
        """Write the request; a process that has ended already says so by its status."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(request)

    def answer(self) -> tuple[bytes, int]:
        """Wait for the end and return standard output and the status."""
        assert self._process.stdout is not None
        return self._process.stdout.read(), self._process.wait()


@contextmanager
def conversation(
    command: Sequence[str | Path],
    *,
    timeout_s: float,
    cwd: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Iterator[Conversation]:
    """Start ``command``, which is killed when the body is left by an exception or after ``timeout_s``.

    Its standard input stays open meanwhile: the end of it tells the process that this one is gone. Ctrl-C is
    for this process alone, which then ends the other one.

    Raises:
        OSError: if it cannot be started.
    """
    with subprocess.Popen(
        [str(word) for word in command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        cwd=cwd,
        env=None if environ is None else dict(environ),
        start_new_session=True,
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    ) as process:
        timer = Timer(timeout_s, process.kill)
        timer.daemon = True
        timer.start()
        try:
            yield Conversation(process)
        except BaseException:
            process.kill()
            raise
        finally:
            timer.cancel()


def ask(
    command: Sequence[str | Path],
    request: bytes,
    *,
    timeout_s: float,
    cwd: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> tuple[bytes, int]:
    """Send ``request`` to ``command`` and return its standard output and its status.

    Raises:
        OSError: if it cannot be started.
    """
    with conversation(command, timeout_s=timeout_s, cwd=cwd, environ=environ) as process:
        process.send(request)
        return process.answer()


Service = subprocess.Popen[bytes]
"""A process that serves until it is asked to end."""


def start_service(
    command: Sequence[str | Path], *, cwd: Path, environ: Mapping[str, str], output: BinaryIO
) -> Service:
    """Start ``command`` in a session of its own, with both outputs in ``output``.

    Ctrl-C is for this process, which then ends the other one; that would ask back on a terminal that it
    shares. Its standard input is a pipe that closes with this process.

    Raises:
        OSError: if it cannot be started.
    """
    return subprocess.Popen(
        [str(word) for word in command],
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd=cwd,
        env=dict(environ),
        start_new_session=True,
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )


def kill_service(service: Service, patience_s: float) -> None:
    """Kill ``service`` if it has not ended after ``patience_s`` seconds, and close its standard input."""
    with suppress(subprocess.TimeoutExpired):
        service.wait(timeout=max(0.0, patience_s))
    service.kill()
    service.wait()
    assert service.stdin is not None
    service.stdin.close()


@contextmanager
def without_collector() -> Iterator[None]:
    """Let the body run without the garbage collector.

    It looks through all objects again and again while a hundred thousand of them are made, and finds nothing:
    a tenth of the time of a build or an export.
    """
    active = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if active:
            gc.enable()


def cores() -> int:
    """Return how many processors this process may use, which can be fewer than the machine has."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1
