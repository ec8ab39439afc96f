"""The baseline beside a prefix: written with it, renamed with it, never another build's."""

from __future__ import annotations

import errno
import os
import random
import re
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

import diskkit
import proofkit
import wheelkit
from d2lenv.base.errors import D2lEnvError
from d2lenv.engines import place
from d2lenv.prefix import baseline, marker, records
from d2lenv.prefix.baseline import BaselineError
from d2lenv.prefix.contents.prefix import read_prefix
from proofkit import SITE, Home

posix = pytest.mark.skipif(os.name != "posix", reason="signals and modes of POSIX")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        yield proofkit.home(tmp_path_factory.mktemp("baseline"), patch, stack)


def test_it_has_every_entry_and_the_digests_that_no_package_states(home: Home, tmp_path: Path) -> None:
    prefix = home.build("wheels", tmp_path / "prefix")
    found = baseline.read(prefix)
    assert found is not None
    assert set(found.entries) == {path.relative_to(prefix).as_posix() for path in prefix.rglob("*")}
    claimed = records.read(read_prefix(prefix))
    assert f"{SITE}/greet-1.0.dist-info/RECORD" in found.sha256
    assert "pyvenv.cfg" in found.sha256
    assert found.sha256[f"{SITE}/greet.py"] == claimed.of[f"{SITE}/greet.py"][0].sha256
    assert all(
        claimed.hashed(path) or path in found.sha256 for path, e in found.entries.items() if e.kind == "file"
    )


def test_a_prefix_without_one_has_none(tmp_path: Path) -> None:
    assert baseline.read(tmp_path / "prefix") is None


def built_beside(prefix: Path, name: str) -> Path:
    """A copy of the prefix as a later build's folder that has not got its name, and its baseline."""
    folder = prefix.with_name(f".{prefix.name}.building-{name}")
    shutil.copytree(prefix, folder, symlinks=True)
    (folder / "new").touch()
    os.utime(folder / marker.MARKER, ns=(1, int(name)))
    baseline.record(folder)
    return folder


def entries(prefix: Path) -> set[str]:
    found = baseline.read(prefix)
    assert found is not None
    return set(found.entries)


@pytest.mark.parametrize("old", [True, False])
def test_a_kill_between_the_last_two_renames_does_not_leave_the_old_baseline(
    home: Home, tmp_path: Path, old: bool
) -> None:
    prefix = home.build("wheels", tmp_path / "prefix")
    folder = built_beside(prefix, "17")
    assert "new" not in entries(prefix)
    shutil.rmtree(prefix)
    if not old:
        baseline.path_of(prefix).unlink()
    folder.rename(prefix)  # killed here
    assert "new" in entries(prefix)
    assert home.verify(prefix).findings == ()
    baseline.settle(prefix)
    assert "new" in entries(prefix)
    assert not list(tmp_path.glob("..prefix*"))


def test_the_baseline_of_a_folder_that_never_got_its_name_is_dropped(home: Home, tmp_path: Path) -> None:
    prefix = home.build("wheels", tmp_path / "prefix [1]")
    before = baseline.path_of(prefix).read_bytes()
    built_beside(prefix, "17")
    assert "new" not in entries(prefix)
    baseline.settle(prefix)
    assert baseline.path_of(prefix).read_bytes() == before
    assert not list(tmp_path.glob("..prefix*"))


@pytest.mark.parametrize("remove_real", [True, False])
@pytest.mark.parametrize("copies", [1, 2])
def test_a_planted_baseline_never_stands_in_for_the_real_one(
    home: Home, tmp_path: Path, remove_real: bool, copies: int
) -> None:
    """One of another build, or two that both say to be this build's."""
    prefix = home.build("wheels", tmp_path / "prefix")
    planted = baseline.path_of(prefix.with_name(".prefix.building-1"))
    if copies == 1:
        folder = built_beside(prefix, "1")
        shutil.rmtree(folder)
    else:
        for path in (planted, baseline.path_of(prefix.with_name(".prefix.building-2"))):
            shutil.copy(baseline.path_of(prefix), path)
    if remove_real:
        baseline.path_of(prefix).unlink()
    with pytest.raises(BaselineError, match="second baseline"):
        baseline.read(prefix)
    with pytest.raises(BaselineError):
        home.verify(prefix)
    built = home.build("wheels", prefix)
    assert home.verify(built).findings == ()
    assert not list(tmp_path.glob("..prefix*"))


def test_a_prefix_of_ours_without_one_is_an_error_and_built_anew(home: Home, tmp_path: Path) -> None:
    prefix = home.build("wheels", tmp_path / "prefix")
    baseline.path_of(prefix).unlink()
    with pytest.raises(BaselineError) as caught:
        baseline.read(prefix)
    assert "d2lenv build" in caught.value.fix
    home.build("wheels", prefix)
    assert home.verify(prefix).findings == ()


