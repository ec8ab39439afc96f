"""Named platforms. What pixi makes of them was tried with pixi 0.77.0 on these manifests (2026-11-24)."""

from __future__ import annotations

from pathlib import Path

import pytest

from channelkit import write_workspace
from d2lenv.base.errors import D2lEnvError
from d2lenv.workspace import host, lockfile, manifest
from d2lenv.workspace.manifest import Workspace

HEAD = """\
[workspace]
name = "rich"
channels = ["main", "extra"]
platforms = [
  { name = "linux-64-cuda", platform = "linux-64", cuda = "12.8" },
  "linux-64",
  { platform = "linux-64", glibc = "2.34", cuda = "13" },
  "osx-arm64",
  { platform = "osx-arm64", osx = "14.0" },
]
"""
MANIFEST = (
    HEAD
    + """
[feature.a]
platforms = ["linux-64-cuda", "linux-64", "osx-arm64"]
[feature.a.target.linux-64-cuda.dependencies]
only-cuda = "*"
[feature.b]
platforms = ["linux-64"]
[feature.c.target."linux-64-*".dependencies]
by-pattern = "*"
[feature.c.target.linux.dependencies]
by-family = "*"
[feature.c.target.linux-64.dependencies]
by-subdir = "*"
[feature.d]
platforms = ["osx-arm64-macos-14-0"]
[environments]
a = ["a"]
b = ["b"]
c = ["c"]
d = ["d"]
"""
)


@pytest.fixture(autouse=True)
def _english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("D2LENV_LANG", "en")


def space_of(tmp_path: Path, text: str = MANIFEST) -> Workspace:
    return manifest.load(write_workspace(tmp_path / "workspace", text))


def test_platforms_have_pixis_names_numbers_and_rows(tmp_path: Path) -> None:
    rows = {
        one.name: (one.locked_name, one.subdir, one.row.virtual_packages)
        for one in space_of(tmp_path).platforms
    }
    assert rows == {
        "linux-64-cuda": (
            "p1",
            "linux-64",
            ["__cuda=12.8", "__unix=0=0", "__linux=4.18", "__glibc=2.28", "__archspec=0=x86_64"],
        ),
        "linux-64": (
            "linux-64",
            "linux-64",
            ["__unix=0=0", "__linux=4.18", "__glibc=2.28", "__archspec=0=x86_64"],
        ),
        "linux-64-cuda-13-glibc-2-34": (
            "p2",
            "linux-64",
            ["__cuda=13", "__glibc=2.34", "__unix=0=0", "__linux=4.18", "__archspec=0=x86_64"],
        ),
        "osx-arm64": ("osx-arm64", "osx-arm64", ["__unix=0=0", "__osx=13.0", "__archspec=0=m1"]),
        "osx-arm64-macos-14-0": ("p3", "osx-arm64", ["__osx=14.0", "__unix=0=0", "__archspec=0=m1"]),
    }


def test_an_environment_has_the_platforms_that_pixi_gives_it(tmp_path: Path) -> None:
    found = {name: one.platforms for name, one in space_of(tmp_path).environments.items()}
    assert found["a"] == ("linux-64", "linux-64-cuda", "osx-arm64")
    # A feature that names the bare subdir alone is not solved for the named platforms beside it.
    assert found["b"] == ("linux-64",)
    assert len(found["c"]) == 5
    assert found["d"] == ("osx-arm64-macos-14-0",)


def test_the_name_of_a_subdir_stands_for_its_named_platforms(tmp_path: Path) -> None:
    text = (
        HEAD.replace('  "linux-64",\n', "")
        + '[feature.a]\nplatforms = ["linux-64"]\n[environments]\na = ["a"]\n'
    )
    found = space_of(tmp_path, text).environments["a"].platforms
    assert found == ("linux-64-cuda", "linux-64-cuda-13-glibc-2-34")


def test_targets_fit_by_name_pattern_family_and_subdir(tmp_path: Path) -> None:
    environments = space_of(tmp_path).environments
    assert [spec.name for spec in environments["a"].specs["linux-64-cuda"]] == ["only-cuda"]
    assert environments["a"].specs["linux-64"] == ()
    names = {place: [spec.name for spec in specs] for place, specs in environments["c"].specs.items()}
    assert names["linux-64"] == ["by-family", "by-subdir"]
    assert names["linux-64-cuda"] == ["by-family", "by-pattern", "by-subdir"]
    assert names["osx-arm64"] == []


