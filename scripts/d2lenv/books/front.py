"""Run every notebook of a book in an environment, and keep what each of them gave."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from packaging.utils import canonicalize_name

from d2lenv.base.errors import USAGE, D2lEnvError
from d2lenv.base.files import write_atomic
from d2lenv.base.messages import mark, tr
from d2lenv.books import classes, store
from d2lenv.books.extras import MODULES
from d2lenv.books.figures import last_figure
from d2lenv.books.store import Key, Known, name_of
from d2lenv.data import prepare
from d2lenv.data import store as shared
from d2lenv.data.table import Need, book_in, load, needs_of
from d2lenv.learn import books
from d2lenv.smoke import machine
from d2lenv.smoke import run as smoke
from d2lenv.smoke.execution.limits import Limits
from d2lenv.smoke.interpreter import Interpreter, describe
from d2lenv.smoke.results import Event, NotebookResult

Again = Literal["", "failed", "all"]

CPU_S, WALL_S = 60.0, 900.0
"""The limits of a notebook: cells of the book that search asynchronously wait for 720 s."""
_LEAST_MEMORY = 2 * 2**30


@dataclass(frozen=True)
class Notebook:
    """A notebook of a book.

    Attributes:
        path: in the book, with ``/``.
        why_not: the marked reason for which there is nothing to run, empty if there is.
    """

    path: str
    digest: str
    code: str
    why_not: str = ""


@dataclass(frozen=True)
class Subject:
    """A book, and the environment that it is run in.

    Attributes:
        book: ``en``, ``zh``, ``dlwpt``, empty for another.
        fingerprint: of the environment.
        extra: a folder with extra packages, None without.
        extra_packages: their names and versions, one a line.
        devices: the file that gives d2l's GPU functions their fallbacks, None for the book's own.
    """

    folder: Path
    book: str
    environment: str
    python: Path
    fingerprint: str
    data: Path
    extra: Path | None = None
    extra_packages: str = ""
    gpus: int = 0
    devices: Path | None = None


@dataclass(frozen=True)
class Wish:
    """The reader's choices for a run."""

    limits: Limits
    again: Again = ""
    only: tuple[str, ...] = ()
    jobs: int | None = None
    kernels: bool = False


@dataclass(frozen=True)
class BookRun:
    """A book's results, those of before counted in.

    Attributes:
        total: notebooks that there are, and ``code`` those with something to run.
        chosen: those with something to run that were asked for.
        reached: of these, those that have a result.
        ran: the paths of those that were run now.
        results: in the order of the book, without those that have none.
    """

    subject: Subject
    interpreter: Interpreter
    started: datetime
    seconds: float
    jobs: int
    limits: Limits
    total: int
    code: int
    chosen: int
    reached: int = 0
    ran: frozenset[str] = frozenset()
    interrupted: bool = False
    results: tuple[Known, ...] = field(default=())

    @property
    def ended(self) -> int:
        """Return how many notebooks with code have a result."""
        return sum(known.kind not in ("not-applicable", "stopped") for known in self.results)

    @property
    def cores(self) -> int:
        """Return the processor cores that the run could use."""
        return machine.cores()

    @property
    def complete(self) -> bool:
        """Return whether every notebook with code has a result."""
        return self.ended == self.code

    @property
    def left(self) -> bool:
        """Return whether a notebook that was asked for has no result."""
        return self.reached < self.chosen

    @property
    def failed(self) -> bool:
        """Return whether something is ours to mend, or nothing has run."""
        return self.ended == 0 or any(known.kind in classes.FAILURES for known in self.results)


def find(folder: Path, only: Sequence[str] = ()) -> tuple[list[Notebook], list[Notebook]]:
    """Return every notebook of a book, and those that are asked for by chapter or name.

    Raises:
        D2lEnvError: if there are none, or nothing has that name.
    """
    every = [_notebook(folder, path) for path in books.find(folder)]
    chosen = [one for one in every if not only or any(_is_asked(word, one.path) for word in only)]
    if not chosen:
        raise D2lEnvError(
            tr("{folder} has no notebook or chapter `{name}`", folder=folder, name=", ".join(only)),
            status=USAGE,
        )
    return every, chosen


def _is_asked(word: str, path: str) -> bool:
    word = word.strip("/").removesuffix(".ipynb")
    chapter, _, name = path.removesuffix(".ipynb").rpartition("/")
    return word in (chapter, chapter.removeprefix("chapter_"), name, f"{chapter}/{name}", f"{chapter}.{name}")


