"""The console entry point: exit status, signals, and errors without a traceback."""

from __future__ import annotations

import os
import sys
from contextlib import redirect_stderr, suppress
from io import StringIO, TextIOWrapper
from typing import NoReturn

import click

from d2lenv.base import signals
from d2lenv.base.console import print_json
from d2lenv.base.errors import D2lEnvError
from d2lenv.base.messages import printable_lines, tr
from d2lenv.cli.app import cli


def main() -> None:
    """Run the command; an error that a user can mend has no traceback."""
    signals.raise_stopped()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # A terminal or a pipe of another encoding gets `?` for what it cannot show.
            stream.reconfigure(errors="replace")
    try:
        status = _run()
    except KeyboardInterrupt:  # a second Ctrl-C, while the first was being answered
        _leave(signals.exit_status())
    # All is done and said; a signal from here on would only add a traceback.
    signals.ignore()
    if "rattler" in sys.modules:
        _leave(status)
    sys.exit(status)


def _run() -> int:
    try:
        returned = cli.main(standalone_mode=False)
    except (Exception, KeyboardInterrupt) as error:
        if _was_stopped(error):
            with suppress(OSError):  # the terminal may be gone
                _tell(D2lEnvError(tr("stopped")), tr("stopped"))
            # From here, where the exception still holds what was interrupted (a coroutine, a half-made loop).
            _leave(signals.exit_status())
        if isinstance(error, click.ClickException):
            with redirect_stderr(StringIO()) as usage:
                error.show()
            _tell(D2lEnvError(error.format_message()), usage.getvalue().rstrip("\n"))
            return error.exit_code
        if isinstance(error, D2lEnvError):
            _tell(error, tr("error: {message}", message=error))
            return error.status
        raise
    return returned if isinstance(returned, int) else 0


def _tell(error: D2lEnvError, text: str) -> None:
    """Print an error for people on standard error and, where that was asked for, for machines too."""
    if "--json" in sys.argv:
        print_json("error", False, error.as_dict())
    click.echo(printable_lines(text), err=True)


def _was_stopped(error: BaseException) -> bool:
    """Return whether the exception chain holds a KeyboardInterrupt, or a signal came before an OSError.

    shutil.rmtree can replace it with an OSError (Python 3.11, 2026-11-24), and after SIGHUP nothing can be
    written to the terminal.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, (KeyboardInterrupt, click.Abort)):
            return True
        cause = cause.__cause__ or cause.__context__
    return signals.received() and isinstance(error, OSError)


def _leave(status: int) -> NoReturn:
    """End the process with ``status`` at once, without the end of the interpreter.

    After a solve py-rattler's worker threads still drop Python objects; one that meets the end of the
    interpreter kills the process with SIGABRT or SIGSEGV (0.25 to 0.28, Python 3.10 to 3.12, about every
    fourth of the shortest solves, 2026-11-22; there is no call that waits for those threads:
    https://github.com/PyO3/pyo3-async-runtimes/issues/40). After Ctrl-C an interrupted coroutine complains
    when it is dropped. Everything is written by now.
    """
    with suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)
