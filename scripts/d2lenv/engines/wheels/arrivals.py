"""What comes of uv's downloads."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from d2lenv.engines.conda.downloads import LEAST_BYTES_PER_S
from d2lenv.prefix import locations
from d2lenv.prefix.scan import scan


@dataclass
class Arrivals:
    """What comes while uv downloads and installs, as far as its folders show it.

    uv's own limit is for the time between two reads, so a server that sends a byte a second holds it for
    hours. Nothing says how much an unfinished download has brought, but uv unpacks a wheel while it comes, in
    a folder ``.tmp…`` of its cache: that grows, or something gets its name in the cache or in the prefix.

    Attributes:
        cache: uv's.
        prefix: the environment that is made.
        limit_s: so long may it grow by nearly nothing. Big files grow in steps of a megabyte, so a shorter
            one would end downloads over lines of 20 kB/s.
    """

    cache: Path
    prefix: Path
    limit_s: float
    _seen: tuple[float, int, tuple[int, int]] | None = None

    def go_on(self, now: float) -> bool:
        """Return False if nearly nothing came since ``limit_s`` seconds.

        Args:
            now: seconds of a clock that only goes forward.
        """
        size, names = self._unfinished(), self._names()
        since = self._seen
        if since is None or names != since[2] or abs(size - since[1]) >= LEAST_BYTES_PER_S * self.limit_s:
            self._seen = (now, size, names)
            return True
        return now - since[0] < self.limit_s

    def _unfinished(self) -> int:
        """Return the bytes below the folders whose files have not all come yet."""
        entries = (
            entry
            for pattern in (".tmp*", "*/.tmp*")
            for folder in self.cache.glob(pattern)
            for entry in scan(folder).entries.values()
        )
        return sum(entry.size for entry in entries)

    def _names(self) -> tuple[int, int]:
        """Return how many things there are that are whole, and the time of the last one."""
        times = [0]
        for pattern in ("archive-v*/*", "wheels-v*/*/*/*", "simple-v*/*/*", "simple-v*/*/*/*"):
            for path in self.cache.glob(pattern):
                with suppress(OSError):  # renamed meanwhile
                    times.append(path.lstat().st_mtime_ns)
        installed = sum(1 for site in locations.site_packages(self.prefix) for _ in site.iterdir())
        return len(times) + installed, max(times)