def _notebook(folder: Path, path: Path) -> Notebook:
    raw = path.read_bytes()
    relative = path.relative_to(folder).as_posix()
    try:
        cells = json.loads(raw)["cells"] if raw.strip() else []
        code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    except (ValueError, KeyError, TypeError):
        return Notebook(relative, store.digest(raw), "")  # run, so that the run says what is wrong with it
    empty = mark("the file is empty") if not raw.strip() else mark("it has no code")
    return Notebook(relative, store.digest(raw), code, "" if code.strip() else empty)


def subject(folder: Path, environment: str, python: Path, fingerprint: str, data: Path, gpus: int) -> Subject:
    """Return a subject without extras."""
    return Subject(folder, book_in(load(), folder) or "", environment, python, fingerprint, data, gpus=gpus)


def run(
    asked: Subject,
    wish: Wish,
    report: Path,
    say: Callable[[str], None],
    watching: Callable[[int], Any],
) -> BookRun:
    """Run the notebooks that have no result that counts, and return all results.

    Args:
        say: receives the first line, which says how many of how many.
        watching: returns a context for the number of notebooks, whose value receives the run's events.

    Raises:
        D2lEnvError: if there are no notebooks, or the report cannot be written.
    """
    every, chosen = find(asked.folder, wish.only)
    started = datetime.now(timezone.utc)
    wanted = keys(asked, every)
    limits = _limits(wish.limits, wish.jobs, len(chosen))
    known = {one.path: _known(one, wanted[one.path], limits, report) for one in every}
    todo = [one for one in chosen if not one.why_not and _is_due(known[one.path], wish.again)]
    say(_first_line(every, chosen, todo))
    done = BookRun(
        subject=asked,
        interpreter=describe(asked.python),
        started=started,
        seconds=0.0,
        jobs=0,
        limits=limits,
        total=len(every),
        code=sum(not one.why_not for one in every),
        chosen=sum(not one.why_not for one in chosen),
    )
    if todo:
        needs = [need for one in todo for need in _needs(asked, one)]
        with watching(len(todo)) as on_event, prepare.watched(asked.data, needs, say):
            done = _run(done, todo, wanted, known, wish, report, on_event)
    return replace(
        done,
        reached=sum(known[one.path] is not None for one in chosen if not one.why_not),
        results=tuple(found for one in every if (found := known[one.path]) is not None),
    )


def _run(
    done: BookRun,
    todo: Sequence[Notebook],
    keys: Mapping[str, Key],
    known: dict[str, Known | None],
    wish: Wish,
    report: Path,
    on_event: Callable[[Event], None],
) -> BookRun:
    asked = done.subject
    with tempfile.TemporaryDirectory(prefix="d2lenv-books-", ignore_cleanup_errors=True) as place:
        scratch, torch_home = Path(place), Path(place) / "torch"
        staged = books.stage(asked.folder, [name_of(one.path) for one in todo], None, scratch)
        missing = _prepare(asked, todo, staged, torch_home)
        notebooks = {name_of(one.path): one for one in todo}
        ran: set[str] = set()

        def finished(event: Event) -> None:
            if event.result is not None and event.result.status != "stopped":
                one = notebooks[event.name]
                known[one.path] = _kept(done, one, event.result, missing[one.path], report)
                store.write(report, _of(known[one.path]), keys[one.path])
                ran.add(one.path)
            on_event(_named(event, notebooks, known))

        environ = prepare.variables(torch_home)
        if asked.extra is not None:
            environ["PYTHONPATH"] = str(asked.extra)
        result = smoke.run(
            asked.python,
            smoke.Chosen(staged, asked.folder, done.total),
            scratch,
            limits=done.limits,
            kernels=wish.kernels,
            jobs=wish.jobs,
            environ=environ,
            devices=asked.devices,
            on_event=finished,
        )
    return replace(
        done, seconds=result.seconds, jobs=result.jobs, ran=frozenset(ran), interrupted=result.interrupted
    )


def _of(known: Known | None) -> Known:
    assert known is not None
    return known


def _named(event: Event, notebooks: Mapping[str, Notebook], known: Mapping[str, Known | None]) -> Event:
    """Return an event that names the notebook by its path in the book."""
    return replace(event, name=notebooks[event.name].path.removesuffix(".ipynb"))


