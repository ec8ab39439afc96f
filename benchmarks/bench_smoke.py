"""`d2lenv smoke` against `jupyter execute` of the same notebooks, one after another, in the same prefix.

    python benchmarks/bench_smoke.py [PREFIX] [--rounds 3]

Both run the notebooks that are for this prefix, from a copy of `notebooks/`. The two take turns, so that a
busy moment of the machine hits both; the ratio is that of the medians. `jupyter execute` gets all notebooks
in one call, which is faster for it than one call each. Exit status 1 when the ratio is above the limit.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from d2lenv.smoke import interpreter, machine, notebooks

LIMIT = 0.35
NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"


def seconds(command: list[str], **options: object) -> float:
    """Wall time of ``command``, which has to succeed."""
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, timeout=1800, **options)  # type: ignore[call-overload]
    return time.perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("prefix", type=Path, nargs="?", default=NOTEBOOKS.parent / ".d2lenv" / "cuda-wheels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()

    python = interpreter.interpreter_of(arguments.prefix)
    described = interpreter.describe(python)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "notebooks"
        shutil.copytree(NOTEBOOKS, folder, ignore=shutil.ignore_patterns("__pycache__"))
        every = notebooks.find(folder)
        paths = [path for path in every if not notebooks.needs(notebooks.read(path), described)]
        ours = [sys.executable, "-m", "d2lenv", "smoke", "bench", "--prefix", str(arguments.prefix)]
        ours += ["--notebooks", str(folder), "--report", str(Path(scratch) / "report")]
        theirs = [str(python), "-m", "jupyter", "execute", *map(str, paths)]
        first = os.pathsep.join([*described.folders, os.environ.get("PATH", "")])
        times: dict[str, list[float]] = {"d2lenv smoke": [], "jupyter execute": []}
        for _ in range(arguments.rounds):
            times["jupyter execute"].append(seconds(theirs, cwd=folder, env={**os.environ, "PATH": first}))
            times["d2lenv smoke"].append(seconds(ours, cwd=folder))
    medians = {name: statistics.median(values) for name, values in times.items()}
    ratio = medians["d2lenv smoke"] / medians["jupyter execute"]
    if arguments.json:
        print(json.dumps({"seconds": times, "ratio": ratio, "limit": LIMIT, "cores": machine.cores()}))
    else:
        for name, values in times.items():
            rounds = ", ".join(f"{value:.1f}" for value in values)
            print(f"{name:16} {medians[name]:6.1f} s  ({rounds})")
        print(f"ratio {ratio:.2f}, limit {LIMIT}; {len(paths)} notebooks, {machine.cores()} cores")
    return 0 if ratio <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
