"""Read the notebook's own statements and decide whether it passed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from d2lenv.base.messages import tr
from d2lenv.smoke.results import Check, Measurement, NotebookResult, SeededNumber, plain

RESULT_MIME = "application/vnd.d2lenv.result+json"
"""The type of the machine-readable result in a notebook's outputs; as in notebooks/checks.py."""

RESULT_TAG = "d2lenv-result"
"""The tag of the cell that shows it."""


def judge(result: NotebookResult, notebook: Any, *, require_gpu: bool) -> NotebookResult:
    """Add the notebook's own statements and decide whether it passed.

    ``result`` comes with the status "failed"; without a cause, every cell ran to its end.
    """
    said = _bundle(notebook)
    if said is not None:
        try:
            result = _with_statements(result, said)
        except (KeyError, TypeError, ValueError) as error:
            reason = tr("its result cannot be read: {reason}", reason=repr(error))
            return result if result.cause else replace(result, cause="no-result", reason=reason)
    if result.status == "stopped" or (result.cause and result.cause != "error"):
        return result
    if require_gpu:
        result = replace(result, checks=tuple(_required(check) for check in result.checks))
    failed = [check for check in result.checks if check.status == "failed"]
    # The result cell raises when a check failed: then the checks are the reason, not the exception.
    if failed and (not result.cause or result.reason.startswith("ChecksFailed")):
        return replace(result, cause="check", reason=_first(failed), traceback="", place="")
    if result.cause:
        return result
    if said is None and any(RESULT_TAG in cell.metadata.get("tags", []) for cell in notebook.cells):
        return replace(result, cause="no-result", reason=tr("its last cell showed no result"))
    return replace(result, status="passed")


def _with_statements(result: NotebookResult, said: Any) -> NotebookResult:
    return replace(
        result,
        device=plain(str(said["device"])),
        checks=tuple(_check(entry) for entry in said["checks"]),
        fingerprints=tuple(_number(entry) for entry in said["fingerprints"]),
        measurements=tuple(
            Measurement(str(entry["name"]), float(entry["value"]), str(entry["unit"]))
            for entry in said["measurements"]
        ),
    )


def _first(failed: Sequence[Check]) -> str:
    first = failed[0]
    reason = f"{first.name} ({first.detail})" if first.detail else first.name
    if len(failed) == 1:
        return reason
    return tr("{first}, and {count} more", first=reason, count=len(failed) - 1)


def _bundle(notebook: Any) -> Any:
    """Return the last machine-readable result among the outputs, None without one."""
    found = None
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            found = output.get("data", {}).get(RESULT_MIME, found)
    return found


def _check(entry: Any) -> Check:
    status = entry["status"]
    if status not in ("passed", "failed", "not-checked"):
        raise ValueError(status)
    return Check(str(entry["name"]), status, plain(str(entry.get("detail", ""))), str(entry.get("needs", "")))


def _number(entry: Any) -> SeededNumber:
    value = entry["value"]
    numbers = value if isinstance(value, list) else [value]
    return SeededNumber(str(entry["name"]), tuple(float(v) for v in numbers), float(entry["rel_tol"]))


def _required(check: Check) -> Check:
    if check.status == "not-checked" and check.needs == "gpu":
        return replace(check, status="failed", detail=tr("a GPU is required: {reason}", reason=check.detail))
    return check
