"""The manifest beside a prefix: written with it, renamed with it, never another build's."""

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
from d2lenv.engines import build
from d2lenv.prefix import baseline as manifest
from d2lenv.prefix import read as prefixes
from d2lenv.prefix import records as claims
from proofkit import SITE, Home

posix = pytest.mark.skipif(os.name != "posix", reason="signals and modes of POSIX")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        yield proofkit.home(tmp_path_factory.mktemp("manifest"), patch, stack)


def test_it_has_every_entry_and_the_digests_that_no_package_states(home: Home, tmp_path: Path) -> None:
    prefix = home.build("wheels", tmp_path / "prefix")
    found = manifest.read(prefix)
    assert found is not None
    assert set(found.entries) == {path.relative_to(prefix).as_posix() for path in prefix.rglob("*")}
    claimed = claims.read(prefixes.read(prefix))
    assert f"{SITE}/greet-1.0.dist-info/RECORD" in found.sha256
    assert "pyvenv.cfg" in found.sha256
    assert f"{SITE}/greet.py" not in found.sha256
    assert all(
        claimed.hashed(path) or path in found.sha256 for path, e in found.entries.items() if e.kind == "file"
    )


def test_the_short_one_has_what_no_package_vouches_for(home: Home, tmp_path: Path) -> None:
    prefix = home.build("wheels", tmp_path / "prefix", full_manifest=False)
    short = manifest.read(prefix)
    assert short is not None
    assert not short.full
    whole = home.build("wheels", tmp_path / "whole")
    full = manifest.read(whole)
    assert full is not None
    assert full.full
    assert set(short.sha256) == set(full.sha256)
    assert {path for path, entry in short.entries.items() if entry.kind == "link"} == {
        path for path, entry in full.entries.items() if entry.kind == "link"
    }
    assert short.end_ns <= time.time_ns()
    assert short.end_ns == (prefix / build.MARKER).stat().st_mtime_ns


def test_a_prefix_without_one_has_none(tmp_path: Path) -> None:
    assert manifest.read(tmp_path / "prefix") is None


def beside(prefix: Path, name: str, text: str) -> tuple[Path, Path]:
    """A folder that was being built, and its manifest."""
    folder = prefix.with_name(f".{prefix.name}.building-{name}")
    folder.mkdir()
    path = manifest.path_of(folder)
    path.write_text(text, encoding="utf-8")
    return folder, path


EMPTY = '{"format": 2, "full": true, "entries": []}'
ONE = '{"format": 2, "full": true, "entries": [["a", "d", 493, 0, 0, ""]]}'


def test_a_kill_between_the_last_two_renames_does_not_leave_the_old_manifest(tmp_path: Path) -> None:
    prefix = tmp_path / "prefix"
    manifest.path_of(prefix).write_text(EMPTY, encoding="utf-8")
    folder, waiting = beside(prefix, "17", ONE)
    folder.rename(prefix)  # killed here
    read = manifest.read(prefix)
    assert read is not None
    assert list(read.entries) == ["a"]
    manifest.settle(prefix)
    assert manifest.path_of(prefix).read_text(encoding="utf-8") == ONE
    assert not waiting.exists()


def test_the_manifest_of_a_folder_that_never_got_its_name_is_dropped(tmp_path: Path) -> None:
    prefix = tmp_path / "prefix [1]"
    manifest.path_of(prefix).write_text(EMPTY, encoding="utf-8")
    _, waiting = beside(prefix, "17", ONE)
    assert manifest.read(prefix) is not None
    assert manifest.read(prefix).entries == {}  # type: ignore[union-attr]
    manifest.settle(prefix)
    assert manifest.path_of(prefix).read_text(encoding="utf-8") == EMPTY
    assert not waiting.exists()


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
            build.remove(prefix)
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
        ".prefix.manifest.json",
        ".prefix.lock.owner",
    }


@posix
def test_a_disk_that_is_full_when_the_manifest_is_written_keeps_the_old_prefix(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = home.build("wheels", tmp_path / "prefix")
    before = manifest.path_of(prefix).read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(D2lEnvError) as caught:
            home.build("wheels", prefix, fresh=True)
    assert caught.value.why == "No space left on device"
    assert manifest.path_of(prefix).read_bytes() == before
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


def test_the_manifest_moves_with_a_build_over_an_old_prefix(home: Home, tmp_path: Path) -> None:
    prefix = home.build("wheels", tmp_path / "prefix")
    (prefix / SITE / "extra.py").write_text("", encoding="utf-8")
    assert len(home.verify(prefix).findings) == 1
    home.build("wheels", prefix, fresh=True)
    assert home.verify(prefix).findings == ()
    assert build.recorded(prefix)["prefix"] == str(prefix)
