"""SIGTERM and a closed terminal end a command as Ctrl-C does."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from d2lenv.base import signals

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")


@pytest.fixture
def raising() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in signals.NUMBERS}
    signals.raise_stopped()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", signals.NUMBERS)
@pytest.mark.usefixtures("raising")
def test_the_first_signal_raises_and_gives_the_exit_status(number: signal.Signals) -> None:
    assert not signals.received()
    with pytest.raises(signals.Stopped):
        signal.raise_signal(number)
    assert signals.received()
    assert signals.exit_status() == 128 + number


@pytest.mark.usefixtures("raising")
def test_a_second_one_does_not_break_off_the_cleaning_up_but_a_second_ctrl_c_does() -> None:
    with pytest.raises(signals.Stopped):
        signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGHUP)
    with pytest.raises(signals.Stopped):
        signal.raise_signal(signal.SIGINT)
    assert signals.exit_status() == 130


@pytest.mark.usefixtures("raising")
def test_who_answers_is_called_for_each_and_nothing_is_raised() -> None:
    calls: list[int] = []
    with signals.answered_by(calls.append):
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGINT)
    assert calls == [signal.SIGHUP, signal.SIGINT]
    assert signals.exit_status() == 128 + signal.SIGHUP


def test_another_thread_asks_for_no_signals() -> None:
    before = signal.getsignal(signal.SIGTERM)
    inside: list[object] = []

    def body() -> None:
        with signals.answered_by(lambda _: None):
            inside.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert inside == [before]


@pytest.mark.parametrize("call", ["signals.raise_stopped()", "signals.answered_by(print).__enter__()"])
def test_what_nohup_has_switched_off_stays_off(call: str) -> None:
    code = (
        "import signal; from d2lenv.base import signals\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        f"{call}; signal.raise_signal(signal.SIGHUP); print('alive')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr
