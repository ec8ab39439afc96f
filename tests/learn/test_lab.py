"""A lab answers its questions before the start, opens what it says, and leaves no process behind.

The server here is a stand-in (tests/labkit.py); tests/browser does the same with the real JupyterLab.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import labkit
from d2lenv.base.errors import USAGE, D2lEnvError
from d2lenv.cli import app as cli
from d2lenv.engines import build, find
from d2lenv.learn import folders, lab
from d2lenv.prefix import locations, marker
from diskkit import read_only
from labkit import gone, posix

# ------------------------------------------------------------------------------------- before the start


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.0.1.5", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.4", False),
        ("login.example", False),
        ("", False),
    ],
)
def test_only_this_machine_is_loopback(host: str, expected: bool) -> None:
    assert lab.is_loopback(host) is expected


def test_beyond_loopback_a_token_or_password_of_ones_own_is_asked_for(environ: dict[str, str]) -> None:
    with pytest.raises(D2lEnvError, match="no token or password") as caught:
        lab.check_host("0.0.0.0", False, environ)
    assert caught.value.status == USAGE
    assert "--no-browser" in caught.value.fix
    lab.check_host("0.0.0.0", False, environ | {"JUPYTER_TOKEN": "mine"})
    lab.check_host("127.0.0.1", False, environ)


@pytest.mark.parametrize(
    "settings",
    [
        {"ServerApp": {"password": "argon2:…"}},
        {"IdentityProvider": {"hashed_password": "argon2:…"}},
        {"PasswordIdentityProvider": {"hashed_password": "argon2:…"}},
    ],
)
def test_a_password_of_jupyters_own_settings_counts(environ: dict[str, str], settings: object) -> None:
    file = Path(environ["HOME"]) / ".jupyter" / "jupyter_server_config.json"
    file.parent.mkdir()
    file.write_text(json.dumps(settings), encoding="utf-8")
    lab.check_host("0.0.0.0", False, environ)
    file.write_text('{"ServerApp": {"password": ""}}', encoding="utf-8")
    with pytest.raises(D2lEnvError):
        lab.check_host("0.0.0.0", False, environ)
    file.write_text("[broken", encoding="utf-8")
    with pytest.raises(D2lEnvError):
        lab.check_host("0.0.0.0", False, environ)


def test_root_stays_on_this_machine_even_with_a_token(environ: dict[str, str]) -> None:
    with pytest.raises(D2lEnvError, match="as root"):
        lab.check_host("0.0.0.0", True, environ | {"JUPYTER_TOKEN": "mine"})
    lab.check_host("127.0.0.1", True, environ)


def test_a_second_lab_takes_the_next_port() -> None:
    first = lab.free_port("127.0.0.1", None)
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Jupyter's server does
        taken.bind(("127.0.0.1", first))
        taken.listen()
        assert lab.free_port("127.0.0.1", None) > first


def test_a_port_that_was_asked_for_and_is_taken_is_refused_with_its_holder() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(D2lEnvError, match=rf"port {port} is taken.*{os.getpid()}"):
            lab.free_port("127.0.0.1", port)
    assert lab.free_port("127.0.0.1", port) == port


def test_a_stale_port_is_free_again() -> None:
    """A server that has just gone leaves connections in TIME_WAIT; they do not hold the port."""
    with socket.socket() as server, socket.socket() as client:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Jupyter's server does
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        client.connect(("127.0.0.1", port))
        connection, _ = server.accept()
        connection.close()  # closed first on this side: the wait is here
    assert lab.free_port("127.0.0.1", port) == port


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(D2lEnvError, match="not an address of this machine"):
        lab.free_port("192.0.2.1", None)  # TEST-NET-1, RFC 5737: nobody's


def test_when_no_port_is_free_one_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab, "_can_bind", lambda host, port: False)
    with pytest.raises(D2lEnvError, match="8888 to 8987"):
        lab.free_port("127.0.0.1", None)


def test_a_port_that_needs_rights_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(host: str, port: int) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(lab, "_can_bind", refuse)
    with pytest.raises(D2lEnvError, match="Permission denied"):
        lab.free_port("127.0.0.1", 80)


def test_a_prefix_without_jupyterlab_is_refused(tmp_path: Path) -> None:
    with pytest.raises(D2lEnvError, match="no JupyterLab"):
        lab.check_has_lab(tmp_path)


def test_a_folder_that_is_not_there_is_refused(prefix: Path, tmp_path: Path, environ: dict[str, str]) -> None:
    with pytest.raises(D2lEnvError, match="is not a folder"):
        lab.prepare(
            "cuda", prefix, prefix / "bin/python", tmp_path / "no", tmp_path, environ=environ, say=print
        )


def test_a_first_lab_opens_the_start_page_and_a_later_one_its_own_layout(
    tmp_path: Path, prepare: Callable[..., lab.Lab]
) -> None:
    first = prepare()
    assert first.opens == "/lab/tree/00-start-here.ipynb"
    assert first.url == f"http://127.0.0.1:{first.port}/lab/tree/00-start-here.ipynb?token={first.token}"
    layout = tmp_path / "state" / "workspaces" / "default.jupyterlab-workspace"
    layout.parent.mkdir()
    layout.write_text("{}", encoding="utf-8")
    assert prepare().opens == "/lab"


def test_every_lab_has_a_token_of_its_own_unless_the_reader_set_one(
    prepare: Callable[..., lab.Lab], environ: dict[str, str]
) -> None:
    one, other = prepare(), prepare()
    assert one.token != other.token
    assert len(one.token) >= 32
    assert prepare(environ=environ | {"JUPYTER_TOKEN": "mine"}).token == "mine"


def test_a_home_that_cannot_be_written_is_replaced_and_that_is_said(
    tmp_path: Path, prepare: Callable[..., lab.Lab], environ: dict[str, str]
) -> None:
    home = tmp_path / "a file, not a folder"
    home.touch()
    said: list[str] = []
    made = prepare(environ=environ | {"HOME": str(home), "USERPROFILE": str(home)}, say=said.append)
    assert set(made.moved) == {"JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"}
    assert all(folder.startswith(str(tmp_path / "state")) for folder in made.moved.values())
    assert any("home folder cannot be written" in line for line in said)


def test_a_state_folder_that_cannot_be_written_becomes_a_temporary_one(
    tmp_path: Path, prepare: Callable[..., lab.Lab]
) -> None:
    file = tmp_path / "file"
    file.touch()
    made = prepare(state=file / "state")
    assert made.state.is_dir()
    assert tmp_path not in made.state.parents or made.state != file / "state"


def test_a_folder_of_notebooks_that_cannot_be_written_is_said(
    prepare: Callable[..., lab.Lab], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = folders.writable
    monkeypatch.setattr(folders, "writable", lambda folder: folder != root and real(folder))
    said: list[str] = []
    prepare(say=said.append)
    assert any("cannot be saved there" in line for line in said)


def test_the_command_line_holds_no_secret(prepare: Callable[..., lab.Lab], environ: dict[str, str]) -> None:
    made = prepare(environ=environ | {"JUPYTER_TOKEN": "s3cret"})
    words = lab.command(made)
    assert not any("s3cret" in word for word in words)
    assert "--ServerApp.ip=127.0.0.1" in words
    assert f"--ServerApp.root_dir={made.root}" in words
    assert "--MultiKernelManager.default_kernel_name=d2l-cuda" in words
    assert "--KernelSpecManager.allowed_kernelspecs=d2l-cuda" in words
    assert "--KernelSpecManager.ensure_native_kernel=False" in words


@pytest.mark.parametrize("as_root", [True, False])
def test_root_is_allowed_only_where_it_runs_as_root(
    prepare: Callable[..., lab.Lab], monkeypatch: pytest.MonkeyPatch, as_root: bool
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0 if as_root else 1000, raising=False)
    assert ("--allow-root" in lab.command(prepare())) is as_root


def test_other_pythons_packages_and_kernels_are_kept_out(
    prepare: Callable[..., lab.Lab], environ: dict[str, str], prefix: Path
) -> None:
    foreign = {"PYTHONPATH": "/x", "JUPYTER_PATH": "/x", "VIRTUAL_ENV": "/x", "CONDA_PREFIX": "/x"}
    found = lab.variables(prepare(), environ | foreign)
    assert found["PATH"].startswith(str(prefix))
    assert found["VIRTUAL_ENV"] == str(prefix)
    assert found["JUPYTER_PREFER_ENV_PATH"] == "1"
    assert "/x" not in found.values()
    (prefix / "conda-meta").mkdir()
    found = lab.variables(prepare(), environ | foreign)
    assert found["CONDA_PREFIX"] == str(prefix)
    assert "VIRTUAL_ENV" not in found


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, False),
        ({"DISPLAY": ":0"}, True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, True),
        ({"BROWSER": "x"}, True),
    ],
)
def test_a_text_browser_is_no_browser(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: bool
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(lab.webbrowser, "get", lambda: object())
    assert lab.can_open_browser(variables) is expected


def test_without_any_browser_none_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> object:
        raise lab.webbrowser.Error

    monkeypatch.setattr(lab.webbrowser, "get", none)
    assert lab.can_open_browser({"DISPLAY": ":0"}) is False


def test_the_ssh_line_names_the_address_by_which_the_reader_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab.getpass, "getuser", lambda: "ada")
    assert (
        lab.ssh_line(8889, {"SSH_CONNECTION": "10.0.0.2 50000 10.0.0.7 22"})
        == "ssh -N -L 8889:127.0.0.1:8889 ada@10.0.0.7"
    )
    assert lab.ssh_line(8889, {}) == f"ssh -N -L 8889:127.0.0.1:8889 ada@{socket.gethostname()}"

    def nameless() -> str:
        raise KeyError("uid 12345")

    monkeypatch.setattr(lab.getpass, "getuser", nameless)
    assert "USER@" in lab.ssh_line(8889, {})


@pytest.mark.parametrize(
    ("host", "base"),
    [
        ("127.0.0.1", "http://127.0.0.1:"),
        ("0.0.0.0", "http://127.0.0.1:"),
        ("::", "http://[::1]:"),
        ("::1", "http://[::1]:"),
    ],
)
def test_the_address_can_be_opened_on_this_machine(
    prepare: Callable[..., lab.Lab], monkeypatch: pytest.MonkeyPatch, host: str, base: str
) -> None:
    monkeypatch.setattr(lab, "free_port", lambda host, wanted: 9000)
    monkeypatch.setattr(lab, "check_host", lambda *_: None)
    assert prepare(host=host).base == f"{base}9000"


# ---------------------------------------------------------------------------------------- the server's life


def start(
    made: lab.Lab, environ: dict[str, str], after: Callable[[lab.Answer], object]
) -> tuple[lab.Answer, float]:
    """Run the lab in this thread, do ``after`` when it is ready; the answer and the seconds of ending."""
    answers: list[lab.Answer] = []

    def on_ready(answer: lab.Answer) -> None:
        answers.append(answer)
        threading.Thread(target=after, args=(answer,)).start()

    assert lab.run(made, environ, on_ready) == 0
    return answers[0], time.monotonic()


def ctrl_c(answer: lab.Answer | None = None) -> None:
    os.kill(os.getpid(), signal.SIGINT)


def said(environ: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(environ["STAND_IN_SAYS"]).read_text(encoding="utf-8"))
    return found


@posix
def test_ctrl_c_ends_the_server_and_its_kernels(
    prepare: Callable[..., lab.Lab], environ: dict[str, str], root: Path
) -> None:
    made = prepare()
    answer, _ = start(made, environ, ctrl_c)
    assert gone(answer.pid)
    assert gone(said(environ)["kernel"])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert said(environ)["cwd"] == str(made.state / "nowhere")
    assert said(environ)["environ"]["D2LENV_PYTHON"] == sys.executable
    config = Path(said(environ)["environ"]["JUPYTER_CONFIG_PATH"].split(os.pathsep)[0])
    settings = json.loads(
        (config / "labconfig" / "default_setting_overrides.json").read_text(encoding="utf-8")
    )
    assert settings["@jupyterlab/apputils-extension:notification"]["fetchNews"] == "false"
    assert answer.as_json()["kernel"] == "d2l-cuda"
    assert answer.as_json()["root"] == str(root)


@posix
def test_a_port_that_another_takes_before_the_start_is_given_up_unless_it_was_named(
    prepare: Callable[..., lab.Lab], environ: dict[str, str]
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        made = replace(prepare(), port=other.getsockname()[1])
        answer, _ = start(made, environ, ctrl_c)
        assert answer.port != made.port
        assert f":{answer.port}/" in answer.url
        with pytest.raises(D2lEnvError, match="JupyterLab ended with status 1") as caught:
            lab.run(replace(made, port_named=True), environ, lambda answer: None)
        other.setblocking(False)
        with pytest.raises(BlockingIOError):  # nobody has called: a call would have carried the token
            other.accept()
    assert "already in use" in caught.value.why


@pytest.mark.parametrize(
    ("speaks", "has_menus", "expected"),
    [("zh_CN.UTF-8", True, "zh_CN"), ("zh", False, None), ("en", True, None)],
)
def test_the_menus_are_chinese_for_who_reads_it_where_they_are_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speaks: str, has_menus: bool, expected: str | None
) -> None:
    monkeypatch.setenv("D2LENV_LANG", speaks)
    site = tmp_path / "lib" / "python3.10" / "site-packages"
    (site / ("jupyterlab_language_pack_zh_CN" if has_menus else "jupyterlab")).mkdir(parents=True)
    changed = lab.defaults(tmp_path)
    assert changed.get("@jupyterlab/translation-extension:plugin", {}).get("locale") == expected
    assert "@jupyterlab/apputils-extension:notification" in changed


@posix
@pytest.mark.parametrize("manner", ["deaf", "slow"])
def test_a_server_that_does_not_listen_is_ended_all_the_same(
    prepare: Callable[..., lab.Lab],
    environ: dict[str, str],
    manner: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lab, "_SHUTDOWN_S", 0.5)
    answer, _ = start(prepare(), environ | {"STAND_IN": manner}, ctrl_c)
    assert gone(answer.pid)
    assert gone(said(environ)["kernel"])


@posix
def test_a_server_that_has_stopped_everything_and_does_not_end_is_not_waited_for(
    prepare: Callable[..., lab.Lab], environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lab, "_SHUTDOWN_S", 3600.0)  # if it were waited for, this test would hang
    answer, _ = start(prepare(), environ | {"STAND_IN": "lingers"}, ctrl_c)
    assert gone(answer.pid)


@posix
def test_a_second_ctrl_c_does_not_wait_for_the_servers_good_bye(
    prepare: Callable[..., lab.Lab], environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lab, "_SHUTDOWN_S", 3600.0)  # without the second one, this test would hang

    def twice(answer: lab.Answer) -> None:
        ctrl_c()
        time.sleep(0.5)
        ctrl_c()

    answer, _ = start(prepare(), environ | {"STAND_IN": "slow"}, twice)
    assert gone(answer.pid)
    assert gone(said(environ)["kernel"])


@posix
def test_shut_down_in_the_page_ends_the_lab_quietly(
    prepare: Callable[..., lab.Lab], environ: dict[str, str]
) -> None:
    answer, _ = start(prepare(), environ | {"STAND_IN": "ends"}, lambda _: None)
    assert gone(answer.pid)


@posix
def test_a_server_that_dies_is_explained_with_its_last_words(
    prepare: Callable[..., lab.Lab], environ: dict[str, str]
) -> None:
    made = prepare()
    with pytest.raises(D2lEnvError, match="status 3") as caught:
        lab.run(made, environ | {"STAND_IN": "dies"}, lambda _: None)
    assert "told to die" in caught.value.why
    assert str(made.log) in caught.value.fix


@posix
def test_ctrl_c_before_the_page_is_there_ends_it_too(
    prepare: Callable[..., lab.Lab], environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[subprocess.Popen[bytes]] = []
    real = subprocess.Popen

    def remembered(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(real(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(lab.subprocess, "Popen", remembered)
    monkeypatch.setattr(lab, "_ask", lambda *_, **__: False)
    threading.Timer(0.5, ctrl_c).start()
    assert lab.run(prepare(), environ, lambda _: pytest.fail("it was never ready")) == 0
    assert gone(started[0].pid)


@posix
def test_a_server_that_never_answers_is_given_up(
    prepare: Callable[..., lab.Lab], environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lab, "START_TIMEOUT_S", 0.3)
    monkeypatch.setattr(lab, "_ask", lambda *_, **__: False)
    with pytest.raises(D2lEnvError, match="did not answer"):
        lab.run(prepare(), environ, lambda _: None)


def test_a_python_that_does_not_start_is_explained(
    prepare: Callable[..., lab.Lab], environ: dict[str, str], prefix: Path
) -> None:
    made = prepare()
    (prefix / "bin" / "python").unlink()
    with pytest.raises(D2lEnvError, match="does not run"):
        lab.run(made, environ, lambda _: None)


# --------------------------------------------------------------------------------------------- the command


@posix
@pytest.mark.parametrize("as_json", [True, False])
def test_the_command_says_where_it_is_and_ends(
    tmp_path: Path, prefix: Path, root: Path, environ: dict[str, str], as_json: bool
) -> None:
    words = [
        sys.executable,
        "-m",
        "d2lenv",
        "--workspace",
        str(tmp_path),
        "lab",
        "cuda",
        "--prefix",
        str(prefix),
    ]
    words += ["--notebooks", str(root), "--no-browser", *(["--json"] if as_json else [])]
    done = subprocess.run(
        words,
        env=environ | {"STAND_IN": "ends", "D2LENV_LANG": "en"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "the lab has ended" in done.stderr
    if as_json:
        assert json.loads(done.stdout)["url"].startswith("http://127.0.0.1:")
    else:
        assert done.stdout.startswith("http://127.0.0.1:")
        assert "ssh -N -L" in done.stderr


def test_the_command_refuses_an_open_address_without_a_token(
    tmp_path: Path, prefix: Path, root: Path, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str]
) -> None:
    monkeypatch.delenv("JUPYTER_TOKEN", raising=False)
    monkeypatch.setenv("HOME", environ["HOME"])
    result = CliRunner().invoke(
        cli.cli,
        [
            "--workspace",
            str(tmp_path),
            "lab",
            "--prefix",
            str(prefix),
            "--notebooks",
            str(root),
            "--host",
            "0.0.0.0",
        ],
    )
    assert isinstance(result.exception, D2lEnvError)
    assert result.exception.status == USAGE


# ------------------------------------------------------------------------------------------ find or build


MANIFEST = """
[workspace]
name = "x"
channels = ["conda-forge"]
platforms = ["linux-64", "osx-64", "osx-arm64", "win-64"]
[tool.d2lenv]
exclude-newer = "2026-01-01T00:00:00Z"
[tool.d2lenv.environments.zh]
python = "3.9"
wheels = ["linux-64", "osx-64", "osx-arm64", "win-64"]
requirements = ["d2l==0.17.6"]
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Any:
    from d2lenv.workspace import manifest as workspace

    (tmp_path / "pixi.toml").write_text(MANIFEST, encoding="utf-8")
    return workspace.load(tmp_path)


