"""A small bundle: made with real pip, built from with real uv, without a network."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import wheelkit
from d2lenv.base.errors import D2lEnvError
from d2lenv.bundle import check, create, manifest, pythons, tar, wheels
from d2lenv.data.table import DataFile, DataSet
from d2lenv.facts import platforms

HERE = platforms.current()
POSIX = pytest.mark.skipif(os.name != "posix", reason="not checked: install.sh needs a POSIX shell")

# In the place of the tool: says how it was called.
RUN = """import json, os, sys
with open(os.path.join(os.path.dirname(__file__), "called.jsonl"), "a") as file:
    said = [sys.argv[1:], os.environ.get("UV_FIND_LINKS"), os.environ.get("PIP_NO_INDEX")]
    file.write(json.dumps(said) + "\\n")
"""


@pytest.fixture
def links(tmp_path: Path) -> Path:
    return tmp_path / "index"


@pytest.fixture
def root(tmp_path: Path, links: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with an environment `tiny`, and a package index that is a folder."""
    root = tmp_path / "checkout"
    pin = wheelkit.write_greet(links)
    tool = wheelkit.write_wheel(links, "tooling", "2.0", {"tooling.py": ""})
    wheelkit.write_workspace(root, [pin])
    (root / "run.py").write_text(RUN, encoding="utf-8")
    (root / ".ci" / "requirements").mkdir(parents=True)
    lock = f"tooling==2.0 ; sys_platform != 'zos' \\\n    --hash=sha256:{tool.sha256[0]}\n"
    (root / ".ci" / "requirements" / "tool.txt").write_text(lock, encoding="utf-8")
    for name, value in wheelkit.private_uv(tmp_path, str(links)).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setattr(pythons, "from_uv", lambda *_: None)  # no host is asked
    return root


@pytest.fixture
def run(root: Path, monkeypatch: pytest.MonkeyPatch) -> create.Request:
    return create.Request(environments=("tiny",), platforms=(HERE,))


def make(root: Path, request: create.Request, folder: Path) -> manifest.Manifest:
    from d2lenv.workspace import manifest as workspace

    return create.create(workspace.load(root), request, folder, lambda _line: None)


def contents(folder: Path) -> dict[str, bytes]:
    return {path: (folder / path).read_bytes() for path in check.paths(folder)}


def test_two_bundles_have_the_same_bytes_and_a_second_run_asks_no_index(
    root: Path, run: create.Request, links: Path, tmp_path: Path
) -> None:
    made = make(root, run, tmp_path / "one")
    assert {"wheels/greet-1.0-py3-none-any.whl", "wheels/tooling-2.0-py3-none-any.whl", "d2l-env.tar"} <= {
        file.path for file in made.files
    }
    assert [(lack.what, bool(lack.why)) for lack in made.lacks] == [
        (f"Python {wheelkit.PYTHON}/{HERE}", True)
    ]
    make(root, run, tmp_path / "two")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    shutil.rmtree(links)
    make(root, run, tmp_path / "one")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_wheel_that_is_not_its_pins_is_refused_and_half_a_one_is_fetched_again(
    root: Path, run: create.Request, links: Path, tmp_path: Path
) -> None:
    made = make(root, run, tmp_path / "one")
    wheel = tmp_path / "one" / "wheels" / "greet-1.0-py3-none-any.whl"
    wheel.write_bytes(wheel.read_bytes()[:100])  # a killed run's
    (tmp_path / "one" / "wheels" / "stale.whl").write_bytes(b"an older bundle's")
    assert make(root, run, tmp_path / "one") == made
    assert not (tmp_path / "one" / "wheels" / "stale.whl").exists()
    wheelkit.write_wheel(links, "greet", "1.0", {"greet.py": "other"})
    with pytest.raises(D2lEnvError, match="cannot be downloaded") as caught:
        make(root, run, tmp_path / "three")
    assert "greet" in str(caught.value.why)
    assert not (tmp_path / "three" / manifest.NAME).exists()


