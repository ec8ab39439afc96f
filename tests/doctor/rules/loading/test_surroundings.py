"""What lies outside of the environment and is loaded instead of it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from d2lenv.doctor.model import Notebook
from d2lenv.doctor.probe import gather
from d2lenv.facts import d2l as releases
from d2lenv.facts.names import LOADED_BY_NOTEBOOKS
from doctor.environments import LINUX, Environment, commands, spoil

WINDOWS = dataclasses.replace(LINUX, system="Windows", glibc=None, arch="AMD64")


@pytest.fixture
def env(tmp_path: Path) -> Environment:
    return Environment(tmp_path / "env").book()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "my notebooks"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("name", ["random.py", "d2l.py", "torch.py", "numpy/__init__.py", "queue.py"])
def test_a_file_that_is_called_like_a_module_is_found(env: Environment, folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("")
    found = env.findings(beside=tuple(gather.beside([folder])))["D2L048"]
    assert found.severity == "error"
    assert "rename" in commands(found)[0]


@pytest.mark.parametrize("name", ["test.py", "mine.py", "torch/readme.txt", "d2l/__init__.py", "random.txt"])
def test_other_files_are_the_readers_own_business(env: Environment, folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("")
    assert "D2L048" not in env.findings(beside=tuple(gather.beside([folder])))


def test_a_folder_that_cannot_be_listed_holds_nothing(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    assert list(gather.beside([file, spoil_new(tmp_path / "loop")])) == []


def spoil_new(path: Path) -> Path:
    path.write_text("")
    spoil(path)
    return path


def test_the_modules_of_a_kernel_are_pythons_own() -> None:
    assert {"random", "queue", "typing", "json"} <= LOADED_BY_NOTEBOOKS
    assert not {"torch", "test", "turtle", "os", "sys"} & LOADED_BY_NOTEBOOKS


def library(folder: Path, name: str, full: str = "", text: str = "") -> Path:
    """A library, and with ``full`` the link that the loader follows."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (full or name)
    path.write_text(text)
    if full:
        (folder / name).symlink_to(path)
    return folder


def nvjitlink(env: Environment, version: str) -> None:
    env.dist("nvidia-nvjitlink-cu12", version, module="nvidia/nvjitlink")
    library(env.site / "nvidia" / "nvjitlink" / "lib", "libnvJitLink.so.12")


def test_an_older_cuda_on_the_library_path_is_an_error(env: Environment, tmp_path: Path) -> None:
    nvjitlink(env, "12.4.127")
    cuda = library(tmp_path / "cuda" / "lib64", "libnvJitLink.so.12", "libnvJitLink.so.12.1.105")
    found = env.findings(environ={"LD_LIBRARY_PATH": f"{tmp_path}:{cuda}"})["D2L038"]
    assert found.severity == "error"
    assert commands(found) == ["unset LD_LIBRARY_PATH"]
    assert found.found[0].what == "libnvJitLink.so.12"


def test_a_newer_one_does_no_harm_and_an_unknown_one_may(env: Environment, tmp_path: Path) -> None:
    nvjitlink(env, "12.4.127")
    newer = library(tmp_path / "newer", "libnvJitLink.so.12", "libnvJitLink.so.12.6.20")
    assert "D2L038" not in env.findings(environ={"LD_LIBRARY_PATH": str(newer)})
    unknown = library(tmp_path / "unknown", "libnvJitLink.so.12")
    assert env.findings(environ={"LD_LIBRARY_PATH": str(unknown)})["D2L038"].severity == "warning"
    assert "D2L038" not in env.findings(environ={"LD_LIBRARY_PATH": str(unknown)}, machine=WINDOWS)


def test_a_library_path_without_such_libraries_is_nobodys_business(env: Environment, tmp_path: Path) -> None:
    nvjitlink(env, "12.4.127")
    other = library(tmp_path / "other", "libfoo.so.1")
    own = env.site / "nvidia" / "nvjitlink" / "lib"
    for value in (str(other), str(own), "", "relative/lib", str(tmp_path / "none"), "\0"):
        assert "D2L038" not in env.findings(environ={"LD_LIBRARY_PATH": value})


