"""The requirements files: read, and refused when damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

import wheelkit
from d2lenv.base.errors import D2lEnvError
from d2lenv.facts import platforms
from d2lenv.workspace import manifest, settings
from d2lenv.workspace import pins as pinned
from d2lenv.workspace.pins import Pin, Variation

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


# --- one file for several Pythons and every platform ------------------------------------------------


MARKED = f"""\
torch==2.10.0 --hash=sha256:{A}
numpy==1.26.4 ; python_full_version < '3.12' --hash=sha256:{A}
numpy==2.2.6 ; python_full_version >= '3.12' \\
    --hash=sha256:{B}
triton==3.6.0 ; sys_platform == 'linux' and platform_machine == 'x86_64' --hash=sha256:{B}
colorama==0.4.6 ; os_name == 'nt' or platform_system == 'Windows' --hash=sha256:{A}
appnope==1.0 ; implementation_name == 'cpython' and sys_platform == 'darwin' --hash=sha256:{A}
"""


@pytest.mark.parametrize(
    ("platform", "python", "wanted"),
    [
        ("linux-64", "3.11", {"torch": "2.10.0", "numpy": "1.26.4", "triton": "3.6.0"}),
        ("linux-64", "3.12", {"torch": "2.10.0", "numpy": "2.2.6", "triton": "3.6.0"}),
        ("linux-aarch64", "3.13", {"torch": "2.10.0", "numpy": "2.2.6"}),
        ("win-64", "3.10", {"torch": "2.10.0", "numpy": "1.26.4", "colorama": "0.4.6"}),
        ("osx-arm64", "3.10", {"torch": "2.10.0", "numpy": "1.26.4", "appnope": "1.0"}),
    ],
)
def test_a_pin_counts_where_its_marker_is_true(platform: str, python: str, wanted: dict[str, str]) -> None:
    found = pinned.applying(pinned.parse(MARKED, "x"), platform, python)
    assert {pin.name: pin.version for pin in found} == wanted
    assert not any(pin.marker for pin in found)


def test_pins_with_markers_survive_writing_and_reading() -> None:
    pins = pinned.parse(MARKED, "x")
    assert pinned.parse(pinned.text_of(reversed(pins), ["head"]), "x") == pins


@pytest.mark.parametrize(
    "lines",
    [
        f"a==1 --hash=sha256:{A}\na==2 ; python_version > '3' --hash=sha256:{A}\n",
        f"a==1 ; python_full_version < '3.11.5' --hash=sha256:{A}\n",
    ],
)
def test_two_versions_for_one_place_and_a_choice_by_patch_release_are_refused(lines: str) -> None:
    with pytest.raises(D2lEnvError, match="is not decided for Python"):
        pinned.applying(pinned.parse(lines, "x"), "linux-64", "3.11")


def test_the_python_that_was_chosen_is_part_of_the_digest() -> None:
    pins = [Pin("torch", "2.10.0", (A,))]
    digests = {pinned.digest(pins, Variation(python)) for python in ("", "3.12", "3.13")}
    assert len(digests) == 3
    assert pinned.digest(pins) in digests


def test_a_marker_says_what_was_chosen() -> None:
    for variation in (Variation(), Variation("3.12")):
        assert Variation.of(variation.said()) == variation
    assert str(Variation("3.12")) == "py312"


def test_this_repositorys_pins_are_decided_for_each_platform_and_python() -> None:
    space = manifest.load(Path(__file__).parents[2])
    seen = 0
    for own in settings.load(space).values():
        for one in map(Variation, own.pythons if own.universal else ()):
            for platform in own.wheels:
                pins = {pin.name: pin.version for pin in pinned.read(space, own.name, platform, one)}
                assert pins["torch"].startswith("2.10.0")
                assert ("triton" in pins) == (platform == "linux-64")
                seen += 1
    assert seen == 32
