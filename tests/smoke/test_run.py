"""Notebooks are run in the prefix's own kernel; whatever one of them does, the others go on."""

from __future__ import annotations

import asyncio
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from click.testing import CliRunner
from nbformat.v4 import new_code_cell, new_notebook

from d2lenv.base import signals
from d2lenv.base.errors import USAGE, D2lEnvError
from d2lenv.cli.app import cli
from d2lenv.engines import build
from d2lenv.smoke import run as smoke
from d2lenv.solve.wheels import Difference

CHECKS = Path(__file__).parents[2] / "notebooks" / "checks.py"
# The kernels are as slow to answer as a busy machine makes them; cells of these notebooks take no time.
TIMEOUT_S = 8

RESULT = {
    "device": "cpu",
    "checks": [{"name": "adds", "status": "passed", "detail": "", "needs": ""}],
    "fingerprints": [{"name": "sum", "value": [4.5], "rel_tol": 1e-6}],
    "measurements": [{"name": "time", "value": 2.0, "unit": "ms"}],
}


def notebook(*sources: str, result: str = "", **metadata: Any) -> Any:
    """A notebook of code cells; ``result`` is the source of the tagged one."""
    cells = [new_code_cell(source) for source in sources]
    if result:
        cells.append(new_code_cell(result, metadata={"tags": [smoke.RESULT_TAG]}))
    return new_notebook(cells=cells, metadata=metadata)


def written(folder: Path, **notebooks: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in notebooks.items():
        text = content if isinstance(content, str) else nbformat.writes(content)
        (folder / f"{name}.ipynb").write_text(text, encoding="utf-8")
    return folder


def shows(data: Any) -> str:
    return f"display({{{smoke.RESULT_MIME!r}: {data!r}, 'text/plain': ''}}, raw=True)"


def gone(pid: int) -> bool:
    """Has the process ended (it may be waiting to be reaped)? Looks for up to ten seconds."""
    for _ in range(100):
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.1)
    return False


# ------------------------------------------------------------------------------- one run with every fault


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


@pytest.fixture(scope="module")
def everything(
    light_prefix: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[smoke.SmokeRun, dict[str, smoke.NotebookResult], Path, list[smoke.Event]]:
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
    events: list[smoke.Event] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", "/leaked")
        run = smoke.run(
            smoke.interpreter_of(light_prefix),
            smoke.find(folder),
            base / "executed",
            cell_timeout_s=TIMEOUT_S,
            jobs=3,
            on_event=events.append,
        )
    return run, {result.name: result for result in run.notebooks}, folder, events


Everything = tuple[smoke.SmokeRun, dict[str, smoke.NotebookResult], Path, list[smoke.Event]]


def test_a_notebook_that_runs_passes_with_what_it_says_of_itself(everything: Everything) -> None:
    good = everything[1]["good"]
    assert (good.status, good.cause, good.device) == ("passed", "", "cpu")
    assert good.checks == (smoke.Check("adds", "passed"),)
    assert good.fingerprints == (smoke.Fingerprint("sum", (4.5,), 1e-6),)
    assert good.measurements == (smoke.Measurement("time", 2.0, "ms"),)
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
    assert (chatty.status, chatty.checks) == ("passed", (smoke.Check("adds", "passed"),))
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
    assert raises.checks == (smoke.Check("x", "passed"),)


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


# ------------------------------------------------------------------------------------- other whole runs


WAIT = """
import os, time
with open("pid.part", "w") as file:
    file.write(str(os.getpid()))
os.rename("pid.part", "pid")
time.sleep(600)
"""


def test_without_ipykernel_the_notebook_fails_and_says_so(tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True, timeout=120)
    folder = written(tmp_path / "notebooks", one=notebook("1"))
    (result,) = smoke.run(smoke.interpreter_of(bare), smoke.find(folder), tmp_path / "executed").notebooks
    assert (result.status, result.cause) == ("failed", "no-kernel")
    assert "No module named ipykernel_launcher" in result.reason
    assert "No module named ipykernel_launcher" in result.kernel_log


def test_no_kernel_stays_behind_when_the_report_cannot_be_written(light_prefix: Path, tmp_path: Path) -> None:
    folder = written(
        tmp_path / "notebooks",
        quick=notebook("import os, time\nwhile not os.path.exists('pid'): time.sleep(0.1)"),
        slow=notebook(WAIT),
    )
    in_the_way = tmp_path / "executed"
    in_the_way.write_text("a file, not a folder", encoding="utf-8")
    with pytest.raises(D2lEnvError, match="cannot be written"):
        smoke.run(smoke.interpreter_of(light_prefix), smoke.find(folder), in_the_way, jobs=2)
    assert gone(int((folder / "pid").read_text(encoding="ascii")))


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "d2lenv", "smoke", *map(str, arguments)]


