"""Compare two prefixes file by file, after undoing the differences that two builds may have.

:data:`RULES` is the whole list of what may differ; a file that no rule makes equal is a difference.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections import Counter
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from d2lenv.base.errors import D2lEnvError
from d2lenv.base.messages import printable, tr
from d2lenv.prefix import records
from d2lenv.prefix.contents.prefix import read_prefix
from d2lenv.prefix.scan import Entry, Tree, digests, scan

Kind = Literal["only-first", "only-second", "type", "mode", "link", "size", "content"]

_PYC_HEADER = 16
_PLACE = b"/@prefix@"


@dataclass(frozen=True)
class PathDifference:
    """One path that is not the same in both.

    Attributes:
        package: who owns it, empty for none.
        detail: what each of them has.
    """

    path: str
    kind: Kind
    package: str
    detail: str = ""

    def as_json(self) -> dict[str, str]:
        return {
            "path": printable(self.path),
            "kind": self.kind,
            "package": self.package,
            "detail": self.detail,
        }


@dataclass(frozen=True)
class Comparison:
    """The comparison of two prefixes.

    Attributes:
        entries: how many paths were compared.
        size: bytes of the first one's files.
        undone: rule → number of files that are equal by it.
    """

    first: Path
    second: Path
    entries: int
    size: int
    undone: Mapping[str, int]
    differences: tuple[PathDifference, ...]

    @property
    def same(self) -> bool:
        return not self.differences

    def as_json(self) -> dict[str, object]:
        return {
            "first": str(self.first),
            "second": str(self.second),
            "entries": self.entries,
            "bytes": self.size,
            "undone": dict(self.undone),
            "differences": [difference.as_json() for difference in self.differences],
        }


@dataclass(frozen=True)
class Side:
    """One of the two prefixes, while a file of it is made comparable.

    Attributes:
        undone: paths whose digests differ by a rule that was applied before.
    """

    root: Path
    undone: Container[str]


@dataclass(frozen=True)
class Rule:
    """One difference that two builds of the same lock may have.

    Attributes:
        name: stable, for JSON.
        reason: why it may differ.
        pattern: the whole path of the files that it is for.
        undo: the file's content and its side → the content without the difference.
        late: it speaks of digests of other files, so it comes after their rules.
    """

    name: str
    reason: Callable[[], str]
    pattern: re.Pattern[str]
    undo: Callable[[bytes, Side, str], bytes]
    late: bool = False


def _without_prefix(data: bytes, side: Side, _path: str) -> bytes:
    """Replace the prefix's path by one word; in a binary with the zeros that fill up its place."""
    path = str(side.root)
    for spelling in dict.fromkeys([path, path.replace("\\", "\\\\"), path.replace("\\", "/")]):
        raw = spelling.encode("utf-8", "surrogateescape")
        if b"\0" in data:
            # conda keeps the length: the shorter the path, the more zeros follow the text that it begins.
            data = re.sub(re.escape(raw) + rb"([^\0]*)\0+", _PLACE + rb"\1" + b"\0", data)
        data = data.replace(raw, _PLACE)
    return data


def _bytecode(data: bytes, side: Side, path: str) -> bytes:
    """Drop the header, which holds the source's time, and the path by which compiled code names its file."""
    return _without_prefix(data[_PYC_HEADER:], side, path)


def _record(data: bytes, side: Side, path: str) -> bytes:
    site = posixpath.dirname(posixpath.dirname(path))
    kept = []
    for line in data.decode("utf-8", "surrogateescape").splitlines():
        name = line.rsplit(",", 2)[0].strip('"')
        if posixpath.normpath(posixpath.join(site, name)) not in side.undone:
            kept.append(line)
    return "\n".join(kept).encode("utf-8", "surrogateescape")


def _conda_meta(data: bytes, side: Side, _path: str) -> bytes:
    try:
        found: dict[str, Any] = json.loads(data)
        for key in ("extracted_package_dir", "package_tarball_full_path", "link"):
            found.pop(key, None)
        for item in found["paths_data"]["paths"]:
            if item["_path"] in side.undone:
                item.pop("sha256_in_prefix", None)
                item.pop("size_in_bytes", None)
                if "entry_point" in item["path_type"]:  # made by the installer: no other digest is known
                    item.pop("sha256", None)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return data
    return json.dumps(found, sort_keys=True).encode()


def _history(data: bytes, _side: Side, _path: str) -> bytes:
    return re.sub(rb"(?m)^==> .* <==$", b"", data)


