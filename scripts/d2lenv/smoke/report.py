"""What a smoke run found: a table in the terminal, JUnit XML for CI systems, one HTML page for people.

The page is self-contained (no script, no address, figures inside), in English and Chinese at once. All
that comes from a notebook is shown as text or as an inert image, whatever it says it is.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jinja2
import nbformat
from markupsafe import Markup

from d2lenv import __version__
from d2lenv.base import console
from d2lenv.base.files import write_atomic
from d2lenv.base.messages import both, language, tr
from d2lenv.smoke.run import Event, NotebookResult, SmokeRun, plain
from d2lenv.solve.wheels import Difference

PAGE, JUNIT, RESULT, EXECUTED = "report.html", "junit.xml", "result.json", "notebooks"

_MAIN_PACKAGES = (
    "python", "torch", "torchvision", "torchaudio", "d2l", "numpy", "pandas", "matplotlib", "scipy",
    "jupyterlab", "ipykernel",
)  # fmt: skip
_PRINTED_CHARACTERS = 20_000
# Characters that XML 1.0 cannot carry, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write(run: SmokeRun, environment: str, folder: Path, differences: Sequence[Difference] = ()) -> Path:
    """Write ``result.json``, ``junit.xml`` and the page into ``folder``; the page's path.

    Args:
        differences: where the prefix, built from wheels, has other versions than pixi.lock.

    Raises:
        D2lEnvError: the folder is not writable or the disk is full.
    """
    result = json.dumps(as_dict(run, environment, differences), indent=2, ensure_ascii=False)
    write_atomic(folder / RESULT, result + "\n")
    write_atomic(folder / JUNIT, junit(run, environment))
    write_atomic(folder / PAGE, page(run, environment, differences))
    return folder / PAGE


def as_dict(run: SmokeRun, environment: str, differences: Sequence[Difference] = ()) -> dict[str, object]:
    """The whole run for machines."""
    data = {
        "environment": environment,
        "d2lenv": __version__,
        "differences": [asdict(row) for row in differences],
        **run.as_dict(),
    }
    return console.document("smoke", not run.failed, data)


# ---------------------------------------------------------------------------------------- terminal


def word(status: str) -> str:
    """A status of a notebook or a check in the reader's language."""
    words = {
        "passed": tr("passed"),
        "failed": tr("failed"),
        "not-applicable": tr("not applicable"),
        "not-checked": tr("not checked"),
        "stopped": tr("stopped"),
    }
    return words[status]


def tell(
    run: SmokeRun, environment: str, differences: Sequence[Difference], page: Path, as_json: bool
) -> None:
    """Print the run for people or, ``as_json``, for machines."""
    if as_json:
        console.print_document(as_dict(run, environment, differences))
    else:
        show(run, page)


def show(run: SmokeRun, page: Path) -> None:
    """The table, then what failed, then what was not checked and why, then where the page is."""
    console.print_table(
        (tr("notebook"), tr("result"), tr("seconds"), tr("device"), tr("checks")),
        [
            (
                notebook.name,
                word(notebook.status),
                f"{notebook.seconds:.1f}" if notebook.seconds else "",
                notebook.device,
                _counts(notebook),
            )
            for notebook in run.notebooks
        ],
    )
    out = console.out()
    for notebook in run.notebooks:
        if notebook.status != "passed":
            for line in filter(None, (_outcome(notebook), notebook.place)):
                out.print(plain(line), markup=False, soft_wrap=True)
    for reason, names in not_checked(run).items():
        out.print(tr("not checked: {reason}", reason=reason), markup=False)
        for name in names:
            out.print(f"  {name}", markup=False)
    out.print(tr("report: {path}", path=page), markup=False, soft_wrap=True)


def _counts(notebook: NotebookResult) -> str:
    counts = {
        status: sum(check.status == status for check in notebook.checks)
        for status in ("passed", "failed", "not-checked")
    }
    return ", ".join(f"{count} {word(status)}" for status, count in counts.items() if count)


def not_checked(run: SmokeRun) -> dict[str, list[str]]:
    """Reason → what was not checked for it, as "notebook: check"."""
    found: dict[str, list[str]] = {}
    for notebook in run.notebooks:
        for check in notebook.checks:
            if check.status == "not-checked":
                found.setdefault(check.detail, []).append(f"{notebook.name}: {check.name}")
    return found


@contextmanager
def progress(count: int) -> Iterator[Callable[[Event], None]]:
    """Show a run's events on standard error while the body runs: a live list on a terminal, else lines."""
    if not console.err().is_terminal:
        yield _line
        return
    from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console.err(), transient=True) as bars:
        total = bars.add_task(tr("notebooks"), total=count)
        tasks: dict[str, TaskID] = {}

        def on_event(event: Event) -> None:
            if event.kind == "started":
                tasks[event.name] = bars.add_task(event.name, total=event.cells)
            elif event.kind == "cell" and event.name in tasks:
                bars.update(tasks[event.name], completed=event.cell - 1)
            elif event.kind == "finished":
                if event.name in tasks:
                    bars.remove_task(tasks.pop(event.name))
                bars.advance(total)
                _line(event)

        yield on_event


def _line(event: Event) -> None:
    if event.result is None:
        if event.kind == "started":
            console.note(tr("{name}: running", name=event.name))
        return
    result = event.result
    if result.status == "passed":
        console.note(tr("{name}: passed in {seconds} s", name=result.name, seconds=f"{result.seconds:.1f}"))
    else:
        console.note(_outcome(result))


