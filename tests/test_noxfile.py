"""What noxfile.py promises, asked with the real nox."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# A session of noxfile.py's own making that needs no environment of its own.
NOXFILE = f"""
import os, runpy, nox
here = os.getcwd()
os.chdir({str(ROOT)!r})
house = runpy.run_path("noxfile.py")
os.chdir(here)

@nox.session(venv_backend="none")
def slow(session):
    house["d2lenv"](session, "smoke")
"""

# A tool that needs a second for its good-bye.
TOOL = """
import pathlib, time
try:
    pathlib.Path("started").touch()
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(1)
    pathlib.Path("report").touch()
    raise SystemExit(130)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a console's Ctrl-C cannot be sent to one group there")
def test_ctrl_c_in_nox_lets_the_tool_write_its_report(tmp_path: Path) -> None:
    for name, text in (("noxfile.py", NOXFILE), ("d2lenv/__init__.py", ""), ("d2lenv/__main__.py", TOOL)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    process = subprocess.Popen(
        [sys.executable, "-m", "nox", "-s", "slow"],
        cwd=tmp_path,
        env=environ,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "started").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    told, _ = process.communicate(timeout=60)
    assert (tmp_path / "report").exists(), told