# --- faults -------------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("engine", ["wheels", "rattler"])
def test_after_kill_9_at_twenty_random_moments_the_next_command_works(
    home: Home, tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A moment is a fraction of how long the build takes here; the seed is printed with a failure.

    Every second build begins with an empty cache, and the first ten find no prefix in their place.
    """
    prefix = tmp_path / "prefix"
    words = ["build", "tiny", "--engine", engine, "--prefix", str(prefix), "--fresh"]
    start = time.monotonic()
    process = wheelkit.start(home.root, *words)
    assert process.wait(timeout=60) == 0
    whole = time.monotonic() - start
    seed = random.randrange(10**6)
    moments = random.Random(seed)
    for number in range(20):
        said = f"seed {seed}, kill {number}"
        for name in ("UV_CACHE_DIR", "RATTLER_CACHE_DIR"):
            monkeypatch.setenv(name, str(tmp_path / "caches" / f"{name}-{number // 2}"))
        if number < 10 and prefix.exists():
            place.remove(prefix)
        process = wheelkit.start(home.root, *words)
        time.sleep(moments.uniform(0.3, 1.0) * whole)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
        # Whatever was cut off: what has the prefix's name is whole, old or new.
        if prefix.exists():
            assert home.verify(prefix).findings == (), said
        elif number > 10:
            assert prefix.with_name(".prefix.old").exists(), said
        if number == 10:
            home.build(engine, prefix)
            assert home.verify(prefix).findings == (), said
    home.build(engine, prefix)
    assert home.verify(prefix).findings == ()
    assert {path.name for path in tmp_path.iterdir()} <= {
        "caches",
        "prefix",
        ".prefix.lock",
        ".prefix.baseline.json",
        ".prefix.lock.owner",
    }


@posix
def test_a_disk_that_is_full_when_the_baseline_is_written_keeps_the_old_prefix(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = home.build("wheels", tmp_path / "prefix")
    before = baseline.path_of(prefix).read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(D2lEnvError) as caught:
            home.build("wheels", prefix, fresh=True)
    assert caught.value.why == "No space left on device"
    assert baseline.path_of(prefix).read_bytes() == before
    assert home.verify(prefix).findings == ()
    assert not list(tmp_path.glob(".prefix.building-*"))
    assert not list(tmp_path.glob("..prefix*"))


@posix
@pytest.mark.parametrize(
    ("engine", "variable"), [("wheels", "UV_CACHE_DIR"), ("rattler", "RATTLER_CACHE_DIR")]
)
def test_a_read_only_cache_is_said_and_keeps_the_old_prefix(
    home: Home, tmp_path: Path, engine: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = home.build(engine, tmp_path / "prefix")
    monkeypatch.setenv(variable, str(tmp_path / "cache"))
    with diskkit.read_only(tmp_path / "cache"), pytest.raises(D2lEnvError) as caught:
        home.build(engine, prefix, fresh=True)
    assert re.search("ermission denied|Read-only file system", caught.value.why)
    assert variable in caught.value.fix
    assert home.verify(prefix).findings == ()
    assert not list(tmp_path.glob(".prefix.building-*"))
    monkeypatch.setenv(variable, str(tmp_path / "another"))
    assert home.verify(home.build(engine, prefix, fresh=True)).findings == ()


@posix
@pytest.mark.parametrize(
    ("engine", "variable"), [("wheels", "UV_CACHE_DIR"), ("rattler", "RATTLER_CACHE_DIR")]
)
def test_a_full_disk_under_the_cache_is_said_and_keeps_the_old_prefix(
    home: Home, tmp_path: Path, engine: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = home.build(engine, tmp_path / "prefix")
    monkeypatch.setenv(variable, str(tmp_path / "cache"))
    with diskkit.small_disk(tmp_path / "cache", "4k"), pytest.raises(D2lEnvError) as caught:
        home.build(engine, prefix, fresh=True)
    assert "No space left" in caught.value.why
    assert "free some space" in caught.value.fix
    assert home.verify(prefix).findings == ()
    assert not list(tmp_path.glob(".prefix.building-*"))


@pytest.mark.parametrize(
    ("engine", "variable"), [("wheels", "UV_CACHE_DIR"), ("rattler", "RATTLER_CACHE_DIR")]
)
def test_a_cache_that_cannot_be_made_is_named_and_leaves_nothing(
    home: Home, tmp_path: Path, engine: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file where the folder should be: it hinders root as well."""
    (tmp_path / "cache").write_text("", encoding="utf-8")
    monkeypatch.setenv(variable, str(tmp_path / "cache"))
    with pytest.raises(D2lEnvError) as caught:
        home.build(engine, tmp_path / "prefix")
    assert str(tmp_path / "cache") in caught.value.why
    assert not (tmp_path / "prefix").exists()
    assert not list(tmp_path.glob(".prefix.building-*"))


def test_two_builds_of_wheels_that_share_a_file_take_the_same_one(home: Home, tmp_path: Path) -> None:
    """`jupyter.py` is in jupyter and in jupyter-core; uv lets the one win whose thread comes last."""
    house, root = tmp_path / "house", tmp_path / "root"
    shutil.copytree(home.root, root, ignore=shutil.ignore_patterns(".d2lenv"))
    pins = [
        wheelkit.write_wheel(house, name, "1.0", {"shared.py": f"{name} = 1\n", f"own_{name}.py": ""})
        for name in ("bb", "aa", "cc")
    ]
    wheelkit.write_pins(root, pins)
    own = Home(root, house, home.channel, home.caches)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UV_FIND_LINKS", str(house))
        for number in range(5):
            prefix = own.build("wheels", tmp_path / f"prefix{number}")
            assert (prefix / SITE / "shared.py").read_text(encoding="utf-8") == "aa = 1\n"
            assert own.verify(prefix).findings == ()


def test_the_baseline_moves_with_a_build_over_an_old_prefix(home: Home, tmp_path: Path) -> None:
    prefix = home.build("wheels", tmp_path / "prefix")
    (prefix / SITE / "extra.py").write_text("", encoding="utf-8")
    assert len(home.verify(prefix).findings) == 1
    home.build("wheels", prefix, fresh=True)
    assert home.verify(prefix).findings == ()
    assert marker.read(prefix)["prefix"] == str(prefix)
