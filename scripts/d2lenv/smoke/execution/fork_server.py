"""Fork a process for each notebook from one that has imported ``d2l`` once.

The environment's own Python (3.8 or newer, on Linux) runs this file by its path: it may import nothing of
d2lenv. Standard input is a pipe that only d2lenv holds: its end is the end of this process.

Each connection to the Unix socket is one notebook, and has two processes. The warden waits for the notebook's
process, ends every process that it leaves behind, whatever group they have moved to, and says how it ended.
The notebook's process runs cells in IPython's shell and sends the messages that a kernel would. Nothing here
touches CUDA, which cannot be used after a fork if it was initialised before.
"""

from __future__ import annotations

import base64
import builtins
import ctypes
import faulthandler
import gc
import importlib
import json
import os
import resource
import runpy
import select
import signal
import socket
import struct
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

_HEAD = struct.Struct(">I")
_BLOCK = 1 << 20
_SET_PDEATHSIG, _SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
_FLUSH_S = 0.2
# What the notebooks of these environments import first; one that is missing is the notebook's own trouble.
_WARM = ("d2l.torch", "torch", "torchvision", "matplotlib.pyplot")


def main() -> None:
    """Import what notebooks import, then fork for each connection until standard input ends."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(sys.argv[1])
        listener.listen(64)  # who connects before all is imported waits
        outlet = _Outlet()
        shell = _shell(outlet)
        for name in _WARM:
            with suppress(Exception):
                importlib.import_module(name)
        for file in sys.argv[2:]:  # notebooks/devices.py, where its fallbacks are on
            runpy.run_path(file)["use"]()
        # All that the first cell makes IPython import: later, a reader's random.py could be found instead.
        shell.run_cell("pass", store_history=False)
        gc.collect()
        gc.freeze()  # the collector of a child must not copy every page by touching it
        _serve(listener, outlet, shell)


def _serve(listener: socket.socket, outlet: _Outlet, shell: Any) -> None:
    poller = select.poll()
    poller.register(0)
    poller.register(listener, select.POLLIN)
    while True:
        ready = [handle for handle, _ in poller.poll(1000)]
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if 0 in ready:
            return
        if ready:
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _point(os.devnull, os.O_RDONLY, 0)
                _guarded(lambda connection=connection: _watch_over(connection, outlet, shell))
            connection.close()


def _guarded(body: Any) -> None:
    """End this process after ``body``, without anything that its parent had registered for its own end."""
    try:
        body()
    except BaseException:  # noqa: BLE001 - shown, in the log
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)


# ---------------------------------------------------------------------------------------------- the warden


def _watch_over(connection: socket.socket, outlet: _Outlet, shell: Any) -> None:
    os.setsid()
    _prctl(_SET_CHILD_SUBREAPER, 1)
    _prctl(_SET_PDEATHSIG, signal.SIGKILL)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    request = _receive(connection)
    if request is None:
        return
    child = os.fork()
    if child == 0:
        _guarded(lambda: _run_notebook(connection, request, outlet, shell))
    status, seconds, memory = _wait(child, connection, woken)
    seconds += _end_the_rest()
    with suppress(OSError):
        _send(connection, {"ended": status, "cpu_s": seconds, "memory": memory})


def _wait(child: int, connection: socket.socket, woken: int) -> tuple[int, float, int]:
    """Wait for ``child`` and return its status, CPU seconds and memory; kill it if d2lenv has hung up."""
    poller = select.poll()
    poller.register(connection, 0)  # nothing but the other side's end
    poller.register(woken, select.POLLIN)
    seconds = 0.0
    while True:
        pid, status, used = os.wait4(-1, os.WNOHANG)
        if pid:
            seconds += used.ru_utime + used.ru_stime
            if pid == child:
                return status, seconds, used.ru_maxrss * 1024
            continue
        for handle, _ in poller.poll():
            if handle == woken:
                os.read(woken, 4096)
            else:
                poller.unregister(connection)
                os.kill(child, signal.SIGKILL)


def _end_the_rest() -> float:
    """Kill every process that has come down to this one, and return the CPU seconds that they have used."""
    seconds = 0.0
    limit = time.monotonic() + 10
    while time.monotonic() < limit:
        for pid in _descendants():
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        try:
            pid, _, used = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            break
        seconds += used.ru_utime + used.ru_stime
        if not pid:
            time.sleep(0.005)
    return seconds


def _descendants() -> list[int]:
    parents: dict[int, int] = {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            parents[int(place.parent.name)] = int(place.read_bytes().rpartition(b")")[2].split()[1])
    found = [os.getpid()]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found[1:]


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


# -------------------------------------------------------------------------------------------- the notebook


def _run_notebook(connection: socket.socket, request: Any, outlet: _Outlet, shell: Any) -> None:
    _settle(request)
    outlet.opened(connection)
    sys.stdout, sys.stderr = _Stream(outlet, "stdout", 1), _Stream(outlet, "stderr", 2)
    outlet.send({"started": os.getpid()})
    while True:
        order = _receive(connection)
        if order is None or "source" not in order:
            return
        done = shell.run_cell(order["source"], store_history=True)
        error = done.error_before_exec or done.error_in_exec
        with suppress(Exception):
            ctypes.CDLL(None).fflush(None)  # what C code has printed
        answer = {"ename": type(error).__name__, "evalue": _text_of(error)} if error else {}
        outlet.send({"done": answer})


def _settle(request: Any) -> None:
    """Make this process what a kernel would be when its first cell runs."""
    warden = os.getppid()
    os.setsid()
    _prctl(_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != warden:
        os._exit(1)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for handle, path in enumerate((request["stdout"], request["stderr"]), 1):
        _point(path, os.O_WRONLY | os.O_APPEND, handle)
    faulthandler.enable(2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if request["file_bytes"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_bytes"],) * 2)
    os.chdir(request["folder"])
    sys.path.insert(0, "")
    numpy = sys.modules.get("numpy")
    if numpy is not None:  # Python's own generator has been seeded anew by the fork
        numpy.random.seed()


def _point(path: str, flags: int, handle: int) -> None:
    opened = os.open(path, flags)
    os.dup2(opened, handle)
    if opened != handle:
        os.close(opened)


class _Outlet:
    """Where the messages of the notebook go, from whatever thread of it, but not from its children."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.connection: socket.socket | None = None
        self.owner = 0
        self.pending: dict[str, list[str]] = {}
        self.flushed = 0.0

    def opened(self, connection: socket.socket) -> None:
        self.connection, self.owner = connection, os.getpid()

    def send(self, message: Any) -> None:
        """Send a message, after the text that was printed before it."""
        with self.lock:
            self.flush()
            if self.connection is not None and os.getpid() == self.owner:
                _send(self.connection, message)

    def show(self, kind: str, content: Any) -> None:
        """Send a message of Jupyter's protocol."""
        self.send({"msg_type": kind, "content": content})

    def print(self, name: str, text: str) -> None:
        """Keep text for a moment: a message for each word would take longer than the words."""
        with self.lock:
            if name not in self.pending:
                self.flush()
                self.pending = {name: []}
            self.pending[name].append(text)
            if len(text) > 8192 or time.monotonic() - self.flushed > _FLUSH_S:
                self.flush()

    def flush(self) -> None:
        """Send the text that was printed."""
        with self.lock:
            pending, self.pending = self.pending, {}
            self.flushed = time.monotonic()
            for name, parts in pending.items():
                text = "".join(parts)
                for start in range(0, len(text), _BLOCK):
                    self.show("stream", {"name": name, "text": text[start : start + _BLOCK]})


