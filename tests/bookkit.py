"""A small book in the real ones' style, with a notebook of each kind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from d2lenv.books import front
from d2lenv.smoke import interpreter
from d2lenv.smoke.execution.limits import Limits
from d2lenv.smoke.results import Event

INSTALL = "!pip install d2l==1.0.3\n"
FIGURE = (
    "from IPython.display import SVG, display\n"
    'display(SVG(\'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>\'))'
)
# As each library says it, in an environment that has none of them.
GPU = "raise AssertionError('Torch not compiled with CUDA enabled')"
GONE = "raise RuntimeError('Dataset not found or corrupted. You can use download=True to download it')"
SOURCES = {
    "chapter_preliminaries/ndarray": ["1 + 1", FIGURE],
    "chapter_preliminaries/pandas": [INSTALL, "2"],
    "chapter_computer-vision/needs-gpu": ["1", GPU],
    "chapter_computer-vision/needs-data": [GONE],
    "chapter_computer-vision/needs-package": ["import gpytorch"],
    "chapter_optimization/endless": ["1", "while True: pass"],
    "chapter_optimization/wrong": ["1 / 0"],
}


def book(folder: Path, **more: list[str]) -> Path:
    """Write the book, and further notebooks into the chapter ``chapter_more``."""
    named = {f"chapter_more/{name}": cells for name, cells in more.items()}
    for name, cells in {**SOURCES, **named}.items():
        write(folder / f"{name}.ipynb", *cells)
    for name in ("index", "chapter_preliminaries/index"):
        path = folder / f"{name}.ipynb"
        path.write_text(nbformat.writes(new_notebook(cells=[new_markdown_cell("# Title")])), encoding="utf-8")
    (folder / "chapter_optimization" / "empty.ipynb").write_bytes(b"")
    return folder


def write(path: Path, *cells: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(nbformat.writes(new_notebook(cells=[new_code_cell(cell) for cell in cells])), "utf-8")


def subject(folder: Path, prefix: Path, data: Path) -> front.Subject:
    return front.subject(folder, "light", interpreter.interpreter_of(prefix), "f" * 64, data, 0)


LIMITS = Limits(cpu_s=3, wall_s=60)


def run(
    subject: front.Subject, report: Path, said: list[str] | None = None, **wish: object
) -> tuple[front.BookRun, list[Event]]:
    events: list[Event] = []

    @contextmanager
    def watching(_: int) -> Iterator[object]:
        yield events.append

    choice = front.Wish(**{"limits": LIMITS, "jobs": 2, **wish})  # type: ignore[arg-type]
    lines: list[str] = [] if said is None else said
    return front.run(subject, choice, report, lines.append, watching), events


def kinds(done: front.BookRun) -> dict[str, str]:
    return {known.notebook.removesuffix(".ipynb"): known.kind for known in done.results}


def executed(report: Path, notebook: str) -> list[dict[str, object]]:
    data = json.loads((report / "notebooks" / f"{notebook}.ipynb").read_text("utf-8"))
    cells: list[dict[str, object]] = data["cells"]
    return cells
