"""Median of several runs, and a table with bounds: what every benchmark here prints with.

Two commands are compared in turns, so that a busy moment of the machine hits both. A person waits for the
wall clock, so bounds are about that; the CPU time beside it, and the load, say how far to trust it.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Timed:
    """Wall times of one thing.

    Attributes:
        name: what was timed.
        seconds: each run's wall time.
        bound_s: the median must stay below it; None for what only gives scale.
        cpu_s: median of the CPU time of the processes that were started; None if it was not measured.
    """

    name: str
    seconds: Sequence[float]
    bound_s: float | None = None
    cpu_s: float | None = None

    @property
    def median_s(self) -> float:
        return statistics.median(self.seconds)

    @property
    def missed(self) -> bool:
        return self.bound_s is not None and self.median_s >= self.bound_s


def timed(name: str, run: Callable[[], object], *, runs: int = 5, bound_s: float | None = None) -> Timed:
    """Call ``run`` ``runs`` times."""
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return Timed(name, seconds, bound_s)


def in_turns(
    rounds: int, prepare: Callable[[], object], actions: Mapping[str, Callable[[], object]]
) -> list[Timed]:
    """Call each of ``actions`` (name → what starts processes) once a round, each after ``prepare``."""
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    cpu: dict[str, list[float]] = {name: [] for name in actions}
    print(load())
    for _ in range(rounds):
        for name, action in actions.items():
            prepare()
            before = os.times()
            seconds[name] += timed(name, action, runs=1).seconds
            after = os.times()
            cpu[name].append(
                after.children_user + after.children_system - before.children_user - before.children_system
            )
    print(load() + "\n")
    return [Timed(name, seconds[name], cpu_s=statistics.median(cpu[name])) for name in actions]


def load() -> str:
    """Return the machine's load and cores, which say whether it was quiet."""
    loads = " ".join(f"{value:.2f}" for value in os.getloadavg()) if hasattr(os, "getloadavg") else "unknown"
    return f"load {loads}, {os.cpu_count()} cores"


def ratio(name: str, ours: Timed, theirs: Timed, bound: float) -> bool:
    """Print the ratio of the medians by wall clock and by CPU time; return True if the first is in bounds."""
    wall = ours.median_s / theirs.median_s
    cpu = f"   by CPU time {ours.cpu_s / theirs.cpu_s:.2f}" if ours.cpu_s and theirs.cpu_s else ""
    print(f"{name:28} {wall:6.2f}   at most {bound:g}{cpu}{'' if wall <= bound else '   MISSED'}")
    return wall <= bound


def report(rows: Sequence[Timed]) -> int:
    """Print a table; the exit status is 1 when a bound is missed."""
    width = max(len(row.name) for row in rows)
    print(f"{'':{width}}  {'median':>9}  {'min':>9}  {'max':>9}  {'CPU':>8}  runs  {'bound':>7}")
    for row in rows:
        bound = f"{row.bound_s:>6.1f}s" if row.bound_s is not None else f"{'-':>7}"
        cpu = f"{row.cpu_s:>7.2f}s" if row.cpu_s is not None else f"{'-':>8}"
        print(
            f"{row.name:{width}}  {row.median_s:>8.3f}s  {min(row.seconds):>8.3f}s  {max(row.seconds):>8.3f}s"
            f"  {cpu}  {len(row.seconds):>4}  {bound}{'  MISSED' if row.missed else ''}"
        )
    print(f"Python {sys.version.split()[0]} on {sys.platform}")
    return 1 if any(row.missed for row in rows) else 0
