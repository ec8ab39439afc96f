"""`d2lenv repro`: two independent builds, compared; alone, at once, and killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

import canarykit
import proofkit
import wheelkit
from d2lenv.base import process
from d2lenv.base.errors import D2lEnvError
from d2lenv.cli import app as cli
from d2lenv.engines import place
from d2lenv.verify import prefix_diff as compare
from d2lenv.verify import repro
from proofkit import SITE, Home


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        yield proofkit.home(tmp_path_factory.mktemp("repro"), patch, stack)


def leftovers(home: Home) -> list[str]:
    return sorted(path.name for path in (home.root / ".d2lenv").iterdir() if "repro-" in path.name)


@pytest.mark.parametrize("engine", ["wheels", "rattler"])
def test_two_builds_are_the_same_the_second_with_a_cold_cache(home: Home, engine: str) -> None:
    lines: list[str] = []
    found = repro.repro(home.workspace, "tiny", engine=engine, say=lines.append)
    assert found.comparison.same, found.comparison.differences
    assert (found.engine, found.cold) == (engine, True)
    assert found.comparison.first != found.comparison.second
    assert "second build downloaded anew" in repro.verdict(found)
    assert leftovers(home) == []


def test_no_process_of_it_imports_from_the_working_folder(home: Home, tmp_path: Path) -> None:
    canarykit.plant(tmp_path, {*sys.stdlib_module_names, "d2lenv", "rattler", "rich", "click"})
    words = ["--workspace", str(home.root), "repro", "tiny", "--engine", "wheels", "--warm", "--json"]
    command = process.python_module(sys.executable, "d2lenv", *words)
    done = process.run(command, timeout_s=300, cwd=tmp_path)
    assert canarykit.heard(tmp_path) == []
    assert json.loads(done.stdout)["ok"], done.stderr


def test_the_second_build_is_cold_unless_warm(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[dict[str, str]] = []
    real = process.run

    def spying(command: list[str], **options: object) -> object:
        if "build" in command:
            commands.append(options["environ"])  # type: ignore[arg-type]
        return real(command, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(process, "run", spying)
    repro.repro(home.workspace, "tiny", engine="wheels", say=lambda _line: None)
    repro.repro(home.workspace, "tiny", engine="wheels", warm=True, say=lambda _line: None)
    caches = [environment["UV_CACHE_DIR"] for environment in commands]
    assert caches[0] == caches[2] == caches[3] == os.environ["UV_CACHE_DIR"]
    assert caches[1] != caches[0]
    assert commands[1]["TZ"] != commands[0].get("TZ")


def test_a_prefix_that_was_tampered_with_differs_from_a_build(home: Home, tmp_path: Path) -> None:
    prefix = home.build("wheels", tmp_path / "prefix")
    good = repro.repro(home.workspace, "tiny", against=prefix, warm=True, say=lambda _line: None)
    assert good.comparison.same
    assert good.engine == "wheels"
    # With a cold cache the file that is linked from the warm one is not the other build's too.
    module = prefix / SITE / "greet.py"
    data = module.read_bytes()
    module.unlink()
    module.write_bytes(data.replace(b"hello", b"hallo"))
    found = repro.repro(home.workspace, "tiny", against=prefix, say=lambda _line: None)
    (difference,) = found.comparison.differences
    assert (difference.path, difference.kind, difference.package) == (f"{SITE}/greet.py", "content", "greet")


def test_against_a_folder_that_no_engine_built_is_refused(home: Home, tmp_path: Path) -> None:
    with pytest.raises(D2lEnvError, match="does not say of which environment"):
        repro.repro(home.workspace, "tiny", against=tmp_path, say=lambda _line: None)


def test_a_build_that_fails_says_why_and_leaves_nothing(home: Home, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UV_FIND_LINKS", str(tmp_path))
        with pytest.raises(D2lEnvError, match="the build of tiny failed") as caught:
            repro.repro(home.workspace, "tiny", engine="wheels", say=lambda _line: None)
    assert "wheels of tiny cannot be installed" in caught.value.why
    assert leftovers(home) == []


def test_a_disk_that_is_too_small_is_said_before_anything_is_built(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 10

    monkeypatch.setattr(repro.shutil, "disk_usage", lambda _folder: Usage)
    with pytest.raises(D2lEnvError, match=r"0\.0 GB free"):
        repro.repro(home.workspace, "tiny", say=lambda _line: None)


def test_kept_builds_stay_and_the_next_run_does_not_remove_them(home: Home) -> None:
    found = repro.repro(home.workspace, "tiny", engine="wheels", warm=True, keep=True, say=lambda _line: None)
    work = found.comparison.first.parents[2]
    repro.repro(home.workspace, "tiny", engine="wheels", warm=True, say=lambda _line: None)
    assert found.comparison.first.is_dir()
    assert leftovers(home) == [work.name]
    place.remove(work)


def command(home: Home, *words: str) -> subprocess.Popen[str]:
    return wheelkit.start(home.root, "repro", "tiny", "--engine", "wheels", "--warm", *words)


def test_two_runs_at_once_do_not_touch_each_other(home: Home) -> None:
    runs = [command(home, "--json") for _ in range(2)]
    answers = [run.communicate(timeout=120) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], answers
    first, second = (json.loads(out) for out, _ in answers)
    assert first["ok"]
    assert second["ok"]
    assert first["first"] != second["first"]
    assert leftovers(home) == []


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_what_a_killed_run_left_is_removed_by_the_next_one(home: Home) -> None:
    run = command(home)
    end = time.monotonic() + 60
    while not any((home.root / ".d2lenv").glob("repro-*/first/.d2lenv")):
        assert time.monotonic() < end
        time.sleep(0.02)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert leftovers(home)
    repro.repro(home.workspace, "tiny", engine="wheels", warm=True, say=lambda _line: None)
    assert leftovers(home) == []


# --- what it says -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def different(home: Home) -> repro.Reproduction:
    differences = tuple(
        compare.PathDifference(f"lib/<b>{number}", "content", "numpy", "1 / 2") for number in range(45)
    )
    comparison = compare.Comparison(Path("/1"), Path("/2"), 99, 10**9, {"prefix": 3}, differences)
    return repro.Reproduction("tiny", "wheels", "linux-64", "", True, (1.0, 2.0, 3.0), comparison)


def test_differences_are_shown_as_a_table_and_counted(
    different: repro.Reproduction, capsys: pytest.CaptureFixture[str]
) -> None:
    repro.show(different)
    text = capsys.readouterr().out
    assert "45 differences in 99 entries, 1.0 GB" in text
    assert "5 more; --json lists them all" in text
    assert "undone: 3 × prefix:" in text


def test_the_page_names_every_rule_and_shows_names_as_text(different: repro.Reproduction) -> None:
    page = repro.page(different)
    assert "lib/&lt;b&gt;0" in page
    assert "<b>" not in page
    assert "<script" not in page
    for rule in compare.RULES:
        assert f"<td>{rule.name}</td>" in page
    assert "first build 1.0 s, second build 2.0 s, comparison 3.0 s" in page
    alone = repro.page(replace(different, against="prefix"))
    assert "one build 2.0 s, comparison 3.0 s" in alone


def test_the_command_writes_the_reports_and_ends_with_0(home: Home) -> None:
    words = ["--workspace", str(home.root), "repro", "tiny", "--engine", "wheels", "--warm"]
    result = CliRunner().invoke(cli.cli, words, standalone_mode=False)
    assert result.return_value == 0, result.output
    folder = home.root / "reports" / "repro-tiny"
    data = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert (data["ok"], data["cold"], data["environment"]) == (True, False, "tiny")
    assert "both from one cache" in (folder / "report.html").read_text(encoding="utf-8")


def test_a_build_that_prints_no_json_is_an_error(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repro.sys, "executable", "true" if sys.platform != "win32" else "hostname")
    with pytest.raises(D2lEnvError, match="the build of tiny failed") as caught:
        repro.repro(home.workspace, "tiny", engine="wheels", say=lambda _line: None)
    assert caught.value.why == "its messages stand above"
