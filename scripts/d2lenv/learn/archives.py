"""The books' archives of notebooks: where they are, and how one is unpacked.

The addresses are those that the books' installation chapters print (seen on 2026-11-22 in several independent
copies of those chapters). No sha256 of the archives was seen anywhere, so none is given and nothing is
downloaded: a file that cannot be checked is the reader's to fetch. It is untrusted, too: every name in it is
looked at before anything is written, and no damage in it may look like a fault of the disk.
"""

from __future__ import annotations

import errno
import hashlib
import lzma
import os
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

import psutil

from d2lenv.base.errors import USAGE, D2lEnvError
from d2lenv.base.messages import printable, tr


@dataclass(frozen=True)
class Book:
    """An edition whose notebooks are an archive.

    Attributes:
        address: where the book says that the archive is.
        sha256: of the archive, empty because nobody has been seen to state it.
        d2l: the release of the library that its notebooks need.
    """

    address: str
    d2l: str
    sha256: str = ""


BOOKS = {
    "en": Book("https://d2l.ai/d2l-en-1.0.3.zip", "1.0.3"),
    "zh": Book("https://zh-v2.d2l.ai/d2l-zh-2.0.0.zip", "0.17.6"),
}

FRAMEWORKS = ("pytorch", "mxnet", "tensorflow", "jax", "paddle")
"""The folders at the top of an archive, one set of notebooks each."""

# Both archives together are far smaller; a file that unpacks to more is not one of them.
_MOST_BYTES = 8 * 10**9
_MOST_FILES = 100_000
_BLOCK = 1 << 20

# Beyond BadZipFile: what zipfile and the decompressors raise for damaged, encrypted or strange archives.
_DAMAGED = (
    zipfile.BadZipFile, EOFError, OSError, RuntimeError, ValueError, KeyError, IndexError, OverflowError,
    MemoryError, struct.error, zlib.error, lzma.LZMAError,
)  # fmt: skip


def get(edition: str, archive: Path | None, target: Path, framework: str = "pytorch") -> tuple[Path, str]:
    """Unpack one framework's notebooks of a downloaded archive into ``target``.

    Returns:
        the folder with the chapters, and the archive's sha256.

    Raises:
        D2lEnvError: if no archive is given (the message says where it is), the file is none, or ``target`` is
            taken.
    """
    if archive is None:
        raise _where(edition)
    if os.path.lexists(target):
        raise _taken(target)
    with _opened(archive) as file:
        digest = _checked_digest(file, archive, BOOKS[edition].sha256)
        building = target.with_name(f".{target.name}.unpacking-{os.getpid()}")
        try:
            _remove_stale(target)
            building.mkdir(parents=True)
            _unpack(file, archive, framework, building)
            _move(building, target)
        except OSError as error:
            raise _cannot_write(error, target) from error
        finally:
            shutil.rmtree(building, ignore_errors=True)
    return target, digest


def _where(edition: str) -> D2lEnvError:
    address = BOOKS[edition].address
    name = address.rsplit("/", 1)[1]
    return D2lEnvError(
        tr("d2lenv does not download {name}: no sha256 is known to check it with", name=name),
        fix=tr(
            "`curl -L -O {address}`, then `d2lenv books get {edition} {name}`",
            address=address,
            edition=edition,
            name=name,
        ),
    )


def _taken(target: Path) -> D2lEnvError:
    return D2lEnvError(
        tr("{path} is there already", path=target),
        fix=tr("choose another --folder, or remove it yourself"),
        status=USAGE,
    )


def _cannot_write(error: OSError, target: Path) -> D2lEnvError:
    return D2lEnvError(
        tr("{path} cannot be written", path=error.filename or target),
        why=error.strerror or str(error),
        fix=tr("free some space or make the folder writable, then run the command again"),
    )


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """Open the archive once: the bytes that were hashed are the bytes that are unpacked."""
    try:
        if not path.is_file():  # a pipe would be waited for, a device read without end
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        file = path.open("rb")
    except OSError as error:
        raise D2lEnvError(
            tr("{path} cannot be read", path=path), why=error.strerror or str(error), status=USAGE
        ) from error
    with file:
        yield file


def _checked_digest(file: IO[bytes], path: Path, wanted: str) -> str:
    digest = hashlib.sha256()
    with _damage(path):
        while block := file.read(_BLOCK):
            digest.update(block)
    if wanted and digest.hexdigest() != wanted:
        raise D2lEnvError(
            tr("{path} is not the archive that it should be", path=path),
            why=f"sha256 {digest.hexdigest()} != {wanted}",
            fix=tr("download it again"),
        )
    return digest.hexdigest()


