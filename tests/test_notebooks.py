"""The notebooks that we ship are clean, bilingual and end with a result; their helper tells the truth."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
import traceback
import types
import warnings
from pathlib import Path
from typing import Any

import nbformat
import pytest
from packaging.requirements import Requirement

from d2lenv.smoke import judge, notebooks

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
CHINESE = re.compile(r"[\u4e00-\u9fff]")
ENGLISH = re.compile(r"\b[a-z]{2,} [a-z]{2,}\b")


def test_the_notebooks_are_here() -> None:
    names = [path.stem for path in notebooks.find(FOLDER)]
    assert names == [
        "00-start-here",
        "01-import-d2l",
        "02-gpu-tensor-op",
        "03-train",
        "03-train-zh",
        "04-vision-audio",
        "05-deploy",
        "06-save-decorator",
        "07-autograd",
        "08-eager-and-graph",
        "09-distributed-data-parallel",
        "10-hardware-check",
    ]


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request: pytest.FixtureRequest) -> Any:
    return nbformat.reads(request.param.read_text(encoding="utf-8"), as_version=nbformat.NO_CONVERT)


def test_a_notebook_is_valid_format_4_5_with_distinct_cell_ids(notebook: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)


def test_a_notebook_has_no_outputs_and_no_counts(notebook: Any) -> None:
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
        assert set(cell.metadata) <= {"tags"}


def test_a_notebook_names_no_machine_and_no_environment(notebook: Any) -> None:
    assert notebook.metadata.kernelspec == {
        "display_name": "Python 3",
        "language": "python",
        "name": "python3",
    }
    assert set(notebook.metadata) <= {"kernelspec", "language_info", "d2lenv"}
    for text in notebook.metadata.get("d2lenv", {}).get("requires", []):
        assert Requirement(text).name == "d2l"


def test_every_text_is_in_english_and_in_chinese(notebook: Any) -> None:
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    assert len(texts) >= 4
    for text in texts:
        assert ENGLISH.search(text), text
        assert CHINESE.search(text), text


def test_the_last_cell_shows_the_result_and_begin_names_the_file(
    request: pytest.FixtureRequest, notebook: Any
) -> None:
    *before, last = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert (last.source, last.metadata.tags) == ("checks.result()", [judge.RESULT_TAG])
    assert notebook.cells[-1] is last
    assert not any(cell.metadata.get("tags") for cell in before)
    name = request.node.callspec.id
    assert any(f'checks.begin("{name}")' in cell.source for cell in before)


def test_a_notebook_downloads_nothing(notebook: Any) -> None:
    source = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    for words in ("http:", "https:", "download", "pip install", "weights=True", "pretrained"):
        assert words not in source


# ---------------------------------------------------------------------------------- notebooks/checks.py


def test_a_process_that_a_notebook_starts_imports_nothing_beside_it(notebook: Any) -> None:
    """Python's own first folder for `-c` is the working folder, where a reader's random.py may lie."""
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    magics = re.compile("^[%!].*", re.MULTILINE)
    trees = [ast.parse(magics.sub("pass", source)) for source in code if not source.startswith("%%")]
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("subprocess.run", "subprocess.Popen"):
            assert "cwd" in {keyword.arg for keyword in node.keywords}, ast.unparse(node)


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> Any:
    spec = importlib.util.spec_from_file_location("checks_under_test", FOLDER / "checks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    module.begin("test")
    return module


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What has been displayed."""
    displayed: list[dict[str, Any]] = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, raw: displayed.append(bundle))
    return displayed


def test_the_runner_and_the_notebooks_speak_of_the_same_type(checks: Any) -> None:
    assert checks.MIME == judge.RESULT_MIME


def test_a_result_has_everything_that_was_said(checks: Any, shown: list[dict[str, Any]]) -> None:
    checks.uses("cuda:0 (NVIDIA X)")
    checks.check("one", 1 == 1, "detail")
    checks.not_checked("two", "no NVIDIA GPU", needs="gpu")
    checks.fingerprint("three", [0.5, 0.25], rel_tol=1e-6)
    checks.fingerprint("four", 0.5, rel_tol=1e-6)
    checks.measured("five", 2, "ms")
    checks.result()
    data = shown[0][checks.MIME]
    assert (data["notebook"], data["device"]) == ("test", "cuda:0 (NVIDIA X)")
    assert data["checks"] == [
        {"name": "one", "status": "passed", "detail": "detail", "needs": ""},
        {"name": "two", "status": "not-checked", "detail": "no NVIDIA GPU", "needs": "gpu"},
    ]
    assert data["fingerprints"][0] == {"name": "three", "value": [0.5, 0.25], "rel_tol": 1e-6}
    assert data["measurements"] == [{"name": "five", "value": 2.0, "unit": "ms"}]
    assert data["versions"]["ipykernel"]


def test_a_result_with_a_failed_check_is_shown_and_then_raises(
    checks: Any, shown: list[dict[str, Any]]
) -> None:
    checks.check("good", True)
    checks.check("bad", False, "<b>")
    with pytest.raises(checks.ChecksFailed, match=r"1 of 2 checks failed .*: bad") as caught:
        checks.result()
    assert "✗ bad | <b>" in shown[0]["text/plain"]
    assert "&lt;b&gt;" in shown[0]["text/html"]
    assert caught.value._render_traceback_() == [f"ChecksFailed: {caught.value}"]


def test_a_cell_that_is_run_again_replaces_what_it_said(checks: Any, shown: list[dict[str, Any]]) -> None:
    checks.check("one", False)
    checks.check("one", True)
    checks.result()
    assert [entry["status"] for entry in shown[0][checks.MIME]["checks"]] == ["passed"]


