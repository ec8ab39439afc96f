"""What a notebook proves, collected cell by cell and shown by its last cell.

A helper for the notebooks beside it, in plain Python (3.9 or newer) with IPython: copy a notebook and this
file anywhere and it still runs. `d2lenv smoke` reads what `result()` shows; so can any other program.

    import checks
    checks.begin("02-gpu-tensor-op")
    checks.check("2 + 2 is 4", 2 + 2 == 4)
    checks.not_checked("the GPU adds", "no NVIDIA GPU", needs="gpu")
    checks.fingerprint("sum of ten seeded numbers", 4.87, rel_tol=1e-6)
    checks.result()

笔记本的小帮手：逐格收集检查结果，由最后一格统一展示。只需要 Python 3.9 以上和 IPython。
"""

from __future__ import annotations

import html
import platform
import sys
import warnings
from collections.abc import Sequence
from importlib import metadata
from typing import Any, NamedTuple

MIME = "application/vnd.d2lenv.result+json"
"""The type of the machine-readable result among the outputs of the last cell."""

PASSED, FAILED, NOT_CHECKED = "passed", "failed", "not-checked"

_PACKAGES = ("torch", "torchvision", "torchaudio", "d2l", "numpy", "matplotlib", "ipykernel")
_MARKS = {PASSED: "✓", FAILED: "✗", NOT_CHECKED: "–"}
_WORDS = {PASSED: "passed 通过", FAILED: "failed 失败", NOT_CHECKED: "not checked 未检查"}
_COLOURS = {PASSED: "#1a7f37", FAILED: "#cf222e", NOT_CHECKED: "#9a6700"}


class ChecksFailed(Exception):
    """Raised by `result()` after it has shown everything, so that every runner notices."""

    def _render_traceback_(self) -> list[str]:  # IPython's own hook: one line instead of a stack
        return [f"{type(self).__name__}: {self}"]


class _Notebook:
    """What one notebook has said so far. A cell that is run again replaces what it said before."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.device = "cpu"
        self.checks: dict[str, dict[str, str]] = {}
        self.fingerprints: dict[str, dict[str, Any]] = {}
        self.measurements: dict[str, dict[str, Any]] = {}


_notebook = _Notebook("")


def begin(name: str) -> None:
    """Start the notebook `name` with an empty list."""
    global _notebook
    _notebook = _Notebook(name)


def uses(device: str) -> None:
    """Say which device the notebook computed on, such as "cuda:0 (NVIDIA A100)"; "cpu" unless said."""
    _notebook.device = str(device)


def check(name: str, ok: Any, detail: str = "") -> None:
    """Note that `name` is so (`ok` is true) or is not. The notebook goes on; `result()` fails at the end."""
    status = PASSED if bool(ok) else FAILED
    _notebook.checks[name] = {"name": name, "status": status, "detail": str(detail), "needs": ""}
    _say(status, name, detail)


def not_checked(name: str, reason: str, needs: str = "") -> None:
    """Note that `name` could not be checked here, and why; `needs="gpu"` when a GPU would allow it."""
    _notebook.checks[name] = {"name": name, "status": NOT_CHECKED, "detail": str(reason), "needs": needs}
    print(f"{_MARKS[NOT_CHECKED]} {name} | not checked 未检查: {reason}")


def fingerprint(name: str, value: float | Sequence[float], rel_tol: float) -> None:
    """A seeded number (or a few) that another machine must reproduce within the relative tolerance."""
    numbers = [float(v) for v in (value if isinstance(value, Sequence) else [value])]
    _notebook.fingerprints[name] = {"name": name, "value": numbers, "rel_tol": rel_tol}
    print(f"fingerprint 指纹 {name}: {_short(numbers)} (± {rel_tol:g} relative 相对误差)")


def measured(name: str, value: float, unit: str) -> None:
    """A number that says something about this machine and is neither right nor wrong, such as a time."""
    _notebook.measurements[name] = {"name": name, "value": float(value), "unit": unit}
    print(f"measured 实测 {name}: {value:.4g} {unit}")


class Gpu(NamedTuple):
    """What PyTorch can do with an NVIDIA GPU here."""

    device: str | None
    """"cuda:0" when PyTorch computes on it, else None."""
    name: str
    """Such as "NVIDIA A100"; empty when PyTorch sees no GPU."""
    reason: str
    """Why `device` is None; empty otherwise."""


def gpu() -> Gpu:
    """Ask PyTorch for its first NVIDIA GPU and make it add two numbers, or say why that is not possible."""
    import torch  # the subject of the notebooks; everything else here does without it

    if torch.version.cuda is None:
        return Gpu(None, "", "no NVIDIA GPU can be used: this PyTorch is a CPU build")
    with warnings.catch_warnings(record=True) as caught:  # a driver that is too old speaks in a warning
        warnings.simplefilter("always")
        available = torch.cuda.is_available()
    if not available:
        said = " ".join(str(warning.message).split(" (Triggered")[0] for warning in caught)
        return Gpu(None, "", "no NVIDIA GPU" + (f" ({said})" if said else ""))
    name = torch.cuda.get_device_name(0)
    major, minor = torch.cuda.get_device_capability(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an unsupported GPU is reported below, in one sentence
            one = torch.ones(1, device="cuda:0")
            works = (one + one).item() == 2
    except RuntimeError as error:
        compiled = " ".join(torch.cuda.get_arch_list())
        return Gpu(
            None,
            name,
            f"{name} (sm_{major}{minor}) is there, but PyTorch {torch.__version__} cannot compute on it; "
            f"it was built for {compiled}. CUDA says: {str(error).splitlines()[0]}",
        )
    return Gpu("cuda:0", name, "") if works else Gpu(None, name, f"{name} says that 1 + 1 is not 2")


def versions() -> dict[str, str]:
    """Python's version and those of the packages that matter here, as they are installed."""
    installed = {str(found.metadata["Name"]).lower(): found.version for found in metadata.distributions()}
    return {
        "python": platform.python_version(),
        **{package: installed[package] for package in _PACKAGES if package in installed},
    }


