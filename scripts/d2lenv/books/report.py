"""A run of a book for programs: one document, JUnit XML, and the page beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from xml.etree import ElementTree

from d2lenv import __version__
from d2lenv.base import console
from d2lenv.base.files import write_atomic
from d2lenv.books import page
from d2lenv.books.classes import FAILURES
from d2lenv.books.front import BookRun
from d2lenv.books.show import JUNIT, PAGE, RESULT, chapters, counts, reason
from d2lenv.books.store import Known
from d2lenv.smoke.junit import element


def write(run: BookRun, folder: Path) -> None:
    """Write the document, JUnit XML and the page into the folder that has the results already.

    Raises:
        D2lEnvError: if it cannot be written.
    """
    import json

    write_atomic(folder / RESULT, json.dumps(as_dict(run), indent=2, ensure_ascii=False) + "\n")
    write_atomic(folder / JUNIT, junit(run))
    write_atomic(folder / PAGE, page.page(run))


def as_dict(run: BookRun) -> dict[str, object]:
    """Return the whole run for machines."""
    data: Mapping[str, object] = {
        "book": run.subject.book,
        "folder": str(run.subject.folder),
        "environment": run.subject.environment,
        "fingerprint": run.subject.fingerprint,
        "d2lenv": __version__,
        "machine": run.interpreter.platform,
        "cores": run.cores,
        "gpus": run.subject.gpus,
        "device_fallbacks": run.subject.devices is not None,
        "started": run.started.isoformat(timespec="seconds"),
        "seconds": round(run.seconds, 1),
        "jobs": run.jobs,
        "limits": {name: value for name, value in asdict(run.limits).items() if value is not None},
        "extras": run.subject.extra_packages.split(),
        "packages": dict(run.interpreter.packages),
        "total": run.total,
        "code": run.code,
        "ended": run.ended,
        "complete": run.complete,
        "interrupted": run.interrupted,
        "ran": sorted(run.ran),
        "classes": counts(run.results),
        "notebooks": [{**asdict(known), "reason": reason(known.classed)} for known in run.results],
    }
    return console.document("books run", not run.failed and run.complete, data)


def junit(run: BookRun) -> bytes:
    """Return a suite for each chapter and a case for each notebook; what is not ours to mend is skipped."""
    name = f"{run.subject.book or run.subject.folder.name} {run.subject.environment}"
    root = element("testsuites", name=f"d2lenv books {name}", time=f"{run.seconds:.3f}")
    whole = element("testsuite", name="book", tests="1", skipped=str(int(not run.complete)))
    case = element("testcase", classname=name, name="every notebook ran")
    if not run.complete:
        case.append(element("skipped", message=f"{run.ended} of {run.code} notebooks"))
    whole.append(case)
    root.append(whole)
    for chapter, results in chapters(run.results).items():
        failures = sum(known.kind in FAILURES for known in results)
        skipped = sum(known.kind not in FAILURES and known.kind != "passed" for known in results)
        suite = element(
            "testsuite",
            name=chapter or ".",
            tests=str(len(results)),
            failures=str(failures),
            skipped=str(skipped),
            time=f"{sum(known.seconds for known in results):.3f}",
        )
        suite.extend(_case(name, known) for known in results)
        root.append(suite)
    ElementTree.indent(root)
    body: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return body + b"\n"


def _case(name: str, known: Known) -> ElementTree.Element:
    case = element(
        "testcase", classname=f"{name}.{known.chapter}", name=known.notebook, time=f"{known.seconds:.3f}"
    )
    said = f"{known.kind}: {reason(known.classed)}"
    if known.kind in FAILURES:
        case.append(element("failure", f"{known.place}\n{known.traceback}", message=said, type=known.kind))
    elif known.kind != "passed":
        case.append(element("skipped", message=said))
    return case
