"""What the packages' own metadata asks for."""

from __future__ import annotations

from pathlib import Path

import pytest

from d2lenv.doctor.rules import requires
from d2lenv.prefix.contents.prefix import read_prefix
from doctor.environments import Environment, commands, spoil


@pytest.fixture
def env(tmp_path: Path) -> Environment:
    return Environment(tmp_path / "env")


NVIDIA = (
    'nvidia-cublas-cu11 (==11.10.3.66) ; platform_system == "Linux"',
    'nvidia-x (==1) ; platform_system == "Windows"',
)


def test_a_missing_cuda_wheel_is_found_with_its_version(env: Environment) -> None:
    env.torch(requires=NVIDIA)
    assert commands(env.findings()["D2L026"])[0].endswith("nvidia-cublas-cu11==11.10.3.66")


def test_a_cuda_wheel_of_another_version_is_found(env: Environment) -> None:
    env.torch(requires=NVIDIA)
    env.dist("nvidia-cublas-cu11", "11.11.0.1")
    assert "D2L026" in env.findings()


def test_all_cuda_wheels_there_is_fine(env: Environment) -> None:
    env.torch(requires=NVIDIA)
    env.dist("nvidia-cublas-cu11", "11.10.3.66")
    assert "D2L026" not in env.findings()


def test_requirements_that_cannot_be_read_accuse_nobody(env: Environment) -> None:
    spoil(env.torch(requires=NVIDIA) / "METADATA")
    assert {"D2L026", "D2L099"} & set(env.findings()) == {"D2L099"}


def test_an_unmet_requirement_is_a_warning_and_a_missing_one_an_error(env: Environment) -> None:
    env.dist("pandas", "2.0.3", requires=["numpy>=1.20.3", "pytz>=2020.1", 'pyarrow ; extra == "x"'])
    env.dist("numpy", "1.18.5")
    found = [f for f in env.context_findings() if f.code == "D2L033"]
    assert [(f.severity, f.subject) for f in found] == [("error", "pytz"), ("warning", "numpy")]


def test_met_requirements_are_fine_and_unreadable_ones_reported(env: Environment) -> None:
    metadata = env.dist("pandas", "2.0.3", requires=["numpy>=1.20.3", "not a requirement !"]) / "METADATA"
    env.dist("numpy", "1.23.5")
    assert "D2L033" not in env.findings()
    spoil(metadata)
    assert {"D2L033", "D2L099"} & set(env.findings()) == {"D2L099"}


def test_markers_are_judged_for_the_prefix_not_for_this_python(tmp_path: Path) -> None:
    env = Environment(tmp_path / "env", python="3.9", platform="win-64")
    assert requires.markers(read_prefix(env.path))["sys_platform"] == "win32"


@pytest.mark.parametrize("head", [b"\x7fELF" + bytes(14) + b"\xf3\x00", b"#!/bin/sh\n"])
def test_an_unknown_platform_is_said_and_not_taken_for_this_one(env: Environment, head: bytes) -> None:
    (env.path / "bin" / "python").write_bytes(head)
    env.torch(requires=(*NVIDIA, 'more==2 ; python_version >= "3.8"'))
    found = env.findings()
    assert "D2L026" not in found
    assert [spec for spec in commands(found["D2L033"]) if "more" in spec]
    assert found["D2L099"].severity == "not-checked"


def test_every_package_of_pip_is_asked_for_what_it_requires(env: Environment) -> None:
    env.dist("torchtext", "0.15.2", requires=["torch==2.0.1", "tqdm", 'wheel; extra == "x"'])
    env.torch("2.1.0", local="+cu121", cuda="12.1")
    titles = {f.title: f.severity for f in env.context_findings() if f.code == "D2L033"}
    assert titles == {
        "torchtext 0.15.2 requires torch==2.0.1, 2.1.0 is installed": "warning",
        "torchtext 0.15.2 requires tqdm, which is not installed": "warning",
    }


def test_what_a_kernel_needs_and_lacks_is_an_error(env: Environment) -> None:
    env.dist("ipykernel", "6.29.0", requires=["comm>=0.1", "traitlets"])
    env.dist("comm", "0.2", requires=["traitlets"])
    errors = [f.subject for f in env.context_findings() if f.code == "D2L033" and f.severity == "error"]
    assert errors == ["traitlets", "traitlets"]


def test_debians_and_condas_packages_answer_to_their_own_manager(env: Environment) -> None:
    env.dist("apt-thing", "1.0", requires=["nothing"], installer="")
    env.conda("other", "1.0", dist="other")
    assert "D2L033" not in env.findings()
