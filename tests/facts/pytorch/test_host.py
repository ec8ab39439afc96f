"""PyTorch's own builds by hash."""

from __future__ import annotations

import re

import pytest

from d2lenv.facts.pytorch import host as pytorch_host

TRIO_2_10 = {("torch", "2.10.0"), ("torchvision", "0.25.0"), ("torchaudio", "2.10.0")}
TRIO_2_0 = {("torch", "2.0.1"), ("torchvision", "0.15.2"), ("torchaudio", "2.0.2")}


@pytest.mark.parametrize("platform", ["linux-64", "win-64"])
@pytest.mark.parametrize("build", ["cpu", "cu128"])
@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
def test_the_trio_is_there_for_each_python_but_for_one_torchaudio(
    platform: str, build: str, python: str
) -> None:
    lacking = {("torchaudio", "2.10.0")} if (build, python) == ("cu128", "3.13") else set()
    older = TRIO_2_0 if (build, python) == ("cpu", "3.10") else set()
    assert set(pytorch_host.files(build, platform, python)) == (TRIO_2_10 | older) - lacking


def test_a_file_has_an_address_a_hash_and_the_build_in_its_version() -> None:
    file = pytorch_host.files("cpu", "linux-64", "3.12")["torch", "2.10.0"]
    assert file.version == "2.10.0+cpu"
    assert file.address() == (
        "https://download.pytorch.org/whl/cpu/torch-2.10.0%2Bcpu-cp312-cp312-manylinux_2_28_x86_64.whl"
    )
    assert file.address("http://mirror.example/whl/").startswith(
        "http://mirror.example/whl/cpu/torch-2.10.0%2B"
    )
    assert re.fullmatch(r"[0-9a-f]{64}", file.sha256)
    assert pytorch_host.of_pin("torch", file.version, file.sha256) == file
    assert pytorch_host.of_pin("torch", file.version, "0" * 64) is None


def test_other_platforms_have_none() -> None:
    for platform in ("linux-aarch64", "osx-arm64", "none"):
        assert pytorch_host.files("cpu", platform, "3.12") == {}


def test_what_only_the_cuda_build_needs_is_needless_for_the_cpu() -> None:
    for name in ("nvidia-cublas-cu12", "cuda-bindings", "triton", "lit"):
        assert pytorch_host.is_needless(name, "cpu")
        assert not pytorch_host.is_needless(name, "cu128")
    for name in ("numpy", "literal", "sympy"):
        assert not pytorch_host.is_needless(name, "cpu")
