"""Walking and hashing a folder that may hold anything."""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d2lenv.prefix import scan as tree

posix = pytest.mark.skipif(os.name != "posix", reason="links, pipes and modes of POSIX")


@posix
def test_every_kind_of_entry_is_told_apart_and_no_link_is_followed(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "a").mkdir(parents=True)
    outside.mkdir()
    (outside / "secret").write_text("s", encoding="utf-8")
    (root / "a" / "file").write_bytes(b"12345")
    (root / "a" / "file").chmod(0o750)
    (root / "link").symlink_to("../outside")
    os.mkfifo(root / "pipe")
    listening = socket.socket(socket.AF_UNIX)
    here = Path.cwd()
    os.chdir(root)  # a socket's path may have only 100 characters
    try:
        listening.bind("socket")
    finally:
        os.chdir(here)
        listening.close()
    found = tree.scan(root).entries
    assert {path: entry.kind for path, entry in found.items()} == {
        "a": "folder",
        "a/file": "file",
        "link": "link",
        "pipe": "special",
        "socket": "special",
    }
    assert (found["a/file"].mode, found["a/file"].size) == (0o750, 5)
    assert found["link"].target == "../outside"


@posix
def test_what_is_known_of_a_file_counts_for_a_hard_link_to_it_alone(tmp_path: Path) -> None:
    """Nothing is asked about the link: what is known was compared with the file before it was linked."""
    for name in ("linked", "copied"):
        (tmp_path / name).write_text("1", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    (tmp_path / "symlink").symlink_to("linked")
    inodes = {path.name: path.lstat().st_ino for path in tmp_path.iterdir()} | {"copied": 1}
    known = {
        name: tree.Known(tree.Entry(name, "file", 0o640, 7, 8), inode, "0" * 64, "")
        for name, inode in inodes.items()
    }
    found, plain = (tree.scan(tmp_path, known=said).entries for said in (known, {}))
    assert found["linked"] is known["linked"].entry
    assert {name for name in plain if found[name] == plain[name]} == {"copied", "folder", "symlink"}


def test_digests_are_sha256_of_small_and_big_files(tmp_path: Path) -> None:
    content = {"empty": b"", "small": b"x", "block": b"y" * (1 << 20), "big": os.urandom((3 << 20) + 7)}
    for name, data in content.items():
        (tmp_path / name).write_bytes(data)
    told: list[int] = []
    found, failed = tree.digests(tmp_path, tree.scan(tmp_path).entries.values(), told.append)
    assert found == {name: hashlib.sha256(data).hexdigest() for name, data in content.items()}
    assert not failed
    assert sum(told) == sum(map(len, content.values()))


@posix
def test_what_became_a_pipe_or_a_link_after_the_scan_is_not_opened(tmp_path: Path) -> None:
    for name in ("pipe", "link", "gone"):
        (tmp_path / name).write_text("x", encoding="utf-8")
    entries = list(tree.scan(tmp_path).entries.values())
    for name in ("pipe", "link", "gone"):
        (tmp_path / name).unlink()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/etc/hostname")
    found, failed = tree.digests(tmp_path, entries)
    assert not found
    assert set(failed) == {"pipe", "link", "gone"}
    assert failed["pipe"] == "not a regular file"


def test_a_folder_that_is_not_there_is_unreadable_and_no_error(tmp_path: Path) -> None:
    found = tree.scan(tmp_path / "none")
    assert not found.entries
    assert list(found.unreadable) == ["."]


@pytest.mark.parametrize("path", ["a", "a/b", "a/../b", "./a", "..a/b", "a/..b"])
def test_a_path_that_stays_is_inside(path: str) -> None:
    assert tree.inside(path)


@pytest.mark.parametrize(
    "path",
    ["", "..", ".", "../a", "a/../..", "a/../../b", "/a", "C:/a", "C:a", "a\\b", "..\\a", "a\0b", "a/.."],
)
def test_a_path_that_leaves_is_not_inside(path: str) -> None:
    assert not tree.inside(path)


@given(st.text("ab./\\:", max_size=12))
def test_inside_agrees_with_the_normal_form_of_the_path(path: str) -> None:
    if tree.inside(path):
        normal = os.path.normpath(os.path.join("/prefix", path))  # noqa: PTH118 - text, not a path of this system
        assert normal.startswith("/prefix/")


@pytest.mark.parametrize(
    ("path", "target", "expected"),
    [
        ("lib64", "lib", False),
        ("bin/python3", "python", False),
        ("lib/a/b", "../../c", False),
        ("lib/self", ".", False),
        ("self", ".", False),
        ("lib/x", "../../c", True),
        ("x", "../c", True),
        ("x", "/etc/passwd", True),
        ("lib/x", "/etc/passwd", True),
    ],
)
def test_a_link_leaves_when_its_target_does(path: str, target: str, expected: bool) -> None:
    assert tree.leaves(path, target) is expected


def test_names_that_differ_in_case_or_form_only_collide() -> None:
    assert tree.collisions(["a/B", "a/b", "c"]) == [("a/B", "a/b")]
    assert tree.collisions(["\u00e9", "e\u0301"]) == [("e\u0301", "\u00e9")]
    assert tree.collisions(["a", "b"]) == []
