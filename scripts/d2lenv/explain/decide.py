"""Which cause it is: where an environment is at hand, the doctor's findings decide."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from d2lenv.base.files import absolute
from d2lenv.doctor import command
from d2lenv.doctor.model import Finding
from d2lenv.doctor.probe import gather
from d2lenv.explain.match import Match
from d2lenv.explain.rows import Cause
from d2lenv.facts.engines import PACKAGES


@dataclass(frozen=True)
class Judged:
    """A cause, and the doctor's findings that prove it."""

    cause: Cause
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Answer:
    """A known error with its causes, the proven ones first."""

    match: Match
    causes: tuple[Judged, ...]

    @property
    def proven(self) -> bool:
        return any(judged.findings for judged in self.causes)


@dataclass(frozen=True)
class Verdict:
    """All that the text says.

    Attributes:
        prefix: the environment that the doctor examined, if it was asked.
    """

    answers: tuple[Answer, ...]
    prefix: Path | None


def decide(matches: Sequence[Match], named: str | None, root: Path | None) -> Verdict:
    """Return the answers in the order of how sure they are.

    Args:
        named: an environment by its name or path, or nothing for none.
        root: the workspace that the user named.

    Raises:
        D2lEnvError: if there is no environment of that name.
    """
    codes = {code for match in matches for cause in match.row.causes for code in cause.codes}
    if named is None or not codes:
        return Verdict(tuple(_answer(match, ()) for match in matches), None)
    prefix, findings = command.examined(named, root)
    # A note is there in healthy environments too; "not checked" says, for one, that no driver answers.
    telling = [finding for finding in findings if finding.severity != "info"]
    answers = [_answer(match, telling) for match in matches]
    return Verdict(tuple(sorted(answers, key=lambda answer: not answer.proven)), prefix)


def _answer(match: Match, findings: Sequence[Finding]) -> Answer:
    judged = [
        Judged(cause, tuple(finding for finding in findings if finding.code in cause.codes))
        for cause in match.row.causes
    ]
    return Answer(match, tuple(sorted(judged, key=lambda one: not one.findings)))


def at_hand(environ: Mapping[str, str], root: Path | None) -> str | None:
    """Return the environment that is active, or the only one that is built here; not the tool's own."""
    stated = [environ[name] for name in ("VIRTUAL_ENV", "CONDA_PREFIX") if environ.get(name)]
    folders = stated or [str(path) for path in _built(root or gather.workspace_root(Path.cwd()))]
    own = absolute(Path(sys.prefix))
    others = [folder for folder in folders if Path(folder).is_dir() and absolute(Path(folder)) != own]
    return others[0] if stated and others else others[0] if len(others) == 1 else None


def _built(root: Path | None) -> list[Path]:
    if root is None:
        return []
    ours = [path for engine in PACKAGES for path in (root / ".d2lenv").glob(f"*-{engine}") if path.is_dir()]
    return sorted([*ours, *(path for path in (root / ".pixi" / "envs").glob("*") if path.is_dir())])