class Ones:
    """A tensor on a GPU that computes, or does not."""

    def __init__(self, error: str = "", total: float = 2) -> None:
        self.error, self.total = error, total

    def __add__(self, other: Ones) -> Ones:
        if self.error:
            raise RuntimeError(self.error)
        return self

    def item(self) -> float:
        return self.total


def torch(
    monkeypatch: pytest.MonkeyPatch, *, cuda: str | None, warning: str = "", ones: Ones | None = None
) -> None:
    """Put a PyTorch in place that finds what it is told to find."""

    def is_available() -> bool:
        if warning:
            warnings.warn(warning, stacklevel=1)
        return ones is not None

    module = types.SimpleNamespace(
        __version__="2.0.1+cu117",
        version=types.SimpleNamespace(cuda=cuda),
        ones=lambda count, device: ones,
        cuda=types.SimpleNamespace(
            is_available=is_available,
            get_device_name=lambda index: "NVIDIA H200",
            get_device_capability=lambda index: (9, 0),
            get_arch_list=lambda: ["sm_80", "sm_86"],
        ),
    )
    monkeypatch.setitem(sys.modules, "torch", module)  # type: ignore[arg-type]


def test_a_gpu_that_computes_is_a_device(checks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    torch(monkeypatch, cuda="11.7", ones=Ones())
    assert checks.gpu() == ("cuda:0", "NVIDIA H200", "")


@pytest.mark.parametrize(
    ("found", "name", "reason"),
    [
        ({"cuda": None}, "", "no NVIDIA GPU can be used: this PyTorch is a CPU build"),
        ({"cuda": "11.7"}, "", "no NVIDIA GPU"),
        (
            {"cuda": "11.7", "warning": "The NVIDIA driver is too old (Triggered internally at x)"},
            "",
            "no NVIDIA GPU (The NVIDIA driver is too old)",
        ),
        (
            {"cuda": "11.7", "ones": Ones("CUDA error: no kernel image is available\nCompile with")},
            "NVIDIA H200",
            "NVIDIA H200 (sm_90) is there, but PyTorch 2.0.1+cu117 cannot compute on it; it was built for "
            "sm_80 sm_86. CUDA says: CUDA error: no kernel image is available",
        ),
        ({"cuda": "11.7", "ones": Ones(total=0)}, "NVIDIA H200", "NVIDIA H200 says that 1 + 1 is not 2"),
    ],
)
def test_a_gpu_that_cannot_be_used_is_explained(
    checks: Any, monkeypatch: pytest.MonkeyPatch, found: dict[str, Any], name: str, reason: str
) -> None:
    torch(monkeypatch, **found)
    assert checks.gpu() == (None, name, reason)


def test_the_first_notebook_asks_the_doctor_and_no_module_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = nbformat.reads(NOTEBOOKS[0].read_text(encoding="utf-8"), as_version=4)
    (cell,) = (cell for cell in first.cells if "def ask_the_tool" in cell.source)
    for name in ("d2lenv", "runpy", "json", "random", "click"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("D2LENV_PYTHON", sys.executable)
    monkeypatch.setenv("D2LENV_FOLDER", str(FOLDER.parent / "scripts"))
    names: dict[str, Any] = {"os": os, "sys": sys, "json": json, "subprocess": subprocess}
    exec(cell.source, names)
    assert names["reason"] == ""
    assert names["report"]["command"] == "doctor"


def cell_of_the_first_notebook(words: str) -> str:
    first = nbformat.reads(NOTEBOOKS[0].read_text(encoding="utf-8"), as_version=4)
    (cell,) = (cell.source for cell in first.cells if words in cell.source)
    return str(cell)


@pytest.mark.parametrize("by_name", [False, True])
def test_the_first_notebook_explains_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_name: bool
) -> None:
    said = "AssertionError: Torch not compiled with CUDA enabled"
    error = {"output_type": "error", "ename": "AssertionError", "evalue": said, "traceback": [said]}
    monkeypatch.chdir(tmp_path)
    Path("mine.ipynb").write_text(json.dumps({"cells": [{"outputs": [error]}]}), encoding="utf-8")
    monkeypatch.setenv("D2LENV_PYTHON", sys.executable)
    monkeypatch.setenv("D2LENV_FOLDER", str(FOLDER.parent / "scripts"))
    monkeypatch.setenv("D2LENV_LANG", "en")
    shown: list[Any] = []
    names: dict[str, Any] = {
        "os": os,
        "sys": sys,
        "json": json,
        "subprocess": subprocess,
        "traceback": traceback,
        "table": lambda headings, rows: rows,
        "display": shown.append,
    }
    exec(cell_of_the_first_notebook("def ask_the_tool"), names)
    source = cell_of_the_first_notebook("def the_last_error")
    exec(source.replace('r"""\n\n"""', repr("mine.ipynb" if by_name else said)), names)
    ((row, *_),) = shown
    assert row[0] == "Torch not compiled with CUDA enabled"
    assert "build for the CPU" in row[1]
    assert "pip install" in row[2]


def test_the_first_notebook_takes_the_last_error_if_none_is_given(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []
    names: dict[str, Any] = {
        "os": os,
        "sys": sys,
        "traceback": traceback,
        "ask_the_tool": lambda *words, text="": asked.append(text) or ({"answers": []}, ""),
        "table": lambda headings, rows: rows,
        "display": lambda shown: None,
    }
    monkeypatch.delattr(sys, "last_value", raising=False)
    exec(cell_of_the_first_notebook("def the_last_error"), names)
    assert "no error to explain" in capsys.readouterr().out
    assert not asked
    monkeypatch.setattr(sys, "last_value", ValueError("of this notebook"), raising=False)
    exec(cell_of_the_first_notebook("def the_last_error"), names)
    assert asked == ["ValueError: of this notebook\n"]
