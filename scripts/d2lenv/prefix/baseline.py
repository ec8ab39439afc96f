"""The record of a finished prefix that a build leaves beside it, so that later changes cannot hide.

A package's RECORD or conda-meta file says which files it has, but lies in the prefix with them. The baseline
lies outside: for every entry its kind, mode, size and time, for every link its target, and the sha256 of
every file that no package's digest covers, above all of the RECORD and conda-meta files themselves. So the
baseline vouches for the records, and the records for the files.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from d2lenv.base.errors import D2lEnvError
from d2lenv.base.files import write_atomic
from d2lenv.base.messages import tr
from d2lenv.prefix import marker, records, screening
from d2lenv.prefix.archives import Fact
from d2lenv.prefix.contents.prefix import read_prefix
from d2lenv.prefix.scan import Entry, Kind, Known, digests, scan

_FORMAT = 3
_JSON = json.JSONEncoder(separators=(",", ":")).encode
_SUFFIX = ".baseline.json"
_LETTERS: dict[Kind, str] = {"file": "f", "link": "l", "folder": "d", "special": "s"}
_KINDS: dict[str, Kind] = {letter: kind for kind, letter in _LETTERS.items()}
VENV = re.compile(
    r"pyvenv\.cfg|\.gitignore|lib64|d2lenv\.json|share/jupyter/kernels/d2l-[^/]+/kernel\.json"
    r"|(bin|Scripts)/(python[\d.w]*(\.exe)?|(de)?activate[\w.]*|activate_this\.py|pydoc\.bat)"
    r"|(lib/python[\d.]+|Lib)/site-packages/_virtualenv\.(py|pth)",
    re.IGNORECASE,
)
"""The files that uv and a build make in a virtual environment that no wheel owns."""


class BaselineError(D2lEnvError):
    """The baseline of a prefix is missing, damaged, or not the only one."""


@dataclass(frozen=True)
class Baseline:
    """A baseline in memory.

    Attributes:
        entries: path → entry, at the end of the build.
        sha256: path → digest, at least where no package states one.
    """

    entries: dict[str, Entry]
    sha256: dict[str, str]

    @property
    def end_ns(self) -> int:
        """When the build wrote its last file, by the clock of the disk that the prefix is on."""
        return max((entry.mtime_ns for entry in self.entries.values()), default=0)


def path_of(place: Path) -> Path:
    """Return where the baseline of the prefix at ``place`` lies: beside it."""
    return place.with_name(f".{place.name}{_SUFFIX}")


def known_files(files: Mapping[str, Fact], archive: Path, beside: Path) -> dict[str, Known]:
    """Return path → what a baseline will say of files that get into a prefix as they are in an archive.

    Args:
        files: path in the prefix → fact.
        archive: the folder in which the archive is unpacked.
        beside: a folder on the prefix's disk: there are no hard links between two disks.
    """
    linked = archive.stat().st_dev == beside.stat().st_dev
    found = {}
    for path, (mode, size, mtime_ns, inode, sha256) in files.items():
        bits = mode & 0o7777
        row = f'[{_JSON(path)},"f",{bits:d},{size:d},{mtime_ns:d},{_JSON(sha256)}]'
        entry = Entry(path, "file", bits, size, mtime_ns)
        found[path] = Known(entry, inode if linked else -1, sha256, row)
    return found


def record(folder: Path, known: Mapping[str, Known] | None = None) -> None:
    """Write the baseline of the finished prefix in ``folder`` beside it.

    Args:
        known: the files for which the engine vouches, whose packages were screened. Nothing or empty: the
            packages' own records are read, and screened here.

    Raises:
        D2lEnvError: if a package put something there that must not be in a prefix, or the disk is full.
    """
    known = known or {}
    claimed = records.Records() if known else records.read(read_prefix(folder))
    tree = scan(folder, known=known)
    screening.refuse_prefix(tree, claimed)
    stated = known or {path for path in claimed.of if claimed.hashed(path) and path not in claimed.sources}
    found, failed = digests(folder, [entry for path, entry in tree.entries.items() if path not in stated])
    if failed or tree.unreadable:
        path, why = next(iter((failed | dict(tree.unreadable)).items()))
        raise D2lEnvError(tr("{path} cannot be read", path=folder / path), why=why)
    rows = (_row(entry, known.get(path), found.get(path, "")) for path, entry in tree.entries.items())
    text = f'{{"format":{_FORMAT},"entries":[{",".join(rows)}]}}'
    write_atomic(path_of(folder), text + "\n")


def _row(entry: Entry, file: Known | None, sha256: str) -> str:
    if file is not None:
        if file.entry is entry:
            return file.row
        sha256 = file.sha256
    path, kind, mode, size, mtime_ns, target = entry
    return _JSON((path, _LETTERS[kind], mode, size, mtime_ns, target or sha256))


def settle(place: Path) -> None:
    """Give the baseline of the folder that was built for ``place`` its name, and remove those of others.

    A build that is killed between its last two renames leaves a prefix whose baseline has not got its name
    yet. Call this before the half-made folders are removed: a baseline whose folder is there is of a
    build that did not end.
    """
    whole = unsettled(place)
    if whole is not None:
        whole.replace(path_of(place))
    for other in _beside(place):
        other.unlink(missing_ok=True)


def hand_over(built: Path, place: Path) -> None:
    """Give the baseline of the folder ``built``, which has just become ``place``, its name."""
    path_of(built).replace(path_of(place))
    for other in _beside(place):
        other.unlink(missing_ok=True)


def _beside(place: Path) -> list[Path]:
    """Return the baselines of the folders that were made to become ``place`` (``.NAME.building-PID``)."""
    return list(place.parent.glob(f"..{glob.escape(place.name)}.building-*{_SUFFIX}"))


def _waiting(place: Path) -> list[Path]:
    """Return the baselines beside ``place`` whose folder is gone: it got its name, or somebody removed it."""
    return [
        path for path in _beside(place) if not path.with_name(path.name[1:].removesuffix(_SUFFIX)).exists()
    ]


def unsettled(place: Path) -> Path | None:
    """Return the one baseline that is of the prefix at ``place`` and has not got its name yet."""
    waiting = _waiting(place)
    if not waiting or _is_of(path_of(place), place):
        return None
    proven = [path for path in waiting if _is_of(path, place)]
    return proven[0] if len(proven) == 1 else None


def _is_of(path: Path, place: Path) -> bool:
    """Return True if the baseline at ``path`` was written by the build that made the prefix at ``place``.

    Each build writes its marker anew, so digest and time of the marker tell the builds apart.
    """
    try:
        found = _parse(path)
        entry, file = found.entries[marker.MARKER], place / marker.MARKER
        status = file.stat()
        return (entry.size, entry.mtime_ns) == (status.st_size, status.st_mtime_ns) and found.sha256[
            marker.MARKER
        ] == hashlib.sha256(file.read_bytes()).hexdigest()
    except (OSError, ValueError, KeyError, TypeError):
        return False


def read(place: Path) -> Baseline | None:
    """Read the baseline of the prefix at ``place``, None for a prefix that this tool did not build.

    Raises:
        BaselineError: if it is missing or damaged, or another one that is not of this prefix lies beside it.
    """
    path = unsettled(place)
    if path is None:
        path = path_of(place)
        _refuse_second(place)
    try:
        return _parse(path)
    except FileNotFoundError:
        if not marker.read(place):
            return None
        raise BaselineError(
            tr("{path} is missing, so nothing outside vouches for {prefix}", path=path, prefix=place),
            fix=tr("`d2lenv build` makes the prefix and its baseline anew"),
        ) from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise BaselineError(
            tr("{path} cannot be read", path=path),
            why=str(error),
            fix=tr("`d2lenv build` makes the prefix and its baseline anew"),
        ) from error


def moved(place: Path) -> tuple[list[str], list[str]]:
    """Compare the prefix at ``place`` with its baseline as ``stat`` sees it: kinds, sizes, times, targets.

    Fast, for a build that only looks whether all is still there: nothing is read, and added entries and
    modes are left to ``d2lenv verify``. Bytecode is not looked at, as Python itself replaces it.

    Returns:
        paths that are missing or of another kind, and paths of which size, time or target is another.

    Raises:
        BaselineError: as :func:`read`.
    """
    recorded = read(place)
    missing: list[str] = []
    changed: list[str] = []
    for entry in (recorded.entries if recorded else {}).values():
        if not entry.path.endswith((".pyc", "__pycache__")):
            _look(f"{place}/{entry.path}", entry, missing, changed)
    return missing, changed


def _look(path: str, before: Entry, missing: list[str], changed: list[str]) -> None:
    try:
        now = os.lstat(path)
    except OSError:
        missing.append(before.path)
        return
    is_kind = {"file": stat.S_ISREG, "link": stat.S_ISLNK, "folder": stat.S_ISDIR}.get(before.kind)
    if is_kind is not None and not is_kind(now.st_mode):
        missing.append(before.path)
    elif before.kind == "link":
        if _target(path) != before.target:
            changed.append(before.path)
    elif before.kind == "file" and (now.st_size, now.st_mtime_ns) != (before.size, before.mtime_ns):
        changed.append(before.path)


def _target(link: str) -> str:
    return os.readlink(link).replace(os.sep, "/")  # noqa: PTH115 - a Path would drop a closing slash


def _refuse_second(place: Path) -> None:
    for second in _waiting(place):
        raise BaselineError(
            tr("{path} is a second baseline, and not of the prefix beside it", path=second),
            why=tr("only a build that was killed leaves one, and then it is the prefix's own"),
            fix=tr("remove it, then run `d2lenv verify` again"),
        )


def _parse(path: Path) -> Baseline:
    """Parse the file at ``path``.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is not of this format; KeyError or TypeError for other damage.
    """
    data = json.loads(path.read_text(encoding="utf-8"))
    if data["format"] != _FORMAT:
        raise ValueError(tr("format {number} is not known", number=data["format"]))
    entries: dict[str, Entry] = {}
    sha256: dict[str, str] = {}
    for name, letter, mode, size, mtime_ns, rest in data["entries"]:
        link = letter == "l"
        entries[name] = Entry(name, _KINDS[letter], mode, size, mtime_ns, rest if link else "")
        if rest and not link:
            sha256[name] = rest
    return Baseline(entries, sha256)
