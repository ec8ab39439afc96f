"""One fault is one cause on the screen, with one command for all that it did, in at most 24 lines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from d2lenv import doctor
from d2lenv.doctor import layout
from d2lenv.doctor.causes import PRECEDENCE, Cause, causes, order
from d2lenv.doctor.model import Command, Finding, Severity
from d2lenv.doctor.probe import hardware
from doctor.environments import NO_GPU, Environment
from doctor.rules.test_sources import seed
from doctor.test_command import run

SCREEN = 24


def finding(code: str, subject: str = "", severity: Severity = "error", *fix: Command) -> Finding:
    return Finding(code, severity, f"{code} of {subject}", subject, (), "why", fix)


def pip(*specs: str, safe: bool = True) -> Command:
    return Command(("pip", "install", *specs, "--quiet"), safe=safe, installs=specs, specs=specs)


def grouped(*findings: Finding) -> list[tuple[str, list[str], list[str]]]:
    found = causes(findings, lambda _: True)
    return [(c.head.code, [f.code for f in c.consequences], [str(x) for x in c.fix]) for c in found]


def test_what_the_same_package_did_is_one_cause() -> None:
    assert grouped(
        finding("D2L041", "numpy", "error", pip("numpy==1.23.5")),
        finding("D2L033", "numpy", "warning", pip("numpy<2,>=1.20")),
        finding("D2L027", "numpy", "error", pip("numpy==1.23.5")),
    ) == [("D2L027", ["D2L041", "D2L033"], ["pip install numpy==1.23.5 --quiet"])]


def test_pins_that_one_installation_broke_are_put_back_by_one_command() -> None:
    assert grouped(
        finding("D2L041", "pandas", "error", pip("pandas==2.0.3")),
        finding("D2L041", "matplotlib", "error", pip("matplotlib==3.7.2")),
    ) == [("D2L041", ["D2L041"], ["pip install pandas==2.0.3 matplotlib==3.7.2 --quiet"])]


def test_a_python_that_is_gone_explains_everything_and_only_its_command_counts() -> None:
    new = Command(("uv", "venv", "x"))
    assert grouped(
        finding("D2L050", "kernelspec", "error", Command(("rm", "x"))),
        finding("D2L041", "numpy", "error", pip("numpy==1.23.5")),
        finding("D2L006", "python", "error", new),
    ) == [("D2L006", ["D2L041", "D2L050"], ["uv venv x"])]


def test_two_faults_are_two_causes_and_the_import_comes_before_the_kernel() -> None:
    found = grouped(finding("D2L050", "kernelspec"), finding("D2L043", "d2l"))
    assert [row[0] for row in found] == ["D2L043", "D2L050"]


def test_what_is_no_fault_is_nobodys_consequence() -> None:
    assert grouped(finding("D2L060", "gpu", "not-checked"), finding("D2L040", "d2l", "info")) == []


def test_one_command_that_would_do_harm_is_taken_apart() -> None:
    one, other = finding("D2L041", "a", "error", pip("a==1")), finding("D2L041", "b", "error", pip("b==1"))
    (cause,) = causes([one, other], lambda command: len(command.specs) == 1)
    assert [str(c) for c in cause.fix] == ["pip install a==1 --quiet", "pip install b==1 --quiet"]


@pytest.mark.parametrize(
    ("one", "other", "joined"),
    [
        ("numpy<2", "numpy>=1.20", ["numpy<2,>=1.20"]),
        ("numpy==1.23.5", "numpy<2", ["numpy==1.23.5"]),
        ("numpy<2", "numpy>=2", ["numpy<2", "numpy>=2"]),
        ("numpy<2", "not a requirement", ["numpy<2", "not a requirement"]),
    ],
)
def test_two_requirements_of_one_package_become_one_if_a_version_fulfils_both(
    one: str, other: str, joined: list[str]
) -> None:
    two = [finding("D2L033", "x", "error", pip(one)), finding("D2L033", "y", "error", pip(other))]
    (cause,) = causes(two, lambda _: True)
    words = [word for command in cause.fix for word in command.specs]
    assert [",".join(sorted(w.split(","))) for w in words] == [",".join(sorted(w.split(","))) for w in joined]


def test_commands_of_different_kinds_are_not_joined() -> None:
    conda = Command(("conda", "install", "b"), specs=("b",))
    (cause,) = causes(
        [finding("D2L041", "a", "error", pip("a")), finding("D2L041", "b", "error", conda)], lambda _: True
    )
    assert [str(command) for command in cause.fix] == ["pip install a --quiet", "conda install b"]
    assert not cause.safe
    assert Cause(cause.head, (), (pip("a"),)).safe
    assert not Cause(cause.head, (), ()).safe


def test_the_order_is_the_severitys_then_what_stops_the_most() -> None:
    codes = ["D2L063", "D2L030", "D2L050", "D2L033", "D2L006"]
    assert [f.code for f in sorted(map(finding, codes), key=order)] == [
        "D2L006",
        "D2L033",
        "D2L050",
        "D2L063",
        "D2L030",
    ]


def test_every_code_of_the_order_is_a_finding() -> None:
    known = {code for code, _ in doctor.FINDINGS}
    assert len(set(PRECEDENCE)) == len(PRECEDENCE)
    assert not set(PRECEDENCE) - known


def numpy_2(env: Environment) -> None:
    for name in ("matplotlib", "pandas", "scipy"):
        metadata = env.site / f"{name}-{env.context().version(name)}.dist-info" / "METADATA"
        metadata.write_text(metadata.read_text().replace("\n\n", "\nRequires-Dist: numpy<2\n\n", 1))
    (env.site / "numpy-1.23.5.dist-info" / "METADATA").write_text("Name: numpy\nVersion: 2.1.0\n\n")


def pins(env: Environment) -> None:
    for name in ("matplotlib-3.7.2", "pandas-2.0.3", "scipy-1.10.1", "requests-2.31.0"):
        folder = env.site / f"{name}.dist-info"
        (folder / "METADATA").write_text(f"Name: {name.partition('-')[0]}\nVersion: 99.0\n\n")


def no_python(env: Environment) -> None:
    (env.path / "bin" / "python").unlink()
    env.kernel("d2l-cuda", ["/gone/bin/python", "-m", "ipykernel_launcher"])


def no_kernel(env: Environment) -> None:
    env.kernel("python3", ["/gone/bin/python", "-m", "ipykernel_launcher"])


FAULTS: dict[str, tuple[Callable[[Environment], None], int]] = {
    "numpy 2": (numpy_2, 1),
    "six pins": (pins, 1),
    "no Python": (no_python, 1),
    "no kernel": (no_kernel, 1),
}


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", FAULTS)
def test_one_fault_takes_24_lines_at_most(
    tmp_path: Path,
    name: str,
    language: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hardware, "look", lambda *_: NO_GPU)
    monkeypatch.setenv("D2LENV_LANG", language)
    monkeypatch.chdir(tmp_path)
    damage, wanted = FAULTS[name]
    env = Environment(tmp_path / "env").book()
    damage(env)
    context = env.context()
    assert len(doctor.causes(context, doctor.examine(context))) == wanted
    assert run(str(env.path)) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= SCREEN, "\n".join(lines)


@pytest.mark.parametrize("columns", ["60", "45"])
def test_a_narrow_terminal_is_honoured(
    tmp_path: Path, columns: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "look", lambda *_: NO_GPU)
    monkeypatch.setenv("COLUMNS", columns)
    env = seed(tmp_path / "e")
    run(str(env.path), "--all")
    lines = capsys.readouterr().out.splitlines()[1:]
    assert not [line for line in lines if layout.columns(line) > int(columns) and "install" not in line]


def test_exercise_answers_disk_and_other_frameworks_are_behind_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "look", lambda *_: NO_GPU)
    env = Environment(tmp_path / "env").book()
    env.module("d2l/jax.py", "import jax\n")
    run(str(env.path))
    short = capsys.readouterr().out
    assert not {code for code in ("D2L044", "D2L057", "D2L073") if code in short}
    run(str(env.path), "--all")
    assert {"D2L044", "D2L057"} <= set(capsys.readouterr().out.split())
