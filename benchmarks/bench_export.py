"""How long `d2lenv export` takes: all environments, each format, and YAML for scale.

    python benchmarks/bench_export.py

The promise is 5 s for all exports of all environments, and the same for `--check`.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import yaml

from d2lenv.export import plan
from d2lenv.export.plan import FORMATS, REQUIREMENTS, Request
from d2lenv.workspace import manifest as workspace

ROOT = Path(__file__).resolve().parents[1]
REPEATS = 5


def best(action: Callable[[], object]) -> float:
    """Seconds of the fastest of a few runs."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    ours = workspace.load(ROOT)
    whole = plan.of_workspace(ours, Request())
    size = sum(len(text.encode()) for text in whole.texts.values())
    print(f"{len(whole.texts)} files, {size / 1e6:.1f} MB\n")
    command = [sys.executable, "-m", "d2lenv", "--workspace", str(ROOT), "export", "--check"]
    seconds = best(lambda: subprocess.run(command, check=False, capture_output=True, timeout=600))
    print(f"{'d2lenv export --check, as a process':<48} {seconds:7.2f} s")
    print(f"{'all formats, in memory':<48} {best(lambda: plan.of_workspace(ours, Request())):7.2f} s")
    base = best(lambda: plan.of_workspace(ours, Request(formats=("binder",))))
    print(f"{'  of which reading and checking the lock':<48} {base:7.2f} s")
    for name in [*FORMATS, REQUIREMENTS]:
        wanted = Request(formats=(name,))
        seconds = best(lambda wanted=wanted: plan.of_workspace(ours, wanted))  # type: ignore[misc]
        print(f"{'  ' + name:<48} {max(seconds - base, 0):7.2f} s")
    text = whole.texts["envs/cpu/conda-lock.yml"]
    start = time.perf_counter()
    document = yaml.safe_load(text)
    loaded = time.perf_counter()
    yaml.safe_dump(document, sort_keys=False)
    dumped = time.perf_counter()
    print(f"\n{'for scale: PyYAML reads envs/cpu/conda-lock.yml':<48} {loaded - start:7.2f} s")
    print(f"{'for scale: PyYAML writes it':<48} {dumped - loaded:7.2f} s")


if __name__ == "__main__":
    main()
