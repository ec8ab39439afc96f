"""A notebook that forks, fills memory or the disk, or never ends is stopped, with all that it has started."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil
import pytest

from d2lenv.smoke import interpreter, results
from d2lenv.smoke import run as smoke
from d2lenv.smoke.execution.limits import Limits
from smokekit import chosen, gone, notebook, scratch, written

WAYS = [pytest.param(False, id="forks"), pytest.param(True, id="kernels")]

# Its children leave the group and the session, and each leaves another.
BOMB = """
import os, time
def bomb():
    while True:
        if os.fork() == 0:
            os.setsid()
        with open("pids", "a") as file:
            file.write(f"{os.getpid()}\\n")
        time.sleep(0.3)
bomb()
"""
HEAP = "import time\nkept = []\nwhile True:\n    kept.append(bytearray(2**24)); time.sleep(0.02)"
DISK = (
    "import time\nwith open('much', 'wb') as file:\n"
    "    while True:\n        file.write(bytes(2**20)); file.flush(); file.seek(0); time.sleep(0.01)"
)


def run_one(prefix: Path, place: Path, kernels: bool, source: str, **limits: float) -> results.NotebookResult:
    folder = written(place / "nb", one=notebook("1", source, "2"))
    how = Limits(**{"wall_s": 60, "written": None, **limits})  # type: ignore[arg-type]
    python = interpreter.interpreter_of(prefix)
    (found,) = smoke.run(
        python, chosen(folder), scratch(place / "scratch"), limits=how, kernels=kernels
    ).notebooks
    return found


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")
@pytest.mark.parametrize("kernels", WAYS)
@pytest.mark.parametrize(
    ("source", "limit", "cause", "words"),
    [
        ("while True: pass", {"cpu_s": 2}, "cpu-limit", "more than 2 CPU seconds"),
        ("import time; time.sleep(600)", {"wall_s": 3}, "wall-limit", "longer than 3 seconds"),
        (HEAP, {"memory": 300 * 2**20}, "memory-limit", "more than 300 MiB of memory"),
        (DISK, {"written": 50 * 2**20}, "disk-limit", "MiB to the disk"),
    ],
    ids=["cpu", "wall", "memory", "disk"],
)
def test_a_limit_stops_the_notebook_and_names_itself(
    light_prefix: Path,
    tmp_path: Path,
    kernels: bool,
    source: str,
    limit: dict[str, float],
    cause: str,
    words: str,
) -> None:
    if cause == "disk-limit" and not hasattr(psutil.Process(), "io_counters"):
        pytest.skip("this system does not tell what a process writes")
    found = run_one(light_prefix, tmp_path, kernels, source, **limit)
    assert (found.status, found.cause) == ("failed", cause), found.reason
    assert words in found.reason
    assert (found.cells_done, found.cells) == (1, 3)
    assert found.place.startswith("cell 2: ")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives orphans to the warden")
def test_a_bomb_of_processes_that_leave_their_group_ends_with_every_one_of_them(
    light_prefix: Path, tmp_path: Path
) -> None:
    found = run_one(light_prefix, tmp_path, False, BOMB, processes=20)
    assert (found.status, found.cause) == ("failed", "process-limit")
    assert found.reason == "it had more than 20 processes"
    pids = {int(line) for line in (tmp_path / "nb" / "pids").read_text("ascii").split()}
    assert len(pids) > 10
    assert all(gone(pid) for pid in pids)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives orphans to the warden")
def test_a_daemon_that_a_notebook_leaves_behind_ends_with_it(light_prefix: Path, tmp_path: Path) -> None:
    daemon = (
        "import subprocess, sys\n"
        "code = 'import os, time; os.fork() and os._exit(0); os.setsid(); "
        'open("pid", "w").write(str(os.getpid())); time.sleep(600)\'\n'
        "subprocess.run([sys.executable, '-c', code])\nimport os, time\n"
        "while not os.path.exists('pid') or not open('pid').read(): time.sleep(0.05)"
    )
    found = run_one(light_prefix, tmp_path, False, daemon)
    assert found.status == "passed", found.reason
    assert gone(int((tmp_path / "nb" / "pid").read_text("ascii")))
