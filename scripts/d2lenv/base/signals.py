"""Ctrl-C, SIGTERM and a closed terminal all end a command in the same way.

The first of them raises :class:`Stopped`, a ``KeyboardInterrupt``, so that every ``finally`` runs. A terminal
that is closed sends SIGHUP from the kernel and often a second one from the shell, and nox sends SIGTERM after
Ctrl-C: neither may break off the cleaning up that the first has begun. Only a second Ctrl-C does.
"""

from __future__ import annotations

import os
import signal
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from d2lenv.base.errors import INTERRUPTED

NUMBERS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)
)
"""The signals that ask a process to end here: SIGHUP is POSIX's, SIGBREAK is Windows'."""

_received: list[int] = []


class Stopped(KeyboardInterrupt):
    """A signal asked this process to end."""


def raise_stopped() -> None:
    """Let the signals raise :class:`Stopped` from now on. One that is ignored, as by nohup, stays ignored."""
    _received.clear()
    _handle(_raise)


def ignore() -> None:
    """Let the signals do nothing from now on."""
    for number in NUMBERS:
        signal.signal(number, signal.SIG_IGN)


def exit_status() -> int:
    """Return the exit status of a process that was stopped: 128 and the number of the first signal."""
    return 128 + _received[0] if _received else INTERRUPTED


def received() -> bool:
    """Return whether a signal has asked this process to end."""
    return bool(_received)


@contextmanager
def answered_by(stop: Callable[[int], object]) -> Iterator[None]:
    """Let the signals call ``stop`` with their number while the body runs; only the main thread may ask."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def answer(number: int, _: object) -> None:
        _receive(number)
        stop(number)

    before = _handle(answer)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _handle(handler: Callable[[int, Any], None]) -> dict[int, Any]:
    wanted = [number for number in NUMBERS if signal.getsignal(number) is not signal.SIG_IGN]
    return {number: signal.signal(number, handler) for number in wanted}


def _receive(number: int) -> None:
    _received.append(number)
    for handle in (1, 2):
        with suppress(OSError):
            # A terminal that is gone fails every write, and so would whoever reports how far it came.
            if stat.S_ISCHR(os.fstat(handle).st_mode) and not os.isatty(handle):
                with Path(os.devnull).open("wb") as nothing:
                    os.dup2(nothing.fileno(), handle)


def _raise(number: int, _: object) -> None:
    again = bool(_received)
    _receive(number)
    if not again or number == signal.SIGINT:
        raise Stopped
