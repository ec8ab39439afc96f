"""A verification under way: the prefix, everything that vouches for it, and the mismatches so far."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from d2lenv.base.messages import printable, tr
from d2lenv.prefix.baseline import Baseline
from d2lenv.prefix.contents.model import Prefix
from d2lenv.prefix.records import Records
from d2lenv.prefix.scan import Tree

Kind = Literal[
    "not-built-from-this-lock",
    "baseline-missing",
    "package-missing",
    "package-extra",
    "package-differs",
    "record-changed",
    "record-damaged",
    "file-changed",
    "file-missing",
    "file-extra",
    "startup-extra",
    "kind-changed",
    "link-changed",
    "mode-changed",
    "bytecode-differs",
    "special",
    "unreadable",
    "d2l-not-released",
]


@dataclass(frozen=True)
class Mismatch:
    """One way in which the prefix is not what the lock says.

    Attributes:
        kind: see :func:`meaning`.
        path: in the prefix, empty when it is about a package.
        package: the owner of the path, empty for none.
        detail: what was expected and what is there.
    """

    kind: Kind
    path: str = ""
    package: str = ""
    detail: str = ""

    def as_json(self) -> dict[str, str]:
        return {
            "kind": self.kind,
            "path": printable(self.path),
            "package": printable(self.package),
            "detail": printable(self.detail),
        }


@dataclass
class Examination:
    """One verification under way.

    Attributes:
        baseline: None for a prefix that another client made.
        tolerated: name of the tolerance → number of entries.
        not_checked: lines about parts that could not be looked at, with the reason.
        unvouched: how many files nothing has a digest of.
    """

    prefix: Prefix
    tree: Tree
    records: Records
    baseline: Baseline | None
    findings: list[Mismatch] = field(default_factory=list)
    tolerated: Counter[str] = field(default_factory=Counter)
    not_checked: list[str] = field(default_factory=list)
    unvouched: int = 0

    @cached_property
    def known(self) -> Container[str]:
        """The paths that were there when the prefix was built: by the baseline, else by the packages."""
        if self.baseline is not None:
            return self.baseline.entries
        return {*self.records.of, *self.records.sources}

    def add(self, kind: Kind, path: str = "", detail: str = "", package: str = "") -> None:
        self.findings.append(Mismatch(kind, path, package or self.owner(path), detail))

    def owner(self, path: str) -> str:
        return self.records.sources.get(path) or self.records.owner(path)

    def expected(self, path: str) -> set[str]:
        """The digests that a file may have, empty when nothing vouches for it."""
        if self.baseline is not None and path in self.baseline.sha256:
            return {self.baseline.sha256[path]}
        return {line.sha256 for line in self.records.of.get(path, ()) if line.sha256}


def instead(name: str, wanted: str, found: str) -> str:
    """Return the detail of a finding: the name of what differs, the expected value and the one found."""
    return tr("{what}: {wanted} expected, {found} found", what=name, wanted=wanted, found=found or "–")


def meaning(kind: Kind) -> str:
    """Return the meaning of a kind of finding in the reader's language."""
    texts: dict[Kind, str] = {
        "not-built-from-this-lock": tr("built from another lock"),
        "baseline-missing": tr("baseline missing"),
        "package-missing": tr("package missing"),
        "package-extra": tr("package that the lock does not have"),
        "package-differs": tr("package differs from the lock"),
        "record-changed": tr("list of files changed"),
        "record-damaged": tr("list of files damaged"),
        "file-changed": tr("file changed"),
        "file-missing": tr("file missing"),
        "file-extra": tr("extra file"),
        "startup-extra": tr("extra file that Python runs at its start"),
        "kind-changed": tr("another kind of entry"),
        "link-changed": tr("link changed"),
        "mode-changed": tr("mode changed"),
        "bytecode-differs": tr("compiled file differs from its source"),
        "special": tr("not a file"),
        "unreadable": tr("unreadable"),
        "d2l-not-released": tr("not the released d2l"),
    }
    return texts[kind]
