"""What the packages of a prefix say of their own files: conda's ``paths_data`` and the wheels' ``RECORD``.

These are claims, not proof: who changes a file can change the line that speaks of it. What makes them worth
something is that the claims themselves are compared, with the manifest that the build left (see
:mod:`d2lenv.manifest`) and with the lock. Everything here is untrusted input.
"""

from __future__ import annotations

import binascii
import csv
import json
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from d2lenv.messages import tr
from d2lenv.prefix import CondaPackage, Distribution, Prefix, Unreadable, read_text
from d2lenv.tree import inside

_LIMIT = 256 << 20
# A relative path without `.`, `..`, an empty part or anything that a file name of a package seldom has.
_PLAIN = re.compile(r"(?!\.{1,2}/)[\w.+@-]+(?:/(?!\.{1,2}(?:/|$))[\w.+@-]+)*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Claim:
    """What one package says of one file.

    Attributes:
        owner: the package's name.
        sha256: hex; empty when it does not say.
        size: bytes; None when it does not say, or when the installer wrote the prefix's path into the file.
        original: conda's sha256 before that; empty when nothing was written into the file, ``generated`` when
            the installer made the whole file (a Python entry point).
        link: the package says that it is a link (its digest is then of what it points to).
    """

    owner: str
    sha256: str = ""
    size: int | None = None
    original: str = ""
    link: bool = False


@dataclass(frozen=True)
class Claims:
    """What all packages of a prefix say.

    Attributes:
        of: path → claims; more than one when packages share a file.
        sources: path of a RECORD or conda-meta file → its package.
        problems: (path, package, why) of what cannot be read or must not be followed.
    """

    of: dict[str, list[Claim]] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    problems: list[tuple[str, str, str]] = field(default_factory=list)

    def owner(self, path: str) -> str:
        """The package that owns ``path``; empty for none."""
        found = self.of.get(path)
        return found[0].owner if found else ""

    def hashed(self, path: str) -> bool:
        """Whether some package states the digest of ``path``."""
        return any(claim.sha256 for claim in self.of.get(path, ()))


def conflicts(prefix: Prefix) -> dict[str, dict[str, str]]:
    """Path → wheel → sha256 (hex), for the paths to which several wheels bring different files.

    Only lines are compared, no digest is decoded before two differ: a build asks this each time.
    """
    seen: dict[str, dict[str, str]] = {}
    for distribution in prefix.distributions:
        site = distribution.folder.relative_to(prefix.path).parent.as_posix()
        for line in read_text(distribution.folder / "RECORD", _LIMIT, []).splitlines():
            path, _, rest = line.partition(",")
            if not rest.startswith(","):  # its own RECORD and what it compiled have no digest
                place = f"{site}/{path}" if "../" not in path else posixpath.normpath(f"{site}/{path}")
                seen.setdefault(place, {})[distribution.key] = rest
    return {
        path: {owner: _record_digest(rest.partition(",")[0]) for owner, rest in owners.items()}
        for path, owners in seen.items()
        if len(set(owners.values())) > 1
    }


def read(prefix: Prefix) -> Claims:
    """Collect the claims; never raises for what lies in the prefix."""
    claims = Claims()
    for package in prefix.conda:
        _conda(prefix.path, package, claims)
    for distribution in prefix.distributions:
        if not distribution.conda and distribution.folder.name.endswith(".dist-info"):
            _wheel(prefix.path, distribution, claims)
    return claims


def _conda(root: Path, package: CondaPackage, claims: Claims) -> None:
    source = package.file.relative_to(root).as_posix()
    claims.sources[source] = package.name
    trouble: list[Unreadable] = []
    text = read_text(package.file, _LIMIT, trouble)
    try:
        items = json.loads(text)["paths_data"]["paths"]
        rows = [(str(item["_path"]), item) for item in items]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        why = trouble[0].why if trouble else tr("it has no list of files: {reason}", reason=repr(error))
        claims.problems.append((source, package.name, why))
        return
    for path, item in rows:
        if not inside(path):
            claims.problems.append((source, package.name, tr("it names a file outside: {path}", path=path)))
        elif item.get("path_type") != "directory":
            claims.of.setdefault(posixpath.normpath(path), []).append(_conda_claim(package.name, item))


def _conda_claim(owner: str, item: dict[str, Any]) -> Claim:
    packed, written = _hex(item.get("sha256")), _hex(item.get("sha256_in_prefix"))
    kind, size = str(item.get("path_type")), item.get("size_in_bytes")
    patched = bool(written) and written != packed
    return Claim(
        owner=owner,
        sha256=written or packed,
        size=size if isinstance(size, int) and not patched else None,
        original="generated" if "entry_point" in kind else packed if patched else "",
        link=kind == "softlink",
    )


def _wheel(root: Path, distribution: Distribution, claims: Claims) -> None:
    folder = distribution.folder.relative_to(root).as_posix()
    site = posixpath.dirname(folder)
    source = f"{folder}/RECORD"
    claims.sources[source] = distribution.key
    trouble: list[Unreadable] = []
    text = read_text(distribution.folder / "RECORD", _LIMIT, trouble)
    if trouble:
        claims.problems.append((source, distribution.key, trouble[0].why))
        return
    for number, row in enumerate(_rows(text), start=1):
        if len(row) == 3 and _PLAIN.fullmatch(row[0]):  # nearly all of them, in a tenth of the time
            path = f"{site}/{row[0]}"
        elif row and row[0]:
            path = posixpath.normpath(posixpath.join(site, row[0]))
        else:
            path = ""
        if len(row) != 3 or not inside(path) or posixpath.isabs(row[0]):
            why = tr("line {number} names a file outside or is damaged: {line}", number=number, line=row)
            claims.problems.append((source, distribution.key, why))
            continue
        claims.of.setdefault(path, []).append(
            Claim(distribution.key, _record_digest(row[1]), int(row[2]) if row[2].isdecimal() else None)
        )


def _rows(text: str) -> Iterator[list[str]]:
    try:
        yield from csv.reader(text.splitlines(), strict=True)
    except csv.Error as error:
        yield [str(error)]


def _record_digest(text: str) -> str:
    """``sha256=<urlsafe base64>`` as hex; empty for another or no digest."""
    if not text.startswith("sha256="):
        return ""
    value = text[7:]
    try:
        raw = binascii.a2b_base64(value.translate(_URLSAFE) + "=" * (-len(value) % 4))
    except (binascii.Error, ValueError):
        return ""
    return raw.hex() if len(raw) == 32 else ""


_URLSAFE = str.maketrans("-_", "+/")


def _hex(value: object) -> str:
    return value.lower() if isinstance(value, str) and len(value) == 64 else ""
