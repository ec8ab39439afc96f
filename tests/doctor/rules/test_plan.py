"""What an installation will run into, before anything is installed."""

from __future__ import annotations

import pytest

from d2lenv import doctor
from d2lenv.base.errors import USAGE, D2lEnvError
from d2lenv.doctor.model import Finding
from d2lenv.doctor.rules import plan
from doctor.environments import commands


def findings(*words: str, platform: str = "linux-64") -> dict[str, Finding]:
    return {f.code: f for f in doctor.examine_plan(plan.parse(words, platform))}


def test_the_chinese_edition_on_a_new_python_is_refused_with_the_way_out() -> None:
    found = findings("python=3.12", "d2l==0.17.6")["D2L100"]
    assert found.severity == "error"
    assert "pandas==1.2.4 has wheels for Python 3.8 3.9" in [item.what for item in found.found]
    assert commands(found) == [
        "uv venv --python 3.9 d2l-zh",
        "uv pip install --python d2l-zh torch==1.12.0 torchvision==0.13.0 d2l==0.17.6"
        " 'matplotlib-inline<0.2'",
    ]


def test_python_3_10_fails_for_pandas_alone() -> None:
    assert len(findings("python=3.10", "d2l=0.17.6")["D2L100"].found) == 1


def test_the_books_python_is_fine() -> None:
    assert "D2L100" not in findings("python=3.9", "d2l==0.17.6")
    assert "D2L100" not in findings("python=3.10.13", "d2l==1.0.3")


def test_apple_silicon_needs_an_intel_python_for_the_chinese_edition() -> None:
    found = findings("python=3.9", "d2l==0.17.6", "platform=osx-arm64")["D2L100"]
    assert commands(found)[0] == "uv venv --python cpython-3.9-macos-x86_64-none d2l-zh"


def test_a_python_beyond_what_was_looked_up_has_no_wheels() -> None:
    assert "D2L100" in findings("python=3.15", "d2l==1.0.3")


@pytest.mark.parametrize(("python", "refused"), [("3.12", True), ("3.11", False), ("3.7", True)])
def test_torch_is_refused_for_a_python_that_it_is_not_made_for(python: str, refused: bool) -> None:
    assert ("D2L101" in findings(f"python={python}", "torch==2.0.1")) is refused


def test_a_pair_that_does_not_fit_is_refused() -> None:
    assert commands(findings("torch==2.0.1", "torchvision==0.16.0")["D2L102"]) == ["torchvision==0.15.2"]
    assert "D2L102" not in findings("torch==2.0.1", "torchvision==0.15.2", "torchaudio==2.0.2")
    assert "D2L102" not in findings("torch==9.9", "torchvision==0.16.0")


def test_a_pin_of_d2l_against_a_wish_is_refused() -> None:
    assert commands(findings("d2l==1.0.3", "numpy>=2")["D2L103"]) == ["numpy==1.23.5"]
    assert "D2L103" not in findings("d2l==1.0.3", "numpy<2", "rich")


def test_numpy_2_with_an_old_torch_is_refused() -> None:
    assert findings("torch==2.0.1", "numpy>=2")["D2L104"].severity == "error"
    assert findings("torch==2.0.1")["D2L104"].severity == "warning"
    assert "D2L104" not in findings("torch==2.0.1", "numpy<2")
    assert "D2L104" not in findings("torch==2.0.1", "d2l==1.0.3")
    assert "D2L104" not in findings("torch==2.5.1")


def test_matplotlib_inline_has_to_be_held_for_the_chinese_edition() -> None:
    assert "D2L105" in findings("python=3.9", "d2l==0.17.6")
    assert "D2L105" not in findings("python=3.9", "d2l==0.17.6", "matplotlib-inline<0.2")
    assert "D2L105" not in findings("python=3.10", "d2l==1.0.3")


def test_what_is_unknown_is_not_judged() -> None:
    assert (
        findings("d2l>2", "torch==9.9")["D2L106"].title
        == "no exact, known version of d2l, torch, python was given"
    )
    assert "D2L106" not in findings("python=3.9", "d2l==0.17.6", "torch==1.12.0")


@pytest.mark.parametrize("word", ["numpy ==", "-r requirements.txt", "", "\x1b[31m", "numpy==" + "9" * 5000])
def test_what_is_no_requirement_is_a_mistake_of_words(word: str) -> None:
    with pytest.raises(D2lEnvError) as caught:
        plan.parse((word,), "linux-64")
    assert caught.value.status == USAGE


@pytest.mark.parametrize(
    ("words", "code", "severity"),
    [
        (("python=3.10", "torch==2.0.1", "numpy==2.2.6"), "D2L104", "error"),
        (("python=3.10", "torch==2.0.1", "numpy==2.0.0"), "D2L104", "error"),
        (("python=3.10", "platform=osx-64", "torch==2.6.0"), "D2L108", "error"),
        (("python=3.10", "pytorch==2.0.1"), "D2L107", "warning"),
        (("python=3.12", "pytorch=2.0.1"), "D2L101", "error"),
        (("python=3.12", "d2l"), "D2L100", "error"),
        (("python=3.10", "platform=linux-aarch64", "torch==2.0.1"), "D2L106", "not-checked"),
    ],
)
def test_what_was_called_healthy_is_not(words: tuple[str, ...], code: str, severity: str) -> None:
    found = {finding.code: finding for finding in doctor.examine_plan(plan.parse(words, "linux-64"))}
    assert found[code].severity == severity


@pytest.mark.parametrize(
    "words",
    [
        ("python=3.10", "platform=osx-64", "torch==2.2.2", "numpy<2"),
        ("python=3.10", "torch==2.0.1", "numpy==1.26.4"),
        ("python=3.10", "d2l"),
    ],
)
def test_what_is_healthy_stays_so(words: tuple[str, ...]) -> None:
    assert doctor.examine_plan(plan.parse(words, "linux-64")) == ()


def test_a_platform_that_does_not_exist_is_named() -> None:
    with pytest.raises(D2lEnvError, match="there is no platform `linus-64`") as caught:
        plan.parse(("platform=linus-64", "torch==2.0.1"), "linux-64")
    assert caught.value.status == 1
    assert "linux-64" in caught.value.fix
