"""Fetch the files that are not there, several at once, and check each before it gets its name."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from threading import Event, Thread
from typing import Literal

from d2lenv.base.errors import D2lEnvError
from d2lenv.base.files import exclusive_lock
from d2lenv.base.messages import tr
from d2lenv.data import digests, sources, store
from d2lenv.data.fetch import Limits, OnBytes, Refused, Stopping, fetch, written
from d2lenv.data.sources import Origin
from d2lenv.data.table import DataFile

_STEP_S = 0.1


@dataclass(frozen=True)
class Progress:
    """Something happened to a file.

    Attributes:
        count: its bytes that are there.
        size: all its bytes, None while nobody has said.
        of: how many files are fetched in all.
        reason: why it failed.
    """

    kind: Literal["begun", "bytes", "done", "failed"]
    file: DataFile
    count: int = 0
    size: int | None = None
    of: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Got:
    """What is there in the end.

    Attributes:
        before: files that were there.
        fetched: files that came.
        failed: the others, each with the reason.
    """

    before: tuple[DataFile, ...]
    fetched: tuple[DataFile, ...]
    failed: Mapping[DataFile, str]


@dataclass(eq=False)
class _Job:
    """One file on its way.

    Attributes:
        moved: when something last happened to it.
        stopping: tells its thread to end.
        error: why it failed; a failed disk is raised for all.
    """

    file: DataFile
    found: Path | None
    moved: float = field(default_factory=time.monotonic)
    stopping: Event = field(default_factory=Event)
    error: Exception | None = None


@dataclass(frozen=True)
class _Run:
    folder: Path
    origin: Origin
    limits: Limits
    count: int
    on_progress: Callable[[Progress], object]


def get(
    folder: Path,
    files: Sequence[DataFile],
    origin: Origin,
    *,
    say: Callable[[str], None],
    on_plan: Callable[[Sequence[DataFile]], object] = lambda files: None,
    on_progress: Callable[[Progress], object] = lambda progress: None,
    jobs: int = 4,
    limits: Limits | None = None,
) -> Got:
    """Fetch those of ``files`` that the shared folder does not have, or has damaged.

    Ctrl-C leaves what has come of a file in ``.d2lenv/partial``, and the next call goes on from there.

    Args:
        on_plan: hears what will be fetched, before that begins.
        on_progress: hears of each file; is called by several threads.
        jobs: files at a time.

    Raises:
        D2lEnvError: if the folder cannot be written, or the disk has no room.
    """
    store.refuse_links(folder, store.OWN, "partial")
    with exclusive_lock(folder / store.OWN / "lock", "d2lenv data get", say):
        states = store.states(folder, files)
        wanted = [file for file, state in states.items() if state != "present"]
        for file in wanted:
            store.refuse_links(folder, *PurePosixPath(file.path).parent.parts)
            store.refuse_others(folder / file.path)
        found = _search(origin, wanted)
        coming = [file for file in wanted if file in found or sources.addresses(file, origin)]
        on_plan(coming)
        _check_room(folder, coming)
        run = _Run(folder, origin, limits or Limits(), len(coming), on_progress)
        failed = _all([_Job(file, found.get(file)) for file in coming], run, jobs)
        nowhere = tr("it is not in the folder that --from names")
        failed |= {file: nowhere for file in wanted if file not in coming}
        fetched = tuple(file for file in wanted if file not in failed)
        before = tuple(file for file in files if states[file] == "present")
        store.note(folder, (*fetched, *before))
    return Got(before, fetched, failed)


def _search(origin: Origin, wanted: Sequence[DataFile]) -> dict[DataFile, Path]:
    found: dict[DataFile, Path] = {}
    for place in origin.folders:
        found |= sources.find_in(place, [file for file in wanted if file not in found])
    return found


def _check_room(folder: Path, wanted: Sequence[DataFile]) -> None:
    """Refuse to begin what cannot end; files of unknown size are found out on the way.

    Raises:
        D2lEnvError: if the disk has less room than the known sizes need.
    """
    needed = sum(file.about or 0 for file in wanted)
    for part in store.partial(folder).glob("*.part"):
        needed -= part.stat().st_size
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise D2lEnvError(
            tr("{folder} has {free} MB left, the data need {needed} MB", folder=folder,
               free=free // 10**6, needed=-(-needed // 10**6)),
            fix=_room(),
        )  # fmt: skip


def _room() -> str:
    return tr("free some space, choose another --folder, or fetch less with --only CHAPTER")


def _all(jobs: Sequence[_Job], run: _Run, at_once: int) -> dict[DataFile, str]:
    """Run the jobs, ``at_once`` at a time, and return the reasons of those that failed.

    The threads are daemons: one that waits in the system for a server must not keep a stopped command alive.
    """
    waiting, running = list(jobs), dict[_Job, Thread]()
    failed: dict[DataFile, str] = {}
    try:
        while waiting or running:
            while waiting and len(running) < max(1, at_once):
                job = waiting.pop(0)
                running[job] = Thread(target=_work, args=(job, run), daemon=True)
                running[job].start()
            _wait(running, run, failed)
    finally:
        for job in running:
            job.stopping.set()
        for thread in running.values():
            thread.join(1)
    return failed


def _wait(running: dict[_Job, Thread], run: _Run, failed: dict[DataFile, str]) -> None:
    time.sleep(_STEP_S)
    patience = 2 * run.limits.window_s
    for job, thread in list(running.items()):
        if thread.is_alive() and time.monotonic() - job.moved < patience:
            continue
        if thread.is_alive():
            job.stopping.set()
            job.error = Refused(tr("nothing has come for {seconds} s", seconds=round(patience)))
        del running[job]
        if isinstance(job.error, OSError):
            raise _disk(run.folder, job.error)
        if job.error is not None:
            failed[job.file] = str(job.error)
            run.on_progress(Progress("failed", job.file, of=run.count, reason=failed[job.file]))
        else:
            size = (run.folder / job.file.path).stat().st_size
            run.on_progress(Progress("done", job.file, size, size, run.count))


def _disk(folder: Path, error: OSError) -> D2lEnvError:
    return D2lEnvError(
        tr("{folder} cannot be written; what has come so far is kept", folder=folder),
        why=error.strerror or str(error),
        fix=_room(),
    )


def _work(job: _Job, run: _Run) -> None:
    part = store.partial(run.folder) / f"{job.file.digest}.part"
    run.on_progress(Progress("begun", job.file, size=job.file.about, of=run.count))

    def on_bytes(count: int, size: int | None) -> None:
        job.moved = time.monotonic()
        run.on_progress(Progress("bytes", job.file, count, size or job.file.about, run.count))

    try:
        if job.found is not None:
            _copy(job.found, part, job.file, job.stopping, on_bytes)
        else:
            _download(job, part, run, on_bytes)
        _give_name(part, run.folder / job.file.path)
    except (Refused, Stopping, OSError) as error:
        job.error = error


def _download(job: _Job, part: Path, run: _Run, on_bytes: OnBytes) -> None:
    """Ask one address after the other until one has given the file that the table means."""
    reasons: list[str] = []
    for url in sources.addresses(job.file, run.origin):
        job.moved = time.monotonic()
        for _ in range(2):  # the second time from the start: what was resumed may have been another file's
            resumed = part.exists()
            try:
                fetch(url, job.file, part, run.limits, job.stopping, on_bytes)
            except Refused as error:
                reasons.append(f"{url}: {error}")
                break
            if _is_right(job.file, part):
                return
            part.unlink(missing_ok=True)
            if not resumed:
                reasons.append(f"{url}: " + tr("its {algorithm} is another", algorithm=job.file.algorithm))
                break
    raise Refused("; ".join(reasons))


def _is_right(file: DataFile, part: Path) -> bool:
    with suppress(FileNotFoundError):
        return digests.is_the(file, part)
    return False


def _copy(source: Path, part: Path, file: DataFile, stopping: Event, on_bytes: OnBytes) -> None:
    """Copy a file of a folder; it is checked as it arrived, whatever the folder holds by now."""
    part.parent.mkdir(parents=True, exist_ok=True)
    part.unlink(missing_ok=True)
    size = source.stat().st_size
    with source.open("rb") as given, part.open("xb") as target:
        for count in written(iter(lambda: given.read(1 << 20), b""), target, 0, file, stopping):
            on_bytes(count, size)
    if not _is_right(file, part):
        part.unlink(missing_ok=True)
        raise Refused(tr("{path} has changed meanwhile", path=source))


def _give_name(part: Path, target: Path) -> None:
    """Move a checked file to its place, where nobody writes it any more."""
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    target.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        target.chmod(0o644)  # Windows replaces no read-only file
    part.replace(target)
    target.chmod(0o444)
