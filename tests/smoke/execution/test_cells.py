"""A kernel's variables and its death."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from d2lenv.smoke.execution import cells, session
from smokekit import PYTHON


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to die of")
@pytest.mark.parametrize(
    ("code", "out_of_memory", "reason"),
    [
        (-9, False, "the kernel was killed (SIGKILL); often that means out of memory"),
        (-9, True, "the kernel was killed (SIGKILL): this machine ran out of memory"),
        (-11, False, "the kernel died of SIGSEGV"),
        (1, False, "the kernel ended with exit status 1"),
        (0xC0000005, False, "the kernel ended with exit status 0xC0000005"),
        (None, False, "the kernel died"),
    ],
)
def test_a_death_is_explained(code: int | None, out_of_memory: bool, reason: str) -> None:
    assert cells._death(code, out_of_memory) == reason


def test_a_user_s_number_of_threads_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert session.variables(PYTHON, 2, tmp_path)["OMP_NUM_THREADS"] == "2"
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert session.variables(PYTHON, 2, tmp_path)["OMP_NUM_THREADS"] == "7"
