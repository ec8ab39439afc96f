"""The manifest, as pixi understands it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import tomli

from channelkit import HEAD, MANIFEST, ROOT, write_workspace
from d2lenv.base.errors import USAGE, D2lEnvError
from d2lenv.workspace import manifest

FORGE, PYTORCH, NVIDIA = (
    f"https://conda.anaconda.org/{name}/" for name in ("conda-forge", "pytorch", "nvidia")
)


@pytest.fixture(autouse=True)
def _english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("D2LENV_LANG", "en")


def read(tmp_path: Path, text: str) -> manifest.Workspace:
    return manifest.load(write_workspace(tmp_path, text))


def specs(space: manifest.Workspace, environment: str = "default", platform: str = "linux-64") -> list[str]:
    return [spec.text for spec in space.environments[environment].specs[platform]]


def test_the_projects_own_manifest_has_the_environments_of_the_design() -> None:
    """Others may stand beside them: an environment is typed in pixi.toml alone."""
    space = manifest.load(ROOT)
    four = ("linux-64", "osx-64", "osx-arm64", "win-64")
    found = {name: (env.platforms, env.channels) for name, env in space.environments.items()}
    assert (
        found.items()
        >= {
            "default": (four, (FORGE, PYTORCH)),
            "cpu": (four, (FORGE, PYTORCH)),
            "cuda": (("linux-64", "win-64"), (NVIDIA, FORGE, PYTORCH)),
            "cuda12": (("linux-64",), (NVIDIA, FORGE, PYTORCH)),
            "modern": (("linux-64", "linux-64-cuda", "osx-arm64"), (FORGE,)),
            "dev": (four, (FORGE,)),
        }.items()
    )
    assert set(space.channels) >= {FORGE, PYTORCH, NVIDIA}
    assert space.environments["cpu"].specs == space.environments["default"].specs


def test_a_target_overrides_within_a_feature_and_features_add_up(tmp_path: Path) -> None:
    space = read(
        tmp_path,
        HEAD
        + """
[dependencies]
numpy = ">=1"
[target.linux-64.dependencies]
numpy = ">=2"
[feature.more.dependencies]
numpy = "<3"
[environments]
more = ["more"]
""",
    )
    assert specs(space) == ['numpy[version=">=2"]']
    assert specs(space, "more") == ['numpy[version="<3"]', 'numpy[version=">=2"]']


def test_of_two_targets_that_fit_the_later_in_the_file_wins(tmp_path: Path) -> None:
    tables = ['[target.linux-64.dependencies]\nx = "==1"\n', '[target.unix.dependencies]\nx = "==2"\n']
    assert specs(read(tmp_path, HEAD + "".join(tables))) == ['x[version="==2"]']
    assert specs(read(tmp_path, HEAD + "".join(reversed(tables)))) == ['x[version="==1"]']


def test_a_target_of_another_platform_does_not_count(tmp_path: Path) -> None:
    assert specs(read(tmp_path, MANIFEST + '[target.win.dependencies]\nx = "*"\n')) == ['app[version="*"]']


def test_a_table_spec_keeps_build_channel_and_the_rest(tmp_path: Path) -> None:
    space = read(
        tmp_path,
        HEAD
        + """
[dependencies.PyTorch]
version = "2.0.1.*"
build = "py3.10_cpu_0"
channel = "pytorch"
build-number = ">=0"
subdir = "linux-64"
file-name = "pytorch-2.0.1-py3.10_cpu_0.tar.bz2"
md5 = "0123456789abcdef0123456789abcdef"
""",
    )
    (spec,) = space.environments["default"].specs["linux-64"]
    assert (spec.name, spec.where) == ("pytorch", "[dependencies]")
    match = spec.match_spec
    assert match.channel is not None
    assert match.channel.base_url == PYTORCH
    assert (str(match.version), match.build, match.subdir) == ("2.0.1.*", "py3.10_cpu_0", "linux-64")
    assert match.file_name == "pytorch-2.0.1-py3.10_cpu_0.tar.bz2"


def test_channels_of_features_come_in_order_and_the_default_features_last(tmp_path: Path) -> None:
    text = HEAD.replace('["main", "extra"]', '["conda-forge"]')
    space = read(
        tmp_path,
        text
        + """
