"""Platforms and their virtual packages."""

from __future__ import annotations

import dataclasses

import pytest
from rattler import MatchSpec

from d2lenv.base.errors import D2lEnvError
from d2lenv.facts import platforms

# pixi 0.77: crates/pixi_core/src/workspace/snapshots/*get_minimal_virtual_packages@*.snap
SOLVER = {
    "linux-64": ["__unix=0=0", "__linux=4.18=0", "__glibc=2.28=0", "__archspec=1=x86_64"],
    "linux-aarch64": ["__unix=0=0", "__linux=4.18=0", "__glibc=2.28=0", "__archspec=1=aarch64"],
    "osx-64": ["__unix=0=0", "__osx=13.0=0", "__archspec=1=x86_64"],
    "osx-arm64": ["__unix=0=0", "__osx=13.0=0", "__archspec=1=m1"],
    "win-64": ["__win=10.0=0", "__archspec=1=x86_64"],
}


@pytest.mark.parametrize("platform", platforms.ROWS)
def test_the_solver_sees_pixis_spelling(platform: str) -> None:
    packages = platforms.row(platform).virtual
    assert [str(package.for_solver()) for package in packages] == SOLVER[platform]


def test_no_platform_has_a_gpu() -> None:
    names = {package.name for row in platforms.ROWS.values() for package in row.virtual}
    assert "__cuda" not in names


@pytest.mark.parametrize(
    ("spec", "matches"), [("__glibc >=2.17,<3.0.a0", True), ("__glibc >=2.29", False), ("__glibc", True)]
)
def test_a_virtual_package_matches_like_a_record(spec: str, matches: bool) -> None:
    glibc = next(p for p in platforms.row("linux-64").virtual if p.name == "__glibc")
    assert MatchSpec(spec).matches(glibc.as_record("linux-64")) is matches


@pytest.mark.parametrize(
    ("system", "machine", "platform"),
    [
        ("linux", "x86_64", "linux-64"),
        ("linux", "aarch64", "linux-aarch64"),
        ("darwin", "arm64", "osx-arm64"),
        ("darwin", "x86_64", "osx-64"),
        ("win32", "AMD64", "win-64"),
    ],
)
def test_the_platform_of_this_machine(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str, platform: str
) -> None:
    monkeypatch.setattr("sys.platform", system)
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert platforms.current() == platform


def test_a_machine_without_an_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("D2LENV_LANG", "en")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(D2lEnvError, match="linux riscv64") as caught:
        platforms.current()
    assert "linux-64" in caught.value.fix


def test_a_platform_without_a_row_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("D2LENV_LANG", "en")
    for look_up in (platforms.row, platforms.conda_lock):
        with pytest.raises(D2lEnvError, match="linux-riscv64") as caught:
            look_up("linux-riscv64")
        assert "facts/platforms.py" in caught.value.why


def test_a_platform_that_conda_lock_does_not_know_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("D2LENV_LANG", "en")
    monkeypatch.setitem(platforms.ROWS, "linux-riscv64", made_up())
    assert not platforms.in_conda_lock("linux-riscv64")
    with pytest.raises(D2lEnvError, match="linux-riscv64"):
        platforms.conda_lock("linux-riscv64")


def test_every_row_is_told_from_the_others() -> None:
    rows = platforms.ROWS.values()
    assert len({row.program for row in rows}) == len({row.uv for row in rows}) == len(rows)
    for name, row in platforms.ROWS.items():
        assert platforms.system_of(name) is row.system
        assert platforms.of_program(*row.program) == name


def test_a_row_is_all_that_a_machine_or_a_program_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(platforms.ROWS, "linux-riscv64", made_up())
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    assert platforms.current() == platforms.of_program("ELF", 0xF3) == "linux-riscv64"


def made_up() -> platforms.Subdir:
    """Return a row for a platform that the distribution has not."""
    return dataclasses.replace(
        platforms.row("linux-aarch64"),
        machine="riscv64",
        uv="riscv64-unknown-linux",
        program=("ELF", 0xF3),
        conda_lock=None,
    )
