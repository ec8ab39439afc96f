"""No Python that the tool starts takes a module from the folder that the reader is in.

Each action runs once with Python's own report of what it imports, and again among modules of all those names
and of every name in the standard library.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import canarykit
import proofkit
from d2lenv.engines import interpreters
from d2lenv.verify import repro
from d2lenv.verify.prefix import bytecode
from proofkit import Home

pytestmark = pytest.mark.skipif(
    os.name != "posix", reason="the python of the test prefixes is a shell script"
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    with ExitStack() as stack:
        yield proofkit.home(tmp_path / "home", monkeypatch, stack)


def build(home: Home, place: Path) -> bool:
    """From an empty cache: packages without bytecode are compiled too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RATTLER_CACHE_DIR", str(place / "cache"))
        return (home.build("rattler", place / "prefix") / "bin" / "greet").exists()


def probe(_home: Home, _place: Path) -> bool:
    return interpreters.probe(Path(sys.executable), "") is not None


def judge(_home: Home, place: Path) -> bool:
    (place / "__pycache__").mkdir(parents=True)
    (place / "m.py").write_text("x = 1\n", encoding="utf-8")
    (place / "__pycache__" / "m.cpython-312.pyc").write_bytes(b"")
    found = bytecode.compiled("__pycache__/m.cpython-312.pyc")
    assert found is not None
    return list(bytecode.differing(Path(sys.executable), place, [found])) == [found.path]


def reproduce(home: Home, _place: Path) -> bool:
    return repro.repro(home.workspace, "tiny", engine="rattler", say=lambda _line: None).comparison.same


@pytest.mark.parametrize("action", [build, probe, judge, reproduce], ids=lambda action: action.__name__)
def test_no_module_is_taken_from_the_readers_folder(
    home: Home,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    action: Callable[[Home, Path], bool],
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    with monkeypatch.context() as patch:
        canarykit.listen(patch)
        assert action(home, tmp_path / "heard")
    names = canarykit.imported(capfd.readouterr().err)
    assert action is not build or {"asyncio", "rattler"} <= names, "nobody was heard"
    canarykit.plant(here, sys.stdlib_module_names | names)
    monkeypatch.chdir(here)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", "."]))
    assert action(home, tmp_path / "among them")
    assert canarykit.heard(here) == []
