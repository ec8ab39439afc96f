"""Digests that two machines can compare: of what is locked, and of what is installed.

docs/fingerprint.md says exactly what is hashed, in what order; tests/test_fingerprint.py computes it a second
time from that page alone. Change neither without a new number in the first line of the text.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from rattler import RepoDataRecord

from d2lenv.base.errors import D2lEnvError
from d2lenv.base.messages import tr
from d2lenv.prefix import read as prefixes
from d2lenv.prefix import records as claims
from d2lenv.prefix.baseline import VENV
from d2lenv.prefix.records import Claims
from d2lenv.prefix.scan import Entry, digests, scan
from d2lenv.solve import wheels
from d2lenv.verify.files import Surroundings, question, tolerance
from d2lenv.workspace import lockfile, settings
from d2lenv.workspace.manifest import Workspace

Kind = Literal["lock", "wheels", "installed"]

HEADS: dict[Kind, str] = {
    "lock": "d2lenv lock 1",
    "wheels": "d2lenv wheels 1",
    "installed": "d2lenv installed 1",
}
"""The first line of each text that is hashed: what it is and the number of its format."""

# Written by the installer about itself: other words for the same files.
_INSTALLER = re.compile(r"conda-meta/.*|(.*/)?[^/]+\.dist-info/(RECORD|INSTALLER|REQUESTED)")


@dataclass(frozen=True)
class Fingerprint:
    """One digest and what it was made of.

    Attributes:
        kind: ``lock`` (pixi.lock), ``wheels`` (the requirements file), ``installed`` (a prefix).
        digest: sha256 (hex) of the text.
        lines: the text's lines after the first, sorted.
    """

    environment: str
    platform: str
    kind: Kind
    digest: str
    lines: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.environment} {self.platform} {self.kind}:{self.digest}"

    def as_json(self) -> dict[str, object]:
        return {
            "environment": self.environment,
            "platform": self.platform,
            "kind": self.kind,
            "digest": self.digest,
            "lines": [HEADS[self.kind], *self.lines],
        }


def of_lock(workspace: Workspace, environment: str, platform: str) -> Fingerprint:
    """Of what pixi.lock has for (environment, platform).

    Raises:
        D2lEnvError: it has not.
    """
    records = lockfile.read(workspace.lock).records(environment, platform)
    return _made("lock", environment, platform, (_record_line(record) for record in records))


def of_wheels(workspace: Workspace, environment: str, platform: str) -> Fingerprint:
    """Of what the requirements file of (environment, platform) has.

    Raises:
        D2lEnvError: there is none.
    """
    pins = wheels.read(workspace, environment, platform)
    lines = (
        f"{pin.name}=={pin.version} {','.join(f'sha256:{digest}' for digest in sorted(pin.sha256))}"
        for pin in pins
    )
    return _made("wheels", environment, platform, lines)


def of_environment(workspace: Workspace, environment: str, platform: str) -> Fingerprint:
    """Of pixi.lock where it has the environment, else of the wheels.

    Raises:
        D2lEnvError: if there is no such environment, or neither has it for this platform.
    """
    settings.get(workspace, environment)
    if platform in lockfile.read(workspace.lock).platforms(environment):
        return of_lock(workspace, environment, platform)
    if wheels.path_of(workspace, environment, platform).is_file():
        return of_wheels(workspace, environment, platform)
    raise D2lEnvError(
        tr("nothing is locked for {name} on {platform}", name=environment, platform=platform),
        fix=tr("choose one of: {names}", names=", ".join(workspace.environments)),
    )


def of_prefix(
    workspace: Workspace, place: Path, progress: Callable[[int], None] = lambda _bytes: None
) -> tuple[Fingerprint, Fingerprint]:
    """Of the lock that the prefix at ``place`` was built from, and of what is installed there.

    Raises:
        D2lEnvError: it is of no environment of the workspace, or a file of it cannot be read.
    """
    content = prefixes.read(place)
    asked = question(workspace, content)
    of = of_wheels if asked.engine == "wheels" else of_lock
    locked = of(workspace, asked.environment, asked.platform)
    return locked, _made(
        "installed", asked.environment, asked.platform, installed_lines(place, claims.read(content), progress)
    )


def installed_lines(
    place: Path, claimed: Claims, progress: Callable[[int], None] = lambda _bytes: None
) -> Iterator[str]:
    """A line for each file and link that counts, in no order.

    Raises:
        D2lEnvError: one of them cannot be read.
    """
    tree = scan(place)
    around = Surroundings(place, claimed.of)
    counted = [entry for entry in tree.entries.values() if _counts(entry, claimed, around)]
    found, failed = digests(place, counted, progress)
    for path, why in (failed | dict(tree.unreadable)).items():
        raise D2lEnvError(tr("{path} cannot be read", path=place / path), why=why)
    for entry in counted:
        if entry.kind == "link":
            yield f"link {_quoted(entry.path)} {_quoted(entry.target)}"
        elif entry.kind == "special":
            yield f"special {_quoted(entry.path)}"
        else:
            runs = "x" if entry.mode & 0o100 else "-"
            yield f"file {_quoted(entry.path)} {runs} {_original(entry.path, found[entry.path], claimed)}"


def _counts(entry: Entry, claimed: Claims, around: Surroundings) -> bool:
    if entry.kind == "folder" or _INSTALLER.fullmatch(entry.path):
        return False
    if entry.path in claimed.of:
        return not re.fullmatch(r"(.*/)?__pycache__/[^/]+\.pyc", entry.path)
    return not VENV.fullmatch(entry.path) and tolerance(around, entry) is None


def _original(path: str, digest: str, claimed: Claims) -> str:
    """The digest in the package, where the file is that one with the prefix's path written into it."""
    for claim in claimed.of.get(path, ()):
        if claim.original and claim.sha256 == digest:
            return claim.original
    return digest


def _quoted(path: str) -> str:
    return quote(os.fsencode(path), safe="/")


def _record_line(record: RepoDataRecord) -> str:
    if record.sha256:
        return f"{record.url} sha256:{record.sha256.hex()}"
    return f"{record.url} md5:{record.md5.hex()}" if record.md5 else f"{record.url} -"


def _made(kind: Kind, environment: str, platform: str, lines: Iterable[str]) -> Fingerprint:
    ordered = tuple(sorted(lines, key=lambda line: line.encode("utf-8")))
    text = "".join(f"{line}\n" for line in (HEADS[kind], *ordered))
    return Fingerprint(environment, platform, kind, hashlib.sha256(text.encode("utf-8")).hexdigest(), ordered)
