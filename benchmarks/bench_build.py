"""`d2lenv build cuda --engine wheels`, warm, against uv and pip alone.

    python benchmarks/bench_build.py [--environment cuda] [--rounds 5] [--without-pip]

All install the same requirements, with hashes, from a warm cache into an empty folder on the cache's disk.
uv's virtual environment is made before its clock starts; the tool's time is that of the whole command. uv
asks the index whether its answers still hold, as a user's would; the tool tells it to ask nobody when all is
in the cache, so uv with --offline is shown too, for scale. They take turns; the ratio is that of the medians
of the wall clock. pip takes minutes and about 8 GB: it runs once, with the environment's own pip and a cache
that is filled before and removed afterwards. Exit status 1 when a ratio misses its bound.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from timing import Timed, in_turns, ratio, report, timed

from d2lenv.facts import platforms
from d2lenv.prefix import locations
from d2lenv.solve import uv
from d2lenv.workspace import manifest as workspace
from d2lenv.workspace import pins as pinned
from d2lenv.workspace import settings as variants

ROOT = Path(__file__).resolve().parents[1]
UV_LIMIT = 1.25
PIP_LIMIT = 30.0
PIP_NEEDS = 9e9
"""Bytes: the cache, what fills it and the environment, the latter two one after the other."""


def run(*command: object, **variables: str) -> None:
    """Run ``command``, which has to succeed; what it says is shown only when it does not."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=3600, check=False, env={**os.environ, **variables}
    )
    if done.returncode != 0:
        sys.exit(f"{' '.join(words)}\n{done.stderr}")


def bench(environment: str, rounds: int, scratch: Path) -> list[Timed]:
    """The tool, uv, uv without the network: each ``rounds`` times."""
    space = workspace.load(ROOT)
    requirements = pinned.path_of(space, environment, platforms.current())
    tool = [sys.executable, "-m", "d2lenv", "--workspace", ROOT, "build", environment, "--engine", "wheels"]
    prefix, plain = scratch / "prefix", scratch / "plain"
    run(*tool, "--prefix", prefix)  # warms uv's cache
    python = locations.interpreter(prefix).resolve()

    def prepare() -> None:
        shutil.rmtree(prefix, ignore_errors=True)
        run(uv.program(), "venv", "--clear", "--python", python, plain)

    install = [uv.program(), "pip", "install", "--python", plain, "--require-hashes", "-r", requirements]
    rows = in_turns(
        rounds,
        prepare,
        {
            "uv pip install": lambda: run(*install),
            "uv pip install --offline": lambda: run(*install, "--offline"),
            f"d2lenv build {environment}": lambda: run(*tool, "--prefix", prefix),
        },
    )
    return rows[::-1]


def bench_pip(environment: str, scratch: Path) -> Timed:
    """pip, once, from a warm cache; ``scratch`` has the prefix of :func:`bench`."""
    requirements = pinned.path_of(workspace.load(ROOT), environment, platforms.current())
    python = locations.interpreter(scratch / "prefix")
    options = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "-r", requirements]
    cache = {"PIP_CACHE_DIR": str(scratch / "pip-cache"), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    run(python, "-m", "pip", "download", "--dest", scratch / "downloads", *options, **cache)
    shutil.rmtree(scratch / "downloads")
    run(uv.program(), "venv", "--clear", "--python", python.resolve(), scratch / "pip")
    target = locations.interpreter(scratch / "pip")
    install = [python, "-m", "pip", "--python", target, "install", *options]
    return timed("pip install", lambda: run(*install, **cache), runs=1)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--environment", default="cuda")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--without-pip", action="store_true")
    arguments = parser.parse_args(words)
    # Bytecode of the tool itself belongs to an installed one.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    space = workspace.load(ROOT)
    variant = variants.get(space, arguments.environment)
    if platforms.current() not in variant.wheels:
        print(f"not checked: the package index has no {variant.name} for {platforms.current()}")
        return 0
    cache = subprocess.run([uv.program(), "cache", "dir"], capture_output=True, check=True, timeout=60)
    home = Path(os.fsdecode(cache.stdout.strip())).parent
    home.mkdir(parents=True, exist_ok=True)
    print(f"{len(pinned.read(space, variant.name, platforms.current()))} packages\n")
    with tempfile.TemporaryDirectory(prefix="bench-build-", dir=home) as folder:
        rows = bench(variant.name, arguments.rounds, Path(folder))
        free = shutil.disk_usage(home).free
        if not arguments.without_pip and free >= PIP_NEEDS:
            rows.append(bench_pip(variant.name, Path(folder)))
    status = report(rows)
    print()
    ours, offline, theirs, *pip = rows
    missed = not ratio("d2lenv / uv", ours, theirs, UV_LIMIT)
    print(f"{'d2lenv / uv --offline':28} {ours.median_s / offline.median_s:6.2f}   no bound")
    if pip:
        print(f"{'pip / d2lenv':28} {pip[0].median_s / ours.median_s:6.1f}   at least {PIP_LIMIT:g}")
        missed |= pip[0].median_s / ours.median_s < PIP_LIMIT
    elif not arguments.without_pip:
        print(f"pip: not checked, it needs {PIP_NEEDS / 1e9:g} GB and {free / 1e9:.1f} GB are free")
    return 1 if missed else status


if __name__ == "__main__":
    sys.exit(main())
