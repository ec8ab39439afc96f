"""The doctor's answer on a terminal, as JSON, and as commands that are run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from d2lenv.base import process
from d2lenv.base.console import note, write
from d2lenv.base.messages import printable, tr, trn
from d2lenv.doctor import layout
from d2lenv.doctor.causes import Cause
from d2lenv.doctor.model import Command, Context, Finding, Found, Severity
from d2lenv.doctor.probe import system
from d2lenv.doctor.probe.deep import Probe
from d2lenv.doctor.rules import names

FIX_TIMEOUT_S = 1800.0

_INDENT = 9
_MOST_FOUND = 12
_FEW = 4
_PROSE = 5


def _severity(severity: Severity) -> str:
    return {
        "error": tr("error"),
        "warning": tr("warning"),
        "info": tr("info"),
        "not-checked": tr("not checked"),
    }[severity]


def heading(context: Context) -> str:
    """The first line: which prefix was examined."""
    prefix = context.prefix
    kind = {
        "conda": tr("conda environment"),
        "venv": tr("virtual environment"),
        "python": tr("Python without an environment"),
        "unknown": tr("no environment"),
    }[prefix.kind]
    parts = [kind, f"Python {prefix.python_version or '?'}", prefix.platform or "?"]
    if context.active:
        parts.append(tr("active"))
    return printable(f"{prefix.path} ({', '.join(parts)})")


def report(
    context: Context,
    findings: Sequence[Finding],
    causes: Sequence[Cause],
    probes: Sequence[Probe],
    *,
    everything: bool,
) -> None:
    """The answer: prefix, faults, what was not checked, summary; the table of names where nothing is
    wrong."""
    prefix = str(context.prefix.path) + os.sep
    write(heading(context), "")
    if everything or not causes:
        _names(context)
        # The explanation of the two names belongs to their table.
        for finding in findings:
            if finding.code == "D2L001":
                write(*layout.wrap(finding.why, layout.width()), "")
    for cause in causes:
        _cause(cause, prefix, everything=everything)
    _others(findings, prefix, everything=everything, healthy=not causes)
    _probes(probes, everything=everything)
    if any(cause.fix for cause in causes):
        write(tr("`--fix` lists the commands"))
    if not everything and any(f.severity in ("info", "not-checked") for f in findings):
        write(tr("`--all` also shows what is no fault"))
    write(summary(findings, probes, causes))


def plan_report(findings: Sequence[Finding]) -> None:
    """The answer of ``--plan``."""
    for finding in findings:
        _cause(Cause(finding, (), finding.fix), "", everything=True)
    write(summary(findings, (), ()) if findings else tr("nothing speaks against it"))


# What is worth a line where nothing is wrong.
_WORTH_A_LINE = frozenset({"D2L040", "D2L046", "D2L067", "D2L068", "D2L090"})


def _others(findings: Sequence[Finding], prefix: str, *, everything: bool, healthy: bool) -> None:
    """Print what is no fault: in full, or one line each of what is worth it."""
    rest = [f for f in findings if f.severity in ("not-checked", "info")]
    if everything:
        for finding in rest:
            _cause(Cause(finding, (), finding.fix), prefix, everything=True)
        return
    shown = [f for f in rest if f.severity == "not-checked" or (healthy and f.code in _WORTH_A_LINE)]
    for finding in shown:
        _title(finding)
    if shown:
        write("")


def _names(context: Context) -> None:
    rows = names.table(context)
    if not rows:
        return
    conda = any(row.conda for row in rows)
    headers = [tr("import"), *([tr("name in conda")] if conda else []), tr("name in pip"), ""]
    cells = [
        [row.imported, *([printable(row.conda) or "-"] if conda else []), printable(row.pip) or "-", row.what]
        for row in rows
    ]
    write(*layout.table(headers, cells, layout.width()), "")


def _title(finding: Finding) -> None:
    head = f"{_severity(finding.severity)}  {finding.code}  "
    lines = layout.wrap(head + printable(finding.title), layout.width())
    first = lines[0].removeprefix(head)
    write(
        f"{layout.coloured(_severity(finding.severity), finding.severity)}  {finding.code}  "
        + layout.coloured(first, "bold"),
        *("  " + layout.coloured(line, "bold") for line in lines[1:]),
    )


def _cause(cause: Cause, prefix: str, *, everything: bool) -> None:
    """Print one fault; files in ``prefix``, which the first line names, are shown relative to it."""
    head = cause.head
    _title(head)
    _part(tr("found"), (_found(item, prefix) for item in head.found), _MOST_FOUND if everything else _FEW)
    if head.severity != "info":
        _part(tr("why"), [head.why])
    follow = [f"{f.code}  {printable(f.title)}" for f in cause.consequences]
    _part(tr("so also"), follow, len(follow) if everything else _FEW)
    for number, command in enumerate(cause.fix):
        label = tr("type") if command.argv else tr("do")
        if _is_prose(command):
            _part(label if number == 0 else "", [printable(command.text)])
            continue
        # Not wrapped: it is there to be copied.
        write(_label(label if number == 0 else "") + plain_lines(str(command)))
    write("")


def _is_prose(command: Command) -> bool:
    """Return True for advice in words, as opposed to something that is typed or pasted."""
    words = command.text.split()
    return bool(words) and "\n" not in command.text and (len(words) > _PROSE or not command.text.isascii())


def plain_lines(text: str) -> str:
    """As :func:`printable`, keeping line ends: advice may be a snippet of a file."""
    return ("\n" + " " * _INDENT).join(printable(line) for line in text.split("\n"))


def _found(item: Found, prefix: str) -> str:
    words = " ".join(part for part in (printable(item.what), printable(item.version)) if part)
    file = printable(item.file.removeprefix(prefix) if prefix else item.file)
    one = f"{words}  {file}" if words and file else words or file
    return one if layout.columns(one) <= layout.width() - _INDENT else f"{words}\n{file}".strip()


def _label(label: str) -> str:
    return layout.padded("  " + label, _INDENT)


def _part(label: str, texts: Iterable[str], most: int = 1 << 16) -> None:
    """Print ``texts`` beside ``label``; of more than ``most`` only how many more there are."""
    given = list(texts)
    shown = given[:most] if len(given) <= most else given[: most - 1]
    if len(given) > len(shown):
        shown.append(tr("and {n} more (`--json` lists them)", n=len(given) - len(shown)))
    lines = [line for text in shown for line in layout.wrap(text, layout.width() - _INDENT)]
    write(*(_label(label if number == 0 else "") + line for number, line in enumerate(lines)))


def _probes(probes: Sequence[Probe], *, everything: bool) -> None:
    """Print what was started: by default what did not work, and how much did."""
    if not probes:
        return
    bad = [probe for probe in probes if probe.state != "ok"]
    good = len(probes) - len(bad)
    if not everything and good > _FEW:
        write(trn("{count} import works", "{count} imports work", count=good), "")
        probes = bad
        if not bad:
            return
    states = {"ok": tr("ok"), "failed": tr("failed"), "not-checked": tr("not checked")}
    rows = [[probe.name, states[probe.state], printable(probe.detail)] for probe in probes]
    write(*layout.table([tr("started"), tr("result"), ""], rows, layout.width()), "")


def summary(findings: Sequence[Finding], probes: Sequence[Probe], causes: Sequence[Cause]) -> str:
    """The last line."""
    errors = sum(f.severity == "error" for f in findings) + sum(p.state == "failed" for p in probes)
    warnings = sum(f.severity == "warning" for f in findings)
    unchecked = sum(f.severity == "not-checked" for f in findings) + sum(
        p.state == "not-checked" for p in probes
    )
    text = tr(
        "errors: {errors}, warnings: {warnings}, not checked: {n}",
        errors=errors,
        warnings=warnings,
        n=unchecked,
    )
    if not errors and not warnings:
        return tr("healthy") + " · " + text
    following = sum(len(cause.consequences) for cause in causes)
    return text + (" · " + tr("causes: {n}", n=len(causes)) if following else "")


def as_json(
    context: Context, findings: Sequence[Finding], causes: Sequence[Cause], probes: Sequence[Probe]
) -> dict[str, Any]:
    """The answer as plain data."""
    prefix = context.prefix
    data: dict[str, Any] = _clean(
        {
            "prefix": str(prefix.path),
            "kind": prefix.kind,
            "active": context.active,
            "python": prefix.python_version,
            "platform": prefix.platform,
            "names": [row.__dict__ for row in names.table(context)],
            "machine": system.as_json(context.machine),
            "gpu": {**context.gpu.__dict__, "devices": [d.__dict__ for d in context.gpu.devices]},
            "findings": findings_json(findings),
            "causes": [_cause_json(cause) for cause in causes],
            "deep": [probe.__dict__ for probe in probes],
        }
    )
    return data


def findings_json(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    return [
        _clean(
            {
                "code": f.code,
                "severity": f.severity,
                "title": f.title,
                "subject": f.subject,
                "found": [item.__dict__ for item in f.found],
                "why": f.why,
                "fix": [_command_json(command) for command in f.fix],
                "safe": f.safe,
            }
        )
        for f in findings
    ]


def _command_json(command: Command) -> dict[str, Any]:
    return {"command": str(command), "argv": list(command.argv), "safe": command.safe}


def _cause_json(cause: Cause) -> dict[str, Any]:
    return {
        "code": cause.head.code,
        "title": cause.head.title,
        "consequences": [{"code": f.code, "title": f.title} for f in cause.consequences],
        "fix": [_command_json(command) for command in cause.fix],
    }


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return "\n".join(printable(line) for line in value.split("\n"))
    if isinstance(value, dict):
        return {key: _clean(item) for key, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, (list, tuple)) else value


def failed(findings: Sequence[Finding], probes: Sequence[Probe]) -> bool:
    """Return True if the exit status is 1."""
    return any(f.severity == "error" for f in findings) or any(p.state == "failed" for p in probes)


def commands(causes: Sequence[Cause]) -> list[tuple[Cause, Command]]:
    """What mends the causes, in their order, without what an earlier one says already."""
    seen: set[str] = set()
    listed = []
    for cause in causes:
        # For one cause a command may be there twice on purpose: pip removes one copy at a time.
        listed += [(cause, command) for command in cause.fix if str(command) not in seen]
        seen.update(str(command) for command in cause.fix)
    return listed


def print_commands(causes: Sequence[Cause]) -> None:
    """``--fix``: the commands, ready to paste, each group under what it mends."""
    last = None
    for cause, command in commands(causes):
        if cause is not last:
            write(f"# {cause.head.code} {printable(cause.head.title)}")
        line = printable if command.argv else _commented
        write(line(str(command)))
        last = cause


def _commented(text: str) -> str:
    return "\n".join("# " + printable(line) for line in text.split("\n"))


def run_commands(context: Context, causes: Sequence[Cause]) -> bool:
    """``--fix --yes``: run the safe ones, say which were left, and return True if all that ran succeeded."""
    good = True
    for cause, command in commands(causes):
        if not cause.safe:
            note(tr("left to you: {command}", command=printable(str(command))))
            continue
        note("$ " + printable(str(command)))
        good = _run(command, context) and good
    return good


def _started(command: Command, context: Context) -> list[str]:
    """Return what is started for ``command``: nothing from the working folder or the environment's ``bin``.

    The environment's own Python is the exception: the command names it by its path.
    """
    program, *arguments = command.argv
    if Path(program).is_absolute():
        module = arguments[:1] == ["-m"]
        return process.python_module(program, *arguments[1:]) if module else list(command.argv)
    found = process.which(program, context.environ, outside=[context.prefix.path])
    if found is None:
        raise FileNotFoundError(tr("there is none on the PATH outside of the examined environment"))
    return [str(found), *arguments]


def _run(command: Command, context: Context) -> bool:
    from d2lenv.solve import uv  # 20 ms that an examination does without

    # A command names its environment. UV_PROJECT_ENVIRONMENT, UV_TARGET or an active one would name another.
    environ = uv.environment(process.python_environment(context.environ))
    try:
        status = process.run_visibly(
            _started(command, context),
            timeout_s=FIX_TIMEOUT_S,
            # uv reads a uv.toml in the working folder or above it.
            cwd=Path(context.prefix.path.anchor),
            environ=environ,
        )
    except TimeoutError:
        note(tr("no answer within {n} s", n=int(FIX_TIMEOUT_S)))
        return False
    except OSError as error:
        note(
            tr(
                "{program} cannot be started: {reason}",
                program=command.argv[0],
                reason=error.strerror or error,
            )
        )
        return False
    if status:
        note(tr("it ended with status {n}", n=status))
    return status == 0
