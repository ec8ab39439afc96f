"""A run as JUnit XML."""

from __future__ import annotations

from xml.etree import ElementTree

from d2lenv.smoke import junit
from smokekit import DEAD, PASSED, RAISED, UNFIT, WRONG, run_of


def test_junit_counts_cells_and_checks() -> None:
    root = ElementTree.fromstring(junit.junit(run_of(PASSED, WRONG, RAISED, DEAD, UNFIT), "cuda"))
    # "every notebook ran", one case each for "every cell runs", two checks of PASSED, one of WRONG
    assert {name: root.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "9", "failures": "2", "errors": "1", "skipped": "2",
    }  # fmt: skip
    good = root.find("testsuite[@name='cuda.01-good']")
    assert good is not None
    assert (good.get("time"), good.get("tests"), good.get("skipped")) == ("3.250", "3", "1")
    versions = {entry.get("name"): entry.get("value") for entry in good.iter("property")}
    assert versions == {"python": "3.10.13", "torch": "2.0.1", "device": "cpu"}


def test_junit_keeps_reason_and_traceback_and_is_valid_xml_whatever_they_hold() -> None:
    root = ElementTree.fromstring(junit.junit(run_of(RAISED, DEAD), "cuda"))
    failure = root.find(".//testcase/failure")
    assert failure is not None
    assert (failure.get("message"), failure.get("type")) == ("ValueError: no", "error")
    assert failure.text == "cell 2: x\nTraceback: no\N{REPLACEMENT CHARACTER}"
    error = root.find(".//testcase/error")
    assert error is not None
    assert (error.get("type"), error.text) == ("dead-kernel", "Segfault")