@pytest.mark.skipif(sys.platform == "win32", reason="a console's Ctrl-C cannot be sent to one process there")
@pytest.mark.parametrize("number", signals.NUMBERS)
def test_ctrl_c_ends_the_kernels_and_reports_what_had_finished(
    light_prefix: Path, tmp_path: Path, number: signal.Signals
) -> None:
    folder = written(tmp_path / "nb", a_quick=notebook("1"), b_long=notebook(WAIT), c_never=notebook("1"))
    report = tmp_path / "report"
    arguments = ("x", "--prefix", light_prefix, "--notebooks", folder, "--report", report, "--jobs", 1)
    process = subprocess.Popen(command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    pid = folder / "pid"
    wait_for(pid, process)
    process.send_signal(number)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 128 + number, complaint
    assert b"Task was destroyed" not in complaint
    assert gone(int(pid.read_text(encoding="ascii")))
    data = json.loads((report / "result.json").read_text(encoding="utf-8"))
    assert [entry["status"] for entry in data["notebooks"]] == ["passed", "stopped", "stopped"]
    assert data["interrupted"] is True
    assert (report / "notebooks" / "a_quick.ipynb").exists()


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if path.exists() or process.poll() is not None:
            return
        time.sleep(0.1)


@pytest.mark.skipif(sys.platform == "win32", reason="terminals are POSIX's")
def test_a_terminal_that_is_closed_ends_the_run_with_its_report(light_prefix: Path, tmp_path: Path) -> None:
    import fcntl
    import pty
    import termios

    folder = written(tmp_path / "nb", a_quick=notebook("1"), b_long=notebook(WAIT))
    report = tmp_path / "report"
    arguments = ("x", "--prefix", light_prefix, "--notebooks", folder, "--report", report, "--jobs", 1)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command(*arguments), stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0) and None,
    )  # fmt: skip
    os.close(theirs)
    while not (folder / "pid").exists() and process.poll() is None:
        if select.select([ours], [], [], 0.1)[0]:  # what the terminal shows: else the process waits for it
            with suppress(OSError):
                os.read(ours, 65536)
    os.close(ours)
    assert process.wait(60) == 128 + signal.SIGHUP
    data = json.loads((report / "result.json").read_text(encoding="utf-8"))
    assert [entry["status"] for entry in data["notebooks"]] == ["passed", "stopped"]
    assert gone(int((folder / "pid").read_text(encoding="ascii")))


def test_the_command_writes_the_report_and_its_exit_status_says_the_outcome(
    light_prefix: Path, tmp_path: Path
) -> None:
    unchecked = {**RESULT, "checks": [
        {"name": "gpu", "status": "not-checked", "detail": "no NVIDIA GPU", "needs": "gpu"}
    ]}  # fmt: skip
    folder = written(tmp_path / "nb", one=notebook("1", result=shows(unchecked)), two=notebook("1/0"))
    arguments = ("x", "--prefix", light_prefix, "--notebooks", folder, "--notebook", "one", "--json")
    passed = subprocess.run(command(*arguments, "--report", tmp_path / "a"), capture_output=True, timeout=120)
    assert passed.returncode == 0, passed.stderr
    data = json.loads(passed.stdout)
    assert (data["environment"], data["ok"]) == ("x", True)
    assert [entry["name"] for entry in data["notebooks"]] == ["one"]
    assert {path.name for path in (tmp_path / "a").iterdir()} == {
        "junit.xml", "notebooks", "report.html", "result.json",
    }  # fmt: skip

    strict = subprocess.run(
        command(*arguments, "--require-gpu", "--report", tmp_path / "b"), capture_output=True, timeout=120
    )
    assert strict.returncode == 1
    (entry,) = json.loads(strict.stdout)["notebooks"]
    assert entry["reason"] == "gpu (a GPU is required: no NVIDIA GPU)"


