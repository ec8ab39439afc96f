"""The report says what happened, to people and to machines, and nothing in it can run."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from d2lenv.base import console
from d2lenv.base.errors import D2lEnvError
from d2lenv.smoke import report
from d2lenv.smoke import run as smoke
from d2lenv.smoke.run import Check, Event, Fingerprint, Measurement, NotebookResult, SmokeRun

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>"
SVG = "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"


def run_of(*notebooks: NotebookResult) -> SmokeRun:
    return SmokeRun(
        interpreter=smoke.PrefixPython(
            Path("bin/python"),
            Path("prefix"),
            "3.10.13",
            "Linux-6",
            packages={"python": "3.10.13", "torch": "2.0.1"},
        ),
        started=datetime(2026, 11, 22, 6, 0, tzinfo=timezone.utc),
        seconds=12.5,
        jobs=2,
        threads=1,
        require_gpu=False,
        notebooks=notebooks,
    )


PASSED = NotebookResult(
    "01-good",
    Path("01-good.ipynb"),
    "passed",
    seconds=3.25,
    device="cpu",
    checks=(Check("adds", "passed", "2"), Check("the GPU adds", "not-checked", "no NVIDIA GPU", "gpu")),
    fingerprints=(Fingerprint("sum", (4.5, 0.1), 1e-6),),
    measurements=(Measurement("product", 14.2, "ms"),),
)
WRONG = NotebookResult(
    "02-wrong",
    Path("02.ipynb"),
    "failed",
    cause="check",
    reason="adds (3)",
    checks=(Check("adds", "failed", "3"),),
)
RAISED = NotebookResult(
    "03-raised",
    Path("03.ipynb"),
    "failed",
    cause="error",
    reason="ValueError: no",
    place="cell 2: x",
    traceback="Traceback: \x1b[31mno\x1b[0m\x00",
)
DEAD = NotebookResult(
    "04-dead",
    Path("04.ipynb"),
    "failed",
    cause="dead-kernel",
    reason="the kernel died",
    kernel_log="Segfault",
)
UNFIT = NotebookResult(
    "05-unfit", Path("05.ipynb"), "not-applicable", cause="needs", reason="needs d2l>=1.0, here 0.17.6"
)
STOPPED = NotebookResult("06-stopped", Path("06.ipynb"), "stopped", cause="stopped", reason="not started")


class Page(HTMLParser):
    """Tags, addresses and visible text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def executed(path: Path, *outputs: Any) -> Path:
    path.write_text(
        nbformat.writes(new_notebook(cells=[new_code_cell("1", outputs=list(outputs))])), encoding="utf-8"
    )
    return path


# ------------------------------------------------------------------------------------------------ page


def test_the_page_shows_verdict_checks_versions_and_what_was_not_checked() -> None:
    page = Page(report.page(run_of(PASSED, UNFIT), "cuda"))
    for words in (
        "Works, as far as this machine can tell",
        "01-good",
        "the GPU adds",
        "no NVIDIA GPU",
        "2.0.1",
        "4.5 0.1",
        "± 1e-06",
        "14.2 ms",
        "needs d2l>=1.0, here 0.17.6",
    ):
        assert words in page.text, words


@pytest.mark.parametrize(
    ("notebooks", "verdict"),
    [
        ((NotebookResult("n", Path("n"), "passed"),), "Everything works"),
        ((PASSED, WRONG, DEAD), "2 of 3 notebooks failed"),
        ((UNFIT,), "No notebook is for this environment"),
        ((WRONG, STOPPED), "Stopped before the end"),
    ],
)
def test_the_verdict_is_the_worst_that_happened(notebooks: tuple[NotebookResult, ...], verdict: str) -> None:
    assert verdict in Page(report.page(run_of(*notebooks), "cuda")).text


def test_the_page_is_in_both_languages_and_opens_in_the_reader_s(monkeypatch: pytest.MonkeyPatch) -> None:
    for language in ("en", "zh"):
        monkeypatch.setenv("D2LENV_LANG", language)
        text = report.page(run_of(PASSED), "cuda")
        assert '<span lang="en">Versions</span><span lang="zh">版本</span>' in text
        assert f'id="{language}" checked>' in text
        assert text.count(" checked>") == 1


def test_hostile_words_are_shown_as_words() -> None:
    bad = NotebookResult(
        HOSTILE, Path("n.ipynb"), "failed", 1.0, HOSTILE, "error", HOSTILE, HOSTILE, HOSTILE, HOSTILE,
        checks=(Check(HOSTILE, "failed", HOSTILE), Check(HOSTILE, "not-checked", HOSTILE)),
        fingerprints=(Fingerprint(HOSTILE, (1.0,), 1.0),), measurements=(Measurement(HOSTILE, 1.0, HOSTILE),),
    )  # fmt: skip
    page = Page(report.page(run_of(bad), HOSTILE))
    assert not {"script", "img"} & set(page.tags)
    assert "onerror" not in page.attributes
    assert page.text.count(HOSTILE) >= 10


