from __future__ import annotations

import os
from pathlib import Path

import pytest

import datakit
from d2lenv.data import store
from d2lenv.data.prepare import Prepared, altered, prepare, stamps, variables, watched
from d2lenv.data.table import needs_of


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    return datakit.fill(tmp_path / "shared")


def lay(tmp_path: Path, shared: Path, book: str, notebook: str) -> Prepared:
    folder = tmp_path / "book" / notebook.partition("/")[0]
    return prepare(folder, needs_of(datakit.table(), book, notebook), shared, tmp_path / "torch")


def test_data_lie_where_each_notebook_looks_for_them_as_links(tmp_path: Path, shared: Path) -> None:
    lay(tmp_path, shared, "en", "chapter_words/words.ipynb")
    both = lay(tmp_path, shared, "en", "chapter_vision/both.ipynb")
    assert both.missing == ()
    for place, path in {
        "book/data/words.txt": "words.txt",
        "book/chapter_vision/temp/Numbers/raw/images.gz": "Numbers/raw/images.gz",
        f"torch/{datakit.WEIGHTS}": datakit.WEIGHTS,
    }.items():
        assert (tmp_path / place).read_bytes() == datakit.CONTENT[path]
        assert (tmp_path / place).samefile(shared / path)
    assert variables(tmp_path / "torch") == {"TORCH_HOME": str(tmp_path / "torch")}


def test_preparing_again_changes_nothing_and_a_readers_own_file_stays(tmp_path: Path, shared: Path) -> None:
    own = tmp_path / "book" / "data" / "words.txt"
    own.parent.mkdir(parents=True)
    own.write_text("mine", encoding="utf-8")
    for _ in range(2):
        lay(tmp_path, shared, "en", "chapter_words/words.ipynb")
        assert own.read_text(encoding="utf-8") == "mine"
        assert not own.is_symlink()


def test_a_link_to_a_folder_that_moved_is_made_anew(tmp_path: Path, shared: Path) -> None:
    lay(tmp_path, shared, "en", "chapter_words/words.ipynb")
    moved = shared.rename(tmp_path / "moved")
    lay(tmp_path, moved, "en", "chapter_words/words.ipynb")
    assert (tmp_path / "book" / "data" / "words.txt").samefile(moved / "words.txt")


def test_damaged_and_missing_files_are_named_and_not_linked(tmp_path: Path, shared: Path) -> None:
    (shared / "Numbers" / "raw" / "images.gz").write_bytes(b"short")
    (shared / datakit.WEIGHTS).unlink()
    found = lay(tmp_path, shared, "en", "chapter_vision/both.ipynb")
    assert [file.path for file in found.missing] == ["Numbers/raw/images.gz", datakit.WEIGHTS]
    assert found.placed == ()


def test_an_archive_that_the_notebook_does_not_unpack_is_unpacked_once(tmp_path: Path, shared: Path) -> None:
    for _ in range(2):
        lay(tmp_path, shared, "dlwpt", "p1ch7/later.ipynb")
        unpacked = tmp_path / "book" / "unversioned" / "p1ch7" / "batches" / "one"
        assert unpacked.read_bytes() == b"one"
    assert not (shared / "batches").exists()


def test_without_links_the_file_is_copied(
    tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "a required privilege is not held by the client")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    lay(tmp_path, shared, "en", "chapter_words/words.ipynb")
    copy = tmp_path / "book" / "data" / "words.txt"
    assert copy.samefile(shared / "words.txt")
    copy.unlink()
    monkeypatch.setattr(Path, "hardlink_to", refuse)
    lay(tmp_path, shared, "en", "chapter_words/words.ipynb")
    assert copy.read_bytes() == datakit.CONTENT["words.txt"]
    assert not copy.samefile(shared / "words.txt")


def test_a_run_that_writes_through_a_link_is_noticed(tmp_path: Path, shared: Path) -> None:
    files = store.files_of(datakit.table().sets)
    lay(tmp_path, shared, "en", "chapter_words/words.ipynb")
    before = stamps(shared, files)
    os.utime(shared / "unused.zip")
    assert altered(shared, before) == ()
    with (tmp_path / "book" / "data" / "words.txt").open("ab") as file:
        file.write(b"more")
    (shared / datakit.WEIGHTS).unlink()
    assert sorted(file.path for file in altered(shared, before)) == [datakit.WEIGHTS, "words.txt"]


def test_a_run_is_told_which_data_set_to_fetch_again(tmp_path: Path, shared: Path) -> None:
    needs = needs_of(datakit.table(), "en", "chapter_words/words.ipynb")
    said: list[str] = []
    with watched(shared, needs, said.append):
        (shared / "words.txt").write_bytes(b"changed")
    assert said == [f"a notebook has changed words.txt in {shared}: d2lenv data get words"]
    with watched(shared, needs, pytest.fail):
        (shared / "unused.zip").write_bytes(b"changed")