@pytest.mark.parametrize(
    ("platform", "why"),
    [
        ('"linux-64", "linux-64"', "`linux-64` is there twice"),
        ('{ name = "linux-64", platform = "linux-64", cuda = "12" }', "give the platform a name of its own"),
        ('{ name = "unix", platform = "linux-64", cuda = "12" }', "`unix` is not a platform's name"),
        ('{ name = "a_b", platform = "linux-64", cuda = "12" }', "`a_b` is not a platform's name"),
        ('{ name = "gpu", cuda = "12" }', "`gpu` is not a platform of this workspace"),
        ('{ cuda = "12" }', "needs a text `platform`"),
        ('{ platform = "linux-64", cuda = "12 !" }', "`12 !` is not a version"),
        ('{ platform = "linux-64", cuda = 12 }', "`12` is not a version"),
        ('{ platform = "linux-64", cuda = {} }', "`None` is not a version"),
        ('{ platform = "linux-64", rocm = "6" }', "`rocm` is not known"),
        ('{ platform = "osx-64", osx = "14", macos = "14" }', "`macos` is there twice"),
        ("5", "a list of platform names or tables"),
    ],
)
def test_a_platform_that_pixi_refuses_is_refused(tmp_path: Path, platform: str, why: str) -> None:
    text = f'[workspace]\nname = "w"\nchannels = ["main"]\nplatforms = [{platform}]\n'
    with pytest.raises(D2lEnvError, match="cannot be read") as caught:
        space_of(tmp_path, text)
    assert why in caught.value.why


def test_the_driver_may_stand_in_a_table(tmp_path: Path) -> None:
    space = space_of(tmp_path, MANIFEST.replace('cuda = "12.8"', 'cuda = { driver = "12.8" }'))
    assert space.platforms[0].promised[0].locked == "__cuda=12.8"


@pytest.mark.parametrize(
    ("driver", "chosen"),
    [("", "linux-64"), ("12.6", "linux-64"), ("12.8", "linux-64-cuda"), ("13.1", "linux-64-cuda")],
)
def test_a_machine_gets_the_first_platform_that_it_satisfies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, driver: str, chosen: str
) -> None:
    monkeypatch.setenv("CONDA_OVERRIDE_CUDA", driver)
    monkeypatch.setattr("d2lenv.facts.platforms.current", lambda: "linux-64")
    space = space_of(tmp_path)
    assert host.platform_for(space, "a") == chosen
    assert host.platform_for(space, "b") == "linux-64"
    # Nothing is locked for it there, which whoever asks for packages says.
    assert host.platform_for(space, "d") == "linux-64"
    assert host.platform_for(space, "of wheels alone") == "linux-64"


def test_the_lock_calls_them_as_the_manifest_does(tmp_path: Path) -> None:
    space = space_of(tmp_path)
    rows = "".join(
        f"- name: {one.locked_name}\n  subdir: {one.subdir}\n  virtual-packages:\n"
        + "".join(f"  - {text}\n" for text in one.row.virtual_packages)
        for one in space.platforms
    )
    sets = "".join(f"      {one.locked_name}: []\n" for one in space.platforms)
    environment = f"environments:\n  c:\n    channels: []\n    packages:\n{sets}"
    text = f"version: 7\nplatforms:\n{rows}{environment}packages: []\n"
    space.lock.write_text(text, encoding="utf-8")
    assert lockfile.of(space).platforms("c") == tuple(sorted(one.name for one in space.platforms))
    assert lockfile.read(space.lock).platforms("c") == ("linux-64", "osx-arm64", "p1", "p2", "p3")
    # Renamed in the manifest it is the same platform; with another promise it is not.
    renamed = space_of(tmp_path, MANIFEST.replace("linux-64-cuda", "linux-64-gpu"))
    assert "linux-64-gpu" in lockfile.of(renamed).platforms("c")
    other = space_of(tmp_path, MANIFEST.replace('cuda = "12.8"', 'cuda = "12.9"'))
    assert "p1" in lockfile.of(other).platforms("c")
