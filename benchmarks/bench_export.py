"""How long `d2lenv export` takes: all environments, each format, and others' tools for scale.

    python benchmarks/bench_export.py

The promise is 5 s for all exports of all environments, and the same for `--check`, and that SBOMs take no
longer to make than pixi-sbom takes. The bound is on the work, from the lock to the documents, against a
process of pixi-sbom for each environment. Our whole process is shown without a bound, as it does not win:
it takes about as long as a pixi-sbom for each document (1.09 on 2026-11-24) and twice as long as one for each
environment. That is a program without an interpreter, and Python takes longer to start than its whole run.
CPU time is compared: on a busy machine the wall clock says more about the others.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml

from d2lenv.export import plan
from d2lenv.export.formats.registry import FORMATS, REQUIREMENTS
from d2lenv.export.request import Request
from d2lenv.workspace import lockfile
from d2lenv.workspace import manifest as workspace

ROOT = Path(__file__).resolve().parents[1]
REPEATS = 7
LEARNERS = ("cpu", "cuda", "cuda12")
BOUND = 1.0
"""Our CPU time for the SBOMs of the learners' environments, by pixi-sbom's."""

FRESH = (
    sys.executable,
    "-c",
    "import time; from pathlib import Path;"
    "from d2lenv.export import plan; from d2lenv.export.request import Request;"
    "from d2lenv.workspace import manifest;"
    f"ours, asked = manifest.load(Path({str(ROOT)!r})), Request({LEARNERS!r}, ('sbom',));"
    "start = time.process_time(); plan.of_workspace(ours, asked); print(time.process_time() - start)",
)
"""A process of its own, which remembers nothing of an earlier run; prints its CPU seconds for the work."""


def best(action: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of the fastest of a few runs."""
    times = []
    for _ in range(REPEATS):
        start = clock()
        action()
        times.append(clock() - start)
    return min(times)


def of_children() -> float:
    """CPU seconds of the processes that have ended; `os.times` counts in hundredths."""
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime


def quietly(commands: Sequence[Sequence[str]]) -> Callable[[], object]:
    def action() -> None:
        for command in commands:
            subprocess.run(command, check=False, capture_output=True, timeout=600)

    return action


def documents(ours: workspace.Workspace) -> list[list[str]]:
    """pixi-sbom's words for each document."""
    found = lockfile.read(ours.lock)
    return [
        ["-e", name, "-p", platform, "--primary-purl", "pypi"]
        for name in LEARNERS
        for platform in found.platforms(name)
    ]


def sboms(ours: workspace.Workspace) -> float:
    """Compare with pixi-sbom; returns the ratio that has a bound."""
    program = str(Path(sys.executable).with_name("pixi-sbom"))
    with tempfile.TemporaryDirectory() as folder:
        lock = [program, "--no-config", "--quiet", "--lockfile", str(ROOT / "pixi.lock"), "--output", folder]
        learners = [[*lock, "-e", name, "--all-platforms", "--primary-purl", "pypi"] for name in LEARNERS]
        theirs = best(quietly(learners), of_children)
        single = [[*lock[:-1], f"{folder}/one.json", *words] for words in documents(ours)]
        each = best(quietly(single), of_children)
    work = min(float(subprocess.run(FRESH, check=True, capture_output=True).stdout) for _ in range(REPEATS))
    command = [sys.executable, "-m", "d2lenv", "--workspace", str(ROOT), "export", *LEARNERS]
    process = best(quietly([[*command, "--format=sbom", "--check", "--json"]]), of_children)
    start = best(quietly([[sys.executable, "-c", "import click, rattler"]]), of_children)
    print(f"\n{'SBOMs of cpu, cuda and cuda12, CPU time':<60}")
    print(f"{'  pixi-sbom, a process for each environment':<60} {theirs:7.3f} s")
    print(f"{f'  pixi-sbom, a process for each of {len(single)} documents':<60} {each:7.3f} s")
    print(f"{'  ours, from the lock to the documents':<60} {work:7.3f} s")
    print(f"{'  ours, as a process':<60} {process:7.3f} s")
    print(f"{'    of which Python with click and py-rattler':<60} {start:7.3f} s")
    ratio = work / theirs
    print(f"{'  ratio (bound: ' + str(BOUND) + ')':<60} {ratio:7.2f}  {'MISSED' if ratio > BOUND else ''}")
    print(f"{'  our process / a pixi-sbom for each document (no bound)':<60} {process / each:7.2f}")
    print(f"{'  our process / a pixi-sbom for each environment (no bound)':<60} {process / theirs:7.2f}")
    return ratio


def formats(ours: workspace.Workspace) -> None:
    """Each format, in memory."""
    print(f"{'all formats, in memory':<60} {best(lambda: plan.of_workspace(ours, Request())):7.3f} s")
    base = best(lambda: plan.of_workspace(ours, Request(formats=("binder",))))
    print(f"{'  of which reading and checking the lock':<60} {base:7.3f} s")
    for name in [*FORMATS, REQUIREMENTS]:
        wanted = Request(formats=(name,))
        seconds = best(lambda wanted=wanted: plan.of_workspace(ours, wanted))  # type: ignore[misc]
        print(f"{'  ' + name:<60} {max(seconds - base, 0):7.3f} s")


def yaml_for_scale(text: str) -> None:
    start = time.perf_counter()
    document = yaml.safe_load(text)
    loaded = time.perf_counter()
    yaml.safe_dump(document, sort_keys=False)
    dumped = time.perf_counter()
    print(f"\n{'for scale: PyYAML reads envs/cpu/conda-lock.yml':<60} {loaded - start:7.3f} s")
    print(f"{'for scale: PyYAML writes it':<60} {dumped - loaded:7.3f} s")


def main() -> int:
    ours = workspace.load(ROOT)
    whole = plan.of_workspace(ours, Request())
    size = sum(len(text.encode()) for text in whole.texts.values())
    print(f"{len(whole.texts)} files, {size / 1e6:.1f} MB\n")
    command = [sys.executable, "-m", "d2lenv", "--workspace", str(ROOT), "export", "--check"]
    print(f"{'d2lenv export --check, as a process':<60} {best(quietly([command])):7.3f} s")
    formats(ours)
    ratio = sboms(ours)
    yaml_for_scale(whole.texts["envs/cpu/conda-lock.yml"])
    return 1 if ratio > BOUND else 0


if __name__ == "__main__":
    sys.exit(main())