[feature.gpu]
channels = ["nvidia", "pytorch"]
[feature.plain.dependencies]
x = "*"
[environments]
gpu = ["gpu"]
late = ["plain", "gpu"]
alone = { features = ["gpu"], no-default-feature = true }
""",
    )
    assert space.environments["gpu"].channels == (NVIDIA, PYTORCH, FORGE)
    assert space.environments["late"].channels == (FORGE, NVIDIA, PYTORCH)
    assert space.environments["alone"].channels == (NVIDIA, PYTORCH)
    assert specs(space, "alone") == []


def test_a_solve_group_shares_one_list_of_channels(tmp_path: Path) -> None:
    space = read(
        tmp_path,
        HEAD
        + """
[feature.a]
channels = ["a"]
[environments]
default = { solve-group = "g" }
other = { features = ["a"], solve-group = "g" }
""",
    )
    names = ["main", "extra", "a"]
    for environment in space.environments.values():
        assert environment.channels == tuple(f"https://conda.anaconda.org/{name}/" for name in names)


def test_features_narrow_the_platforms(tmp_path: Path) -> None:
    text = HEAD.replace('["linux-64"]', '["linux-64", "win-64", "osx-64"]')
    space = read(
        tmp_path,
        text
        + """
[feature.a]
platforms = ["win-64", "linux-64"]
[feature.b]
platforms = ["osx-64", "win-64"]
[environments]
both = ["a", "b"]
""",
    )
    assert space.environments["both"].platforms == ("win-64",)
    assert space.environments["default"].platforms == ("linux-64", "osx-64", "win-64")


BAD = {
    "no TOML": ("[workspace\n", "line 1, column 11"),
    "no workspace table": ("[dependencies]\n", "it has no [workspace] table"),
    "workspace is no table": ("workspace = 3\n", "[workspace] cannot be read"),
    "unknown feature": (MANIFEST + '[environments]\nx = ["gpu"]\n', "[environments] x"),
    "feature that is no name": (MANIFEST + "[environments]\nx = [[]]\n", "[environments] x"),
    "environment that is no list": (MANIFEST + "[environments]\nx = 3\n", "[environments] x"),
    "features that are no list": (MANIFEST + '[environments]\nx = {features = "a"}\n', "[environments] x"),
    "unknown key of an environment": (
        MANIFEST + "[environments]\nx = {feature = []}\n",
        "[environments.x.feature]",
    ),
    "unknown platform": (HEAD.replace("linux-64", "linux-65"), "[workspace] platforms"),
    "platform that is no text": (HEAD.replace('"linux-64"', "64"), "expected a list of platform names"),
    "unknown platform of a feature": (
        MANIFEST + '[feature.a]\nplatforms = ["plan9"]\n[environments]\nx = ["a"]\n',
        "[feature.a] platforms",
    ),
    "unknown target": (MANIFEST + '[target.plan9.dependencies]\nx = "*"\n', "[target.plan9]"),
    "target that is no table": (MANIFEST + "[target]\nlinux-64 = 3\n", "[target.linux-64]"),
    "unknown key of a target": (MANIFEST + "[target.linux.constraint]\n", "[target.linux.constraint]"),
    "spec that does not parse": (HEAD + '[dependencies]\nnumpy = ">=1..2"\n', "[dependencies] numpy"),
    "spec of a feature's target": (
        MANIFEST + '[feature.a.target.linux.dependencies]\nx = ">="\n[environments]\nx = ["a"]\n',
        "[feature.a.target.linux.dependencies] x",
    ),
    "number for a version": (HEAD + "[dependencies]\nnumpy = {version = 1.2}\n", "`1.2` is not a text"),
    "list for a spec": (HEAD + "[dependencies]\nnumpy = []\n", "expected a version or a table"),
    "unknown key of a spec": (HEAD + '[dependencies]\nnumpy = {gti = "x"}\n', "`gti` is not known"),
    "no package name": (HEAD + '[dependencies]\n"a b" = "*"\n', "`a b` is not a package name"),
    "dependencies that are no table": (HEAD + "[feature]\na = 3\n", "[feature.a] cannot be read"),
    "channel that is none": (HEAD.replace('"main"', '"a b"'), "`a b` is not a channel"),
    "priority that is none": (HEAD + 'channel-priority = "loose"\n', "[workspace] channel-priority"),
    "unknown key of the workspace": (HEAD + "chanels = []\n", "[workspace.chanels]"),
    "spec of the pool that is not there": (
        HEAD + "[dependencies]\nnumpy = {workspace = true}\n",
        "[workspace.dependencies] has no `numpy`",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_manifest_is_refused_with_file_and_place(tmp_path: Path, name: str) -> None:
    text, told = BAD[name]
    with pytest.raises(D2lEnvError) as caught:
        read(tmp_path, text)
    assert str(tmp_path / "pixi.toml") in caught.value.what
    assert told in str(caught.value)
    assert "correct the file" in caught.value.fix
    assert caught.value.status == USAGE


# Real pixi 0.77 takes each of these (`pixi lock` read the manifest, 2026-11-24).
UNSUPPORTED = {
    "pypi": (HEAD + '[pypi-dependencies]\nd2l = "*"\n', "[pypi-dependencies]", "`pypi-dependencies`"),
    "pypi of a target": (
        MANIFEST + '[target.linux.pypi-dependencies]\nd = "*"\n',
        "[target.linux.pypi-dependencies]",
        "`pypi-dependencies`",
    ),
    "pypi of a feature": (
        MANIFEST + '[feature.a.pypi-dependencies]\nd = "*"\n',
        "[feature.a.pypi-dependencies]",
        "`pypi-dependencies`",
    ),
    "pypi of an environment": (
        MANIFEST + '[environments.a.pypi-dependencies]\nd = "*"\n',
        "[environments.a.pypi-dependencies]",
        "`pypi-dependencies`",
    ),
    "constraints": (MANIFEST + '[constraints]\nx = "<2"\n', "[constraints]", "`constraints`"),
    "system requirements": (
        MANIFEST + '[system-requirements]\ncuda = "12"\n',
        "[system-requirements]",
        "`system-requirements`",
    ),
    "feature's priority": (
        MANIFEST + '[feature.a]\nchannel-priority = "disabled"\n',
        "[feature.a] channel-priority",
        "`channel-priority = disabled`",
    ),
    "strategy": (
        HEAD + 'solve-strategy = "lowest"\n',
        "[workspace] solve-strategy",
        "`solve-strategy = lowest`",
    ),
    "exclude-newer": (
        HEAD + 'exclude-newer = "2024-01-01"\n',
        "[workspace.exclude-newer]",
        "`exclude-newer`",
    ),
    "channel table": (
        HEAD.replace('"main"', '{channel = "x", priority = 1}'),
        "[workspace] channels",
        "channels that are tables",
    ),
    "platform for a processor": (
        HEAD.replace('"linux-64"', '{platform = "linux-64", archspec = "x86_64_v3"}'),
        "[workspace] platforms",
        "`archspec` of a platform",
    ),
    "platform with a raw virtual package": (
        HEAD.replace('"linux-64"', '{name = "gpu", platform = "linux-64", __cuda = "12"}'),
        "[workspace] platforms",
        "`__cuda` of a platform",
    ),
    "platform for a compute capability": (
        HEAD.replace('"linux-64"', '{platform = "linux-64", cuda = {driver = "12", arch = "9"}}'),
        "[workspace] platforms",
        "`cuda.arch`",
    ),
    "two names for one platform": (
        HEAD.replace('"linux-64"', '"linux-64", {name = "other", platform = "linux-64", glibc = "2.28"}'),
        "[workspace] platforms",
        "two names for one platform",
    ),
    "platform that we do not serve": (
        HEAD.replace('"linux-64"', '"linux-ppc64le"'),
        "[workspace] platforms",
        "the platform `linux-ppc64le`",
    ),
    "source package": (
        HEAD + '[dependencies]\nnumpy = {git = "https://example.org/x"}\n',
        "[dependencies] numpy",
        "`git`",
    ),
    "version without an operator": (
        HEAD + '[dependencies]\nnumpy = "1.23.5"\n',
        "'==1.23.5' or '1.23.5.*'",
        "a version without an operator",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_a_legal_feature_of_pixi_that_is_not_supported_is_named(tmp_path: Path, name: str) -> None:
    text, place, feature = UNSUPPORTED[name]
    with pytest.raises(D2lEnvError, match=f"d2lenv does not support {re.escape(feature)}") as caught:
        read(tmp_path, text)
    assert place in str(caught.value)
    assert "correct the file" not in caught.value.fix
    assert caught.value.status == USAGE


def test_toml_1_1_is_read(tmp_path: Path) -> None:
    space = read(
        tmp_path, HEAD + '[dependencies]\napp = {\n  version = ">=1", # the first\n  build = "0",\n}\n'
    )
    assert specs(space) == ['app[version=">=1",build="0"]']


def test_an_environments_own_tables_come_before_its_features(tmp_path: Path) -> None:
    space = read(
        tmp_path,
        HEAD
        + """
