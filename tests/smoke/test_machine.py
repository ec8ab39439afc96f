"""A container's limits count."""

from __future__ import annotations

from pathlib import Path

import pytest

from d2lenv.smoke import machine


@pytest.mark.parametrize(
    ("notebooks", "cores", "gib", "jobs"),
    [(5, 2, 16, 2), (5, 16, 16, 5), (5, 8, 4, 2), (5, 2, 0, 1), (0, 2, 16, 1)],
)
def test_jobs_follow_notebooks_cores_and_memory(
    monkeypatch: pytest.MonkeyPatch, notebooks: int, cores: int, gib: int, jobs: int
) -> None:
    monkeypatch.setattr(machine, "cores", lambda: cores)
    monkeypatch.setattr(machine, "memory", lambda: gib * 2**30)
    assert machine.choose_jobs(notebooks) == jobs


def test_a_container_s_limits_count(monkeypatch: pytest.MonkeyPatch) -> None:
    words = {"cpu.max": ["50000", "100000"], "memory.max": ["3000"], "memory.current": ["1000"]}
    monkeypatch.setattr(machine, "_first_words", lambda path: words[Path(path).name])
    assert (machine.cores(), machine.memory()) == (1, 2000)


def test_a_container_without_limits_has_the_machine_s(monkeypatch: pytest.MonkeyPatch) -> None:
    words = {"cpu.max": ["max", "100000"], "memory.max": ["max"], "memory.current": ["1000"]}
    monkeypatch.setattr(machine, "_first_words", lambda path: words[Path(path).name])
    assert machine.cores() >= 1
    assert machine.memory() > 2000
