"""Where files come from: their own addresses, a mirror, or a folder such as a USB stick's."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from urllib.parse import quote, urlsplit

from d2lenv.base.errors import USAGE, D2lEnvError
from d2lenv.base.messages import tr
from d2lenv.data import digests
from d2lenv.data.table import DataFile

_MOST_ENTRIES = 200_000


@dataclass(frozen=True)
class Origin:
    """Where to look for files.

    Attributes:
        folders: are searched first, by name and by digest.
        mirrors: addresses below which files lie as in the shared folder, or side by side.
        own: whether the files' own addresses are asked.
    """

    folders: tuple[Path, ...] = ()
    mirrors: tuple[str, ...] = ()
    own: bool = True


def origin(given: Sequence[str]) -> Origin:
    """Return the origin that ``--from DIR|URL`` names. Nothing else is asked then.

    Raises:
        D2lEnvError: if one is neither an address nor a folder.
    """
    folders, mirrors = [], []
    for text in given:
        parts = urlsplit(text)
        if parts.scheme in ("http", "https") and parts.netloc:
            mirrors.append(text.rstrip("/"))
        elif text and Path(text).is_dir():
            folders.append(Path(text))
        else:
            raise D2lEnvError(
                tr("{path} is neither a folder nor an http address", path=text),
                fix=tr("name a folder, or an address such as http://192.168.1.10:8008"),
                status=USAGE,
            )
    return Origin(tuple(folders), tuple(mirrors), own=not given)


def addresses(file: DataFile, origin: Origin) -> tuple[str, ...]:
    """Return the addresses to ask for a file, the first first."""
    below = [f"{mirror}/{quote(path)}" for mirror in origin.mirrors for path in (file.path, file.name)]
    return tuple(dict.fromkeys([*below, *(file.urls if origin.own else ())]))


def find_in(
    folder: Path, files: Sequence[DataFile], on_read: Callable[[Path], object] = lambda path: None
) -> Mapping[DataFile, Path]:
    """Return where files lie in ``folder``: under their names, or else, by the digest, under any.

    Args:
        on_read: hears of each file before it is read.
    """
    there = list(islice(_walk(folder), _MOST_ENTRIES))
    found: dict[DataFile, Path] = {}
    for file in files:
        named = [path for path in there if path.name.lower() == file.name.lower()]
        named.sort(key=lambda path: path != folder / file.path)
        if (match := _first(file, named, on_read)) is not None:
            found[file] = match
    return found | _by_digest([file for file in files if file not in found], there, on_read)


def _first(file: DataFile, paths: Sequence[Path], on_read: Callable[[Path], object]) -> Path | None:
    for path in paths:
        on_read(path)
        with suppress(OSError):
            if digests.is_the(file, path):
                return path
    return None


def _by_digest(
    files: Sequence[DataFile], there: Sequence[Path], on_read: Callable[[Path], object]
) -> dict[DataFile, Path]:
    """Look at every file whose size could be that of one of ``files``."""
    found: dict[DataFile, Path] = {}
    for path in there:
        wanted = [file for file in files if file not in found]
        with suppress(OSError):
            size = path.stat().st_size
            fitting = [file for file in wanted if size <= file.at_most and file.size in (None, size)]
            for algorithm in dict.fromkeys(file.algorithm for file in fitting):
                on_read(path)
                with path.open("rb") as stream:
                    digest = digests.of(stream, algorithm)
                alike = (f for f in fitting if f.algorithm == algorithm and digests.fits(f, digest))
                found |= dict.fromkeys(alike, path)
    return found


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the regular files below ``folder``; links are not followed."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(place, name)
            if path.is_file() and not path.is_symlink():
                yield path
