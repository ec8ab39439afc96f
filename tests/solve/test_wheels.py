"""The requirements files, resolved with the real uv from a local folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.requirements import Requirement

import condakit
import wheelkit
from channelkit import MANIFEST, d2lenv, small_snapshot, write_workspace
from d2lenv.base.errors import D2lEnvError
from d2lenv.facts import platforms
from d2lenv.solve import wheels
from d2lenv.workspace import lockfile, manifest, settings
from d2lenv.workspace import pins as pinned

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("D2LENV_LANG", "en")


# --- what is asked ----------------------------------------------------------------------------------


def test_every_committed_file_is_whole_and_has_no_address() -> None:
    space = manifest.load(ROOT)
    read = set()
    for own in settings.load(space).values():
        for platform in wheels.files(own):
            path = pinned.path_of(space, own.name, platform)
            assert "://" not in path.read_text(encoding="utf-8")
            for pin in pinned.read_file(path):
                assert Requirement(pin.requirement)
            read.add(path)
    assert read == set((ROOT / "envs").glob("*/requirements*.txt"))


@pytest.mark.parametrize(
    ("environment", "platform"), [("cuda", "linux-64"), ("cuda12", "linux-64"), ("cpu", "linux-64")]
)
def test_the_versions_of_both_worlds_are_those_of_the_lock(environment: str, platform: str) -> None:
    space, lock = manifest.load(ROOT), lockfile.read(ROOT / "pixi.lock")
    pins = {pin.name: pin.version for pin in pinned.read(space, environment, platform)}
    conda = pinned.locked_versions(lock, environment, platform)
    for name in ("torch", "torchvision", "torchaudio", "d2l", "numpy", "jupyterlab", "ipykernel", "nbclient"):
        assert pins[name] == conda[name][1], name


def test_the_committed_heads_are_those_of_todays_question() -> None:
    space, lock = manifest.load(ROOT), lockfile.read(ROOT / "pixi.lock")
    for own in settings.load(space).values():
        for platform in wheels.files(own):
            path = pinned.path_of(space, own.name, platform)
            pins, text = pinned.read_file(path), path.read_text(encoding="utf-8")
            assert text == pinned.text_of(pins, wheels.head_of(space, lock, own, platform))


def test_of_the_chinese_edition_its_own_pins_are_asked() -> None:
    space, lock = manifest.load(ROOT), lockfile.read(ROOT / "pixi.lock")
    zh = settings.get(space, "zh")
    assert "d2l==0.17.6" in wheels.roots(space, lock, zh, "linux-64")
    assert wheels.preferences(lock, zh, "linux-64") == {}
    assert pinned.python_version(zh, lock, "linux-64") == "3.9"
    assert pinned.locked_versions(lock, "zh", "linux-64") == {}


def test_where_conda_has_no_torchaudio_the_one_of_that_torch_is_asked() -> None:
    space, lock = manifest.load(ROOT), lockfile.read(ROOT / "pixi.lock")
    asked = wheels.roots(space, lock, settings.get(space, "cpu"), "osx-64")
    assert "torch==2.0.1" in asked
    assert "torchaudio==2.0.2" in asked


# --- the resolver -----------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace whose lock has greet 1.0; the folder has 1.0 and 2.0, and what 1.0 needs."""
    house = tmp_path / "house"
    for version in ("1.0", "2.0"):
        wheelkit.write_greet(house, version)
    packages = (
        condakit.Package("greet", "1.0", "pyhd8ed1ab_0", noarch="python"),
        condakit.python_package(),
    )
    tool = f'display-name = "Tiny"\nwheels = ["{platforms.current()}"]\n'
    condakit.write_workspace(tmp_path / "root", "http://127.0.0.1:9/", packages, tool=tool)
    for name, value in wheelkit.private_uv(tmp_path, str(house)).items():
        monkeypatch.setenv(name, value)
    return tmp_path / "root"


def lock_wheels(root: Path, *, update: frozenset[str] = frozenset(), update_all: bool = False) -> list[Path]:
    space = manifest.load(root)
    return wheels.lock_wheels(
        space,
        lockfile.read(space.lock),
        settings.load(space),
        update=update,
        update_all=update_all,
        say=lambda line: None,
    )


def pins_of(root: Path) -> dict[str, str]:
    space = manifest.load(root)
    return {pin.name: pin.version for pin in pinned.read(space, "tiny", platforms.current())}


def test_the_version_of_the_lock_is_taken_although_a_newer_one_is_there(root: Path) -> None:
    (path,) = lock_wheels(root)
    assert path == root / "envs" / "tiny" / f"requirements-{platforms.current()}.txt"
    assert pins_of(root) == {"greet": "1.0"}
    assert "--hash=sha256:" in path.read_text(encoding="utf-8")


