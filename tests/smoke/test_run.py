"""Notebooks are run in the prefix's own kernel; whatever one of them does, the others go on."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from d2lenv.base.errors import D2lEnvError
from d2lenv.smoke import interpreter, results
from d2lenv.smoke import run as smoke
from d2lenv.smoke.execution.fork import POSSIBLE
from d2lenv.smoke.execution.limits import Limits
from smokekit import CHECKS, RESULT, TIMEOUT_S, WAIT, chosen, gone, notebook, scratch, shows, written

KILL = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
CHILD = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open("child.pid", "w").write(str(child.pid))
"""
ISOLATED = """
import os, site, sys
import IPython
print("prefix:", sys.prefix)
assert not site.ENABLE_USER_SITE
assert "PYTHONPATH" not in os.environ and "leaked" not in str(sys.path)
assert IPython.paths.get_ipython_dir() == os.environ["IPYTHONDIR"] != os.path.expanduser("~/.ipython")
assert os.path.dirname(sys.executable) == os.environ["PATH"].split(os.pathsep)[0]
assert os.environ["HOME" if os.name == "posix" else "USERPROFILE"] == os.path.expanduser("~")
"""


# A fork where this system forks, and a kernel everywhere.
WAYS = [pytest.param(False, id="forks"), pytest.param(True, id="kernels")]


