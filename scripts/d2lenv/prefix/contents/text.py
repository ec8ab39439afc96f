"""Read untrusted files: what cannot be read is noted, and nothing waits or raises."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from d2lenv.base.messages import tr
from d2lenv.prefix.contents.model import Unreadable

JSON_LIMIT = 64 << 20


def read_text(path: Path, limit: int, trouble: list[Unreadable]) -> str:
    """Return the first ``limit`` bytes of a regular file as text, or note in ``trouble`` why not.

    Devices, pipes and folders are refused before they are opened: opening a pipe would wait for ever.
    """
    try:
        with open_file(path) as file:
            data: bytes = file.read(limit)
    except (OSError, ValueError) as error:
        trouble.append(Unreadable(path, reason(error)))
        return ""
    return data.decode("utf-8", errors="replace").replace("\r\n", "\n")


def read_optional(path: Path, limit: int, trouble: list[Unreadable]) -> str:
    """Do the same for a file that need not be there: its absence is no trouble."""
    return read_text(path, limit, trouble) if exists(path) else ""


def open_file(path: Path) -> Any:
    """Open a regular file in binary; an OSError for anything else."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(tr("not a regular file"))
    return open(path, "rb")  # noqa: PTH123 - Path.open costs 15 % of a prefix with 300 distributions


def reason(error: Exception) -> str:
    """Return the system's own words for an error."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def is_folder(path: Path) -> bool:
    """Return True for a folder or a link to one, False for an impossible name."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def exists(path: Path) -> bool:
    """Return True if there is an entry of that name, be it a dangling link."""
    try:
        return os.path.lexists(path)
    except (OSError, ValueError):
        return False


def why_no_folder(path: Path) -> str:
    """Return the reason why ``path`` is no folder."""
    try:
        path.stat()
    except (OSError, ValueError) as error:
        return reason(error)
    return tr("not a folder")


def entries(folder: Path, trouble: list[Unreadable]) -> list[os.DirEntry[str]]:
    """Return the entries of a folder. One that cannot be read has none and is noted in ``trouble``."""
    try:
        with os.scandir(folder) as found:
            return list(found)
    except (OSError, ValueError) as error:
        trouble.append(Unreadable(folder, reason(error)))
        return []


def read_object(path: Path, trouble: list[Unreadable]) -> dict[str, Any]:
    """Return a JSON object, empty if the file does not exist or, with a note, if it is something else."""
    if not exists(path):
        return {}
    before = len(trouble)
    text = read_text(path, JSON_LIMIT, trouble)
    if len(trouble) > before:
        return {}
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        trouble.append(Unreadable(path, tr("not JSON: {reason}", reason=error)))
        return {}
    if not isinstance(data, dict):
        trouble.append(Unreadable(path, tr("not a JSON object")))
        return {}
    return data


def text_of(data: Mapping[str, Any], key: str) -> str:
    """Return the string under ``key``, empty for another value."""
    value = data.get(key)
    return value if isinstance(value, str) else ""
