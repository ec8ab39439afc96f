"""The lab's folders: this user's alone, whatever the umask, and somewhere else where that cannot be."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import labkit
from d2lenv.base.files import open_private
from d2lenv.learn import folders, server
from d2lenv.learn.lab import Lab
from d2lenv.learn.server import RunningLab
from diskkit import read_only

modes = pytest.mark.skipif(os.name == "nt", reason="not checked on Windows: it has no modes")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o777], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@modes
def test_a_new_folder_and_a_new_file_are_this_users_alone_under_any_umask(tmp_path: Path, umask: int) -> None:
    folder = tmp_path / "private"
    assert folders.private(folder)
    assert mode(folder) == 0o700
    with open_private(folder / "log") as file:
        file.write(b"token")
    assert mode(folder / "log") == 0o600


@labkit.as_root
@pytest.mark.parametrize("through_a_link", [False, True])
def test_a_folder_of_another_user_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, through_a_link: bool
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    folder = tmp_path / "theirs"
    if through_a_link:
        (tmp_path / "mine").mkdir()
        folder.symlink_to(tmp_path / "mine")
    else:
        folder.mkdir()
    os.chown(folder, labkit.SECOND_USER, labkit.SECOND_USER, follow_symlinks=False)
    assert not folders.private(folder)
    assert folders.state(folder).is_relative_to(tmp_path / "state" / "d2lenv")


def test_two_checkouts_that_cannot_be_written_do_not_share_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with read_only(tmp_path / "one"), read_only(tmp_path / "other"):
        found = [folders.state(tmp_path / name / "lab" / "cuda") for name in ("one", "other")]
    assert len({folder for folder in found if folder.is_dir()}) == 2


def test_without_any_place_of_ones_own_the_folder_is_a_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(folders.platformdirs, "user_state_path", lambda name: tmp_path / "file" / name)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made = folders.state(tmp_path / "file" / "lab")
    assert made.parent == tmp_path
    assert made.is_dir()


@modes
def test_jupyters_new_folders_are_closed_and_of_the_old_ones_the_one_with_the_token(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    home = Path(environ["HOME"])
    (home / ".ipython").mkdir(mode=0o755)
    runtime = home / ".local" / "share" / "jupyter" / "runtime"
    if folders.of_jupyter(environ)["JUPYTER_RUNTIME_DIR"] == runtime:
        runtime.mkdir(parents=True, mode=0o755)
    assert folders.moved(environ, tmp_path / "instead") == {}
    made = {name: mode(folder) for name, folder in folders.of_jupyter(environ).items()}
    assert (made["JUPYTER_RUNTIME_DIR"], made["JUPYTER_CONFIG_DIR"]) == (0o700, 0o700)
    assert made["IPYTHONDIR"] == 0o755


@labkit.as_root
def test_a_runtime_folder_of_another_user_is_moved(tmp_path: Path, environ: dict[str, str]) -> None:
    theirs = tmp_path / "runtime"
    theirs.mkdir()
    os.chown(theirs, labkit.SECOND_USER, -1)
    moved = folders.moved(environ | {"JUPYTER_RUNTIME_DIR": str(theirs)}, tmp_path / "instead")
    assert moved == {"JUPYTER_RUNTIME_DIR": str(tmp_path / "instead" / "jupyter_runtime_dir")}


@modes
def test_a_runtime_folder_with_too_long_a_path_for_sockets_is_replaced_while_the_lab_runs() -> None:
    short = {"HOME": "/home/ada"}
    with folders.short_runtime(short, {}) as moved:
        assert moved == {}
    long = {"HOME": "/clusters/department-of-learning/users/ada.lovelace"}
    with folders.short_runtime(long, {"IPYTHONDIR": "x"}) as moved:
        folder = Path(moved["JUPYTER_RUNTIME_DIR"])
        assert mode(folder) == 0o700
        assert moved["IPYTHONDIR"] == "x"
    assert not folder.exists()


@pytest.fixture
def open_home(environ: dict[str, str]) -> Iterator[Path]:
    """A home folder that every user may walk into; pytest's own folders are closed to them."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        environ["HOME"] = environ["XDG_STATE_HOME"] = folder
        yield Path(folder)


@labkit.as_root
@pytest.mark.parametrize("existed", [False, True])
def test_a_second_user_can_read_no_file_that_holds_the_token(
    open_home: Path, environ: dict[str, str], prepare: Callable[..., Lab], existed: bool
) -> None:
    if existed:  # as the lab made it before 2026-11-24
        (open_home / ".local" / "share" / "jupyter" / "runtime").mkdir(parents=True)
    made = prepare(state=open_home / "state")
    holding: list[Path] = []
    readable: list[str] = []

    def look(running: RunningLab) -> None:
        files = [path for path in open_home.rglob("*") if path.is_file()]
        holding.extend(path for path in files if made.token.encode() in path.read_bytes())
        for place in (open_home, *(f"/proc/{running.pid}/{name}" for name in ("cmdline", "environ"))):
            command = ["grep", "-rl", "--", made.token, str(place)]
            found = subprocess.run(
                command, user=labkit.SECOND_USER, capture_output=True, text=True, timeout=60
            )
            readable.extend(found.stdout.splitlines())
        os.kill(os.getpid(), signal.SIGINT)

    assert (
        server.run(made, environ, lambda running: threading.Thread(target=look, args=(running,)).start()) == 0
    )
    assert {path.suffix for path in holding} == {".html", ".log"}
    assert readable == []
