"""Packages that mean harm: what the installers let through is refused before anything is written outside."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import condakit
import proofkit
import wheelkit
from d2lenv.base.errors import D2lEnvError
from d2lenv.engines.conda import cache
from d2lenv.prefix import screening as untrusted
from d2lenv.prefix.records import Records
from d2lenv.prefix.scan import Entry, scan
from d2lenv.workspace.pins import Pin
from proofkit import Home, Member

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links, pipes and devices of POSIX")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    with ExitStack() as stack:
        yield proofkit.home(tmp_path / "home", monkeypatch, stack)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder beside the prefix that no package may touch; see ``away``."""
    folder = tmp_path / "prefixes" / "outside"
    folder.mkdir(parents=True)
    (folder / "secret").write_text("secret", encoding="utf-8")
    return folder


LINK, HARD, PIPE, DEVICE = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE

# name → (members, what paths.json says; None for the truth, part of the reason)
HOSTILE_CONDA: dict[str, tuple[list[Member], list[dict[str, object]] | None, str]] = {
    "dots": ([Member("../outside/new")], None, "names a file outside"),
    "dots-in-paths-json-only": ([Member("a")], [Member("../outside/new").row()], "names a file outside"),
    "dots-later": ([Member("lib/../../outside/new")], None, "names a file outside"),
    "absolute": ([Member("OUTSIDE/new")], None, "names a file outside"),
    "backslashes": ([Member("..\\outside\\new")], None, "names a file outside"),
    "link-out": ([Member("lib/l", b"", LINK, "../../outside")], None, "link that leaves the prefix"),
    "link-absolute": ([Member("lib/l", b"", LINK, "OUTSIDE")], None, "link that leaves the prefix"),
    "through-a-link": (
        [Member("l", b"", LINK, "OUTSIDE"), Member("a")],
        [Member("l", b"", LINK, "OUTSIDE").row(), Member("l/new").row()],
        "link that leaves the prefix",
    ),
    "case": (
        [Member("lib", b"", LINK, "."), Member("Lib/x")],
        None,
        "are one name on some disks",
    ),
    "paths-json-damaged": ([Member("a")], [{"_path": 3}], "names a file outside"),
}


def locked(home: Home, path: Path) -> None:
    """A lock of a harmless python and the archive at ``path``."""
    python = condakit.python_package()
    (address,) = home.workspace.channels
    proofkit.lock_archives(home.root, address, [home.channel / python.place, path])


@pytest.mark.parametrize("suffix", [".conda", ".tar.bz2"])
@pytest.mark.parametrize("name", sorted(HOSTILE_CONDA))
def test_a_hostile_conda_package_is_refused_and_nothing_is_written_outside(
    home: Home, outside: Path, name: str, suffix: str
) -> None:
    members, rows, reason = HOSTILE_CONDA[name]

    def placed(text: str) -> str:
        return text.replace("OUTSIDE", str(outside))

    members = [Member(placed(m.name), m.data, m.kind, placed(m.target)) for m in members]
    rows = [member.row() for member in members] if rows is None else rows
    rows = [{**row, "_path": placed(row["_path"]) if isinstance(row["_path"], str) else "/3"} for row in rows]
    path = home.channel / "noarch" / f"evil-1.0-0{suffix}"
    proofkit.write_conda(path, members, rows)
    locked(home, path)
    prefix = outside.parent / "prefix"
    with pytest.raises(D2lEnvError) as caught:
        home.build("rattler", prefix)
    assert reason in caught.value.why
    assert "evil" in caught.value.why
    assert not prefix.exists()
    assert [entry.name for entry in outside.iterdir()] == ["secret"]
    assert (outside / "secret").read_text(encoding="utf-8") == "secret"
    assert {entry.name for entry in outside.parent.iterdir()} <= {"outside", ".prefix.lock"}


def test_a_refused_package_does_not_stay_in_the_cache(home: Home, tmp_path: Path) -> None:
    members = [Member("l", b"", LINK, "/etc")]
    path = home.channel / "noarch" / "evil-1.0-0.conda"
    proofkit.write_conda(path, members, [member.row() for member in members])
    locked(home, path)
    with pytest.raises(D2lEnvError):
        home.build("rattler", tmp_path / "prefix")
    assert not (cache.root() / "evil-1.0-0").exists()


@pytest.mark.parametrize("suffix", [".conda", ".tar.bz2"])
@pytest.mark.parametrize("kind", [PIPE, DEVICE], ids=["pipe", "device"])
def test_py_rattler_unpacks_pipes_and_devices_as_plain_files(
    home: Home, tmp_path: Path, kind: bytes, suffix: str
) -> None:
    members = [Member("lib/special", b"", kind)]
    path = home.channel / "noarch" / f"evil-1.0-0{suffix}"
    proofkit.write_conda(path, members, [member.row() for member in members])
    locked(home, path)
    prefix = home.build("rattler", tmp_path / "prefix")
    assert (prefix / "lib" / "special").is_file()
    assert (prefix / "lib" / "special").read_bytes() == b""


def test_pipes_and_devices_in_a_cache_are_refused(tmp_path: Path) -> None:
    """Should an installer make them, or somebody put one there."""
    os.mkfifo(tmp_path / "p")
    assert untrusted.package_reasons(scan(tmp_path)) == ["it holds a pipe, socket or device: p"]