def built(root: Path, name: str, digest: str) -> Path:
    prefix = root / ".d2lenv" / name
    locations.interpreter(prefix).parent.mkdir(parents=True)
    locations.interpreter(prefix).touch()
    (prefix / marker.MARKER).write_text(json.dumps({"digest": digest}), encoding="utf-8")
    return prefix


def test_a_built_environment_is_used_and_an_old_one_is_said(
    workspace: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from d2lenv.solve import wheels

    monkeypatch.setattr(build, "build", lambda *_, **__: pytest.fail("it is there already"))
    monkeypatch.setattr(wheels, "read", lambda *_: "the requirements")
    monkeypatch.setattr(wheels, "digest", lambda _: "new")
    prefix = built(workspace.root, "zh-wheels", "new")
    notes: list[str] = []
    assert lab.find_or_build(workspace, "zh", notes.append) == prefix
    assert notes == []
    (prefix / marker.MARKER).write_text('{"digest": "old"}', encoding="utf-8")
    assert lab.find_or_build(workspace, "zh", notes.append) == prefix
    assert "older lock" in notes[0]


@posix
def test_a_checkout_that_cannot_be_written_is_used_as_it_is(
    tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An administrator has built the environment; each reader's layout and log are in the reader's home."""
    from d2lenv.solve import wheels
    from d2lenv.workspace import manifest

    monkeypatch.setattr(wheels, "read", lambda *_: "the requirements")
    monkeypatch.setattr(wheels, "digest", lambda _: "new")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home" / "state"))
    checkout = tmp_path / "checkout"
    with read_only(checkout, "8m") as fill:
        labkit.make_prefix(checkout / ".d2lenv" / "zh-wheels", "zh")
        (checkout / ".d2lenv" / "zh-wheels" / marker.MARKER).write_text('{"digest": "new"}', encoding="utf-8")
        (checkout / "notebooks").mkdir()
        (checkout / "pixi.toml").write_text(MANIFEST, encoding="utf-8")
        fill()
        said_: list[str] = []
        found = lab.find_or_build(manifest.load(checkout), "zh", said_.append)
        made = lab.prepare(
            "zh", found, locations.interpreter(found), checkout / "notebooks",
            checkout / ".d2lenv" / "lab" / "zh", environ=environ, say=said_.append,
        )  # fmt: skip
        answer, _ = start(made, environ, ctrl_c)
    assert made.state.is_relative_to(tmp_path / "home" / "state")
    assert answer.log.is_file()
    assert [line for line in said_ if "as root" not in line] == [
        f"{checkout / 'notebooks'} cannot be written: notebooks open, but cannot be saved there"
    ]


def test_a_built_environment_is_used_although_its_lock_cannot_be_read(workspace: Any) -> None:
    prefix = built(workspace.root, "zh-wheels", "new")
    notes: list[str] = []
    assert lab.find_or_build(workspace, "zh", notes.append) == prefix
    assert len(notes) == 1


def test_an_environment_that_is_not_there_is_built(workspace: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Built:
        prefix = Path("new")

    monkeypatch.setattr(build, "build", lambda *_, **__: Built)
    assert lab.find_or_build(workspace, "zh", print) == Path("new")


def test_an_environment_that_nobody_knows_is_refused(workspace: Any) -> None:
    with pytest.raises(D2lEnvError, match="no environment `zz`"):
        lab.find_or_build(workspace, "zz", print)


# --------------------------------------------------------------------------------------------- VS Code


def test_vs_code_looks_where_environments_are_built(workspace: Any) -> None:
    root = Path(__file__).parents[2]
    text = (root / ".vscode" / "settings.json").read_text(encoding="utf-8")
    lines = [
        line for line in text.splitlines() if not line.strip().startswith("//")
    ]  # VS Code's JSON has comments
    settings = json.loads("\n".join(lines))

    def place(name: str) -> Path:
        return Path(settings[name].replace("${workspaceFolder}", str(workspace.root)))

    assert place("python.defaultInterpreterPath") == find.default_prefix(workspace, "default", "pixi")
    assert place("python.venvPath") == find.default_prefix(workspace, "zh", "wheels").parent
