"""What the packages of a prefix say of their own files: conda's ``paths_data`` and the wheels' ``RECORD``.

These are claims, not proof: who changes a file can change the line that speaks of it. What makes them worth
something is that the claims themselves are compared, with the manifest that the build left (see
:mod:`d2lenv.prefix.baseline`) and with the lock. Everything here is untrusted input.
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
from typing import Any, NamedTuple

from d2lenv.base.messages import tr
from d2lenv.prefix.read import CondaPackage, Distribution, Prefix, Unreadable, read_text
from d2lenv.prefix.scan import inside

_LIMIT = 256 << 20
# A relative path without `.`, `..`, an empty part or anything that a file name of a package seldom has.
_PLAIN = re.compile(r"(?!\.{1,2}/)[\w.+@-]+(?:/(?!\.{1,2}(?:/|$))[\w.+@-]+)*", re.ASCII)
# A line of RECORD with a digest: its own line and those of what was compiled at installation have none.
_HASHED = re.compile(r"^([^,\r\n]+),([^,\r\n][^\r\n]*)", re.MULTILINE)


class Claim(NamedTuple):
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

    Lines are compared as they stand, and no digest is decoded before two differ: a build asks this each time.
    """
    lines: dict[str, dict[str, dict[str, str]]] = {}
    for distribution in prefix.distributions:
        text = read_text(distribution.folder / "RECORD", _LIMIT, [])
        site = distribution.folder.relative_to(prefix.path).parent.as_posix()
        lines.setdefault(site, {})[distribution.key] = dict(_HASHED.findall(text))
    found: dict[str, dict[str, str]] = {}
    for site, owners in lines.items():
        seen: set[str] = set()
        twice: set[str] = set()
        for own in owners.values():
            twice |= seen & own.keys()
            seen |= own.keys()
        for path in twice:
            stated = {owner: own[path] for owner, own in owners.items() if path in own}
            if len(set(stated.values())) > 1:
                digests = _record_digests([line.partition(",")[0] for line in stated.values()])
                found[posixpath.normpath(f"{site}/{path}")] = dict(zip(stated, digests, strict=True))
    return found


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
    paths: list[str] = []
    digests: list[str] = []
    sizes: list[str] = []
    for number, row in enumerate(_rows(text), start=1):
        if len(row) == 3 and _PLAIN.fullmatch(row[0]):  # nearly all of them, in a tenth of the time
            path = f"{site}/{row[0]}"
        else:
            path = posixpath.normpath(posixpath.join(site, row[0])) if row and row[0] else ""
            if len(row) != 3 or not inside(path) or posixpath.isabs(row[0]):
                why = tr("line {number} names a file outside or is damaged: {line}", number=number, line=row)
                claims.problems.append((source, distribution.key, why))
                continue
        paths.append(path)
        digests.append(row[1])
        sizes.append(row[2])
    of, owner = claims.of, distribution.key
    for path, digest, size in zip(paths, _record_digests(digests), sizes, strict=True):
        claim = Claim(owner, digest, int(size) if size.isdecimal() else None)
        if path in of:
            of[path].append(claim)
        else:
            of[path] = [claim]


def _rows(text: str) -> Iterator[list[str]]:
    try:
        yield from csv.reader(text.splitlines(), strict=True)
    except csv.Error as error:
        yield [str(error)]


def _record_digests(texts: list[str]) -> list[str]:
    """``sha256=<urlsafe base64>`` as hex, each; empty for another or no digest."""
    usual = [text for text in texts if _DIGEST.fullmatch(text)]
    # 43 letters hold 32 bytes and two bits; a letter more makes 33 bytes, so all are decoded in one go.
    packed = "A".join(text[7:50] for text in usual) + "A"
    decoded = binascii.a2b_base64(packed.translate(_URLSAFE)).hex() if usual else ""
    found = iter(range(0, len(decoded), 66))
    hexes = {text: decoded[start : start + 64] for text, start in zip(usual, found, strict=True)}
    return [hexes.get(text, "") for text in texts]


_DIGEST = re.compile(r"sha256=[\w+/-]{43}=?", re.ASCII)
_URLSAFE = str.maketrans("-_", "+/")


def _hex(value: object) -> str:
    return value.lower() if isinstance(value, str) and len(value) == 64 else ""
