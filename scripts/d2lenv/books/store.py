"""What is known of a book in an environment: a file for each notebook, written when the notebook has ended.

A result counts as long as what it depends on is the same: the notebook, the files that the book brings along,
the data that the notebook found, the environment, the GPUs. Whatever stops a run loses what was running, and
nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from d2lenv.base.files import write_atomic
from d2lenv.books.classes import CLASSES, Class, Classed

FOLDER = "results"
_SCHEMA = 1


@dataclass(frozen=True)
class Key:
    """All that a result depends on, digests as hexadecimal sha256.

    Attributes:
        files: of what lies in the book besides notebooks.
        data: path in the shared folder → its digest as its table states it.
        environment: the environment's fingerprint.
        extras: the names and versions of the extra packages.
        gpus: how many NVIDIA GPUs there are.
        devices: the file with fallbacks for d2l's GPU functions, empty for the book's own.
    """

    notebook: str
    files: str
    data: Mapping[str, str]
    environment: str
    extras: str = ""
    gpus: int = 0
    devices: str = ""


@dataclass(frozen=True)
class Known:
    """The result of one notebook of a book.

    Attributes:
        notebook: its path in the book, with ``/``.
        started: when, as ISO 8601.
        cells, cells_done: code cells, and those that came to their end.
        limits: seconds of CPU and wall that it was given; 0 for no limit.
        executed: the executed notebook below the report's folder, empty when it did not run.
        figure: the file of its last figure below the report's folder, empty without one.
    """

    notebook: str
    kind: Class
    reason: str = ""
    values: Mapping[str, str | int] = field(default_factory=dict)
    started: str = ""
    seconds: float = 0.0
    cpu_s: float = 0.0
    memory: int = 0
    cells: int = 0
    cells_done: int = 0
    limits: tuple[float, float] = (0.0, 0.0)
    place: str = ""
    traceback: str = ""
    executed: str = ""
    figure: str = ""

    @property
    def classed(self) -> Classed:
        """Return its class and reason."""
        return Classed(self.kind, self.reason, self.values)

    @property
    def chapter(self) -> str:
        """Return the folder of the notebook, empty for one beside the chapters."""
        return self.notebook.rpartition("/")[0]


def name_of(notebook: str) -> str:
    """Return ``chapter.name``, a name for files about a notebook that no other has."""
    return notebook.removesuffix(".ipynb").replace("/", ".")


def write(folder: Path, known: Known, key: Key) -> None:
    """Keep a result below the report's ``folder``.

    Raises:
        D2lEnvError: if it cannot be written.
    """
    data = {"schema": _SCHEMA, "key": asdict(key), "result": asdict(known)}
    write_atomic(
        folder / FOLDER / f"{name_of(known.notebook)}.json", json.dumps(data, ensure_ascii=False, indent=1)
    )


def read(folder: Path, notebook: str, key: Key, limits: tuple[float, float]) -> Known | None:
    """Return the result that is kept of ``notebook``, if it still counts.

    One that a limit has stopped counts under the same limits or lower ones.
    """
    known = _read(folder / FOLDER / f"{name_of(notebook)}.json", key)
    if known is None or known.kind == "stopped" or known.notebook != notebook:
        return None
    if known.kind == "slow" and any(_more(now, then) for now, then in zip(limits, known.limits, strict=True)):
        return None
    return known


def _more(now: float, then: float) -> bool:
    return then != 0 and (now == 0 or now > then)


def _read(path: Path, key: Key) -> Known | None:
    with suppress(OSError, ValueError, KeyError, TypeError):
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["schema"] == _SCHEMA and data["key"] == asdict(key):
            return _known(data["result"])
    return None


def _known(data: dict[str, Any]) -> Known:
    known = Known(**{**data, "limits": (float(data["limits"][0]), float(data["limits"][1]))})
    if known.kind not in CLASSES:
        raise ValueError(known.kind)
    return known


def digest(raw: bytes) -> str:
    """Return the sha256 in hexadecimal digits."""
    return hashlib.sha256(raw).hexdigest()


def digest_of_files(folder: Path, files: Iterator[Path]) -> str:
    """Return one digest of the paths below ``folder`` and the contents of files."""
    found = hashlib.sha256()
    for path in sorted(files):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256") if hasattr(hashlib, "file_digest") else None
            raw = content.hexdigest() if content else digest(file.read())
        found.update(f"{path.relative_to(folder).as_posix()}\0{raw}\n".encode("utf-8", "surrogateescape"))
    return found.hexdigest()
