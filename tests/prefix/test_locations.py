"""Where the interpreter of a prefix lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from d2lenv.prefix import locations


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (("bin/python", "bin/python3", "conda-meta/history"), "bin/python"),
        (("Scripts/python.exe", "pyvenv.cfg"), "Scripts/python.exe"),
        (("python.exe", "Scripts/python.exe", "conda-meta/history"), "python.exe"),
        (("bin/python3",), "bin/python3"),
        (("bin/python3", "conda-meta/history"), "bin/python"),
        (("bin/python3", "pyvenv.cfg"), "bin/python"),
        ((), "bin/python"),
    ],
)
def test_the_interpreter_of_any_kind_of_prefix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], found: str
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert locations.interpreter(tmp_path) == tmp_path / found
