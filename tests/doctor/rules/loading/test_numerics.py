"""BLAS and OpenMP of a conda environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from doctor.environments import Environment, commands


@pytest.fixture
def conda(tmp_path: Path) -> Environment:
    return Environment(tmp_path / "env", kind="conda")


def test_one_blas_and_one_openmp_runtime_are_fine(conda: Environment) -> None:
    # The old metapackage and conda-forge's own, as in `cpu` on linux-64.
    conda.conda("blas", "2.121", "mkl")
    for name in ("libblas", "libcblas", "liblapack"):
        conda.conda(name, "3.9.0", "21_linux64_mkl")
    conda.conda("mkl", "2024.0.0", "ha957f24_49657")
    conda.conda("llvm-openmp", "22.1.8", "h4922eb0_0")
    conda.conda("_openmp_mutex", "4.5", "7_kmp_llvm")
    assert not {"D2L016", "D2L017"} & conda.findings().keys()


def test_the_reference_blas_is_told_with_what_to_type(conda: Environment) -> None:
    """What `cuda` for win-64 was locked with: `blas 1.0 mkl` is met, and numpy gets netlib's."""
    for name in ("libblas", "libcblas", "liblapack"):
        conda.conda(name, "3.11.0", "10_hf2e6a31_netlib")
    found = conda.findings()["D2L016"]
    assert found.severity == "warning"
    assert "many times slower" in found.title
    assert found.found[0].what == "libblas (conda-forge)"
    assert commands(found)[-1].endswith("'libblas=*=*openblas' -c conda-forge")


def test_two_blas_are_told(conda: Environment) -> None:
    conda.conda("blas", "1.0", "mkl")
    conda.conda("mkl", "2023.1.0", "h213fc3f_46344")
    conda.conda("libblas", "3.9.0", "24_linux64_openblas")
    conda.conda("libopenblas", "0.3.27", "pthreads_h413a1c8_0")
    found = conda.findings()["D2L016"]
    assert found.title == "more than one BLAS: mkl, openblas"
    assert commands(found)[-1].endswith("'libblas=*=*mkl' -c conda-forge")


def test_without_libblas_nothing_is_offered(conda: Environment) -> None:
    conda.conda("blas", "1.0", "openblas", channel="defaults")
    conda.conda("mkl", "2023.1.0", "h213fc3f_46344", channel="defaults")
    assert not commands(conda.findings()["D2L016"])


def test_two_openmp_packages_are_told(conda: Environment) -> None:
    conda.conda("intel-openmp", "2023.1.0", "hdb19cb5_46306")
    conda.conda("llvm-openmp", "16.0.6", "h4dfa4b3_0")
    conda.conda("_openmp_mutex", "4.5", "2_kmp_llvm")
    found = conda.findings()["D2L017"]
    assert (found.severity, found.title) == (
        "warning",
        "more than one OpenMP runtime: intel-openmp, llvm-openmp",
    )
    assert commands(found)[-1].endswith("'_openmp_mutex=*=*_llvm' -c conda-forge")


def test_anacondas_own_pair_is_only_mentioned(conda: Environment) -> None:
    conda.conda("intel-openmp", "2023.1.0", "hdb19cb5_46306", channel="defaults")
    conda.conda("libgomp", "11.2.0", "h1234567_1", channel="defaults")
    conda.conda("_openmp_mutex", "5.1", "1_gnu", channel="defaults")
    found = conda.findings()["D2L017"]
    assert found.severity == "info"
    assert not commands(found)


def test_a_record_that_cannot_be_read_does_not_hide_the_others(conda: Environment) -> None:
    conda.conda("libblas", "3.11.0", "10_hf2e6a31_netlib")
    conda.file("conda-meta/mkl-2023.1.0-0.json", "{")
    assert {"D2L016", "D2L099"} <= conda.findings().keys()
