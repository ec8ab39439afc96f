"""The machine: system libraries, architecture, disk, mirrors, proxies, clock."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from d2lenv.doctor.probe import system
from d2lenv.doctor.probe.system import Mirror
from doctor.environments import LINUX, Environment, commands, spoil

MAC = dataclasses.replace(LINUX, system="Darwin", arch="arm64", glibc=None, macos=(12, 6))


@pytest.fixture
def env(tmp_path: Path) -> Environment:
    return Environment(tmp_path / "env")


def test_an_environment_of_another_system_is_found(env: Environment) -> None:
    assert "D2L070" in env.findings(machine=MAC)
    assert "D2L070" not in env.findings()


def test_an_environment_of_unknown_system_is_not_accused(env: Environment) -> None:
    spoil(env.path / "bin" / "python")
    assert "D2L070" not in env.findings(machine=MAC)


def test_an_intel_python_on_apple_silicon_is_found(tmp_path: Path) -> None:
    env = Environment(tmp_path / "env", kind="conda", platform="osx-64")
    found = env.findings(machine=MAC)
    assert "D2L071" in found
    assert "D2L070" not in found
    assert "D2L071" not in env.findings(machine=dataclasses.replace(MAC, arch="x86_64"))
    for record in (env.path / "conda-meta").iterdir():
        spoil(record)
    assert {"D2L071", "D2L099"} & set(env.findings(machine=MAC)) == {"D2L099"}


WHEEL = "Wheel-Version: 1.0\nTag: cp312-cp312-manylinux_2_28_x86_64\n"


def test_a_wheel_for_a_newer_glibc_is_found(env: Environment) -> None:
    wheel = env.torch("2.6.0", local="+cu124", cuda="12.4") / "WHEEL"
    wheel.write_text(WHEEL)
    old = dataclasses.replace(LINUX, glibc=(2, 17))
    assert env.findings(machine=old)["D2L072"].title == "torch needs glibc 2.28, this machine has 2.17"
    assert "D2L072" not in env.findings()
    spoil(wheel)
    assert {"D2L072", "D2L099"} & set(env.findings(machine=old)) == {"D2L099"}


def test_a_wheel_for_a_newer_macos_is_found(tmp_path: Path) -> None:
    env = Environment(tmp_path / "env", platform="osx-arm64")
    (env.torch(local="", cuda=None) / "WHEEL").write_text("Tag: cp310-none-macosx_14_0_arm64\n")
    assert "torch needs macOS 14.0" in env.findings(machine=MAC)["D2L072"].title


@pytest.mark.parametrize(
    ("free", "severity"), [(3 * 10**9, "warning"), (50 * 10**9, "info"), (10**12, None), (-1, None)]
)
def test_the_disk_is_judged_for_an_environment_and_for_part_2(
    env: Environment, free: int, severity: str | None
) -> None:
    found = env.findings(machine=dataclasses.replace(LINUX, free_disk=free)).get("D2L073")
    assert (found.severity if found else None) == severity


TUNA = Mirror("conda", "https://mirrors.tuna.tsinghua.edu.cn/anaconda/cloud", "/home/x/.condarc")
SUSTECH = Mirror("conda", "https://mirrors.sustech.edu.cn/anaconda-extra/cloud/nvidia", "/home/x/.condarc")


def test_a_mirror_without_nvidia_is_found(env: Environment) -> None:
    found = env.findings(machine=dataclasses.replace(LINUX, mirrors=(TUNA,)))["D2L074"]
    assert "mirrors.sustech.edu.cn/anaconda-extra/cloud" in commands(found)[0]


def test_a_mirror_of_nvidia_beside_it_is_enough(env: Environment) -> None:
    assert "D2L074" not in env.findings(machine=dataclasses.replace(LINUX, mirrors=(TUNA, SUSTECH)))
    assert "D2L074" not in env.findings()


@pytest.mark.parametrize(
    ("value", "there"),
    [
        ("http://user:secret@10.0.0.1:7890", False),
        ("socks5://127.0.0.1:1080", True),
        ("127.0.0.1:7890", True),
        ("http://[::1", True),
    ],
)
def test_a_proxy_that_pip_cannot_use_is_found(env: Environment, value: str, there: bool) -> None:
    machine = dataclasses.replace(LINUX, proxies={"https_proxy": value})
    found = env.findings(machine=machine)
    assert ("D2L075" in found) is there
    assert not any("secret" in str(f) for f in found.values())


def test_a_socks_proxy_with_pysocks_is_fine(env: Environment) -> None:
    env.dist("PySocks", "1.7.1")
    assert "D2L075" not in env.findings(
        machine=dataclasses.replace(LINUX, proxies={"all_proxy": "socks5h://x:1"})
    )


def test_a_clock_behind_the_files_is_found(env: Environment) -> None:
    metadata = env.torch() / "METADATA"
    assert env.findings(machine=dataclasses.replace(LINUX, now=10**9))["D2L076"].severity == "warning"
    assert "D2L076" not in env.findings(machine=dataclasses.replace(LINUX, now=10**10))
    spoil(metadata)
    assert "D2L076" in env.findings(machine=dataclasses.replace(LINUX, now=10**9))


def test_mirrors_are_read_from_every_tools_configuration(tmp_path: Path) -> None:
    def write(name: str, text: str) -> None:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    write(
        ".condarc",
        "channels:\n  - https://mirror.example/conda # https://not.this\n  - https://conda.anaconda.org/x\n",
    )
    write(".pip/pip.conf", "[global]\nindex-url = https://me:secret@mirror.example/simple\n")
    write(".pixi/config.toml", '[mirrors]\n"https://conda.anaconda.org" = ["https://mirror.example/pixi"]\n')
    (tmp_path / ".config" / "pip").mkdir(parents=True)
    (tmp_path / ".config" / "pip" / "pip.conf").write_text("no section\n")
    found = list(system.mirrors({"UV_INDEX_URL": "https://uv.example/simple"}, tmp_path))
    assert [(m.tool, m.url) for m in found] == [
        ("uv", "https://uv.example/simple"),
        ("pip", "https://***@mirror.example/simple"),
        ("conda", "https://mirror.example/conda"),
        ("pixi", "https://mirror.example/pixi"),
    ]


def test_the_machine_is_looked_at_without_raising(tmp_path: Path) -> None:
    found = system.look(
        tmp_path / "not" / "there", {"HTTP_PROXY": "http://a:1", "http_proxy": "http://b:2"}, tmp_path
    )
    assert found.free_disk > 0
    assert found.proxies == {"http_proxy": "http://b:2"}
    assert system.as_json(found)["proxies"] == {"http_proxy": "http://b:2"}


def test_a_mac_says_its_version_and_is_not_translated_without_rosetta(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import platform

    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(platform, "mac_ver", lambda: ("14.2.1", ("", "", ""), "arm64"))
    found = system.look(tmp_path, {}, tmp_path)
    assert (found.system, found.macos, found.glibc, found.rosetta) == ("Darwin", (14, 2), None, False)
