"""The process in which py-rattler installs: what it tells of an error and of its progress."""

from __future__ import annotations

from pathlib import Path

import pytest

from d2lenv.engines.conda import installer
from d2lenv.engines.conda.cache import Cache, Gate
from d2lenv.engines.conda.downloads import Downloads


def test_of_a_long_error_the_first_and_the_last_lines_are_told() -> None:
    error = ValueError("\n".join(["first", *(f"line {n:02}" for n in range(20)), "Caused by: last."]))
    lines = installer.reason(error).splitlines()
    assert lines[0] == "first"
    assert lines[1] == "…"
    assert lines[-1] == "last"
    assert len(lines) == 6


def test_progress_is_told_in_tenths(tmp_path: Path) -> None:
    lines: list[str] = []
    gate = Gate(Cache(tmp_path, 0o022, ignores_case=False), [], {})
    reporter = installer.Reporter(gate, Downloads({}), 40, lines.append)
    for number in range(40):
        reporter.on_link_complete(number)
    assert len(lines) == 10
    assert lines[-1] == "40 of 40 packages installed"
    assert reporter.on_validate_start(1) == 0
    with pytest.raises(AttributeError):
        reporter.nothing  # noqa: B018
