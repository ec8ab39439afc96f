"""A run as JUnit XML, which every CI system reads."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from d2lenv.smoke.results import MAIN_PACKAGES, NotebookResult, SmokeRun, plain

# Characters that XML 1.0 cannot carry, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(run: SmokeRun, environment: str) -> bytes:
    """Return a suite for each notebook: a case for "every cell runs", and one for each of its checks."""
    root = ElementTree.Element("testsuites", name=f"d2lenv smoke {environment}", time=f"{run.seconds:.3f}")
    totals = dict.fromkeys(("tests", "failures", "errors", "skipped"), 0)
    suites = [_whole(run, environment), *(_suite(notebook, environment, run) for notebook in run.notebooks)]
    for suite in suites:
        root.append(suite)
        for name, value in _tally(suite).items():
            suite.set(name, str(value))
            totals[name] += value
    for name, value in totals.items():
        root.set(name, str(value))
    ElementTree.indent(root)
    body: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return body + b"\n"


def _whole(run: SmokeRun, environment: str) -> ElementTree.Element:
    """Return a suite that is skipped, not passed, where notebooks were left out or stopped."""
    suite = element("testsuite", name=environment, time="0")
    case = element("testcase", classname=environment, name="every notebook ran")
    suite.append(case)
    if run.partial:
        case.append(element("skipped", message=f"partial: {run.ended} of {run.total} notebooks"))
    return suite


def _suite(notebook: NotebookResult, environment: str, run: SmokeRun) -> ElementTree.Element:
    name = f"{environment}.{notebook.name}"
    timestamp = run.started.isoformat(timespec="seconds")
    suite = element("testsuite", name=name, time=f"{notebook.seconds:.3f}", timestamp=timestamp)
    properties = ElementTree.SubElement(suite, "properties")
    for package in MAIN_PACKAGES:
        if package in run.interpreter.packages:
            properties.append(element("property", name=package, value=run.interpreter.packages[package]))
    properties.append(element("property", name="device", value=notebook.device))

    case = element("testcase", classname=name, name="every cell runs", time=f"{notebook.seconds:.3f}")
    suite.append(case)
    detail = "\n".join(filter(None, (notebook.place, notebook.traceback, notebook.kernel_log)))
    if notebook.status in ("not-checked", "not-applicable", "stopped"):
        case.append(element("skipped", message=notebook.reason))
    elif notebook.status == "failed" and notebook.cause != "check":
        kind = "failure" if notebook.cause == "error" else "error"
        case.append(element(kind, detail, message=notebook.reason, type=notebook.cause))
    for check in notebook.checks:
        case = element("testcase", classname=name, name=check.name)
        suite.append(case)
        if check.status == "failed":
            case.append(element("failure", message=check.detail or check.name, type="check"))
        elif check.status == "not-checked":
            case.append(element("skipped", message=check.detail))
    return suite


def element(tag: str, text: str = "", /, **attributes: str) -> ElementTree.Element:
    """Return an element whose text and attributes XML can carry."""
    element = ElementTree.Element(tag, {name: _xml(value) for name, value in attributes.items()})
    element.text = _xml(text) or None
    return element


def _xml(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", plain(text))


def _tally(suite: ElementTree.Element) -> dict[str, int]:
    return {
        "tests": len(suite.findall("testcase")),
        "failures": len(suite.findall("testcase/failure")),
        "errors": len(suite.findall("testcase/error")),
        "skipped": len(suite.findall("testcase/skipped")),
    }
