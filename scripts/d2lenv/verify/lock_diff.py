"""``d2lenv diff A B``: what differs between two locks, prefixes, fingerprints or revisions of the lock."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

from d2lenv.base.console import print_table, say
from d2lenv.base.errors import USAGE, D2lEnvError
from d2lenv.base.git import GitError, git
from d2lenv.base.messages import printable, tr
from d2lenv.export.formats.text import escaped
from d2lenv.prefix import read as prefixes
from d2lenv.prefix.read import Unreadable, read_text
from d2lenv.solve import wheels
from d2lenv.verify.fingerprint import HEADS
from d2lenv.workspace import lockfile, settings
from d2lenv.workspace.manifest import LOCK, MANIFEST, Workspace

_JSON_LIMIT = 256 << 20
_HASH_SHOWN = 12

What = Literal["added", "removed", "changed"]


@dataclass(frozen=True)
class Package:
    """One package of one side; empty fields are unknown, not different.

    Attributes:
        kind: ``conda``, ``wheel``, or ``file`` of an installed fingerprint.
        hash: ``sha256:…`` or ``md5:…``; several of a wheel are joined by commas.
        size: bytes of the archive; 0 for unknown.
    """

    name: str
    kind: str
    version: str = ""
    build: str = ""
    hash: str = ""
    channel: str = ""
    licence: str = ""
    size: int = 0


Section = tuple[str, str]
"""(environment, platform)."""

Side = Mapping[Section, Mapping[tuple[str, str], Package]]
"""Section → (kind, name) → package."""


@dataclass(frozen=True)
class Change:
    """One package that differs, and where.

    Attributes:
        fields: which fields differ; empty for added and removed.
        where: the sections, sorted; the same change in several of them is one.
    """

    what: What
    name: str
    before: Package | None
    after: Package | None
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
) -> list[Change]:
    """What changed from ``first`` to ``second``.

    Args:
        first, second: a prefix, a lock or requirements file, a workspace, what ``fingerprint --json``
            printed, or a git revision of this workspace.
        environment: only this one.
        platform: only this one.

    Raises:
        D2lEnvError: if one of them is none of these, or nobody has that environment.
    """

    def asked(word: str) -> Side:
        return {
            section: packages
            for section, packages in read(workspace, word).items()
            if environment in (None, section[0]) and platform in (None, section[1])
        }

    left, right = asked(first), asked(second)
    if environment is not None and not left and not right:
        settings.get(workspace, environment)  # one that nobody has is a wrong word, not a comparison
    if len(left) == 1 or len(right) == 1:
        left, right = _alone(left, right)
    return changes(left, right)


def _alone(left: Side, right: Side) -> tuple[Side, Side]:
    """One environment against many: only it counts; one against one: whatever they are called."""
    if len(left) == len(right) == 1:
        return left, {next(iter(left)): next(iter(right.values()))}
    keep = next(iter(left if len(left) == 1 else right))
    return (
        {section: packages for section, packages in left.items() if section == keep},
        {section: packages for section, packages in right.items() if section == keep},
    )


def changes(left: Side, right: Side) -> list[Change]:
    """The differences, the same one in several sections once, sorted by name."""
    found: dict[tuple[Package | None, Package | None], list[Section]] = {}
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
        rows.append(Change(what, package.name, one, other, fields, tuple(where)))
    return sorted(rows, key=lambda row: (row.name, row.where, row.what))


def _differing(one: Package, other: Package) -> tuple[str, ...]:
    """Fields that both know and that differ."""
    return tuple(
        name
        for name in _FIELDS
        if (before := getattr(one, name)) and (after := getattr(other, name)) and before != after
    )


# ------------------------------------------------------------------------------------------------ the sides


def read(workspace: Workspace, word: str) -> Side:
    """The packages that ``word`` stands for.

    Raises:
        D2lEnvError: it is no prefix, lock, fingerprint or revision.
    """
    path = Path(word)
    if path.is_dir():
        if (path / MANIFEST).is_file() and (path / LOCK).is_file():
            return _of_files(path)
        return _of_prefix(path)
    if path.is_file():
        if path.suffix == ".json":
            return _of_fingerprint(path)
        if path.suffix == ".txt":
            pins = wheels.parse(path.read_text(encoding="utf-8", errors="replace"), str(path))
            platform = path.stem.removeprefix("requirements-")
            return {(path.absolute().parent.name, platform): dict(map(_pin, pins))}
        return _of_lock(path)
    return _of_revision(workspace, word)


def _of_files(root: Path) -> Side:
    found: dict[Section, dict[tuple[str, str], Package]] = {
        section: dict(packages) for section, packages in _of_lock(root / LOCK).items()
    }
    for file in sorted(root.glob("envs/*/requirements-*.txt")):
        pins = wheels.parse(file.read_text(encoding="utf-8", errors="replace"), str(file))
        section = file.parent.name, file.stem.removeprefix("requirements-")
        found.setdefault(section, {}).update(map(_pin, pins))
    return found


def _of_lock(path: Path) -> Side:
    lock = lockfile.read(path)
    found: dict[Section, dict[tuple[str, str], Package]] = {}
    for environment, platform in lock.pairs():
        packages = found.setdefault((environment, platform), {})
        for record in lock.records(environment, platform):
            packages["conda", record.name.normalized] = _record(json.loads(record.to_json()))
        for wheel in lock.wheels(environment, platform):
            packages["wheel", wheel.name] = Package(wheel.name, "wheel", str(wheel.version))
    return found


def _record(data: Mapping[str, Any]) -> Package:
    def text(key: str) -> str:
        value = data.get(key)
        return value if isinstance(value, str) else ""

    digest = f"sha256:{text('sha256')}" if text("sha256") else f"md5:{text('md5')}" if text("md5") else ""
    size = data.get("size")
    return Package(
        name=text("name"),
        kind="conda",
        version=text("version"),
        build=text("build"),
        hash=digest,
        channel=_channel(text("url")),
        licence=text("license"),
        size=size if isinstance(size, int) else 0,
    )


def _channel(url: str) -> str:
    """``https://conda.anaconda.org/pytorch/linux-64/x.conda`` → ``https://conda.anaconda.org/pytorch``."""
    return url.rsplit("/", 2)[0] if url.count("/") > 2 else ""