def test_a_lock_that_pixi_wrote_is_recorded_with_its_wheels(root: Path, tmp_path: Path) -> None:
    tool = (
        f'[tool.d2lenv.environments.tiny]\nwheels = ["{platforms.current()}"]\npython = "3.10"\n'
        'requirements = ["greet"]\nexclude-newer = "2999-01-01T00:00:00Z"\n'
    )
    write_workspace(root, MANIFEST + tool)
    snapshot = small_snapshot(tmp_path / "channels")
    assert d2lenv(root, "lock", "--no-wheels", "--update-all", "--snapshot", str(snapshot)).returncode == 0
    assert d2lenv(root, "lock", "--record", "--no-wheels").returncode == 0
    assert not (root / "envs" / "tiny").exists()
    done = d2lenv(root, "lock", "--record")
    assert done.returncode == 0, done.stderr
    assert pins_of(root) == {"greet": "2.0"}


def test_locking_again_changes_nothing_and_asks_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = lock_wheels(root)
    before = path.read_bytes()
    monkeypatch.setattr(wheels, "resolve", None)
    assert lock_wheels(root) == []
    assert path.read_bytes() == before


@pytest.mark.parametrize("everything", [True, False])
def test_an_update_asks_again_and_writes_only_what_changed(root: Path, everything: bool) -> None:
    (path,) = lock_wheels(root)
    before = path.stat().st_mtime_ns
    names = frozenset() if everything else frozenset({"greet"})
    assert lock_wheels(root, update=names, update_all=everything) == []
    assert path.stat().st_mtime_ns == before


def test_a_damaged_file_is_made_anew(root: Path) -> None:
    (path,) = lock_wheels(root)
    before = path.read_bytes()
    path.write_text("numpy\n", encoding="utf-8")
    assert lock_wheels(root) == [path]
    assert path.read_bytes() == before


def test_a_version_that_the_index_does_not_have_is_an_error_with_uvs_reason(
    root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "empty"))
    with pytest.raises(D2lEnvError) as caught:
        lock_wheels(root)
    assert "cannot be resolved" in caught.value.what
    assert "greet" in caught.value.why
    assert not (root / "envs" / "tiny").exists()


def test_a_uv_that_takes_too_long_is_stopped(
    root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(wheels, "_RESOLVE_TIMEOUT_S", 0.2)
    with condakit.served(tmp_path / "house", delay_s=30) as slow:
        monkeypatch.setenv("UV_FIND_LINKS", slow + "greet-9-py3-none-any.whl")
        with pytest.raises(D2lEnvError) as caught:
            lock_wheels(root)
    assert caught.value.why == "no end after 0.2 s"


# --- one file for several Pythons and every platform -------------------------------------------------

OVERRIDES = """\
python = ["3.12", "3.10"]
wheels = ["linux-64", "win-64"]
requirements = ["greet", "old"]
[[tool.d2lenv.environments.tiny.overrides]]
requirements = ["pinned==1.0 ; python_version < '3.12'", "pinned==2.0 ; python_version >= '3.12'"]
reason = "greet pins 0.1, which nobody has"
since = "2026-11-24"
"""


@pytest.fixture
def several(root: Path, tmp_path: Path) -> Path:
    """``tiny`` for two Pythons: the newest greet pins a version of ``pinned`` that does not exist."""
    house = tmp_path / "house"
    wheelkit.write_wheel(house, "greet", "3.0", {"greet.py": ""}, requires=["pinned==0.1"])
    for name, version in (("pinned", "1.0"), ("pinned", "2.0"), ("old", "1.0")):
        wheelkit.write_wheel(house, name, version, {f"{name}.py": ""})
    path = root / "pixi.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(f'wheels = ["{platforms.current()}"]\n', OVERRIDES), encoding="utf-8")
    return root


def test_one_file_is_solved_for_all_and_again_byte_for_byte(several: Path) -> None:
    (path,) = lock_wheels(several)
    assert path == several / "envs" / "tiny" / "requirements.txt"
    first = path.read_bytes()
    assert [pin.requirement for pin in pinned.read_file(path)] == [
        "greet==3.0",
        "old==1.0",
        'pinned==1.0 ; python_full_version < "3.12"',
        'pinned==2.0 ; python_full_version >= "3.12"',
    ]
    assert lock_wheels(several) == []
    path.unlink()
    assert lock_wheels(several) == [path]
    assert path.read_bytes() == first


def test_another_override_is_another_question(several: Path) -> None:
    (path,) = lock_wheels(several)
    toml = several / "pixi.toml"
    toml.write_text(toml.read_text(encoding="utf-8").replace(">= '3.12'", ">= '3.11'"), encoding="utf-8")
    toml.write_text(toml.read_text(encoding="utf-8").replace("< '3.12'", "< '3.11'"), encoding="utf-8")
    assert lock_wheels(several) == [path]


def test_a_package_without_a_wheel_for_one_place_is_found(several: Path, tmp_path: Path) -> None:
    (wheel,) = (tmp_path / "house").glob("old-*.whl")
    wheel.rename(wheel.with_name("old-1.0-py3-none-win_amd64.whl"))
    with pytest.raises(D2lEnvError) as caught:
        lock_wheels(several)
    assert "not every package has a wheel: tiny, " in caught.value.what
    assert "old==1.0" in caught.value.why
