"""``bundle.json``: each file of a bundle with its size and sha256, and what could not be had.

A bundle comes from a USB stick or a teacher's server, so its manifest is read as untrusted input.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from d2lenv.base.errors import USAGE, D2lEnvError
from d2lenv.base.messages import printable, tr

NAME = "bundle.json"
SCHEMA = 1
WHEELS = "wheels"
"""The folder of the wheels, flat, as pip and uv take it with ``--find-links``."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
# Lower-case letters of a drive, backslashes and Windows' own signs lead out of the folder somewhere.
_PATH = re.compile(r"[\w.+!@=-]+(/[\w.+!@=-]+)*", re.ASCII)


@dataclass(frozen=True)
class File:
    """A file of a bundle.

    Attributes:
        path: below the bundle's folder, with ``/``.
        size: bytes.
        sha256: hex.
        serves: what needs it, as ``linux-64/cuda``; a platform alone for all of it, empty for every one.
    """

    path: str
    size: int
    sha256: str
    serves: tuple[str, ...]

    def is_for(self, platform: str, environment: str = "") -> bool:
        """Return whether the file is needed there; without ``environment`` for any of them."""
        wanted = {platform, f"{platform}/{environment}"}
        return not self.serves or any(
            one in wanted or (not environment and one.startswith(f"{platform}/")) for one in self.serves
        )


@dataclass(frozen=True)
class Carried:
    """An environment in a bundle, for one platform.

    Attributes:
        environment: its name.
        platform: the platform.
        python: the version that its wheels are for, as ``3.10``.
        interpreter: the archive of a Python of that version; empty if the machine must have one.
        digest: sha256 (hex) over its pins.
    """

    environment: str
    platform: str
    python: str
    interpreter: str
    digest: str


@dataclass(frozen=True)
class Lack:
    """Something that was asked for and is not in the bundle: what, and why."""

    what: str
    why: str


@dataclass(frozen=True)
class Manifest:
    """What a bundle holds."""

    carried: tuple[Carried, ...]
    files: tuple[File, ...]
    lacks: tuple[Lack, ...]

    @property
    def size(self) -> int:
        """Return how many bytes its files have."""
        return sum(file.size for file in self.files)

    @property
    def platforms(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(one.platform for one in self.carried))

    def text(self) -> str:
        """Return the manifest as it is written: the same bytes for the same content."""
        return json.dumps({"schema": SCHEMA, **asdict(self)}, indent=1, sort_keys=True) + "\n"


def read(folder: Path) -> Manifest:
    """Return the manifest of the bundle in ``folder``.

    Raises:
        D2lEnvError: if there is none, it is damaged, or it names a file outside of its folder.
    """
    path = folder / NAME
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise D2lEnvError(
            tr("{path} is no bundle", path=folder),
            why=tr("{path} cannot be read", path=path),
            fix=tr("name the folder that `d2lenv bundle create` wrote; an archive is unpacked first"),
            status=USAGE,
        ) from error
    except ValueError as error:
        raise _damaged(path, str(error)) from error
    try:
        return _checked(data)
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, str(error)) from error


def older(folder: Path) -> Manifest:
    """Return the manifest of an older bundle, given its folder or its manifest alone."""
    return read(folder.parent if folder.name == NAME else folder)


def _checked(data: Mapping[str, Any]) -> Manifest:
    if data["schema"] != SCHEMA:
        raise ValueError(tr("its format is {schema}, not {known}", schema=data["schema"], known=SCHEMA))
    files = tuple(_file(row) for row in _rows(data["files"]))
    paths = [file.path.casefold() for file in files]
    if len(paths) != len(set(paths)):
        raise ValueError(tr("it names a file twice"))
    return Manifest(
        carried=tuple(Carried(**_texts(row)) for row in _rows(data["carried"])),
        files=files,
        lacks=tuple(Lack(**_texts(row)) for row in _rows(data["lacks"])),
    )


def _rows(value: object) -> Sequence[Mapping[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise TypeError(tr("a list is none"))
    return value


def _texts(row: Mapping[str, Any]) -> dict[str, str]:
    if not all(isinstance(value, str) and value == printable(value) for value in row.values()):
        raise TypeError(tr("a text is none"))
    return dict(row)


def _file(row: Mapping[str, Any]) -> File:
    path, size, digest, serves = row["path"], row["size"], row["sha256"], row["serves"]
    if not isinstance(path, str) or not _PATH.fullmatch(path) or {".", ".."} & {*path.split("/")}:
        raise ValueError(tr("it names a file outside of its folder: {name}", name=printable(str(path))[:200]))
    if not isinstance(size, int) or size < 0 or not _SHA256.fullmatch(str(digest)):
        raise ValueError(tr("size or sha256 of {name} is none", name=path))
    return File(path, size, digest, tuple(str(one) for one in serves))


def _damaged(path: Path, why: str) -> D2lEnvError:
    return D2lEnvError(
        tr("{path} is damaged", path=path), why=printable(why)[:300], fix=tr("copy the bundle again")
    )
