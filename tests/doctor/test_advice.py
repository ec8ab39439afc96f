"""No command is offered that is impossible or leaves the environment worse."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from d2lenv import doctor
from d2lenv.doctor import advice, fixes, forecast
from d2lenv.doctor.probe.hardware import Device, Gpu
from d2lenv.facts.pytorch import releases as matrix
from doctor.environments import LINUX, Environment, commands

NOTHING = "no command is offered: what is known would fail here, or break something else"
SNAPSHOT = Path(__file__).parents[3] / "shared" / "channels" / "pytorch"

CARDS = {
    "GTX 1080 Ti": (6, 1),
    "RTX 3060": (8, 6),
    "RTX 4090": (8, 9),
    "H100": (9, 0),
    "B200": (10, 0),
    "RTX 5090": (12, 0),
}


def gpu(name: str) -> Gpu:
    return Gpu("ok", driver="595.10", devices=(Device(0, name, CARDS[name], 24 << 30),), via="NVML")


@pytest.fixture
def env(tmp_path: Path) -> Environment:
    return Environment(tmp_path / "env")


def test_numpy_2_is_not_put_under_an_old_torch(env: Environment) -> None:
    """scipy's own range would let pip take numpy 2.2."""
    env.torch("1.12.0", local="", cuda="10.2")
    env.dist("numpy", "1.21.5")
    env.dist("scipy", "1.15.3", requires=["numpy<2.5,>=1.23.5"])
    found = env.findings()["D2L033"]
    assert found.fix[0].installs == ("numpy<2,<2.5,>=1.23.5",)
    env.dist("matplotlib", "3.5.1", requires=["numpy<1.23"])
    assert commands(env.findings()["D2L033"]) == [NOTHING]


def test_a_pin_that_has_no_wheel_for_this_python_is_not_offered(tmp_path: Path) -> None:
    env = Environment(tmp_path / "env", python="3.12")
    env.torch("2.4.0", local="+cu121", cuda="12.1")
    env.dist("d2l", "1.0.3")
    for name, version in (
        ("numpy", "1.26.4"),
        ("pandas", "2.2.2"),
        ("matplotlib", "3.9.0"),
        ("scipy", "1.14.0"),
    ):
        env.dist(name, version)
    pins = [
        f for f in env.context_findings() if f.code == "D2L041" and f.subject in ("numpy", "pandas", "scipy")
    ]
    assert len(pins) == 3
    assert [commands(finding) for finding in pins] == [[NOTHING]] * 3
    assert commands(env.findings()["D2L042"])[0].startswith("uv venv --python 3.")


def test_nothing_is_typed_through_a_python_that_is_gone(env: Environment) -> None:
    env.book()
    (env.site / "numpy-1.23.5.dist-info" / "METADATA").write_text("Name: numpy\nVersion: 2.1.0\n\n")
    env.kernel("python3", ["/gone/bin/python", "-m", "ipykernel_launcher"])
    python = env.path / "bin" / "python"
    python.unlink()
    python.symlink_to("/gone/python3.10")
    for finding in env.context_findings():
        for command in commands(finding):
            assert finding.code == "D2L006" or str(python) not in command, (finding.code, command)


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize("python", ["3.8", "3.10", "3.13", "3.14"])
@pytest.mark.parametrize("torch", ["1.12.0", "2.0.1", "2.6.0", "2.9.0", "2.13.0"])
@pytest.mark.parametrize("platform", ["linux-64", "win-64"])
def test_a_build_that_is_offered_for_a_gpu_exists_and_runs_on_it(
    card: str, python: str, torch: str, platform: str
) -> None:
    served = matrix.serving(CARDS[card], torch, python, platform)
    if served is None:
        fitting = [
            name for name, row in matrix.RELEASES.items() if row.vision and matrix.made_for(name, python)
        ]
        assert not any(matrix.cuda_for(name, CARDS[card], platform) for name in fitting)
        return
    version, cuda = served
    assert matrix.made_for(version, python)
    assert matrix.has_build(version, cuda, platform)
    known = matrix.code_of(version, cuda)
    assert known is not None
    assert matrix.runs_on(CARDS[card], known)
    same = matrix.cuda_for(torch, CARDS[card], platform) if matrix.made_for(torch, python) else ""
    if same:  # the same release is the smallest change
        assert (version, cuda) == (torch, same)


def test_an_old_gpu_gets_the_build_of_the_same_torch(tmp_path: Path) -> None:
    """It was sent to torch 1.12.0 of cu102, which Python 3.13 never had."""
    env = Environment(tmp_path / "env", python="3.13")
    env.torch("2.10.0", local="+cu128", cuda="12.8")
    command = commands(env.findings(gpu=gpu("GTX 1080 Ti"))["D2L063"])[-1]
    assert command.endswith(
        "torch==2.10.0 torchvision==0.25.0 --index-url https://download.pytorch.org/whl/cu126"
    )