def test_a_prefix_is_run_outside_a_workspace_too(light_prefix: Path, tmp_path: Path) -> None:
    folder = written(tmp_path / "nb", one=notebook("1"))
    words = ("x", "--prefix", light_prefix, "--notebooks", folder, "--report", tmp_path / "report")
    answer = subprocess.run(command(*words), cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert answer.returncode == 0, answer.stderr


def test_the_command_without_a_prefix_builds_the_environment_first(
    tmp_path: Path, light_prefix: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pixi.toml").write_text(
        '[workspace]\nname = "w"\nchannels = ["c"]\nplatforms = ["linux-64"]\n', encoding="utf-8"
    )
    asked: list[tuple[str, str]] = []
    different = Difference("mpmath", "1.4.1", "mpmath", "1.3.0")

    def pretended(_: object, name: str, *, engine: str, **__: object) -> build.Built:
        asked.append((name, engine))
        return build.Built(name, engine, light_prefix, light_prefix, "d", False, (different,))

    monkeypatch.setattr(build, "build", pretended)
    (tmp_path / "notebooks").mkdir()
    nbformat.write(new_notebook(cells=[new_code_cell("1 + 1")]), tmp_path / "notebooks" / "one.ipynb")
    answer = CliRunner().invoke(
        cli,
        ["--workspace", str(tmp_path), "smoke", "x", "--engine", "wheels", "--report", str(tmp_path / "r")],
    )
    assert answer.exit_code == 0, answer.output
    assert asked == [("x", "wheels")]
    assert json.loads((tmp_path / "r" / "result.json").read_text("utf-8"))["differences"] == [
        {"conda_name": "mpmath", "conda_version": "1.4.1", "pypi_name": "mpmath", "pypi_version": "1.3.0"}
    ]
    assert "1.4.1" in (tmp_path / "r" / "report.html").read_text("utf-8")


# ---------------------------------------------------------------------------------------- the parts


PYTHON = smoke.PrefixPython(
    Path("python"),
    Path("prefix"),
    "3.10.13",
    "Linux",
    packages={"python": "3.10.13", "d2l": "0.17.6", "torch": "2.0.1+cu117"},
)


@pytest.mark.parametrize(
    ("requires", "reason"),
    [
        ([], ""),
        (["d2l<1.0"], ""),
        (["torch==2.0.1"], ""),
        (["Torch>=1.12", "python>=3.9"], ""),
        (["d2l>=1.0"], "needs d2l>=1.0, here 0.17.6"),
        (["d2l<1.0", "python>=3.11"], "needs python>=3.11, here 3.10.13"),
        (["torchaudio"], "needs torchaudio, which is not installed here"),
        (["torchaudio; python_version < '3.10'"], ""),
        (["d2l =="], "its metadata asks for `d2l ==`, which cannot be read"),
    ],
)
def test_requirements_of_a_notebook_are_compared_with_what_is_installed(
    requires: Sequence[str], reason: str
) -> None:
    assert smoke.needs(new_notebook(metadata={"d2lenv": {"requires": requires}}), PYTHON) == reason


def ran(**metadata: Any) -> Any:
    """A notebook whose result cell showed a check that needs a GPU."""
    executed = notebook("1", result="checks.result()", **metadata)
    entry = {"name": "gpu", "status": "not-checked", "detail": "no NVIDIA GPU", "needs": "gpu"}
    output = {
        "output_type": "display_data",
        "metadata": {},
        "data": {smoke.RESULT_MIME: {**RESULT, "checks": [entry]}},
    }
    executed.cells[-1].outputs = [nbformat.from_dict(output)]
    return executed


UNJUDGED = smoke.NotebookResult("n", Path("n.ipynb"), "failed")


def test_what_needs_a_gpu_is_not_checked_without_one() -> None:
    result = smoke.judge(UNJUDGED, ran(), require_gpu=False)
    assert (result.status, result.checks[0].status) == ("passed", "not-checked")


def test_what_needs_a_gpu_fails_when_one_is_required() -> None:
    result = smoke.judge(UNJUDGED, ran(), require_gpu=True)
    assert (result.status, result.cause, result.checks[0].status) == ("failed", "check", "failed")


def test_of_several_failed_checks_the_reason_names_the_first() -> None:
    executed = ran()
    bundle = executed.cells[-1].outputs[0].data[smoke.RESULT_MIME]
    bundle["checks"] = [{"name": name, "status": "failed"} for name in ("a", "b", "c")]
    assert smoke.judge(UNJUDGED, executed, require_gpu=False).reason == "a, and 2 more"


def test_a_time_limit_stays_the_reason_whatever_the_notebook_says() -> None:
    late = replace(UNJUDGED, cause="time-limit", reason="late")
    result = smoke.judge(late, ran(), require_gpu=True)
    assert (result.status, result.reason) == ("failed", "late")


@pytest.mark.parametrize(
    ("notebooks", "cores", "gib", "jobs"),
    [(5, 2, 16, 2), (5, 16, 16, 5), (5, 8, 4, 2), (5, 2, 0, 1), (0, 2, 16, 1)],
)
def test_jobs_follow_notebooks_cores_and_memory(notebooks: int, cores: int, gib: int, jobs: int) -> None:
    assert smoke.choose_jobs(notebooks, cores, gib * 2**30) == jobs


def test_a_container_s_limits_count(monkeypatch: pytest.MonkeyPatch) -> None:
    words = {"cpu.max": ["50000", "100000"], "memory.max": ["3000"], "memory.current": ["1000"]}
    monkeypatch.setattr(smoke, "_first_words", lambda path: words[Path(path).name])
    assert (smoke.cores(), smoke.memory()) == (1, 2000)


def test_a_container_without_limits_has_the_machine_s(monkeypatch: pytest.MonkeyPatch) -> None:
    words = {"cpu.max": ["max", "100000"], "memory.max": ["max"], "memory.current": ["1000"]}
    monkeypatch.setattr(smoke, "_first_words", lambda path: words[Path(path).name])
    assert smoke.cores() >= 1
    assert smoke.memory() > 2000


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to die of")
@pytest.mark.parametrize(
    ("code", "out_of_memory", "reason"),
    [
        (-9, False, "the kernel was killed (SIGKILL); often that means out of memory"),
        (-9, True, "the kernel was killed (SIGKILL): this machine ran out of memory"),
        (-11, False, "the kernel died of SIGSEGV"),
        (1, False, "the kernel ended with exit status 1"),
        (0xC0000005, False, "the kernel ended with exit status 0xC0000005"),
        (None, False, "the kernel died"),
    ],
)
def test_a_death_is_explained(code: int | None, out_of_memory: bool, reason: str) -> None:
    assert smoke._death(code, out_of_memory) == reason


def test_terminal_codes_are_removed() -> None:
    assert (
        smoke.plain("\x1b[0;31mred\x1b[0m \x1b]8;;x\x07link\x1b]8;;\x07 \x1b[?25hend\x1b") == "red link end"
    )


def test_a_user_s_number_of_threads_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert smoke.variables(PYTHON, 2, tmp_path)["OMP_NUM_THREADS"] == "2"
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert smoke.variables(PYTHON, 2, tmp_path)["OMP_NUM_THREADS"] == "7"


def test_notebooks_are_picked_by_name_with_or_without_the_suffix(tmp_path: Path) -> None:
    folder = written(tmp_path, **{"a": "", "a-zh": "", "b": ""})
    assert [path.stem for path in smoke.find(folder)] == ["a", "a-zh", "b"]
    assert [path.stem for path in smoke.find(folder, ["b.ipynb", "a"])] == ["a", "b"]


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda folder: smoke.find(folder / "empty"), "no notebooks in"),
        (lambda folder: smoke.find(folder, ["z"]), "no notebook `z`"),
        (lambda folder: smoke.checked_name("../up"), "cannot be the name"),
        (lambda folder: smoke.run(Path("python"), [folder / "a.ipynb"], folder), "would overwrite"),
    ],
)
def test_words_that_are_off_are_refused(tmp_path: Path, use: Callable[[Path], object], message: str) -> None:
    written(tmp_path, a="")
    with pytest.raises(D2lEnvError, match=message) as caught:
        use(tmp_path)
    assert caught.value.status == USAGE


