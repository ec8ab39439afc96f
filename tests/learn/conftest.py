"""A reader's home, notebooks and environment, with a stand-in for JupyterLab (tests/labkit.py)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import labkit
from d2lenv.learn import preparation
from d2lenv.learn.lab import Lab


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The reader's variables, with a home folder of the test's own."""
    home = tmp_path / "home"
    home.mkdir()
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("JUPYTER", "IPYTHON", "DISPLAY", "WAYLAND", "BROWSER", "XDG_", "SSH_"))
    }
    made = kept | {"HOME": str(home), "USERPROFILE": str(home), "STAND_IN_SAYS": str(tmp_path / "says.json")}
    for name in set(os.environ) - set(made):
        monkeypatch.delenv(name)
    for name, value in made.items():
        monkeypatch.setenv(name, value)
    return made


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """Looks like a prefix with JupyterLab, in a path with spaces and Chinese characters."""
    return labkit.make_prefix(tmp_path / "a prefix 环境")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "my notebooks"
    folder.mkdir()
    (folder / preparation.START_NOTEBOOK).write_text("{}", encoding="utf-8")
    return folder


@pytest.fixture
def prepare(tmp_path: Path, prefix: Path, root: Path, environ: dict[str, str]) -> Callable[..., Lab]:
    def call(**options: Any) -> Lab:
        options = {"environ": environ, "say": lambda _: None, "state": tmp_path / "state"} | options
        state = options.pop("state")
        return preparation.prepare("cuda", prefix, prefix / "bin" / "python", root, state, **options)

    return call
