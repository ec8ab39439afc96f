"""The doctor's answer on a terminal, as JSON, and as commands that are run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from d2lenv.base import process
from d2lenv.base.console import note, write
from d2lenv.base.messages import printable, tr
from d2lenv.doctor import layout
from d2lenv.doctor.model import Command, Context, Finding, Found, Severity
from d2lenv.doctor.probe import system
from d2lenv.doctor.probe.deep import Probe
from d2lenv.doctor.rules import names

FIX_TIMEOUT_S = 1800.0

_INDENT = 9
_MOST_FOUND = 12


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


def report(context: Context, findings: Sequence[Finding], probes: Sequence[Probe]) -> None:
    """The whole answer: prefix, table of names, findings, summary."""
    write(heading(context), "")
    _names(context)
    # The explanation of the two names belongs to their table.
    for finding in findings:
        if finding.code == "D2L001":
            write(*layout.wrap(finding.why, layout.WIDTH), "")
    _findings(findings, str(context.prefix.path) + os.sep)
    _probes(probes)
    write(summary(findings, probes))
    if commands(findings):
        write(tr("`--fix` lists the commands"))


def plan_report(findings: Sequence[Finding]) -> None:
    """The answer of ``--plan``."""
    _findings(findings, "")
    write(summary(findings, ()) if findings else tr("nothing speaks against it"))


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
    write(*layout.table(headers, cells), "")


def _findings(findings: Sequence[Finding], prefix: str) -> None:
    """Print them; files in ``prefix``, which the first line names, are shown relative to it."""
    for finding in findings:
        severity = layout.coloured(_severity(finding.severity), finding.severity)
        title = printable(finding.title)
        write(f"{severity}  {finding.code}  {layout.coloured(title, 'bold')}")
        _part(tr("found"), (_found(item, prefix) for item in finding.found[:_MOST_FOUND]))
        if len(finding.found) > _MOST_FOUND:
            _part("", [tr("and {n} more (`--json` lists them)", n=len(finding.found) - _MOST_FOUND)])
        if finding.severity != "info":
            _part(tr("why"), [finding.why])
        for number, command in enumerate(finding.fix):
            label = tr("type") if command.argv else tr("do")
            # Not wrapped: it is there to be copied.
            write(_label(label if number == 0 else "") + plain_lines(str(command)))
        write("")


def plain_lines(text: str) -> str:
    """As :func:`printable`, keeping line ends: advice may be a snippet of a file."""
    return ("\n" + " " * _INDENT).join(printable(line) for line in text.split("\n"))


def _found(item: Found, prefix: str) -> str:
    words = " ".join(part for part in (printable(item.what), printable(item.version)) if part)
    file = item.file.removeprefix(prefix) if prefix else item.file
    return f"{words}\n{printable(file)}" if file else words


def _label(label: str) -> str:
    return layout.padded("  " + label, _INDENT)


def _part(label: str, texts: Iterable[str]) -> None:
    lines = [line for text in texts for line in layout.wrap(text, layout.WIDTH - _INDENT)]
    write(*(_label(label if number == 0 else "") + line for number, line in enumerate(lines)))


def _probes(probes: Sequence[Probe]) -> None:
    if not probes:
        return
    states = {"ok": tr("ok"), "failed": tr("failed"), "not-checked": tr("not checked")}
    rows = [[probe.name, states[probe.state], printable(probe.detail)] for probe in probes]
    write(*layout.table([tr("started"), tr("result"), ""], rows), "")


def summary(findings: Sequence[Finding], probes: Sequence[Probe]) -> str:
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
    return text if errors or warnings else tr("healthy") + " · " + text


def as_json(context: Context, findings: Sequence[Finding], probes: Sequence[Probe]) -> dict[str, Any]:
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
                "fix": [{"command": str(c), "argv": list(c.argv), "safe": c.safe} for c in f.fix],
                "safe": f.safe,
            }
        )
        for f in findings
    ]


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return "\n".join(printable(line) for line in value.split("\n"))
    if isinstance(value, dict):
        return {key: _clean(item) for key, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, (list, tuple)) else value


def failed(findings: Sequence[Finding], probes: Sequence[Probe]) -> bool:
    """Whether the exit status is 1."""
    return any(f.severity == "error" for f in findings) or any(p.state == "failed" for p in probes)


def commands(findings: Sequence[Finding]) -> list[tuple[Finding, Command]]:
    """What mends the errors and warnings, in their order, without what an earlier one says already."""
    seen: set[str] = set()
    listed = []
    for finding in findings:
        if finding.severity in ("error", "warning"):
            # Within one finding a command may be there twice on purpose: pip removes one copy at a time.
            listed += [(finding, command) for command in finding.fix if str(command) not in seen]
            seen.update(str(command) for command in finding.fix)
    return listed


def print_commands(findings: Sequence[Finding]) -> None:
    """``--fix``: the commands, ready to paste, each group under what it mends."""
    last = None
    for finding, command in commands(findings):
        if finding is not last:
            write(f"# {finding.code} {printable(finding.title)}")
        write(printable(str(command)) if command.argv else f"# {printable(str(command))}")
        last = finding


def run_commands(context: Context, findings: Sequence[Finding]) -> bool:
    """``--fix --yes``: run the safe ones, say which were left; return True if all that ran succeeded."""
    good = True
    for finding, command in commands(findings):
        if not finding.safe:
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
    try:
        status = process.run_visibly(
            _started(command, context),
            timeout_s=FIX_TIMEOUT_S,
            # uv reads a uv.toml in the working folder or above it.
            cwd=Path(context.prefix.path.anchor),
            environ=process.python_environment(context.environ),
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
