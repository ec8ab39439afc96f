"""Scan a folder as it lies on disk: every entry and its digest.

Links are never followed, and nothing but a regular file is ever opened: a pipe in a prefix would block for
ever, a device may do anything.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import stat
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NamedTuple

from d2lenv.base import process

Kind = Literal["file", "link", "folder", "special"]

# One read for nearly every file of a prefix; hashlib releases the interpreter's lock above 2 kB.
_BLOCK = 1 << 20
_SMALL_FILES_AT_ONCE = 256
_MOST_THREADS = 8
# Without O_BINARY Windows translates line ends; O_NONBLOCK so that a pipe put there after the scan cannot
# block, O_NOFOLLOW so that a link put there is not followed.
_FLAGS = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_BINARY", "O_NOFOLLOW", "O_NONBLOCK"))
# A Windows junction: a folder that is a link (stat.IO_REPARSE_TAG_MOUNT_POINT exists on Windows only).
_JUNCTION = 0xA0000003
_NAME = attrgetter("name")


class Entry(NamedTuple):
    """One entry below the folder.

    Attributes:
        path: relative, with forward slashes.
        mode: permission bits, with setuid and the like.
        size: bytes; 0 for a folder.
        mtime_ns: time of the last change of its content.
        target: where a link points, as written in it.
    """

    path: str
    kind: Kind
    mode: int
    size: int = 0
    mtime_ns: int = 0
    target: str = ""


class Known(NamedTuple):
    """A file of which all was known before it got into the folder.

    Attributes:
        entry: what :func:`scan` says of it.
        inode: the number of the file to which it may be a hard link; -1 for none.
        sha256: of its content (hex).
        row: its line in a baseline.
    """

    entry: Entry
    inode: int
    sha256: str
    row: str


@dataclass(frozen=True)
class Tree:
    """The result of :func:`scan`.

    Attributes:
        root: the folder.
        entries: path → entry, parents before children.
        unreadable: path → why, for folders whose content is unknown.
    """

    root: Path
    entries: Mapping[str, Entry]
    unreadable: Mapping[str, str]


def scan(
    root: Path,
    enter: Callable[[str], bool] = lambda _path: True,
    known: Mapping[str, Known] = MappingProxyType({}),
) -> Tree:
    """Return every entry below ``root``, and never raise for what lies there.

    Args:
        enter: whether to look into the folder of that path.
        known: path → a file that was known before: a file with its inode is a hard link to it, and its entry
            is taken as it stands. That asks the disk for names alone, which takes half the time.
    """
    entries: dict[str, Entry] = {}
    unreadable: dict[str, str] = {}
    folders = [("", str(root))]
    while folders:
        above, folder = folders.pop()
        try:
            with os.scandir(folder) as found:
                items = sorted(found, key=_NAME)
        except OSError as error:
            unreadable[above or "."] = error.strerror or str(error)
            continue
        prefix = f"{above}/" if above else ""
        for item in items:
            path = prefix + item.name
            file = known.get(path)
            try:
                if file is not None and file.inode == item.inode() and item.is_file(follow_symlinks=False):
                    entries[path] = file.entry
                    continue
                status = item.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):  # nearly all of them
                    mode = stat.S_IMODE(status.st_mode)
                    entries[path] = Entry(path, "file", mode, status.st_size, status.st_mtime_ns)
                    continue
                entry = _entry(path, item, status)
            except OSError as error:
                unreadable[path] = error.strerror or str(error)
                continue
            entries[path] = entry
            if entry.kind == "folder" and enter(path):
                folders.append((path, item.path))
    return Tree(root, entries, unreadable)


def _entry(path: str, item: os.DirEntry[str], status: os.stat_result) -> Entry:
    """Return the entry of anything but a regular file."""
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISLNK(status.st_mode) or getattr(status, "st_reparse_tag", 0) == _JUNCTION:
        return Entry(path, "link", mode, target=_slashes(os.readlink(item.path)))  # noqa: PTH115 - a Path would drop a closing slash
    return Entry(path, "folder" if stat.S_ISDIR(status.st_mode) else "special", mode)


def _slashes(target: str) -> str:
    return target.replace("\\", "/") if os.name == "nt" else target


def digests(
    root: Path, entries: Iterable[Entry], progress: Callable[[int], None] = lambda _bytes: None
) -> tuple[dict[str, str], dict[str, str]]:
    """Compute sha256 (hex) of the files among ``entries``, on every core.

    Args:
        progress: is told the number of bytes read since it was last called.

    Returns:
        path → digest, and path → why it could not be read.
    """
    files = sorted(
        (entry for entry in entries if entry.kind == "file"), key=lambda entry: entry.size, reverse=True
    )
    threads = max(1, min(_MOST_THREADS, process.cores(), len(files)))
    found: dict[str, str] = {}
    failed: dict[str, str] = {}
    pool = ThreadPoolExecutor(max_workers=threads)
    try:
        for size, some, wrong in pool.map(lambda batch: _digest_batch(root, batch), _batches(files)):
            found.update(some)
            failed.update(wrong)
            progress(size)
    finally:
        pool.shutdown(cancel_futures=True)  # after Ctrl-C gigabytes may be left to read
    return found, failed


def _batches(files: list[Entry]) -> Iterator[list[Entry]]:
    """Yield the biggest first, each big file by itself: the last thread to finish has little left to do."""
    big = [entry for entry in files if entry.size > _BLOCK]
    yield from ([entry] for entry in big)
    for start in range(len(big), len(files), _SMALL_FILES_AT_ONCE):
        yield files[start : start + _SMALL_FILES_AT_ONCE]


def _digest_batch(root: Path, batch: list[Entry]) -> tuple[int, dict[str, str], dict[str, str]]:
    buffer = memoryview(bytearray(min(_BLOCK, max(entry.size for entry in batch) + 1)))
    found: dict[str, str] = {}
    failed: dict[str, str] = {}
    for entry in batch:
        try:
            found[entry.path] = _digest(f"{root}/{entry.path}", buffer)
        except OSError as error:
            failed[entry.path] = error.strerror or str(error)
    return sum(entry.size for entry in batch), found, failed


def _digest(path: str, buffer: memoryview) -> str:
    descriptor = os.open(path, _FLAGS)
    with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123 - a Path cannot open a descriptor
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "not a regular file")
        state = hashlib.sha256()
        while count := file.readinto(buffer):
            state.update(buffer[:count])
    return state.hexdigest()


def inside(path: str) -> bool:
    """Return True if a relative path, as an untrusted file names it, stays below its folder."""
    if not path or "\\" in path or "\0" in path or path.startswith("/") or path[1:2] == ":":
        return False
    depth = 0
    for part in path.split("/"):
        depth += -1 if part == ".." else part not in ("", ".")
        if depth < 0:
            return False
    return depth > 0


def leaves(path: str, target: str) -> bool:
    """Return True if the link at ``path`` points out of the folder, by its text alone."""
    if target.startswith(("/", "\\")) or target[1:2] == ":":
        return True
    end = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    return end == ".." or end.startswith("../")


def collisions(paths: Iterable[str]) -> list[tuple[str, str]]:
    """Return pairs of paths that are one on a file system that ignores case or Unicode's forms."""
    seen: dict[str, str] = {}
    found: list[tuple[str, str]] = []
    for path in sorted(set(paths)):
        first = seen.setdefault(unicodedata.normalize("NFC", path).casefold(), path)
        if first != path:
            found.append((first, path))
    return found
