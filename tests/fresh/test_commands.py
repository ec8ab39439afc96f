"""The first commands of README, typed on a machine that has nothing: `nox -s readme`.

In a copy of the clone, by an ordinary user with an empty home folder, whose PATH has Debian's own python3 or
that and uv. What is installed comes from the configured package index.
"""

from __future__ import annotations

import dataclasses
import os
import pwd
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from uv import find_uv_bin

from d2lenv.base.errors import D2lEnvError
from d2lenv.engines import interpreters
from test_readme import ENGLISH, blocks

ROOT = Path(__file__).resolve().parents[2]
SYSTEM = Path("/usr/bin/python3")
pytestmark = [
    pytest.mark.skipif(not os.environ.get("D2LENV_FRESH"), reason="not checked here: nox -s readme"),
    pytest.mark.skipif(not SYSTEM.exists(), reason="not checked: the system has no python3"),
]

MINUTES = 600
PYTHON, UV = blocks(ENGLISH)[:2]
# Where packages come from is the machine's own; where they are kept is not.
INHERITED = re.compile(r"PIP_(?!CACHE)|UV_(INDEX|DEFAULT_INDEX|NATIVE)|SSL_|\w+_proxy|\w+_PROXY|LANG")


@dataclasses.dataclass(frozen=True)
class Machine:
    clone: Path
    lab: str
    tests: str
    environ: dict[str, str]
    user: dict[str, Any]

    def start(self, command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            shlex.split(command), cwd=self.clone, env=self.environ, text=True, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **self.user,
        )  # fmt: skip


def copy_of_the_clone(folder: Path) -> Path:
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split("\0")  # fmt: skip
    for name in filter(None, names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).exists():  # not one that is deleted and not committed yet
            shutil.copy2(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module", params=["python3", "uv"])
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A machine with Debian's python3, or that and uv, where nobody has typed anything yet."""
    folder = Path(tempfile.mkdtemp(prefix="d2lenv-fresh-"))
    folder.chmod(0o755)
    (folder / "home").mkdir()
    clone = copy_of_the_clone(folder / "clone")
    environ = {name: value for name, value in os.environ.items() if INHERITED.match(name)}
    environ |= {"HOME": str(folder / "home"), "PATH": "/usr/bin:/bin", "D2LENV_LANG": "en", "BROWSER": "true"}
    if request.param == "uv":
        (folder / "uv").mkdir()
        shutil.copy2(find_uv_bin(), folder / "uv")
        environ["PATH"] = f"{folder / 'uv'}:{environ['PATH']}"
    user: dict[str, Any] = {}
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        subprocess.run(["chown", "-R", f"{nobody.pw_uid}:{nobody.pw_gid}", str(folder)], check=True)
    lab, tests = UV if request.param == "uv" else PYTHON
    yield Machine(clone, lab, tests, environ, user)
    shutil.rmtree(folder)


def test_the_tests_run(machine: Machine) -> None:
    """A few of them: `.ci/run` types the whole command."""
    assert machine.tests.endswith("run.py nox -s tests")
    child = machine.start(f"{machine.tests} -- tests/base --no-cov")
    output, _ = child.communicate(timeout=MINUTES)
    assert child.returncode == 0, output
    assert re.search(r"\d{2,} passed", output), output


def test_the_lab_begins_to_build_or_says_what_is_missing(machine: Machine) -> None:
    """Nobody has a cache and may have no Python 3.10: the gigabytes are left to the test below."""
    assert machine.lab.endswith("run.py lab cuda")
    child = machine.start(machine.lab)
    lines = read_until(child, r"^installing \d+ packages|^next: ")
    stop(child)
    assert "Traceback" not in "".join(lines)
    assert re.search(r"^installing \d+|^next: .*`uv python install 3\.10`", lines[-1]), "".join(lines)


def test_the_lab_opens_a_notebook(machine: Machine) -> None:
    """By this user, with this user's Python 3.10 and wheels."""
    try:
        python = interpreters.find("3.10", None, print, download=False)
    except D2lEnvError as error:
        pytest.skip(f"not checked: {error.what}")
    cache = subprocess.run([find_uv_bin(), "cache", "dir"], capture_output=True, text=True, check=True)
    programs = machine.clone.parent / "bin"
    programs.mkdir()
    (programs / "python3.10").symlink_to(python.path)
    environ = {"PATH": f"{machine.environ['PATH']}:{programs}", "UV_CACHE_DIR": cache.stdout.strip()}
    mine = dataclasses.replace(machine, environ=machine.environ | environ, user={})
    child = mine.start(machine.lab)
    lines = read_until(child, r"^http://")
    address = lines[-1].strip()
    assert address.startswith("http://"), "".join(lines)
    with urllib.request.urlopen(address, timeout=60) as page:
        assert page.status == 200
        assert "JupyterLab" in page.read().decode("utf-8")
    os.kill(child.pid, signal.SIGINT)
    output, _ = child.communicate(timeout=120)
    assert "ended" in output


def read_until(child: subprocess.Popen[str], pattern: str) -> list[str]:
    """Read lines up to one that matches, or to the end."""
    assert child.stdout is not None
    end = time.monotonic() + MINUTES
    lines: list[str] = []
    for line in child.stdout:
        lines.append(line)
        if re.search(pattern, line) or time.monotonic() > end:
            break
    return lines


def stop(child: subprocess.Popen[str]) -> None:
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGINT)
    try:
        child.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