RULES: tuple[Rule, ...] = (
    Rule(
        "bytecode-time",
        lambda: tr("bytecode holds the time of its source and its path; both are of the build"),
        re.compile(r".*\.pyc"),
        _bytecode,
    ),
    Rule(
        "history",
        lambda: tr("conda-meta/history notes when a package was installed"),
        re.compile(r"conda-meta/history"),
        _history,
    ),
    Rule(
        "record",
        lambda: tr("RECORD repeats the digests of files that differ by another rule of this table"),
        re.compile(r".*\.dist-info/RECORD"),
        _record,
        late=True,
    ),
    Rule(
        "conda-meta",
        lambda: tr(
            "conda-meta notes the cache, the kind of link and the digests of files that hold the prefix"
        ),
        re.compile(r"conda-meta/[^/]+\.json"),
        _conda_meta,
        late=True,
    ),
    Rule(
        "prefix",
        lambda: tr("a program that must find its own environment has the prefix's path written into it"),
        re.compile(r".*"),
        _without_prefix,
    ),
)
"""All that may differ, most specific first; a file is judged by the first rule whose pattern fits."""


def compare(first: Path, second: Path, progress: Callable[[int], None] = lambda _bytes: None) -> Comparison:
    """Compare two prefixes: path, type, mode, size, content, link target. Times are not compared.

    Raises:
        D2lEnvError: if a file or folder of one of them cannot be read.
    """
    trees = scan(first), scan(second)
    sums = tuple(_digests(tree, progress) for tree in trees)
    owners = records.read(read_prefix(first)), records.read(read_prefix(second))
    left, right = (tree.entries for tree in trees)
    found: list[PathDifference] = []
    differing: list[str] = []

    def add(path: str, kind: Kind, detail: str = "") -> None:
        package = next((o.sources.get(path) or o.owner(path) for o in owners if o.owner(path)), "")
        package = package or next((o.sources[path] for o in owners if path in o.sources), "")
        found.append(PathDifference(path, kind, package, detail))

    for path in sorted(set(left) | set(right)):
        if path not in right:
            add(path, "only-first")
        elif path not in left:
            add(path, "only-second")
        else:
            one, other = left[path], right[path]
            if one.kind != other.kind:
                add(path, "type", f"{one.kind} / {other.kind}")
                continue
            if one.mode != other.mode and one.kind != "link":
                add(path, "mode", f"{one.mode:o} / {other.mode:o}")
            if one.kind == "link" and not _same_target(one, other, first, second):
                add(path, "link", f"{printable(one.target)} / {printable(other.target)}")
            if one.kind == "file" and sums[0][path] != sums[1][path]:
                differing.append(path)
    undone: dict[str, str] = {}
    for late in (False, True):
        for path in differing:
            rule = next(rule for rule in RULES if rule.pattern.fullmatch(path))
            if rule.late == late and _equal_by(rule, path, first, second, undone):
                undone[path] = rule.name
    for path in differing:
        if path not in undone:
            one, other = left[path], right[path]
            if one.size != other.size:
                add(path, "size", f"{one.size} / {other.size}")
            else:
                add(path, "content", f"{sums[0][path][:12]} / {sums[1][path][:12]}")
    return Comparison(
        first=first,
        second=second,
        entries=len(set(left) | set(right)),
        size=sum(entry.size for entry in left.values()),
        undone=dict(sorted(Counter(undone.values()).items())),
        differences=tuple(sorted(found, key=lambda item: (item.package, item.kind, item.path))),
    )


def _digests(tree: Tree, progress: Callable[[int], None]) -> dict[str, str]:
    found, failed = digests(tree.root, tree.entries.values(), progress)
    for path, why in (failed | dict(tree.unreadable)).items():
        raise D2lEnvError(tr("{path} cannot be read", path=tree.root / path), why=why)
    return found


def _same_target(one: Entry, other: Entry, first: Path, second: Path) -> bool:
    """Return True if both point to the same place; an absolute link may point into its own prefix."""
    return one.target.replace(first.as_posix(), "") == other.target.replace(second.as_posix(), "")


def _equal_by(rule: Rule, path: str, first: Path, second: Path, undone: Container[str]) -> bool:
    contents = [rule.undo((root / path).read_bytes(), Side(root, undone), path) for root in (first, second)]
    return contents[0] == contents[1]


def meaning(kind: Kind) -> str:
    """Return the meaning of a kind of difference in the reader's language."""
    texts: dict[Kind, str] = {
        "only-first": tr("only in the first"),
        "only-second": tr("only in the second"),
        "type": tr("another kind of entry"),
        "mode": tr("another mode"),
        "link": tr("another link target"),
        "size": tr("another size"),
        "content": tr("other content"),
    }
    return texts[kind]
