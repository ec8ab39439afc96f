"""Show data sets, downloads and what a check found, to people and to machines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from d2lenv.base import console
from d2lenv.base.messages import tr, trn
from d2lenv.data.get import Got, Progress
from d2lenv.data.store import Checked, State
from d2lenv.data.table import DataFile, DataSet, Table

_MB = 10**6
_SLOW = 20 * _MB // 8
"""Bytes a second of a line of 20 Mbit/s."""


def megabytes(count: int | None) -> str:
    """Return a size for people."""
    if count is None:
        return tr("unknown")
    return tr("{count} MB", count=f"{count / _MB:.1f}" if count < 10 * _MB else f"{count / _MB:.0f}")


def state_of(dataset: DataSet, states: Mapping[DataFile, State]) -> State:
    """Return the worst state of a data set's files."""
    found = {states[file] for file in dataset.files}
    if "damaged" in found:
        return "damaged"
    return "missing" if "missing" in found else "present"


def state_text(state: State) -> str:
    """Return a state in the reader's language."""
    return {"present": tr("there"), "missing": tr("missing"), "damaged": tr("damaged")}[state]


def listed(table: Table, sets: Sequence[DataSet], states: Mapping[DataFile, State], folder: Path) -> None:
    """Print a line for each data set."""
    rows = []
    for dataset in sets:
        needs = table.notebooks(dataset)
        books = Counter(need.book for need in needs)
        rows.append(
            (
                dataset.name,
                megabytes(dataset.about),
                ", ".join(f"{book} {count}" for book, count in books.items()) or tr("none"),
                ", ".join(dict.fromkeys(need.chapter.removeprefix("chapter_") for need in needs)),
                state_text(state_of(dataset, states)),
            )
        )
    headers = (tr("data set"), tr("size"), tr("needed by"), tr("chapters"), tr("here"))
    console.print_table(headers, rows, title=tr("data in {folder}", folder=folder))
    console.say(
        tr("{plan}; `d2lenv data get NAME` fetches one, `--only CHAPTER` a chapter's", plan=_amount(sets))
    )


def _amount(sets: Sequence[DataSet]) -> str:
    return _sizes([file for dataset in sets for file in dataset.files])


def _sizes(files: Sequence[DataFile]) -> str:
    known = sum(file.about or 0 for file in files)
    unknown = sum(file.about is None for file in files)
    text = trn("{count} file, {size}", "{count} files, {size}", count=len(files), size=megabytes(known))
    return text + (" " + tr("and {count} of unknown size", count=unknown) if unknown else "")


def planned(files: Sequence[DataFile], folder: Path) -> None:
    """Say how much will come, about how long that takes, and where it will lie."""
    if not files:
        return
    minutes = sum(file.about or 0 for file in files) / _SLOW / 60
    console.note(
        tr(
            "fetching {amount}, to {folder}; at 20 Mbit/s about {minutes} min for what is known",
            amount=_sizes(files),
            folder=folder,
            minutes=f"{minutes:.1f}" if minutes < 10 else f"{minutes:.0f}",
        )
    )


@contextmanager
def progress() -> Iterator[Callable[[Progress], None]]:
    """Show downloads on standard error: bars on a terminal, else a line for each file that ends."""
    lines = _lines()
    if not console.err().is_terminal:
        yield lines
        return
    from rich import progress as bars

    columns = (
        bars.TextColumn("{task.description}", markup=False),
        bars.BarColumn(),
        bars.DownloadColumn(),
        bars.TransferSpeedColumn(),
        bars.TimeRemainingColumn(),
    )
    with bars.Progress(*columns, console=console.err(), transient=True) as shown:
        tasks: dict[DataFile, bars.TaskID] = {}
        begun = count(1)

        def on_progress(event: Progress) -> None:
            if event.kind == "begun":
                text = f"{next(begun)}/{event.of} {event.file.path}"
                tasks[event.file] = shown.add_task(text, total=event.size)
            elif event.kind == "bytes" and event.file in tasks:
                shown.update(tasks[event.file], completed=event.count, total=event.size)
            elif event.file in tasks:
                shown.remove_task(tasks.pop(event.file))
                lines(event)

        yield on_progress