def _limits(limits: Limits, jobs: int | None, notebooks: int) -> Limits:
    if limits.memory is not None:
        return limits
    share = int(machine.memory() * 0.8) // (jobs or machine.choose_jobs(notebooks))
    return replace(limits, memory=max(_LEAST_MEMORY, share))


def _pair(limits: Limits) -> tuple[float, float]:
    return (limits.cpu_s or 0.0, limits.wall_s or 0.0)


def _known(one: Notebook, key: Key, limits: Limits, report: Path) -> Known | None:
    if one.why_not:
        return Known(one.path, "not-applicable", one.why_not)
    return store.read(report, one.path, key, _pair(limits))


def _is_due(known: Known | None, again: Again) -> bool:
    return known is None or again == "all" or (again == "failed" and known.kind != "passed")


def _first_line(every: Sequence[Notebook], chosen: Sequence[Notebook], todo: Sequence[Notebook]) -> str:
    code = sum(not one.why_not for one in chosen)
    line = tr(
        "{todo} of {total} notebooks are run: {without} have no code, {known} have a result already",
        todo=len(todo),
        total=len(every),
        without=sum(bool(one.why_not) for one in every),
        known=code - len(todo),
    )
    left_out = len(every) - len(chosen)
    return tr("{line}, {count} were not asked for", line=line, count=left_out) if left_out else line


def keys(asked: Subject, every: Sequence[Notebook]) -> dict[str, Key]:
    """Return, by notebook, all that its result depends on."""
    others = (path for path in books.files(asked.folder) if path.suffix != ".ipynb" and path.is_file())
    common = Key(
        notebook="",
        files=store.digest_of_files(asked.folder, others),
        data={},
        environment=asked.fingerprint,
        extras=store.digest(asked.extra_packages.encode()) if asked.extra else "",
        gpus=asked.gpus,
        devices=store.digest(asked.devices.read_bytes()) if asked.devices else "",
    )
    return {one.path: replace(common, notebook=one.digest, data=_data(asked, one)) for one in every}


def _needs(asked: Subject, one: Notebook) -> tuple[Need, ...]:
    return needs_of(load(), asked.book, one.path)


def _data(asked: Subject, one: Notebook) -> dict[str, str]:
    files = shared.files_of(need.dataset for need in _needs(asked, one))
    states = shared.states(asked.data, files)
    return {file.path: file.digest for file, state in states.items() if state == "present"}


def _prepare(
    asked: Subject, todo: Sequence[Notebook], staged: Sequence[Path], torch_home: Path
) -> dict[str, list[str]]:
    """Lay the data of the notebooks out, and return the names of those that are missing, by notebook."""
    places = {path.stem: path.parent for path in staged}
    missing: dict[str, list[str]] = {}
    for one in todo:
        needs = _needs(asked, one)
        found = prepare.prepare(places[name_of(one.path)], needs, asked.data, torch_home)
        sets = [need.dataset for need in needs if set(need.dataset.files) & set(found.missing)]
        missing[one.path] = [
            dataset.name if len(dataset.files) > 1 else dataset.files[0].name
            for dataset in dict.fromkeys(sets)
        ]
    return missing


def _kept(
    done: BookRun, one: Notebook, result: NotebookResult, missing: Sequence[str], report: Path
) -> Known:
    """Return the result in the form that is kept, with the executed notebook and its last figure in place."""
    asked = done.subject
    have = {line.partition("==")[0] for line in asked.extra_packages.splitlines()}
    lacking = [module for module in MODULES if canonicalize_name(module) not in have]
    classed = classes.of_result(result, one.code, asked.book, one.path, missing, lacking)
    executed = figure = ""
    if result.executed is not None:
        executed = f"notebooks/{one.path}"
        raw = result.executed.read_bytes()
        write_atomic(report / executed, raw)
        figure = last_figure(raw, report / "figures", name_of(one.path))
    return Known(
        notebook=one.path,
        kind=classed.kind,
        reason=classed.reason,
        values=classed.values,
        started=done.started.isoformat(timespec="seconds"),
        seconds=round(result.seconds, 2),
        cpu_s=result.cpu_s,
        memory=result.memory,
        cells=result.cells,
        cells_done=result.cells_done,
        limits=_pair(done.limits),
        place=result.place,
        traceback=result.traceback[-4000:],
        executed=executed,
        figure=f"figures/{figure}" if figure else "",
    )
