"""What a run found is written whole, and shown in the terminal."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from nbformat.v4 import new_output

from d2lenv.base import console
from d2lenv.base.errors import D2lEnvError
from d2lenv.smoke import report
from d2lenv.smoke.results import Event, NotebookResult
from smokekit import PASSED, RAISED, STOPPED, UNFIT, executed, run_of


def test_the_three_files_are_written(tmp_path: Path) -> None:
    folder = tmp_path / "reports" / "cuda"
    source = executed(tmp_path / "01-good.ipynb", new_output("stream", name="stdout", text="x"))
    done = report.write(run_of(replace(PASSED, executed=source)), "cuda", folder)
    assert done.notebooks[0].executed == folder / "notebooks" / "01-good.ipynb"
    assert done.notebooks[0].executed.read_bytes() == source.read_bytes()
    assert (folder / "report.html").is_file()
    data = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert data["notebooks"][0]["executed"] == str(done.notebooks[0].executed)
    assert (data["environment"], data["ok"], data["seconds"]) == ("cuda", True, 12.5)
    assert data["notebooks"][0]["fingerprints"] == [{"name": "sum", "value": [4.5, 0.1], "rel_tol": 1e-6}]
    ElementTree.parse(folder / "junit.xml")


def test_a_report_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("a file", encoding="utf-8")
    with pytest.raises(D2lEnvError, match="cannot be written"):
        report.write(run_of(PASSED), "cuda", tmp_path / "reports" / "cuda")


@pytest.fixture
def fresh_consoles() -> Any:
    """The consoles of this test write to what pytest captures in it."""
    for make in (console.out, console.err):
        make.cache_clear()
    yield
    for make in (console.out, console.err):
        make.cache_clear()


@pytest.mark.usefixtures("fresh_consoles")
def test_the_terminal_shows_results_reasons_and_what_was_not_checked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    report.show(run_of(PASSED, RAISED, UNFIT, STOPPED), Path("reports/cuda/report.html"))
    out = capsys.readouterr().out
    assert "1 passed, 1 not checked" in out
    assert "03-raised: failed: ValueError: no\ncell 2: x\n" in out
    assert "05-unfit: not applicable: needs d2l>=1.0, here 0.17.6\n" in out
    assert "not checked: no NVIDIA GPU\n  01-good: the GPU adds\n" in out
    assert out.rstrip().endswith("report.html")


EVENTS = [
    Event("started", "a", cells=2),
    Event("cell", "a", 1, 2),
    Event("finished", "b", result=NotebookResult("b", Path("b"), "failed", reason="no")),
    Event("finished", "a", result=NotebookResult("a", Path("a"), "passed", 1.5)),
]


@pytest.mark.usefixtures("fresh_consoles")
@pytest.mark.parametrize("terminal", [False, True])
def test_progress_ends_with_a_line_for_each_notebook_on_standard_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    monkeypatch.setenv("FORCE_COLOR" if terminal else "NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    assert console.err().is_terminal == terminal
    with report.progress(2) as on_event:
        for event in EVENTS:
            on_event(event)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "a: passed in 1.5 s" in shown.err
    assert "b: failed: no" in shown.err
    assert ("a: running" in shown.err) != terminal
