"""The answer on a terminal and as JSON."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from d2lenv.base.console import print_json, write
from d2lenv.base.messages import printable, tr, translated
from d2lenv.doctor import layout
from d2lenv.doctor.model import Finding
from d2lenv.explain.decide import Answer, Judged, Verdict
from d2lenv.explain.rows import SHELL, Row

_INDENT = 9
_MOST_SAID = 160
_MOST_FURTHER = 4


def answer(verdict: Verdict, known: int, *, as_json: bool) -> None:
    """Print the answer for people or for machines."""
    if as_json:
        print_json("explain", bool(verdict.answers), data(verdict, known))
    else:
        report(verdict, known)


def report(verdict: Verdict, known: int) -> None:
    """Print the answer.

    Args:
        known: how many errors the table knows.
    """
    if not verdict.answers:
        _unknown(verdict.prefix, known)
        return
    first, *further = verdict.answers
    _answer(first)
    if verdict.prefix is not None and not first.proven:
        _part("", tr("The doctor found none of these causes in {prefix}.", prefix=verdict.prefix))
    if further:
        write("", tr("Also in this text:"))
        for answer in further[:_MOST_FURTHER]:
            _part(" ", f"{_said(answer)} - {_why(answer.causes[0], answer)}")


def _answer(answer: Answer) -> None:
    row = answer.match.row
    write(layout.coloured(_said(answer), "bold"))
    causes = [one for one in answer.causes if one.findings] or answer.causes
    for number, judged in enumerate(causes):
        _part(tr("cause") if number == 0 else tr("or"), _why(judged, answer))
        for finding in judged.findings:
            _part(tr("found"), f"{finding.code} {finding.title}")
        for label, text in _steps(judged, answer):
            # Not wrapped: it is there to be copied.
            write(_label(label) + printable(text)) if label == tr("type") else _part(label, text)
    if row.versions:
        _part(tr("with"), row.versions)
    _part(tr("source"), row.source)


def _steps(judged: Judged, answer: Answer) -> list[tuple[str, str]]:
    if fixes := [str(fix) for finding in judged.findings for fix in finding.fix if fix.argv]:
        return [(tr("type"), text) for text in dict.fromkeys(fixes)]
    return [
        (tr("type"), step.removeprefix(SHELL))
        if step.startswith(SHELL)
        else (tr("do"), _filled(step, answer))
        for step in judged.cause.steps
    ]


def _why(judged: Judged, answer: Answer) -> str:
    return _filled(judged.cause.why, answer)


def _filled(text: str, answer: Answer) -> str:
    text, groups = translated(text), answer.match.groups
    return text.format(**groups) if groups else text


def _said(answer: Answer) -> str:
    said = printable(answer.match.said)
    return said if len(said) <= _MOST_SAID else said[: _MOST_SAID - 1] + "…"


def _unknown(prefix: Path | None, known: int) -> None:
    doctor = "d2lenv doctor" + ("" if prefix is None else f" {shlex.quote(str(prefix))}")
    write(tr("Not known: none of {known} known errors is in this text.", known=known))
    _part(tr("type"), doctor)
    write(tr("If you ask somebody, attach, as text and not as a picture:"))
    for text in (
        tr("the whole message, from `Traceback` or the command to its last line"),
        tr("what `{command}` prints", command=f"{doctor} --json"),
        tr("the cell or command that failed, and the book, edition and chapter that it is from"),
    ):
        _part("  -", text)


def _label(label: str) -> str:
    return layout.padded("  " + label, _INDENT)


def _part(label: str, text: str) -> None:
    lines = layout.wrap(printable(text), layout.WIDTH - _INDENT)
    write(*(_label(label if number == 0 else "") + line for number, line in enumerate(lines)))


def data(verdict: Verdict, known: int) -> dict[str, Any]:
    """Return the answer as plain data."""
    return {
        "known": known,
        "prefix": None if verdict.prefix is None else str(verdict.prefix),
        "answers": [_answer_json(answer, answer.match.row) for answer in verdict.answers],
    }


def _answer_json(answer: Answer, row: Row) -> Mapping[str, Any]:
    return {
        "name": row.name,
        "said": printable(answer.match.said),
        "versions": row.versions,
        "source": row.source,
        "causes": [
            {
                "why": printable(_why(judged, answer)),
                "steps": [
                    {"text": printable(text), "command": label == tr("type")}
                    for label, text in _steps(judged, answer)
                ],
                "findings": _findings_json(judged.findings),
            }
            for judged in answer.causes
        ],
    }


def _findings_json(findings: Sequence[Finding]) -> list[dict[str, str]]:
    return [{"code": finding.code, "title": printable(finding.title)} for finding in findings]
