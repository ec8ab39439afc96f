"""A kernel of the prefix's own Python for one notebook, from its start to its end."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from d2lenv.base.files import open_private
from d2lenv.base.messages import tr
from d2lenv.base.process import python_module
from d2lenv.smoke import machine
from d2lenv.smoke.interpreter import Interpreter
from d2lenv.smoke.judge import RESULT_MIME, RESULT_TAG
from d2lenv.smoke.notebooks import code_cells
from d2lenv.smoke.results import Event, NotebookResult, plain

_STARTUP_TIMEOUT_S = 120
_LOG_LINES = 40
# This much of a notebook's output is kept: a hundred times the output of a chapter of the book.
_MEGABYTES = 16
_OUTPUT_CHARACTERS = _MEGABYTES * 10**6

# nbclient and jupyter_client also log what they raise; the report has it, the terminal need not.
_quiet = logging.getLogger("d2lenv.smoke.quiet")
_quiet.propagate = False
_quiet.addHandler(logging.NullHandler())


# Variables that would let other packages, settings or another environment in.
_FOREIGN = ("PYTHON", "JUPYTER", "IPYTHON", "CONDA_", "VIRTUAL_ENV", "JPY_", "MPLBACKEND")
_FOLDERS = ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")


def variables(interpreter: Interpreter, threads: int, scratch: Path) -> dict[str, str]:
    """Return the kernel's environment variables: the caller's, without those that let other packages in.

    As activation does, the prefix comes first on PATH. (conda's ``activate.d`` scripts are not run: no
    package of these environments needs one to compute.)
    """
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(_FOREIGN)}
    is_conda = (interpreter.prefix / "conda-meta").is_dir()
    kept["PATH"] = os.pathsep.join([*interpreter.folders, kept.get("PATH", "")])
    kept["CONDA_PREFIX" if is_conda else "VIRTUAL_ENV"] = str(interpreter.prefix)
    kept["PYTHONNOUSERSITE"] = "1"
    kept["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"  # debugpy's warning about frozen modules, in every kernel
    for name in _FOLDERS:
        folder = scratch / name.lower()
        folder.mkdir(exist_ok=True)
        kept[name] = str(folder)
    # Kernels side by side share the cores; a number that the user has set is the user's.
    kept.setdefault("OMP_NUM_THREADS", str(threads))
    return kept


@dataclass(frozen=True)
class Session:
    """Everything that the notebooks of a run share."""

    interpreter: Interpreter
    variables: Mapping[str, str]
    scratch: Path
    require_gpu: bool
    cell_timeout_s: int
    revise: Callable[[NotebookResult], NotebookResult]
    on_event: Callable[[Event], None]
    stopping: threading.Event = field(default_factory=threading.Event)


class _OwnKernel(KernelSpecManager):
    """Answers every question for a kernel with the prefix's own Python."""

    def __init__(self, spec: KernelSpec) -> None:
        super().__init__(log=_quiet)
        self.spec = spec

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        return self.spec


class _Client(NotebookClient):
    """A client that does not keep everything that a runaway loop prints."""

    left = _OUTPUT_CHARACTERS

    def process_message(self, msg: dict[str, Any], cell: Any, cell_index: int) -> Any:
        content = msg["content"]
        size = len(str(content.get("text") or content.get("data") or ""))
        if size > self.left and RESULT_MIME not in content.get("data", {}):
            if not self.left:
                return None
            notice = tr(
                "d2lenv: the notebook prints more than {size} MB, the rest is left out", size=_MEGABYTES
            )
            msg["content"] = {
                "name": "stdout",
                "text": content.get("text", "")[: self.left] + f"\n{notice}\n",
            }
            msg["msg_type"] = msg["header"]["msg_type"] = "stream"
            self.left = 0
        else:
            self.left -= min(size, self.left)
        return super().process_message(msg, cell, cell_index)


# A Unix socket's address ends at 104 bytes on macOS and 108 on Linux; "-1" to "-5" are appended to ours.
_SOCKET_BYTES = 100


def _kernel_manager(session: Session, files: Path) -> Any:
    spec = KernelSpec(
        # Not `-m`: a reader's random.py beside the notebook would be imported before the kernel is one.
        argv=python_module(session.interpreter.executable, "ipykernel_launcher", "-f", "{connection_file}"),
        display_name="d2lenv",
        language="python",
    )
    manager = AsyncKernelManager(
        kernel_name="python3",
        kernel_spec_manager=_OwnKernel(spec),
        connection_file=str(files / "connection.json"),
        log=_quiet,
    )
    # Sockets in our own private folder where there are such; else 127.0.0.1, jupyter_client's default.
    socket = str(files / "s")
    if sys.platform != "win32" and len(os.fsencode(socket)) <= _SOCKET_BYTES:
        manager.transport, manager.ip = "ipc", socket
    return manager


@dataclass
class _Running:
    """One notebook in its kernel.

    Attributes:
        index: the cell that runs; -1 before the first.
        pid: of the kernel; 0 before its start.
    """

    session: Session
    path: Path
    notebook: Any
    log: Path
    client: Any
    manager: Any
    index: int = -1
    pid: int = 0


class _NoKernelError(Exception):
    """The kernel did not start; the message says why."""


