"""Say what an export has written, and what is not as it should be."""

from __future__ import annotations

from dataclasses import asdict

from d2lenv.base.console import note, print_json, say
from d2lenv.base.errors import FAILED
from d2lenv.base.messages import tr, trn
from d2lenv.export.formats.registry import REQUIREMENTS
from d2lenv.export.plan import ExportPlan
from d2lenv.export.write import ExportResult, FileProblem

SHOWN_LINES = 60
"""Lines of one file's diff on the terminal: a lock that moved changes thousands."""


def report(plan: ExportPlan, result: ExportResult, as_json: bool) -> int:
    """Print the result and return the exit status."""
    failed = bool(result.problems or plan.incomplete)
    if as_json:
        print_json("export", not failed, _data(plan, result))
        return FAILED if failed else 0
    for text in plan.notes:
        note(tr("note: {text}", text=text))
    for path in result.written:
        say(tr("written: {path}", path=path))
    for path in result.removed:
        say(tr("removed: {path}", path=path))
    for problem in result.problems:
        _say_problem(problem)
    for text in plan.incomplete:
        say(tr("left out: {text}; --conda-only writes it without them", text=text))
    count, total = sum(problem.kind != REQUIREMENTS for problem in result.problems), len(plan.texts)
    if count:
        say(
            tr(
                "{count} of {total} files are not what the lock gives; `d2lenv export` writes them again",
                count=count,
                total=total,
            )
        )
    elif not failed:
        say(
            trn(
                "{count} exported file is what the lock gives",
                "{count} exported files are what the lock gives",
                count=total,
            )
        )
    return FAILED if failed else 0


def _data(plan: ExportPlan, result: ExportResult) -> dict[str, object]:
    return {
        "files": sorted(plan.texts),
        "written": list(result.written),
        "removed": list(result.removed),
        "findings": [asdict(problem) for problem in result.problems],
        "incomplete": list(plan.incomplete),
        "notes": list(plan.notes),
    }


def _say_problem(problem: FileProblem) -> None:
    kinds = {
        "missing": tr("missing"),
        "changed": tr("changed"),
        "stale": tr("stale"),
        REQUIREMENTS: tr("not the lock's"),
    }
    say(tr("{kind}: {path}", kind=kinds[problem.kind], path=problem.path))
    lines = problem.detail.splitlines()
    for line in lines[:SHOWN_LINES]:
        say(line)
    if len(lines) > SHOWN_LINES:
        say(
            trn(
                "… {count} more line; --json has it",
                "… {count} more lines; --json has them all",
                count=len(lines) - SHOWN_LINES,
            )
        )
