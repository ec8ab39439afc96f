"""How much has come of the downloads that are under way, and whether they have stalled.

A server that sends a byte a second never runs into the time limit of an HTTP client, which begins anew with
each byte. All downloads are judged together: on a slow link fifty at once leave little for each of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock

from d2lenv.base.messages import tr

LEAST_BYTES_PER_S = 512
"""Slower than this, all downloads together, is no download: a modem of the 1990s gave ten times as much."""


@dataclass
class _Download:
    name: str
    received: int = 0
    total: int | None = None


@dataclass
class Downloads:
    """The downloads of one installation.

    Attributes:
        addresses: package name → where it comes from.
    """

    addresses: Mapping[str, str]
    _waiting: dict[int, _Download] = field(default_factory=dict)
    _received: int = 0
    _since: tuple[float, int] | None = None
    _lock: Lock = field(default_factory=Lock)

    def wait(self, number: int, name: str) -> None:
        """Note that package ``name`` is wanted from now on."""
        with self._lock:
            self._waiting[number] = _Download(name)

    def receive(self, number: int, received: int, total: int | None) -> None:
        """Note that ``received`` bytes of ``total`` have come; fewer than before when it was begun again."""
        with self._lock:
            download = self._waiting.get(number)
            if download is not None:
                self._received += max(0, received - download.received)
                download.received, download.total = received, total

    def end(self, number: int) -> None:
        """Note that all has come, or that it was there already."""
        with self._lock:
            if self._waiting.pop(number, None) is not None:
                self._received += LEAST_BYTES_PER_S  # an end is progress, however short the file
                self._since = None

    def stalled(self, now: float, limit_s: float) -> list[str]:
        """Return a line for each download when too little has come in ``limit_s`` seconds, else nothing.

        Args:
            now: seconds of a clock that only goes forward.
        """
        with self._lock:
            if not self._waiting or self._since is None:
                self._since = (now, self._received)
                return []
            began, before = self._since
            if now - began < limit_s:
                return []
            if self._received - before >= LEAST_BYTES_PER_S * limit_s:
                self._since = (now, self._received)
                return []
            return [self._line(download, limit_s) for download in self._waiting.values()]

    def _line(self, download: _Download, limit_s: float) -> str:
        return tr(
            "the download of {name} has stalled: {received} of {total} bytes, and nearly nothing for "
            "{seconds} s: {address}",
            name=download.name,
            received=download.received,
            total="?" if download.total is None else download.total,
            seconds=f"{limit_s:g}",
            address=self.addresses.get(download.name, ""),
        )
