"""What a build leaves beside a prefix, so that later changes cannot hide.

A package's RECORD or conda-meta file says what its files are, but lies in the prefix with them. The manifest
lies outside: for every entry its kind, mode, size and time, for every link its target, and the sha256 of
every file that no package's digest covers, above all of the RECORD and conda-meta files themselves. So the
manifest vouches for the claims, and the claims for the files.

A short manifest has only the entries that no package's digest covers. It costs a build of wheels a few
hundredths of a second, and vouches for every content all the same; modes are unknown to it, and of a file's
time it knows whether that was before the build's end.
"""

from __future__ import annotations

import glob
import json
import re
from dataclasses import dataclass
from pathlib import Path

from d2lenv.base.errors import D2lEnvError
from d2lenv.base.files import write_atomic
from d2lenv.base.messages import tr
from d2lenv.prefix import read as prefix
from d2lenv.prefix import records as claims
from d2lenv.prefix.scan import Entry, Kind, digests, scan
from d2lenv.prefix.screening import refuse_prefix

_FORMAT = 2
_SUFFIX = ".manifest.json"
_LETTERS: dict[Kind, str] = {"file": "f", "link": "l", "folder": "d", "special": "s"}
VENV = re.compile(
    r"pyvenv\.cfg|\.gitignore|lib64|d2lenv\.json|share/jupyter/kernels/d2l-[^/]+/kernel\.json"
    r"|(bin|Scripts)/(python[\d.w]*(\.exe)?|(de)?activate[\w.]*|activate_this\.py|pydoc\.bat)"
    r"|(lib/python[\d.]+|Lib)/site-packages/_virtualenv\.(py|pth)",
    re.IGNORECASE,
)
"""What uv and a build make in a virtual environment that no wheel owns."""
_SITE = r"(lib/python[\d.]+|Lib)/site-packages"
_OWN = re.compile(rf"{VENV.pattern}|\.lock|CACHEDIR\.TAG|{_SITE}/[^/]+\.dist-info/RECORD", re.IGNORECASE)
# The folders where those lie, and the folders above them.
_OWN_FOLDER = re.compile(
    rf"bin|Scripts|share(/jupyter(/kernels(/d2l-[^/]+)?)?)?|lib(/python[\d.]+)?|{_SITE}(/[^/]+\.dist-info)?",
    re.IGNORECASE,
)
_KINDS: dict[str, Kind] = {letter: kind for kind, letter in _LETTERS.items()}


@dataclass(frozen=True)
class Manifest:
    """A manifest in memory.

    Attributes:
        entries: path → entry, at the end of the build.
        sha256: path → digest, where no package states one.
        full: whether ``entries`` has the whole prefix.
    """

    entries: dict[str, Entry]
    sha256: dict[str, str]
    full: bool

    @property
    def end_ns(self) -> int:
        """When the build wrote its last file, by the clock of the disk that the prefix is on."""
        return max((entry.mtime_ns for entry in self.entries.values()), default=0)


def path_of(place: Path) -> Path:
    """Where the manifest of the prefix at ``place`` lies: beside it."""
    return place.with_name(f".{place.name}{_SUFFIX}")


def record(folder: Path, *, full: bool = True) -> None:
    """Write the manifest of the finished prefix in ``folder`` beside it.

    Args:
        full: every entry; otherwise, for a prefix made of wheels, those that no wheel's digest covers.

    Raises:
        D2lEnvError: a package put something there that must not be in a prefix, or the disk is full.
    """
    if full:
        claimed = claims.read(prefix.read(folder))
        tree = scan(folder)
        refuse_prefix(tree, claimed)
        entries = tree.entries
        unclaimed = [
            entry for path, entry in entries.items() if path in claimed.sources or not claimed.hashed(path)
        ]
    else:
        tree = scan(folder, lambda path: _OWN_FOLDER.fullmatch(path) is not None)
        entries = {path: entry for path, entry in tree.entries.items() if _OWN.fullmatch(path)}
        unclaimed = list(entries.values())
    found, failed = digests(folder, unclaimed)
    if failed or tree.unreadable:
        path, why = next(iter((failed | dict(tree.unreadable)).items()))
        raise D2lEnvError(tr("{path} cannot be read", path=folder / path), why=why)
    rows = [
        (path, _LETTERS[kind], mode, size, mtime_ns, target or found.get(path, ""))
        for path, kind, mode, size, mtime_ns, target in sorted(entries.values())
    ]
    write_atomic(path_of(folder), json.dumps({"format": _FORMAT, "full": full, "entries": rows}) + "\n")


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
        full = bool(data["full"])
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
    return Manifest(entries, sha256, full)
