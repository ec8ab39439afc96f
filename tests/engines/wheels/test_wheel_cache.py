"""uv's cache under a build: an edit in one environment never reaches the next one."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import condakit
import wheelkit
from d2lenv.base.errors import D2lEnvError
from d2lenv.engines import build
from d2lenv.engines.build import Built
from d2lenv.engines.wheels import wheel_cache
from d2lenv.prefix import archives, locations
from d2lenv.workspace import manifest as workspace

posix = pytest.mark.skipif(os.name != "posix", reason="ctime and modes of POSIX")


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels, two checkouts that want them, and a cache whose files are linked."""
    folder = tmp_path / "house"
    pins = [
        wheelkit.write_greet(folder),
        wheelkit.write_wheel(folder, "other", "1.0", {"other/__init__.py": "", "other/more.py": "x = 1\n"}),
    ]
    for root in ("one", "two"):
        wheelkit.write_workspace(tmp_path / root, pins)
    for name, value in wheelkit.private_uv(tmp_path, str(folder)).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("UV_LINK_MODE", "hardlink")
    return folder


def install(tmp_path: Path, root: str, *, lines: list[str] | None = None, **options: object) -> Built:
    return build.build(
        workspace.load(tmp_path / root),
        "tiny",
        engine="wheels",
        check_space=False,
        say=(lines if lines is not None else []).append,
        **options,  # type: ignore[arg-type]
    )


def module(built: Built) -> Path:
    (site,) = locations.site_packages(built.prefix)
    return site / "greet.py"


def archive(tmp_path: Path) -> Path:
    (folder,) = (path.parent for path in (tmp_path / "uv-cache").glob("archive-v*/*/greet.py"))
    return folder


def append(path: Path) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write("print('edited')\n")


def replace_and_put_back(path: Path) -> None:
    """Other content in place, of the same size and with the old time."""
    before = path.stat()
    path.write_bytes(path.read_bytes().replace(b"hello", b"HELLO"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (
        before.st_size,
        before.st_mtime_ns,
        before.st_ino,
    )


def set_uid(path: Path) -> None:
    path.chmod(0o4755)


@posix
@pytest.mark.parametrize("edit", [append, replace_and_put_back, set_uid])
@pytest.mark.parametrize("fresh", [False, True])
def test_an_edit_in_one_environment_does_not_reach_the_next(
    tmp_path: Path, house: Path, edit: Callable[[Path], None], fresh: bool
) -> None:
    one = install(tmp_path, "one")
    clean = module(one).read_bytes()
    assert module(one).stat().st_nlink > 1
    time.sleep(0.5)
    edit(module(one))
    lines: list[str] = []
    two = install(tmp_path, "two", lines=lines, fresh=fresh)
    assert module(two).read_bytes() == clean
    assert not module(two).stat().st_mode & stat.S_ISUID
    assert any("greet 1.0 was changed in uv's cache" in line and "greet.py" in line for line in lines)
    lines.clear()
    install(tmp_path, "two", lines=lines, fresh=True)
    assert not any("was changed" in line for line in lines)


@posix
def test_fresh_heals_the_environment_that_was_edited(tmp_path: Path, house: Path) -> None:
    built = install(tmp_path, "one")
    clean = module(built).read_bytes()
    append(module(built))
    install(tmp_path, "one", fresh=True)
    assert module(built).read_bytes() == clean


@posix
def test_fresh_finds_an_edit_whose_traces_another_build_has_covered(tmp_path: Path, house: Path) -> None:
    """Removing an environment gives all files of the archive one new ctime."""
    built = install(tmp_path, "one")
    clean = module(built).read_bytes()
    replace_and_put_back(module(built))
    shutil.rmtree(built.prefix)
    assert module(install(tmp_path, "two", fresh=True)).read_bytes() == clean


def test_a_file_that_was_added_to_the_cache_is_not_installed(tmp_path: Path, house: Path) -> None:
    install(tmp_path, "one")
    (archive(tmp_path) / "evil.pth").write_text("import evil\n", encoding="utf-8")
    built = install(tmp_path, "two")
    assert not list(built.prefix.rglob("evil.pth"))


@pytest.mark.parametrize("where", ["greet.py", "greet-1.0.dist-info/entry_points.txt", "evil.pth"])
def test_a_cache_that_was_changed_before_it_was_ever_seen_is_compared_with_record(
    tmp_path: Path, house: Path, where: str
) -> None:
    install(tmp_path, "one")
    shutil.rmtree(tmp_path / "uv-cache" / "d2lenv")
    target = archive(tmp_path) / where
    target.unlink(missing_ok=True)
    target.write_text("[console_scripts]\nevil = os:abort\n", encoding="utf-8")
    lines: list[str] = []
    built = install(tmp_path, "two", lines=lines)
    assert any("greet 1.0 was changed in uv's cache" in line for line in lines)
    assert not list(built.prefix.rglob("evil*"))
    assert module(built).read_text(encoding="utf-8").startswith("def main")


@posix
@pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o666])
def test_a_mode_that_no_wheel_can_ask_for_is_found_in_a_cache_that_was_never_seen(
    tmp_path: Path, house: Path, mode: int
) -> None:
    install(tmp_path, "one")
    shutil.rmtree(tmp_path / "uv-cache" / "d2lenv")
    (archive(tmp_path) / "greet.py").chmod(mode)
    lines: list[str] = []
    built = install(tmp_path, "two", lines=lines)
    assert any("greet 1.0 was changed in uv's cache" in line and "greet.py" in line for line in lines)
    assert module(built).stat().st_mode & 0o7777 == 0o644