def _outcome(notebook: NotebookResult) -> str:
    status, reason = word(notebook.status), plain(notebook.reason)
    return tr("{name}: {status}: {reason}", name=notebook.name, status=status, reason=reason)


# ---------------------------------------------------------------------------------------- JUnit XML


def junit(run: SmokeRun, environment: str) -> bytes:
    """A suite for each notebook: a case for "every cell ran", and one for each of its checks."""
    root = ElementTree.Element("testsuites", name=f"d2lenv smoke {environment}", time=f"{run.seconds:.3f}")
    totals = dict.fromkeys(("tests", "failures", "errors", "skipped"), 0)
    for notebook in run.notebooks:
        suite = _suite(notebook, environment, run)
        root.append(suite)
        for name, value in _tally(suite).items():
            suite.set(name, str(value))
            totals[name] += value
    for name, value in totals.items():
        root.set(name, str(value))
    ElementTree.indent(root)
    body: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return body + b"\n"


def _suite(notebook: NotebookResult, environment: str, run: SmokeRun) -> ElementTree.Element:
    name = f"{environment}.{notebook.name}"
    timestamp = run.started.isoformat(timespec="seconds")
    suite = _element("testsuite", name=name, time=f"{notebook.seconds:.3f}", timestamp=timestamp)
    properties = ElementTree.SubElement(suite, "properties")
    for package in _MAIN_PACKAGES:
        if package in run.interpreter.packages:
            properties.append(_element("property", name=package, value=run.interpreter.packages[package]))
    properties.append(_element("property", name="device", value=notebook.device))

    case = _element("testcase", classname=name, name="every cell runs", time=f"{notebook.seconds:.3f}")
    suite.append(case)
    detail = "\n".join(filter(None, (notebook.place, notebook.traceback, notebook.kernel_log)))
    if notebook.status in ("not-checked", "not-applicable", "stopped"):
        case.append(_element("skipped", message=notebook.reason))
    elif notebook.status == "failed" and notebook.cause != "check":
        kind = "failure" if notebook.cause == "error" else "error"
        case.append(_element(kind, detail, message=notebook.reason, type=notebook.cause))
    for check in notebook.checks:
        case = _element("testcase", classname=name, name=check.name)
        suite.append(case)
        if check.status == "failed":
            case.append(_element("failure", message=check.detail or check.name, type="check"))
        elif check.status == "not-checked":
            case.append(_element("skipped", message=check.detail))
    return suite


def _element(tag: str, text: str = "", /, **attributes: str) -> ElementTree.Element:
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


# ---------------------------------------------------------------------------------------- the page


@dataclass(frozen=True)
class Outputs:
    """What an executed notebook shows, ready for the page."""

    figures: tuple[str, ...] = ()
    """``data:`` addresses."""
    printed: str = ""
    errors: str = ""


def page(run: SmokeRun, environment: str, differences: Sequence[Difference] = ()) -> str:
    """The run as one HTML page."""
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("d2lenv"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    templates.globals["t"] = _spans
    packages = run.interpreter.packages
    return templates.get_template("report.html.j2").render(
        run=run,
        environment=environment,
        language=language(),
        tool=__version__,
        started=f"{run.started:%Y-%m-%d %H:%M} UTC",
        counts={
            status: sum(notebook.status == status for notebook in run.notebooks)
            for status in ("passed", "failed", "not-checked", "not-applicable", "stopped")
        },
        not_checked=not_checked(run),
        versions={name: packages[name] for name in _MAIN_PACKAGES if name in packages},
        packages=packages,
        differences=differences,
        outputs={
            notebook.name: outputs(notebook.executed) if notebook.executed else Outputs()
            for notebook in run.notebooks
        },
        executed=EXECUTED,
    )


def _spans(english: str, **values: object) -> Markup:
    # Markup.format escapes the values; the texts themselves are ours.
    texts: Mapping[Any, str] = both(english)
    return Markup("").join(
        Markup('<span lang="{}">{}</span>').format(name, Markup(text).format(**values))
        for name, text in texts.items()
    )


def outputs(path: Path) -> Outputs:
    """The figures and the text of an executed notebook."""
    figures: list[str] = []
    printed: list[str] = []
    errors: list[str] = []
    for cell in nbformat.reads(path.read_text(encoding="utf-8"), as_version=4).cells:
        for output in cell.get("outputs", []):
            if output.output_type == "stream":
                (errors if output.name == "stderr" else printed).append(plain(output.text))
            elif output.output_type in ("display_data", "execute_result"):
                figure = _figure(output.data)
                if figure:
                    figures.append(figure)
                else:
                    printed.append(plain(str(output.data.get("text/plain", ""))) + "\n")
    return Outputs(tuple(figures), _shortened("".join(printed)), _shortened("".join(errors)))


def _figure(data: Mapping[str, Any]) -> str:
    """An image as a ``data:`` address; empty when the output is none. An SVG in <img> cannot run scripts."""
    if "image/svg+xml" in data:
        raw = b64encode(str(data["image/svg+xml"]).encode("utf-8", "replace")).decode("ascii")
        return f"data:image/svg+xml;base64,{raw}"
    for kind in ("image/png", "image/jpeg"):
        if kind in data:
            raw = re.sub(r"[^A-Za-z0-9+/=]", "", str(data[kind]))
            return f"data:{kind};base64,{raw}"
    return ""


def _shortened(text: str) -> str:
    if len(text) <= _PRINTED_CHARACTERS:
        return text
    left = len(text) - _PRINTED_CHARACTERS
    return text[:_PRINTED_CHARACTERS] + tr("\n… {count} more characters in the notebook", count=left)
