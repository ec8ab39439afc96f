"""What the notebooks of a run share, and what both ways of running one have in common."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from nbclient import NotebookClient

from d2lenv.base.messages import tr
from d2lenv.prefix.contents import stack
from d2lenv.smoke.execution.limits import Limits
from d2lenv.smoke.interpreter import Interpreter
from d2lenv.smoke.judge import RESULT_MIME
from d2lenv.smoke.results import Event, NotebookResult, plain

_LOG_LINES = 40
# This much of a notebook's output is kept: a hundred times the output of a chapter of the book.
_MEGABYTES = 16
_OUTPUT_CHARACTERS = _MEGABYTES * 10**6

# nbclient and jupyter_client also log what they raise; the report has it, the terminal need not.
quiet = logging.getLogger("d2lenv.smoke.quiet")
quiet.propagate = False
quiet.addHandler(logging.NullHandler())


# Variables that would let other packages, settings or another environment in.
_FOREIGN = ("PYTHON", "JUPYTER", "IPYTHON", "CONDA_", "VIRTUAL_ENV", "JPY_", "MPLBACKEND")
_FOLDERS = ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")


def variables(interpreter: Interpreter, threads: int, scratch: Path) -> dict[str, str]:
    """Return a notebook's environment variables: the caller's, without those that let other packages in.

    As activation does, the prefix comes first on PATH. (conda's ``activate.d`` scripts are not run: no
    package of these environments needs one to compute.)
    """
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(_FOREIGN)}
    is_conda = (interpreter.prefix / "conda-meta").is_dir()
    kept["PATH"] = os.pathsep.join([*interpreter.folders, kept.get("PATH", "")])
    kept["CONDA_PREFIX" if is_conda else "VIRTUAL_ENV"] = str(interpreter.prefix)
    kept["PYTHONNOUSERSITE"] = "1"
    kept |= stack.variables(interpreter.prefix, kept)
    kept["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"  # debugpy's warning about frozen modules, in every kernel
    for name in _FOLDERS:
        folder = scratch / name.lower()
        folder.mkdir(exist_ok=True)
        kept[name] = str(folder)
    # Notebooks side by side share the cores; a number that the user has set is the user's.
    kept.setdefault("OMP_NUM_THREADS", str(threads))
    return kept


@dataclass(frozen=True)
class Session:
    """Everything that the notebooks of a run share.

    Attributes:
        sockets: a private folder whose path is short enough for a socket's address.
        devices: the file that gives d2l's GPU functions their fallbacks, None without.
    """

    interpreter: Interpreter
    variables: Mapping[str, str]
    scratch: Path
    sockets: Path
    require_gpu: bool
    limits: Limits
    revise: Callable[[NotebookResult], NotebookResult]
    on_event: Callable[[Event], None]
    devices: Path | None = None
    stopping: threading.Event = field(default_factory=threading.Event)


class CellRaised(Exception):
    """A cell raised an exception: its name and its text."""

    def __init__(self, ename: str, evalue: str) -> None:
        super().__init__(f"{ename}: {evalue}")


class CellTooLong(Exception):
    """A cell ran longer than it may."""


class NotStarted(Exception):
    """The notebook's process did not start; the message says why."""


class Dead(Exception):
    """The notebook's process has ended in the middle of a cell."""


class Way(Protocol):
    """A way to run the cells of one notebook.

    Attributes:
        pid: of the process that runs them, which leads a group; 0 before its start.
    """

    pid: int

    async def start(self) -> None:
        """Start the process.

        Raises:
            NotStarted: if it cannot be.
        """

    async def run(self, cell: Any, index: int) -> None:
        """Run one cell and put its outputs into it.

        Raises:
            CellRaised: if it raised and is not meant to.
            CellTooLong: if it ran longer than a cell may.
            Dead: if the process has ended.
        """

    async def status(self) -> int | None:
        """Return the exit status of the dead process, negative for a signal, None if nobody knows."""

    async def end(self) -> float:
        """End the process and all that it has left, and return the CPU seconds that it reports, or 0."""


class Client(NotebookClient):
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


def tail(path: Path) -> str:
    """Return the last lines of a log, without the codes that colour a terminal."""
    with suppress(OSError):
        lines = plain(path.read_bytes()[-65536:].decode("utf-8", "replace")).splitlines()
        return "\n".join(lines[-_LOG_LINES:])
    return ""
