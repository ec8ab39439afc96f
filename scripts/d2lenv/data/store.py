"""The folder that every run, lab and book on this machine shares, and the state of its files.

The folder is laid out as a book's ``../data`` and as ``TORCH_HOME``. What a file was when its digest was
looked at stands in ``.d2lenv/seen.json`` (size, times, file number): a run need not read gigabytes to know
that its data are those of the table. ``d2lenv data check`` reads them all.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Literal

import platformdirs

from d2lenv.base.errors import D2lEnvError
from d2lenv.base.files import absolute, write_atomic
from d2lenv.base.messages import tr
from d2lenv.data import digests
from d2lenv.data.table import DataFile, DataSet

VARIABLE = "D2LENV_DATA"
"""The environment variable that names the folder."""

OWN = ".d2lenv"
"""The folder below it for locks, notes and unfinished downloads."""

State = Literal["present", "missing", "damaged"]
Stamp = tuple[int, int, int, int]
"""Size, time of change of the contents and of the file, and its number on the disk."""


def place(given: Path | None, environ: Mapping[str, str]) -> Path:
    """Return the shared folder: ``given``, ``D2LENV_DATA``, or one in the user's own data folder."""
    stated = environ.get(VARIABLE, "")
    own = platformdirs.user_data_path("d2lenv", appauthor=False) / "books-data"
    return absolute(given or (Path(stated).expanduser() if stated else own))


def files_of(sets: Iterable[DataSet]) -> tuple[DataFile, ...]:
    """Return the files of data sets."""
    return tuple(file for dataset in sets for file in dataset.files)


def state(folder: Path, file: DataFile) -> State:
    """Return what ``file`` is in the shared folder; it is read only if it is not as it was when seen last."""
    seen = _seen(folder)
    return _state(folder, file, seen)


def states(folder: Path, files: Sequence[DataFile]) -> dict[DataFile, State]:
    """Return what each file is, as :func:`state`."""
    seen = _seen(folder)
    return {file: _state(folder, file, seen) for file in files}


def _state(folder: Path, file: DataFile, seen: Mapping[str, Stamp]) -> State:
    stamp = stamp_of(folder / file.path)
    if stamp is None:
        return "missing"
    if seen.get(_key(file)) == stamp:
        return "present"
    return _read_state(folder, file)


def _read_state(folder: Path, file: DataFile) -> State:
    try:
        return "present" if digests.is_the(file, folder / file.path) else "damaged"
    except FileNotFoundError:
        return "missing"
    except OSError:
        return "damaged"


def _key(file: DataFile) -> str:
    return f"{file.digest} {file.path}"


def stamp_of(path: Path) -> Stamp | None:
    """Return what tells whether a file is still the same one, None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


def note(folder: Path, files: Iterable[DataFile]) -> None:
    """Note that these files were read and are right.

    A folder that cannot be written, as a teacher's share, has no notes: its files are read each time.
    """
    seen = _seen(folder)
    found = {_key(file): stamp for file in files if (stamp := stamp_of(folder / file.path))}
    if found.items() <= seen.items():
        return
    seen |= found
    with suppress(D2lEnvError):
        write_atomic(folder / OWN / "seen.json", json.dumps(seen, indent=0, sort_keys=True) + "\n")


def _seen(folder: Path) -> dict[str, Stamp]:
    try:
        raw = json.loads((folder / OWN / "seen.json").read_text(encoding="utf-8"))
        return {str(key): _stamp(row) for key, row in raw.items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}


def _stamp(row: Sequence[int]) -> Stamp:
    size, changed, status, number = map(int, row)
    return size, changed, status, number


@dataclass(frozen=True)
class Checked:
    """What a look at every file found.

    Attributes:
        states: of the files that were asked for.
        unknown: paths of files that the table does not have.
        unfinished: downloads that wait to be resumed.
    """

    states: Mapping[DataFile, State]
    unknown: tuple[str, ...]
    unfinished: tuple[str, ...]

    def of(self, state: State) -> tuple[DataFile, ...]:
        """Return the files in that state."""
        return tuple(file for file, found in self.states.items() if found == state)


def check(
    folder: Path,
    files: Sequence[DataFile],
    known: Sequence[DataFile],
    on_file: Callable[[DataFile, State], object] = lambda file, state: None,
) -> Checked:
    """Read every file and compare its digest with the table, several at a time.

    Args:
        known: all files of the table, so that others can be named.
        on_file: hears of each file when it was read.
    """
    found: dict[DataFile, State] = {}
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for file, seen in zip(files, pool.map(lambda file: _read_state(folder, file), files), strict=True):
            found[file] = seen
            on_file(file, seen)
    note(folder, (file for file, seen in found.items() if seen == "present"))
    paths = {file.path for file in known}
    unknown = tuple(path for path in sorted(_walk(folder)) if path not in paths)
    return Checked(found, unknown, tuple(sorted(path.name for path in partial(folder).glob("*.part"))))


def _walk(folder: Path) -> Iterator[str]:
    """Yield the paths of everything in the folder that is no folder; links are not followed."""
    for place, folders, names in os.walk(folder):
        if Path(place) == folder and OWN in folders:
            folders.remove(OWN)
        for name in names:
            yield Path(place, name).relative_to(folder).as_posix()


def partial(folder: Path) -> Path:
    """Return the folder of unfinished downloads."""
    return folder / OWN / "partial"


def refuse_links(folder: Path, *parts: str) -> None:
    """Refuse to write below a folder that is a link out of the shared one, or no folder.

    Args:
        parts: names of folders, each in the one before.

    Raises:
        D2lEnvError: if one is such.
    """
    for part in parts:
        folder = folder / part
        if os.path.lexists(folder) and not S_ISDIR(folder.lstat().st_mode):
            raise _in_the_way(folder)


def refuse_others(path: Path) -> None:
    """Refuse to replace what is no file.

    Raises:
        D2lEnvError: if ``path`` is a link, a folder or a device.
    """
    if os.path.lexists(path) and not S_ISREG(path.lstat().st_mode):
        raise _in_the_way(path)


def _in_the_way(path: Path) -> D2lEnvError:
    return D2lEnvError(
        tr("{path} is in the way: a link, or not what belongs there", path=path),
        fix=tr("move it away, then run the command again"),
    )
