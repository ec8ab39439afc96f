"""The place of a prefix: nobody else's, whole at every moment, with room enough."""

from __future__ import annotations

import glob
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from d2lenv.base.errors import D2lEnvError
from d2lenv.base.files import exclusive_lock
from d2lenv.base.messages import tr
from d2lenv.engines.job import Job
from d2lenv.prefix import baseline, marker


@contextmanager
def held(job: Job) -> Iterator[None]:
    """Keep other builds out of the place while the body runs; afterwards nothing half-made is left there.

    Raises:
        D2lEnvError: if the place cannot be written.
    """
    lock = job.prefix.with_name(f".{job.prefix.name}.lock")
    with exclusive_lock(lock, f"d2lenv build {job.settings.name}", job.say):
        try:
            recover(job)
            yield
        except OSError as error:
            raise D2lEnvError(
                tr("{path} cannot be written", path=error.filename or job.prefix),
                why=error.strerror or str(error),
                fix=tr("free some space or make the folder writable, then run the command again"),
            ) from error
        finally:
            # Whatever went wrong, Ctrl-C included: nothing half-made stays, and the old prefix does.
            with suppress(OSError):
                recover(job)


def refuse_foreign(job: Job) -> None:
    """Refuse a folder that this tool did not build, or in which it built another environment.

    Raises:
        D2lEnvError: if it is one.
    """
    fix = tr("choose another --prefix, or remove it yourself")
    try:
        if not job.prefix.exists() or (job.prefix.is_dir() and not any(job.prefix.iterdir())):
            return
    except OSError as error:
        raise D2lEnvError(tr("{path} cannot be read", path=job.prefix), why=str(error), fix=fix) from error
    owner = marker.read(job.prefix).get("environment")
    if owner is None:
        raise D2lEnvError(tr("{path} is there already and was not built by d2lenv", path=job.prefix), fix=fix)
    if owner != job.settings.name:
        raise D2lEnvError(tr("{path} holds the environment {name}", path=job.prefix, name=owner), fix=fix)


def check_space(job: Job, needed: float) -> None:
    """Refuse when the disk has less room than ``needed`` bytes.

    Raises:
        D2lEnvError: if it has.
    """
    folder = job.prefix.parent
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise D2lEnvError(
            tr(
                "{folder} has {free} GB free; {name} needs about {needed} GB",
                folder=folder,
                free=f"{free / 1e9:.1f}",
                name=job.settings.name,
                needed=f"{needed / 1e9:.1f}",
            ),
            fix=tr(
                "free some space or choose another disk with --prefix; --no-space-check if the packages "
                "are in the cache already"
            ),
        )


def _retired(job: Job) -> Path:
    return job.prefix.with_name(f".{job.prefix.name}.old")


def _half_made(job: Job) -> list[Path]:
    return list(job.prefix.parent.glob(f".{glob.escape(job.prefix.name)}.building-*"))


def is_settled(job: Job) -> bool:
    """Return True if no interrupted build left something that :func:`recover` would put right."""
    return not (_half_made(job) or _retired(job).exists() or baseline.unsettled(job.prefix))


def recover(job: Job) -> None:
    """Put right what an interrupted build left: a half-made folder, or an old prefix moved aside."""
    baseline.settle(job.prefix)
    remove(job.building)
    for stale in _half_made(job):
        with suppress(OSError):  # the uv of a killed build may still be writing there
            remove(stale)
    old = _retired(job)
    if old.exists() and not job.prefix.exists():
        old.rename(job.prefix)
    remove(old)


def swap(job: Job) -> None:
    """Put the folder that was built in the prefix's place."""
    if job.prefix.exists():
        with suppress(OSError):
            job.prefix.rmdir()  # an empty folder that the reader made
    if job.prefix.exists():
        job.prefix.rename(_retired(job))
    job.building.rename(job.prefix)
    baseline.hand_over(job.building, job.prefix)


def remove(folder: Path) -> None:
    """Remove a folder, a link or a file, read-only or not, if it is there."""
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder, onerror=_make_writable_and_retry)


def _make_writable_and_retry(function: Callable[[str], object], path: str, _error: object) -> None:
    """Retry where a read-only folder or, on Windows, a read-only file could not be removed."""
    parent = Path(path).parent
    for target in (parent, Path(path)):
        with suppress(OSError):
            target.chmod(0o700)
    with suppress(FileNotFoundError):
        function(path)
