"""Where the text comes from: a file, a pipe, a notebook, in whatever encoding."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest

from d2lenv.base.errors import D2lEnvError
from d2lenv.explain import sources

ERROR = {
    "ename": "AssertionError",
    "evalue": "Torch not compiled with CUDA enabled",
    "output_type": "error",
    "traceback": ["\x1b[31mTraceback {a}", "in {b: 'c'}"],
}
STREAM = {"name": "stderr", "output_type": "stream", "text": ["warning: one\n", "two"]}
PRINTED = {"name": "stdout", "output_type": "stream", "text": "printed"}


def notebook(*outputs: Any, **how: Any) -> str:
    cell = {
        "cell_type": "code",
        "metadata": {},
        "outputs": list(outputs),
        "source": ['"output_type": "error"'],
    }
    return json.dumps({"cells": [cell, cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}, **how)


def test_words_are_the_text_and_a_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "错误 1.txt"
    file.write_text("No module named 'd2l'", encoding="utf-8")
    assert sources.read(["No", "module"], None) == "No module"
    assert sources.read([str(file)], None) == "No module named 'd2l'"
    assert sources.read([str(tmp_path)], None) == str(tmp_path)
    assert sources.read(["a" * 5000], None) == "a" * 5000
    assert sources.read(["-"], io.BytesIO(b"piped")) == "piped"
    assert sources.read([], io.BytesIO(b"piped")) == "piped"


def test_a_pipe_or_device_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert sources.read([str(tmp_path / "pipe")], None) == str(tmp_path / "pipe")


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> Any:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a.txt").touch()
    monkeypatch.setattr(sources, "open_file", refuse)
    with pytest.raises(D2lEnvError) as caught:
        sources.read([str(tmp_path / "a.txt")], None)
    assert caught.value.why == "Permission denied"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
def test_the_encodings_of_windows_are_read(encoding: str) -> None:
    text = "OSError: [WinError 126] 找不到指定的模块。"
    assert sources.decoded(text.encode(encoding)) == text


def test_a_long_input_is_cut_in_the_middle() -> None:
    data = b"first " + b"\xe4" * 30_000_000 + b" last"
    text = sources.decoded(data)
    assert len(text) < 4_000_000
    assert text.startswith("first ")
    assert text.endswith(" last")
    wide = ("first " + "a" * 5_000_000 + " last").encode("utf-16")
    assert sources.decoded(wide).endswith(" last")


@pytest.mark.parametrize("how", [{}, {"indent": 1}, {"separators": (",", ":")}, {"sort_keys": True}])
def test_the_errors_of_a_notebook_are_its_text(how: dict[str, Any]) -> None:
    found = list(sources.outputs(notebook(PRINTED, STREAM, ERROR, **how).encode()))
    assert found[:3] == [
        "warning: one\ntwo",
        "\x1b[31mTraceback {a}\nin {b: 'c'}",
        "AssertionError: Torch not compiled with CUDA enabled",
    ]
    assert len(found) == 6


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{" * 200_000 + b'"output_type": "error"',
        b'"output_type": "error"' * 100_000,
        b'{"output_type": "error", "traceback": 7, "ename": {}, "evalue": []}',
        b'{"output_type": "error", "traceback": ' + b"[" * 100_000,
        b'{"output_type": "stream", "name": "stderr", "text": {"a": 1}}',
        b'\xff\xfe{"output_type": "error"',
        os.urandom(100_000),
    ],
    ids=["empty", "braces", "no objects", "types", "deep", "object", "bytes", "random"],
)
def test_a_broken_notebook_does_no_harm(data: bytes) -> None:
    assert all(isinstance(text, str) for text in sources.outputs(data))


def test_the_rest_of_a_broken_notebook_is_still_read() -> None:
    whole = notebook(ERROR)
    assert "AssertionError: Torch not compiled with CUDA enabled" in list(
        sources.outputs(whole[:-40].encode())
    )


def test_a_notebook_without_an_error_is_said_to_have_none(tmp_path: Path) -> None:
    file = tmp_path / "good.ipynb"
    file.write_text(notebook(PRINTED), encoding="utf-8")
    with pytest.raises(D2lEnvError, match="no cell of"):
        sources.read([str(file)], None)