def test_hostile_outputs_are_shown_as_words_and_inert_images(tmp_path: Path) -> None:
    path = executed(
        tmp_path / "n.ipynb",
        new_output("stream", name="stdout", text=HOSTILE),
        new_output("stream", name="stderr", text=HOSTILE),
        new_output("display_data", data={"text/html": HOSTILE, "text/plain": HOSTILE}),
        new_output("display_data", data={"image/svg+xml": SVG, "text/plain": ""}),
        new_output("display_data", data={"image/png": '"><script>alert(1)</script>', "text/plain": ""}),
        new_output("display_data", data={"application/javascript": "alert(1)", "text/plain": "js"}),
    )
    page = Page(report.page(run_of(NotebookResult("n", Path("n.ipynb"), "passed", executed=path)), "cuda"))
    assert "script" not in page.tags
    images = [address for address in page.addresses if address.startswith("data:")]
    assert [image.partition(",")[0] for image in images] == [
        "data:image/svg+xml;base64",
        "data:image/png;base64",
    ]
    assert "<" not in images[1]
    assert page.text.count(HOSTILE) == 3


def test_the_page_asks_the_network_for_nothing(tmp_path: Path) -> None:
    path = executed(
        tmp_path / "n.ipynb", new_output("display_data", data={"image/jpeg": "AAAA", "text/plain": ""})
    )
    text = report.page(run_of(NotebookResult("n", Path("n.ipynb"), "passed", executed=path)), "cuda")
    page = Page(text)
    assert all(address.startswith(("data:", "#", "notebooks/")) for address in page.addresses)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert "default-src 'none'" in text
    assert "url(" not in text


def test_traceback_stderr_and_kernel_log_are_on_the_page_without_colour_codes(tmp_path: Path) -> None:
    path = executed(tmp_path / "n.ipynb", new_output("stream", name="stderr", text="\x1b[31mwarned\x1b[0m"))
    failed = NotebookResult(
        "n",
        path,
        "failed",
        cause="error",
        reason="r",
        traceback="Traceback x",
        kernel_log="log y",
        executed=path,
    )
    page = Page(report.page(run_of(failed), "cuda"))
    for words in ("Traceback x", "log y", "warned"):
        assert words in page.text
    assert "\x1b" not in page.text


def test_endless_output_is_shortened_and_says_so(tmp_path: Path) -> None:
    path = executed(tmp_path / "n.ipynb", new_output("stream", name="stdout", text="x" * 30_000))
    printed = report.outputs(path).printed
    assert len(printed) < 21_000
    assert printed.endswith("… 10000 more characters in the notebook")


# ----------------------------------------------------------------------------------------------- JUnit


def test_junit_counts_cells_and_checks() -> None:
    root = ElementTree.fromstring(report.junit(run_of(PASSED, WRONG, RAISED, DEAD, UNFIT), "cuda"))
    # one case each for "every cell runs", two checks of PASSED, one of WRONG
    assert {name: root.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "8", "failures": "2", "errors": "1", "skipped": "2",
    }  # fmt: skip
    good = root.find("testsuite[@name='cuda.01-good']")
    assert good is not None
    assert (good.get("time"), good.get("tests"), good.get("skipped")) == ("3.250", "3", "1")
    versions = {entry.get("name"): entry.get("value") for entry in good.iter("property")}
    assert versions == {"python": "3.10.13", "torch": "2.0.1", "device": "cpu"}


def test_junit_keeps_reason_and_traceback_and_is_valid_xml_whatever_they_hold() -> None:
    root = ElementTree.fromstring(report.junit(run_of(RAISED, DEAD), "cuda"))
    failure = root.find(".//testcase/failure")
    assert failure is not None
    assert (failure.get("message"), failure.get("type")) == ("ValueError: no", "error")
    assert failure.text == "cell 2: x\nTraceback: no\N{REPLACEMENT CHARACTER}"
    error = root.find(".//testcase/error")
    assert error is not None
    assert (error.get("type"), error.text) == ("dead-kernel", "Segfault")


# ---------------------------------------------------------------------------------------------- files


def test_the_three_files_are_written(tmp_path: Path) -> None:
    page = report.write(run_of(PASSED), "cuda", tmp_path / "reports" / "cuda")
    assert page.name == "report.html"
    data = json.loads((page.parent / "result.json").read_text(encoding="utf-8"))
    assert (data["environment"], data["ok"], data["seconds"]) == ("cuda", True, 12.5)
    assert data["notebooks"][0]["fingerprints"] == [{"name": "sum", "value": [4.5, 0.1], "rel_tol": 1e-6}]
    ElementTree.parse(page.parent / "junit.xml")


def test_a_report_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("a file", encoding="utf-8")
    with pytest.raises(D2lEnvError, match="cannot be written"):
        report.write(run_of(PASSED), "cuda", tmp_path / "reports" / "cuda")


# ------------------------------------------------------------------------------------------- terminal


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