@pytest.fixture(scope="module", params=WAYS)
def everything(
    light_prefix: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> tuple[results.SmokeRun, dict[str, results.NotebookResult], Path, list[results.Event]]:
    """The run, its results by name, the notebooks' folder, and the events."""
    base = tmp_path_factory.mktemp("run") / "笔记本 with spaces"
    folder = written(
        base / "notebooks",
        good=notebook("1 + 1", "import sys; print('warned', file=sys.stderr)", result=shows(RESULT)),
        plain=notebook("print('no result cell')"),
        killed=notebook("1", CHILD + KILL, "2"),
        exits=notebook("import os; os._exit(3)"),
        syntax=notebook("1", "def f(:"),
        endless=notebook("while True: pass"),
        chatty=notebook("for _ in range(40): print('x' * 2**19)", "'not ' + 'shown'", result=shows(RESULT)),
        broken="{",
        wrong='{"cells": 1, "nbformat": 4, "nbformat_minor": 5, "metadata": {}}',
        isolated=notebook(ISOLATED),
        other=notebook("1", kernelspec={"name": "ir", "display_name": "R", "language": "R"}),
        needs=notebook("1", d2lenv={"requires": ["d2l>=1.0"]}),
        false=notebook("import checks; checks.begin('false'); checks.check('x', False, 'why')",
                       result="checks.result()"),
        raises=notebook("import checks; checks.begin('raises'); checks.check('x', True)", "1/0",
                        result="checks.result()"),
        silent=notebook("1", result="pass"),
        malformed=notebook("1", result=shows({"checks": "?"})),
    )  # fmt: skip
    shutil.copy(CHECKS, folder)
    events: list[results.Event] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", "/leaked")
        run = smoke.run(
            interpreter.interpreter_of(light_prefix),
            chosen(folder),
            scratch(base / "scratch"),
            limits=Limits(cell_s=TIMEOUT_S),
            kernels=request.param,
            jobs=3,
            on_event=events.append,
        )
    return run, {result.name: result for result in run.notebooks}, folder, events


Everything = tuple[results.SmokeRun, dict[str, results.NotebookResult], Path, list[results.Event]]


def test_a_notebook_that_runs_passes_with_what_it_says_of_itself(everything: Everything) -> None:
    good = everything[1]["good"]
    assert (good.status, good.cause, good.device) == ("passed", "", "cpu")
    assert good.checks == (results.Check("adds", "passed"),)
    assert good.fingerprints == (results.SeededNumber("sum", (4.5,), 1e-6),)
    assert good.measurements == (results.Measurement("time", 2.0, "ms"),)
    assert good.seconds > 0


def test_the_executed_notebook_keeps_its_outputs(everything: Everything) -> None:
    good = everything[1]["good"]
    assert good.executed is not None
    cells = nbformat.reads(good.executed.read_text(encoding="utf-8"), as_version=4).cells
    assert cells[0].outputs[0].data["text/plain"] == "2"
    assert cells[1].outputs[0].text == "warned\n"
    source = nbformat.reads((everything[2] / "good.ipynb").read_text(encoding="utf-8"), as_version=4)
    assert source.cells[0].outputs == []


def test_a_notebook_without_a_result_cell_passes_when_its_cells_run(everything: Everything) -> None:
    assert everything[1]["plain"].status == "passed"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_kernel_killed_in_the_middle_fails_its_notebook_with_the_signal(everything: Everything) -> None:
    killed = everything[1]["killed"]
    assert (killed.status, killed.cause) == ("failed", "dead-kernel")
    assert "SIGKILL" in killed.reason
    assert killed.place.startswith("cell 2: ")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no process groups")
def test_children_of_a_killed_kernel_are_ended(everything: Everything) -> None:
    assert gone(int((everything[2] / "child.pid").read_text(encoding="ascii")))


def test_a_kernel_that_exits_fails_with_its_exit_status(everything: Everything) -> None:
    exits = everything[1]["exits"]
    assert (exits.status, exits.cause) == ("failed", "dead-kernel")
    assert exits.reason == "the kernel ended with exit status 3"


def test_a_syntax_error_fails_with_the_cell_and_a_traceback_without_colour(everything: Everything) -> None:
    syntax = everything[1]["syntax"]
    assert (syntax.status, syntax.cause) == ("failed", "error")
    assert syntax.reason.startswith("SyntaxError: ")
    assert syntax.place == "cell 2: def f(:"
    assert "def f(:" in syntax.traceback
    assert "\x1b" not in syntax.traceback


def test_an_endless_cell_fails_at_the_time_limit(everything: Everything) -> None:
    endless = everything[1]["endless"]
    assert (endless.status, endless.cause) == ("failed", "time-limit")
    assert endless.reason == f"a cell ran longer than {TIMEOUT_S} s"
    assert endless.place == "cell 1: while True: pass"


def test_output_without_end_is_cut_but_the_result_is_kept(everything: Everything) -> None:
    chatty = everything[1]["chatty"]
    assert (chatty.status, chatty.checks) == ("passed", (results.Check("adds", "passed"),))
    assert chatty.executed is not None
    text = chatty.executed.read_text(encoding="utf-8")
    assert 16 * 10**6 <= len(text) < 17 * 10**6
    assert "prints more than 16 MB, the rest is left out" in text
    assert "not shown" not in text


@pytest.mark.parametrize("name", ["broken", "wrong"])
def test_a_file_that_is_not_a_notebook_fails(everything: Everything, name: str) -> None:
    result = everything[1][name]
    assert (result.status, result.cause, result.executed) == ("failed", "not-a-notebook", None)
    assert result.reason.startswith("the file is not a notebook: ")


def test_the_kernel_is_the_prefix_s_own_and_sees_nothing_else(
    everything: Everything, light_prefix: Path
) -> None:
    isolated = everything[1]["isolated"]
    assert isolated.status == "passed", isolated.traceback
    assert isolated.executed is not None
    assert f"prefix: {light_prefix}" in isolated.executed.read_text(encoding="utf-8")


def test_a_notebook_for_another_language_is_not_applicable(everything: Everything) -> None:
    other = everything[1]["other"]
    assert (other.status, other.reason) == ("not-applicable", "needs a kernel for R")


def test_a_notebook_for_packages_that_are_not_here_is_not_applicable(everything: Everything) -> None:
    result = everything[1]["needs"]
    assert (result.status, result.cause, result.seconds) == ("not-applicable", "needs", 0)
    assert result.reason == "needs d2l>=1.0, which is not installed here"


def test_a_failed_check_is_the_reason_not_the_exception_of_the_result_cell(everything: Everything) -> None:
    false = everything[1]["false"]
    assert (false.status, false.cause, false.reason) == ("failed", "check", "x (why)")
    assert false.traceback == ""


def test_checks_made_before_a_cell_raised_are_kept(everything: Everything) -> None:
    raises = everything[1]["raises"]
    assert (raises.status, raises.cause) == ("failed", "error")
    assert raises.reason == "ZeroDivisionError: division by zero"
    assert raises.checks == (results.Check("x", "passed"),)


@pytest.mark.parametrize("name", ["silent", "malformed"])
def test_a_result_cell_without_a_readable_result_fails(everything: Everything, name: str) -> None:
    result = everything[1][name]
    assert (result.status, result.cause) == ("failed", "no-result")


def test_the_run_fails_when_a_notebook_does_and_lists_all_in_order(everything: Everything) -> None:
    run, results, _, _ = everything
    assert run.failed
    assert not run.interrupted
    assert [result.name for result in run.notebooks] == sorted(results)


def test_every_notebook_that_runs_is_announced_and_every_one_is_finished(everything: Everything) -> None:
    _, results, _, events = everything
    finished = [event.name for event in events if event.kind == "finished"]
    assert sorted(finished) == sorted(results)
    started = {event.name for event in events if event.kind == "started"}
    assert started == {name for name, result in results.items() if result.executed}
    assert [(e.cell, e.cells) for e in events if e.kind == "cell" and e.name == "good"] == [
        (1, 3), (2, 3), (3, 3),
    ]  # fmt: skip


def test_the_result_can_be_written_as_json(everything: Everything) -> None:
    data = json.loads(json.dumps(everything[0].as_dict()))
    assert data["python"]["packages"]["ipykernel"]
    assert {entry["name"]: entry["cause"] for entry in data["notebooks"]}["endless"] == "time-limit"


@pytest.mark.parametrize("kernels", WAYS)
def test_without_ipython_the_notebook_fails_and_says_so(tmp_path: Path, kernels: bool) -> None:
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True, timeout=120)
    folder = written(tmp_path / "notebooks", one=notebook("1"))
    python = interpreter.interpreter_of(bare)
    own = scratch(tmp_path / "scratch")
    (result,) = smoke.run(python, chosen(folder), own, kernels=kernels).notebooks
    assert (result.status, result.cause) == ("failed", "no-kernel")
    missing = (
        "No module named 'IPython'" if POSSIBLE and not kernels else "No module named ipykernel_launcher"
    )
    assert missing in result.reason


