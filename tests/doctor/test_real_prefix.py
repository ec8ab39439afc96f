"""Real damage, made with real pip in copies of a real prefix: found, and mended by the printed command.

``D2LENV_REAL_PREFIX`` names a prefix with the English edition, on the same file system as the temporary
folder: its files are hard-linked, never written. pip downloads what it installs from the configured index.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REAL = os.environ.get("D2LENV_REAL_PREFIX", "")
pytestmark = pytest.mark.skipif(not REAL, reason="D2LENV_REAL_PREFIX names no prefix")

MINUTES = 600


def doctor(prefix: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "d2lenv", "doctor", str(prefix), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=MINUTES, check=False)


def codes(prefix: Path) -> dict[str, str]:
    """Code → severity of errors and warnings; of drift nothing, the copies are not a workspace's."""
    data = json.loads(doctor(prefix, "--json").stdout)
    return {f["code"]: f["severity"] for f in data["findings"] if f["severity"] in ("error", "warning")}


@pytest.fixture
def copy(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("real") / "copy"
    shutil.copytree(REAL, folder, symlinks=True, copy_function=os.link)
    (folder / "d2lenv.json").unlink(missing_ok=True)
    for spec in (folder / "share" / "jupyter" / "kernels").glob("d2l-*"):
        shutil.rmtree(spec)  # it names the Python of the prefix that was copied
    subprocess.run(
        ["uv", "pip", "install", "-q", "--python", str(folder / "bin" / "python"), "pip"]
        if shutil.which("uv")
        else [
            sys.executable,
            "-m",
            "uv",
            "pip",
            "install",
            "-q",
            "--python",
            str(folder / "bin" / "python"),
            "pip",
        ],
        check=True,
        timeout=MINUTES,
    )
    yield folder
    shutil.rmtree(folder)


def pip(prefix: Path, *words: str) -> None:
    argv = [str(prefix / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", *words]
    subprocess.run(argv, check=True, timeout=MINUTES, stdout=subprocess.DEVNULL)


def mend(prefix: Path) -> None:
    """Type what the doctor prints."""
    for line in doctor(prefix, "--fix").stdout.splitlines():
        if not line.startswith("#"):
            subprocess.run(shlex.split(line), check=True, timeout=MINUTES, stdout=subprocess.DEVNULL)


def test_the_real_prefix_is_healthy() -> None:
    done = doctor(Path(REAL))
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1].startswith("healthy")


DAMAGES = {
    "numpy 2": (("install", "numpy==2.*"), {"D2L027": "error", "D2L041": "error"}),
    "another torchvision": (("install", "--no-deps", "torchvision==0.16.0"), {"D2L020": "error"}),
    "no cuBLAS": (("uninstall", "--yes", "nvidia-cublas-cu11"), {"D2L026": "error"}),
    "pandas of today": (("install", "pandas>=2.2"), {"D2L041": "error"}),
    "no ipykernel": (("uninstall", "--yes", "ipykernel"), {"D2L053": "error"}),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_by_pip_is_found_and_mended_by_what_is_printed(copy: Path, name: str) -> None:
    words, expected = DAMAGES[name]
    pip(copy, *words)
    assert expected.items() <= codes(copy).items()
    assert doctor(copy).returncode == 1
    mend(copy)
    assert codes(copy) == {}
    assert doctor(copy).returncode == 0


def test_an_edited_kernelspec_is_found_and_mended(copy: Path) -> None:
    file = copy / "share" / "jupyter" / "kernels" / "python3" / "kernel.json"
    data = json.loads(file.read_text())
    data["argv"][0] = "/opt/anaconda3/envs/gone/bin/python"
    file.unlink()  # a hard link: writing would reach the real prefix
    file.write_text(json.dumps(data))
    assert codes(copy) == {"D2L050": "error"}
    mend(copy)
    assert codes(copy) == {}


def test_fix_yes_mends_by_itself(copy: Path) -> None:
    pip(copy, "install", "--no-deps", "torchvision==0.16.0")
    assert doctor(copy, "--fix", "--yes").returncode == 0
    assert codes(copy) == {}
