"""JupyterLab is told no secret on its command line, and gets a kernel that no folder takes part in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager

import labkit
from d2lenv.learn import lab, preparation
from d2lenv.learn.lab import Lab
from d2lenv.prefix import locations
from d2lenv.prefix.contents import stack
from doctor.rules.loading.test_libraries import elf


def test_the_command_line_holds_no_secret(prepare: Callable[..., Lab], environ: dict[str, str]) -> None:
    made = prepare(environ=environ | {"JUPYTER_TOKEN": "s3cret"})
    words = lab.command(made)
    assert not any("s3cret" in word for word in words)
    assert "--ServerApp.ip=127.0.0.1" in words
    assert f"--ServerApp.root_dir={made.root}" in words
    assert "--MultiKernelManager.default_kernel_name=d2l-cuda" in words
    assert "--KernelSpecManager.allowed_kernelspecs=d2l-cuda" in words
    assert "--KernelSpecManager.ensure_native_kernel=False" in words


@pytest.mark.parametrize("as_root", [True, False])
def test_root_is_allowed_only_where_it_runs_as_root(
    prepare: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch, as_root: bool
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0 if as_root else 1000, raising=False)
    assert ("--allow-root" in lab.command(prepare())) is as_root


def test_a_pytorch_that_needs_an_executable_stack_gets_it(
    prepare: Callable[..., Lab], environ: dict[str, str], prefix: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking = {name: value for name, value in environ.items() if name != stack.VARIABLE}
    folder = locations.site_packages(prefix)[0] / "torch" / "lib"
    folder.mkdir(parents=True)
    (folder / "libtorch_cpu.so").write_bytes(elf(7))
    monkeypatch.setattr(stack, "glibc", lambda: (2, 40))
    assert stack.VARIABLE not in lab.variables(prepare(), lacking)
    monkeypatch.setattr(stack, "glibc", lambda: (2, 41))
    assert lab.variables(prepare(), lacking)[stack.VARIABLE] == stack.ALLOWED


def test_other_pythons_packages_and_kernels_are_kept_out(
    prepare: Callable[..., Lab], environ: dict[str, str], prefix: Path
) -> None:
    foreign = {
        "D2LENV_TEMPORARY": "/x",
        "PYTHONPATH": "/x",
        "JUPYTER_PATH": "/x",
        "VIRTUAL_ENV": "/x",
        "CONDA_PREFIX": "/x",
    }
    found = lab.variables(prepare(), environ | foreign)
    assert found["PATH"].startswith(str(prefix))
    assert found["VIRTUAL_ENV"] == str(prefix)
    assert found["JUPYTER_PREFER_ENV_PATH"] == "1"
    assert "/x" not in found.values()
    (prefix / "conda-meta").mkdir()
    found = lab.variables(prepare(), environ | foreign)
    assert found["CONDA_PREFIX"] == str(prefix)
    assert "VIRTUAL_ENV" not in found


@pytest.mark.parametrize(
    ("host", "base"),
    [
        ("127.0.0.1", "http://127.0.0.1:"),
        ("0.0.0.0", "http://127.0.0.1:"),
        ("::", "http://[::1]:"),
        ("::1", "http://[::1]:"),
    ],
)
def test_the_address_can_be_opened_on_this_machine(
    prepare: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch, host: str, base: str
) -> None:
    monkeypatch.setattr(preparation, "free_port", lambda host, wanted: 9000)
    monkeypatch.setattr(preparation, "check_host", lambda *_: None)
    assert prepare(host=host).base == f"{base}9000"


@pytest.mark.parametrize(
    ("speaks", "has_menus", "expected"),
    [("zh_CN.UTF-8", True, "zh_CN"), ("zh", False, None), ("en", True, None)],
)
def test_the_menus_are_chinese_for_who_reads_it_where_they_are_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speaks: str, has_menus: bool, expected: str | None
) -> None:
    monkeypatch.setenv("D2LENV_LANG", speaks)
    site = tmp_path / "lib" / "python3.10" / "site-packages"
    (site / ("jupyterlab_language_pack_zh_CN" if has_menus else "jupyterlab")).mkdir(parents=True)
    changed = lab.defaults(tmp_path)
    assert changed.get("@jupyterlab/translation-extension:plugin", {}).get("locale") == expected
    assert "@jupyterlab/apputils-extension:notification" in changed


def test_other_languages_are_listed_if_their_program_exists(prefix: Path) -> None:
    python = prefix / "bin" / "python"
    labkit.kernelspec(
        prefix, "python3", "python"
    )  # ipykernel's own: the same Python, by a name from the PATH
    labkit.kernelspec(prefix, "a-copy", python)
    labkit.kernelspec(prefix, "moved", prefix / "gone" / "python")
    labkit.kernelspec(prefix, "bash", sys.executable, "bash")
    labkit.kernelspec(prefix, "julia", prefix / "no" / "such" / "julia", "julia")
    for name, text in (("broken", "{"), ("list", "[]"), ("empty", '{"argv": []}')):
        file = prefix / "share" / "jupyter" / "kernels" / name / "kernel.json"
        file.parent.mkdir()
        file.write_text(text, encoding="utf-8")
    assert lab.kernels(prefix, "cuda") == ("d2l-cuda", "bash")


def test_the_own_kernel_keeps_its_name_and_what_the_installed_ipykernel_can_do(prefix: Path) -> None:
    able = {"metadata": {"supported_encryption": "curve"}, "kernel_protocol_version": "5.5"}
    labkit.kernelspec(prefix, "python3", "python", env={"PYTHONPATH": "x"}, **able)
    spec = lab.own_kernel(prefix, prefix / "bin" / "python", "cuda")
    assert spec["display_name"] == "d2l-cuda there"
    assert {key: spec[key] for key in able} == able
    assert spec["argv"][0] == str(prefix / "bin" / "python")
    assert "env" not in spec


def test_a_prefix_that_was_moved_has_a_kernel_of_its_own_all_the_same(tmp_path: Path, prefix: Path) -> None:
    moved = prefix.rename(tmp_path / "moved")
    spec = lab.own_kernel(moved, moved / "bin" / "python", "zh")
    assert (spec["argv"][0], spec["display_name"]) == (str(moved / "bin" / "python"), "d2l (zh)")


class Kernel:
    """A real kernel of ``light_prefix`` in ``folder``, found as Jupyter finds it."""

    def __init__(self, specs: Path, folder: Path) -> None:
        self.manager = KernelManager(
            kernel_name="d2l-light",
            kernel_spec_manager=KernelSpecManager(kernel_dirs=[str(specs / "kernels")]),
        )
        self.manager.start_kernel(cwd=str(folder))
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def run(self, code: str) -> str:
        said: list[str] = []
        self.client.execute_interactive(
            code, timeout=60, output_hook=lambda message: said.append(message["content"].get("text", ""))
        )
        return "".join(said)

    def end(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture
def python(light_prefix: Path) -> Path:
    return next(
        path for name in ("bin/python", "Scripts/python.exe") if (path := light_prefix / name).exists()
    )


@pytest.fixture
def start(light_prefix: Path, python: Path, tmp_path: Path) -> Iterator[Callable[[Path], Kernel]]:
    started: list[Kernel] = []
    file = tmp_path / "jupyter" / "kernels" / "d2l-light" / "kernel.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(lab.own_kernel(light_prefix, python, "light")), encoding="utf-8")

    def call(folder: Path) -> Kernel:
        folder.mkdir(exist_ok=True)
        started.append(Kernel(tmp_path / "jupyter", folder))
        return started[-1]

    yield call
    for kernel in started:
        kernel.end()


LISTING = "import json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"


def test_a_kernel_starts_without_importing_from_the_notebooks_folder_and_a_cell_may(
    start: Callable[[Path], Kernel], tmp_path: Path
) -> None:
    names = json.loads(start(tmp_path / "empty").run(LISTING))
    assert {"runpy", "pathlib", "ipykernel", "IPython", "zmq"} <= {*names}
    folder, hits = tmp_path / "notebooks", tmp_path / "hits"
    folder.mkdir()
    names += [
        "ipykernel_launcher",
        "ipython_config",
        "ipython_kernel_config",
        "sitecustomize",
        "usercustomize",
    ]
    labkit.plant(folder, names, hits)
    (folder / "mine_alone.py").write_text("answer = 42\n", encoding="utf-8")
    kernel = start(folder)
    assert [*hits.iterdir()] == []
    assert kernel.run("import mine_alone; print(mine_alone.answer)") == "42\n"
    assert [*hits.iterdir()] == []


def test_dash_m_would_import_from_there_so_the_canaries_are_real(python: Path, tmp_path: Path) -> None:
    labkit.plant(tmp_path, ["ipykernel_launcher"], tmp_path / "hits")
    subprocess.run([python, "-m", "ipykernel_launcher"], cwd=tmp_path, timeout=60, check=True)
    assert [path.name for path in (tmp_path / "hits").iterdir()] == ["ipykernel_launcher"]
