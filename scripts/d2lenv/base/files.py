"""Files that are either wholly written or not touched, private ones, and locks that keep a process out."""

from __future__ import annotations

import errno
import os
import secrets
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from d2lenv.base.errors import D2lEnvError
from d2lenv.base.messages import tr


def write_atomic(path: Path, data: str | bytes, *, private: bool = False) -> None:
    r"""Write ``data`` to a temporary file beside ``path``, then rename it over ``path``.

    Text is UTF-8 with ``\n`` line ends on every system. An interrupted or failed write leaves the old
    file as it was.

    Args:
        private: only the owner may read the file, whatever its mode was before.

    Raises:
        D2lEnvError: if the folder is not writable or the disk is full.
    """
    with new_beside(path, private=private) as file:
        file.write(data.encode("utf-8") if isinstance(data, str) else data)


@contextmanager
def new_beside(path: Path, *, private: bool = False) -> Iterator[BinaryIO]:
    """Give a temporary file beside ``path`` to write into, and rename it over ``path`` after the body.

    A body that ends by an exception leaves the old file as it was.

    Args:
        private: as in :func:`write_atomic`.

    Raises:
        D2lEnvError: if the folder is not writable or the disk is full.
    """
    # The name is chosen before the file is made: a signal in between leaves nothing behind.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open_private(temporary, new=True) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # A file that others may read keeps its mode, a new one gets the umask's.
        if not private:
            temporary.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~umask())
        temporary.replace(path)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def private_folder(path: Path) -> Path:
    """Make ``path`` a folder that only its owner can enter, and return it.

    Missing parents get the umask's mode. A folder of the user's that is already there is closed.

    Raises:
        D2lEnvError: if it cannot be made, or is a link, a file or somebody else's folder.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if hasattr(os, "geteuid") and found.st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, tr("the folder is another user's"))
        if stat.S_IMODE(found.st_mode) != 0o700:
            path.chmod(0o700)
    except OSError as error:
        raise _cannot_write(path, error) from error
    return path


@contextmanager
def short_folder(preferred: Path, longest: int) -> Iterator[Path]:
    """Yield ``preferred``, or a temporary private folder if its path has more bytes than ``longest``.

    A Unix socket's address holds 104 bytes on macOS and 108 on Linux, its folder included.
    """
    if sys.platform == "win32" or len(os.fsencode(preferred)) <= longest:
        yield preferred
        return
    # Not TMPDIR, which is long itself on macOS.
    with tempfile.TemporaryDirectory(prefix="d2lenv-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def open_private(path: Path, *, new: bool = False) -> BinaryIO:
    """Open ``path`` for writing, empty and readable only for its owner; a link is not followed.

    Args:
        new: there must be no such file yet.

    Raises:
        OSError: if it cannot be opened.
    """

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | getattr(os, "O_NOFOLLOW", 0), 0o600)

    file = open(path, "xb" if new else "wb", opener=opener)  # noqa: SIM115 - Path.open has no opener
    try:
        if hasattr(os, "fchmod"):
            os.fchmod(file.fileno(), 0o600)
    except OSError:
        file.close()
        raise
    return file


def is_writable(folder: Path) -> bool:
    """Return whether files can be made in ``folder``, which is made if it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def umask() -> int:
    """Return the permissions that new files of this process do not get."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _cannot_write(path: Path, error: OSError) -> D2lEnvError:
    return D2lEnvError(
        tr("{path} cannot be written; the old file, if there was one, is untouched", path=path),
        why=error.strerror or str(error),
        fix=tr("free some space or make the folder writable, then run the command again"),
    )


@contextmanager
def exclusive_lock(
    path: Path, what: str, say: Callable[[str], None], timeout_s: float = -1
) -> Iterator[None]:
    """Hold the lock file ``path`` while the body runs; name the process that is waited for.

    The lock is the operating system's and ends with its process, so a killed process never blocks.
    The holder's process id and purpose stand in ``<path>.owner`` for the process that waits.

    Args:
        what: the holder's purpose, for the message of the process that waits.
        say: receives that message, once.
        timeout_s: seconds to wait; negative waits for ever.

    Raises:
        D2lEnvError: if the lock was not free within ``timeout_s`` or its folder is not writable.
    """
    from filelock import FileLock, Timeout  # 30 ms that a process which holds no lock does without

    owner = path.with_name(path.name + ".owner")
    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say(tr("waiting for another process ({owner}) to finish", owner=_owner(owner)))
            lock.acquire(timeout=timeout_s)
        owner.write_text(f"{os.getpid()}: {what}", encoding="utf-8")
    except Timeout as error:
        raise D2lEnvError(
            tr("another process ({owner}) still holds {path}", owner=_owner(owner), path=path),
            fix=tr("wait until it has finished, or stop it"),
        ) from error
    except OSError as error:
        lock.release()
        raise _cannot_write(path, error) from error
    try:
        yield
    finally:
        with suppress(OSError):
            owner.unlink(missing_ok=True)
        lock.release()


def _owner(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return tr("unknown")


def absolute(path: Path) -> Path:
    """Return ``path`` from the root, without ``..``; links are not followed."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute keeps `..`
