"""The packages' own lists of their files: conda's ``paths_data`` and the wheels' ``RECORD``.

A list proves nothing by itself, because whoever changes a file can change its line too. The lists are
compared with the baseline that the build left (:mod:`d2lenv.prefix.baseline`) and with the lock. Everything
here is untrusted input.
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
from typing import Any, Literal, NamedTuple

from packaging.utils import canonicalize_name

from d2lenv.base.messages import printable, tr
from d2lenv.prefix import locations
from d2lenv.prefix.contents.conda_meta import pure_places
from d2lenv.prefix.contents.model import CondaPackage, Distribution, Prefix, Unreadable
from d2lenv.prefix.contents.text import read_text
from d2lenv.prefix.scan import inside

_LIMIT = 256 << 20
# A relative path without `.`, `..`, an empty part or anything that a file name of a package seldom has.
_PLAIN = re.compile(r"(?!\.{1,2}/)[\w.+@-]+(?:/(?!\.{1,2}(?:/|$))[\w.+@-]+)*", re.ASCII)
# A line of RECORD with a digest about a file out of site-packages: what was compiled there has no digest.
_OUTSIDE = re.compile(r"^(\.\./[^,\r\n]+),([^,\r\n][^\r\n]*)", re.MULTILINE)


FileKind = Literal["file", "link", "entry-point", "bytecode"]


class FileRecord(NamedTuple):
    """One package's line about one file.

    Attributes:
        owner: the package's name.
        sha256: hex, empty when the line has none.
        size: bytes, None when the line has none, or when the installer wrote the prefix's path into the file.
        original: conda's sha256 before the installer wrote into the file, empty when it did not.
        kind: ``entry-point`` and ``bytecode`` are made by the installer, not by the package. The digest of a
            link is that of the file it points to, or of its own text.
    """

    owner: str
    sha256: str = ""
    size: int | None = None
    original: str = ""
    kind: FileKind = "file"


@dataclass(frozen=True)
class Records:
    """The lists of all packages of a prefix.

    Attributes:
        of: path → lines about it; more than one when packages share a file.
        sources: path of a RECORD or conda-meta file → its package.
        problems: (path, package, why) of what cannot be read or must not be followed.
    """

    of: dict[str, list[FileRecord]] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    problems: list[tuple[str, str, str]] = field(default_factory=list)

    def owner(self, path: str) -> str:
        """Return the package that owns ``path``, empty for none."""
        found = self.of.get(path)
        return found[0].owner if found else ""

    def hashed(self, path: str) -> bool:
        """Return True if some package states the digest of ``path``."""
        return any(line.sha256 for line in self.of.get(path, ()))


def conflicts(root: Path) -> dict[str, dict[str, str]]:
    """Return path → wheel → sha256 (hex), where several wheels bring different files out of site-packages.

    These are scripts and data. A build asks this each time: lines are compared as they stand, and no digest
    is decoded before two differ.
    """
    found: dict[str, dict[str, str]] = {}
    for site in locations.site_packages(root):
        lines: dict[str, dict[str, str]] = {}
        for folder in site.glob("*.dist-info"):
            owner = canonicalize_name(folder.name.removesuffix(".dist-info").rpartition("-")[0])
            for path, rest in _OUTSIDE.findall(read_text(folder / "RECORD", _LIMIT, [])):
                lines.setdefault(path, {})[owner] = rest
        below = site.relative_to(root).as_posix()
        for path, stated in lines.items():
            if len(set(stated.values())) > 1:
                found[posixpath.normpath(f"{below}/{path}")] = {
                    owner: _record_digest(line.partition(",")[0]) for owner, line in stated.items()
                }
    return found


def read(prefix: Prefix) -> Records:
    """Collect the lists, and never raise for what lies in the prefix."""
    records = Records()
    for package in prefix.conda:
        _conda(prefix.path, package, records)
    for distribution in prefix.distributions:
        if not distribution.conda and distribution.folder.name.endswith(".dist-info"):
            _wheel(prefix.path, distribution, records)
    return records


def _conda(root: Path, package: CondaPackage, records: Records) -> None:
    source = package.file.relative_to(root).as_posix()
    records.sources[source] = package.name
    trouble: list[Unreadable] = []
    text = read_text(package.file, _LIMIT, trouble)
    try:
        data = json.loads(text)
        rows = [(str(item["_path"]), item) for item in data["paths_data"]["paths"]]
        placed = pure_places(data)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        why = trouble[0].why if trouble else tr("it has no list of files: {reason}", reason=repr(error))
        records.problems.append((source, package.name, why))
        return
    for stated, item in rows:
        path = placed.get(stated, stated)
        if not inside(path):
            why = tr("it names a file outside: {path}", path=printable(path))
            records.problems.append((source, package.name, why))
        elif item.get("path_type") != "directory":
            records.of.setdefault(posixpath.normpath(path), []).append(_conda_line(package.name, item))


def _conda_line(owner: str, item: dict[str, Any]) -> FileRecord:
    packed, written = _hex(item.get("sha256")), _hex(item.get("sha256_in_prefix"))
    size = item.get("size_in_bytes")
    kind = _file_kind(str(item.get("path_type")))
    # The digest of a link's own text is not one that something was written into.
    patched = bool(written) and written != packed and kind != "link"
    return FileRecord(
        owner=owner,
        sha256=written or packed,
        size=size if isinstance(size, int) and not patched else None,
        original=packed if patched or kind == "link" else "",
        kind=kind,
    )


def _file_kind(path_type: str) -> FileKind:
    if "entry_point" in path_type:
        return "entry-point"
    return "link" if path_type == "softlink" else "bytecode" if path_type == "pyc_file" else "file"


def _wheel(root: Path, distribution: Distribution, records: Records) -> None:
    folder = distribution.folder.relative_to(root).as_posix()
    site = posixpath.dirname(folder)
    source = f"{folder}/RECORD"
    records.sources[source] = distribution.key
    trouble: list[Unreadable] = []
    text = read_text(distribution.folder / "RECORD", _LIMIT, trouble)
    if trouble:
        records.problems.append((source, distribution.key, trouble[0].why))
        return
    of, owner = records.of, distribution.key
    for number, row in enumerate(_rows(text), start=1):
        if len(row) == 3 and _PLAIN.fullmatch(row[0]):  # nearly all of them, in a tenth of the time
            path = f"{site}/{row[0]}"
        else:
            path = posixpath.normpath(posixpath.join(site, row[0])) if row and row[0] else ""
            if len(row) != 3 or not inside(path) or posixpath.isabs(row[0]):
                why = tr("line {number} names a file outside or is damaged: {line}", number=number, line=row)
                records.problems.append((source, distribution.key, why))
                continue
        line = FileRecord(owner, _record_digest(row[1]), int(row[2]) if row[2].isdecimal() else None)
        of.setdefault(path, []).append(line)


def _rows(text: str) -> Iterator[list[str]]:
    try:
        yield from csv.reader(text.splitlines(), strict=True)
    except csv.Error as error:
        yield [str(error)]


def _record_digest(text: str) -> str:
    """Return ``sha256=<urlsafe base64>`` as hex, empty for another or no digest."""
    if not _DIGEST.fullmatch(text):
        return ""
    return binascii.a2b_base64(text[7:50].replace("-", "+").replace("_", "/") + "=").hex()


_DIGEST = re.compile(r"sha256=[\w+/-]{43}=?", re.ASCII)


def _hex(value: object) -> str:
    return value.lower() if isinstance(value, str) and len(value) == 64 else ""
