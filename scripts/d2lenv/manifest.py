"""What a build leaves beside a prefix, so that later changes cannot hide.

A package's RECORD or conda-meta file says what its files are, but lies in the prefix with them. The manifest
lies outside: for every entry its kind, mode, size and time, for every link its target, and the sha256 of
every file that no package's digest covers, above all of the RECORD and conda-meta files themselves. So the
manifest vouches for the claims, and the claims for the files.
"""

from __future__ import annotations

import glob
import json
from dataclasses import dataclass
from pathlib import Path

from d2lenv import claims, prefix
from d2lenv.errors import D2lEnvError
from d2lenv.files import write_atomic
from d2lenv.messages import tr
from d2lenv.tree import Entry, Kind, digests, scan
from d2lenv.untrusted import refuse_prefix

_FORMAT = 1
_SUFFIX = ".manifest.json"
_LETTERS: dict[Kind, str] = {"file": "f", "link": "l", "folder": "d", "special": "s"}
_KINDS: dict[str, Kind] = {letter: kind for kind, letter in _LETTERS.items()}


@dataclass(frozen=True)
class Manifest:
    """A manifest in memory.

    Attributes:
        entries: path → entry, at the end of the build.
        sha256: path → digest, where no package states one.
    """

    entries: dict[str, Entry]
    sha256: dict[str, str]


def path_of(place: Path) -> Path:
    """Where the manifest of the prefix at ``place`` lies: beside it."""
    return place.with_name(f".{place.name}{_SUFFIX}")


def record(folder: Path) -> None:
    """Write the manifest of the finished prefix in ``folder`` beside it.

    Raises:
        D2lEnvError: a package put something there that must not be in a prefix, or the disk is full.
    """
    content = prefix.read(folder)
    claimed = claims.read(content)
    tree = scan(folder)
    refuse_prefix(tree, claimed)
    unclaimed = [
        entry for path, entry in tree.entries.items() if path in claimed.sources or not claimed.hashed(path)
    ]
    found, failed = digests(folder, unclaimed)
    if failed or tree.unreadable:
        path, why = next(iter((failed | dict(tree.unreadable)).items()))
        raise D2lEnvError(tr("{path} cannot be read", path=folder / path), why=why)
    rows = [
        (path, _LETTERS[kind], mode, size, mtime_ns, target or found.get(path, ""))
        for path, kind, mode, size, mtime_ns, target in sorted(tree.entries.values())
    ]
    write_atomic(path_of(folder), json.dumps({"format": _FORMAT, "entries": rows}) + "\n")


def settle(place: Path) -> None:
    """The folder that was built for ``place`` is there now: its manifest goes with it.

    Also puts right what a build killed between its last two renames left, and removes the manifests of
    folders that never got their name. Call it before those folders are removed.
    """
    whole = _waiting(place)
    if whole is not None:
        whole.replace(path_of(place))
    for other in _beside(place):
        other.unlink(missing_ok=True)


def _beside(place: Path) -> list[Path]:
    """The manifests of folders that are, or were, being built for ``place`` (``.NAME.building-PID``)."""
    return list(place.parent.glob(f"..{glob.escape(place.name)}.building-*{_SUFFIX}"))


def _waiting(place: Path) -> Path | None:
    """The newest manifest whose folder is gone: the folder got its name, and a kill came before this did."""
    left = [
        path for path in _beside(place) if not path.with_name(path.name[1:].removesuffix(_SUFFIX)).exists()
    ]
    return max(left, key=lambda path: path.stat().st_mtime_ns, default=None)


def read(place: Path) -> Manifest | None:
    """The manifest of the prefix at ``place``; None when there is none (a prefix that pixi itself made).

    Raises:
        D2lEnvError: it is damaged.
    """
    path = _waiting(place) or path_of(place)
    try:
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
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise D2lEnvError(
            tr("{path} cannot be read", path=path),
            why=str(error),
            fix=tr("`d2lenv build --fresh` makes the prefix and its manifest anew"),
        ) from error
    return Manifest(entries, sha256)
