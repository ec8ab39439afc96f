"""Download one file over HTTP: resumed, bounded, and never held up for ever.

``pooch`` (1.9, looked at on 2026-11-24) begins every file again, knows no digest of which only the first
digits are stated, and bounds neither size nor time. ``requests`` and ``httpx`` would add five packages for
what :mod:`http.client` gives: ranges, and ``read1``, which returns what has arrived, so that a server that
trickles is noticed.
"""

from __future__ import annotations

import errno
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import BinaryIO, Protocol
from urllib.parse import urlsplit

from d2lenv import __version__
from d2lenv.base.messages import tr
from d2lenv.data.table import DataFile

_BLOCK = 1 << 18
_ATTEMPTS = 3


@dataclass(frozen=True)
class Limits:
    """When a download is given up.

    Attributes:
        silence_s: no byte for so long.
        window_s: fewer than ``lowest`` bytes a second over so long.
    """

    silence_s: float = 30
    window_s: float = 60
    lowest: int = 1024


OnBytes = Callable[[int, int | None], object]


class Refused(Exception):
    """This source does not have the file; the message says why, and another may have it."""


class Stopping(Exception):
    """The download was told to end."""


class _Answer(Protocol):
    status: int
    headers: http.client.HTTPMessage

    def read1(self, amount: int, /) -> bytes: ...


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to http and https only, and not from https to http."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: object,
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        before, after = urlsplit(req.full_url).scheme, urlsplit(newurl).scheme
        if after not in ("http", "https") or (before == "https" and after == "http"):
            raise Refused(tr("it leads from {before} to {after}", before=before, after=after))
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def fetch(
    url: str,
    file: DataFile,
    part: Path,
    limits: Limits,
    stopping: Event,
    on_bytes: OnBytes,
) -> None:
    """Download ``url`` to ``part``, from where ``part`` ends; try again after a break.

    Args:
        on_bytes: hears after each block how many bytes there are, and of how many (None: nobody has said).

    Raises:
        Refused: if the address does not give the file.
        Stopping: if ``stopping`` was set.
        OSError: if ``part`` cannot be written.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            _fetch_once(url, file, part, limits, stopping, on_bytes)
        except (Refused, Stopping):
            raise
        except urllib.error.HTTPError as error:
            if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and _size(part):
                return  # there is no more than that; the digest says whether it is right
            raise Refused(tr("the server answers {status}", status=f"{error.code} {error.reason}")) from error
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
                raise
            if attempt == _ATTEMPTS:
                raise Refused(_why(error)) from error
            if stopping.wait(attempt):
                raise Stopping from error
        else:
            return


def _why(error: Exception) -> str:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    return str(reason) or type(error).__name__


def _size(part: Path) -> int:
    try:
        return part.stat().st_size
    except OSError:
        return 0


def _fetch_once(
    url: str,
    file: DataFile,
    part: Path,
    limits: Limits,
    stopping: Event,
    on_bytes: OnBytes,
) -> None:
    have = _size(part)
    # Nothing is unpacked on the way: the digest is of the file as it lies there.
    headers = {"Accept-Encoding": "identity", "User-Agent": f"d2lenv/{__version__}"}
    if have:
        headers["Range"] = f"bytes={have}-"
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.build_opener(_Redirects).open(request, timeout=limits.silence_s) as answer:
        begin = _begin(answer, have)
        _check_length(answer, file, begin)
        with _opened(part, begin) as target:
            _copy(answer, target, begin, file, limits, stopping, on_bytes)


def _begin(answer: _Answer, have: int) -> int:
    """Return where in the file the answer's bytes belong; a server without ranges gives all of them."""
    if answer.status != http.HTTPStatus.PARTIAL_CONTENT:
        return 0
    stated = (answer.headers.get("Content-Range") or "").removeprefix("bytes ").partition("-")[0]
    if stated != str(have):
        raise Refused(tr("the server gives another part of the file than was asked for"))
    return have


def _check_length(answer: _Answer, file: DataFile, begin: int) -> None:
    total = _total(answer, begin)
    if total is None:
        return
    if total > file.at_most or file.size not in (None, total):
        raise Refused(
            tr("it is another file: {count} bytes instead of {size}", count=total, size=file.at_most)
        )


def _total(answer: _Answer, begin: int) -> int | None:
    """Return how long the whole file is, if the answer says so."""
    stated = answer.headers.get("Content-Length") or ""
    return begin + int(stated) if stated.isdecimal() else None


def _opened(part: Path, begin: int) -> BinaryIO:
    part.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    target = os.fdopen(os.open(part, flags, 0o600), "wb", buffering=0)
    target.truncate(begin)
    target.seek(begin)
    return target


def _copy(
    answer: _Answer,
    target: BinaryIO,
    begin: int,
    file: DataFile,
    limits: Limits,
    stopping: Event,
    on_bytes: OnBytes,
) -> None:
    count, since, before, total = begin, time.monotonic(), begin, _total(answer, begin)
    for count in written(iter(lambda: answer.read1(_BLOCK), b""), target, begin, file, stopping):
        on_bytes(count, total)
        if (now := time.monotonic()) - since >= limits.window_s:
            if count - before < limits.lowest * (now - since):
                raise TimeoutError(tr("fewer than {count} bytes a second", count=limits.lowest))
            since, before = now, count
    if total is not None and count < total:
        raise http.client.IncompleteRead(b"", total - count)


def written(
    blocks: Iterable[bytes], target: BinaryIO, begin: int, file: DataFile, stopping: Event
) -> Iterator[int]:
    """Write ``blocks`` of ``file``, which follow its first ``begin`` bytes; yield how many it has by then.

    Raises:
        Stopping: if the run is stopped.
        Refused: if they are more than the table allows.
    """
    count = begin
    for block in blocks:
        if stopping.is_set():
            raise Stopping
        count += len(block)
        if count > file.at_most:
            raise Refused(tr("it is another file: more than {size} bytes", size=file.at_most))
        target.write(block)
        yield count
