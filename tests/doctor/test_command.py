"""``d2lenv doctor`` as a reader types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from d2lenv import doctor
from d2lenv.base.errors import D2lEnvError
from d2lenv.cli import app as cli
from d2lenv.doctor import layout
from d2lenv.doctor.model import Command, Found, Problem, for_windows
from d2lenv.doctor.probe import deep, hardware
from d2lenv.prefix import lookup
from doctor.environments import NO_GPU, Environment
from doctor.rules.test_sources import seed

DOCS = Path(__file__).parents[2] / "docs" / "doctor.md"


@pytest.fixture(autouse=True)
def no_hardware(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(hardware, "look", lambda *_: NO_GPU)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for name in ("PYTHONPATH", "VIRTUAL_ENV", "CONDA_PREFIX", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def run(*words: str) -> int:
    status = cli.cli.main(["doctor", *words], standalone_mode=False)
    assert isinstance(status, int)
    return status


@pytest.fixture
def healthy(tmp_path: Path) -> Path:
    return Environment(tmp_path / "env").book().path


def test_a_healthy_environment_ends_with_0_and_says_which_it_was(
    healthy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(str(healthy)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{healthy} (virtual environment, Python 3.10.1, linux-64)"
    assert lines[-1] == "healthy · errors: 0, warnings: 0, not checked: 1"


def test_an_error_ends_with_1_and_its_command_stands_on_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    env = seed(tmp_path / "env")
    assert run(str(env.path)) == 1
    out = capsys.readouterr().out
    assert "error  D2L010  pytorch from conda, torchvision, torchaudio from pip" in out
    install = next(line for line in out.splitlines() if "conda install" in line)
    assert install.endswith("torchvision=0.15.0 torchaudio=2.0.0 pytorch-cuda=11.7 -c pytorch -c nvidia")


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_everything_but_paths_and_commands_fits_80_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lang: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    env = seed(tmp_path / "e")
    monkeypatch.setenv("D2LENV_LANG", lang)
    run(str(env.path))
    lines = capsys.readouterr().out.splitlines()[1:]
    wide = [line for line in lines if layout.columns(line) > layout.WIDTH]
    assert all("install" in line for line in wide), wide


def test_json_carries_the_codes_the_commands_and_the_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(str(seed(tmp_path / "env").path), "--json") == 1
    data = json.loads(capsys.readouterr().out)
    mixed = next(f for f in data["findings"] if f["code"] == "D2L010")
    assert mixed["severity"] == "error"
    assert mixed["fix"][1]["argv"][1] == "install"
    assert data["names"][0]["conda"] == "pytorch 2.0.0 py3.9_cuda11.7_cudnn8_0"
    assert data["ok"] is False


def test_fix_prints_commands_that_a_shell_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    env = Environment(tmp_path / "with space").book()
    (env.site / "numpy-1.23.5.dist-info" / "METADATA").write_text("Name: numpy\nVersion: 2.1.0\n\n")
    assert run(str(env.path), "--fix") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("# D2L027 numpy 2.1.0 with torch 2.0.1")
    (command,) = [line for line in lines if not line.startswith("#")]
    assert command.endswith(f"'{env.path}/bin/python' numpy==1.23.5")


def test_fix_yes_runs_only_what_is_safe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    env = Environment(tmp_path / "env").book()
    marker = tmp_path / "ran"
    touch = Command((sys.executable, "-c", f"open({str(marker)!r}, 'w')"), safe=True)
    other = Command((sys.executable, "-c", f"open({str(tmp_path / 'not')!r}, 'w')"))

    def check(context: object) -> Any:
        """Why."""
        if not marker.exists():
            yield Problem("error", "one", fix=(touch,))
            yield Problem("error", "two", fix=(other, touch))

    monkeypatch.setattr(doctor, "FINDINGS", (("D2L001", check),))
    assert run(str(env.path), "--fix", "--yes") == 0
    assert marker.exists()
    assert not (tmp_path / "not").exists()
    assert "left to you: " in capsys.readouterr().err


@pytest.mark.parametrize("argv", [("/nowhere/program",), (sys.executable, "-c", "raise SystemExit(3)")])
def test_a_fix_that_fails_ends_with_1(
    healthy: Path, monkeypatch: pytest.MonkeyPatch, argv: tuple[str, ...]
) -> None:
    def check(context: object) -> Any:
        """Why."""
        yield Problem("warning", "one", fix=(Command(argv, safe=True),))

    monkeypatch.setattr(doctor, "FINDINGS", (("D2L001", check),))
    assert run(str(healthy), "--fix", "--yes") == 1


def test_a_fix_that_never_ends_is_stopped(healthy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def check(context: object) -> Any:
        """Why."""
        yield Problem("warning", "one", fix=(Command((sys.executable, "-c", "input()"), safe=True),))

    def late(*args: object, **kwargs: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(doctor, "FINDINGS", (("D2L001", check),))
    monkeypatch.setattr(subprocess, "run", late)
    assert run(str(healthy), "--fix", "--yes") == 1


@pytest.mark.parametrize(
    "words",
    [("--yes",), ("a", "b"), ("/no/such/folder",), ("no-such-environment",), ("--plan", "what is this")],
)
def test_words_that_are_off_are_refused(words: tuple[str, ...]) -> None:
    import click

    with pytest.raises((click.UsageError, D2lEnvError)):
        run(*words)


def test_plan_answers_before_anything_is_installed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--plan", "python=3.12", "d2l==0.17.6", "platform=linux-64") == 1
    assert "uv venv --python 3.9 d2l-zh" in capsys.readouterr().out
    assert run("--plan", "python=3.10", "d2l==1.0.3", "platform=linux-64") == 0
    assert capsys.readouterr().out == "nothing speaks against it\n"
    assert run("--plan", "python=3.12", "d2l==0.17.6", "platform=linux-64", "--json") == 1
    assert json.loads(capsys.readouterr().out)["findings"][0]["code"] == "D2L100"


def test_the_active_environment_is_the_one_of_the_prompt(
    healthy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Environment(tmp_path / "other", kind="conda")
    for env in (healthy, other.path):
        (env / "bin" / "python").chmod(0o755)
    monkeypatch.setenv("CONDA_PREFIX", str(other.path))
    monkeypatch.setenv("VIRTUAL_ENV", str(healthy))
    monkeypatch.setenv("PATH", f"{other.path}/bin{os.pathsep}{healthy}/bin")
    assert lookup.active(os.environ) == other.path
    monkeypatch.setenv("PATH", f"{healthy}/bin")
    assert lookup.active(os.environ) == healthy
    monkeypatch.delenv("VIRTUAL_ENV")
    monkeypatch.delenv("CONDA_PREFIX")
    assert lookup.active(os.environ) == healthy
    assert run() == 0
    assert "active)" in capsys.readouterr().out.splitlines()[0]
    monkeypatch.setenv("PATH", "")
    with pytest.raises(D2lEnvError, match="no environment is active"):
        run()


def test_an_environments_name_means_its_prefix_in_the_workspace(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pixi.toml").write_text('[workspace]\nname = "d2l-env"\n')
    env = Environment(tmp_path / ".d2lenv" / "zh-wheels")
    assert run("zh") in (0, 1)
    assert capsys.readouterr().out.startswith(str(env.path))


def test_hostile_names_never_reach_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    env = Environment(tmp_path / "env").book()
    evil = "\x1b]0;x\x07\u202e\x9b31m\n"
    env.module("~evil\x1b[2J\n\r.py")
    env.kernel("py\x1b[31m", ["/gone\x1b[2J\x07\n/python", "-m", "ipykernel_launcher"])
    (env.site / "numpy-1.23.5.dist-info" / "METADATA").write_text(f"Name: num{evil}py\nVersion: 1\x1b[0m\n")
    os.mkdir(os.fsencode(env.site) + b"/~\xff\xfe-1.dist-info")  # noqa: PTH102 - a name that is no UTF-8
    for words in ((), ("--json",), ("--fix",)):
        run(str(env.path), *words)
        out = capsys.readouterr().out
        assert not [c for c in out if not c.isprintable() and c != "\n"]
        out.encode("utf-8")


def test_commands_for_windows_are_quoted_for_its_shells() -> None:
    argv = ("D:\\my envs\\python.exe", "-m", "pip", "install", "numpy<2", "d2l==1.0.3")
    assert for_windows(argv) == '"D:\\my envs\\python.exe" -m pip install "numpy<2" d2l==1.0.3'


def test_deep_starts_the_environments_python(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    env = Environment(tmp_path / "env").book()
    python = env.path / "bin" / "python"
    python.unlink()
    python.symlink_to(sys.executable)
    status = run(str(env.path), "--deep")
    out = capsys.readouterr().out
    assert status == 1
    assert "ModuleNotFoundError" in out or "No module named" in out


def fake_python(tmp_path: Path, body: str) -> Path:
    program = tmp_path / "python"
    program.write_text(f"#!{sys.executable}\nimport sys, time, json\nname = sys.argv[-1]\n{body}\n")
    program.chmod(0o755)
    return program


def answer(**data: Any) -> str:
    return f"print('D2LENV' + json.dumps({data!r}))"


@pytest.mark.parametrize(
    ("data", "state"),
    [
        ({"available": True, "cuda": "11.7", "result": 64.0**3, "device": "T4"}, "ok"),
        ({"available": True, "cuda": "11.7", "result": 0.0, "device": "T4"}, "failed"),
        ({"available": False, "cuda": "11.7"}, "not-checked"),
        ({"available": False, "cuda": ""}, "not-checked"),
    ],
)
def test_the_gpus_answer_is_judged(tmp_path: Path, data: dict[str, Any], state: str) -> None:
    (probe,) = deep.probe(fake_python(tmp_path, answer(**data)), ("gpu",))
    assert probe.state == state


def test_an_import_that_works_says_version_and_place(tmp_path: Path) -> None:
    (probe,) = deep.probe(fake_python(tmp_path, answer(version="2.0.1", file="/x/torch")), ("torch",))
    assert (probe.state, probe.detail) == ("ok", "2.0.1 /x/torch")


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ("sys.exit('ImportError: libcublas.so.11')", "ImportError: libcublas.so.11"),
        ("sys.exit(7)", "it ended with status 7"),
    ],
)
def test_an_import_that_fails_is_a_failure(tmp_path: Path, body: str, detail: str) -> None:
    (probe,) = deep.probe(fake_python(tmp_path, body), ("torch",))
    assert (probe.state, probe.detail) == ("failed", detail)


def test_an_import_that_does_not_end_in_time_was_not_checked(tmp_path: Path) -> None:
    (probe,) = deep.probe(fake_python(tmp_path, "time.sleep(60)"), ("torch",), timeout_s=0.8)
    assert (probe.state, probe.detail) == ("not-checked", "no answer within 0 s")


def test_a_python_that_cannot_be_started_is_a_failure(tmp_path: Path) -> None:
    (probe,) = deep.probe(tmp_path / "none", ("torch",))
    assert probe.state == "failed"


def test_deep_does_not_start_a_python_of_another_platform(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(str(seed(tmp_path / "env").path), "--deep", "--json")
    assert json.loads(capsys.readouterr().out)["deep"] == []


def test_many_files_are_cut_on_the_terminal_and_complete_in_json(
    healthy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(context: object) -> Any:
        """Why."""
        yield Problem("warning", "many", found=tuple(Found(f"f{n}") for n in range(40)))

    monkeypatch.setattr(doctor, "FINDINGS", (("D2L001", check),))
    assert run(str(healthy)) == 0
    assert "and 37 more" in capsys.readouterr().out
    assert run(str(healthy), "--all") == 0
    assert "and 29 more" in capsys.readouterr().out
    run(str(healthy), "--json")
    assert len(json.loads(capsys.readouterr().out)["findings"][0]["found"]) == 40


def test_codes_are_unique_and_documented() -> None:
    table = (*doctor.FINDINGS, *doctor.PLANNED)
    codes = [code for code, _ in table]
    assert len(set(codes)) == len(codes)
    text = DOCS.read_text(encoding="utf-8")
    for code, check in table:
        name = check.__name__.removeprefix("plan_").replace("_", " ")
        assert f"| {code} | {name} | {doctor.explanation_key(check)} |" in text
    assert text.count("| D2L") == len(codes)


def test_a_prefix_of_wheels_is_examined_without_py_rattler(tmp_path: Path) -> None:
    """It takes as long to load as the doctor needs for everything else it reads."""
    env = Environment(tmp_path / "env")
    env.torch("1.13.1", local="", cuda="11.7")
    env.file("d2lenv.json", json.dumps({"environment": "cuda", "engine": "wheels", "platform": "linux-64"}))
    program = (
        "import sys; from pathlib import Path; from d2lenv.doctor import command; "
        "command.examine(sys.argv[1], Path(sys.argv[2]), command.Asked()); "
        "print('LOADED', 'rattler' in sys.modules, 'd2lenv.workspace.settings' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(env.path), str(DOCS.parents[1])],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "LOADED False True"