def _lines() -> Callable[[Progress], None]:
    """Return a listener that prints a line for each file that ends; those come from one thread."""
    ended = count(1)

    def on_progress(event: Progress) -> None:
        if event.kind not in ("done", "failed"):
            return
        failed = tr("failed: {reason}", reason=event.reason)
        text = megabytes(event.count) if event.kind == "done" else failed
        console.note(f"{next(ended)}/{event.of} {event.file.path}: {text}")

    return on_progress


@contextmanager
def reading(files: Sequence[DataFile]) -> Iterator[Callable[[DataFile, State], None]]:
    """Show on a terminal how many files were read."""
    if not console.err().is_terminal:
        yield lambda file, state: None
        return
    from rich import progress as bars

    columns = (
        bars.TextColumn("{task.description}", markup=False),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
    )
    with bars.Progress(*columns, console=console.err(), transient=True) as shown:
        task = shown.add_task(tr("reading"), total=len(files))
        yield lambda file, state: shown.update(task, advance=1, description=file.path)


def serving(folder: Path, count: int, urls: Sequence[str]) -> None:
    """Print where others get the data."""
    console.say(
        trn(
            "serving {count} file of {folder}",
            "serving {count} files of {folder}",
            count=count,
            folder=folder,
        )
    )
    for url in urls:
        console.say(tr("listening on {url}; there: d2lenv data get --from {url}", url=url))


def got(done: Got, folder: Path) -> None:
    """Print what is there now."""
    for file, reason in done.failed.items():
        console.say(tr("not here: {path}: {reason}", path=file.path, reason=reason))
    console.say(
        tr(
            "{folder}: {before} files were there, {fetched} came, {failed} failed",
            folder=folder,
            before=len(done.before),
            fetched=len(done.fetched),
            failed=len(done.failed),
        )
    )


def checked(found: Checked, folder: Path) -> None:
    """Print what a look at every file found."""
    for file in found.of("damaged"):
        console.say(tr("damaged: {path}; `d2lenv data get` fetches it again", path=file.path))
    for file in found.of("missing"):
        console.say(tr("missing: {path}", path=file.path))
    for path in found.unknown:
        console.say(tr("unknown, left alone: {path}", path=path))
    for path in found.unfinished:
        console.say(tr("unfinished, goes on with the next `d2lenv data get`: {path}", path=path))
    console.say(
        tr(
            "{folder}: {present} files are right, {damaged} damaged, {missing} missing, {unknown} unknown",
            folder=folder,
            present=len(found.of("present")),
            damaged=len(found.of("damaged")),
            missing=len(found.of("missing")),
            unknown=len(found.unknown),
        )
    )


def list_document(
    table: Table, sets: Sequence[DataSet], states: Mapping[DataFile, State], folder: Path
) -> dict[str, object]:
    """Return the contents of ``data list --json``."""
    return {
        "folder": str(folder),
        "sets": [
            {
                "name": dataset.name,
                "state": state_of(dataset, states),
                "sources": dataset.sources,
                "files": [_file_document(file) | {"state": states[file]} for file in dataset.files],
                "notebooks": [
                    {"book": need.book, "notebook": need.notebook, "root": need.root}
                    for need in table.notebooks(dataset)
                ],
            }
            for dataset in sets
        ],
    }


def _file_document(file: DataFile) -> dict[str, object]:
    return {
        "path": file.path,
        "algorithm": file.algorithm,
        "digest": file.digest,
        "size": file.size,
        "about": file.about,
        "urls": file.urls,
    }


def get_document(done: Got, folder: Path) -> dict[str, object]:
    """Return the contents of ``data get --json``."""
    return {
        "folder": str(folder),
        "before": [file.path for file in done.before],
        "fetched": [file.path for file in done.fetched],
        "failed": [{"path": file.path, "reason": reason} for file, reason in done.failed.items()],
    }


def check_document(found: Checked, folder: Path) -> dict[str, object]:
    """Return the contents of ``data check --json``."""
    states: tuple[State, ...] = ("present", "damaged", "missing")
    return {
        "folder": str(folder),
        **{str(state): [file.path for file in found.of(state)] for state in states},
        "unknown": found.unknown,
        "unfinished": found.unfinished,
    }