def _remove_stale(target: Path) -> None:
    """Remove the leftovers of killed processes; those of a running one are its own."""
    begin = f".{target.name}.unpacking-"
    for folder in target.parent.glob("*.unpacking-*"):
        process = folder.name.removeprefix(begin) if folder.name.startswith(begin) else ""
        if process.isdecimal() and (int(process) == os.getpid() or not psutil.pid_exists(int(process))):
            shutil.rmtree(folder, ignore_errors=True)


def _unpack(file: IO[bytes], path: Path, framework: str, building: Path) -> None:
    with _damage(path):
        opened = zipfile.ZipFile(file)
    with opened:
        members = _checked(opened, path, framework)
        for member, place in members:
            copy = building.joinpath(*place.parts)
            copy.parent.mkdir(parents=True, exist_ok=True)
            with _damage(path):
                source = opened.open(member)
            with source, copy.open("wb") as written:
                while block := _block(source, path):
                    written.write(block)
    if not any(place.suffix == ".ipynb" for _, place in members):
        raise D2lEnvError(
            tr("{path} has no notebooks for {framework}", path=path, framework=framework),
            fix=tr("choose one of: {names}", names=", ".join(FRAMEWORKS)),
            status=USAGE,
        )


def _block(source: IO[bytes], path: Path) -> bytes:
    with _damage(path):
        return source.read(_BLOCK)


def _move(building: Path, target: Path) -> None:
    """Give the finished folder its name; another process may have been faster."""
    try:
        building.rename(target)
    except OSError as error:
        if os.path.lexists(target):
            raise _taken(target) from error
        raise


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Say of whatever goes wrong while the archive ``path`` is read that the archive is at fault."""
    try:
        yield
    except _DAMAGED as error:
        raise D2lEnvError(
            tr("{path} is not a zip archive that can be read", path=path),
            why=str(error) or type(error).__name__,
            fix=tr("download it again"),
        ) from error


def _checked(
    file: zipfile.ZipFile, path: Path, framework: str
) -> Sequence[tuple[zipfile.ZipInfo, PurePosixPath]]:
    """Return (file in the archive, its place below the target) of the framework's files and the shared ones.

    Raises:
        D2lEnvError: if the archive has a file that must not be written, or more than a book has.
    """
    # Archives made on Windows may end a folder's name in a backslash.
    files = (member for member in file.infolist() if not member.filename.endswith(("/", "\\")))
    members = [(member, _place(member)) for member in files]
    wanted = [
        (member, PurePosixPath(*place.parts[1:]) if place.parts[0] == framework else place)
        for member, place in members
        if place.parts[0] == framework or place.parts[0] not in (*FRAMEWORKS, "__MACOSX")
    ]
    _refuse_collisions(place for _, place in wanted)
    if len(wanted) > _MOST_FILES or sum(member.file_size for member, _ in wanted) > _MOST_BYTES:
        raise D2lEnvError(tr("{path} unpacks to more than a book has", path=path))
    return wanted


def _place(member: zipfile.ZipInfo) -> PurePosixPath:
    name = member.filename
    place = PurePosixPath(name.replace("\\", "/"))
    if place.is_absolute() or ".." in place.parts or ":" in name or stat.S_ISLNK(member.external_attr >> 16):
        raise D2lEnvError(
            tr("the archive has a file that leads out of its folder: {name}", name=printable(name))
        )
    if not place.parts or not name.isprintable() or any(len(os.fsencode(part)) > 200 for part in place.parts):
        raise D2lEnvError(tr("the archive has a file whose name cannot be used: {name}", name=_quoted(name)))
    return place


def _quoted(name: str) -> str:
    return f'"{printable(name[:200])}"'


def _refuse_collisions(places: Iterable[PurePosixPath]) -> None:
    """Refuse two files of one name, and a file that is another's folder.

    Names that differ in case only are two: the Chinese book has ``img/Neuron.svg`` and ``img/neuron.svg``.
    On a disk that takes them for one the later stays, as with any program that unpacks.

    Raises:
        D2lEnvError: if there are such.
    """
    files: set[tuple[str, ...]] = set()
    folders: set[tuple[str, ...]] = {()}
    for place in places:
        parts = place.parts
        above = {parts[:length] for length in range(len(parts))}
        if parts in files or parts in folders or not above.isdisjoint(files):
            raise D2lEnvError(tr("the archive has two files of one name: {name}", name=_quoted(str(place))))
        files.add(parts)
        folders |= above
