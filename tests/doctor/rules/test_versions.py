"""Versions that do not fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from d2lenv.doctor.model import Expected, Locked
from d2lenv.doctor.probe.hardware import Device, Gpu
from d2lenv.facts.pytorch import releases as matrix
from doctor.environments import Environment, commands, spoil

RTX = Gpu(
    "ok", driver="535.104.05", devices=(Device(0, "NVIDIA GeForce RTX 3060", (8, 6), 12 << 30),), via="NVML"
)


@pytest.fixture
def env(tmp_path: Path) -> Environment:
    return Environment(tmp_path / "env")


@pytest.fixture
def conda(tmp_path: Path) -> Environment:
    return Environment(tmp_path / "env", kind="conda")


@pytest.mark.parametrize(
    ("name", "wrong", "right", "code"),
    [("torchvision", "0.16.0", "0.15.2", "D2L020"), ("torchaudio", "2.1.0", "2.0.2", "D2L021")],
)
def test_a_companion_of_another_torch_is_found(
    env: Environment, name: str, wrong: str, right: str, code: str
) -> None:
    env.torch()
    env.companion(name, wrong)
    found = env.findings()[code]
    assert found.severity == "error"
    assert commands(found)[0].endswith(f"{name}=={right}")


@pytest.mark.parametrize(
    ("name", "right", "code"), [("torchvision", "0.15.2", "D2L020"), ("torchaudio", "2.0.2", "D2L021")]
)
def test_the_right_companion_is_fine(env: Environment, name: str, right: str, code: str) -> None:
    env.torch()
    env.companion(name, right)
    assert code not in env.findings()


@pytest.mark.parametrize(("name", "code"), [("torchvision", "D2L020"), ("torchaudio", "D2L021")])
def test_a_companion_with_unreadable_metadata_is_judged_by_its_folders_name(
    env: Environment, name: str, code: str
) -> None:
    env.torch()
    spoil(env.companion(name, "0.1.0") / "METADATA")
    assert {code, "D2L099"} <= set(env.findings())


def test_another_patch_release_is_only_a_warning(env: Environment) -> None:
    env.torch("2.0.0")
    env.companion("torchvision", "0.15.2")
    assert env.findings()["D2L020"].severity == "warning"


def test_condas_pairs_are_known(tmp_path: Path) -> None:
    env = Environment(tmp_path / "env", kind="conda", python="3.9")
    env.conda("pytorch", "2.0.0", "py3.9_cuda11.7_cudnn8_0", channel="pytorch")
    env.conda("torchvision", "0.15.0", "py39_cu117", channel="pytorch")
    env.conda("torchaudio", "2.0.0", "py39_cu117", channel="pytorch")
    assert not {"D2L020", "D2L021", "D2L025"} & set(env.findings())


def test_a_cpu_build_is_mended_from_pytorchs_own_index(env: Environment) -> None:
    env.torch(local="+cpu", cuda=None)
    env.companion("torchvision", "0.16.0", local="+cpu")
    assert "--index-url https://download.pytorch.org/whl/cpu" in commands(env.findings()["D2L020"])[0]


def test_a_python_that_torch_is_not_made_for_is_found(tmp_path: Path) -> None:
    env = Environment(tmp_path / "env", python="3.12")
    env.torch()
    assert env.findings()["D2L022"].title == "torch 2.0.1 is made for Python 3.8 to 3.11, this is 3.12"


def test_a_python_of_unknown_version_is_not_judged(tmp_path: Path) -> None:
    env = Environment(tmp_path / "env", python="3.12")
    env.torch()
    spoil(env.path / "pyvenv.cfg")
    assert "D2L099" in env.findings()


def test_the_books_python_is_fine(env: Environment) -> None:
    env.torch()
    assert "D2L022" not in env.findings()


def test_a_cpu_build_beside_pytorch_cuda_is_an_error(conda: Environment) -> None:
    conda.conda("pytorch", "2.0.1", "py3.10_cpu_0", channel="pytorch", dist="torch")
    conda.conda("pytorch-cuda", "11.7", "h778d358_5", channel="pytorch")
    found = conda.findings()["D2L023"]
    assert found.severity == "error"
    assert "'pytorch=2.0.1=*cuda11.7*'" in commands(found)[0]


def test_a_cpu_build_on_a_machine_with_a_gpu_is_a_warning(env: Environment) -> None:
    env.torch(local="+cpu", cuda=None)
    found = env.findings(gpu=RTX)["D2L023"]
    assert found.severity == "warning"
    assert "torch==2.0.1+cu117" in commands(found)[0]


def test_a_cpu_build_that_was_asked_for_is_fine(conda: Environment) -> None:
    conda.conda("pytorch", "2.0.1", "py3.10_cpu_0", channel="pytorch", dist="torch")
    conda.conda("cpuonly", "2.0", "0", channel="pytorch")
    assert "D2L023" not in conda.findings(gpu=RTX)


@pytest.mark.parametrize(
    ("platform", "locked", "intended"),
    [
        ("linux-64", Locked("pytorch", "2.0.1", "py3.10_cpu_0"), True),
        ("linux-64", Locked("pytorch", "2.0.1", "py3.10_cuda11.7_cudnn8.5.0_0"), False),
        ("linux-64", Locked("torch", "2.0.1+cpu"), True),
        ("linux-64", Locked("torch", "1.12.0"), False),
        ("win-64", Locked("torch", "1.12.0"), True),
    ],
)
def test_the_lock_says_whether_a_cpu_build_is_meant_not_the_environments_name(
    env: Environment, platform: str, locked: Locked, intended: bool
) -> None:
    env.torch(local="+cpu", cuda=None)
    for name in ("mine", "cuda"):
        expected = Expected(name, platform, Path("lock"), conda=locked.name == "pytorch", packages=(locked,))
        assert ("D2L023" not in env.findings(gpu=RTX, expected=expected)) == intended


def test_a_build_that_cannot_be_read_is_not_called_a_cpu_build(env: Environment) -> None:
    env.torch(local="+cpu", cuda=None)
    spoil(env.site / "torch" / "version.py")
    found = env.findings(gpu=RTX)
    assert "D2L023" not in found
    assert "D2L099" in found


def test_a_cuda_build_beside_cpuonly_is_found(conda: Environment) -> None:
    record = conda.conda("pytorch", "2.0.1", "py3.10_cuda11.7_cudnn8.5.0_0", channel="pytorch")
    conda.conda("cpuonly", "2.0", "0", channel="pytorch")
    assert "D2L024" in conda.findings()
    spoil(record)
    assert {"D2L024", "D2L099"} <= set(conda.findings())  # the file's name still says the build


def test_a_cuda_build_alone_is_wanted(conda: Environment) -> None:
    conda.conda("pytorch", "2.0.1", "py3.10_cuda11.7_cudnn8.5.0_0", channel="pytorch")
    assert "D2L024" not in conda.findings()


def test_cpu_beside_cu117_is_found_and_reinstalled(env: Environment) -> None:
    env.torch()
    env.companion("torchvision", "0.15.2", local="+cpu")
    found = env.findings()["D2L025"]
    assert found.title == "builds for different CUDA versions: torch CUDA 11.7, torchvision CPU"
    assert "--force-reinstall --no-deps torchvision==0.15.2" in commands(found)[0]


def test_companions_of_the_same_cuda_are_fine(env: Environment) -> None:
    env.torch()
    env.companion("torchvision", "0.15.2")
    assert "D2L025" not in env.findings()


def test_a_companion_whose_build_cannot_be_read_is_not_accused(env: Environment) -> None:
    env.torch()
    env.companion("torchvision", "0.15.2", local="+cpu")
    spoil(env.site / "torchvision" / "version.py")
    assert {"D2L025", "D2L099"} & set(env.findings()) == {"D2L099"}


def test_numpy_2_with_an_old_torch_is_an_error_with_the_books_numpy(env: Environment) -> None:
    env.torch()
    env.dist("d2l", "1.0.3")
    env.dist("numpy", "2.1.0")
    found = env.findings()["D2L027"]
    assert found.severity == "error"
    assert commands(found)[0].endswith("numpy==1.23.5")


@pytest.mark.parametrize(("torch", "numpy"), [("2.0.1", "1.26.4"), ("2.3.0", "2.0.0"), ("2.5.1", "2.1.0")])
def test_numpy_that_fits_is_fine(env: Environment, torch: str, numpy: str) -> None:
    env.torch(torch)
    env.dist("numpy", numpy)
    assert "D2L027" not in env.findings()


def test_a_numpy_without_a_version_is_reported_unreadable(env: Environment) -> None:
    env.torch()
    (env.dist("numpy", "2.1.0") / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\n\n")
    found = env.findings()
    assert found["D2L099"].found[0].version == "it has no version"


def mkl(env: Environment, version: str, channel: str = "pytorch") -> Path:
    env.conda("pytorch", "2.0.1", "py3.10_cpu_0", channel=channel, dist="torch")
    return env.conda("mkl", version, "ha957f24_0")


def test_mkl_without_the_symbol_is_found(conda: Environment) -> None:
    mkl(conda, "2024.1.0")
    assert commands(conda.findings()["D2L028"])[0].endswith("'mkl<2024.1'")


def test_mkl_with_the_symbol_is_fine(conda: Environment) -> None:
    mkl(conda, "2024.0.0")
    assert "D2L028" not in conda.findings()


def test_conda_forges_pytorch_is_linked_otherwise(conda: Environment) -> None:
    mkl(conda, "2024.1.0", channel="conda-forge")
    assert "D2L028" not in conda.findings()


def test_an_mkl_that_cannot_be_read_is_reported(conda: Environment) -> None:
    mkl(conda, "2024.1.0").write_text("{")
    assert {"D2L028", "D2L099"} <= set(conda.findings())  # the file's name still says the version


def test_torchvision_without_its_jpeg_is_an_error(conda: Environment) -> None:
    conda.conda("torchvision", "0.15.2", "py310_cpu", channel="pytorch", depends=["jpeg", "libpng"])
    conda.conda("libjpeg-turbo", "3.0.0", "h0")
    assert conda.findings()["D2L029"].severity == "error"


def test_both_jpegs_are_a_warning_and_one_is_fine(conda: Environment) -> None:
    conda.conda("torchvision", "0.15.2", "py310_cpu", channel="pytorch", depends=["jpeg"])
    conda.conda("jpeg", "9e", "h0")
    assert "D2L029" not in conda.findings()
    turbo = conda.conda("libjpeg-turbo", "3.0.0", "h0")
    assert conda.findings()["D2L029"].severity == "warning"
    spoil(turbo)
    assert "D2L099" in conda.findings()


@pytest.mark.parametrize(
    ("setuptools", "there"), [("82.0.0", True), ("70.0.0", True), ("80.10.2", False), ("65.5.0", False)]
)
def test_a_setuptools_without_what_torch_2_0_imports_is_found(
    env: Environment, setuptools: str, there: bool
) -> None:
    env.torch()
    env.dist("setuptools", setuptools)
    assert ("D2L030" in env.findings()) is there


def test_a_new_torch_does_without_pkg_resources(env: Environment) -> None:
    env.torch("2.5.1", local="+cu124", cuda="12.4")
    metadata = env.dist("setuptools", "82.0.0") / "METADATA"
    assert "D2L030" not in env.findings()
    spoil(metadata)
    assert "D2L030" not in env.findings()


def test_compile_on_python_3_11_is_mentioned(tmp_path: Path) -> None:
    env = Environment(tmp_path / "env", python="3.11")
    env.torch()
    assert env.findings()["D2L031"].severity == "info"
    spoil(env.site / "torch-2.0.1.dist-info" / "METADATA")
    assert "D2L099" in env.findings()


def test_compile_on_python_3_10_is_not_mentioned(env: Environment) -> None:
    env.torch()
    assert "D2L031" not in env.findings()


def test_a_torch_from_the_future_is_said_to_be_unknown(env: Environment) -> None:
    env.torch("9.9.0")
    assert env.findings()["D2L032"].severity == "not-checked"
    assert "D2L020" not in env.findings()


def test_a_known_torch_is_not_unknown(env: Environment) -> None:
    env.torch()
    assert "D2L032" not in env.findings()


def test_a_torch_whose_version_is_none_is_unknown(env: Environment) -> None:
    (env.torch() / "METADATA").write_text("Name: torch\nVersion: two\n\n")
    assert env.findings()["D2L032"].severity == "not-checked"


def test_every_release_of_the_table_is_well_formed() -> None:
    for version, release in matrix.RELEASES.items():
        first, last = (tuple(int(n) for n in python.split(".")) for python in release.pythons)
        assert first <= last, version
        for cuda in release.builds:
            assert matrix.code_of(version, cuda), (version, cuda)
            assert matrix.minimum_driver(cuda, windows=False), cuda


@pytest.mark.parametrize(
    ("build", "cuda"),
    [
        ("py3.9_cuda11.7_cudnn8_0", "11.7"),
        ("py310_cu117", "11.7"),
        ("py310_cpu", ""),
        ("py3.10_0", ""),
        ("cuda112py310he33e0d6_200", "11.2"),
        ("h2628f91_3", None),
    ],
)
def test_a_build_string_says_its_cuda(build: str, cuda: str | None) -> None:
    from d2lenv.doctor.model import cuda_of_build_string

    assert cuda_of_build_string(build) == cuda
