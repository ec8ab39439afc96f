from __future__ import annotations

import os
from pathlib import Path

import pytest

import datakit
from d2lenv.base.errors import D2lEnvError
from d2lenv.data import store
from d2lenv.data.table import DataFile


@pytest.fixture
def files() -> dict[str, DataFile]:
    return {file.path: file for file in store.files_of(datakit.table().sets)}


def test_the_folder_is_the_given_one_the_stated_one_or_the_users(tmp_path: Path) -> None:
    assert store.place(tmp_path / "a", {"D2LENV_DATA": "/b"}) == tmp_path / "a"
    assert store.place(None, {"D2LENV_DATA": str(tmp_path / "b")}) == tmp_path / "b"
    assert store.place(None, {}).name == "books-data"


def test_files_are_present_missing_or_damaged(tmp_path: Path, files: dict[str, DataFile]) -> None:
    datakit.fill(tmp_path)
    (tmp_path / "words.txt").write_bytes(datakit.CONTENT["words.txt"][:-1] + b"x")
    (tmp_path / datakit.WEIGHTS).unlink()
    found = store.check(tmp_path, list(files.values()), list(files.values()))
    assert {file.path: state for file, state in found.states.items() if state != "present"} == {
        "words.txt": "damaged",
        datakit.WEIGHTS: "missing",
    }
    assert store.states(tmp_path, list(files.values())) == found.states


def test_a_file_that_is_as_it_was_seen_is_not_read_again(
    tmp_path: Path, files: dict[str, DataFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    datakit.fill(tmp_path)
    words = files["words.txt"]
    store.check(tmp_path, [words], [words])
    monkeypatch.setattr("d2lenv.data.digests.is_the", lambda *_: pytest.fail("it was read"))
    assert store.state(tmp_path, words) == "present"


def test_a_changed_file_is_read_again_even_if_size_and_time_are_put_back(
    tmp_path: Path, files: dict[str, DataFile]
) -> None:
    path = datakit.fill(tmp_path) / "words.txt"
    words = files["words.txt"]
    store.check(tmp_path, [words], [words])
    before = path.stat()
    path.write_bytes(b"x" * before.st_size)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert store.state(tmp_path, words) == "damaged"


def test_notes_that_cannot_be_read_are_none(tmp_path: Path, files: dict[str, DataFile]) -> None:
    datakit.fill(tmp_path)
    notes = tmp_path / ".d2lenv" / "seen.json"
    notes.parent.mkdir()
    for text in ("[]", "{", '{"a": 3}', '{"a": ["x", 1, 2, 3]}', "[" * 5000, "\udcff"):
        notes.write_text(text, encoding="utf-8", errors="surrogateescape")
        assert store.state(tmp_path, files["words.txt"]) == "present"


def test_what_the_table_does_not_have_is_named_and_so_are_unfinished_downloads(
    tmp_path: Path, files: dict[str, DataFile]
) -> None:
    datakit.fill(tmp_path)
    (tmp_path / "hub" / "mine.bin").touch()
    (tmp_path / "loop").symlink_to(tmp_path)
    store.partial(tmp_path).mkdir(parents=True)
    (store.partial(tmp_path) / "abc.part").touch()
    found = store.check(tmp_path, (), list(files.values()))
    assert "hub/mine.bin" in found.unknown
    assert "words.txt" not in found.unknown
    assert found.unfinished == ("abc.part",)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="not checked: this system has no named pipes")
def test_a_folder_or_a_fifo_in_a_files_place_is_damage_and_waits_for_nobody(
    tmp_path: Path, files: dict[str, DataFile]
) -> None:
    (tmp_path / "words.txt").mkdir()
    os.mkfifo(tmp_path / "unused.zip")
    found = store.check(tmp_path, [files["words.txt"], files["unused.zip"]], ())
    assert set(found.states.values()) == {"damaged"}


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    shared, elsewhere = tmp_path / "shared", tmp_path / "elsewhere"
    shared.mkdir()
    elsewhere.mkdir()
    (shared / "Numbers").symlink_to(elsewhere)
    with pytest.raises(D2lEnvError, match="in the way"):
        store.refuse_links(shared, "Numbers", "raw")
    (shared / "words.txt").symlink_to(elsewhere / "x")
    with pytest.raises(D2lEnvError, match="in the way"):
        store.refuse_others(shared / "words.txt")
    store.refuse_links(shared, "hub", "checkpoints")
    store.refuse_others(shared / "unused.zip")