def test_no_kernel_stays_behind_when_the_report_cannot_be_written(light_prefix: Path, tmp_path: Path) -> None:
    folder = written(
        tmp_path / "notebooks",
        quick=notebook("import os, time\nwhile not os.path.exists('pid'): time.sleep(0.1)"),
        slow=notebook(WAIT),
    )
    own = scratch(tmp_path / "scratch")
    (own / "executed").write_text("a file, not a folder", encoding="utf-8")
    with pytest.raises(D2lEnvError, match="cannot be written"):
        smoke.run(interpreter.interpreter_of(light_prefix), chosen(folder), own, jobs=2)
    assert gone(int((folder / "pid").read_text(encoding="ascii")))


def test_a_run_in_another_thread_leaves_the_signals_alone(light_prefix: Path, tmp_path: Path) -> None:
    folder = written(tmp_path / "nb", one=notebook("1"))
    before = signal.getsignal(signal.SIGINT)

    async def elsewhere() -> results.SmokeRun:
        python = interpreter.interpreter_of(light_prefix)
        return await asyncio.to_thread(smoke.run, python, chosen(folder), scratch(tmp_path / "scratch"))

    run = asyncio.run(elsewhere())
    assert run.notebooks[0].status == "passed"
    assert signal.getsignal(signal.SIGINT) is before


# What the kernel has imported when its first cell runs: names of the folder must not be among them.
LOADED = "import json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"


@pytest.mark.parametrize("kernels", WAYS)
def test_a_notebook_starts_whatever_modules_lie_beside_it(
    light_prefix: Path, tmp_path: Path, kernels: bool
) -> None:
    """Readers name their files random.py; a canary for every module that a kernel really imports."""
    python = interpreter.interpreter_of(light_prefix)
    folder = written(tmp_path / "nb", one=notebook(LOADED))
    (first,) = smoke.run(python, chosen(folder), scratch(tmp_path / "first"), kernels=kernels).notebooks
    assert first.executed is not None
    cells = nbformat.reads(first.executed.read_text("utf-8"), as_version=4).cells
    names = set(json.loads(cells[0].outputs[0].text)) - {"__main__", "__mp_main__"}
    names.add("ipykernel_launcher")  # runs as __main__
    assert {"random", "json", "IPython", "runpy"} <= names
    for name in names:
        (folder / f"{name}.py").write_text("raise SystemExit('imported from the folder')\n", encoding="utf-8")
    (second,) = smoke.run(python, chosen(folder), scratch(tmp_path / "second"), kernels=kernels).notebooks
    assert (second.status, second.reason, second.kernel_log) == ("passed", "", first.kernel_log)


def test_a_notebook_can_import_what_lies_beside_it(light_prefix: Path, tmp_path: Path) -> None:
    folder = written(tmp_path / "nb", one=notebook("import beside; assert beside.here"))
    (folder / "beside.py").write_text("here = True\n", encoding="utf-8")
    python = interpreter.interpreter_of(light_prefix)
    (result,) = smoke.run(python, chosen(folder), scratch(tmp_path / "scratch")).notebooks
    assert result.status == "passed", result.reason