def _pin(pin: wheels.Pin) -> tuple[tuple[str, str], Package]:
    digest = ",".join(f"sha256:{value}" for value in pin.sha256)
    return ("wheel", pin.name), Package(pin.name, "wheel", pin.version, hash=digest)


def _of_prefix(path: Path) -> Side:
    content = prefixes.read(path)
    if content.kind == "unknown":
        raise D2lEnvError(
            tr("{path} is no environment", path=path),
            fix=tr("give a prefix, a lock file, a fingerprint file or a git revision"),
            status=USAGE,
        )
    packages: dict[tuple[str, str], Package] = {}
    for conda in content.conda:
        try:
            data = json.loads(read_text(conda.file, _JSON_LIMIT, []))
            packages["conda", conda.name] = _record({**data, "name": conda.name})
        except (ValueError, TypeError, RecursionError):
            packages["conda", conda.name] = Package(conda.name, "conda", conda.version, conda.build)
    for wheel in content.distributions:
        if not wheel.conda:
            packages["wheel", wheel.key] = Package(wheel.key, "wheel", wheel.version)
    stated = content.marker.get("environment")
    name = stated if isinstance(stated, str) else ""
    return {(name, content.platform): packages}


def _of_fingerprint(path: Path) -> Side:
    trouble: list[Unreadable] = []
    try:
        data = json.loads(read_text(path, _JSON_LIMIT, trouble))
        found: dict[Section, dict[tuple[str, str], Package]] = {}
        for one in data["fingerprints"]:
            head, *lines = one["lines"]
            kind = next(kind for kind, text in HEADS.items() if text == head)
            section = str(one["environment"]), str(one["platform"])
            found.setdefault(section, {}).update(_LINES[kind](str(line)) for line in lines)
    except (ValueError, KeyError, TypeError, StopIteration, RecursionError) as error:
        raise D2lEnvError(
            tr("{path} is not what `d2lenv fingerprint --json` prints", path=path),
            why=trouble[0].why if trouble else repr(error),
            status=USAGE,
        ) from error
    return found


