"""The shared cache of unpacked packages: what was changed in it does not reach a prefix."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

import condakit
import proofkit
from condakit import Package
from d2lenv.base.errors import D2lEnvError
from d2lenv.engines import build
from d2lenv.engines.conda import cache as package_cache
from d2lenv.engines.conda.cache import Cache, Gate
from d2lenv.facts import platforms
from d2lenv.workspace import lockfile, manifest
from proofkit import Home, Member

pytestmark = pytest.mark.skipif(os.name != "posix", reason="modes and hard links of POSIX")

TEXT = "share/oldstyle.txt"
SHORT = '{"format": 1, "patched": [], "entries": {"a": [1]}}'


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    with ExitStack() as stack:
        yield proofkit.home(tmp_path / "home", monkeypatch, stack)


def rebuild(home: Home, prefix: Path) -> tuple[Path, list[str]]:
    """Build a prefix and return it with the lines that were said."""
    said: list[str] = []
    built = build.build(manifest.load(home.root), "tiny", engine="rattler", prefix=prefix, say=said.append)
    return built.prefix, said


def in_place(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"evil")


def added(name: str) -> Callable[[Path], None]:
    def add(package: Path) -> None:
        (package / name).write_text('{"noarch": {"type": "python", "entry_points": ["x = os:system"]}}')

    return add


def disguised(path: Path) -> None:
    """Change the content and put size and time back, later than the whole package was linked."""
    status = path.stat()
    time.sleep(0.4)
    in_place(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


CHANGES: dict[str, Callable[[Path], object]] = {
    "content": lambda package: in_place(package / TEXT),
    "disguised": lambda package: disguised(package / TEXT),
    "mode": lambda package: (package / TEXT).chmod(0o4755),
    "removed": lambda package: (package / TEXT).unlink(),
    "link": lambda package: ((package / TEXT).unlink(), (package / TEXT).symlink_to("/etc/passwd")),
    "entry-points": added("info/link.json"),
    "list": lambda package: (package / "info/paths.json").write_text('{"paths": [], "paths_version": 1}'),
}


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_a_package_that_was_changed_in_the_cache_is_fetched_again(
    home: Home, tmp_path: Path, name: str
) -> None:
    before = home.build("rattler", tmp_path / "first")
    package = package_cache.root() / "oldstyle-1.0-0"
    assert (package / TEXT).stat().st_ino == (before / TEXT).stat().st_ino, "no hard links on this disk"
    CHANGES[name](package)
    prefix, said = rebuild(home, tmp_path / "second")
    assert "oldstyle-1.0-0.tar.bz2 was changed in the cache: it is fetched again" in said
    assert (prefix / TEXT).read_text(encoding="utf-8") == "bzip2\n"
    assert (prefix / TEXT).stat().st_mode & 0o7777 == 0o644
    assert not (prefix / "bin" / "x").exists()
    prefix, said = rebuild(home, tmp_path / "third")
    assert not [line for line in said if "changed" in line]


def test_an_edit_in_one_prefix_does_not_reach_the_next_one(home: Home, tmp_path: Path) -> None:
    in_place(home.build("rattler", tmp_path / "first") / TEXT)
    assert (home.build("rattler", tmp_path / "second") / TEXT).read_text(encoding="utf-8") == "bzip2\n"


def test_a_cache_that_was_copied_is_read_once_and_used(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.build("rattler", tmp_path / "first")
    shutil.copytree(home.caches / "rattler-cache", tmp_path / "copy", symlinks=True)
    for path in home.channel.rglob("*.conda"):
        path.unlink()
    monkeypatch.setenv("RATTLER_CACHE_DIR", str(tmp_path / "copy"))
    for name in ("second", "third"):
        prefix, said = rebuild(home, tmp_path / name)
        assert (prefix / TEXT).exists()
        assert not [line for line in said if "changed" in line]


def test_a_cache_that_another_program_filled_is_used(home: Home, tmp_path: Path) -> None:
    home.build("rattler", tmp_path / "first")
    shutil.rmtree(home.caches / "rattler-cache" / "d2lenv")
    for path in home.channel.rglob("*.conda"):
        path.unlink()
    assert (home.build("rattler", tmp_path / "second") / TEXT).exists()


def test_a_mode_that_opens_a_file_is_closed_in_a_cache_that_was_never_seen(
    home: Home, tmp_path: Path
) -> None:
    home.build("rattler", tmp_path / "first")
    shutil.rmtree(home.caches / "rattler-cache" / "d2lenv")
    (package_cache.root() / "oldstyle-1.0-0" / TEXT).chmod(0o6757)
    assert (home.build("rattler", tmp_path / "second") / TEXT).stat().st_mode & 0o7777 == 0o755


def test_what_another_program_left_half_unpacked_is_fetched_again(home: Home, tmp_path: Path) -> None:
    home.build("rattler", tmp_path / "first")
    shutil.rmtree(home.caches / "rattler-cache" / "d2lenv")
    (package_cache.root() / "oldstyle-1.0-0" / TEXT).unlink()
    prefix, said = rebuild(home, tmp_path / "second")
    assert (prefix / TEXT).exists()
    assert "oldstyle-1.0-0.tar.bz2 was changed in the cache: it is fetched again" in said


@pytest.mark.parametrize("noted", [True, False])
def test_a_package_of_the_same_name_from_elsewhere_is_not_taken(
    home: Home, tmp_path: Path, noted: bool
) -> None:
    home.build("rattler", tmp_path / "first")
    if not noted:
        shutil.rmtree(home.caches / "rattler-cache" / "d2lenv")
    found = [
        replace(package, files={TEXT: "another\n"}) if package.name == "oldstyle" else package
        for package in proofkit.packages()
    ]
    condakit.write_channel(home.channel, tuple(found))
    (address,) = home.workspace.channels
    condakit.write_workspace(home.root, address, tuple(found))
    assert (home.build("rattler", tmp_path / "second") / TEXT).read_text(encoding="utf-8") == "another\n"


def test_of_an_archive_with_an_md5_only_what_lies_there_is_not_taken(home: Home, tmp_path: Path) -> None:
    package = Package("old", files={"share/old.txt": "right\n"})
    condakit.write_channel(home.channel, (condakit.python_package(), package))
    python = home.channel / condakit.python_package().place
    (address,) = home.workspace.channels
    proofkit.lock_archives(home.root, address, [python, home.channel / package.place])
    sha256 = hashlib.sha256(package.data()).hexdigest()
    lock = home.root / "pixi.lock"
    text = lock.read_text(encoding="utf-8")
    lock.write_text(text.replace(f"sha256: {sha256}", f"md5: {hashlib.md5(package.data()).hexdigest()}"))
    home.build("rattler", tmp_path / "first")
    shutil.rmtree(home.caches / "rattler-cache" / "d2lenv")
    evil = package_cache.root() / "old-1.0-0" / "share/old.txt"
    evil.write_text("wrong\n", encoding="utf-8")
    rows = json.loads((evil.parents[1] / "info/paths.json").read_text(encoding="utf-8"))
    rows["paths"][0]["sha256"] = hashlib.sha256(b"wrong\n").hexdigest()
    (evil.parents[1] / "info/paths.json").write_text(json.dumps(rows), encoding="utf-8")
    assert (home.build("rattler", tmp_path / "second") / "share/old.txt").read_text("utf-8") == "right\n"


def test_a_package_that_lies_about_its_files_is_refused(home: Home, tmp_path: Path) -> None:
    path = home.channel / "noarch" / "evil-1.0-0.conda"
    row = {**Member("a").row(), "sha256": "0" * 64}
    proofkit.write_conda(path, [Member("a")], [row])
    (address,) = home.workspace.channels
    proofkit.lock_archives(home.root, address, [home.channel / condakit.python_package().place, path])
    for _ in range(2):
        with pytest.raises(D2lEnvError, match="evil: a has another sha256 than its package says"):
            home.build("rattler", tmp_path / "prefix")


def test_a_note_that_is_damaged_is_made_anew(home: Home, tmp_path: Path) -> None:
    home.build("rattler", tmp_path / "first")
    notes = sorted((home.caches / "rattler-cache" / "d2lenv").glob("*.json"))
    assert len(notes) == len(proofkit.packages()) + 1  # and one about the bytecode of `greet`
    for note, text in zip(
        notes, ["", "[]", '{"format": 0}', '{"format": 1, "entries": {"a": 3}}', SHORT], strict=False
    ):
        note.write_text(text, encoding="utf-8")
    home.build("rattler", tmp_path / "second")
    assert all(json.loads(note.read_text(encoding="utf-8"))["entries"] for note in notes)


def test_files_that_others_may_write_in_the_archive_get_the_umasks_mode(home: Home, tmp_path: Path) -> None:
    members = [Member("share/open.txt"), Member("bin/run")]
    path = home.channel / "noarch" / "open-1.0-0.conda"
    modes = {"share/open.txt": 0o666, "bin/run": 0o777}
    proofkit.write_conda(path, members, [member.row() for member in members], modes)
    (address,) = home.workspace.channels
    proofkit.lock_archives(home.root, address, [home.channel / condakit.python_package().place, path])
    before = os.umask(0o027)
    try:
        prefix = home.build("rattler", tmp_path / "prefix")
    finally:
        os.umask(before)
    found = {name: (prefix / name).stat().st_mode & 0o7777 for name in modes}
    assert found == {"share/open.txt": 0o640, "bin/run": 0o750}


def test_the_gate_looks_again_at_what_was_unpacked_meanwhile(home: Home, tmp_path: Path) -> None:
    home.build("rattler", tmp_path / "prefix")
    records = lockfile.read(home.workspace.lock).records("tiny", platforms.current())
    cache = Cache(package_cache.root(), 0o022, ignores_case=False)
    known = {
        name: archive.facts["."].inode
        for name, archive in package_cache.vouched(cache, records, lambda _line: None).items()
    }
    assert set(known) == {record.name.normalized for record in records}
    package = cache.folder / "oldstyle-1.0-0"
    shutil.copytree(package, package.with_name("other"))
    (package.with_name("other") / "info/paths.json").write_text("{", encoding="utf-8")
    shutil.rmtree(package)
    package.with_name("other").rename(package)
    gate = Gate(cache, records, known)
    gate.pass_or_take_out("settings")
    gate.raise_refused()
    gate.pass_or_take_out("oldstyle")
    with pytest.raises(D2lEnvError, match="oldstyle: its list of files cannot be read"):
        gate.raise_refused()
    assert not package.exists()


def test_what_is_not_at_its_place_in_the_cache_is_refused(home: Home, tmp_path: Path) -> None:
    records = lockfile.read(home.workspace.lock).records("tiny", platforms.current())
    gate = Gate(Cache(tmp_path, 0o022, ignores_case=False), records, {})
    gate.pass_or_take_out("fast")
    gate.pass_or_take_out("unknown")
    with pytest.raises(D2lEnvError, match="must not be installed") as caught:
        gate.raise_refused()
    assert "not at its place in the cache" in caught.value.why
    assert "unknown" in caught.value.why