def test_conda_is_asked_for_a_toolkit_that_exists(tmp_path: Path) -> None:
    """`pytorch-cuda=10.2` never existed, and an RTX 3060 cannot use CUDA 10.2."""
    env = Environment(tmp_path / "env", kind="conda")
    env.conda("pytorch", "1.12.0", "py3.10_cpu_0", channel="pytorch", dist="torch")
    (command,) = commands(env.findings(gpu=gpu("RTX 3060"))["D2L023"])
    assert "cudatoolkit=11.6" in command
    assert "pytorch-cuda" not in command
    assert command.endswith("-c pytorch -c conda-forge")


@pytest.mark.skipif(
    not SNAPSHOT.is_dir(), reason="not checked: no snapshot of the pytorch channel beside the clone"
)
@pytest.mark.parametrize("platform", ["linux-64", "win-64"])
def test_the_builds_of_the_table_are_those_of_the_channel(platform: str) -> None:
    data = json.loads((SNAPSHOT / platform / "repodata.json").read_text(encoding="utf-8"))
    records = [*data["packages"].values(), *data.get("packages.conda", {}).values()]
    toolkits = {record["version"] for record in records if record["name"] == "pytorch-cuda"}
    for record in records:
        match = re.search(r"cuda(\d+\.\d)_", record["build"])
        if record["name"] == "pytorch" and match and record["version"] in matrix.RELEASES:
            assert matrix.has_build(record["version"], match[1], platform), record["build"]
            toolkit = matrix.conda_toolkit(record["version"], match[1]).partition("=")
            assert toolkit[0] == "cudatoolkit" or toolkit[2] in {*toolkits, "11.6"}


@pytest.mark.parametrize(
    ("specifier", "have", "expected"),
    [
        ("<2", "1.26.4", "1.26.4"),
        ("<2", "2.1.0", "1.9999"),
        ("<2.3,>=1.25", "1.21.5", "2.2.9999"),
        ("<2.0", "", "1.9999"),
        ("==1.23.5", "2.0", "1.23.5"),
        ("==1.*", "2.0", "1.9999"),
        ("~=1.4", "", "1.9999"),
        (">=1.25", "1.21", "9999"),
        ("", "", "9999"),
        ("<=3", "4", "3"),
        ("<1.23,>=1.23.5", "1.21", ""),
    ],
)
def test_the_forecast_is_about_the_newest_that_is_allowed(specifier: str, have: str, expected: str) -> None:
    assert forecast.newest(SpecifierSet(specifier), have) == expected


def test_a_command_on_paper_changes_what_it_names_and_nothing_else(env: Environment) -> None:
    env.torch()
    env.dist("numpy", "2.1.0")
    context = env.context()
    better = advice.after(context, fixes.pip_install(context, "numpy<2", "scipy==1.10.1"))
    assert better.version("numpy") == "1.9999"
    assert better.version("scipy") == "1.10.1"
    assert better.version("torch") == "2.0.1"
    assert advice.after(context, fixes.pip_uninstall(context, "numpy")).version("numpy") == ""
    assert context.version("numpy") == "2.1.0"


SEEDS = {
    "book": lambda env: env.book(),
    "numpy 2": lambda env: (env.book(), _bump(env, "numpy", "1.23.5", "2.1.0")),
    "pandas of today": lambda env: (env.book(), _bump(env, "pandas", "2.0.3", "2.3.0")),
    "torchvision of another torch": lambda env: (env.book(), _bump(env, "torchvision", "0.15.2", "0.16.0")),
    "old torch": lambda env: (env.torch("1.12.0", local="+cu113", cuda="11.3"), env.dist("numpy", "2.2.0")),
    "d2l alone": lambda env: env.dist("d2l", "1.0.3"),
    "chinese edition": lambda env: (env.dist("d2l", "0.17.6"), env.dist("numpy", "1.26.0")),
}


def _bump(env: Environment, name: str, old: str, new: str) -> None:
    (env.site / f"{name}-{old}.dist-info" / "METADATA").write_text(f"Name: {name}\nVersion: {new}\n\n")


@pytest.mark.parametrize("card", [None, *CARDS])
@pytest.mark.parametrize("python", ["3.9", "3.10", "3.12", "3.13"])
@pytest.mark.parametrize("seed", SEEDS)
def test_every_command_that_is_printed_exists_and_worsens_nothing(
    tmp_path: Path, seed: str, python: str, card: str | None
) -> None:
    env = Environment(tmp_path / "env", python=python)
    SEEDS[seed](env)
    context = env.context(**({"gpu": gpu(card)} if card else {}), machine=dataclasses.replace(LINUX))
    before = advice._gravity(doctor._of_versions(context))
    for finding in doctor.examine(context):
        for command in finding.fix:
            assert ":PORT" not in str(command)
            for word in shlex.split(str(command)) if command.argv else ():
                if "==" in word:
                    assert advice.exists(word, command, context.prefix), (finding.code, str(command))
            if command.installs:
                assert advice._gravity(doctor._of_versions(advice.after(context, command))) <= before
                assert all(Requirement(spec) for spec in command.installs)
