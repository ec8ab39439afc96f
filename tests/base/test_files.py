"""Files are wholly written or not touched; one process at a time."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import BinaryIO

import pytest

from d2lenv.base import files
from d2lenv.base.errors import D2lEnvError


@pytest.fixture(autouse=True)
def _english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("D2LENV_LANG", "en")


def test_text_is_written_as_utf8_with_plain_line_ends(tmp_path: Path) -> None:
    files.write_atomic(tmp_path / "new" / "file", "深\nx\n")
    assert (tmp_path / "new" / "file").read_bytes() == "深\nx\n".encode()


def test_an_old_file_is_replaced_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o640)
    files.write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_a_new_file_has_the_users_mode(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        files.write_atomic(tmp_path / "file", b"x")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_a_private_file_is_the_owners_alone_whatever_it_was(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_bytes(b"old")
    path.chmod(0o644)
    files.write_atomic(path, b"new", private=True)
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"new", 0o600)
    path.chmod(0o644)
    with files.open_private(path) as file:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        file.write(b"log")
    assert path.read_bytes() == b"log"


@pytest.mark.skipif(os.name != "posix", reason="links and modes are POSIX's")
def test_a_private_file_is_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_bytes(b"theirs")
    (tmp_path / "log").symlink_to("theirs")
    with pytest.raises(OSError):
        files.open_private(tmp_path / "log")
    assert (tmp_path / "theirs").read_bytes() == b"theirs"


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_a_private_folder_is_closed_and_its_parents_are_not(tmp_path: Path) -> None:
    made = files.private_folder(tmp_path / "a" / "b")
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert stat.S_IMODE(made.parent.stat().st_mode) & 0o055 == 0o055 & ~_mask()
    made.chmod(0o755)
    files.private_folder(made)
    assert stat.S_IMODE(made.stat().st_mode) == 0o700


def _mask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def test_a_private_folder_is_no_link_no_file_and_nobody_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    for name in ("file", "link", "file/below"):
        with pytest.raises(D2lEnvError, match="cannot be written"):
            files.private_folder(tmp_path / name)
    if hasattr(os, "geteuid"):
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        with pytest.raises(D2lEnvError) as caught:
            files.private_folder(tmp_path / "folder")
        assert caught.value.why == "the folder is another user's"


def full(*_: object) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("call", ["os.open", "os.fchmod", "os.fsync", "pathlib.Path.replace"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    monkeypatch.setattr(call, full)
    with pytest.raises(D2lEnvError, match="cannot be written") as caught:
        files.write_atomic(path, b"new")
    monkeypatch.undo()
    assert caught.value.why == os.strerror(errno.ENOSPC)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="signals to another process are POSIX's")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_no_signal_leaves_a_temporary_file(tmp_path: Path, number: signal.Signals) -> None:
    """Many writes, and a signal at some moment of one of them."""
    code = (
        "import sys; from pathlib import Path; from d2lenv.base import files, signals\n"
        "signals.raise_stopped()\n"
        "try:\n"
        "    while True:\n"
        "        files.write_atomic(Path(sys.argv[1]) / 'file', b'x' * 1000)\n"
        "except KeyboardInterrupt:\n"
        "    sys.exit(signals.exit_status())"
    )
    for turn in range(5):
        process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
        while not (tmp_path / "file").exists() and process.poll() is None:
            time.sleep(0.01)
        time.sleep(0.001 * turn)
        process.send_signal(number)
        assert process.wait(60) == 128 + number
        assert [path.name for path in tmp_path.iterdir()] == ["file"]
        (tmp_path / "file").unlink()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_write_that_the_system_refuses_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real ENOSPC: the temporary file's handle is one of /dev/full."""
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def on_a_full_disk(temporary: Path, **_: object) -> BinaryIO:
        temporary.write_bytes(b"")
        return Path("/dev/full").open("wb")

    monkeypatch.setattr(files, "open_private", on_a_full_disk)
    with pytest.raises(D2lEnvError, match="cannot be written"):
        files.write_atomic(path, b"new" * 100_000)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interruption_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def stop(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        files.write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_second_process_is_told_for_whom_it_waits(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "x.lock"
    held, release, said = threading.Event(), threading.Event(), []

    def first() -> None:
        with files.exclusive_lock(path, "first of two", lambda _: None):
            held.set()
            release.wait(30)

    thread = threading.Thread(target=first)
    thread.start()
    held.wait(30)
    with (
        pytest.raises(D2lEnvError, match="still holds") as caught,
        files.exclusive_lock(path, "second", said.append, timeout_s=0.05),
    ):
        pass
    release.set()
    thread.join()
    assert f"{os.getpid()}: first of two" in caught.value.what
    assert said == [f"waiting for another process ({os.getpid()}: first of two) to finish"]
    with files.exclusive_lock(path, "third", said.append):
        pass
    assert len(said) == 1
    assert not path.with_name("x.lock.owner").exists()


def test_a_killed_process_does_not_block_the_next(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    code = (
        "import sys, os, pathlib; from d2lenv.base import files\n"
        "with files.exclusive_lock(pathlib.Path(sys.argv[1]), 'killed', print): os._exit(9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], timeout=60, check=False)
    assert done.returncode == 9
    said: list[str] = []
    with files.exclusive_lock(path, "next", said.append, timeout_s=10):
        pass
    assert said == []


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(D2lEnvError, match="cannot be written"):
        files.write_atomic(tmp_path / "file" / "below", b"x")
    with (
        pytest.raises(D2lEnvError, match="cannot be written"),
        files.exclusive_lock(tmp_path / "file" / "below", "x", print),
    ):
        pass