@pytest.mark.parametrize("mode", [0o4755, 0o2755])
def test_a_prefix_with_a_file_that_gives_rights_away_is_refused(tmp_path: Path, mode: int) -> None:
    """Whatever engine made it: pixi links what lies in its cache."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin").chmod(0o2755)  # of a folder that says who owns what is made in it
    (tmp_path / "bin" / "tool").touch(0o755)
    untrusted.refuse_prefix(scan(tmp_path), Records())
    (tmp_path / "bin" / "tool").chmod(mode)
    with pytest.raises(D2lEnvError) as caught:
        untrusted.refuse_prefix(scan(tmp_path), Records())
    assert caught.value.why == "bin/tool: whoever starts it gets the rights of another: bin/tool"


@pytest.mark.parametrize("suffix", [".conda", ".tar.bz2"])
def test_a_hard_link_to_a_file_outside_is_refused_when_it_is_unpacked(
    home: Home, outside: Path, suffix: str
) -> None:
    path = home.channel / "noarch" / f"evil-1.0-0{suffix}"
    proofkit.write_conda(path, [Member("lib/h", b"", HARD, str(outside / "secret"))], [Member("lib/h").row()])
    locked(home, path)
    with pytest.raises(D2lEnvError):
        home.build("rattler", outside.parent / "prefix")
    assert (outside / "secret").stat().st_nlink == 1


def test_names_that_differ_in_case_only_are_refused_where_the_disk_ignores_case() -> None:
    entries = {path: Entry(path, "file", 0o644) for path in ("share/A", "share/a")}
    assert untrusted.reasons(entries) == []  # ncurses has hundreds of them
    (reason,) = untrusted.reasons(entries, ignores_case=True)
    assert reason == "share/A and share/a are one name on some disks"


def test_a_disk_that_tells_cases_apart_is_seen(tmp_path: Path) -> None:
    (tmp_path / "Folder").mkdir()
    assert untrusted.ignores_case(tmp_path / "Folder") is (tmp_path / "fOLDER").exists()


def test_a_package_whose_list_of_files_is_damaged_is_refused(tmp_path: Path) -> None:
    info = tmp_path / "info"
    info.mkdir()
    assert untrusted.package_reasons(scan(tmp_path)) == []  # as before 2017: no paths.json
    for text in ("{", "[]", '{"paths": 3}', '{"paths": [{}]}'):
        (info / "paths.json").write_text(text, encoding="utf-8")
        (reason,) = untrusted.package_reasons(scan(tmp_path))
        assert reason.startswith("its list of files cannot be read")
    (info / "paths.json").write_text(json.dumps({"paths": []}), encoding="utf-8")
    (info / "files").write_bytes(b"\xff")
    (reason,) = untrusted.package_reasons(scan(tmp_path))
    assert reason.startswith("its list of files cannot be read")


# --- wheels: uv 0.13 leaves out what would land outside, and says nothing --------------------------------

DROPPED = {
    "dots": "../../../../outside/new",
    "absolute": "OUTSIDE/new",
    "data-dots": "evil-1.0.data/data/../../../../../outside/new",
    "scripts-dots": "evil-1.0.data/scripts/../../../../outside/new",
}


def requirements(home: Home, pin: Pin) -> None:
    wheelkit.write_pins(home.root, [pin])


@pytest.mark.parametrize("name", sorted(DROPPED))
def test_uv_leaves_out_what_a_wheel_would_write_outside(home: Home, outside: Path, name: str) -> None:
    files = {DROPPED[name].replace("OUTSIDE", str(outside)): b"x", "evil.py": b"x"}
    requirements(home, proofkit.write_hostile_wheel(home.house, files))
    prefix = home.build("wheels", outside.parent / "prefix")
    assert [entry.name for entry in outside.iterdir()] == ["secret"]
    assert not list(prefix.rglob("new"))
    assert home.verify(prefix).findings == ()


def test_a_wheel_with_a_windows_path_is_refused(home: Home, outside: Path) -> None:
    """On Windows it would land outside; elsewhere it is a file with a strange name."""
    requirements(home, proofkit.write_hostile_wheel(home.house, {"..\\..\\outside\\new": b"x"}))
    prefix = outside.parent / "prefix"
    with pytest.raises(D2lEnvError, match="must not be installed") as caught:
        home.build("wheels", prefix)
    assert "names a file outside" in caught.value.why
    assert not prefix.exists()


@pytest.mark.parametrize("kind", [proofkit.IS_LINK, proofkit.IS_PIPE])
def test_uv_makes_plain_files_of_links_and_pipes_in_a_wheel(home: Home, outside: Path, kind: int) -> None:
    special = [("evil_special", str(outside), kind)]
    requirements(home, proofkit.write_hostile_wheel(home.house, {"evil.py": b"x"}, special))
    prefix = home.build("wheels", outside.parent / "prefix")
    found = next(prefix.rglob("evil_special"))
    assert found.is_file()
    assert not found.is_symlink()
    # No RECORD speaks of it; the manifest does, so it is what was built and no more.
    assert home.verify(prefix).findings == ()


def test_a_wheel_that_writes_through_its_own_link_is_refused_by_uv(home: Home, outside: Path) -> None:
    special = [("evil_l", str(outside), proofkit.IS_LINK)]
    requirements(home, proofkit.write_hostile_wheel(home.house, {"evil_l/new": b"x"}, special))
    with pytest.raises(D2lEnvError, match="cannot be installed"):
        home.build("wheels", outside.parent / "prefix")
    assert [entry.name for entry in outside.iterdir()] == ["secret"]
