"""A manifest is read as somebody else's word."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from d2lenv.base.errors import D2lEnvError
from d2lenv.bundle import manifest
from d2lenv.bundle.manifest import Carried, File, Lack, Manifest

WHEEL = File("wheels/a-1-py3-none-any.whl", 3, "0" * 64, ("linux-64/cuda",))
MADE = Manifest((Carried("cuda", "linux-64", "3.10", "", "1" * 64),), (WHEEL,), (Lack("x", "y"),))


def test_what_was_written_is_read(tmp_path: Path) -> None:
    (tmp_path / manifest.NAME).write_text(MADE.text(), encoding="utf-8")
    assert manifest.read(tmp_path) == MADE == manifest.older(tmp_path / manifest.NAME)


@pytest.mark.parametrize(
    "path",
    [
        "../out",
        "/etc/passwd",
        "wheels/../../out",
        "C:/out",
        "wheels\\..\\out",
        "a//b",
        "",
        ".",
        "a/..",
        "a\nb",
        "\x1b[2J",
    ],
)
def test_a_path_that_leads_out_is_refused(tmp_path: Path, path: str) -> None:
    (tmp_path / manifest.NAME).write_text(
        replace(MADE, files=(replace(WHEEL, path=path),)).text(), encoding="utf-8"
    )
    with pytest.raises(D2lEnvError, match="is damaged") as caught:
        manifest.read(tmp_path)
    assert "\x1b" not in str(caught.value)


def test_two_names_that_are_one_on_windows_are_refused(tmp_path: Path) -> None:
    twice = replace(MADE, files=(WHEEL, replace(WHEEL, path=WHEEL.path.upper())))
    (tmp_path / manifest.NAME).write_text(twice.text(), encoding="utf-8")
    with pytest.raises(D2lEnvError, match="a file twice"):
        manifest.read(tmp_path)


@pytest.mark.parametrize(
    "change",
    [{"schema": 2}, {"files": {}}, {"files": [1]}, {"carried": [{}]}, {"lacks": [{"what": 1, "why": ""}]},
     {"files": [{"path": "a", "size": -1, "sha256": "0" * 64, "serves": []}]},
     {"files": [{"path": "a", "size": 1, "sha256": "0", "serves": []}]}],
)  # fmt: skip
def test_damage_is_an_error_with_the_file_in_it(tmp_path: Path, change: dict[str, object]) -> None:
    text = json.dumps({**json.loads(MADE.text()), **change})
    (tmp_path / manifest.NAME).write_text(text, encoding="utf-8")
    with pytest.raises(D2lEnvError, match=r"bundle\.json is damaged"):
        manifest.read(tmp_path)


def test_no_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(D2lEnvError, match="is no bundle") as caught:
        manifest.read(tmp_path)
    assert caught.value.status == 2


def test_a_file_serves_an_environment_a_platform_or_all() -> None:
    assert WHEEL.is_for("linux-64", "cuda")
    assert WHEEL.is_for("linux-64")
    assert not WHEEL.is_for("linux-64", "zh")
    assert not WHEEL.is_for("win-64")
    assert replace(WHEEL, serves=("linux-64",)).is_for("linux-64", "zh")
    assert replace(WHEEL, serves=()).is_for("win-64")
