"""conda beside pip, the same thing twice, files over files, shadows, two OpenMP runtimes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from doctor.environments import Environment, commands, spoil


@pytest.fixture
def conda(tmp_path: Path) -> Environment:
    return Environment(tmp_path / "env", kind="conda")


def seed(path: Path) -> Environment:
    """The listing in the reader's notes: `conda list` and `pip list` of pt2.0_py3.9_d2l."""
    env = Environment(path, python="3.9", kind="conda", platform="win-64")
    env.conda("pytorch", "2.0.0", "py3.9_cuda11.7_cudnn8_0", channel="pytorch", dist="torch")
    env.conda("pytorch-cuda", "11.7", "h16d0643_3", channel="pytorch")
    env.conda("pytorch-mutex", "1.0", "cuda", channel="pytorch")
    env.companion("torchaudio", "2.0.0", local="")
    env.companion("torchvision", "0.15.0", local="")
    return env


def test_the_readers_listing_is_named_explained_and_mended(tmp_path: Path) -> None:
    found = seed(tmp_path / "pt2.0_py3.9_d2l").findings()["D2L010"]
    assert found.severity == "error"
    assert found.title == "pytorch from conda, torchvision, torchaudio from pip"
    assert [(item.what, item.version) for item in found.found] == [
        ("pytorch (conda, pytorch)", "2.0.0 py3.9_cuda11.7_cudnn8_0"),
        ("torchvision (pip)", "0.15.0"),
        ("torchaudio (pip)", "2.0.0"),
    ]
    assert "conda's `pytorch` is pip's `torch` under another name" in found.why
    uninstall, install = commands(found)
    assert "uninstall" in uninstall
    assert uninstall.endswith("torchvision torchaudio")
    assert (
        "pytorch=2.0.0 torchvision=0.15.0 torchaudio=2.0.0 pytorch-cuda=11.7 -c pytorch -c nvidia" in install
    )


