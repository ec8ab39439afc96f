"""The class of a notebook's result: what stands between the reader and a notebook that runs.

Each class has a rule here and a sentence for the reader. What no rule explains is a surprise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from d2lenv.base.messages import mark
from d2lenv.facts import book_bugs
from d2lenv.learn.books import needs_network
from d2lenv.smoke.results import NotebookResult

Class = Literal[
    "passed", "data", "gpu", "slow", "package", "book-bug", "not-applicable", "environment", "surprise",
    "stopped",
]  # fmt: skip
CLASSES: tuple[Class, ...] = get_args(Class)
FAILURES = frozenset({"environment", "surprise"})
"""The classes that are ours to mend: exit status 1."""

NAMES: dict[Class, str] = {
    "passed": mark("passed"),
    "data": mark("needs data"),
    "gpu": mark("needs a GPU"),
    "slow": mark("slow"),
    "package": mark("needs a package"),
    "book-bug": mark("known fault of the book"),
    "not-applicable": mark("not applicable"),
    "environment": mark("environment"),
    "surprise": mark("unexplained"),
    "stopped": mark("stopped"),
}

EXPLANATIONS: dict[Class, str] = {
    "passed": mark("every cell ran"),
    "data": mark(
        "a file that the book downloads is neither here nor in the shared folder (`d2lenv data get`)"
    ),
    "gpu": mark("the code asks for an NVIDIA GPU, or for more of them than there are"),
    "slow": mark("stopped at a limit of time before the last cell; what ran is in the executed notebook"),
    "package": mark(
        "imports a package that the environment has not; `--extras` installs those that its Python can have"
    ),
    "book-bug": mark("fails for a known reason in the book, listed with what a reader does"),
    "not-applicable": mark("no code to run"),
    "environment": mark("the environment or d2lenv is to blame"),
    "surprise": mark("failed for a reason that no rule explains"),
    "stopped": mark("the run was stopped before it ended"),
}


@dataclass(frozen=True)
class Classed:
    """A class and its reason: a marked English sentence and the values of its placeholders."""

    kind: Class
    reason: str = ""
    values: Mapping[str, str | int] = field(default_factory=dict)


_NO_GPU = re.compile(
    r"no NVIDIA driver|not compiled with CUDA|No CUDA GPUs|CUDA error|CUDA unavailable|CUDA driver"
    r"|invalid device ordinal|Invalid device id|Invalid CUDA|CUDA is not available|nvidia-smi"
)
_GPU_LISTS = re.compile(r"try_all_gpus|devices\[|num_gpus|device_count|cuda")
_TWO = re.compile(
    r"try_gpu\(\s*(?:i\s*=\s*)?1\s*\)|cuda:1|num_gpus\s*=\s*2|gpu\(1\)|devices\[1\]|devices\[:2\]"
)
_DATA = re.compile(
    r"Dataset not found or corrupted|Dataset not found\.|File not found or corrupted|HTTPError|URLError"
)
# A path in a folder of data: the book's repository has it elsewhere, or the reader fetches it.
_DATA_FILE = re.compile(r"FileNotFoundError: .*?'(?:[^']*/)?data(?:-unversioned)?/[^']*'$")
_MODULE = re.compile(r"No module named '?([A-Za-z_][\w.]*)|Missing (?:optional )?dependency '?([\w.]+)")


def of_result(
    result: NotebookResult,
    source: str,
    book: str,
    notebook: str,
    missing: Sequence[str],
    extras: Sequence[str],
) -> Classed:
    """Return the class of a notebook that was run.

    Args:
        source: all its code.
        notebook: its path in the book, ``chapter_x/name.ipynb``.
        missing: names of the data that it needs and that are not here.
        extras: names of modules that `--extras` installs elsewhere, and that are not here.
    """
    if result.status == "passed":
        return Classed("passed")
    if result.status == "stopped":
        return Classed("stopped", mark("stopped before it ended"))
    if result.cause in ("cpu-limit", "wall-limit", "time-limit"):
        return _slow(result)
    bug = book_bugs.find(book, notebook, result.reason)
    if bug is not None:
        return Classed("book-bug", bug.text)
    if result.cause == "error":
        return _of_error(result, source, missing, extras)
    kind: Class = "environment" if result.cause in ("no-kernel", "dead-kernel") else "surprise"
    return Classed(kind, mark("{error}"), {"error": result.reason[:300]})


def _slow(result: NotebookResult) -> Classed:
    number = re.search(r"\d+", result.reason)
    values: dict[str, str | int] = {
        "limit": number[0] if number else "?",
        "done": result.cells_done,
        "cells": result.cells,
    }
    if result.cause == "cpu-limit":
        return Classed(
            "slow", mark("more than {limit} CPU seconds; {done} of {cells} code cells ran"), values
        )
    return Classed("slow", mark("longer than {limit} seconds; {done} of {cells} code cells ran"), values)


def _of_error(result: NotebookResult, source: str, missing: Sequence[str], extras: Sequence[str]) -> Classed:
    said = f"{result.reason}\n{result.traceback}"
    module = _MODULE.search(result.reason)
    if module:
        name = (module[1] or module[2]).partition(".")[0]
        kind: Class = "package" if name in extras else "environment"
        return Classed(kind, mark("imports {name}, which is not installed"), {"name": name})
    if _is_data(result, missing):
        files = ", ".join(missing) or _file_in(said)
        return Classed("data", mark("needs {files}"), {"files": files})
    if _NO_GPU.search(said) or (
        result.reason.startswith("IndexError") and _GPU_LISTS.search(result.traceback)
    ):
        two = mark("needs two NVIDIA GPUs"), mark("needs an NVIDIA GPU")
        return Classed("gpu", two[0] if _TWO.search(source) else two[1])
    return Classed("surprise", mark("{error}"), {"error": result.reason[:300]})


def _is_data(result: NotebookResult, missing: Sequence[str]) -> bool:
    """Return whether a cell failed for want of a file: nobody answered, or it is said to be missing."""
    if needs_network(result) or _DATA.search(result.reason) or _DATA_FILE.match(result.reason):
        return True
    # syne-tune says no more of a trial, which is a process of its own.
    missed = re.match(r"(FileNotFoundError|OSError|RuntimeError|HTTPError|ValueError: Trial)", result.reason)
    return bool(missing) and missed is not None


def _file_in(text: str) -> str:
    """Return the file that an error speaks of: the end of an address or of a path."""
    found = re.search(r"url: \S*?/([\w.%-]+)\b|No such file or directory: '(?:\S*/)?([^'/]+)'", text)
    named = re.search(r"datasets\.(?:\w+\.)?([A-Z]\w+)\(", text)
    if found:
        return found[1] or found[2]
    return named[1] if named else "?"
