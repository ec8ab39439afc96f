"""Let the doctor examine healthy environments: a look for before a release.

    python tests/looks/healthy_environments.py [--keep FOLDER]

Virtual environments are made with the Pythons beside this one (pyenv's) and real wheels of the configured
index: empty ones, Jupyter, data science with numpy 1 and 2, both editions of the book, projects of uv, links,
copies, spaces and Chinese in the path. Nothing in them is broken: the doctor must find no error, no warning.
Exit status 1 when it does, 2 when an environment could not be made.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

NOT_MADE = 2
MINUTES = 600
PYTHONS = Path(sys.base_prefix).parent
UV = (sys.executable, "-m", "uv", "--quiet")


@dataclass(frozen=True)
class Healthy:
    """An environment, and how it is made.

    Attributes:
        maker: what makes it: `venv`, `uv`, `project` (uv's) or nothing for a Python without an environment.
    """

    name: str
    python: str
    packages: tuple[str, ...] = ()
    maker: str = "uv"
    options: tuple[str, ...] = ()


BOOK = ("torch==2.0.1", "torchvision==0.15.2", "torchaudio==2.0.2", "d2l==1.0.3", "ipykernel", "jupyterlab")
CHINESE = ("torch==1.12.0", "torchvision==0.13.0", "d2l==0.17.6", "matplotlib-inline<0.2", "jupyterlab<4")
ENVIRONMENTS = (
    Healthy("empty 3.8", "3.8", maker="venv"),
    Healthy("empty-3.9", "3.9", maker="venv"),
    Healthy("empty-3.10", "3.10", maker="venv"),
    Healthy("空的 3.11", "3.11", maker="venv"),
    Healthy("copies-3.12", "3.12", maker="venv", options=("--copies",)),
    Healthy("system-site-3.12", "3.12", maker="venv", options=("--system-site-packages",)),
    Healthy("without-pip-3.13", "3.13", maker="venv", options=("--without-pip",)),
    Healthy("notebook-6", "3.9", ("notebook<7", "jupyter_client<8", "pyzmq<25")),
    Healthy("jupyter", "3.12", ("jupyterlab", "notebook", "ipywidgets")),
    Healthy("数据 科学", "3.12", ("numpy", "pandas", "scipy", "scikit-learn", "matplotlib", "seaborn")),
    Healthy("numpy-1", "3.10", ("numpy<2", "pandas<2.1", "scipy<1.11", "matplotlib<3.8", "scikit-learn<1.3")),
    Healthy("opencv", "3.11", ("opencv-python-headless", "pillow")),
    Healthy("jax", "3.12", ("jax", "jaxlib", "flax")),
    Healthy("flask", "3.13", ("flask", "requests", "sqlalchemy")),
    Healthy("onnx", "3.11", ("onnxruntime", "onnx")),
    Healthy("tensorboard", "3.10", ("tensorboard", "setuptools<82")),
    Healthy("project", "3.12", ("jupyterlab", "pandas"), maker="project"),
    Healthy("book en", "3.10", (*BOOK, "setuptools<81")),
    Healthy("书 中文", "3.9", CHINESE),
    Healthy("pyenv-3.10", "3.10", maker=""),
    Healthy("pyenv-3.13", "3.13", maker=""),
)


def interpreter(minor: str) -> Path:
    found = sorted(PYTHONS.glob(f"{minor}.*/bin/python{minor}"))
    if not found:
        raise SystemExit(f"no Python {minor} in {PYTHONS}")
    return found[-1]


def make(one: Healthy, folder: Path) -> Path:
    """Make the environment below ``folder`` and return where it is."""
    python, place = interpreter(one.python), folder / one.name
    if not one.maker:
        return python.parent.parent
    environ = {**os.environ, "UV_PYTHON_DOWNLOADS": "never"}
    environ.pop("VIRTUAL_ENV", None)

    def run(*words: object) -> None:
        subprocess.run([str(word) for word in words], check=True, timeout=MINUTES, env=environ)

    if one.maker == "project":
        place.mkdir()
        text = f'[project]\nname = "x"\nversion = "0"\nrequires-python = "=={one.python}.*"\n'
        (place / "pyproject.toml").write_text(text, encoding="utf-8")
        run(*UV, "add", "--project", place, "--python", python, *one.packages)
        return place / ".venv"
    if one.maker == "venv":
        run(python, "-m", "venv", *one.options, place)
    else:
        run(*UV, "venv", "--python", python, place)
    if one.packages:
        run(*UV, "pip", "install", "--python", place / "bin" / "python", *one.packages)
    return place


def faults(place: Path, cwd: Path) -> Iterator[str]:
    """Yield what the doctor finds, beginning with its severity and code."""
    environ = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    done = subprocess.run(
        [sys.executable, "-m", "d2lenv", "doctor", str(place), "--json"],
        capture_output=True,
        text=True,
        timeout=MINUTES,
        check=False,
        cwd=cwd,
        env={**environ, "D2LENV_LANG": "en"},
    )
    data = json.loads(done.stdout)
    for finding in data["findings"]:
        if finding["severity"] in ("error", "warning"):
            yield f"{finding['severity']} {finding['code']} {finding['title']}"


def main() -> int:
    parser = argparse.ArgumentParser(description="the doctor on healthy environments")
    parser.add_argument("--keep", type=Path, help="make the environments here and leave them")
    asked = parser.parse_args()
    bad = unmade = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.keep or Path(temporary)
        (folder / "nothing here").mkdir(parents=True, exist_ok=True)
        for one in ENVIRONMENTS:
            try:
                place = make(one, folder)
            except (subprocess.SubprocessError, OSError) as error:
                unmade += 1
                print(f"NOT MADE  {one.name}: {error}")
                continue
            found = list(faults(place, folder / "nothing here"))
            bad += bool(found)
            print(
                f"{'FAULTS' if found else 'fine':8}  {one.name} (Python {one.python})", *found, sep="\n    "
            )
    fine = len(ENVIRONMENTS) - bad - unmade
    print(f"{fine} of {len(ENVIRONMENTS)} without error and warning, {unmade} not made")
    return 1 if bad else NOT_MADE if unmade else 0


if __name__ == "__main__":
    sys.exit(main())