def test_a_cache_that_cannot_be_healed_ends_the_build(
    tmp_path: Path, house: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "one")
    append(archive(tmp_path) / "greet.py")
    monkeypatch.setenv("UV_FIND_LINKS", f"http://127.0.0.1:{condakit.closed_port()}/")
    lines: list[str] = []
    with pytest.raises(D2lEnvError, match="cannot be installed"):
        install(tmp_path, "two", lines=lines)
    assert any("was changed in uv's cache" in line for line in lines)
    assert not (tmp_path / "two" / ".d2lenv" / "tiny-wheels").exists()


def test_a_wheel_whose_own_metadata_is_not_what_its_record_says_is_taken(tmp_path: Path, house: Path) -> None:
    """As torch 1.12.0's and torchvision 0.13.0's."""
    install(tmp_path, "one")
    shutil.rmtree(tmp_path / "uv-cache" / "d2lenv")
    metadata = archive(tmp_path) / "greet-1.0.dist-info" / "METADATA"
    text = metadata.read_bytes() + b"Summary: x\n"
    metadata.unlink()
    metadata.write_bytes(text)
    lines: list[str] = []
    built = install(tmp_path, "two", lines=lines)
    assert not any("was changed" in line for line in lines)
    assert next(built.prefix.rglob("greet-1.0.dist-info/METADATA")).read_bytes() == text


def test_a_cache_that_was_copied_is_read_and_taken(
    tmp_path: Path, house: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "one")
    shutil.copytree(tmp_path / "uv-cache", tmp_path / "copy", symlinks=True)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "copy"))
    lines: list[str] = []
    install(tmp_path, "two", lines=lines)
    assert not any("was changed" in line for line in lines)


def test_without_a_cache_that_can_be_judged_the_installed_files_are(
    tmp_path: Path, house: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If uv keeps its wheels elsewhere one day."""
    monkeypatch.setattr(wheel_cache, "unpacked", lambda _cache, _pins: [])
    built = install(tmp_path, "one")
    append(module(built))
    with pytest.raises(D2lEnvError, match=r"not what their RECORD says: .*greet\.py"):
        install(tmp_path, "two")


@pytest.mark.parametrize("mode", ["copy", "hardlink"])
def test_the_way_to_link_can_be_chosen(tmp_path: Path, house: Path, mode: str) -> None:
    built = install(tmp_path, "one", link_mode=mode)
    assert (module(built).stat().st_nlink == 1) == (mode == "copy")


@posix
def test_an_environment_of_links_into_the_cache_is_not_made(
    tmp_path: Path, house: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_LINK_MODE", "symlink")
    assert not module(install(tmp_path, "one")).is_symlink()


def test_two_pythons_may_have_their_own_wheels_of_one_version_in_the_cache(
    tmp_path: Path, house: Path
) -> None:
    """Files of the one that was installed are vouched for, never the other's."""
    built = install(tmp_path, "one")
    folder = archive(tmp_path)
    twin = folder.with_name("twin")
    shutil.copytree(folder, twin)
    (twin / "greet.py").write_text("other = 1\n", encoding="utf-8")
    (twin / "greet-1.0.dist-info" / "WHEEL").write_text("Tag: cp39\n", encoding="utf-8")
    pins = [wheelkit.write_greet(tmp_path / "again")]
    wheels = wheel_cache.complete(tmp_path / "uv-cache", pins, [])
    assert len(wheels) == 2
    there = wheel_cache.installed(built.prefix, wheels, {})
    relative = module(built).relative_to(built.prefix).as_posix()
    assert there.content[relative].sha256 == hashlib.sha256((folder / "greet.py").read_bytes()).hexdigest()


def test_for_a_file_in_which_two_equal_wheels_differ_nobody_vouches(tmp_path: Path, house: Path) -> None:
    built = install(tmp_path, "one")
    folder = archive(tmp_path)
    shutil.copytree(folder, folder.with_name("twin"))
    (folder.with_name("twin") / "greet.py").write_text("other = 1\n", encoding="utf-8")
    wheels = wheel_cache.complete(tmp_path / "uv-cache", [wheelkit.write_greet(tmp_path / "again")], [])
    there = wheel_cache.installed(built.prefix, wheels, {})
    assert not [path for path in there.content if path.endswith("greet.py")]
    assert there.shared == {}


@pytest.mark.parametrize(
    ("times", "late"),
    [
        ([], []),
        ([(0, "a"), (1, "b"), (2, "c")], []),
        ([(0, "a"), (1, "b"), (10**9, "c")], ["c"]),
        # a deleted environment gave most of them a newer one: that some kept the old one says nothing
        ([(0, "a"), (10**9, "b"), (10**9 + 1, "c")], []),
        ([(0, "a"), (1, "b"), (10**9, "c"), (2 * 10**9, "d")], ["c", "d"]),
    ],
)
def test_files_that_were_touched_after_the_most_are_late(
    times: list[tuple[int, str]], late: list[str]
) -> None:
    assert archives.late(times) == late
