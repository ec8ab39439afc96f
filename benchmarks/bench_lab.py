"""How long `d2lenv lab` takes to a usable page, beside plain `jupyter lab` of the same prefix.

    python benchmarks/bench_lab.py [PREFIX] [--runs 5]

Usable: the list of kernels and the page /lab both answer with 200. Both are started in turn, on a warm disk
cache, on the same empty folder. Exit status 1 when the lab's median is not under 10 seconds, or when it is
more than 1.2 times the plain one's.
"""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIMIT_S = 10.0
RATIO = 1.2
TIMEOUT_S = 120.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int, token: str, path: str) -> bool:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", headers={"Authorization": f"token {token}"}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as answer:
            return bool(answer.read()) and answer.status == 200
    except (OSError, urllib.error.URLError):
        return False


def seconds(command: list[str], port: int, environment: dict[str, str]) -> float:
    """From the start of ``command`` to the usable page; the server is ended again."""
    start = time.perf_counter()
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        token = environment["JUPYTER_TOKEN"]
        while not (answers(port, token, "/api/kernelspecs") and answers(port, token, "/lab")):
            if process.poll() is not None:
                sys.exit(f"{' '.join(command)} ended with {process.returncode}")
            if time.perf_counter() - start > TIMEOUT_S:
                sys.exit(f"{' '.join(command)} did not answer within {TIMEOUT_S} s")
            time.sleep(0.02)
        return time.perf_counter() - start
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def main() -> int:
    parser = argparse.ArgumentParser(description="d2lenv lab beside jupyter lab")
    default = os.environ.get("D2LENV_REAL_PREFIX") or ROOT / ".d2lenv" / "cuda-wheels"
    parser.add_argument("prefix", type=Path, nargs="?", default=default)
    parser.add_argument("--runs", type=int, default=5)
    asked = parser.parse_args()
    prefix = Path(asked.prefix).absolute()
    if not prefix.is_dir():
        sys.exit(f"not measured: no prefix at {prefix}; `d2lenv build cuda --engine wheels` makes it")

    times: dict[str, list[float]] = {"d2lenv lab": [], "jupyter lab": []}
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "JUPYTER_TOKEN": secrets.token_hex(16), "HOME": folder}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        notebooks = Path(folder, "notebooks")
        notebooks.mkdir()
        for number in range(asked.runs + 1):
            for name in times:
                port = free_port()
                words = {
                    "d2lenv lab": [
                        *(sys.executable, "-m", "d2lenv", "--workspace", folder, "lab", "cuda"),
                        *("--prefix", str(prefix), "--notebooks", str(notebooks)),
                        *("--no-browser", "--port", str(port)),
                    ],
                    "jupyter lab": [
                        *(str(prefix / "bin" / "python"), "-m", "jupyterlab", "--no-browser", "--allow-root"),
                        *(f"--ServerApp.port={port}", f"--ServerApp.root_dir={notebooks}"),
                    ],
                }
                took = seconds(words[name], port, environment)
                if number:  # the first round only warms the disk cache
                    times[name].append(took)

    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, values in times.items():
        print(f"{name:12} median {medians[name]:.2f} s, from {min(values):.2f} to {max(values):.2f} s")
    ratio = medians["d2lenv lab"] / medians["jupyter lab"]
    fine = medians["d2lenv lab"] < LIMIT_S and ratio <= RATIO
    print(
        f"ratio        {ratio:.2f} (at most {RATIO}), limit {LIMIT_S:.0f} s: {'held' if fine else 'missed'}"
    )
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