class _Stream:
    """Standard output or error of a notebook."""

    encoding = "utf-8"
    errors = "backslashreplace"
    newlines = None
    closed = False

    def __init__(self, outlet: _Outlet, name: str, handle: int) -> None:
        self.outlet, self.name, self.handle = outlet, f"<{name}>", handle

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if os.getpid() == self.outlet.owner:
            self.outlet.print(self.name[1:-1], text)
        else:  # a child of the notebook, such as a worker of a data loader
            os.write(self.handle, text.encode("utf-8", self.errors))
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        if os.getpid() == self.outlet.owner:
            self.outlet.flush()

    def fileno(self) -> int:
        return self.handle

    def isatty(self) -> bool:
        return False

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False


def _shell(outlet: _Outlet) -> Any:
    """Return IPython's shell, which shows as a kernel's does."""
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"  # as ipykernel sets it
    from IPython.core import page
    from IPython.core.displayhook import DisplayHook
    from IPython.core.displaypub import DisplayPublisher
    from IPython.core.error import StdinNotImplementedError
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    class Publisher(DisplayPublisher):
        def publish(self, data: Any, metadata: Any = None, *_: Any, **options: Any) -> None:
            kind = "update_display_data" if options.get("update") else "display_data"
            transient = options.get("transient") or {}
            outlet.show(kind, {"data": data, "metadata": metadata or {}, "transient": transient})

        def clear_output(self, wait: bool = False) -> None:
            outlet.show("clear_output", {"wait": wait})

    class Hook(DisplayHook):
        def write_output_prompt(self) -> None:
            pass

        def write_format_data(self, format_dict: Any, md_dict: Any = None) -> None:
            content = {"data": format_dict, "metadata": md_dict or {}}
            outlet.show("execute_result", {**content, "execution_count": self.prompt_count})

        def finish_displayhook(self) -> None:
            pass

    # Pandas, tqdm and rich know a notebook by this name of its shell's class.
    class ZMQInteractiveShell(InteractiveShell):
        def enable_gui(self, gui: Any = None) -> None:
            pass

        def _showtraceback(self, etype: Any, evalue: Any, stb: Any) -> None:
            name = getattr(etype, "__name__", str(etype))
            content = {"ename": name, "evalue": _text_of(evalue), "traceback": [str(line) for line in stb]}
            outlet.show("error", content)

    def refuse(*_: Any) -> str:
        raise StdinNotImplementedError("nobody is here to answer: the notebook runs by itself")

    config = Config()
    config.HistoryManager.enabled = False  # else it starts a thread, and threads do not survive a fork
    config.InteractiveShell.display_pub_class = Publisher
    config.InteractiveShell.displayhook_class = Hook
    shell = ZMQInteractiveShell.instance(config=config, display_pub_class=Publisher, displayhook_class=Hook)
    shell.set_hook("show_in_pager", page.as_hook(lambda *_, **__: None))  # type: ignore[no-untyped-call]
    builtins.input = refuse
    return shell


def _text_of(error: Any) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - an exception whose own text fails
        return f"<{type(error).__name__}>"


# ----------------------------------------------------------------------------------------------- messages


def _send(connection: socket.socket, message: Any) -> None:
    raw = json.dumps(message, default=_plain, skipkeys=True).encode("utf-8", "backslashreplace")
    connection.sendall(_HEAD.pack(len(raw)) + raw)


def _plain(value: Any) -> str:
    return base64.b64encode(value).decode("ascii") if isinstance(value, bytes) else str(value)


def _receive(connection: socket.socket) -> Any:
    """Return the next message, None at the end."""
    head = _read(connection, _HEAD.size)
    raw = _read(connection, _HEAD.unpack(head)[0]) if head else b""
    return json.loads(raw) if raw else None


def _read(connection: socket.socket, size: int) -> bytes:
    found = bytearray()
    while len(found) < size:
        with suppress(InterruptedError):
            part = connection.recv(min(size - len(found), _BLOCK))
            if not part:
                return b""
            found += part
    return bytes(found)


if __name__ == "__main__":
    main()
