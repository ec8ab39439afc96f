"""Run notebooks in a prefix's own Python and collect what they prove.

Every notebook gets a process of its own: on Linux a fork of one that has imported ``d2l`` already, elsewhere
or on demand a kernel, started from the prefix's interpreter (never through a kernelspec, which may point
elsewhere). Both are cut off from the user's site-packages, IPython profile and Jupyter settings. Several run
at once. A notebook whose process dies, hangs or never starts fails with the reason; the others go on.
``notebooks/checks.py`` describes the statements that notebooks make of themselves.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

import nbformat

from d2lenv.base import signals
from d2lenv.base.errors import D2lEnvError
from d2lenv.base.files import short_folder, write_atomic
from d2lenv.base.messages import tr
from d2lenv.smoke import machine
from d2lenv.smoke.execution.cells import choose, execute
from d2lenv.smoke.execution.fork import POSSIBLE, Server, serving
from d2lenv.smoke.execution.limits import Limits
from d2lenv.smoke.execution.session import Session, tail, variables
from d2lenv.smoke.interpreter import describe
from d2lenv.smoke.judge import judge
from d2lenv.smoke.notebooks import code_cells, needs, read
from d2lenv.smoke.results import Event, NotebookResult, SmokeRun

LIMITS = Limits(cell_s=600)
# Of a folder: what follows it in a socket's address is a folder's random name and "-1" to "-5".
_LONGEST_FOLDER = 103 - len("/01234567-1")


@dataclass(frozen=True)
class Chosen:
    """The notebooks to run.

    Attributes:
        folder: where they are, for the report.
        total: how many there are in it, chosen or not.
    """

    paths: tuple[Path, ...]
    folder: Path
    total: int


def run(
    python: Path,
    chosen: Chosen,
    scratch: Path,
    *,
    require_gpu: bool = False,
    limits: Limits = LIMITS,
    kernels: bool = False,
    jobs: int | None = None,
    environ: Mapping[str, str] | None = None,
    devices: Path | None = None,
    revise: Callable[[NotebookResult], NotebookResult] = lambda result: result,
    on_event: Callable[[Event], None] = lambda event: None,
) -> SmokeRun:
    """Run notebooks with the prefix's ``python``. Nothing that a notebook does raises.

    Ctrl-C (or another of :mod:`d2lenv.base.signals`) ends the kernels and their children. The result has
    everything that had finished by then; the rest has the status ``stopped``.

    Args:
        scratch: a folder that only this user can enter, for sockets, logs and the notebooks with their
            outputs, each written when it ends.
        require_gpu: a check that was not made for want of a GPU is a failure.
        limits: of each notebook.
        kernels: a kernel for every notebook, where a fork would do.
        jobs: notebooks at once. None chooses from cores and memory.
        environ: further environment variables of the notebooks.
        devices: the file that gives d2l's GPU functions their fallbacks (:mod:`d2lenv.smoke.devices`).
        revise: has the last word on each result.

    Raises:
        D2lEnvError: if ``python`` does not run or ``scratch`` cannot be written.
    """
    interpreter = describe(python)
    count = jobs or machine.choose_jobs(len(chosen.paths))
    threads = max(1, machine.cores() // count)
    started, clock = datetime.now(timezone.utc), time.monotonic()
    with short_folder(scratch, _LONGEST_FOLDER) as sockets:
        session = Session(
            interpreter=interpreter,
            variables={**variables(interpreter, threads, scratch), **(environ or {})},
            scratch=scratch,
            sockets=sockets,
            require_gpu=require_gpu,
            limits=limits,
            revise=revise,
            on_event=on_event,
            devices=devices,
        )
        results = _in_a_loop(session, chosen.paths, count, kernels)
    return SmokeRun(
        interpreter=interpreter,
        started=started,
        seconds=time.monotonic() - clock,
        jobs=count,
        threads=threads,
        require_gpu=require_gpu,
        notebooks=results,
        folder=chosen.folder,
        total=chosen.total,
        device_fallbacks=devices is not None,
    )


def _in_a_loop(
    session: Session, notebooks: Sequence[Path], jobs: int, kernels: bool
) -> tuple[NotebookResult, ...]:
    # On Windows the default loop cannot watch ZeroMQ's sockets without a helper thread; this one can.
    loop = asyncio.SelectorEventLoop() if sys.platform == "win32" else asyncio.new_event_loop()
    try:
        everything = loop.create_task(_run_all(session, notebooks, jobs, kernels))

        def stop() -> None:
            if not session.stopping.is_set():  # a second Ctrl-C must not stop the cleaning up
                session.stopping.set()
                everything.cancel()

        with signals.answered_by(lambda _: loop.call_soon_threadsafe(stop)):
            return loop.run_until_complete(everything)
    finally:
        # nbclient leaves a task behind that watches a kernel which has been stopped.
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


async def _run_all(
    session: Session, notebooks: Sequence[Path], jobs: int, kernels: bool
) -> tuple[NotebookResult, ...]:
    async with serving(session) as server:
        slots = asyncio.Semaphore(jobs)
        way = server if POSSIBLE and not kernels else None
        tasks = [asyncio.ensure_future(_when_free(session, slots, way, path)) for path in notebooks]
        try:
            # Cancelling this cancels the tasks and waits: each ends its process and says how far it came.
            with suppress(asyncio.CancelledError):
                await asyncio.gather(*tasks)
        finally:  # one of them raised, for instance because the disk is full: no process stays behind
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)
        return tuple(task.result() for task in tasks)


async def _when_free(
    session: Session, slots: asyncio.Semaphore, server: Server | None, path: Path
) -> NotebookResult:
    result = NotebookResult(path.stem, path, "stopped", cause="stopped", reason=tr("not started"))
    with suppress(asyncio.CancelledError):  # Ctrl-C: what has finished is still wanted
        async with slots:
            result = await _run_one(session, server, path)
    session.on_event(Event("finished", path.stem, result=result))
    return result


async def _run_one(session: Session, server: Server | None, path: Path) -> NotebookResult:
    result = NotebookResult(path.stem, path, "failed")
    try:
        notebook = read(path)
    except D2lEnvError as error:
        return replace(result, cause="not-a-notebook", reason=error.why)
    unfit = needs(notebook, session.interpreter)
    if unfit:
        return replace(result, status="not-applicable", cause="needs", reason=unfit)

    clock = time.monotonic()
    session.on_event(Event("started", path.stem, cells=code_cells(notebook)))
    files = Path(tempfile.mkdtemp(dir=session.scratch, prefix=""))
    log_path = files / "kernel.log"
    outcome = await execute(session, path, notebook, choose(session, server, path, notebook, log_path))
    result = session.revise(judge(replace(result, **outcome), notebook, require_gpu=session.require_gpu))
    target = session.scratch / "executed" / path.name
    write_atomic(target, nbformat.writes(notebook) + "\n")
    return replace(result, seconds=time.monotonic() - clock, kernel_log=tail(log_path), executed=target)
