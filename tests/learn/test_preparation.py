"""A lab answers its questions before the start."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import labkit
from d2lenv.base.errors import D2lEnvError
from d2lenv.engines import build, find
from d2lenv.learn import folders, preparation
from d2lenv.learn.lab import Lab
from d2lenv.prefix import locations, marker
from diskkit import read_only
from labkit import ctrl_c, posix, run_until


def test_a_prefix_without_jupyterlab_is_refused(tmp_path: Path) -> None:
    with pytest.raises(D2lEnvError, match="no JupyterLab"):
        preparation.check_has_lab(tmp_path)


def test_a_folder_that_is_not_there_is_refused(prefix: Path, tmp_path: Path, environ: dict[str, str]) -> None:
    with pytest.raises(D2lEnvError, match="is not a folder"):
        preparation.prepare(
            "cuda", prefix, prefix / "bin/python", tmp_path / "no", tmp_path, environ=environ, say=print
        )


def test_a_first_lab_opens_the_start_page_and_a_later_one_its_own_layout(
    tmp_path: Path, prepare: Callable[..., Lab]
) -> None:
    first = prepare()
    assert first.opens == "/lab/tree/00-start-here.ipynb"
    assert first.url == f"http://127.0.0.1:{first.port}/lab/tree/00-start-here.ipynb?token={first.token}"
    layout = tmp_path / "state" / "workspaces" / "default.jupyterlab-workspace"
    layout.parent.mkdir()
    layout.write_text("{}", encoding="utf-8")
    assert prepare().opens == "/lab"


def test_every_lab_has_a_token_of_its_own_unless_the_reader_set_one(
    prepare: Callable[..., Lab], environ: dict[str, str]
) -> None:
    one, other = prepare(), prepare()
    assert one.token != other.token
    assert len(one.token) >= 32
    assert prepare(environ=environ | {"JUPYTER_TOKEN": "mine"}).token == "mine"


def test_a_home_that_cannot_be_written_is_replaced_and_that_is_said(
    tmp_path: Path, prepare: Callable[..., Lab], environ: dict[str, str]
) -> None:
    home = tmp_path / "a file, not a folder"
    home.touch()
    said: list[str] = []
    made = prepare(environ=environ | {"HOME": str(home), "USERPROFILE": str(home)}, say=said.append)
    assert set(made.moved) == {"JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"}
    assert all(folder.startswith(str(tmp_path / "state")) for folder in made.moved.values())
    assert any("home folder cannot be written" in line for line in said)


def test_a_state_folder_that_cannot_be_written_becomes_a_temporary_one(
    tmp_path: Path, prepare: Callable[..., Lab]
) -> None:
    file = tmp_path / "file"
    file.touch()
    made = prepare(state=file / "state")
    assert made.state.is_dir()
    assert tmp_path not in made.state.parents or made.state != file / "state"


def test_a_folder_of_notebooks_that_cannot_be_written_is_said(
    prepare: Callable[..., Lab], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = folders.writable
    monkeypatch.setattr(folders, "writable", lambda folder: folder != root and real(folder))
    said: list[str] = []
    prepare(say=said.append)
    assert any("cannot be saved there" in line for line in said)


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
    monkeypatch.setattr(preparation.webbrowser, "get", lambda: object())
    assert preparation.can_open_browser(variables) is expected


def test_without_any_browser_none_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> object:
        raise preparation.webbrowser.Error

    monkeypatch.setattr(preparation.webbrowser, "get", none)
    assert preparation.can_open_browser({"DISPLAY": ":0"}) is False


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
    from d2lenv.workspace import pins as pinned

    monkeypatch.setattr(build, "build", lambda *_, **__: pytest.fail("it is there already"))
    monkeypatch.setattr(pinned, "read", lambda *_: "the requirements")
    monkeypatch.setattr(pinned, "digest", lambda *_: "new")
    prefix = built(workspace.root, "zh-wheels", "new")
    notes: list[str] = []
    assert preparation.find_or_build(workspace, "zh", notes.append) == prefix
    assert notes == []
    (prefix / marker.MARKER).write_text('{"digest": "old"}', encoding="utf-8")
    assert preparation.find_or_build(workspace, "zh", notes.append) == prefix
    assert "older lock" in notes[0]


@posix
def test_a_checkout_that_cannot_be_written_is_used_as_it_is(
    tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An administrator has built the environment; each reader's layout and log are in the reader's home."""
    from d2lenv.workspace import manifest
    from d2lenv.workspace import pins as pinned

    monkeypatch.setattr(pinned, "read", lambda *_: "the requirements")
    monkeypatch.setattr(pinned, "digest", lambda *_: "new")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home" / "state"))
    checkout = tmp_path / "checkout"
    with read_only(checkout, "8m") as fill:
        labkit.make_prefix(checkout / ".d2lenv" / "zh-wheels", "zh")
        (checkout / ".d2lenv" / "zh-wheels" / marker.MARKER).write_text('{"digest": "new"}', encoding="utf-8")
        (checkout / "notebooks").mkdir()
        (checkout / "pixi.toml").write_text(MANIFEST, encoding="utf-8")
        fill()
        said_: list[str] = []
        found = preparation.find_or_build(manifest.load(checkout), "zh", said_.append)
        made = preparation.prepare(
            "zh", found, locations.interpreter(found), checkout / "notebooks",
            checkout / ".d2lenv" / "lab" / "zh", environ=environ, say=said_.append,
        )  # fmt: skip
        running = run_until(made, environ, ctrl_c)
    assert made.state.is_relative_to(tmp_path / "home" / "state")
    assert running.lab.log.is_file()
    assert [line for line in said_ if "as root" not in line] == [
        f"{checkout / 'notebooks'} cannot be written: notebooks open, but cannot be saved there"
    ]


