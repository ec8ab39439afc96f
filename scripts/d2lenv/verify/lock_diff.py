"""``d2lenv diff A B``: compare two locks, prefixes, fingerprints or revisions of the lock."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from d2lenv.base.console import print_table, say
from d2lenv.base.messages import printable, tr
from d2lenv.export.formats.text import escaped
from d2lenv.verify.package_sets import PackageSets, PackageState, Section, read_package_sets
from d2lenv.workspace import settings
from d2lenv.workspace.manifest import Workspace

_HASH_SHOWN = 12

What = Literal["added", "removed", "changed"]


@dataclass(frozen=True)
class PackageChange:
    """One package that differs, and where.

    Attributes:
        fields: which fields differ, empty for added and removed.
        where: the sections, sorted; the same change in several of them is one.
    """

    what: What
    name: str
    before: PackageState | None
    after: PackageState | None
    fields: tuple[str, ...]
    where: tuple[Section, ...]

    def as_json(self) -> dict[str, object]:
        return {
            "what": self.what,
            "name": self.name,
            "before": vars(self.before) if self.before else None,
            "after": vars(self.after) if self.after else None,
            "fields": list(self.fields),
            "where": ["/".join(filter(None, section)) for section in self.where],
        }


_FIELDS: tuple[str, ...] = ("version", "build", "hash", "channel", "licence", "size")


def diff(
    workspace: Workspace, first: str, second: str, environment: str | None = None, platform: str | None = None
) -> list[PackageChange]:
    """Return the changes from ``first`` to ``second``.

    Args:
        first, second: a prefix, a lock or requirements file, a workspace, what ``fingerprint --json``
            printed, or a git revision of this workspace.
        environment: only this one.
        platform: only this one.

    Raises:
        D2lEnvError: if one of them is none of these, or nobody has that environment.
    """

    def asked(word: str) -> PackageSets:
        return {
            section: packages
            for section, packages in read_package_sets(workspace, word).items()
            if environment in (None, section[0]) and platform in (None, section[1])
        }

    left, right = asked(first), asked(second)
    if environment is not None and not left and not right:
        settings.get(workspace, environment)  # one that nobody has is a wrong word, not a comparison
    if len(left) == 1 or len(right) == 1:
        left, right = _alone(left, right)
    return changes(left, right)


def _alone(left: PackageSets, right: PackageSets) -> tuple[PackageSets, PackageSets]:
    """Keep the only environment of one side, or pair two single ones, whatever they are called."""
    if len(left) == len(right) == 1:
        return left, {next(iter(left)): next(iter(right.values()))}
    keep = next(iter(left if len(left) == 1 else right))
    return (
        {section: packages for section, packages in left.items() if section == keep},
        {section: packages for section, packages in right.items() if section == keep},
    )


def changes(left: PackageSets, right: PackageSets) -> list[PackageChange]:
    """Return the differences sorted by name, each once however many sections have it."""
    found: dict[tuple[PackageState | None, PackageState | None], list[Section]] = {}
    for section in sorted({*left, *right}):
        before, after = left.get(section, {}), right.get(section, {})
        for key in sorted({*before, *after}):
            one, other = before.get(key), after.get(key)
            if one is None or other is None or _differing(one, other):
                found.setdefault((one, other), []).append(section)
    rows = []
    for (one, other), where in found.items():
        package = one or other
        assert package is not None
        what: What = "changed" if one and other else "added" if other else "removed"
        fields = _differing(one, other) if one and other else ()
        rows.append(PackageChange(what, package.name, one, other, fields, tuple(where)))
    return sorted(rows, key=lambda row: (row.name, row.where, row.what))


def _differing(one: PackageState, other: PackageState) -> tuple[str, ...]:
    """Return the fields that both know and that differ."""
    return tuple(
        name
        for name in _FIELDS
        if (before := getattr(one, name)) and (after := getattr(other, name)) and before != after
    )


# ------------------------------------------------------------------------------------------- what it says


def word(what: What) -> str:
    """Return a kind of change in the reader's language."""
    return {"added": tr("added"), "removed": tr("removed"), "changed": tr("changed")}[what]


def _version(package: PackageState | None) -> str:
    return " ".join(filter(None, [package.version, package.build])) if package else "–"


def _others(change: PackageChange) -> list[str]:
    """Return the other differences; the hash only where version and build are the same, which is odd."""
    lines = []
    for name in change.fields:
        before, after = getattr(change.before, name), getattr(change.after, name)
        if name == "size":
            before, after = f"{before / 1e6:.1f} MB", f"{after / 1e6:.1f} MB"
        if name == "hash":
            if {"version", "build"} & set(change.fields):
                continue
            before, after = _short(before), _short(after)
        if name not in ("version", "build"):
            lines.append(f"{_field(name)}: {before} → {after}")
    return lines


def _short(digest: str) -> str:
    return ", ".join(value[: value.find(":") + 1 + _HASH_SHOWN] for value in digest.split(",")[:3])


def _field(name: str) -> str:
    return {
        "hash": tr("hash"),
        "channel": tr("channel"),
        "licence": tr("licence"),
        "size": tr("size"),
    }[name]


def _where(change: PackageChange) -> str:
    """Return ``cuda linux-64 win-64, cpu linux-64``."""
    platforms: dict[str, list[str]] = {}
    for environment, platform in change.where:
        platforms.setdefault(environment, []).append(platform)
    return ", ".join(" ".join(filter(None, [name, *found])) for name, found in platforms.items())


def _rows(found: Iterable[PackageChange]) -> list[list[str]]:
    return [
        [
            change.name,
            word(change.what),
            _version(change.before),
            _version(change.after),
            "; ".join(_others(change)),
            _where(change),
        ]
        for change in found
    ]


def _headers() -> list[str]:
    return [tr("package"), tr("what"), tr("before"), tr("after"), tr("besides"), tr("where")]


def summary(found: Iterable[PackageChange]) -> str:
    """Return one line with the number of each kind."""
    kinds = [change.what for change in found]
    if not kinds:
        return tr("Nothing differs.")
    return tr(
        "{added} added, {removed} removed, {changed} changed.",
        added=kinds.count("added"),
        removed=kinds.count("removed"),
        changed=kinds.count("changed"),
    )


def show(found: list[PackageChange]) -> None:
    """Print a table and the summary."""
    if found:
        print_table(_headers(), _rows(found))
    say(summary(found))


def markdown(found: list[PackageChange]) -> str:
    """Return summary and table for a pull request, with nothing of a package's own text as markup."""
    lines = [summary(found)]
    if found:
        lines += ["", _line(_headers()), "|" + "---|" * len(_headers())]
        lines += [_line([_cell(text) for text in row]) for row in _rows(found)]
    return "\n".join(lines) + "\n"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    """Escape everything but ordinary names, addresses too; those stay readable in the source."""
    text = printable(text)
    plain = re.fullmatch(r"(?:[A-Za-z0-9 .,=/:;→–+-]|(?<=[A-Za-z0-9])_(?=[A-Za-z0-9]))*", text)
    return text if plain and not re.search(r"://|www\.|:\w+:", text) else escaped(text)