def _lock_line(line: str) -> tuple[tuple[str, str], Package]:
    url, digest = line.rsplit(" ", 1)
    stem = re.sub(r"\.(conda|tar\.bz2)$", "", url.rpartition("/")[2])
    name, version, built = stem.rsplit("-", 2)
    digest = "" if digest == "-" else digest
    return ("conda", name), Package(name, "conda", version, built, digest, _channel(url))


def _wheel_line(line: str) -> tuple[tuple[str, str], Package]:
    pin, digest = line.split(" ")
    name, version = pin.split("==")
    return ("wheel", name), Package(name, "wheel", version, hash=digest)


def _installed_line(line: str) -> tuple[tuple[str, str], Package]:
    kind, path, *rest = line.split(" ")
    name = printable(unquote(path))
    return ("file", name), Package(name, "file", kind, hash=" ".join(map(unquote, rest)))


_LINES: Mapping[str, Callable[[str], tuple[tuple[str, str], Package]]] = {
    "lock": _lock_line,
    "wheels": _wheel_line,
    "installed": _installed_line,
}


def _of_revision(workspace: Workspace, revision: str) -> Side:
    """The lock and the requirements of a commit, a tag or a branch."""
    listing = _git(
        workspace.root, revision, "ls-tree", "-r", "--name-only", "-z", "--end-of-options", revision
    )
    names = [
        name
        for name in listing.split("\0")
        if name == LOCK or re.fullmatch(r"envs/[\w-]+/requirements-[\w-]+\.txt", name)
    ]
    if LOCK not in names:
        raise D2lEnvError(tr("{revision} has no {file}", revision=revision, file=LOCK), status=USAGE)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in names:
            target = root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            text = _git(workspace.root, revision, "show", "--end-of-options", f"{revision}:./{name}")
            target.write_text(text, encoding="utf-8")
        return _of_files(root)


def _git(root: Path, revision: str, *words: str) -> str:
    try:
        return git(root, *words)
    except GitError as error:
        raise D2lEnvError(
            tr("`{word}` is no file, no folder and no git revision", word=revision),
            why=str(error),
            fix=tr("give a prefix, a lock file, a fingerprint file or a git revision"),
            status=USAGE,
        ) from error


# ------------------------------------------------------------------------------------------- what it says


def word(what: What) -> str:
    """A kind of change in the reader's language."""
    return {"added": tr("added"), "removed": tr("removed"), "changed": tr("changed")}[what]


def _version(package: Package | None) -> str:
    return " ".join(filter(None, [package.version, package.build])) if package else "–"


def _others(change: Change) -> list[str]:
    """What besides version and build differs; the hash only where those are the same, which is odd."""
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


def _where(change: Change) -> str:
    """``cuda linux-64 win-64, cpu linux-64``."""
    platforms: dict[str, list[str]] = {}
    for environment, platform in change.where:
        platforms.setdefault(environment, []).append(platform)
    return ", ".join(" ".join(filter(None, [name, *found])) for name, found in platforms.items())


def _rows(found: Iterable[Change]) -> list[list[str]]:
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


def summary(found: Iterable[Change]) -> str:
    """One line: how many of each kind."""
    kinds = [change.what for change in found]
    if not kinds:
        return tr("Nothing differs.")
    return tr(
        "{added} added, {removed} removed, {changed} changed.",
        added=kinds.count("added"),
        removed=kinds.count("removed"),
        changed=kinds.count("changed"),
    )


def show(found: list[Change]) -> None:
    """A table and the summary."""
    if found:
        print_table(_headers(), _rows(found))
    say(summary(found))


def markdown(found: list[Change]) -> str:
    """For a pull request: the summary and the table, with nothing of a package's own text as markup."""
    lines = [summary(found)]
    if found:
        lines += ["", _line(_headers()), "|" + "---|" * len(_headers())]
        lines += [_line([_cell(text) for text in row]) for row in _rows(found)]
    return "\n".join(lines) + "\n"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    """Ordinary names stay readable in the source; everything else, addresses too, is escaped."""
    text = printable(text)
    plain = re.fullmatch(r"(?:[A-Za-z0-9 .,=/:;→–+-]|(?<=[A-Za-z0-9])_(?=[A-Za-z0-9]))*", text)
    return text if plain and not re.search(r"://|www\.|:\w+:", text) else escaped(text)
