from __future__ import annotations

from pathlib import Path

import pytest

import datakit
from d2lenv.data import book


@pytest.fixture
def unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small English book, unpacked in a folder of the reader's."""
    monkeypatch.setattr(book, "load", datakit.table)
    folder = tmp_path / "books" / "en"
    for path in datakit.NEEDS["en"]:
        (folder / path).parent.mkdir(parents=True)
        (folder / path).touch()
    return folder


def test_a_book_has_its_data_beside_it_and_what_is_missing_is_said(tmp_path: Path, unpacked: Path) -> None:
    shared = datakit.fill(tmp_path / "shared")
    (shared / "Numbers" / "raw" / "images.gz").unlink()
    said: list[str] = []
    found = book.lay_out(unpacked, shared, tmp_path / "torch", {}, said.append)
    assert (unpacked / "data" / "words.txt").samefile(shared / "words.txt")
    assert (tmp_path / "torch" / datakit.WEIGHTS).samefile(shared / datakit.WEIGHTS)
    assert found == {"TORCH_HOME": str(tmp_path / "torch")}
    assert said == [
        f"1 data set of the book is not in {shared} (numbers): d2lenv data get --book en",
    ]


def test_a_readers_own_torch_home_is_used_and_left(tmp_path: Path, unpacked: Path) -> None:
    shared, own = datakit.fill(tmp_path / "shared"), tmp_path / "own"
    environ = {"TORCH_HOME": str(own)}
    assert book.lay_out(unpacked, shared, tmp_path / "torch", environ, pytest.fail) == {}
    assert (own / datakit.WEIGHTS).exists()


def test_a_folder_without_a_book_is_left_alone(tmp_path: Path, unpacked: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    assert book.lay_out(folder, datakit.fill(tmp_path / "shared"), tmp_path / "torch", {}, pytest.fail) == {}
    assert list(folder.iterdir()) == []


def test_without_any_data_nothing_is_made(tmp_path: Path, unpacked: Path) -> None:
    said: list[str] = []
    assert book.lay_out(unpacked, tmp_path / "none", tmp_path / "torch", {}, said.append) == {}
    assert len(said) == 1
    assert not (unpacked / "data").exists()
    assert not (tmp_path / "none").exists()
