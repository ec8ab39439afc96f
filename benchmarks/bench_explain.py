"""How long `d2lenv explain` works on ordinary and on hostile input.

    python benchmarks/bench_explain.py [--runs 5]

The own work is timed: reading, plain text, all patterns; and the whole command beside `d2lenv --version`.
Exit status 1 when a median is not under 0.3 s.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from timing import Timed, report, timed

from d2lenv.explain import match, rows, sources

LIMIT_S = 0.3
SIZE = 10 << 20
TRACEBACK = "Traceback (most recent call last):\n" + '  File "a.py", line 1, in <module>\n' * 40


def inputs() -> dict[str, bytes]:
    """Name → 10 MB that is made to be slow."""
    table = rows.load()
    beginnings = " ".join(pattern.literal for row in table for pattern in row.patterns)
    # rfind compares from the end: all but the first letter of the longest beginning fits everywhere.
    longest = max((pattern.literal for row in table for pattern in row.patterns), key=len)
    examples = "\n".join(row.example for row in table)
    texts = {
        "one traceback": TRACEBACK + table[0].example,
        "10 MB of one letter": "a" * SIZE,
        "10 MB of beginnings": beginnings * (SIZE // len(beginnings)),
        "10 MB of one beginning": "Error loading " * (SIZE // 14),
        "10 MB of nearly one": longest[1:] * (SIZE // len(longest)),
        "10 MB of examples": examples * (SIZE // len(examples)),
        "10 MB of escapes": "\x1b[31m" * (SIZE // 5),
        "10 MB of open titles": "\x1b]0;" * (SIZE // 4),
        "10 MB of spaces": " " * SIZE,
    }
    binary = {"10 MB of noise": os.urandom(SIZE), "10 MB of UTF-16": ("报错" * (SIZE // 4)).encode("utf-16")}
    return {**{name: text.encode() for name, text in texts.items()}, **binary}


def notebooks() -> dict[str, bytes]:
    image = base64.b64encode(os.urandom(30 << 20)).decode()
    error = {
        "output_type": "error",
        "ename": "E",
        "evalue": "no",
        "traceback": ["Torch not compiled with CUDA enabled"],
    }
    picture = {"output_type": "display_data", "data": {"image/png": image}, "metadata": {}}
    return {
        "notebook of 40 MB": json.dumps({"cells": [{"outputs": [picture, error]}]}).encode(),
        "10 MB of braces": b"{" * SIZE + b'"output_type": "error"',
        "10 MB of outputs": b'"output_type": "error"' * (SIZE // 22),
        "10 MB of open lists": b'{"output_type": "error", "traceback": ' + b"[" * SIZE,
    }


def own_work(data: bytes) -> Callable[[], object]:
    return lambda: match.find(sources.read([], io.BytesIO(data)), rows.load())


def of_notebook(path: Path) -> Callable[[], object]:
    def run() -> object:
        try:
            text = sources.read([str(path)], None)
        except sources.D2lEnvError:
            text = ""
        return match.find(text, rows.load())

    return run


def command(*words: str) -> Callable[[], object]:
    line = [sys.executable, "-m", "d2lenv", *words]
    return lambda: subprocess.run(line, capture_output=True, check=False, stdin=subprocess.DEVNULL)


def main() -> int:
    parser = argparse.ArgumentParser(description="d2lenv explain on hostile input")
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    done: list[Timed] = []

    def fresh() -> object:
        rows.load.cache_clear()
        return rows.load()

    done.append(timed("the table, read", fresh, runs=runs, bound_s=LIMIT_S))
    for name, data in inputs().items():
        done.append(timed(name, own_work(data), runs=runs, bound_s=LIMIT_S))
    with tempfile.TemporaryDirectory() as folder:
        for name, data in notebooks().items():
            path = Path(folder) / f"{name}.ipynb"
            path.write_bytes(data)
            done.append(timed(name, of_notebook(path), runs=runs, bound_s=LIMIT_S))
    done.append(timed("d2lenv --version", command("--version"), runs=runs))
    done.append(timed("d2lenv explain TEXT", command("explain", rows.load()[0].example), runs=runs))
    return report(done)


if __name__ == "__main__":
    sys.exit(main())