def test_a_built_environment_is_used_although_its_lock_cannot_be_read(workspace: Any) -> None:
    prefix = built(workspace.root, "zh-wheels", "new")
    notes: list[str] = []
    assert preparation.find_or_build(workspace, "zh", notes.append) == prefix
    assert len(notes) == 1


def test_an_environment_that_is_not_there_is_built(workspace: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Built:
        prefix = Path("new")

    monkeypatch.setattr(build, "build", lambda *_, **__: Built)
    assert preparation.find_or_build(workspace, "zh", print) == Path("new")


def test_an_environment_that_nobody_knows_is_refused(workspace: Any) -> None:
    with pytest.raises(D2lEnvError, match="no environment `zz`"):
        preparation.find_or_build(workspace, "zz", print)


def test_vs_code_looks_where_environments_are_built(workspace: Any) -> None:
    root = Path(__file__).parents[2]
    text = (root / ".vscode" / "settings.json").read_text(encoding="utf-8")
    lines = [
        line for line in text.splitlines() if not line.strip().startswith("//")
    ]  # VS Code's JSON has comments
    settings = json.loads("\n".join(lines))

    def place(name: str) -> Path:
        return Path(settings[name].replace("${workspaceFolder}", str(workspace.root)))

    places = dict(find.default_prefixes(workspace, "default"))
    assert place("python.defaultInterpreterPath") == places["pixi"]
    assert place("python.venvPath") == dict(find.default_prefixes(workspace, "zh"))["wheels"].parent


def test_a_book_finds_the_shared_data_and_the_notebooks_get_their_folder(
    tmp_path: Path, root: Path, prepare: Callable[..., Lab], environ: dict[str, str]
) -> None:
    shared = tmp_path / "shared"
    weights = shared / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"damaged")
    notebook = root / "chapter_computer-vision" / "fine-tuning.ipynb"
    notebook.parent.mkdir()
    notebook.touch()
    said: list[str] = []
    made = prepare(environ=environ | {"D2LENV_DATA": str(shared)}, say=said.append)
    assert made.data == {}
    assert any("(hotdog, resnet18): d2lenv data get --book" in text for text in said)


def test_a_lab_opens_though_its_data_cannot_be_linked(
    tmp_path: Path, prepare: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> dict[str, str]:
        raise D2lEnvError("no room for a link")

    monkeypatch.setattr("d2lenv.data.book.lay_out", fail)
    said: list[str] = []
    assert prepare(say=said.append).data == {}
    assert "no room for a link" in said