def test_the_readers_listing_is_explained_in_chinese(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("D2LENV_LANG", "zh")
    found = seed(tmp_path / "env").findings()
    assert found["D2L010"].title == "pytorch 来自 conda，torchvision, torchaudio 来自 pip"
    assert found["D2L001"].why.startswith("PyTorch 有两个名字")


def test_all_from_conda_is_not_mixed(conda: Environment) -> None:
    conda.conda("pytorch", "2.0.1", "py3.10_cpu_0", channel="pytorch", dist="torch")
    conda.conda("torchvision", "0.15.2", "py310_cpu", channel="pytorch", dist="torchvision")
    assert "D2L010" not in conda.findings()


def test_all_from_pip_is_not_mixed(tmp_path: Path) -> None:
    assert "D2L010" not in Environment(tmp_path / "env").book().findings()


def test_a_torch_record_that_cannot_be_read_is_reported_instead_of_a_mix(conda: Environment) -> None:
    spoil(conda.conda("pytorch", "2.0.1", "py3.10_cpu_0", channel="pytorch"))
    conda.companion("torchvision", "0.15.2")
    found = conda.findings()
    assert "D2L099" in found


def test_numpy_alone_from_pip_is_a_warning(conda: Environment) -> None:
    conda.conda("pytorch", "2.0.1", "py3.10_cpu_0", channel="pytorch", dist="torch")
    conda.dist("numpy", "1.23.5")
    assert conda.findings()["D2L010"].severity == "warning"


def test_two_copies_are_found_and_both_uninstalled(tmp_path: Path) -> None:
    env = Environment(tmp_path / "env")
    env.dist("numpy", "1.23.5")
    env.dist("numpy", "1.26.4")
    found = env.findings()["D2L011"]
    assert found.title == "numpy is installed 2 times"
    assert ["uninstall" in c for c in commands(found)] == [True, True, False]


def test_one_copy_is_not_two(tmp_path: Path) -> None:
    env = Environment(tmp_path / "env")
    env.dist("numpy", "1.23.5")
    assert "D2L011" not in env.findings()


def test_two_copies_with_one_unreadable_are_still_two(tmp_path: Path) -> None:
    env = Environment(tmp_path / "env")
    env.dist("numpy", "1.23.5")
    spoil(env.dist("numpy", "1.26.4") / "METADATA")
    assert {"D2L011", "D2L099"} <= set(env.findings())


def overlaid(env: Environment) -> None:
    site = env.site.relative_to(env.path).as_posix()
    env.conda("numpy", "1.23.5", "py310_0", files={f"{site}/numpy/core.py": "conda's\n"})
    env.dist("numpy", "1.26.4", files={"numpy/core.py": "pip's\n"})


def test_pip_over_conda_is_found_by_the_files_hash(conda: Environment) -> None:
    overlaid(conda)
    found = conda.findings()["D2L012"]
    assert found.severity == "error"
    assert found.found[1].file.endswith("numpy/core.py")
    assert "--force-reinstall numpy" in commands(found)[1]


def test_the_same_bytes_from_both_are_no_damage(conda: Environment) -> None:
    site = conda.site.relative_to(conda.path).as_posix()
    conda.conda("numpy", "1.23.5", "py310_0", files={f"{site}/numpy/core.py": "same\n"})
    conda.dist("numpy", "1.23.5", files={"numpy/core.py": "same\n"})
    assert "D2L012" not in conda.findings()


def test_a_record_of_pip_that_cannot_be_read_is_reported(conda: Environment) -> None:
    overlaid(conda)
    record = conda.site / "numpy-1.26.4.dist-info" / "RECORD"
    record.unlink()
    os.mkfifo(record)
    found = conda.findings()
    assert "D2L012" not in found


def user_site(env: Environment) -> Path:
    return env.path.parent / "home" / ".local" / "lib" / f"python{env.python}" / "site-packages"


def test_packages_of_the_user_site_shadow_a_conda_environment(conda: Environment) -> None:
    conda.dist("numpy", "1.23.5")
    conda.dist("numpy", "2.1.0", site=user_site(conda))
    found = conda.findings()["D2L013"]
    assert found.found[0].version == "2.1.0"
    assert commands(found) == ["export PYTHONNOUSERSITE=1"]


def test_a_venv_does_not_look_into_the_user_site(tmp_path: Path) -> None:
    env = Environment(tmp_path / "env")
    env.dist("numpy", "1.23.5")
    env.dist("numpy", "2.1.0", site=user_site(env))
    assert "D2L013" not in env.findings()


def test_the_variable_switches_the_user_site_off(conda: Environment) -> None:
    conda.dist("numpy", "1.23.5")
    conda.dist("numpy", "2.1.0", site=user_site(conda))
    assert "D2L013" not in conda.findings(environ={"PYTHONNOUSERSITE": "1"})


def test_a_user_site_that_cannot_be_read_shadows_nothing(conda: Environment) -> None:
    conda.dist("numpy", "1.23.5")
    folder = user_site(conda)
    folder.parent.mkdir(parents=True)
    folder.symlink_to(folder.name)
    assert "D2L013" not in conda.findings()


def test_pythonpath_shadows_are_found(tmp_path: Path) -> None:
    env = Environment(tmp_path / "env").book()
    env.dist("torch", "1.8.0", site=tmp_path / "old")
    path = os.pathsep.join([str(tmp_path / "old"), str(tmp_path / "absent"), ""])
    found = env.findings(environ={"PYTHONPATH": path})["D2L014"]
    assert found.title == "PYTHONPATH shadows this environment's torch"


def test_a_pythonpath_without_packages_is_fine(tmp_path: Path) -> None:
    assert "D2L014" not in Environment(tmp_path / "env").book().findings(
        environ={"PYTHONPATH": str(tmp_path)}
    )


def test_a_second_openmp_runtime_is_found(conda: Environment) -> None:
    conda.conda("llvm-openmp", "16.0", files={"lib/libomp.so": "1", "lib/libiomp5.so": "2"})
    conda.torch()
    assert "D2L015" not in conda.findings()
    conda.module("torch/lib/libiomp5.so", "3")
    found = conda.findings()["D2L015"]
    assert "conda install" in commands(found)[1]


def test_condas_own_runtimes_belong_together(conda: Environment) -> None:
    site = conda.site.relative_to(conda.path).as_posix()
    conda.conda("intel-openmp", "2023", files={"lib/libiomp5.so": "1"})
    conda.conda("pytorch", "2.0.1", "py3.10_cpu_0", files={f"{site}/torch/lib/libiomp5.so": "2"})
    assert "D2L015" not in conda.findings()


def test_a_dangling_runtime_counts_for_nothing(conda: Environment) -> None:
    conda.torch()
    (conda.path / "lib" / "libiomp5.so").symlink_to("libomp.so")
    conda.module("torch/lib/libiomp5.so", "3")
    assert "D2L015" not in conda.findings()
