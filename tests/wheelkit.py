"""Small wheels for the tests, and the requirements file that pins them."""

from __future__ import annotations

import base64
import hashlib
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import condakit
from d2lenv.facts import platforms
from d2lenv.workspace import pins as pinned
from d2lenv.workspace.pins import Pin

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
"""The version of the Python that runs the tests: the environments are made from it."""

TOOL = f'display-name = "Tiny"\npython = "{PYTHON}"\nwheels = ["{platforms.current()}"]\n'
"""The table of an environment that the wheels engine builds here."""


def write_wheel(
    folder: Path,
    name: str,
    version: str,
    files: Mapping[str, str | bytes],
    entry_points: str = "",
    requires: Sequence[str] = (),
) -> Pin:
    """Write a wheel with its RECORD into ``folder``; returns its pin."""
    metadata = f"{name}-{version}.dist-info"
    content = {path: value.encode() if isinstance(value, str) else value for path, value in files.items()}
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {text}" for text in requires]
    content[f"{metadata}/METADATA"] = "".join(f"{line}\n" for line in lines).encode()
    content[f"{metadata}/WHEEL"] = b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    if entry_points:
        content[f"{metadata}/entry_points.txt"] = f"[console_scripts]\n{entry_points}\n".encode()
    record = ""
    for path, value in content.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(value).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(value)}\n"
    content[f"{metadata}/RECORD"] = (record + f"{metadata}/RECORD,,\n").encode()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, value in content.items():
            archive.writestr(zipfile.ZipInfo(member), value)
    return Pin(name, version, (hashlib.sha256(path.read_bytes()).hexdigest(),))


def write_greet(folder: Path, version: str = "1.0") -> Pin:
    """A wheel with a module and a console script."""
    files = {"greet.py": f"def main():\n    print('hello {version} from', __file__)\n"}
    return write_wheel(folder, "greet", version, files, "greet = greet:main")


def write_pins(root: Path, pins: Sequence[Pin], environment: str = "tiny") -> Path:
    """The requirements file of (environment, this machine's platform)."""
    path = root / "envs" / environment / f"requirements-{platforms.current()}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(pinned.text_of(pins, ["for a test"]), encoding="utf-8")
    return path


def write_workspace(root: Path, pins: Sequence[Pin], channel: str = "") -> None:
    """A workspace whose environment ``tiny`` both worlds have; its channel does not answer unless given."""
    packages = (condakit.Package("greet", "0.9", "pyhd8ed1ab_0", noarch="python"), condakit.python_package())
    address = channel or f"http://127.0.0.1:{condakit.closed_port()}/"
    condakit.write_workspace(root, address, packages, tool=TOOL)
    write_pins(root, pins)


def private_uv(folder: Path, links: str) -> dict[str, str]:
    """Variables for a uv with a cache of its own that knows the wheels at ``links`` and no index."""
    return {
        "UV_CACHE_DIR": str(folder / "uv-cache"),
        "UV_FIND_LINKS": links,
        "UV_NO_INDEX": "1",
        "UV_HTTP_TIMEOUT": "20",
        "UV_HTTP_RETRIES": "0",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        # No pixi, and the Python that runs the tests first.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.defpath]),
        "D2LENV_LANG": "en",
    }


def start(root: Path, *words: str, **variables: str) -> subprocess.Popen[str]:
    """``python -m d2lenv --workspace ROOT WORDS`` in a process group of its own, as a terminal has it."""
    return subprocess.Popen(
        [sys.executable, "-m", "d2lenv", "--workspace", str(root), *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={**os.environ, **variables},
        start_new_session=True,
        # A shell's background job, such as a CI's, is started with Ctrl-C ignored.
        preexec_fn=(lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None)
        if os.name == "posix"
        else None,
    )


def run_of(python: Path, *words: str) -> str:
    """What ``python WORDS`` prints."""
    done = subprocess.run(
        [str(python), *words], capture_output=True, encoding="utf-8", timeout=60, check=True
    )
    return done.stdout.strip()
