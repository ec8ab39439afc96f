"""Is a file the one that the table means."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path
from typing import BinaryIO, Protocol

from d2lenv.data.table import DataFile

_BLOCK = 1 << 20


class Hash(Protocol):
    """One of hashlib's."""

    def update(self, data: bytes, /) -> None: ...

    def hexdigest(self) -> str: ...


def start(algorithm: str) -> Hash:
    """Return an empty digest of an algorithm of the table."""
    name = algorithm.removesuffix("-prefix")
    # Neither sha1 nor md5 keeps out an attacker; they are what the books and torchvision state.
    return hashlib.new(name, usedforsecurity=False)


def fits(file: DataFile, digest: str) -> bool:
    """Return whether a digest is the file's; of some files only the first digits are known."""
    return digest.startswith(file.digest) if file.algorithm.endswith("-prefix") else digest == file.digest


def of(stream: BinaryIO, algorithm: str) -> str:
    """Return the digest of everything that is left in ``stream``."""
    digest = start(algorithm)
    while block := stream.read(_BLOCK):
        digest.update(block)
    return digest.hexdigest()


def is_the(file: DataFile, path: Path) -> bool:
    """Return whether ``path`` is the file that the table means.

    Raises:
        OSError: if it cannot be read.
    """
    found = path.stat()
    size = found.st_size
    if not stat.S_ISREG(found.st_mode):  # a pipe would be waited for
        return False
    if size > file.at_most or file.size not in (None, size):
        return False
    with path.open("rb") as stream:
        return fits(file, of(stream, file.algorithm))