def result() -> None:
    """Show everything as a table, and once more for machines.

    Raises:
        ChecksFailed: something that was checked is not so.
    """
    from IPython.display import display

    data = {
        "schema": 1,
        "notebook": _notebook.name,
        "device": _notebook.device,
        "platform": platform.platform(),
        "python": sys.executable,
        "versions": versions(),
        "checks": list(_notebook.checks.values()),
        "fingerprints": list(_notebook.fingerprints.values()),
        "measurements": list(_notebook.measurements.values()),
    }
    bundle = {MIME: data, "text/plain": _as_text(data), "text/html": _as_html(data)}
    display(bundle, raw=True)
    failed = [entry["name"] for entry in data["checks"] if entry["status"] == FAILED]  # type: ignore[attr-defined,index]
    if failed:
        raise ChecksFailed(
            f"{len(failed)} of {len(_notebook.checks)} checks failed 检查失败: " + "; ".join(failed)
        )


def _say(status: str, name: str, detail: str) -> None:
    print(f"{_MARKS[status]} {name}" + (f" | {detail}" if detail else ""))


def _short(numbers: list[float]) -> str:
    return ", ".join(f"{number:.7g}" for number in numbers)


def _as_text(data: dict[str, Any]) -> str:
    lines = [f"{data['notebook']} ({data['device']})"]
    lines += [
        f"  {_MARKS[entry['status']]} {entry['name']}" + (f" | {entry['detail']}" if entry["detail"] else "")
        for entry in data["checks"]
    ]
    return "\n".join(lines)


def _as_html(data: dict[str, Any]) -> str:
    rows = "".join(
        f'<tr><td style="color:{_COLOURS[entry["status"]]};text-align:left;white-space:nowrap">'
        f"{_MARKS[entry['status']]} {_WORDS[entry['status']]}</td>"
        f'<td style="text-align:left">{html.escape(entry["name"])}</td>'
        f'<td style="text-align:left">{html.escape(entry["detail"])}</td></tr>'
        for entry in data["checks"]
    )
    head = "".join(
        f'<th style="text-align:left">{title}</th>' for title in ("result 结果", "what 项目", "detail 说明")
    )
    title = html.escape(f"{data['notebook']} ({data['device']})")
    return f"<table><caption>{title}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