def test_an_older_libstdcxx_is_told_by_its_symbols(tmp_path: Path) -> None:
    env = Environment(tmp_path / "env", kind="conda")
    library(env.path / "lib", "libstdc++.so.6", "libstdc++.so.6.0.33", "GLIBCXX_3.4.9 GLIBCXX_3.4.33 ")
    old = library(tmp_path / "old", "libstdc++.so.6", "libstdc++.so.6.0.25", "GLIBCXX_3.4.25 GLIBCXX_3.4.3 ")
    assert env.findings(environ={"LD_PRELOAD": f"{old}/libstdc++.so.6"})["D2L038"].severity == "error"
    new = library(tmp_path / "new", "libstdc++.so.6", "libstdc++.so.6.0.34", "GLIBCXX_3.4.34 ")
    assert "D2L038" not in env.findings(environ={"LD_PRELOAD": f"{new}/libstdc++.so.6"})


def test_pycharms_backend_is_found_where_it_is_not(env: Environment, tmp_path: Path) -> None:
    environ = {"MPLBACKEND": "module://backend_interagg"}
    found = env.findings(environ=environ)["D2L059"]
    assert commands(found) == ["unset MPLBACKEND"]
    (tmp_path / "helpers").mkdir()
    (tmp_path / "helpers" / "backend_interagg.py").write_text("")
    assert "D2L059" not in env.findings(environ={**environ, "PYTHONPATH": str(tmp_path / "helpers")})
    assert "D2L059" in env.findings(environ={**environ, "PYTHONPATH": f"{tmp_path / 'none'}:"})
    for backend in ("agg", "module://matplotlib_inline.backend_inline", ""):
        assert "D2L059" not in env.findings(environ={"MPLBACKEND": backend})


def test_a_file_of_certificates_that_is_gone_is_found(env: Environment, tmp_path: Path) -> None:
    found = env.findings(environ={"SSL_CERT_FILE": "/gone/cacert.pem"})["D2L077"]
    assert commands(found) == ["unset SSL_CERT_FILE"]
    (tmp_path / "cacert.pem").write_text("")
    assert "D2L077" not in env.findings(environ={"REQUESTS_CA_BUNDLE": str(tmp_path / "cacert.pem")})


def windows(tmp_path: Path, torch: str, *there: str) -> tuple[Environment, dict[str, str]]:
    env = Environment(tmp_path / "win", platform="win-64")
    env.torch(torch, local="", cuda=None)
    system = tmp_path / "Windows" / "System32"
    system.mkdir(parents=True)
    for name in there:
        (system / name).write_text("")
    return env, {"SYSTEMROOT": str(system.parent)}


RUNTIME = ("vcruntime140.dll", "vcruntime140_1.dll", "msvcp140.dll")


def test_windows_without_microsofts_runtime(tmp_path: Path) -> None:
    env, environ = windows(tmp_path, "2.5.1", *RUNTIME[:2])
    found = env.findings(machine=WINDOWS, environ=environ)["D2L037"]
    assert [item.what for item in found.found] == ["msvcp140.dll"]
    assert commands(found)[0].endswith("https://aka.ms/vs/17/release/vc_redist.x64.exe")


def test_the_library_that_torch_2_4_0_forgot(tmp_path: Path) -> None:
    env, environ = windows(tmp_path, "2.4.0", *RUNTIME)
    found = env.findings(machine=WINDOWS, environ=environ)["D2L037"]
    assert "torch==2.4.1 torchvision==0.19.1" in commands(found)[0]
    env.module("torch/lib/libomp140.x86_64.dll")
    assert "D2L037" not in env.findings(machine=WINDOWS, environ=environ)


def test_windows_that_has_all_and_linux_are_fine(tmp_path: Path) -> None:
    env, environ = windows(tmp_path, "2.5.1", *RUNTIME)
    assert "D2L037" not in env.findings(machine=WINDOWS, environ=environ)
    assert "D2L037" not in env.findings(environ={"SYSTEMROOT": str(tmp_path)})


def notebook(folder: Path, *names: str, kernel: str = "") -> Notebook:
    return Notebook(folder / "x.ipynb", frozenset(names), kernel)


