"""Lay the data of a notebook where the notebook looks for them, by links to the shared folder."""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from d2lenv.base.errors import D2lEnvError
from d2lenv.base.messages import tr
from d2lenv.data import store
from d2lenv.data.table import DataFile, Need


@dataclass(frozen=True)
class Prepared:
    """What a notebook finds.

    Attributes:
        placed: its files that are there now: links to the shared folder, or files that were there before.
        missing: files that the shared folder does not have, or has damaged.
    """

    placed: tuple[Path, ...]
    missing: tuple[DataFile, ...]


def prepare(folder: Path, needs: Iterable[Need], shared: Path, torch_home: Path) -> Prepared:
    """Put links to the files that a notebook needs where it looks for them.

    A notebook may run twice, or beside another of its chapter: what is there stays as it is. The notebook
    gets :func:`variables` in its environment. What it unpacks or downloads goes beside the links, never into
    the shared folder. The shared files are read-only, and :func:`altered` says whether one was changed all
    the same.

    Args:
        folder: the one in which the notebook runs; ``../data`` and ``./temp`` are seen from there.
        needs: from :func:`d2lenv.data.table.needs_of`.
        shared: the folder that :func:`d2lenv.data.store.place` returns.
        torch_home: the folder of this run for the weights of models.

    Raises:
        D2lEnvError: if a file can neither be linked nor copied.
    """
    placed: list[Path] = []
    missing: list[DataFile] = []
    for need in needs:
        root = Path(os.path.abspath(folder / need.root)) if need.root else torch_home  # noqa: PTH100 - keeps `..`
        for file in need.dataset.files:
            if store.state(shared, file) != "present":
                missing.append(file)
                continue
            target = root / file.path
            _link(shared / file.path, target)
            placed.append(target)
            if need.unpacked:
                _unpack(target, root)
    return Prepared(tuple(placed), tuple(dict.fromkeys(missing)))


def variables(torch_home: Path) -> dict[str, str]:
    """Return the environment variables of a notebook that was prepared with this ``torch_home``."""
    return {"TORCH_HOME": str(torch_home)}


def _link(source: Path, target: Path) -> None:
    try:
        if target.is_symlink() and not target.exists():  # the shared folder was elsewhere
            target.unlink()
        elif os.path.lexists(target):
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):  # another process was faster
            _linked(source, target)
    except OSError as error:
        raise D2lEnvError(
            tr("{path} cannot be written", path=target), why=error.strerror or str(error)
        ) from error


def _linked(source: Path, target: Path) -> None:
    """Make a symbolic link, on Windows without that privilege a hard link, and between disks there a copy."""
    for link in (target.symlink_to, target.hardlink_to):
        try:
            link(source)
        except FileExistsError:
            raise
        except OSError:
            continue
        return
    shutil.copyfile(source, target)


# CIFAR-10 unpacks to 186 MB in 8 files.
_MOST_BYTES = 1 << 30
_MOST_FILES = 1000


def _unpack(archive: Path, root: Path) -> None:
    """Unpack ``archive`` in ``root`` as torchvision does, unless that was done before."""
    try:
        with tarfile.open(archive) as file:
            members = file.getmembers()
            if len(members) > _MOST_FILES or sum(member.size for member in members) > _MOST_BYTES:
                raise D2lEnvError(tr("{path} unpacks to more than it should", path=archive))
            if all((root / member.name).exists() for member in members):
                return
            file.extractall(root, members, filter="data")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise D2lEnvError(tr("{path} cannot be unpacked", path=archive), why=str(error)) from error


Before = dict[DataFile, store.Stamp]


def stamps(shared: Path, files: Iterable[DataFile]) -> Before:
    """Return what tells after a run whether it has changed a shared file."""
    found = {file: store.stamp_of(shared / file.path) for file in files}
    return {file: stamp for file, stamp in found.items() if stamp}


def altered(shared: Path, before: Before) -> tuple[DataFile, ...]:
    """Return the files of the shared folder that are no longer those of the table, after they were.

    A notebook whose user may write everything (root) can write through a link. Only files with other stamps
    are read.
    """
    touched = [file for file, stamp in before.items() if store.stamp_of(shared / file.path) != stamp]
    return tuple(file for file in touched if store.state(shared, file) != "present")


@contextmanager
def watched(shared: Path, needs: Iterable[Need], say: Callable[[str], None]) -> Iterator[None]:
    """Say after the body which files of the shared folder it has changed."""
    before = stamps(shared, store.files_of(dict.fromkeys(need.dataset for need in needs)))
    try:
        yield
    finally:
        for file in altered(shared, before):
            say(
                tr(
                    "a notebook has changed {path} in {folder}: d2lenv data get {name}",
                    path=file.path,
                    folder=shared,
                    name=next(need.dataset.name for need in needs if file in need.dataset.files),
                )
            )
