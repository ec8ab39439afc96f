"""Write tar archives whose bytes depend on nothing but the files' names, contents and executable bits."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

from d2lenv.base.files import new_beside

_EXECUTABLE, _PLAIN = 0o755, 0o644


def write(target: Path, members: Iterable[tuple[str, Path | bytes]]) -> None:
    """Write ``members`` (name in the archive, file or content) to ``target``, uncompressed, sorted by name.

    A link inside of an archived folder stays one; hard links become files of their own.

    Raises:
        D2lEnvError: if it cannot be written.
    """
    with new_beside(target) as file, tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, source in sorted(members, key=lambda member: member[0]):
            info = tarfile.TarInfo(name)
            if isinstance(source, bytes):
                info.size, info.mode = len(source), _PLAIN
                tar.addfile(info, io.BytesIO(source))
            elif source.is_symlink():
                info.type, info.linkname, info.mode = tarfile.SYMTYPE, str(source.readlink()), 0o777
                tar.addfile(info)
            else:
                status = source.stat()
                info.size = status.st_size
                info.mode = _EXECUTABLE if status.st_mode & 0o100 else _PLAIN
                with source.open("rb") as content:
                    tar.addfile(info, content)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive that :func:`write` made."""
    with tarfile.open(archive) as file:
        if hasattr(tarfile, "data_filter"):  # since Python 3.10.12 and 3.11.4
            file.extractall(folder, filter="data")
        else:
            file.extractall(folder)  # noqa: S202 - it is our own
