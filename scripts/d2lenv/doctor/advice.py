"""Offer no command that is impossible, or that leaves the environment worse than it is.

Every pip or uv command that a finding prints is tried on paper: the environment as it would be afterwards is
judged by the findings about versions, and compared with the environment as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from d2lenv.base.messages import tr
from d2lenv.doctor.forecast import newest
from d2lenv.doctor.model import TRIO, Command, Context, Finding, Severity
from d2lenv.facts import d2l as releases
from d2lenv.facts.pytorch import releases as matrix
from d2lenv.prefix.contents.model import Distribution, Prefix, Site

Judge = Callable[[Context], Iterable[Finding]]
"""The findings that versions alone decide."""

_MENDS_PYTHON = frozenset({"D2L006", "D2L008", "D2L039"})


def sound(context: Context, findings: tuple[Finding, ...], judge: Judge) -> tuple[Finding, ...]:
    """Return the findings without the commands that cannot work or would do harm."""
    acceptable = acceptance(context, judge)

    def bad(finding: Finding, command: Command) -> bool:
        if _starts_a_python_that_is_gone(context, command) and finding.code not in _MENDS_PYTHON:
            return True
        return not acceptable(command)

    return tuple(_without(finding, bad) for finding in findings)


def acceptance(context: Context, judge: Judge) -> Callable[[Command], bool]:
    """Return the function that tells whether a command can be run and leaves the environment no worse."""
    before: list[tuple[int, int]] = []  # judged when the first command needs it

    def acceptable(command: Command) -> bool:
        if not command.installs and not command.removes:
            return True
        if not all(exists(spec, command, context.prefix) for spec in command.installs):
            return False
        if not before:
            before.append(_gravity(judge(context)))
        return _gravity(judge(after(context, command))) <= before[0]

    return acceptable


def _without(finding: Finding, bad: Callable[[Finding, Command], bool]) -> Finding:
    good = tuple(command for command in finding.fix if not bad(finding, command))
    if len(good) == len(finding.fix):
        return finding
    why = tr("no command is offered: what is known would fail here, or break something else")
    # A group of commands is one way; a part of it is none.
    return replace(finding, fix=(Command(text=why),))


def _starts_a_python_that_is_gone(context: Context, command: Command) -> bool:
    python = context.prefix.python
    if python is not None and python.exists():
        return False
    program = command.argv[0] if command.argv else ""
    return bool(command.installs or command.removes) or (python is not None and program == str(python))


def _gravity(findings: Iterable[Finding]) -> tuple[int, int]:
    """How many errors, how many warnings."""
    grave: list[Severity] = [finding.severity for finding in findings]
    return grave.count("error"), grave.count("warning")


def after(context: Context, command: Command) -> Context:
    """Return the environment as it would be after ``command``, as far as names and versions tell."""
    if not context.prefix.sites:
        return context
    first, *others = context.prefix.sites
    kept = list(first.distributions)
    for name in command.removes:
        gone = next((item for item in kept if item.key == canonicalize_name(name)), None)
        if gone is not None:
            kept.remove(gone)
    changed = set(context.changed)
    for spec in command.installs:
        requirement = _requirement(spec)
        if requirement is not None:
            changed.add(canonicalize_name(requirement.name))
            kept = list(_with(kept, requirement, first))
    sites = (replace(first, distributions=tuple(kept)), *others)
    return replace(context, prefix=replace(context.prefix, sites=sites), changed=frozenset(changed))


def _with(kept: list[Distribution], requirement: Requirement, site: Site) -> Iterator[Distribution]:
    """What is there, with the newest version that ``requirement`` allows."""
    key = canonicalize_name(requirement.name)
    have = next((item for item in kept if item.key == key), None)
    version = newest(requirement.specifier, have.version if have else "")
    yield from (item for item in kept if item.key != key)
    if have is not None and have.version == version:
        yield have
    else:
        yield Distribution(requirement.name, key, version, site.folder / f"{key}-{version}.dist-info", "pip")


def exists(spec: str, command: Command, prefix: Prefix) -> bool:
    """Return False if there is no file for this Python, platform and CUDA; what was not looked up exists."""
    requirement = _requirement(spec)
    if requirement is not None and not newest(requirement.specifier, ""):
        return False
    match = re.fullmatch(r"==([^*,]+)", str(requirement.specifier)) if requirement else None
    if requirement is None or match is None:
        return True
    name, (version, _, local) = canonicalize_name(requirement.name), match[1].partition("+")
    if name in TRIO:
        return _torch_exists(name, version, local or command.index.rpartition("/")[2], prefix)
    return not releases.no_wheel(name, version, prefix.python_minor, prefix.platform)


def _torch_exists(name: str, version: str, tag: str, prefix: Prefix) -> bool:
    torch = next((t for t, item in matrix.RELEASES.items() if version in _versions(name, t, item)), None)
    if torch is None:
        return True
    if prefix.python_minor and not matrix.made_for(torch, prefix.python_minor):
        return False
    if not matrix.made_on(torch, prefix.platform):
        return False
    if not re.fullmatch(r"cu\d{3}", tag):
        return True
    return matrix.has_build(torch, f"{tag[2:4]}.{tag[4:]}", prefix.platform)


def _versions(name: str, torch: str, release: matrix.TorchRelease) -> tuple[str, ...]:
    return {"torch": (torch,), "torchvision": release.vision, "torchaudio": release.audio}[name]


def _requirement(spec: str) -> Requirement | None:
    try:
        return Requirement(spec)
    except InvalidRequirement:
        return None
