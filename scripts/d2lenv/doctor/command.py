"""What ``d2lenv doctor`` does with its options."""

from __future__ import annotations

import os
import platform as machine
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from d2lenv.base.console import print_json
from d2lenv.base.errors import FAILED
from d2lenv.doctor import causes, examine_plan, show
from d2lenv.doctor import examine as examine_context
from d2lenv.doctor.causes import Cause
from d2lenv.doctor.model import Context, Finding
from d2lenv.doctor.probe import deep as probing
from d2lenv.doctor.probe import gather
from d2lenv.doctor.probe import imports as importing
from d2lenv.doctor.rules import plan as planning
from d2lenv.facts import platforms
from d2lenv.prefix import lookup

if TYPE_CHECKING:
    from d2lenv.doctor.fitting import Fit


@dataclass(frozen=True)
class Asked:
    """What the reader wants of the doctor.

    Attributes:
        everything: also what is no fault.
    """

    deep: bool = False
    imports: bool = False
    fix: bool = False
    yes: bool = False
    as_json: bool = False
    everything: bool = False


def examine(name: str | None, root: Path | None, asked: Asked) -> int:
    """Examine one environment and print the answer.

    Args:
        name: a path or an environment of the workspace; ``None`` for the active one.
        root: the workspace that the user named.

    Returns:
        the exit status: 1 when there are errors.

    Raises:
        D2lEnvError: there is no such environment.
    """
    look = _looking(name, root)

    def found() -> tuple[Context, tuple[Finding, ...], tuple[Cause, ...]]:
        context = look()
        findings = examine_context(context)
        return context, findings, causes(context, findings)

    context, findings, faults = found()
    probes = _probes(context, asked)
    good = True
    if asked.fix and asked.yes:
        good = show.run_commands(context, faults)
        context, findings, faults = found()
    good = good and not show.failed(findings, probes)
    if asked.as_json:
        print_json("doctor", good, show.as_json(context, findings, faults, probes))
    elif asked.fix and not asked.yes:
        show.print_commands(faults)
    else:
        show.report(context, findings, faults, probes, everything=asked.everything)
    return 0 if good else FAILED


def examined(name: str, root: Path | None) -> tuple[Path, tuple[Finding, ...]]:
    """Return where an environment is, and its findings.

    Raises:
        D2lEnvError: if there is no such environment.
    """
    context = _looking(name, root)()
    return context.prefix.path, examine_context(context)


def _looking(name: str | None, root: Path | None) -> Callable[[], Context]:
    cwd = Path.cwd()
    workspace = root if root is not None else gather.workspace_root(cwd)
    path, active = lookup.target(name, os.environ, workspace)
    workspace = workspace or gather.workspace_root(path)
    return lambda: gather.gather(path, os.environ, cwd, active=active, root=workspace)


def _probes(context: Context, asked: Asked) -> tuple[probing.Probe, ...]:
    """Start what the reader asked for: nothing, unless it is said."""
    return (*(importing.imports(context) if asked.imports and _runs_here(context) else ()),
            *(_probe(context) if asked.deep else ()))  # fmt: skip


def _runs_here(context: Context) -> bool:
    system = platforms.system_of(context.prefix.platform)
    return context.prefix.python is not None and system is not None and system.name == context.machine.system


def _probe(context: Context) -> tuple[probing.Probe, ...]:
    prefix = context.prefix
    if prefix.python is None or not _runs_here(context):
        return ()
    wanted = tuple(
        name for name in probing.PROBES if name in ("torch", "gpu") or context.version(name.partition(".")[0])
    )
    return probing.probe(prefix.python, wanted)


def _fits(words: tuple[str, ...], root: Path | None) -> tuple[Fit, ...]:
    """Return what the workspace's environments run on, if a GPU is asked about.

    Raises:
        D2lEnvError: if there is no workspace.
    """
    if not any(word.startswith("gpu=") for word in words):
        return ()
    from d2lenv.doctor import fitting  # with py-rattler, which `doctor PREFIX` does without
    from d2lenv.workspace import manifest

    return fitting.fits(manifest.load(root if root is not None else manifest.find(Path.cwd())))


def plan(words: tuple[str, ...], root: Path | None, as_json: bool) -> int:
    """Judge a planned installation.

    Args:
        root: the workspace that the user named.

    Raises:
        D2lEnvError: a word is not something to install.
    """
    here = platforms.of_machine(sys.platform, machine.machine())
    findings = examine_plan(planning.parse(words, here, _fits(words, root)))
    if as_json:
        data = {"findings": show.findings_json(findings)}
        print_json("doctor --plan", not show.failed(findings, ()), data)
    else:
        show.plan_report(findings)
    return FAILED if show.failed(findings, ()) else 0
