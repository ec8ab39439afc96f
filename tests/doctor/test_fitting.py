"""Which environments use which GPU, and which one fits a machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from d2lenv import doctor
from d2lenv.base.errors import D2lEnvError
from d2lenv.cli import shared
from d2lenv.cli.build import build as build_command
from d2lenv.doctor import fitting
from d2lenv.doctor.probe.hardware import Device, Gpu
from d2lenv.doctor.rules import plan
from d2lenv.facts.gpus import FAMILIES, family_of, named
from d2lenv.workspace import manifest

ROOT = Path(__file__).parents[2]
FITS = fitting.fits(manifest.load(ROOT))
NONE = Gpu("no-driver")


@pytest.fixture(autouse=True)
def _english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("D2LENV_LANG", "en")


def gpu(capability: tuple[int, int], driver: str = "570.26") -> Gpu:
    return Gpu("ok", driver, (Device(0, "the GPU", capability, 0),))


def test_the_table_says_what_the_builds_have_code_for() -> None:
    rows = {
        one.name: {family.title for family in FAMILIES if one.uses(family, family.capabilities) == "yes"}
        for one in FITS
    }
    to_ada = {"Maxwell", "Pascal", "Volta", "Turing", "Ampere", "Ada", "CPU"}
    today = {"Volta", "Turing", "Ampere", "Ada", "Hopper", "Blackwell", "Apple", "CPU"}
    assert rows["cpu"] == {"Apple", "CPU"}
    assert rows["cuda"] == to_ada
    assert rows["cuda12"] == to_ada | {"Hopper"}
    assert rows["modern"] == rows["zh-modern"] == today
    assert rows["zh"] == {"Maxwell", "Pascal", "Volta", "Turing", "CPU"}


@pytest.mark.parametrize(
    ("seen", "platform", "environment"),
    [
        (NONE, "linux-64", "cpu"),
        (NONE, "osx-arm64", "modern"),
        (gpu((6, 1), "470.82"), "linux-64", "cuda"),
        (gpu((8, 9)), "win-64", "cuda"),
        (gpu((9, 0)), "linux-64", "cuda12"),
        (gpu((12, 0)), "linux-64", "modern"),
        (gpu((8, 6), "440.33"), "linux-64", "cpu"),
        (gpu((3, 5)), "linux-64", "cpu"),
    ],
)
def test_the_books_own_environment_comes_first_and_a_driver_counts(
    seen: Gpu, platform: str, environment: str
) -> None:
    assert fitting.recommend(FITS, seen, platform).environment == environment


def test_the_chinese_edition_is_asked_for_by_its_number() -> None:
    assert fitting.recommend(FITS, gpu((7, 5)), "linux-64", "0").environment == "zh"
    assert fitting.recommend(FITS, gpu((12, 0)), "linux-64", "0").environment == "zh-modern"


def test_a_platform_without_an_environment_is_named() -> None:
    with pytest.raises(D2lEnvError, match="no environment can be built on linux-riscv64"):
        fitting.recommend(FITS, NONE, "linux-riscv64")


@pytest.mark.parametrize(
    ("words", "title"),
    [
        ("RTX 4090", "Ada"),
        ("GeForce GTX 1080 Ti", "Pascal"),
        ("rtx-5070-ti", "Blackwell"),
        ("sm_120", "Blackwell"),
        ("8.6", "Ampere"),
        ("Hopper", "Hopper"),
        ("M2 Pro", "Apple"),
        ("rx 7900 xt", "AMD"),
        ("cpu", "CPU"),
    ],
)
def test_a_gpu_is_known_by_what_people_call_it(words: str, title: str) -> None:
    found = named(words)
    assert found is not None
    assert found[0].title == title


def test_unknown_words_are_no_gpu() -> None:
    assert named("3dfx voodoo") is named("") is named("3.5") is None
    assert family_of((8, 7)) == "Ampere"


@pytest.mark.parametrize(
    ("word", "severity", "title"),
    [
        ("gpu=rtx-5090", "info", "Blackwell: modern, zh-modern"),
        ("gpu=sm_90", "info", "Hopper: cuda12, modern, zh-modern"),
        ("gpu=amd", "warning", "no environment here uses a GPU of AMD: they compute on the CPU there"),
    ],
)
def test_a_plan_says_which_environments_use_a_gpu(word: str, severity: str, title: str) -> None:
    (found,) = doctor.examine_plan(plan.parse((word,), "linux-64", FITS))
    assert (found.code, found.severity, found.title) == ("D2L109", severity, title)


def test_a_plan_for_an_unknown_gpu_is_refused() -> None:
    with pytest.raises(D2lEnvError, match="no GPU is known as 'voodoo'"):
        plan.parse(("gpu=voodoo",), "linux-64", FITS)


def test_build_without_a_name_says_and_builds_what_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    from d2lenv.engines import build

    asked: list[str] = []
    monkeypatch.setattr("d2lenv.doctor.probe.hardware.look", lambda *_: gpu((12, 0)))
    monkeypatch.setattr("d2lenv.facts.platforms.current", lambda: "linux-64")
    monkeypatch.setattr(build, "build", lambda _space, name, **_how: asked.append(name))
    monkeypatch.setattr(build, "show", lambda _built: None)
    done = CliRunner().invoke(build_command, [], obj=shared.Place(ROOT), catch_exceptions=False)
    assert asked == ["modern"]
    assert "the GPU (sm_120): `modern` fits this machine" in done.stderr
