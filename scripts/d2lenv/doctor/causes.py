"""Which findings are one fault: a cause, and what follows from it.

One broken package is seen by several findings. The reader gets the one that explains the others, and one
command where one mends them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from d2lenv.doctor.forecast import newest
from d2lenv.doctor.model import Command, Finding, Severity

_SEVERITIES: dict[Severity, int] = {"error": 0, "warning": 1, "not-checked": 2, "info": 3}

PRECEDENCE = (
    "D2L007", "D2L006", "D2L008", "D2L039", "D2L049", "D2L070", "D2L022", "D2L042", "D2L002",
    "D2L003", "D2L047", "D2L048", "D2L018", "D2L004", "D2L019", "D2L011", "D2L010", "D2L012",
    "D2L036", "D2L072", "D2L038", "D2L037", "D2L026", "D2L028", "D2L027", "D2L034", "D2L020",
    "D2L025", "D2L021", "D2L045", "D2L035", "D2L029", "D2L043", "D2L033", "D2L041", "D2L016",
    "D2L017", "D2L015", "D2L013", "D2L014", "D2L046", "D2L050", "D2L069", "D2L051", "D2L053",
    "D2L052", "D2L056", "D2L055", "D2L054", "D2L059", "D2L058", "D2L009", "D2L061", "D2L062",
    "D2L063", "D2L065", "D2L066", "D2L023", "D2L024",
)  # fmt: skip
"""Codes in the order in which a fault is to be mended: Python itself, the import, the kernel, the GPU."""

_LAST = len(PRECEDENCE)
_PLACE: Mapping[str, int] = {code: place for place, code in enumerate(PRECEDENCE)}

# With another Python everything else is installed anew.
_WHOLE = frozenset({"D2L006", "D2L007", "D2L008", "D2L022", "D2L039", "D2L042", "D2L070"})
# Cause → what it does by itself, whatever the package is called.
_FOLLOWS: Mapping[str, frozenset[str]] = {
    "D2L002": frozenset({"D2L020", "D2L021", "D2L025", "D2L026", "D2L043", "D2L054"}),
    "D2L010": frozenset(
        {"D2L012", "D2L015", "D2L016", "D2L017", "D2L020", "D2L021", "D2L025", "D2L026", "D2L029"}
    ),
    "D2L047": frozenset({"D2L046"}),
    "D2L020": frozenset({"D2L021", "D2L025"}),
    "D2L009": frozenset({"D2L050", "D2L051", "D2L055"}),
}
# One act of somebody's breaks many packages in the same way, and one command puts them back.
_TOGETHER = frozenset({"D2L004", "D2L018", "D2L033", "D2L041", "D2L081"})


@dataclass(frozen=True)
class Cause:
    """One fault.

    Attributes:
        head: the finding that explains the others.
        consequences: what follows from it.
        fix: what mends all of it.
    """

    head: Finding
    consequences: tuple[Finding, ...]
    fix: tuple[Command, ...]

    @property
    def safe(self) -> bool:
        return bool(self.fix) and all(command.safe for command in self.fix)


Acceptable = Callable[[Command], bool]
"""Return True if a command can be run and leaves the environment no worse than it is."""


def order(finding: Finding) -> tuple[int, int, str]:
    """Sort the gravest first, and of those that are as grave what stops the most."""
    return _SEVERITIES[finding.severity], _PLACE.get(finding.code, _LAST), finding.code


def causes(findings: Iterable[Finding], acceptable: Acceptable) -> tuple[Cause, ...]:
    """Group the errors and warnings by what causes them, the gravest first."""
    faults = sorted((f for f in findings if f.severity in ("error", "warning")), key=order)
    heads: list[tuple[Finding, list[Finding]]] = []
    for finding in faults:
        group = next((group for head, group in heads if _explains(head, group, finding)), None)
        if group is None:
            heads.append((finding, []))
        else:
            group.append(finding)
    return tuple(Cause(head, tuple(group), _fix(head, group, acceptable)) for head, group in heads)


def _explains(head: Finding, group: Sequence[Finding], other: Finding) -> bool:
    if head.code in _WHOLE or other.code in _FOLLOWS.get(head.code, ()):
        return True
    if head.code == other.code and head.code in _TOGETHER:
        return True
    # A whole group is one act: numpy 2 under pandas is the same as numpy 2 under d2l.
    subjects = {one.subject for one in (head, *group) if one.subject}
    if other.subject in subjects and other.code != head.code:
        return True
    commands = _printed(head)
    return bool(commands) and commands == _printed(other)


def _printed(finding: Finding) -> tuple[str, ...]:
    return tuple(str(command) for command in finding.fix if command.argv)


def _fix(head: Finding, group: Sequence[Finding], acceptable: Acceptable) -> tuple[Command, ...]:
    """Return the commands for all of a cause: one for all packages where that is possible."""
    if head.code in _WHOLE:
        return head.fix
    treated = frozenset(name for command in head.fix for name in _packages(command))
    # What the head's commands install they install rightly.
    more = [
        command
        for finding in group
        for command in finding.fix
        if command.argv
        and (finding.code == head.code or not _packages(command) or _packages(command) - treated)
    ]
    separate = list(_distinct([*head.fix, *more]))
    merged = tuple(_merged(separate))
    return merged if all(acceptable(command) for command in merged) else tuple(separate)


def _packages(command: Command) -> frozenset[str]:
    return frozenset(_name(word) for word in command.specs)


def _distinct(commands: Iterable[Command]) -> Iterator[Command]:
    seen: set[str] = set()
    for command in commands:
        # pip removes one copy at a time: one finding may say so twice.
        if str(command) not in seen or command.removes:
            seen.add(str(command))
            yield command


def _merged(commands: Sequence[Command]) -> list[Command]:
    """Join commands that differ only in the packages that they name."""
    kept: list[Command] = []
    for command in commands:
        at = next((n for n, other in enumerate(kept) if _joinable(other, command)), None)
        joined = _join(kept[at], command) if at is not None else None
        if at is None or joined is None:
            kept.append(command)
        else:
            kept[at] = joined
    return kept


def _joinable(one: Command, other: Command) -> bool:
    return bool(one.specs and other.specs) and _frame(one) == _frame(other) and not one.removes


def _frame(command: Command) -> tuple[tuple[str, ...], tuple[str, ...], bool]:
    """Return a command's words before and after its packages."""
    at = next((n for n, word in enumerate(command.argv) if word == command.specs[0]), 0)
    return command.argv[:at], command.argv[at + len(command.specs) :], command.safe


def _join(one: Command, other: Command) -> Command | None:
    specs: dict[str, str] = {_name(word): word for word in one.specs}
    for word in other.specs:
        name = _name(word)
        both = _both(specs[name], word) if name in specs else word
        if both is None:
            return None
        specs[name] = both
    words = tuple(specs.values())
    before, after, _ = _frame(one)
    installs = words if one.installs else ()
    return replace(one, argv=(*before, *words, *after), specs=words, installs=installs)


def _both(one: str, other: str) -> str | None:
    """Return one requirement for two of the same package, or nothing when no version fulfils both."""
    if one == other:
        return one
    try:
        a, b = Requirement(one), Requirement(other)
    except InvalidRequirement:
        return None
    both: SpecifierSet = a.specifier & b.specifier
    exact = next((word for word, r in ((one, a), (other, b)) if str(r.specifier).startswith("==")), None)
    if not newest(both, ""):
        return None
    return exact or f"{a.name}{both}"


def _name(word: str) -> str:
    for at, character in enumerate(word):
        if character in "=<>!~[ ":
            return canonicalize_name(word[:at])
    return canonicalize_name(word)
