"""Show the results of a smoke run in the terminal and write its report."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from d2lenv import __version__
from d2lenv.base import console
from d2lenv.base.errors import USAGE, D2lEnvError
from d2lenv.base.files import is_writable, write_atomic
from d2lenv.base.messages import printable, tr
from d2lenv.smoke.junit import junit
from d2lenv.smoke.page import EXECUTED, page
from d2lenv.smoke.results import Event, NotebookResult, SmokeRun, not_checked, plain
from d2lenv.workspace.pins import Difference

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

PAGE, JUNIT, RESULT = "report.html", "junit.xml", "result.json"


def choose_folder(
    asked: Path | None, root: Callable[[], Path], name: str, say: Callable[[str], None]
) -> Path:
    """Return the folder of the report: the one asked for, ``reports/NAME``, or else the user's own.

    A checkout that an administrator shares cannot be written by those who use it.

    Raises:
        D2lEnvError: if the folder asked for cannot be written, or no folder can be called ``name``.
    """
    if asked is not None:
        if is_writable(asked):
            return asked
        raise D2lEnvError(
            tr("the report cannot be written to {folder}", folder=asked),
            fix=tr("choose another folder for the report"),
        )
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise D2lEnvError(tr("`{name}` cannot be the name of an environment", name=name), status=USAGE)
    top = root().resolve()
    reports = top / "reports"
    if not is_writable(reports):
        digest = hashlib.sha256(os.fsencode(top)).hexdigest()[:8]
        reports = platformdirs.user_state_path("d2lenv") / "reports" / f"{top.name}-{digest}"
        say(tr("{folder} cannot be written: the report goes to {own}", folder=top, own=reports))
    return reports / name


def beside_the_full_one(folder: Path, run: SmokeRun) -> Path:
    """Return the folder for a run, another one if it is partial: the last full report stays."""
    return folder.with_name(f"{folder.name}-partial") if run.partial else folder


def refuse_overwriting(folder: Path, notebooks: Sequence[Path]) -> None:
    """Refuse a folder for the report where the executed notebooks would replace those that are run.

    Raises:
        D2lEnvError: if they would.
    """
    if any(path.parent.resolve() == (folder / EXECUTED).resolve() for path in notebooks):
        raise D2lEnvError(
            tr("the executed notebooks would overwrite those in {folder}", folder=folder / EXECUTED),
            fix=tr("choose another folder for the report"),
            status=USAGE,
        )


def write(run: SmokeRun, environment: str, folder: Path, differences: Sequence[Difference] = ()) -> SmokeRun:
    """Write ``result.json``, ``junit.xml``, the page and the executed notebooks into ``folder``.

    Args:
        differences: where the prefix, built from wheels, has other versions than pixi.lock.

    Returns:
        the run with the executed notebooks where they are now.

    Raises:
        D2lEnvError: if the folder is not writable or the disk is full.
    """
    run = replace(run, notebooks=tuple(_kept(notebook, folder / EXECUTED) for notebook in run.notebooks))
    result = json.dumps(as_dict(run, environment, differences), indent=2, ensure_ascii=False)
    write_atomic(folder / RESULT, result + "\n")
    write_atomic(folder / JUNIT, junit(run, environment))
    write_atomic(folder / PAGE, page(run, environment, differences))
    return run


def _kept(notebook: NotebookResult, folder: Path) -> NotebookResult:
    if notebook.executed is None:
        return notebook
    target = folder / notebook.executed.name
    write_atomic(target, notebook.executed.read_bytes())
    return replace(notebook, executed=target)


def as_dict(run: SmokeRun, environment: str, differences: Sequence[Difference] = ()) -> dict[str, object]:
    """The whole run for machines."""
    data = {
        "environment": environment,
        "d2lenv": __version__,
        "differences": [asdict(row) for row in differences],
        **run.as_dict(),
    }
    return console.document("smoke", not run.failed, data)


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


def show_document(run: SmokeRun, environment: str, differences: Sequence[Difference]) -> None:
    """Print the run for machines."""
    console.print_document(as_dict(run, environment, differences))


def show(run: SmokeRun, folder: Path) -> None:
    """Print the table, the failures, the checks that were not made and why, and the page's place."""
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
    for notebook in run.notebooks:
        if notebook.status != "passed":
            for line in filter(None, (_outcome(notebook), notebook.place)):
                console.say(plain(line))
    for reason, names in not_checked(run).items():
        console.say(tr("not checked: {reason}", reason=reason))
        for name in names:
            console.say(f"  {name}")
    if run.device_fallbacks:
        console.say(tr("d2l's GPU functions used the devices that are there (--devices any)"))
    if run.partial:
        console.say(tr("only {ended} of {total} notebooks: a partial run", ended=run.ended, total=run.total))
    console.say(tr("report: {path}", path=folder / PAGE))


def _counts(notebook: NotebookResult) -> str:
    counts = {
        status: sum(check.status == status for check in notebook.checks)
        for status in ("passed", "failed", "not-checked")
    }
    return ", ".join(f"{count} {word(status)}" for status, count in counts.items() if count)


@contextmanager
def progress(count: int) -> Iterator[Callable[[Event], None]]:
    """Show a run's events on standard error while the body runs: a live list on a terminal, else lines."""
    if not console.err().is_terminal:
        yield _line
        return
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    name = TextColumn("{task.description}", markup=False)
    columns = (SpinnerColumn(), name, BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console.err(), transient=True) as bars:
        total = bars.add_task(tr("notebooks"), total=count)

        def on_end(event: Event) -> None:
            bars.advance(total)
            _line(event)

        yield a_bar_each(bars, on_end)


def a_bar_each(bars: Progress, on_end: Callable[[Event], None]) -> Callable[[Event], None]:
    """Return a receiver of events that shows a bar for each notebook while it runs."""
    tasks: dict[str, TaskID] = {}

    def on_event(event: Event) -> None:
        if event.kind == "started":
            tasks[event.name] = bars.add_task(printable(event.name), total=event.cells)
        elif event.kind == "cell" and event.name in tasks:
            bars.update(tasks[event.name], completed=event.cell - 1)
        elif event.kind == "finished":
            if event.name in tasks:
                bars.remove_task(tasks.pop(event.name))
            on_end(event)

    return on_event


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
