"""Modules that tell when somebody imports them, for every name that a process imports."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

_LINE = re.compile(r"import time:\s+\d+ \|\s+\d+ \|\s*([\w.]+)")
_TOLD = "canary-was-imported"


def listen(patch: pytest.MonkeyPatch) -> None:
    """Let every Python that is started from here on tell on standard error what it imports."""
    patch.setenv("PYTHONPROFILEIMPORTTIME", "1")


def imported(stderr: str) -> frozenset[str]:
    """Return the top-level modules that such processes told of; those that were isolated tell of none."""
    return frozenset(name.partition(".")[0] for name in _LINE.findall(stderr))


def plant(folder: Path, names: Iterable[str]) -> None:
    """Write a module of each name into ``folder``; one that is imported leaves a file there and ends."""
    text = f"open({os.fspath(folder / _TOLD)!r}, 'a').write(__name__ + '\\n')\nraise SystemExit(66)\n"
    for name in names:
        if name not in sys.builtin_module_names:
            (folder / f"{name}.py").write_text(text, encoding="utf-8")


def heard(folder: Path) -> list[str]:
    """Return the names of the planted modules that were imported."""
    told = folder / _TOLD
    return told.read_text(encoding="utf-8").split() if told.exists() else []
