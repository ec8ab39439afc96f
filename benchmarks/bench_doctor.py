"""How long `d2lenv doctor PREFIX` takes, beside `python -m torch.utils.collect_env` of that prefix.

    python benchmarks/bench_doctor.py [PREFIX] [--runs 5]

Both run in the same loop, one after the other, on a warm disk cache. Exit status 1 when the doctor's
median is not under 0.3 seconds, or when it is not at least 10 times faster.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIMIT_S = 0.3
FASTER = 10.0
TIMEOUT_S = 300


def seconds(command: list[str], environment: dict[str, str]) -> float:
    """Wall time of one run; an exit status of 1 (findings) counts as a run."""
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S, env=environment, check=False)
    if done.returncode > 1:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.decode(errors='replace')}")
    return time.perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser(description="d2lenv doctor beside torch.utils.collect_env")
    default = os.environ.get("D2LENV_REAL_PREFIX") or ROOT / ".d2lenv" / "cuda-wheels"
    parser.add_argument("prefix", type=Path, nargs="?", default=default)
    parser.add_argument("--runs", type=int, default=5)
    asked = parser.parse_args()
    asked.prefix = Path(asked.prefix)
    windows = os.name == "nt"
    python = asked.prefix / ("Scripts/python.exe" if windows else "bin/python")
    if windows and not python.exists():
        python = asked.prefix / "python.exe"
    if not python.exists():
        sys.exit(f"not measured: no prefix at {asked.prefix}; `d2lenv build cuda --engine wheels` makes it")
    with tempfile.TemporaryDirectory() as cache:
        return measure(asked.prefix, python, asked.runs, cache)


def measure(prefix: Path, python: Path, runs: int, cache: str) -> int:
    # Both as an installed program is: with their bytecode cached, which the first round does, outside of the
    # prefix, which may not be ours to write to.
    environment = {**os.environ, "D2LENV_LANG": "en", "PYTHONPYCACHEPREFIX": cache}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    commands = {
        "d2lenv doctor": [sys.executable, "-m", "d2lenv", "doctor", str(prefix)],
        "torch.utils.collect_env": [str(python), "-m", "torch.utils.collect_env"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for run in range(runs + 1):
        for name, command in commands.items():
            taken = seconds(command, environment)
            if run:  # the first round warms the disk cache
                times[name].append(taken)
    doctor, torch = (statistics.median(times[name]) for name in commands)
    for name, taken in times.items():
        print(f"{name:25} median {statistics.median(taken):.3f} s, lowest {min(taken):.3f} s")
    print(
        f"ratio {torch / doctor:.1f} (bound {FASTER:.0f}); median of the doctor below {LIMIT_S} s: "
        f"{'yes' if doctor < LIMIT_S else 'no'}"
    )
    return 0 if doctor < LIMIT_S and torch / doctor >= FASTER else 1


if __name__ == "__main__":
    sys.exit(main())