def test_a_folder_without_python_is_not_an_environment(tmp_path: Path) -> None:
    with pytest.raises(D2lEnvError, match="has no Python"):
        smoke.interpreter_of(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell script that can be run")
@pytest.mark.parametrize(
    "script", ["#!/bin/sh\necho broken >&2; exit 3\n", "#!/bin/sh\necho not json\n", "#!/none\n"]
)
def test_a_python_that_does_not_run_is_a_clear_error(tmp_path: Path, script: str) -> None:
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(script, encoding="utf-8")
    python.chmod(0o755)
    with pytest.raises(D2lEnvError, match="does not run"):
        smoke.describe(smoke.interpreter_of(tmp_path))


def test_a_conda_prefix_on_windows_brings_its_library_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Library" / "bin").mkdir(parents=True)
    (tmp_path / "conda-meta").mkdir()
    said = {
        "prefix": str(tmp_path),
        "version": "3.10.13",
        "platform": "Windows",
        "folders": ["P", "P"],
        "packages": {},
    }
    answer = subprocess.CompletedProcess([], 0, stdout=json.dumps(said), stderr="")
    monkeypatch.setattr(subprocess, "run", lambda *arguments, **options: answer)
    interpreter = smoke.describe(Path("python"))
    assert interpreter.folders == ("P", str(tmp_path / "Library" / "bin"))
    variables = smoke.variables(interpreter, 1, tmp_path)
    assert variables["PATH"].startswith(f"P{os.pathsep}{tmp_path}")
    assert variables["CONDA_PREFIX"] == str(tmp_path)
    assert "VIRTUAL_ENV" not in variables


def test_a_run_in_another_thread_leaves_the_signals_alone(light_prefix: Path, tmp_path: Path) -> None:
    folder = written(tmp_path / "nb", one=notebook("1"))
    before = signal.getsignal(signal.SIGINT)

    async def elsewhere() -> smoke.SmokeRun:
        python = smoke.interpreter_of(light_prefix)
        return await asyncio.to_thread(smoke.run, python, smoke.find(folder), tmp_path / "executed")

    run = asyncio.run(elsewhere())
    assert run.notebooks[0].status == "passed"
    assert signal.getsignal(signal.SIGINT) is before