def test_a_folder_with_something_else_is_left_alone(root: Path, run: create.Request, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(D2lEnvError, match=r"thesis\.txt"):
        make(root, run, tmp_path / "home")
    assert [*(tmp_path / "home").iterdir()] == [tmp_path / "home" / "thesis.txt"]


def test_a_build_takes_the_bundles_wheels_and_asks_nothing_else(
    root: Path, run: create.Request, links: Path, tmp_path: Path
) -> None:
    make(root, run, tmp_path / "room")
    shutil.rmtree(links)
    process = wheelkit.start(root, "build", "tiny", "--bundle", str(tmp_path / "room"), UV_FIND_LINKS="")
    _out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    python = root / ".d2lenv" / "tiny-wheels" / "bin" / "python"
    assert wheelkit.run_of(python, "-c", "import greet; greet.main()").startswith("hello 1.0")


def test_a_flipped_byte_is_named_before_anything_is_installed(
    root: Path, run: create.Request, tmp_path: Path
) -> None:
    made = make(root, run, tmp_path / "room")
    wheel = tmp_path / "room" / "wheels" / "greet-1.0-py3-none-any.whl"
    data = bytearray(wheel.read_bytes())
    data[50] ^= 1
    wheel.write_bytes(data)
    (tmp_path / "room" / "notes.txt").write_text("mine", encoding="utf-8")
    checked = check.check(tmp_path / "room", made, made.files)
    assert checked == check.Checked((), ("wheels/greet-1.0-py3-none-any.whl",), ("notes.txt",))
    process = wheelkit.start(root, "build", "tiny", "--bundle", str(tmp_path / "room"))
    _out, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "wheels/greet-1.0-py3-none-any.whl" in err
    assert not (root / ".d2lenv" / "tiny-wheels").exists()
    wheel.unlink()
    if os.name == "posix":
        os.mkfifo(wheel)
    assert check.check(tmp_path / "room", made, made.files).missing == ("wheels/greet-1.0-py3-none-any.whl",)


def test_an_environment_that_is_not_in_it_is_named_with_those_that_are(
    root: Path, run: create.Request, tmp_path: Path
) -> None:
    make(root, run, tmp_path / "room")
    with pytest.raises(D2lEnvError, match="no cuda") as caught:
        check.how_to_build(tmp_path / "room", "cuda")
    assert "tiny" in str(caught.value.why)


def test_a_newer_bundle_leaves_out_what_the_older_one_has(
    root: Path, run: create.Request, links: Path, tmp_path: Path
) -> None:
    old = make(root, run, tmp_path / "old")
    wheelkit.write_pins(root, [wheelkit.write_greet(links, "1.1")])
    new = make(root, replace(run, since=old), tmp_path / "new")
    travels = set(check.paths(tmp_path / "new"))
    assert "wheels/greet-1.1-py3-none-any.whl" in travels
    assert "wheels/tooling-2.0-py3-none-any.whl" not in travels
    assert not check.check(tmp_path / "new", new, new.files).ok
    shutil.copytree(tmp_path / "new", tmp_path / "old", dirs_exist_ok=True)
    checked = check.check(tmp_path / "old", new, new.files)
    assert checked == check.Checked((), (), ("wheels/greet-1.0-py3-none-any.whl",))


def test_data_that_lie_damaged_in_the_bundle_are_copied_again(
    root: Path, run: create.Request, tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "numbers.csv").write_bytes(b"1,2,3")
    file = DataFile("numbers.csv", "sha1", hashlib.sha1(b"1,2,3").hexdigest(), ())
    request = replace(run, data=(DataSet("numbers", (), (file,)),), data_folder=shared)
    made = make(root, request, tmp_path / "room")
    (tmp_path / "room" / "data" / "numbers.csv").write_bytes(b"1,2,4")  # of the same size
    assert make(root, request, tmp_path / "room") == made
    assert (tmp_path / "room" / "data" / "numbers.csv").read_bytes() == b"1,2,3"


def stand_in(folder: Path, movable: bool) -> Path:
    """A Python whose prefix is where it lies, or always the same."""
    (folder / "bin").mkdir(parents=True)
    (folder / "lib" / "site-packages").mkdir(parents=True)
    (folder / "lib" / "site-packages" / "left.py").touch()
    prefix = '$(cd "$(dirname "$0")/.." && pwd)' if movable else "/opt/python"
    text = f'#!/bin/sh\ncase "$*" in *sqlite3*) echo "{prefix}" ;; *) exec "{sys.executable}" "$@" ;; esac\n'
    (folder / "bin" / "python3.x").write_text(text, encoding="utf-8")
    (folder / "bin" / "python3.x").chmod(0o755)
    (folder / "bin" / "python3").symlink_to("python3.x")
    (folder / "bin" / "leads-out").symlink_to("/etc/passwd")
    return folder


@POSIX
def test_a_python_is_packed_without_what_was_installed_into_it(tmp_path: Path) -> None:
    source = pythons.given(stand_in(tmp_path / "py", movable=True))
    assert source.version == wheelkit.PYTHON
    target = tmp_path / f"cpython-{source.release}-{HERE}.tar"
    pythons.pack(source, HERE, target)
    tar.unpack(target, tmp_path / "there")
    assert sorted(check.paths(tmp_path / "there" / target.stem)) == ["bin/python3", "bin/python3.x"]


@POSIX
def test_a_python_that_cannot_be_moved_is_refused(tmp_path: Path) -> None:
    source = pythons.given(stand_in(tmp_path / "py", movable=False))
    with pytest.raises(D2lEnvError, match="does not run from another folder"):
        pythons.pack(source, HERE, tmp_path / f"cpython-{source.release}-{HERE}.tar")
    assert not [*tmp_path.glob("*.tar")]


@POSIX
def test_install_sh_checks_unpacks_and_builds(root: Path, run: create.Request, tmp_path: Path) -> None:
    make(root, replace(run, pythons=(stand_in(tmp_path / "py", movable=True),)), tmp_path / "a room")
    subprocess.run(
        [Path(sys.executable).with_name("shellcheck"), tmp_path / "a room" / "install.sh"], check=True
    )
    words = ["sh", str(tmp_path / "a room" / "install.sh"), str(tmp_path / "new home")]
    environ = {"HOME": str(tmp_path), "PATH": os.defpath}
    done = subprocess.run(words, capture_output=True, text=True, env=environ, check=True, timeout=120)
    assert "new home/d2lenv lab tiny" in done.stdout
    calls = [json.loads(line) for line in (tmp_path / "new home" / "called.jsonl").read_text().splitlines()]
    python = next((tmp_path / "new home" / "python").glob("cpython-*")) / "bin" / "python3"
    room = str(tmp_path / "a room")
    built = [*("--workspace", str(tmp_path / "new home"), "build", "tiny", "--engine", "wheels")]
    assert calls == [[[*built, "--bundle", room, "--python", str(python)], f"{room}/wheels", "1"]]
    again = subprocess.run([*words, "cuda"], capture_output=True, text=True, env=environ, check=False)
    assert again.returncode == 1
    assert "has no cuda" in again.stderr


@POSIX
def test_install_sh_installs_nothing_from_a_damaged_bundle(
    root: Path, run: create.Request, tmp_path: Path
) -> None:
    make(root, run, tmp_path / "room")
    with (tmp_path / "room" / "d2l-env.tar").open("r+b") as file:
        file.seek(600)
        file.write(b"X")
    words = ["sh", str(tmp_path / "room" / "install.sh"), str(tmp_path / "home")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "d2l-env.tar" in done.stdout + done.stderr
    assert not (tmp_path / "home").exists()


def test_the_tags_are_those_of_each_platform() -> None:
    assert wheels.tags("linux-64")[0] == "manylinux_2_28_x86_64"
    assert "manylinux2014_aarch64" in wheels.tags("linux-aarch64")
    assert wheels.tags("osx-arm64")[0] == "macosx_13_0_arm64"
    assert wheels.tags("win-64") == ["win_amd64"]
    assert {pythons.uv_name("3.10", platform) for platform in ("linux-64", "osx-arm64", "win-64")} == {
        "cpython-3.10-linux-x86_64-gnu",
        "cpython-3.10-macos-aarch64-none",
        "cpython-3.10-windows-x86_64-none",
    }


def test_pip_gets_uvs_index_and_nothing_that_says_what_to_download() -> None:
    found = wheels.environment(
        {"UV_FIND_LINKS": "a,b", "PIP_TARGET": "/x", "PIP_REQUIREMENT": "y", "HOME": "/h"}
    )
    assert found == {"UV_FIND_LINKS": "a,b", "HOME": "/h", "PIP_FIND_LINKS": "a b"}
    assert wheels.environment({"UV_DEFAULT_INDEX": "u", "PIP_INDEX_URL": "p"})["PIP_INDEX_URL"] == "p"
