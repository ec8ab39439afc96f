"""The process in which py-rattler installs: one request on standard input, one answer on standard output.

When one package fails, or Ctrl-C comes, py-rattler returns while its threads still write into the prefix
(0.28, tried 2026-11-22). Only the end of their process stops them, and only then can the half-made prefix
be removed.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast

from rattler import Config, PackageCache, RepoDataRecord, install
from rattler.exceptions import InstallerError, IoError, LinkError, TransactionError
from rattler.package_cache import ValidationMode

from d2lenv.base.console import note
from d2lenv.base.errors import D2lEnvError
from d2lenv.base.messages import tr
from d2lenv.engines.conda.cache import Cache, Gate
from d2lenv.engines.conda.downloads import Downloads
from d2lenv.workspace import lockfile

if TYPE_CHECKING:
    from rattler import InstallerReporter

_MOST_LINES = 6
_STEPS = 10


class Reporter:
    """The events of py-rattler that matter: downloads, and a package that is about to be linked."""

    def __init__(self, gate: Gate, downloads: Downloads, count: int, say: Callable[[str], None]) -> None:
        """
        Args:
            count: of the packages to install.
        """
        self._gate = gate
        self._downloads = downloads
        self._count = count
        self._say = say
        self._linked = 0

    def on_populate_cache_start(self, operation: int, package_name: str) -> int:
        self._downloads.wait(operation, package_name)
        return operation

    def on_download_start(self, cache_entry: int) -> int:
        return cache_entry

    def on_download_progress(self, download: int, progress: int, total: int | None) -> None:
        self._downloads.receive(download, progress, total)

    def on_download_completed(self, download: int) -> None:
        self._downloads.end(download)

    def on_populate_cache_complete(self, cache_entry: int) -> None:
        self._downloads.end(cache_entry)

    def on_link_start(self, operation: int, package_name: str) -> int:
        self._gate.pass_or_take_out(package_name)
        return operation

    def on_link_complete(self, _index: int) -> None:
        self._linked += 1
        if self._linked % max(1, self._count // _STEPS) == 0:
            self._say(tr("{done} of {count} packages installed", done=self._linked, count=self._count))

    def __getattr__(self, name: str) -> Callable[..., int]:
        """Every other event of the protocol is of no interest."""
        if name.startswith("on_"):
            return lambda *_arguments: 0
        raise AttributeError(name)


def main() -> None:
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        asyncio.run(_install(request))
    except D2lEnvError as caught:
        _answer("\n".join(filter(None, [caught.what, caught.why])), caught.fix)
    except (InstallerError, IoError, LinkError, TransactionError, OSError, ValueError) as caught:
        _answer(reason(caught))
    _answer("")


def _answer(error: str, fix: str = "") -> NoReturn:
    """Say how it ended, and what to do if that is known here; end at once.

    Not the interpreter's own end: py-rattler's threads may still run, and 0.28 sometimes aborts there.
    """
    sys.stdout.write(json.dumps({"error": error, "fix": fix}))
    sys.stdout.flush()
    os._exit(0)


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


async def _install(request: Mapping[str, Any]) -> None:
    records = list(lockfile.read(Path(request["lock"])).records(request["environment"], request["platform"]))
    cache = Cache(Path(request["cache"]), request["mask"], request["ignores_case"])
    gate = Gate(cache, records, request["known"])
    downloads = Downloads(_addresses(records))
    threading.Thread(target=_watch, args=[downloads, float(request["stall_s"])], daemon=True).start()
    say = note if request["progress"] else lambda _text: None
    try:
        await install(
            records,
            target_prefix=request["building"],
            alternative_target_prefix=request["prefix"],
            execute_link_scripts=request["link_scripts"],
            # Validated already: by `cache.vouched`, or by the gate.
            package_cache=PackageCache.new_layered([cache.folder], validation_mode=ValidationMode.skip()),
            reporter=cast("InstallerReporter", Reporter(gate, downloads, len(records), say)),
            # The reader's own mirrors, proxies, certificates and ways to link.
            config=Config.load_from_default_locations("pixi"),
        )
    finally:
        gate.raise_refused()


def _addresses(records: list[RepoDataRecord]) -> dict[str, str]:
    return {record.name.normalized: str(record.url) for record in records}


def _watch(downloads: Downloads, stall_s: float) -> None:
    """End the process when the downloads have stalled: py-rattler waits for ever for one that trickles."""
    while True:
        time.sleep(stall_s / 20)
        stalled = downloads.stalled(time.monotonic(), stall_s)
        if stalled:
            _answer(
                "\n".join(stalled[:_MOST_LINES]),
                tr("run the command again, and through a mirror if the same address stalls again"),
            )


def reason(error: BaseException) -> str:
    """Return the error's lines, none that another one contains; of many the first and the last ones."""
    lines: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        for line in str(cause).splitlines():
            text = line.strip().removeprefix("Caused by: ").rstrip(".")
            if text and text not in lines:
                lines.append(text)
        cause = cause.__cause__
    lines = [line for line in lines if not any(line in other for other in lines if other != line)]
    if len(lines) > _MOST_LINES:
        lines[1 : 2 - _MOST_LINES] = ["…"]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
