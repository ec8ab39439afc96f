"""What a notebook says of itself decides whether it passed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat

from d2lenv.smoke import judge, results
from smokekit import RESULT, notebook


def ran(**metadata: Any) -> Any:
    """A notebook whose result cell showed a check that needs a GPU."""
    executed = notebook("1", result="checks.result()", **metadata)
    entry = {"name": "gpu", "status": "not-checked", "detail": "no NVIDIA GPU", "needs": "gpu"}
    output = {
        "output_type": "display_data",
        "metadata": {},
        "data": {judge.RESULT_MIME: {**RESULT, "checks": [entry]}},
    }
    executed.cells[-1].outputs = [nbformat.from_dict(output)]
    return executed


UNJUDGED = results.NotebookResult("n", Path("n.ipynb"), "failed")


def test_what_needs_a_gpu_is_not_checked_without_one() -> None:
    result = judge.judge(UNJUDGED, ran(), require_gpu=False)
    assert (result.status, result.checks[0].status) == ("passed", "not-checked")


def test_what_needs_a_gpu_fails_when_one_is_required() -> None:
    result = judge.judge(UNJUDGED, ran(), require_gpu=True)
    assert (result.status, result.cause, result.checks[0].status) == ("failed", "check", "failed")


def test_of_several_failed_checks_the_reason_names_the_first() -> None:
    executed = ran()
    bundle = executed.cells[-1].outputs[0].data[judge.RESULT_MIME]
    bundle["checks"] = [{"name": name, "status": "failed"} for name in ("a", "b", "c")]
    assert judge.judge(UNJUDGED, executed, require_gpu=False).reason == "a, and 2 more"


def test_a_time_limit_stays_the_reason_whatever_the_notebook_says() -> None:
    late = replace(UNJUDGED, cause="time-limit", reason="late")
    result = judge.judge(late, ran(), require_gpu=True)
    assert (result.status, result.reason) == ("failed", "late")
