"""A run of a book in the terminal: how far it is, and what came of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from d2lenv.base import console
from d2lenv.base.messages import tr, translated, trn
from d2lenv.books.classes import CLASSES, EXPLANATIONS, NAMES, Classed
from d2lenv.books.front import BookRun
from d2lenv.books.store import Known
from d2lenv.smoke.report import a_bar_each
from d2lenv.smoke.results import Event, plain

PAGE, JUNIT, RESULT = "report.html", "junit.xml", "result.json"


def reason(classed: Classed) -> str:
    """Return a class's reason in the reader's language."""
    return plain(translated(classed.reason).format(**classed.values)) if classed.reason else ""


class _Pace:
    """How many notebooks have ended, of how many, and what that says about the rest."""

    def __init__(self, count: int) -> None:
        self.count, self.ended, self.begun = count, 0, time.monotonic()

    def line(self) -> str:
        """Return ``37/130``, and the time left once there is something to judge by."""
        done = f"{self.ended}/{self.count}"
        left = (time.monotonic() - self.begun) / max(1, self.ended) * (self.count - self.ended)
        if self.ended < 3 or self.ended == self.count:
            return done
        if left < 60:
            return tr("{done}, less than a minute left", done=done)
        minutes = trn("about {count} minute left", "about {count} minutes left", count=round(left / 60))
        return f"{done}, {minutes}"


@contextmanager
def progress(count: int) -> Iterator[Callable[[Event], None]]:
    """Show a run's events on standard error while the body runs: a live list on a terminal, else lines."""
    pace = _Pace(count)
    if not console.err().is_terminal:

        def on_line(event: Event) -> None:
            if event.kind == "finished":
                pace.ended += 1
                _line(event, pace)

        yield on_line
        return
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    # A name is not cut: two notebooks of a chapter often differ at the end only.
    name = TextColumn("{task.description}", markup=False)
    columns = (SpinnerColumn(), BarColumn(bar_width=12), TimeElapsedColumn(), name)
    with Progress(*columns, console=console.err(), transient=True) as bars:
        whole = bars.add_task(pace.line(), total=count)

        def on_end(event: Event) -> None:
            pace.ended += 1
            bars.update(whole, completed=pace.ended, description=pace.line())
            _line(event, pace)

        yield a_bar_each(bars, on_end)


def _line(event: Event, pace: _Pace) -> None:
    result = event.result
    if result is None or result.status == "stopped":
        return
    seconds, why = f"{result.seconds:.1f}", plain(result.reason)
    line = f"[{pace.line()}] {event.name}: "
    if result.status == "passed":
        console.note(line + tr("passed in {seconds} s", seconds=seconds))
    else:
        console.note(line + tr("ended after {seconds} s: {reason}", seconds=seconds, reason=why))


def chapters(results: Sequence[Known]) -> Mapping[str, list[Known]]:
    """Return the results by chapter, in the order of the book."""
    found: dict[str, list[Known]] = {}
    for known in results:
        found.setdefault(known.chapter, []).append(known)
    return found


def counts(results: Sequence[Known]) -> dict[str, int]:
    """Return how many results are of each class, without those that have none."""
    found = Counter(known.kind for known in results)
    return {kind: found[kind] for kind in CLASSES if found[kind]}


def counted(results: Sequence[Known]) -> str:
    """Return ``12 passed, 3 slow`` in the reader's language."""
    return ", ".join(f"{count} {translated(NAMES[kind])}" for kind, count in counts(results).items())  # type: ignore[index]


def show(run: BookRun, folder: Path) -> None:
    """Print the chapters, what did not pass and why, the classes' meaning, and how many of how many ran."""
    for name, results in chapters(run.results).items():
        seconds = sum(known.cpu_s for known in results)
        console.say(f"{name or '.'}: {counted(results)}" + (f" ({seconds:.0f} s CPU)" if seconds else ""))
    for kind in CLASSES[1:]:
        found = [known for known in run.results if known.kind == kind]
        if not found or kind == "not-applicable":
            continue
        console.say(f"{translated(NAMES[kind])}: {translated(EXPLANATIONS[kind])}")
        for known in found:
            console.say(f"  {known.notebook.removesuffix('.ipynb')}: {reason(known.classed)}")
            if kind in ("environment", "surprise") and known.place:
                console.say(f"    {plain(known.place)}")
    console.say(verdict(run))
    console.say(tr("report: {path}", path=folder / PAGE))


def verdict(run: BookRun) -> str:
    """Return how many of how many ran, and of which classes they are."""
    ran = [known for known in run.results if known.kind not in ("not-applicable", "stopped")]
    line = tr(
        "{ended} of {code} notebooks with code have run: {counts}",
        ended=run.ended,
        code=run.code,
        counts=counted(ran) or "-",
    )
    return line if run.complete else tr("{line}; the rest has not run", line=line)
