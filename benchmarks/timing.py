"""Median of several runs, and a table with bounds: what every benchmark here prints with."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Timed:
    """Wall times of one thing.

    Attributes:
        name: what was timed.
        seconds: each run's wall time.
        bound_s: the median must stay below it; None for what only gives scale.
    """

    name: str
    seconds: Sequence[float]
    bound_s: float | None = None

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


def report(rows: Sequence[Timed]) -> int:
    """Print a table; the exit status is 1 when a bound is missed."""
    width = max(len(row.name) for row in rows)
    print(f"{'':{width}}  {'median':>9}  {'min':>9}  {'max':>9}  runs  {'bound':>7}")
    for row in rows:
        bound = f"{row.bound_s:>6.1f}s" if row.bound_s is not None else f"{'-':>7}"
        print(
            f"{row.name:{width}}  {row.median_s:>8.3f}s  {min(row.seconds):>8.3f}s  {max(row.seconds):>8.3f}s"
            f"  {len(row.seconds):>4}  {bound}{'  MISSED' if row.missed else ''}"
        )
    print(f"Python {sys.version.split()[0]} on {sys.platform}")
    return 1 if any(row.missed for row in rows) else 0
