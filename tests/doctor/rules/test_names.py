"""What conda and pip call it, and what is installed by halves."""

from __future__ import annotations

from pathlib import Path

import pytest

from d2lenv.doctor.rules import names
from d2lenv.prefix.contents.prefix import read_prefix
from doctor.environments import Environment, commands, spoil


@pytest.fixture
def env(tmp_path: Path) -> Environment:
    return Environment(tmp_path / "env")


def test_a_clean_environment_has_no_finding_but_information(tmp_path: Path) -> None:
    found = Environment(tmp_path / "env").book().findings()
    assert {f.severity for f in found.values()} <= {"info", "not-checked"}
    assert {code for code, f in found.items() if f.severity == "not-checked"} == {"D2L060"}  # no GPU here


def test_condas_pytorch_is_said_to_be_torch(tmp_path: Path) -> None:
    env = Environment(tmp_path / "env", kind="conda")
    env.conda("pytorch", "2.0.1", "py3.10_cpu_0", channel="pytorch", dist="torch")
    found = env.findings()["D2L001"]
    assert [item.what for item in found.found] == ["pytorch (pytorch)", "torch (conda)"]
    assert "`pip list` shows `torch`" in found.why


def test_a_wheel_has_one_name_only(env: Environment) -> None:
    env.torch()
    assert "D2L001" not in env.findings()


def test_a_record_that_cannot_be_read_hides_condas_name_and_is_reported(tmp_path: Path) -> None:
    env = Environment(tmp_path / "env", kind="conda")
    spoil(env.conda("pytorch", "2.0.1", "py3.10_cpu_0"))
    assert "pytorch-2.0.1-py3.10_cpu_0.json" in [item.what for item in env.findings()["D2L099"].found]


def test_the_table_puts_both_names_side_by_side(tmp_path: Path) -> None:
    env = Environment(tmp_path / "env", kind="conda")
    env.conda("pytorch", "2.0.1", "py3.10_cpu_0", dist="torch")
    (row,) = names.table(env.context())
    assert (row.imported, row.conda, row.pip) == (
        "torch",
        "pytorch 2.0.1 py3.10_cpu_0",
        "torch 2.0.1 (conda)",
    )


def test_d2l_without_torch_is_an_error_with_the_books_version(env: Environment) -> None:
    env.dist("d2l", "0.17.6")
    found = env.findings()["D2L002"]
    assert found.severity == "error"
    assert "torch==1.12.0 torchvision==0.13.0" in commands(found)[0]


@pytest.mark.parametrize(
    "installed",
    [(), ("tensorflow",), ("jupyterlab", "ipykernel"), ("d2lenv", "click"), ("d2l", "tensorflow")],
)
def test_torch_is_not_offered_where_nothing_needs_it(env: Environment, installed: tuple[str, ...]) -> None:
    for name in installed:
        env.dist(name, "1.0.3")
    assert "D2L002" not in env.findings()


@pytest.mark.parametrize(
    ("python", "command"),
    [
        ("3.10", "torch==2.0.1 torchvision==0.15.2"),
        ("3.12", "torch==2.13.0 torchvision==0.28.0"),
        ("3.99", "uv venv --python 3.10"),
    ],
)
def test_the_torch_that_is_offered_exists_for_the_python(tmp_path: Path, python: str, command: str) -> None:
    env = Environment(tmp_path / "env", python=python)
    env.dist("torchvision", "0.15.2")
    assert command in commands(env.findings()["D2L002"])[0]


def test_torch_with_unreadable_metadata_still_counts_as_installed(env: Environment) -> None:
    spoil(env.torch() / "METADATA")
    found = env.findings()
    assert "D2L002" not in found
    assert "METADATA" in [item.what for item in found["D2L099"].found]


def test_the_placeholder_named_pytorch_is_an_error(env: Environment) -> None:
    env.dist("pytorch", "1.0.2")
    assert "uninstall" in commands(env.findings()["D2L003"])[0]


def test_condas_own_pytorch_is_no_placeholder(tmp_path: Path) -> None:
    env = Environment(tmp_path / "env", kind="conda")
    env.conda("pytorch", "2.0.1", "py3.10_cpu_0", dist="torch")
    assert "D2L003" not in env.findings()


def test_a_folder_that_is_gone_is_found_and_reinstalled(env: Environment) -> None:
    env.torch()
    for path in (env.site / "torch").iterdir():
        path.unlink()
    (env.site / "torch").rmdir()
    assert commands(env.findings()["D2L004"])[0].endswith("--force-reinstall --no-deps torch==2.0.1")


def test_a_folder_that_nobody_owns_is_found(env: Environment) -> None:
    env.module("torchvision/__init__.py")
    assert env.findings()["D2L004"].subject == "torchvision"


def test_a_complete_package_is_not_half_removed(env: Environment) -> None:
    env.torch()
    assert "D2L004" not in env.findings()


def test_leftovers_of_pip_are_listed_with_the_command_that_removes_them(env: Environment) -> None:
    env.module("~orch/version.py")
    found = env.findings()["D2L005"]
    assert "~orch" in commands(found)[0]
    assert not found.safe


def test_no_leftovers_no_finding(env: Environment) -> None:
    assert "D2L005" not in env.findings()


def test_a_python_that_is_gone_is_an_error(env: Environment) -> None:
    python = env.path / "bin" / "python"
    python.unlink()
    python.symlink_to("/nowhere/bin/python3.10")
    assert env.findings()["D2L006"].severity == "error"


def test_a_conda_environment_of_pixi_is_made_anew_with_pixi(tmp_path: Path) -> None:
    env = Environment(tmp_path / ".pixi" / "envs" / "cuda", kind="conda")
    (env.path / "bin" / "python").unlink()
    (tmp_path / "pixi.toml").write_text("")
    assert commands(env.findings()["D2L006"]) == [
        f"pixi reinstall --manifest-path {tmp_path / 'pixi.toml'} --environment cuda"
    ]


def test_a_folder_that_is_no_environment_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    context = Environment(tmp_path / "other").context()
    nothing = type(context)(read_prefix(tmp_path / "notes"), context.machine, context.gpu)
    assert [problem.severity for problem in names.not_an_environment(nothing)] == ["error"]
    assert not list(names.not_an_environment(context))


def test_nothing_unreadable_nothing_reported(env: Environment) -> None:
    assert "D2L099" not in env.findings()
