"""Lock the packages that single notebooks of the books need beside each environment's own.

    python tests/looks/book_extras.py

Asks the package index, by uv, with the environment's pins as constraints, and writes
``scripts/d2lenv/books/locks/ENVIRONMENT.txt`` without what the environment has already. Run on 2026-11-24.
gym 0.21.0 has metadata that no newer installer reads ("opencv-python (>=3.)"): uv is told its dependencies.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "scripts" / "d2lenv" / "books" / "locks"
WANTED = (
    "gpytorch", "syne-tune[gpsearchers]==0.3.2", "gym==0.21.0", "imageio[ffmpeg]", "h5py",
    "simpleitk", "diskcache<5", "tqdm",
)  # fmt: skip
# Environment → the Python that its chapters are run with.
ENVIRONMENTS = {
    "cpu": "3.10",
    "cuda": "3.10",
    "cuda12": "3.10",
    "zh": "3.9",
    "modern": "3.12",
    "zh-modern": "3.11",
}
# Its registry calls a method of importlib.metadata that Python 3.12 has not (seen 2026-11-24).
TOO_NEW_FOR_GYM = ("3.12", "3.13")
BUILDERS = ("pip==23.3.2", "setuptools==66.1.1", "wheel==0.38.4")
GYM = """[[dependency-metadata]]
name = "gym"
version = "0.21.0"
requires-dist = ["numpy>=1.18.0", "cloudpickle>=1.2.0"]
"""
HEAD = """# Packages for single notebooks of the books, beside {what}, Python {python}.
# Made by tests/looks/book_extras.py; do not edit.
"""


def compiled(wanted: tuple[str, ...], python: str, *options: str) -> str:
    done = subprocess.run(
        [
            "uv", "pip", "compile", "-", "--python-version", python,
            "--python-platform", "x86_64-manylinux_2_28", "--generate-hashes",
            "--no-annotate", "--no-header", "--no-emit-index-url", "-q", *options,
        ],
        input="\n".join(wanted), text=True, capture_output=True, timeout=600, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


def pins(environment: str) -> list[str]:
    """The environment's own lines ``name==version``, without the names of PyTorch's own builds."""
    for name in ("requirements-linux-64.txt", "requirements.txt"):
        path = ROOT / "envs" / environment / name
        if path.is_file():
            lines = (line.rstrip(" \\") for line in path.read_text("utf-8").splitlines())
            return [re.sub(r"\+\S+", "", line) for line in lines if re.match(r"[\w.-]+==", line)]
    sys.exit(f"{environment} has no wheels")


def main() -> None:
    TARGET.mkdir(exist_ok=True)
    (TARGET / "builders.txt").write_text(
        HEAD.format(what="nothing: they build gym", python="3.9 to 3.12") + compiled(BUILDERS, "3.10"),
        "utf-8",
    )
    with tempfile.TemporaryDirectory() as place:
        settings, constraints, builders = (
            Path(place) / name for name in ("uv.toml", "pins.txt", "builders.txt")
        )
        settings.write_text(GYM, "utf-8")
        builders.write_text("\n".join(BUILDERS[1:]), "utf-8")
        for environment, python in ENVIRONMENTS.items():
            own = pins(environment)
            constraints.write_text("\n".join(own), "utf-8")
            text = compiled(
                tuple(
                    name for name in WANTED if python not in TOO_NEW_FOR_GYM or not name.startswith("gym==")
                ),
                python,
                "--config-file",
                str(settings),
                "-c",
                str(constraints),
                "--build-constraint",
                str(builders),
            )
            names = {pin.partition("==")[0] for pin in own}
            blocks = re.findall(r"^[^\s#].*\n(?:\s.*\n)*", text, re.MULTILINE)
            kept = [block for block in blocks if block.partition("==")[0] not in names]
            (TARGET / f"{environment}.txt").write_text(
                HEAD.format(what=environment, python=python) + "".join(kept), "utf-8"
            )
            print(environment, " ".join(block.split()[0] for block in kept))


if __name__ == "__main__":
    main()
