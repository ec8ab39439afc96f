"""Shared libraries that the system's loader refuses."""

from __future__ import annotations

import dataclasses
import struct
from pathlib import Path

import pytest

from doctor.environments import LINUX, Environment, commands, spoil

NEW = dataclasses.replace(LINUX, glibc=(2, 41))
_LOAD, _STACK = 1, 0x6474E551


def elf(flags: int, kind: int = _STACK, entries: int = 2) -> bytes:
    """A shared library of program headers only: a loaded part and ``kind`` with ``flags``."""
    head = (
        b"\x7fELF\x02\x01\x01"
        + bytes(9)
        + struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, entries, 64, 0, 0)
    )
    rest = bytes(48)
    return head + struct.pack("<II", _LOAD, 5) + rest + struct.pack("<II", kind, flags) + rest


@pytest.fixture
def env(tmp_path: Path) -> Environment:
    env = Environment(tmp_path / "env", python="3.9")
    env.torch("1.12.0", local="", cuda="10.2")
    (env.module("torch/lib/libtorch_cpu.so")).write_bytes(elf(7))
    return env


def test_an_executable_stack_is_found_before_the_loader_refuses_it(env: Environment) -> None:
    found = env.findings(machine=NEW)["D2L036"]
    assert found.severity == "error"
    assert found.title == "libtorch_cpu.so needs an executable stack, which glibc 2.41 refuses"
    assert commands(found) == ["export GLIBC_TUNABLES=glibc.rtld.execstack=2"]


def test_it_is_no_matter_where_it_is_allowed(env: Environment) -> None:
    assert "D2L036" not in env.findings(machine=LINUX)
    assert "D2L036" not in env.findings(machine=dataclasses.replace(NEW, glibc=None))  # musl
    assert "D2L036" not in env.findings(machine=NEW, environ={"GLIBC_TUNABLES": "glibc.rtld.execstack=2"})


@pytest.mark.parametrize("data", [elf(6), elf(7, kind=_LOAD), elf(7)[:70], b"", b"MZ", elf(7, entries=9999)])
def test_other_files_want_nothing(env: Environment, data: bytes) -> None:
    (env.site / "torch" / "lib" / "libtorch_cpu.so").write_bytes(data)
    assert "D2L036" not in env.findings(machine=NEW)


def test_a_library_that_cannot_be_read_is_said_to_be_unread(env: Environment) -> None:
    spoil(env.site / "torch" / "lib" / "libtorch_cpu.so")
    found = env.findings(machine=NEW)
    assert "D2L036" not in found
    assert "libtorch_cpu.so" in [item.what for item in found["D2L099"].found]
