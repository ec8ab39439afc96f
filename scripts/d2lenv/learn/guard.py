"""Run JupyterLab in the environment's Python and end it when the lab is gone, whatever ended the lab.

The environment's own Python (3.8 or newer) runs this file by its path: it may import nothing of d2lenv.
Standard input is a pipe whose other end only the lab holds. The system closes that end with the lab, even
after ``kill -9``.
"""

from __future__ import annotations

import os
import runpy
import shutil
import signal
import sys
import threading
from contextlib import suppress
from typing import Any

PATIENCE_S = 10.0


def main() -> None:
    """Watch the pipe in a thread of its own and run JupyterLab in this one."""
    pipe = os.dup(0)  # not inherited by the kernels and terminals that JupyterLab starts
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    threading.Thread(target=_watch, args=(pipe,), daemon=True).start()
    runpy.run_module("jupyterlab", run_name="__main__", alter_sys=True)


def _watch(pipe: int) -> None:
    while os.read(pipe, 1):
        pass
    # Not a daemon, as this thread is: the interpreter waits for it, so that it outlives JupyterLab.
    threading.Thread(target=_end, daemon=False).start()


def _end() -> None:
    """Ask JupyterLab to end its kernels and itself, then kill whatever is left of them."""
    family = _family()
    if sys.platform == "win32":
        signal.raise_signal(signal.SIGTERM)
    else:  # to the main thread, which may be waiting in the system for an event
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
    threading.main_thread().join(PATIENCE_S)
    _kill(family + _family())
    temporary = os.environ.get("D2LENV_TEMPORARY")
    if temporary:
        shutil.rmtree(temporary, ignore_errors=True)
    os._exit(0)


def _family() -> list[Any]:
    """Return every process that descends from this one."""
    try:
        import psutil
    except ImportError:  # ipykernel needs it; without it the kernels' own look at their parent must do
        return []
    return list(psutil.Process().children(recursive=True))


def _kill(family: list[Any]) -> None:
    if family:
        import psutil

        for member in family:
            with suppress(psutil.Error):  # it has ended meanwhile
                member.kill()


if __name__ == "__main__":
    main()
