"""The command: what it prints, its exit status, and who decides between causes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from d2lenv.base.errors import D2lEnvError
from d2lenv.cli.app import cli
from d2lenv.doctor.model import Command, Finding
from d2lenv.explain import decide, match, rows

NO_CUDA = "AssertionError: Torch not compiled with CUDA enabled"
NO_D2L = "ModuleNotFoundError: No module named 'd2l'"


def run(*words: str, piped: str | None = None) -> Result:
    return CliRunner().invoke(cli, ["explain", *words], input=piped, standalone_mode=False)


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    monkeypatch.delenv("CONDA_PREFIX", raising=False)
    monkeypatch.setenv("D2LENV_LANG", "en")
    monkeypatch.chdir(tmp_path)


def finding(code: str) -> Finding:
    fix = Command(argv=("python", "-m", "pip", "install", f"mended-{code}"))
    return Finding(code, "error", f"title of {code}", "torch", (), "why", (fix,))


@pytest.fixture
def doctor(monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    findings: list[Finding] = []
    monkeypatch.setattr(decide.command, "examined", lambda name, root: (Path("/prefix"), tuple(findings)))
    return findings


def test_a_known_error_has_its_cause_and_a_command() -> None:
    done = run(NO_D2L)
    assert done.return_value == 0
    assert done.output.startswith("No module named 'd2l'\n  cause  d2l is not installed")
    assert "python -m pip install d2l==1.0.3" in done.output
    assert len(done.output.splitlines()) <= 24


def test_an_unknown_error_says_so_and_what_to_attach() -> None:
    done = run("SomethingError: nobody", "has seen this")
    assert done.return_value == 1
    assert done.output.startswith("Not known: none of ")
    assert "d2lenv doctor" in done.output
    assert "Traceback" in done.output


def test_a_text_may_begin_with_a_dash() -> None:
    assert run("-bash: No module named 'd2l'").return_value == 0


def test_chinese_readers_get_chinese(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("D2LENV_LANG", "zh")
    assert "运行这段代码的 Python 里没有安装 d2l" in run(NO_D2L).output
    assert run("nothing").output.startswith("未知：")


def test_the_words_of_a_text_are_filled_in_and_nothing_in_them_acts() -> None:
    shown = run("module 'd2l.torch' has no attribute 'train_ch3'").output
    assert "`train_ch3` is in d2l 0.17 only" in shown
    shown = run("env.step(\x1b[2J{0.__class__}\x07) too many values to unpack (expected 4)").output
    assert "\x1b" not in shown
    assert "\x07" not in shown


def test_the_doctor_decides_between_causes(doctor: list[Finding]) -> None:
    doctor.append(finding("D2L051"))
    shown = run(NO_D2L, "--prefix", "x").output
    assert "installed, but for another Python" in shown
    assert "d2l is not installed" not in shown
    assert "D2L051 title of D2L051" in shown
    assert "mended-D2L051" in shown


def test_what_the_doctor_proves_comes_first(doctor: list[Finding]) -> None:
    both = f"{NO_CUDA}\n{NO_D2L}"
    assert run(both).output.startswith("No module named")
    doctor.append(finding("D2L023"))
    assert run(both, "--env", "cpu").output.startswith("Torch not compiled")


def test_it_is_said_when_the_doctor_finds_none_of_the_causes(doctor: list[Finding]) -> None:
    doctor.append(finding("D2L073"))
    shown = run(NO_CUDA, "--env", "cpu").output
    assert "The doctor found none of these causes in /prefix." in shown


def test_a_note_of_the_doctor_proves_nothing(doctor: list[Finding]) -> None:
    doctor.append(Finding("D2L023", "info", "t", "", (), "", ()))
    assert "D2L023" not in run(NO_CUDA, "--env", "cpu").output


def test_an_environment_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(D2lEnvError):
        decide.decide(match.find(NO_CUDA, rows.load()), "/nowhere/at/all", None)


def test_json_has_the_answers_with_their_findings(doctor: list[Finding]) -> None:
    doctor.append(finding("D2L023"))
    answer = json.loads(run(NO_CUDA, "--env", "cpu", "--json").output)
    assert answer["ok"] is True
    assert answer["schema"] == 1
    (one,) = answer["answers"]
    assert one["name"] == "not-compiled-with-cuda"
    assert one["causes"][0]["findings"] == [{"code": "D2L023", "title": "title of D2L023"}]
    assert json.loads(run("nothing", "--json").output)["ok"] is False


def test_the_environment_at_hand_is_the_active_one_or_the_only_one(tmp_path: Path) -> None:
    for name in ("a-wheels", "b-pixi"):
        (tmp_path / "one" / ".d2lenv" / "a-wheels").mkdir(parents=True, exist_ok=True)
        (tmp_path / "two" / ".d2lenv" / name).mkdir(parents=True, exist_ok=True)
    assert decide.at_hand({}, None) is None
    assert decide.at_hand({"VIRTUAL_ENV": sys.prefix}, None) is None
    assert decide.at_hand({"CONDA_PREFIX": str(tmp_path)}, tmp_path / "one") == str(tmp_path)
    assert decide.at_hand({"CONDA_PREFIX": str(tmp_path / "gone")}, None) is None
    assert decide.at_hand({}, tmp_path / "one") == str(tmp_path / "one" / ".d2lenv" / "a-wheels")
    assert decide.at_hand({}, tmp_path / "two") is None


def test_a_real_pipe_is_read(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "d2lenv", "explain"],
        input="错误 No module named 'd2l'\xff".encode("latin-1", "replace"),
        capture_output=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0
    assert b"No module named 'd2l'" in done.stdout


def test_both_ways_to_name_an_environment_are_one_too_many() -> None:
    assert isinstance(run(NO_D2L, "--env", "a", "--prefix", "b").exception, click.UsageError)
