"""Limits of a notebook, and the watch that stops it, with all that it has started, when one is exceeded."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from d2lenv.base.messages import tr, trn

Kind = Literal["cpu-limit", "wall-limit", "memory-limit", "disk-limit", "process-limit"]

_POLL_S = 0.25
# A disk with less room than this is full for whoever works on this machine.
_FREE = 2**29


@dataclass(frozen=True)
class Limits:
    """The most that a notebook and all that it has started may use, None for as much as they like.

    Attributes:
        cell_s: wall seconds of one cell.
        wall_s: wall seconds of the notebook.
        cpu_s: CPU seconds.
        memory: bytes, pages that processes share counted once where the system tells.
        written: bytes that they write, all files together.
        processes: processes at the same time.
    """

    cell_s: int | None = None
    wall_s: float | None = None
    cpu_s: float | None = None
    memory: int | None = None
    written: int | None = 16 * 2**30
    processes: int | None = 200


@dataclass(frozen=True)
class Exceeded:
    """The limit that a notebook exceeded, and the sentence for the reader."""

    kind: Kind
    reason: str


class Watch:
    """The use of one notebook, looked at again and again.

    Attributes:
        cpu_s: CPU seconds used so far.
        exceeded: the limit for which it was killed, None while there is none.
    """

    def __init__(self, pid: int, limits: Limits, folder: Path) -> None:
        self.pid, self.limits, self.folder = pid, limits, folder
        self.begun = time.monotonic()
        self.cpu_s = 0.0
        self.memory = 0
        self.exceeded: Exceeded | None = None

    async def run(self) -> None:
        """Look until a limit is exceeded, then kill the notebook's processes."""
        while True:
            family = family_of(self.pid)
            self.exceeded = self._judged(family)
            if self.exceeded:
                kill(self.pid, family)
                return
            await asyncio.sleep(_POLL_S)

    def _judged(self, family: list[psutil.Process]) -> Exceeded | None:
        limits = self.limits
        # A process that has ended and been waited for is in its parent's time: the sum may not fall.
        self.cpu_s = max(self.cpu_s, sum(map(_cpu_s, family)))
        if limits.processes is not None and len(family) > limits.processes:
            return _exceeded("process-limit", count=limits.processes)
        used = sum(map(_resident, family))
        if limits.memory is not None and used > limits.memory:
            used = sum(map(_proportional, family))
        self.memory = max(self.memory, used)
        if limits.memory is not None and used > limits.memory:
            return _exceeded("memory-limit", count=round(limits.memory / 2**20))
        if limits.cpu_s is not None and self.cpu_s > limits.cpu_s:
            return _exceeded("cpu-limit", count=round(limits.cpu_s))
        if limits.wall_s is not None and time.monotonic() - self.begun > limits.wall_s:
            return _exceeded("wall-limit", count=round(limits.wall_s))
        return self._judged_disk(sum(map(_written, family)))

    def _judged_disk(self, written: int) -> Exceeded | None:
        limit = self.limits.written
        if limit is None or written <= min(limit, _FREE):
            return None
        if written > limit:
            return _exceeded("disk-limit", count=round(limit / 2**20))
        with suppress(OSError):
            if shutil.disk_usage(self.folder).free < _FREE:
                return _exceeded("disk-limit", count=round(written / 2**20))
        return None


def _exceeded(kind: Kind, count: int) -> Exceeded:
    reasons = {
        "cpu-limit": trn(
            "it used more than {count} CPU second", "it used more than {count} CPU seconds", count=count
        ),
        "wall-limit": trn(
            "it ran longer than {count} second", "it ran longer than {count} seconds", count=count
        ),
        "memory-limit": tr("it used more than {count} MiB of memory", count=count),
        "disk-limit": tr("it wrote {count} MiB to the disk", count=count),
        "process-limit": trn(
            "it had more than {count} process", "it had more than {count} processes", count=count
        ),
    }
    return Exceeded(kind, reasons[kind])


def family_of(pid: int) -> list[psutil.Process]:
    """Return the process and all that descend from it."""
    with suppress(psutil.Error):
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    return []


def kill(pid: int, family: list[psutil.Process]) -> None:
    """Kill a process that leads a group, its group and its family."""
    if pid and hasattr(os, "killpg"):
        with suppress(OSError):
            os.killpg(pid, signal.SIGKILL)
    for process in family:
        with suppress(psutil.Error):
            process.kill()


def _cpu_s(process: psutil.Process) -> float:
    with suppress(psutil.Error):
        times = process.cpu_times()
        return float(times.user + times.system + times.children_user + times.children_system)
    return 0.0


def _resident(process: psutil.Process) -> int:
    with suppress(psutil.Error):
        return int(process.memory_info().rss)
    return 0


def _proportional(process: psutil.Process) -> int:
    """Return the memory with a share of the pages that several processes have; Linux alone tells."""
    with suppress(psutil.Error, AttributeError):
        return int(process.memory_full_info().pss)
    return _resident(process)


def _written(process: psutil.Process) -> int:
    with suppress(psutil.Error, AttributeError):
        counters = process.io_counters()
        # Linux: all that was written, whether or not it has reached a disk.
        return int(getattr(counters, "write_chars", counters.write_bytes))
    return 0
