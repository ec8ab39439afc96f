from __future__ import annotations

from pathlib import Path

import pytest

import datakit
from d2lenv.base.errors import D2lEnvError
from d2lenv.data import sources, store
from d2lenv.data.sources import Origin


def test_a_mirror_is_asked_for_the_path_and_for_the_name_and_nobody_else_is() -> None:
    numbers = store.files_of(datakit.table("http://own.test/").sets)[1]
    given = sources.origin(["http://mirror.test/d2l/"])
    assert sources.addresses(numbers, given) == (
        "http://mirror.test/d2l/Numbers/raw/images.gz",
        "http://mirror.test/d2l/images.gz",
    )
    assert sources.addresses(numbers, Origin()) == ("http://own.test/images.gz",)


@pytest.mark.parametrize("text", ["ftp://a.test/", "file:///etc", "http:", "no such folder", ""])
def test_what_is_neither_a_folder_nor_an_http_address_is_refused(text: str) -> None:
    with pytest.raises(D2lEnvError, match="neither a folder nor an http address") as refused:
        sources.origin([text])
    assert refused.value.status == 2


def test_files_are_found_by_name_in_any_folder_and_by_digest_under_any_name(tmp_path: Path) -> None:
    files = store.files_of(datakit.table().sets)
    datakit.fill(tmp_path / "deep" / "er")
    for number, file in enumerate(files):
        if number % 2:
            path = tmp_path / "deep" / "er" / file.path
            path.rename(tmp_path / f"renamed {number}")
    (tmp_path / "words.txt").symlink_to("/dev/zero")
    found = sources.find_in(tmp_path, files)
    assert {file.path: path.read_bytes() for file, path in found.items()} == datakit.CONTENT


def test_a_name_alone_is_not_enough(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_bytes(b"other")
    assert sources.find_in(tmp_path, store.files_of(datakit.table().sets)) == {}
