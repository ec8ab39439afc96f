"""A book's archive is unpacked whole or not at all, whatever is in it."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from d2lenv.base.errors import D2lEnvError
from d2lenv.base.messages import printable_lines
from d2lenv.cli import app as cli
from d2lenv.learn import archives


def archive(path: Path, *names: str, **contents: str) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            file.writestr(name, contents.get(name, "{}"))
    return path


def test_without_a_file_the_address_is_said_and_nothing_is_fetched(tmp_path: Path) -> None:
    for edition, address in (
        ("en", "https://d2l.ai/d2l-en-1.0.3.zip"),
        ("zh", "https://zh-v2.d2l.ai/d2l-zh-2.0.0.zip"),
    ):
        with pytest.raises(D2lEnvError, match="no sha256 is known") as caught:
            archives.get(edition, None, tmp_path / "books")
        assert address in caught.value.fix
    assert not (tmp_path / "books").exists()


def test_one_frameworks_notebooks_and_what_all_share_are_unpacked(tmp_path: Path) -> None:
    file = archive(
        tmp_path / "d2l.zip",
        "pytorch/chapter_one/index.ipynb",
        "pytorch/img/a.svg",
        "mxnet/chapter_one/index.ipynb",
        "img/shared.svg",
        "__MACOSX/x",
    )
    target, digest = archives.get("en", file, tmp_path / "books" / "en")
    found = sorted(path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file())
    assert found == ["chapter_one/index.ipynb", "img/a.svg", "img/shared.svg"]
    assert len(digest) == 64
    with pytest.raises(D2lEnvError, match="is there already"):
        archives.get("en", file, target)


def test_an_archive_without_the_framework_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    file = archive(tmp_path / "d2l.zip", "mxnet/a.ipynb")
    with pytest.raises(D2lEnvError, match="no notebooks for pytorch"):
        archives.get("en", file, tmp_path / "en")
    assert sorted(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    "name", ["../out.ipynb", "/etc/out.ipynb", "pytorch/../../out.ipynb", "C:\\out.ipynb"]
)
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    file = archive(tmp_path / "d2l.zip", "pytorch/a.ipynb", name)
    with pytest.raises(D2lEnvError, match="leads out of its folder"):
        archives.get("en", file, tmp_path / "en")
    assert sorted(tmp_path.iterdir()) == [file]


def test_a_link_in_an_archive_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("pytorch/link.ipynb")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "d2l.zip", "w") as file:
        file.writestr(link, "/etc/passwd")
    with pytest.raises(D2lEnvError, match="leads out of its folder"):
        archives.get("en", tmp_path / "d2l.zip", tmp_path / "en")


def test_a_file_that_is_no_archive_and_one_that_unpacks_to_too_much_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half.zip").write_bytes(b"PK\x03\x04half a download")
    with pytest.raises(D2lEnvError, match="not a zip archive"):
        archives.get("en", tmp_path / "half.zip", tmp_path / "en")
    monkeypatch.setattr(archives, "_MOST_BYTES", 1)
    with pytest.raises(D2lEnvError, match="more than a book has"):
        archives.get("en", archive(tmp_path / "big.zip", "pytorch/a.ipynb"), tmp_path / "en")
    with pytest.raises(D2lEnvError, match="cannot be read"):
        archives.get("en", tmp_path / "none.zip", tmp_path / "en")


def test_an_archive_with_another_sha256_than_the_known_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(archives.BOOKS, "en", archives.Book("https://books.example/a.zip", "1.0.3", "0" * 64))
    with pytest.raises(D2lEnvError, match="not the archive that it should be"):
        archives.get("en", archive(tmp_path / "a.zip", "pytorch/a.ipynb"), tmp_path / "en")


def test_a_target_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(D2lEnvError, match="cannot be written"):
        archives.get("en", archive(tmp_path / "a.zip", "pytorch/a.ipynb"), tmp_path / "file" / "en")


def test_the_command_unpacks_and_says_what_the_notebooks_need(tmp_path: Path) -> None:
    file = archive(tmp_path / "a.zip", "pytorch/a.ipynb")
    words = ["--workspace", str(tmp_path), "books", "get", "zh", str(file)]
    result = CliRunner().invoke(cli.cli, words, catch_exceptions=False)
    assert result.exit_code == 0
    assert "d2l 0.17.6" in result.output
    assert (tmp_path / "books" / "zh" / "a.ipynb").exists()
    result = CliRunner().invoke(cli.cli, [*words, "--folder", str(tmp_path / "x"), "--json"])
    assert json.loads(result.output)["notebooks"] == 1
    assert json.loads(result.output)["sha256_known"] is False


# -------------------------------------------------------------------------------------- hostile, damaged

ESCAPE = "\x1b]0;pwned\x07\x1b[2J"


def raw_archive(path: Path, *names: str) -> Path:
    """An archive with names that zipfile would clean or warn about."""
    with zipfile.ZipFile(path, "w") as file:
        for number, name in enumerate(names):
            entry = zipfile.ZipInfo(f"{number}")
            entry.filename = name
            file.writestr(entry, "{}")
    return path


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([".", "pytorch/a.ipynb"], "cannot be used"),
        (["", "pytorch/a.ipynb"], "cannot be used"),
        (["./.", "pytorch/a.ipynb"], "cannot be used"),
        ([f"pytorch/{ESCAPE}.ipynb"], "cannot be used"),
        (["pytorch/a\nb.ipynb"], "cannot be used"),
        ([f"pytorch/{'x' * 300}.ipynb"], "cannot be used"),
        (["pytorch/a.ipynb", "pytorch/./a.ipynb"], "two files of one name"),
        (["pytorch/a.ipynb", "a.ipynb"], "two files of one name"),
        (["pytorch/a.ipynb", "pytorch/a.ipynb/b.ipynb"], "two files of one name"),
        (["pytorch", "pytorch/a.ipynb"], "two files of one name"),
        ([f"../{ESCAPE}"], "leads out of its folder"),
    ],
)
def test_names_that_no_book_has_are_refused_and_never_reach_the_terminal(
    tmp_path: Path, names: list[str], message: str
) -> None:
    file = raw_archive(tmp_path / "d2l.zip", *names)
    with pytest.raises(D2lEnvError, match=message) as caught:
        archives.get("en", file, tmp_path / "en")
    assert "\x1b" not in str(caught.value)
    assert [*tmp_path.iterdir()] == [file]


def test_two_names_that_differ_in_case_are_two_files_where_the_disk_has_them(tmp_path: Path) -> None:
    """As in the Chinese book."""
    file = archive(
        tmp_path / "d2l.zip", "pytorch/a.ipynb", "pytorch/img/Neuron.svg", "pytorch/img/neuron.svg"
    )
    target, _ = archives.get("zh", file, tmp_path / "zh")
    assert {path.name.lower() for path in (target / "img").iterdir()} == {"neuron.svg"}


def test_an_encrypted_file_is_refused(tmp_path: Path) -> None:
    file = archive(tmp_path / "d2l.zip", "pytorch/a.ipynb")
    data = bytearray(file.read_bytes())
    data[data.index(b"PK\x03\x04") + 6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    file.write_bytes(data)
    refused(file, "encrypted")


def test_an_unknown_method_is_refused(tmp_path: Path) -> None:
    file = archive(tmp_path / "d2l.zip", "pytorch/a.ipynb")
    data = bytearray(file.read_bytes())
    data[data.index(b"PK\x03\x04") + 8] = data[data.index(b"PK\x01\x02") + 10] = 77
    file.write_bytes(data)
    refused(file, "compression method")


def refused(file: Path, why: str = "") -> None:
    with pytest.raises(D2lEnvError, match="not a zip archive that can be read") as caught:
        archives.get("en", file, file.parent / "en")
    assert why in caught.value.why
    assert caught.value.fix == "download it again"
    assert [*file.parent.iterdir()] == [file]


METHODS = {
    "stored": zipfile.ZIP_STORED,
    "deflated": zipfile.ZIP_DEFLATED,
    "bzip2": zipfile.ZIP_BZIP2,
    "lzma": zipfile.ZIP_LZMA,
}


def zipped(method: str) -> bytes:
    """An archive of some pages; its text does not compress to nothing."""
    raw = io.BytesIO()
    text = json.dumps([random.Random(1).random() for _ in range(300)])
    with zipfile.ZipFile(raw, "w", METHODS[method]) as file:
        for name in ("pytorch/a.ipynb", "pytorch/chapter/b.ipynb", "img/c.svg"):
            file.writestr(name, text)
    return raw.getvalue()


@pytest.mark.parametrize("method", METHODS)
def test_damaged_data_is_never_called_a_full_disk(tmp_path: Path, method: str) -> None:
    data = bytearray(zipped(method))
    start = data.index(b"a.ipynb") + len(b"a.ipynb") + 20
    data[start : start + 400] = bytes(byte ^ 0x5A for byte in data[start : start + 400])
    (tmp_path / "d2l.zip").write_bytes(data)
    refused(tmp_path / "d2l.zip")


def as_tar(mode: str) -> Callable[[], bytes]:
    def make() -> bytes:
        raw = io.BytesIO()
        with tarfile.open(fileobj=raw, mode=mode) as file:
            entry = tarfile.TarInfo("pytorch/a.ipynb")
            entry.size = 4000
            file.addfile(entry, io.BytesIO(random.Random(1).randbytes(4000)))
        return raw.getvalue()

    return make


MADE = {
    **{method: zipped(method) for method in METHODS},
    **{mode: as_tar(mode)() for mode in ("w:", "w:gz", "w:bz2", "w:xz")},
}


def flipped(original: bytes) -> st.SearchStrategy[bytes]:
    """``original`` with some bytes changed, most of them in the tables that zipfile reads first, or cut."""
    places = st.one_of(
        st.integers(0, len(original) - 1), st.integers(max(0, len(original) - 400), len(original) - 1)
    )
    changes = st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=8)

    def apply(changed: list[tuple[int, int]], end: int | None) -> bytes:
        data = bytearray(original)
        for place, value in changed:
            data[place] = value
        return bytes(data[:end])

    return st.builds(apply, changes, st.one_of(st.none(), st.integers(0, len(original))))


@pytest.mark.parametrize("kind", MADE)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_archive_gives_a_book_or_an_explanation_and_nothing_half_made(
    tmp_path: Path, kind: str, data: st.DataObject
) -> None:
    file = tmp_path / "d2l.zip"
    file.write_bytes(data.draw(flipped(MADE[kind])))
    target = tmp_path / "books" / "en"
    error = None
    try:
        archives.get("en", file, target)
    except D2lEnvError as caught:
        error = caught
    assert target.exists() is (error is None)
    if error is not None:
        assert "free some space" not in error.fix
        assert printable_lines(str(error)) == str(error)
    shutil.rmtree(target, ignore_errors=True)
    assert {path.name for path in tmp_path.iterdir()} <= {"d2l.zip", "books"}
    assert [*tmp_path.glob("books/*")] == []


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("not checked: this system has no named pipes")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(D2lEnvError, match="cannot be read"):
        archives.get("en", tmp_path / "pipe", tmp_path / "en")


def test_two_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    """Both unpack; the slower finds the book there."""
    file = archive(tmp_path / "d2l.zip", *(f"pytorch/{number}.ipynb" for number in range(300)))
    command = [sys.executable, "-m", "d2lenv", "--workspace", str(tmp_path), "books", "get", "en", str(file)]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    said = [process.communicate(timeout=120) for process in both]
    codes = sorted(process.returncode for process in both)
    assert codes == [0, 2], said
    assert "Traceback" not in "".join(text for pair in said for text in pair)
    assert [path.name for path in (tmp_path / "books").iterdir()] == ["en"]
    assert len([*(tmp_path / "books" / "en").iterdir()]) == 300


def test_one_that_is_faster_at_the_last_moment_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = archive(tmp_path / "d2l.zip", "pytorch/a.ipynb")
    target = tmp_path / "en"
    real = archives._unpack

    def and_another(*arguments: object) -> None:
        real(*arguments)  # type: ignore[arg-type]
        target.mkdir()
        (target / "theirs").touch()

    monkeypatch.setattr(archives, "_unpack", and_another)
    with pytest.raises(D2lEnvError, match="is there already"):
        archives.get("en", file, target)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["d2l.zip", "en", "theirs"]


def test_what_a_killed_process_has_left_is_removed_and_a_running_ones_is_not(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = tmp_path / f".en.unpacking-{ended.pid}"
    theirs = tmp_path / f".en.unpacking-{os.getppid()}"
    other = tmp_path / f".zh.unpacking-{ended.pid}"
    for folder in (left, theirs, other):
        folder.mkdir()
    archives.get("en", archive(tmp_path / "d2l.zip", "pytorch/a.ipynb"), tmp_path / "en")
    assert not left.exists()
    assert theirs.exists()
    assert other.exists()


def test_a_target_that_is_a_broken_link_is_taken(tmp_path: Path) -> None:
    (tmp_path / "en").symlink_to(tmp_path / "nowhere")
    with pytest.raises(D2lEnvError, match="is there already"):
        archives.get("en", archive(tmp_path / "d2l.zip", "pytorch/a.ipynb"), tmp_path / "en")