def test_notebooks_of_d2l_without_d2l(tmp_path: Path) -> None:
    env = Environment(tmp_path / "env")
    env.torch()
    env.dist("pip", "24.0")
    found = env.findings(notebooks=(notebook(tmp_path, "Trainer"),))["D2L047"]
    assert found.severity == "error"
    assert commands(found)[0].endswith(f"-m pip install d2l=={releases.newest('en')}")
    zh = env.findings(notebooks=(notebook(tmp_path, "train_ch3"),))["D2L047"]
    # The Chinese edition's pandas has no wheel for Python 3.10.
    assert commands(zh) == [f"uv venv --python 3.9 {env.path}-3.9"]


def test_where_d2l_is_installed_instead_is_said(tmp_path: Path) -> None:
    env = Environment(tmp_path / "env", python="3.12")
    env.dist("ipykernel", "6.29.0")
    other = env.path.parent / "home" / ".local" / "lib" / "python3.9" / "site-packages" / "d2l"
    other.mkdir(parents=True)
    found = env.findings(notebooks=(notebook(tmp_path, "Trainer"),))["D2L047"]
    assert str(other) in [item.file for item in found.found]
    # d2l's pins have no wheels for this Python: installing it here would fail.
    assert commands(found) == [f"uv venv --python 3.10 {env.path}-3.10"]


def test_who_does_not_need_d2l_is_not_told_so(env: Environment, tmp_path: Path) -> None:
    asked = (notebook(tmp_path, "Trainer"),)
    assert "D2L047" not in env.findings(notebooks=asked)
    empty = Environment(tmp_path / "empty")
    assert "D2L047" not in empty.findings(notebooks=asked)
    empty.dist("ipykernel", "6.29.0")
    assert "D2L047" not in empty.findings()
    assert "D2L047" in empty.findings(notebooks=asked)
    empty.dist("d2lenv", "0.2")
    assert "D2L047" not in empty.findings(notebooks=asked)


def test_a_kernel_of_a_removed_environment_is_found_in_the_home_folder(env: Environment) -> None:
    env.dist("jupyter-core", "5.7.2")
    spec = env.path.parent / "home" / ".local/share/jupyter/kernels/old/kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(json.dumps({"argv": ["/gone/bin/python", "-m", "ipykernel"], "language": "python"}))
    found = env.findings()["D2L058"]
    assert (found.severity, commands(found)) == ("warning", [f"rm -r -- {spec.parent}"])
    asked = env.findings(notebooks=(notebook(env.path, kernel="old"),))
    assert asked["D2L058"].severity == "error"
    spec.write_text(json.dumps({"argv": [str(env.path / "bin/python")], "language": "python"}))
    assert "D2L058" not in env.findings()
    spoil(spec)
    assert "D2L058" not in env.findings()


def test_a_notebook_says_which_kernel_it_asks_for(folder: Path) -> None:
    cell = {"cell_type": "code", "source": "d2l.Trainer()"}
    data = {"cells": [cell], "metadata": {"kernelspec": {"name": "old"}}}
    (folder / "a.ipynb").write_text(json.dumps(data))
    (folder / "b.ipynb").write_text(json.dumps({**data, "metadata": {"kernelspec": 7}}))
    assert [item.kernel for item in gather.notebooks(folder)] == ["old", ""]


def test_https_to_a_proxy_on_this_computer_is_found(env: Environment) -> None:
    machine = dataclasses.replace(LINUX, proxies={"https_proxy": "https://127.0.0.1:7890"})
    found = env.findings(machine=machine)["D2L075"]
    assert commands(found) == ["export https_proxy=http://127.0.0.1:7890"]
    machine = dataclasses.replace(LINUX, proxies={"https_proxy": "https://proxy.example.org:8443"})
    assert "D2L075" not in env.findings(machine=machine)


def test_pythonhome_is_right_for_one_python_at_most(env: Environment) -> None:
    assert commands(env.findings(environ={"PYTHONHOME": "/usr"})["D2L049"]) == ["unset PYTHONHOME"]
    assert "D2L049" not in env.findings(environ={"PYTHONHOME": ""})


def test_a_module_on_pythonpath_hides_the_installed_one(env: Environment, folder: Path) -> None:
    (folder / "torch.py").write_text("")
    (folder / "mine.py").write_text("")
    found = env.findings(environ={"PYTHONPATH": str(folder)})["D2L014"]
    assert found.severity == "error"
    assert [item.what for item in found.found] == ["torch.py"]
    (folder / "torch.py").unlink()
    assert "D2L014" not in env.findings(environ={"PYTHONPATH": f"{folder}:{folder / 'none'}"})
