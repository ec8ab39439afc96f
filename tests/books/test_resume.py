"""A run that is killed goes on where it was: nothing is run twice that had ended, nothing is lost."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

import bookkit

COUNT = 12
# Each notebook notes that it has come to its end, outside of the scratch folder.
NOTE = """
import time
time.sleep(0.15)
with open({marks!r}, "a") as file:
    file.write("{name}\\n")
"""


def book(place: Path) -> tuple[Path, Path]:
    marks = place / "marks"
    marks.touch()
    for number in range(COUNT):
        source = NOTE.format(marks=str(marks), name=f"n{number:02}")
        bookkit.write(place / "book" / f"chapter_{number % 3}" / f"n{number:02}.ipynb", source)
    return place / "book", marks


def start(book: Path, prefix: Path, report: Path) -> subprocess.Popen[bytes]:
    words = ["books", "run", book, "--prefix", prefix, "--report", report, "--jobs", 2, "--data", report]
    return subprocess.Popen(
        [sys.executable, "-m", "d2lenv", "--workspace", str(book), *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def kept(report: Path) -> dict[str, str]:
    found = [json.loads(path.read_text("utf-8"))["result"] for path in (report / "results").glob("*.json")]
    return {Path(result["notebook"]).stem: result["kind"] for result in found}


def killed_and_resumed(prefix: Path, place: Path, kills: int, numbers: signal.Signals) -> Counter[str]:
    """Kill the run ``kills`` times at random moments, let it end, and return how often each notebook ran."""
    folder, marks = book(place)
    report = place / "report"
    chance = random.Random(20261124)
    for _ in range(kills):
        before = kept(report)
        process = start(folder, prefix, report)
        time.sleep(chance.uniform(0.3, 3.5))
        process.send_signal(numbers)
        process.communicate(timeout=60)
        after = kept(report)
        assert before.items() <= after.items()
        assert set(after.values()) <= {"passed"}
    process = start(folder, prefix, report)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said.decode()
    assert kept(report) == {f"n{number:02}": "passed" for number in range(COUNT)}
    assert f"{COUNT} of {COUNT} notebooks with code have run" in said.decode()
    return Counter(marks.read_text("utf-8").split())


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to send")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["SIGKILL", "SIGINT"])
def test_a_killed_run_loses_the_running_notebooks_only(
    light_prefix: Path, tmp_path: Path, number: signal.Signals
) -> None:
    ran = killed_and_resumed(light_prefix, tmp_path, 4, number)
    # Two at a time: a kill costs those that ran, and what had ended but was not written down yet.
    assert sum(ran.values()) <= COUNT + 4 * 2
