"""How long `d2lenv verify` takes against `sha256sum` over the same files, and `--quick`.

    python benchmarks/bench_verify.py [PREFIX|ENV]

The promise: at most 1.2 times the time of `sha256sum` on two cores, and under 2 s for `--quick`. Both sides
read from the page cache; each is run once before it is measured.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from d2lenv.prefix import scan as tree
from d2lenv.prefix.contents.prefix import read_prefix
from d2lenv.prefix.lookup import target

ROOT = Path(__file__).resolve().parents[1]
REPEATS = 3
CORES = 2
NAME = "cuda"


def times(action: Callable[[], object]) -> list[float]:
    """Seconds of a few runs, after one that warms the cache."""
    action()
    found = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        action()
        found.append(time.perf_counter() - start)
    return found


def line(name: str, found: list[float]) -> None:
    print(f"{name:34} best {min(found):6.2f} s   all {', '.join(f'{value:.2f}' for value in found)}")


def main() -> None:
    place, _ = target(sys.argv[1] if len(sys.argv) > 1 else NAME, os.environ, ROOT)
    files = [entry for entry in tree.scan(place).entries.values() if entry.kind == "file"]
    size = sum(entry.size for entry in files)
    print(f"{place}: {len(files)} files, {size / 1e9:.2f} GB, Python {read_prefix(place).python_version}\n")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    verify = [sys.executable, "-m", "d2lenv", "--workspace", str(ROOT), "verify", str(place), "--json"]

    def run(*words: str) -> None:
        subprocess.run([*verify, *words], check=True, stdout=subprocess.DEVNULL)

    with tempfile.NamedTemporaryFile() as listing:
        listing.write(b"".join(os.fsencode(place / entry.path) + b"\0" for entry in files))
        listing.flush()
        words = ["xargs", "-0", "-P", str(CORES), "-n", "256", "-a", listing.name, "sha256sum"]
        ours = times(run)
        theirs = times(lambda: subprocess.run(words, check=True, stdout=subprocess.DEVNULL))
    quick = times(lambda: run("--quick"))
    line("verify", ours)
    line(f"xargs -P {CORES} sha256sum", theirs)
    line("verify --quick", quick)
    ratio = min(ours) / min(theirs)
    print(f"\nverify / sha256sum: {ratio:.2f} (at most 1.2); --quick: {min(quick):.2f} s (under 2)")
    sys.exit(ratio > 1.2 or min(quick) >= 2)


if __name__ == "__main__":
    main()