[feature.a]
channels = ["a"]
[feature.a.dependencies]
x = ">=1"
[environments.own.dependencies]
y = "*"
[environments.both]
features = ["a"]
channels = ["b"]
dependencies = { x = "<2" }
no-default-feature = true
[environments.default.dependencies]
z = "*"
[environments.plain]
features = ["a"]
""",
    )
    assert specs(space, "own") == ['y[version="*"]']
    assert specs(space, "both") == ['x[version="<2"]', 'x[version=">=1"]']
    assert space.environments["both"].channels == tuple(
        f"https://conda.anaconda.org/{name}/" for name in ("b", "a")
    )
    assert specs(space) == ['z[version="*"]']
    assert specs(space, "plain") == ['x[version=">=1"]']


def test_a_spec_of_the_workspaces_pool_is_inherited_and_refined(tmp_path: Path) -> None:
    space = read(
        tmp_path,
        HEAD
        + """
[workspace.dependencies]
x = ">=1"
y = { version = "2.*", channel = "extra" }
[dependencies]
x = { workspace = true, build = "py*" }
y.workspace = true
""",
    )
    assert specs(space) == ['x[version=">=1",build="py*"]', 'y[version="2.*",channel="extra"]']


def test_a_manifest_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pixi.toml").write_bytes(b"\xff\xfe[workspace]")
    with pytest.raises(D2lEnvError, match=r"pixi\.toml cannot be read"):
        manifest.load(tmp_path)


def test_a_missing_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(D2lEnvError, match=r"pixi\.toml cannot be read"):
        manifest.load(tmp_path)


def test_the_workspace_is_found_from_a_folder_below(tmp_path: Path) -> None:
    below = write_workspace(tmp_path) / "a" / "b"
    below.mkdir(parents=True)
    assert manifest.find(below) == tmp_path


def test_no_workspace_above_is_said(tmp_path: Path) -> None:
    with pytest.raises(D2lEnvError, match=r"no pixi\.toml at or above"):
        manifest.find(tmp_path)


def test_our_own_manifest_has_no_value_that_pixi_cannot_read() -> None:
    """pixi 0.77's reader (toml-span) knows no dates: one of them anywhere, and no environment installs."""

    def values(value: object) -> Iterator[object]:
        for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            yield item
            yield from values(item)

    data = tomli.loads((ROOT / "pixi.toml").read_text(encoding="utf-8"))
    kinds = {type(value) for value in values(data)}
    assert kinds <= {str, bool, int, float, dict, list}
