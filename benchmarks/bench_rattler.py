"""`d2lenv build --engine rattler`, warm, against py-rattler's own install of the same lock.

    python benchmarks/bench_rattler.py [--packages 250] [--files 40000] [--rounds 5]

The packages are made for it and served on the loopback: as many, with as many files, as `cuda` has (36,000
in its wheels, and Python's own), half of them `noarch: python` with a seventh of the files. The tool's time
is that of the whole command, with bytecode, full baseline and the look at the cache; py-rattler's that of a
process which reads the lock, installs from a warm cache that it does not look at, and compiles nothing. They
take turns. The bound is on the wall clock, which is how long a user waits; the ratio by CPU time is printed
beside it. Exit status 1 when the ratio of the medians misses its bound.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from timing import Timed, in_turns, ratio, report

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import condakit

LIMIT = 1.5
ENVIRONMENT = "tiny"
FUNCTION = "def f{number}(x, y=1):\n    '''Doc.'''\n    return sum(i * y for i in range(x))\n\n"
PLAIN = """
import asyncio, os, sys
from rattler import LockFile, PackageCache, install
environment = LockFile.from_path(sys.argv[1]).environment("tiny")
records = environment.conda_repodata_records_for_platform(environment.platforms()[0])
asyncio.run(install(records, sys.argv[2], package_cache=PackageCache(sys.argv[3]), show_progress=False))
os._exit(0)
"""


def packages(count: int, files: int) -> Iterator[condakit.Package]:
    """Yield a python and ``count`` packages with about ``files`` files together, the same each time."""
    chance = random.Random(1)
    yield condakit.python_package()
    sizes = [chance.lognormvariate(0, 1.2) * (1 if number % 2 == 0 else 6) for number in range(count)]
    for number, size in enumerate(sizes):
        noarch = number % 2 == 0
        site = "site-packages" if noarch else "lib/python3.10/site-packages"
        content: dict[str, str | bytes | condakit.Link] = {}
        for module in range(max(2, round(files * size / sum(sizes)))):
            lines = max(1, round(chance.lognormvariate(2.5, 1)))
            text = "".join(FUNCTION.format(number=line) for line in range(lines))
            content[f"{site}/pkg{number}/sub{module % 7}/m{module}.py"] = text
        if not noarch:
            content[f"share/pkg{number}.conf"] = f"home = {condakit.PLACEHOLDER}\n"
            content[f"lib/libpkg{number}.so"] = chance.randbytes(round(chance.lognormvariate(12, 1.5)))
        yield condakit.Package(
            f"pkg{number}",
            depends=("python",),
            files=content,
            noarch="python" if noarch else "",
        )


def run(*command: object) -> None:
    """Run ``command``, which has to succeed; what it says is shown only when it does not."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, timeout=3600, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(words)}\n{done.stdout}{done.stderr}")


def bench(root: Path, scratch: Path, rounds: int) -> list[Timed]:
    """(the tool, py-rattler), each ``rounds`` times."""
    ours, plain = scratch / "ours", scratch / "plain"
    tool = [sys.executable, "-m", "d2lenv", "--workspace", root, "build", ENVIRONMENT, "--engine", "rattler"]
    tool += ["--prefix", ours]
    theirs = [sys.executable, "-c", PLAIN, root / "pixi.lock", plain, scratch / "cache" / "pkgs"]
    run(*tool)  # fills the cache

    def prepare() -> None:
        shutil.rmtree(ours, ignore_errors=True)
        shutil.rmtree(plain, ignore_errors=True)

    rows = in_turns(
        rounds,
        prepare,
        {"py-rattler install": lambda: run(*theirs), "d2lenv build --engine rattler": lambda: run(*tool)},
    )
    return rows[::-1]


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--packages", type=int, default=250)
    parser.add_argument("--files", type=int, default=40_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args(words)
    # Bytecode of the tool itself belongs to an installed one.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory(prefix="bench-rattler-") as folder:
        scratch = Path(folder)
        os.environ["RATTLER_CACHE_DIR"], os.environ["no_proxy"] = str(scratch / "cache"), "127.0.0.1"
        found = tuple(packages(arguments.packages, arguments.files))
        condakit.write_channel(scratch / "channel", found)
        print(f"{len(found)} packages, {sum(len(package.files) for package in found)} files\n")
        with condakit.served(scratch / "channel") as address:
            condakit.write_workspace(scratch / "root", address, found)
            rows = bench(scratch / "root", scratch, arguments.rounds)
    status = report(rows)
    print()
    return status if ratio("d2lenv / py-rattler", *rows, LIMIT) else 1


if __name__ == "__main__":
    sys.exit(main())
