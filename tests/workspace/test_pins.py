"""The requirements files: read, and refused when damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

import wheelkit
from d2lenv.base.errors import D2lEnvError
from d2lenv.facts import platforms
from d2lenv.workspace import manifest
from d2lenv.workspace import pins as pinned
from d2lenv.workspace.pins import Pin

A, B = "a" * 64, "b" * 64


@pytest.fixture(autouse=True)
def _english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("D2LENV_LANG", "en")


def test_pins_survive_writing_and_reading() -> None:
    pins = [Pin("numpy", "1.23.5", (A, B)), Pin("torch", "2.0.1+cu117", (A,))]
    assert pinned.parse(pinned.text_of(reversed(pins), ["head", ""]), "x") == pins


def test_names_are_normalised_and_comments_and_blank_lines_passed_over() -> None:
    text = f"# a comment --hash\n\nTyping_Extensions==4.1 \\\r\n    --hash=sha256:{A}\n"
    assert pinned.parse(text, "x") == [Pin("typing-extensions", "4.1", (A,))]


@pytest.mark.parametrize(
    "line",
    [
        "numpy==1.23.5",
        f"numpy>=1.23.5 --hash=sha256:{A}",
        f"numpy==1.* --hash=sha256:{A}",
        f"numpy==x --hash=sha256:{A}",
        f"numpy[x]==1.0 --hash=sha256:{A}",
        f"numpy==1.0 --hash=sha256:{A[1:]}",
        f"numpy==1.0 --hash=md5:{A[:32]}",
        f"numpy==1.0 --hash=sha256:{A} ; python_version < '3'",
        f"numpy @ file:///numpy.whl --hash=sha256:{A}",
        "--index-url file:///simple",
        "-r other.txt",
        f"numpy==1.0 --hash=sha256:{A}\nNumPy==1.0 --hash=sha256:{A}",
    ],
)
def test_anything_but_a_pin_with_its_hash_is_refused(line: str) -> None:
    with pytest.raises(D2lEnvError, match="not `name==version` with sha256"):
        pinned.parse(line + "\n", "requirements.txt")


def test_a_file_that_is_missing_or_not_text_is_named(tmp_path: Path) -> None:
    wheelkit.write_workspace(tmp_path, [Pin("greet", "1.0", (A,))])
    space = manifest.load(tmp_path)
    path = pinned.path_of(space, "tiny", platforms.current())
    assert pinned.read(space, "tiny", platforms.current()) == [Pin("greet", "1.0", (A,))]
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(D2lEnvError, match="cannot be read"):
        pinned.read(space, "tiny", platforms.current())
    path.unlink()
    with pytest.raises(D2lEnvError, match="cannot be read"):
        pinned.read(space, "tiny", platforms.current())


@pytest.mark.parametrize(("old", "new"), [(A, B), ("greet==1.0", "greet==1.1"), ("# Pins: ", "# Said: ")])
def test_an_edit_by_hand_is_noticed(tmp_path: Path, old: str, new: str) -> None:
    wheelkit.write_workspace(tmp_path, [Pin("greet", "1.0", (A,))])
    space = manifest.load(tmp_path)
    path = pinned.path_of(space, "tiny", platforms.current())
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    with pytest.raises(D2lEnvError, match="edited by hand"):
        pinned.read(space, "tiny", platforms.current())


def test_the_digest_does_not_depend_on_the_order() -> None:
    pins = [Pin("a", "1", (A,)), Pin("b", "2", (B,))]
    assert pinned.digest(pins) == pinned.digest(reversed(pins))
    assert pinned.digest(pins) != pinned.digest(pins[:1])
