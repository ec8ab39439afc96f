"""The results of a run of notebooks."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from d2lenv.smoke.interpreter import Interpreter

Status = Literal["passed", "failed", "not-checked", "not-applicable", "stopped"]
CheckStatus = Literal["passed", "failed", "not-checked"]
Cause = Literal[
    "",
    "check",  # a check of the notebook's own failed
    "error",  # a cell raised
    "dead-kernel",
    "time-limit",  # of a cell
    "cpu-limit",
    "wall-limit",
    "memory-limit",
    "disk-limit",
    "process-limit",
    "no-kernel",  # the kernel did not start
    "not-a-notebook",
    "no-result",  # the result cell showed nothing that can be read
    "needs",  # made for other packages, or another language
    "network",  # a download found nobody (books.py)
    "stopped",
]

MAIN_PACKAGES = (
    "python", "torch", "torchvision", "torchaudio", "d2l", "numpy", "pandas", "matplotlib", "scipy",
    "jupyterlab", "ipykernel",
)  # fmt: skip
"""The packages that a report names first."""

_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b.?")


@dataclass(frozen=True)
class Check:
    """One statement of a notebook. ``needs`` says what would allow a check that was not made ("gpu")."""

    name: str
    status: CheckStatus
    detail: str = ""
    needs: str = ""


@dataclass(frozen=True)
class SeededNumber:
    """A seeded number (or several) that another machine reproduces within ``rel_tol`` (relative)."""

    name: str
    value: tuple[float, ...]
    rel_tol: float


@dataclass(frozen=True)
class Measurement:
    """A number about this machine that is neither right nor wrong."""

    name: str
    value: float
    unit: str


@dataclass(frozen=True)
class NotebookResult:
    """The result of one notebook.

    Attributes:
        name: the file's name without ``.ipynb``.
        seconds: wall time from the kernel's start to its end; 0 when it was not started.
        cpu_s, memory: CPU seconds and the most bytes that it and its children used, as far as was seen.
        cells, cells_done: code cells, and how many of them came to their end.
        device: the notebook's own word on where it computed, empty without one.
        cause, reason: why it did not pass, for machines and for the reader; both empty when it passed.
        place: the failing cell, counted from 1 over all cells, with its first line, empty elsewhere.
        traceback: of the failing cell, without colour codes.
        kernel_log: the last lines that the kernel process itself wrote, outside of any cell.
        executed: the notebook with its outputs, None when it did not run.
    """

    name: str
    path: Path
    status: Status
    seconds: float = 0.0
    cpu_s: float = 0.0
    memory: int = 0
    cells: int = 0
    cells_done: int = 0
    device: str = ""
    cause: Cause = ""
    reason: str = ""
    place: str = ""
    traceback: str = ""
    kernel_log: str = ""
    checks: tuple[Check, ...] = ()
    fingerprints: tuple[SeededNumber, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    executed: Path | None = None


@dataclass(frozen=True)
class SmokeRun:
    """All notebooks of one run, in the order in which they were given.

    Attributes:
        folder: where the notebooks are.
        total: how many there are in it, chosen or not.
        device_fallbacks: whether d2l's GPU functions used other devices than the book's.
    """

    interpreter: Interpreter
    started: datetime
    seconds: float
    jobs: int
    threads: int
    require_gpu: bool
    notebooks: tuple[NotebookResult, ...]
    folder: Path
    total: int
    device_fallbacks: bool = False

    @property
    def failed(self) -> bool:
        """Return whether anything failed or was stopped before it could pass."""
        return any(notebook.status in ("failed", "stopped") for notebook in self.notebooks)

    @property
    def interrupted(self) -> bool:
        """Return whether the run was stopped by a signal."""
        return any(notebook.status == "stopped" for notebook in self.notebooks)

    @property
    def ended(self) -> int:
        """Return how many notebooks came to an end."""
        return sum(notebook.status != "stopped" for notebook in self.notebooks)

    @property
    def partial(self) -> bool:
        """Return whether notebooks of the folder were left out or stopped."""
        return self.ended < self.total

    def as_dict(self) -> dict[str, Any]:
        """Return the data of ``--json`` and ``result.json``."""
        return {
            "partial": self.partial,
            "ended": self.ended,
            "total": self.total,
            "folder": str(self.folder),
            "interrupted": self.interrupted,
            "started": self.started.isoformat(timespec="seconds"),
            "seconds": round(self.seconds, 3),
            "jobs": self.jobs,
            "threads": self.threads,
            "require_gpu": self.require_gpu,
            "device_fallbacks": self.device_fallbacks,
            "python": {
                "executable": str(self.interpreter.executable),
                "prefix": str(self.interpreter.prefix),
                "version": self.interpreter.version,
                "platform": self.interpreter.platform,
                "packages": dict(self.interpreter.packages),
            },
            "notebooks": [
                asdict(notebook)
                | {
                    "path": str(notebook.path),
                    "seconds": round(notebook.seconds, 3),
                    "executed": str(notebook.executed) if notebook.executed else None,
                }
                for notebook in self.notebooks
            ],
        }


@dataclass(frozen=True)
class Event:
    """A step of the run, for whoever shows progress. ``cell`` counts code cells begun, of ``cells``."""

    kind: Literal["started", "cell", "finished"]
    name: str
    cell: int = 0
    cells: int = 0
    result: NotebookResult | None = None


def plain(text: str) -> str:
    """``text`` without the codes that colour a terminal."""
    return _ANSI.sub("", text)


def not_checked(run: SmokeRun) -> dict[str, list[str]]:
    """Return reason → the checks that were not made for it, as "notebook: check"."""
    found: dict[str, list[str]] = {}
    for notebook in run.notebooks:
        for check in notebook.checks:
            if check.status == "not-checked":
                found.setdefault(check.detail, []).append(f"{notebook.name}: {check.name}")
    return found
