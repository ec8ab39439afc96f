"""What several test modules share."""

from __future__ import annotations

import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from d2lenv.base import signals

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what it puts into the background with Ctrl-C ignored, and every child inherits that; the
    # tests send Ctrl-C to theirs.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def english() -> Iterator[None]:
    """Messages are compared in English, whatever language the developer's machine speaks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("D2LENV_LANG", "en")
        yield


@pytest.fixture(autouse=True)
def the_same_signals() -> Iterator[None]:
    """A test that leaves Ctrl-C or SIGTERM otherwise than it was fails itself, not one long after it."""
    before = {number: signal.getsignal(number) for number in signals.NUMBERS}
    yield
    assert {number: signal.signal(number, handler) for number, handler in before.items()} == before


@pytest.fixture(scope="session")
def light_prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with an IPython kernel and no PyTorch, in a path with spaces and Chinese characters.

    Nothing is downloaded: it looks into the site-packages of the Python that runs the tests.
    """
    prefix = tmp_path_factory.mktemp("smoke") / "light prefix 轻量 环境"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", prefix], check=True, timeout=120)
    site = next(prefix.glob("[Ll]ib/**/site-packages"))
    (site / "tests.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return prefix
