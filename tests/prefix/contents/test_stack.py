"""Programs whose PyTorch needs an executable stack are started with the variable that allows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from d2lenv.prefix.contents import stack
from d2lenv.smoke.execution import session
from d2lenv.smoke.interpreter import Interpreter
from doctor.rules.loading.test_libraries import elf

ALLOWED = {"GLIBC_TUNABLES": "glibc.rtld.execstack=2"}


@pytest.fixture
def prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "zh" / "lib" / "python3.9" / "site-packages" / "torch" / "lib"
    folder.mkdir(parents=True)
    (folder / "libtorch_cpu.so").write_bytes(elf(7))
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    monkeypatch.setattr(stack, "glibc", lambda: (2, 41))
    stack._tell.cache_clear()
    return tmp_path / "zh"


def test_it_is_allowed_where_the_doctor_would_say_so_and_that_is_said_once(
    prefix: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stack.variables(prefix, {}) == stack.variables(prefix, {}) == ALLOWED
    said = capsys.readouterr()
    assert said.err.count("GLIBC_TUNABLES=glibc.rtld.execstack=2") == 1
    assert said.out == ""
    assert stack.variables(prefix, ALLOWED) == {}
    for version in ((2, 40), None):
        monkeypatch.setattr(stack, "glibc", lambda version=version: version)
        assert stack.variables(prefix, {}) == {}


def test_the_readers_own_tunables_stay(prefix: Path) -> None:
    found = stack.variables(prefix, {"GLIBC_TUNABLES": "glibc.malloc.check=1"})
    assert found == {"GLIBC_TUNABLES": "glibc.malloc.check=1:glibc.rtld.execstack=2"}


def test_a_prefix_that_asks_for_none_gets_none(prefix: Path) -> None:
    (prefix / "lib" / "python3.9" / "site-packages" / "torch" / "lib" / "libtorch_cpu.so").write_bytes(elf(6))
    assert stack.variables(prefix, {}) == {}


def test_notebooks_get_it(prefix: Path, tmp_path: Path) -> None:
    python = Interpreter(prefix / "bin" / "python", prefix, "3.9.0", "linux")
    assert session.variables(python, 1, tmp_path).items() >= ALLOWED.items()