async def execute(session: Session, path: Path, notebook: Any, log: Path) -> dict[str, Any]:
    """Run every cell and return the fields of :class:`NotebookResult` that explain a failure, if any."""
    manager = _kernel_manager(session, log.parent)
    client = _Client(notebook, km=manager, timeout=session.cell_timeout_s, log=_quiet)
    client.startup_timeout = _STARTUP_TIMEOUT_S
    running = _Running(session, path, notebook, log, client, manager)
    killed_before = machine.oom_kills()
    try:
        await _start(running)
        await _run_cells(running)
    except CellExecutionError as error:
        await _show_result(running)
        return _raised(running, error)
    except CellTimeoutError:
        reason = tr("a cell ran longer than {seconds} s", seconds=session.cell_timeout_s)
        return {"cause": "time-limit", "reason": reason, "place": _place(running)}
    except (DeadKernelError, asyncio.CancelledError):
        # nbclient takes a cancelled task for a dead kernel; only the flag tells the two apart.
        if session.stopping.is_set():
            return {"status": "stopped", "cause": "stopped", "reason": tr("stopped while it ran")}
        reason = _death(await manager.provisioner.poll(), machine.oom_kills() > killed_before)
        return {"cause": "dead-kernel", "reason": reason, "place": _place(running)}
    except (OSError, _NoKernelError) as error:
        return {"cause": "no-kernel", "reason": tr("the kernel did not start: {reason}", reason=error)}
    finally:
        await _end(running)
    return {}


async def _start(running: _Running) -> None:
    client, environ = running.client, dict(running.session.variables)
    with open_private(running.log) as log:
        await client.async_start_new_kernel(env=environ, cwd=str(running.path.parent), stdout=log, stderr=log)
    running.pid = getattr(running.manager.provisioner, "pid", None) or 0
    try:
        await client.async_start_new_kernel_client()
    except RuntimeError as error:
        last = next((line for line in reversed(tail(running.log).splitlines()) if line.strip()), "")
        raise _NoKernelError(f"{error}: {last}" if last else str(error)) from error


async def _run_cells(running: _Running) -> None:
    begun = 0
    for index, cell in enumerate(running.notebook.cells):
        running.index = index
        if cell.cell_type == "code":
            begun += 1
            running.session.on_event(Event("cell", running.path.stem, begun, code_cells(running.notebook)))
        await _run_cell(running, cell, index)


async def _run_cell(running: _Running, cell: Any, index: int) -> None:
    client = running.client
    await client.async_execute_cell(cell, index, execution_count=client.code_cells_executed + 1)


def _raised(running: _Running, error: CellExecutionError) -> dict[str, Any]:
    return {
        "cause": "error",
        "reason": plain(f"{error.ename}: {error.evalue}").strip().splitlines()[0],
        "place": _place(running),
        "traceback": _traceback(running.notebook.cells[running.index]),
    }


async def _show_result(running: _Running) -> None:
    """Let the result cell show what was checked before another cell raised."""
    for index, cell in enumerate(running.notebook.cells):
        if index > running.index and RESULT_TAG in cell.metadata.get("tags", []):
            # It raises when a check failed, and that is not news any more; nor is a kernel that dies now.
            with suppress(CellExecutionError, CellTimeoutError, DeadKernelError):
                await _run_cell(running, cell, index)


async def _end(running: _Running) -> None:
    """End the kernel, and every process that it has left behind."""
    pid, manager = running.pid, running.manager
    family: list[psutil.Process] = []
    if pid:
        with suppress(psutil.Error):
            family = psutil.Process(pid).children(recursive=True)
    if running.client.kc is not None:
        running.client.kc.stop_channels()
    if manager.has_kernel:
        with suppress(RuntimeError):
            await manager.shutdown_kernel(now=True)
    await manager.cleanup_resources()
    if pid and hasattr(os, "killpg"):  # jupyter_client starts a kernel as the leader of its own group
        with suppress(OSError):
            os.killpg(pid, signal.SIGKILL)
    for process in family:
        with suppress(psutil.Error):
            process.kill()


def _death(code: int | None, out_of_memory: bool) -> str:
    if code is not None and code < 0:
        name = next((s.name for s in signal.Signals if s.value == -code), str(-code))
        if out_of_memory:
            return tr("the kernel was killed ({signal}): this machine ran out of memory", signal=name)
        if name == "SIGKILL":
            return tr("the kernel was killed ({signal}); often that means out of memory", signal=name)
        return tr("the kernel died of {signal}", signal=name)
    if code is None:
        return tr("the kernel died")
    # Windows gives a crash's NTSTATUS, which is only known in hexadecimal: 0xC0000005.
    return tr("the kernel ended with exit status {code}", code=code if code < 256 else f"0x{code:08X}")


def _place(running: _Running) -> str:
    if running.index < 0:
        return ""
    source = running.notebook.cells[running.index].source
    first = next((line for line in source.splitlines() if line.strip()), "")
    return tr("cell {number}: {line}", number=running.index + 1, line=first[:100])


def _traceback(cell: Any) -> str:
    errors = [output for output in cell.outputs if output.output_type == "error"]
    return plain("\n".join(errors[-1].traceback)) if errors else ""


def tail(path: Path) -> str:
    """Return the last lines of a log, without the codes that colour a terminal."""
    with suppress(OSError):
        lines = plain(path.read_bytes()[-65536:].decode("utf-8", "replace")).splitlines()
        return "\n".join(lines[-_LOG_LINES:])
    return ""
