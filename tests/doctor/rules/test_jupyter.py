"""Jupyter: which Python the notebook runs."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from pathlib import Path

import pytest

from d2lenv.doctor.model import Context
from d2lenv.doctor.rules import jupyter
from d2lenv.prefix.contents.prefix import read_prefix
from doctor.environments import LINUX, NO_GPU, Environment, commands, spoil


@pytest.fixture
def env(tmp_path: Path) -> Environment:
    return Environment(tmp_path / "env").book()


def test_a_kernel_whose_python_is_gone_is_an_error_that_ipykernel_mends(env: Environment) -> None:
    env.kernel("python3", ["/gone/bin/python", "-m", "ipykernel_launcher"])
    found = env.findings()["D2L050"]
    assert found.severity == "error"
    assert commands(found) == [
        f"{env.path}/bin/python -m ipykernel install --prefix {env.path} --name python3"
    ]
    assert found.safe


def test_a_kernel_that_names_no_path_runs_jupyters_own_python(env: Environment) -> None:
    assert not {"D2L050", "D2L051"} & set(env.findings())


def test_a_kernel_that_cannot_be_read_is_reported(env: Environment) -> None:
    spoil(env.kernel("python3", ["/gone/bin/python"]))
    found = env.findings()
    assert "D2L050" not in found
    assert "kernel.json" in [item.what for item in found["D2L099"].found]


def test_a_kernel_of_another_environment_is_an_error(env: Environment, tmp_path: Path) -> None:
    other = Environment(tmp_path / "other")
    kernel = env.kernel("python3", [str(other.path / "bin" / "python"), "-m", "ipykernel_launcher"])
    assert env.findings()["D2L051"].severity == "error"
    kernel.write_text('{"argv": "python"}')
    assert {"D2L051", "D2L099"} & set(env.findings()) == {"D2L099"}


def test_the_environments_own_path_in_a_kernel_is_fine(env: Environment) -> None:
    env.kernel("python3", [str(env.path / "bin" / "python3.10"), "-m", "ipykernel_launcher"])
    (env.path / "bin" / "python3.10").write_bytes(b"")
    assert "D2L051" not in env.findings()


def test_a_kernel_of_another_language_is_left_alone(env: Environment, tmp_path: Path) -> None:
    program = tmp_path / "R"
    program.write_text("")
    env.kernel("ir", [str(program), "--slave"], language="R")
    assert "D2L051" not in env.findings()


def user_kernel(env: Environment, program: str) -> Path:
    folder = env.path.parent / "home" / ".local" / "share" / "jupyter" / "kernels" / "python3"
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text(json.dumps({"argv": [program, "-m", "ipykernel_launcher"]}))
    return folder / "kernel.json"


def test_an_old_jupyter_finds_the_kernel_in_the_home_folder_first(env: Environment) -> None:
    env.dist("jupyter-core", "4.12.0")
    file = user_kernel(env, "/opt/anaconda/bin/python")
    found = env.findings()["D2L052"]
    assert commands(found) == [f"rm -r -- {file.parent}"]  # its Python is gone
    spoil(file)
    assert {"D2L052", "D2L099"} & set(env.findings()) == {"D2L099"}


def test_another_environments_kernel_in_the_home_folder_is_left_to_it(
    env: Environment, tmp_path: Path
) -> None:
    env.dist("jupyter-core", "4.12.0")
    other = Environment(tmp_path / "other")
    user_kernel(env, str(other.path / "bin" / "python"))
    assert commands(env.findings()["D2L052"]) == ["export JUPYTER_PREFER_ENV_PATH=1"]
    assert "D2L052" not in env.findings(environ={"JUPYTER_PREFER_ENV_PATH": "1"})


@pytest.mark.parametrize(
    ("core", "kind", "environ", "hidden"),
    [
        ("5.9.1", "venv", {}, False),
        ("5.9.1", "conda", {}, False),
        ("5.9.1", "base", {}, True),
        ("5.9.1", "venv", {"JUPYTER_PREFER_ENV_PATH": "0"}, True),
        ("4.12.0", "venv", {}, True),
        ("4.6.3", "venv", {"JUPYTER_PREFER_ENV_PATH": "1"}, True),
        ("", "venv", {}, False),  # no Jupyter, nothing that looks anywhere
    ],
)
def test_kernels_are_looked_for_in_the_order_of_the_installed_jupyter_core(
    tmp_path: Path, core: str, kind: str, environ: dict[str, str], hidden: bool
) -> None:
    env = Environment(tmp_path / "env", kind="venv" if kind == "venv" else "conda")
    if kind == "base":
        env.conda("conda", "24.1.0")
    if core:
        env.dist("jupyter-core", core)
    env.kernel("python3", ["python", "-m", "ipykernel_launcher"])
    user_kernel(env, "/opt/anaconda/bin/python")
    assert ("D2L052" in env.findings(environ=environ)) is hidden


def test_a_kernel_in_the_home_folder_that_starts_this_python_is_fine(env: Environment) -> None:
    env.dist("jupyter-core", "4.12.0")
    user_kernel(env, str(env.path / "bin" / "python"))
    assert "D2L052" not in env.findings()


def test_a_kernel_that_was_registered_for_another_environment_is_left_alone(
    env: Environment, tmp_path: Path
) -> None:
    """`ipykernel install --prefix JUPYTERS --name other` is how one Jupyter serves several environments."""
    other = Environment(tmp_path / "other")
    env.kernel("other", [str(other.path / "bin" / "python"), "-m", "ipykernel_launcher"])
    assert "D2L051" not in env.findings()
    gone = env.kernel("older", ["/gone/bin/python", "-m", "ipykernel_launcher"])
    assert commands(env.findings()["D2L050"]) == [f"rm -r -- {gone.parent}"]
    assert not env.findings()["D2L050"].safe


def test_a_linked_folder_of_kernels_is_not_rewritten_unasked(env: Environment, tmp_path: Path) -> None:
    other = Environment(tmp_path / "other")
    other.kernel("python3", [str(other.path / "bin" / "python"), "-m", "ipykernel_launcher"])
    kernels = env.path / "share" / "jupyter" / "kernels"
    shutil.rmtree(kernels)
    kernels.symlink_to(other.path / "share" / "jupyter" / "kernels")
    assert not env.findings()["D2L051"].safe


def test_jupyter_without_ipykernel_is_an_error(tmp_path: Path) -> None:
    env = Environment(tmp_path / "env")
    env.dist("jupyterlab", "4.2.0")
    assert env.findings()["D2L053"].severity == "error"
    spoil(env.dist("ipykernel", "6.29.0") / "METADATA")
    assert {"D2L053", "D2L099"} & set(env.findings()) == {"D2L099"}


def test_jupyter_with_ipykernel_is_fine(env: Environment) -> None:
    assert "D2L053" not in env.findings()


def test_torch_without_jupyter_is_information_only(tmp_path: Path) -> None:
    env = Environment(tmp_path / "env")
    env.torch()
    assert env.findings()["D2L054"].severity == "info"


def test_the_jupyter_of_another_environment_is_a_warning(tmp_path: Path) -> None:
    env = Environment(tmp_path / "env")
    env.torch()
    machine = dataclasses.replace(LINUX, jupyter="/opt/anaconda/bin/jupyter")
    assert env.findings(machine=machine, active=True)["D2L054"].severity == "warning"


def test_an_environment_with_jupyter_does_not_lack_it(env: Environment) -> None:
    spoil(env.site / "jupyterlab-4.2.0.dist-info" / "METADATA")
    assert {"D2L054", "D2L099"} & set(env.findings()) == {"D2L099"}


def test_another_jupyter_first_on_the_path_is_found(env: Environment) -> None:
    machine = dataclasses.replace(LINUX, jupyter="/opt/anaconda/bin/jupyter")
    assert commands(env.findings(machine=machine, active=True)["D2L055"])[0].endswith("-m jupyter lab")
    assert "D2L055" not in env.findings(machine=machine)  # not the active environment


def test_the_environments_own_jupyter_is_fine(env: Environment) -> None:
    machine = dataclasses.replace(LINUX, jupyter=str(env.path / "bin" / "jupyter"))
    assert "D2L055" not in env.findings(machine=machine, active=True)


def test_parts_that_do_not_work_together_are_found(tmp_path: Path) -> None:
    env = Environment(tmp_path / "env")
    metadata = env.dist("notebook", "6.4.12") / "METADATA"
    env.dist("jupyter-client", "8.6.0")
    assert env.findings()["D2L056"].title == "notebook 6.4.12 does not work with jupyter-client 8.6.0"
    spoil(metadata)
    assert "D2L099" in env.findings()


def test_parts_that_fit_are_fine(tmp_path: Path) -> None:
    env = Environment(tmp_path / "env")
    env.dist("notebook", "6.5.6")
    env.dist("jupyter-client", "7.4.9")
    assert "D2L056" not in env.findings()


def test_the_exercise_is_answered(env: Environment) -> None:
    found = env.findings()["D2L057"]
    assert [item.what for item in found.found] == [
        "1.1 Python at the prompt",
        "1.2 torch",
        "1.3 torch.cuda.is_available() should be False (CUDA 11.7 build, no NVIDIA GPU seen)",
        "2.1 Python of Jupyter",
        "2.2 torch in Jupyter: the same place",
    ]
    assert found.found[1].version == "2.0.1+cu117"


def test_the_exercise_sees_another_python_in_jupyter(env: Environment) -> None:
    env.kernel("python3", ["/opt/conda/bin/python", "-m", "ipykernel_launcher"])
    assert env.findings()["D2L057"].found[-1].what == "2.2 torch in Jupyter: another place"


def test_without_torch_there_is_no_answer(tmp_path: Path) -> None:
    assert "D2L057" not in Environment(tmp_path / "env").findings()


def test_a_build_that_cannot_be_read_leaves_the_answer_open(env: Environment) -> None:
    spoil(env.site / "torch" / "version.py")
    assert "(the build is unknown)" in env.findings()["D2L057"].found[2].what


def test_the_order_is_what_jupyter_core_itself_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment that runs the tests has a real one."""
    from jupyter_core import paths

    for value in (None, "1", "0"):
        environ = {} if value is None else {"JUPYTER_PREFER_ENV_PATH": value}
        monkeypatch.delenv("JUPYTER_PREFER_ENV_PATH", raising=False)
        for name, text in environ.items():
            monkeypatch.setenv(name, text)
        context = Context(prefix=read_prefix(Path(sys.prefix)), machine=LINUX, gpu=NO_GPU, environ=environ)
        assert jupyter._prefers_environment(context) is paths.prefer_environment_over_user()


@pytest.mark.parametrize("text", ['{"argv": ["python",', "[]", '{"argv": []}'])
def test_a_damaged_kernel_is_an_error_and_made_again(env: Environment, text: str) -> None:
    env.file("share/jupyter/kernels/python3/kernel.json", text)
    found = env.findings()["D2L069"]
    assert found.severity == "error"
    assert commands(found)[0].endswith(f"-m ipykernel install --prefix {env.path} --name python3")
    env.kernel("python3", ["python"])
    env.file("share/jupyter/kernels/mine/kernel.json", text)
    assert env.findings()["D2L069"].severity == "warning"


def test_a_kernel_on_jupyter_path_hides_the_environments(env: Environment, tmp_path: Path) -> None:
    env.dist("jupyter-core", "5.7.2")
    spec = tmp_path / "other" / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text('{"argv": ["/usr/bin/python3"], "language": "python"}')
    found = env.findings(environ={"JUPYTER_PATH": str(tmp_path / "other")})["D2L052"]
    assert commands(found) == ["unset JUPYTER_PATH"]
    assert "D2L052" not in env.findings(environ={"JUPYTER_PATH": str(env.path / "share" / "jupyter")})
