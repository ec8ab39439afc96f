"""Notes of an archive's contents when it was unpacked, kept beside the installer's cache under its hash.

Installers link the files of a prefix from their cache: a file that is changed in place in one prefix is
changed in the cache, and with it in every later build. Reading a whole cache again at each build takes as
long as building, so a look is noted: size, time, mode and inode of every entry and the sha256 of every file.
An entry of which ``stat`` says the same is taken to be the same; when one differs, all are read again.

Somebody who changes a file and puts its time back is found by :func:`late`, unless an environment was built
or deleted since: that is left to ``d2lenv verify``, which reads everything.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, NoReturn

from d2lenv.prefix.scan import Entry, Tree, digests

_FORMAT = 1
_MOMENT_NS = 250_000_000
_LARGE = 1 << 20


class Fact(NamedTuple):
    """One entry of an unpacked archive.

    Attributes:
        mode: kind and permissions, as ``stat`` gives them.
        content: sha256 (hex) of a file, target of a link, empty for a folder.
    """

    mode: int
    size: int
    mtime_ns: int
    inode: int
    content: str


@dataclass(frozen=True)
class Archive:
    """An unpacked archive.

    Attributes:
        folder: where it lies.
        facts: path → fact; the folder itself is ``.``.
        patched: paths of files into which the installer writes the prefix's path.
    """

    folder: Path
    facts: Mapping[str, Fact]
    patched: frozenset[str] = frozenset()

    def changed(self) -> list[str]:
        """Return the paths of which ``stat`` says something else than was noted."""
        return self.compare()[0]

    def compare(self) -> tuple[list[str], list[str]]:
        """Compare what was noted with what ``stat`` says.

        Returns:
            the paths of which it says something else, and those of the files that :func:`late` names.
        """
        root, lstat = f"{self.folder}/", os.lstat
        found: list[str] = []
        times: list[tuple[int, str]] = []
        is_file = stat.S_ISREG
        for path, (mode, size, mtime_ns, inode, _) in self.facts.items():
            try:
                now = lstat(root + path)
            except OSError:
                found.append(path)
                continue
            if (now.st_mode, now.st_size, now.st_mtime_ns, now.st_ino) != (mode, size, mtime_ns, inode):
                found.append(path)
            elif is_file(mode):
                times.append((now.st_ctime_ns, path))
        return found, late(times)

    def hold(self, paths: Iterable[str]) -> bool:
        """Read the files at ``paths``, and return True if they have the contents that were noted.

        Large ones are not read: where an environment was deleted, the times of many lie apart.
        """
        sizes = {path: self.facts[path].size for path in paths}
        entries = [Entry(path, "file", 0, size) for path, size in sizes.items() if size <= _LARGE]
        found, failed = digests(self.folder, entries)
        return not failed and all(self.facts[path].content == digest for path, digest in found.items())

    def same_content(self, other: Archive) -> bool:
        """Return True if both hold the same entries with the same modes and contents."""
        return {path: (fact.mode, fact.content) for path, fact in self.facts.items()} == {
            path: (fact.mode, fact.content) for path, fact in other.facts.items()
        }


def late(times: Collection[tuple[int, str]]) -> list[str]:
    """Return the files that were touched after the most of their archive.

    Content, mode and times of a file leave a new ``ctime``, which nobody can put back. But a link that is
    made or removed leaves one too: each build and each environment that is deleted touches all files of an
    archive, within moments of each other. So a file that was touched later than the most was touched alone.

    Args:
        times: (ctime in nanoseconds, path) of each file.
    """
    if times and max(times)[0] - min(times)[0] <= _MOMENT_NS:
        return []  # nearly always
    groups: list[list[tuple[int, str]]] = []
    for time, path in sorted(times):
        if not groups or time - groups[-1][-1][0] > _MOMENT_NS:
            groups.append([])
        groups[-1].append((time, path))
    most = max(range(len(groups)), key=lambda number: len(groups[number]), default=0)
    return [path for group in groups[most + 1 :] for _, path in group]


def look(tree: Tree, patched: Iterable[str] = ()) -> Archive:
    """Read every file below the folder of ``tree``.

    Raises:
        OSError: if something cannot be read.
    """
    found, failed = digests(tree.root, tree.entries.values())
    for path, why in (failed | dict(tree.unreadable)).items():
        raise OSError(0, why, str(tree.root / path))
    facts = {".": _fact(tree.root, "")}
    for path, entry in tree.entries.items():
        facts[path] = _fact(tree.root / path, found.get(path, entry.target))
    return Archive(tree.root, facts, frozenset(patched))


def _fact(path: Path, content: str) -> Fact:
    now = path.lstat()
    return Fact(now.st_mode, now.st_size, now.st_mtime_ns, now.st_ino, content)


def read(place: Path, folder: Path) -> Archive | None:
    """Read the note at ``place`` about the archive in ``folder``, None for none, or one of no use."""
    try:
        data = json.loads(place.read_bytes(), parse_float=_refuse)
        if data["format"] != _FORMAT:
            return None
        new = tuple.__new__  # a third of the time of Fact(*row), forty thousand times
        facts = {path: new(Fact, row) for path, row in data["entries"].items()}
        if set(map(len, facts.values())) - {len(Fact._fields)}:
            return None
        return Archive(folder, facts, frozenset(data["patched"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _refuse(number: str) -> NoReturn:
    raise ValueError(number)


def write(place: Path, archive: Archive) -> None:
    """Write a note about ``archive`` to ``place``; a cache that cannot be written gets none."""
    text = json.dumps({"format": _FORMAT, "patched": sorted(archive.patched), "entries": archive.facts})
    # Not `write_atomic`: waiting for the disk 250 times takes longer than looking again after a crash, which
    # leaves a note that cannot be read.
    temporary = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(place)
        finally:
            temporary.unlink(missing_ok=True)


def close_modes(tree: Tree, mask: int) -> bool:
    """Take the permissions in ``mask`` from the files below ``tree``, as an unpacker that heeds the umask.

    py-rattler 0.28 gives files the modes that they have in the archive: many of conda-forge's can be written
    by a group.

    Returns:
        whether a mode was changed.
    """
    closed = False
    for path, entry in tree.entries.items():
        if entry.kind == "file" and entry.mode & mask:
            (tree.root / path).chmod(entry.mode & ~mask & 0o777)
            closed = True
    return closed


def is_file(fact: Fact) -> bool:
    return stat.S_ISREG(fact.mode)
