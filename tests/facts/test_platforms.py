"""Platforms and their virtual packages."""

from __future__ import annotations

import pytest
from rattler import MatchSpec

from d2lenv.base.errors import D2lEnvError
from d2lenv.facts import platforms

# pixi 0.77: crates/pixi_core/src/workspace/snapshots/*get_minimal_virtual_packages@*.snap
SOLVER = {
    "linux-64": ["__unix=0=0", "__linux=4.18=0", "__glibc=2.28=0", "__archspec=1=x86_64"],
    "osx-64": ["__unix=0=0", "__osx=13.0=0", "__archspec=1=x86_64"],
    "osx-arm64": ["__unix=0=0", "__osx=13.0=0", "__archspec=1=m1"],
    "win-64": ["__win=10.0=0", "__archspec=1=x86_64"],
}


@pytest.mark.parametrize("platform", platforms.PLATFORMS)
def test_the_solver_sees_pixis_spelling(platform: str) -> None:
    packages = platforms.VIRTUAL_PACKAGES[platform]
    assert [str(package.for_solver()) for package in packages] == SOLVER[platform]


def test_no_platform_has_a_gpu() -> None:
    names = {package.name for packages in platforms.VIRTUAL_PACKAGES.values() for package in packages}
    assert "__cuda" not in names


@pytest.mark.parametrize(
    ("spec", "matches"), [("__glibc >=2.17,<3.0.a0", True), ("__glibc >=2.29", False), ("__glibc", True)]
)
def test_a_virtual_package_matches_like_a_record(spec: str, matches: bool) -> None:
    glibc = next(p for p in platforms.VIRTUAL_PACKAGES["linux-64"] if p.name == "__glibc")
    assert MatchSpec(spec).matches(glibc.as_record("linux-64")) is matches


@pytest.mark.parametrize(
    ("system", "machine", "platform"),
    [
        ("linux", "x86_64", "linux-64"),
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
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with pytest.raises(D2lEnvError, match="linux aarch64") as caught:
        platforms.current()
    assert "linux-64" in caught.value.fix
