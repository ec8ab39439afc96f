#!/usr/bin/env python3
# /// script
# requires-python = ">=3.10"
# dependencies = []
# ///
"""Start the tool where nothing but Python, or nothing but uv, is installed.

`python3 run.py lab cuda` and `uv run run.py lab cuda` are `d2lenv lab cuda`. `python3 run.py nox …` is nox,
for work on this repository. The first start installs the tool into a folder of its own, so that neither a
distribution's Python nor an active environment is touched. Every file is checked against its hash in
.ci/requirements/tool.txt. It takes uv where there is one, else `venv`, else pip alone: Debian's python3 comes
without half of `venv`.
"""

import sys

if sys.version_info < (3, 10):  # noqa: UP036 - an older Python reads this file too
    sys.exit("Python 3.10+ is needed, this is %d.%d. With uv: uv run run.py" % sys.version_info[:2])  # noqa: UP031

import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "scripts"))

from d2lenv.base import process  # noqa: E402 - it needs the standard library only
from d2lenv.base.errors import FAILED, D2lEnvError  # noqa: E402
from d2lenv.base.messages import tr  # noqa: E402

LOCK = ROOT / ".ci" / "requirements" / "tool.txt"
HASHED = ("--require-hashes", "--no-deps", "--only-binary=:all:", f"--requirement={LOCK}")
EDITABLE = ("--no-deps", "--no-build-isolation", f"--editable={ROOT}")
# What the first start downloads on Linux; the other platforms' wheels are of about the same size.
MEGABYTES = 55


def python_of(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def folders(name: str) -> list[Path]:
    """Return where the tool may lie: in the clone, or in the user's cache where the clone is read-only."""
    if os.name == "nt":
        cache = os.environ.get("LOCALAPPDATA", "~/AppData/Local")
    elif sys.platform == "darwin":
        cache = "~/Library/Caches"
    else:
        cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return [ROOT / ".d2lenv" / name, Path(cache).expanduser() / "d2lenv" / name]


def tool() -> Path:
    """Return the Python that has the tool; install it if this lock, for this Python, is not there yet.

    Raises:
        D2lEnvError: if it cannot be installed.
    """
    python = f"{ROOT} {sys.base_prefix} {sys.version_info[:2]}"
    facts = (LOCK.read_bytes(), (ROOT / "pyproject.toml").read_bytes(), os.fsencode(python))
    places = folders("tool-" + hashlib.sha256(b"\0".join(facts)).hexdigest()[:12])
    ready = next((place for place in places if python_of(place).exists()), None)
    if ready is not None:
        return python_of(ready)
    place = next((place for place in places if writable(place.parent)), None)
    if place is None:
        raise D2lEnvError(
            tr("the tool cannot be installed: no folder for it can be written"),
            why=", ".join(str(place.parent) for place in places),
            fix=tr("name a folder that can: `XDG_CACHE_HOME=DIR python3 run.py …`"),
        )
    install(place)
    return python_of(place)


def writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def install(place: Path) -> None:
    """Install the tool beside ``place``, and put it there when it is complete."""
    with tempfile.TemporaryDirectory(prefix=f".{place.name}-", dir=place.parent) as name:
        folder = Path(name) / "tool"
        steps = commands(folder)
        say(tr("Installing the tool into {folder}, once: about {n} MB", folder=place, n=MEGABYTES))
        for command in steps:
            if subprocess.run(command, cwd=folder.anchor, stdin=subprocess.DEVNULL, check=False).returncode:
                raise D2lEnvError(
                    tr("the tool could not be installed"),
                    why=tr("the reason stands above; it is that of {command}", command=" ".join(command[:4])),
                    fix=tr("mend that and type the same again; a mirror: PIP_INDEX_URL, UV_DEFAULT_INDEX"),
                )
        shutil.rmtree(place, ignore_errors=True)  # its Python is gone
        try:
            folder.rename(place)
        except OSError:
            if not python_of(place).exists():  # else another start was faster
                raise


def commands(folder: Path) -> list[list[str]]:
    """Return what installs the tool into the new environment ``folder``.

    Raises:
        D2lEnvError: if this Python has neither pip nor `venv`, and there is no uv.
    """
    python = str(python_of(folder))
    make = [sys.executable, "-m", "venv", str(folder)]
    pip = ["-m", "pip", "--disable-pip-version-check", "install"]
    into = ["pip", "install", f"--python={python}"]
    uv = process.which("uv", os.environ)
    if uv is not None:
        venv = [str(uv), "venv", "--quiet", f"--python={sys.executable}", str(folder)]
        return [venv, [str(uv), *into, *HASHED], [str(uv), *into, "--quiet", *EDITABLE]]
    if importlib.util.find_spec("ensurepip"):
        return [make, [python, *pip, *HASHED], [python, *pip, "--quiet", *EDITABLE]]
    if importlib.util.find_spec("pip"):
        site = sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)})
        wheels = [sys.executable, *pip, f"--target={site}", *HASHED]
        return [[*make, "--without-pip"], wheels, [python, "-m", "uv", *into, "--quiet", *EDITABLE]]
    raise D2lEnvError(
        tr("this Python has neither pip nor `ensurepip`, and there is no uv"),
        why=str(sys.executable),
        fix=tr("on Debian and Ubuntu: `sudo apt install python3-venv`; then type the same again"),
    )


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def environment() -> dict[str, str]:
    """Return the environment without what `uv run` put there: its own is not the one that is active."""
    environ = process.python_environment(os.environ)
    if sys.prefix != sys.base_prefix and environ.get("VIRTUAL_ENV") == sys.prefix:
        del environ["VIRTUAL_ENV"]
        path = environ.get("PATH", "").split(os.pathsep)
        environ["PATH"] = os.pathsep.join(
            folder for folder in path if Path(folder).parent != Path(sys.prefix)
        )
    return environ


def start(command: list[str], environ: dict[str, str]) -> int:
    """Become ``command`` (on Windows: wait for it), so that Ctrl-C and other signals are its own."""
    if os.name != "nt":
        os.execve(command[0], command, environ)
    child = subprocess.Popen(command, env=environ)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the console sends it to the child too
    return child.wait()


def main(words: Sequence[str]) -> int:
    try:
        python = tool()
    except D2lEnvError as error:
        say(str(error))
        return FAILED
    if words[:1] == ["nox"]:
        noxfile = f"--noxfile={ROOT / 'noxfile.py'}"
        return start(process.python_module(python, "nox", noxfile, *words[1:]), environment())
    return start(process.python_module(python, "d2lenv", *words), environment())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
