from __future__ import annotations

import re
from pathlib import Path

import pytest

import datakit
from d2lenv.base.errors import D2lEnvError
from d2lenv.data import table
from d2lenv.facts.datasets import MEBIBYTES, SIZES

LENGTH = {"sha1": 40, "md5": 32, "sha256-prefix": 8}


def test_every_file_has_addresses_a_digest_and_a_place_inside_the_folder() -> None:
    files = [file for dataset in table.load().sets for file in dataset.files]
    assert len(files) == len({file.path.lower() for file in files}) == 34
    for file in files:
        assert re.fullmatch(rf"[0-9a-f]{{{LENGTH[file.algorithm]}}}", file.digest), file.path
        assert re.fullmatch(r"(?:[A-Za-z0-9][\w.-]*/)*[A-Za-z0-9][\w.-]*", file.path)
        assert file.urls
        assert all(url.startswith(("http://", "https://")) for url in file.urls)
        assert all(url.endswith("/" + file.name) for url in file.urls)


def test_the_weights_name_says_the_digest_as_torch_hub_wants_it() -> None:
    weights = [file for s in table.load().sets for file in s.files if file.algorithm == "sha256-prefix"]
    assert len(weights) == 4
    assert all(re.search(r"-([a-f0-9]*)\.", file.name).group(1) == file.digest for file in weights)


def test_sizes_are_stated_for_files_that_there_are() -> None:
    paths = {file.path for dataset in table.load().sets for file in dataset.files}
    assert {*SIZES, *MEBIBYTES} <= paths
    assert not SIZES.keys() & MEBIBYTES.keys()


def test_notebooks_look_beside_their_chapter_or_in_a_place_of_their_own() -> None:
    needs = table.load().needs
    assert {need.book for need in needs} == set(table.BOOKS)
    own = {(need.notebook, need.root) for need in needs if need.root not in ("../data", "")}
    assert own == {
        ("chapter_appendix-mathematics-for-deep-learning/naive-bayes.ipynb", "./temp"),
        ("p1ch2/4_mnist.ipynb", "../data/p1ch2/mnist"),
        ("p1ch7/1_datasets.ipynb", "../data-unversioned/p1ch7"),
        ("p1ch7/2_birds_airplanes.ipynb", "../data-unversioned/p1ch7"),
        ("p1ch7/p1ch6.ipynb", "data"),
        ("p1ch8/1_convolution.ipynb", "../data-unversioned/p1ch6"),
    }
    assert [need.notebook for need in needs if need.unpacked] == ["p1ch7/2_birds_airplanes.ipynb"]


def names(**how: object) -> list[str]:
    return [dataset.name for dataset in table.choose(datakit.table(), **how)]  # type: ignore[arg-type]


def test_data_sets_are_chosen_by_name_book_and_chapter() -> None:
    assert names() == ["words", "numbers", "batches", "net"]
    assert names(names=["UNUSED", "words", "words"]) == ["unused", "words"]
    assert names(book="zh") == ["words"]
    assert names(chapters=["vision"]) == ["numbers", "net"]
    assert names(book="dlwpt", chapters=["p1ch7"]) == ["batches"]


def test_an_unknown_name_or_chapter_is_refused_with_those_there_are() -> None:
    with pytest.raises(D2lEnvError, match="no data set is called `nothing`") as refused:
        names(names=["nothing"])
    assert "batches, net, numbers" in refused.value.fix
    with pytest.raises(D2lEnvError, match="chapter `vision`") as refused:
        names(book="zh", chapters=["vision"])
    assert refused.value.status == 2


def test_the_book_in_a_folder_is_told_by_its_notebooks(tmp_path: Path) -> None:
    real = table.load()
    assert table.book_in(real, tmp_path) is None
    for book in table.BOOKS:
        folder = tmp_path / book
        for path in {need.notebook for need in real.needs if need.book == book}:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).touch()
        assert table.book_in(real, folder) == book
