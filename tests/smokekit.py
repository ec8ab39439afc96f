"""Notebooks to run, and runs as the reports get them."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import nbformat
import psutil
from nbformat.v4 import new_code_cell, new_notebook

from d2lenv.smoke import interpreter, judge, notebooks
from d2lenv.smoke import run as smoke
from d2lenv.smoke.results import Check, Measurement, NotebookResult, SeededNumber, SmokeRun

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>"


def run_of(*notebooks: NotebookResult) -> SmokeRun:
    return SmokeRun(
        interpreter=interpreter.Interpreter(
            Path("bin/python"),
            Path("prefix"),
            "3.10.13",
            "Linux-6",
            packages={"python": "3.10.13", "torch": "2.0.1"},
        ),
        started=datetime(2026, 11, 22, 6, 0, tzinfo=timezone.utc),
        seconds=12.5,
        jobs=2,
        threads=1,
        require_gpu=False,
        notebooks=notebooks,
        folder=Path("notebooks"),
        total=len(notebooks),
    )


PASSED = NotebookResult(
    "01-good",
    Path("01-good.ipynb"),
    "passed",
    seconds=3.25,
    device="cpu",
    checks=(Check("adds", "passed", "2"), Check("the GPU adds", "not-checked", "no NVIDIA GPU", "gpu")),
    fingerprints=(SeededNumber("sum", (4.5, 0.1), 1e-6),),
    measurements=(Measurement("product", 14.2, "ms"),),
)
WRONG = NotebookResult(
    "02-wrong",
    Path("02.ipynb"),
    "failed",
    cause="check",
    reason="adds (3)",
    checks=(Check("adds", "failed", "3"),),
)
RAISED = NotebookResult(
    "03-raised",
    Path("03.ipynb"),
    "failed",
    cause="error",
    reason="ValueError: no",
    place="cell 2: x",
    traceback="Traceback: \x1b[31mno\x1b[0m\x00",
)
DEAD = NotebookResult(
    "04-dead",
    Path("04.ipynb"),
    "failed",
    cause="dead-kernel",
    reason="the kernel died",
    kernel_log="Segfault",
)
UNFIT = NotebookResult(
    "05-unfit", Path("05.ipynb"), "not-applicable", cause="needs", reason="needs d2l>=1.0, here 0.17.6"
)
STOPPED = NotebookResult("06-stopped", Path("06.ipynb"), "stopped", cause="stopped", reason="not started")


def executed(path: Path, *outputs: Any) -> Path:
    path.write_text(
        nbformat.writes(new_notebook(cells=[new_code_cell("1", outputs=list(outputs))])), encoding="utf-8"
    )
    return path


CHECKS = Path(__file__).parents[1] / "notebooks" / "checks.py"
# The kernels are as slow to answer as a busy machine makes them; cells of these notebooks take no time.
TIMEOUT_S = 8

RESULT = {
    "device": "cpu",
    "checks": [{"name": "adds", "status": "passed", "detail": "", "needs": ""}],
    "fingerprints": [{"name": "sum", "value": [4.5], "rel_tol": 1e-6}],
    "measurements": [{"name": "time", "value": 2.0, "unit": "ms"}],
}

PYTHON = interpreter.Interpreter(
    Path("python"),
    Path("prefix"),
    "3.10.13",
    "Linux",
    packages={"python": "3.10.13", "d2l": "0.17.6", "torch": "2.0.1+cu117"},
)

WAIT = """
import os, time
with open("pid.part", "w") as file:
    file.write(str(os.getpid()))
os.rename("pid.part", "pid")
time.sleep(600)
"""


def notebook(*sources: str, result: str = "", **metadata: Any) -> Any:
    """A notebook of code cells; ``result`` is the source of the tagged one."""
    cells = [new_code_cell(source) for source in sources]
    if result:
        cells.append(new_code_cell(result, metadata={"tags": [judge.RESULT_TAG]}))
    return new_notebook(cells=cells, metadata=metadata)


def written(folder: Path, **notebooks: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in notebooks.items():
        text = content if isinstance(content, str) else nbformat.writes(content)
        (folder / f"{name}.ipynb").write_text(text, encoding="utf-8")
    return folder


def chosen(folder: Path) -> smoke.Chosen:
    paths = notebooks.find(folder)
    return smoke.Chosen(paths, folder, len(paths))


def scratch(path: Path) -> Path:
    path.mkdir(mode=0o700)
    return path


def shows(data: Any) -> str:
    return f"display({{{judge.RESULT_MIME!r}: {data!r}, 'text/plain': ''}}, raw=True)"


def gone(pid: int) -> bool:
    """Has the process ended (it may be waiting to be reaped)? Looks for up to ten seconds."""
    for _ in range(100):
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.1)
    return False
