"""Read the packages of a lock, a prefix, a fingerprint or a revision of the lock, all in one form."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from d2lenv.base.errors import USAGE, D2lEnvError
from d2lenv.base.git import GitError, git
from d2lenv.base.messages import printable, tr
from d2lenv.prefix.contents.model import Unreadable
from d2lenv.prefix.contents.prefix import read_prefix
from d2lenv.prefix.contents.text import read_text
from d2lenv.verify.fingerprint import HEADS, SEVERAL_PYTHONS
from d2lenv.workspace import lockfile
from d2lenv.workspace import pins as pinned
from d2lenv.workspace.manifest import LOCK, MANIFEST, Workspace

_JSON_LIMIT = 256 << 20


@dataclass(frozen=True)
class PackageState:
    """One package. An empty field is unknown, not different.

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

PackageSets = Mapping[Section, Mapping[tuple[str, str], PackageState]]
"""Section → (kind, name) → package."""


def read_package_sets(workspace: Workspace, word: str) -> PackageSets:
    """Return the packages that ``word`` stands for.

    Raises:
        D2lEnvError: if it is no prefix, lock, fingerprint or revision.
    """
    path = Path(word)
    if path.is_dir():
        if (path / MANIFEST).is_file() and (path / LOCK).is_file():
            return _of_files(path, workspace)
        return _of_prefix(path)
    if path.is_file():
        if path.suffix == ".json":
            return _of_fingerprint(path)
        if path.suffix == ".txt":
            return _of_requirements(path)
        return _of_lock(path, workspace)
    return _of_revision(workspace, word)


def _of_files(root: Path, workspace: Workspace) -> PackageSets:
    found: dict[Section, dict[tuple[str, str], PackageState]] = {
        section: dict(packages) for section, packages in _of_lock(root / LOCK, workspace).items()
    }
    for file in sorted([*root.glob("envs/*/requirements-*.txt"), *root.glob("envs/*/requirements.txt")]):
        for section, packages in _of_requirements(file).items():
            found.setdefault(section, {}).update(packages)
    return found


def _of_requirements(path: Path) -> PackageSets:
    """Return the pins of a requirements file; one for all platforms names none."""
    pins = pinned.parse(path.read_text(encoding="utf-8", errors="replace"), str(path))
    platform = path.stem.removeprefix("requirements").removeprefix("-")
    return {(path.absolute().parent.name, platform): dict(map(_pin, pins))}


def _of_lock(path: Path, workspace: Workspace) -> PackageSets:
    lock = lockfile.read(path, workspace.platforms)
    found: dict[Section, dict[tuple[str, str], PackageState]] = {}
    for environment, platform in lock.pairs():
        packages = found.setdefault((environment, platform), {})
        for record in lock.records(environment, platform):
            packages["conda", record.name.normalized] = _record(json.loads(record.to_json()))
        for wheel in lock.wheels(environment, platform):
            packages["wheel", wheel.name] = PackageState(wheel.name, "wheel", str(wheel.version))
    return found


def _record(data: Mapping[str, Any]) -> PackageState:
    def text(key: str) -> str:
        value = data.get(key)
        return value if isinstance(value, str) else ""

    digest = f"sha256:{text('sha256')}" if text("sha256") else f"md5:{text('md5')}" if text("md5") else ""
    size = data.get("size")
    return PackageState(
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
    """Return ``https://conda.anaconda.org/pytorch`` of
    ``https://conda.anaconda.org/pytorch/linux-64/x.conda``."""
    return url.rsplit("/", 2)[0] if url.count("/") > 2 else ""


def _pin(pin: pinned.Pin) -> tuple[tuple[str, str], PackageState]:
    digest = ",".join(f"sha256:{value}" for value in pin.sha256)
    # One release may be there for some Pythons and another one for the others.
    name = f"{pin.name} ; {pin.marker}" if pin.marker else pin.name
    return ("wheel", name), PackageState(name, "wheel", pin.version, hash=digest)


def _of_prefix(path: Path) -> PackageSets:
    content = read_prefix(path)
    if content.kind == "unknown":
        raise D2lEnvError(
            tr("{path} is no environment", path=path),
            fix=tr("give a prefix, a lock file, a fingerprint file or a git revision"),
            status=USAGE,
        )
    packages: dict[tuple[str, str], PackageState] = {}
    for conda in content.conda:
        try:
            data = json.loads(read_text(conda.file, _JSON_LIMIT, []))
            packages["conda", conda.name] = _record({**data, "name": conda.name})
        except (ValueError, TypeError, RecursionError):
            packages["conda", conda.name] = PackageState(conda.name, "conda", conda.version, conda.build)
    for wheel in content.distributions:
        if not wheel.conda:
            packages["wheel", wheel.key] = PackageState(wheel.key, "wheel", wheel.version)
    stated = content.marker.get("environment")
    name = stated if isinstance(stated, str) else ""
    return {(name, content.platform): packages}


def _of_fingerprint(path: Path) -> PackageSets:
    trouble: list[Unreadable] = []
    try:
        data = json.loads(read_text(path, _JSON_LIMIT, trouble))
        found: dict[Section, dict[tuple[str, str], PackageState]] = {}
        for one in data["fingerprints"]:
            head, *lines = one["lines"]
            kind = "wheels" if head == SEVERAL_PYTHONS else _KINDS[head]
            section = str(one["environment"]), str(one["platform"])
            found.setdefault(section, {}).update(_LINES[kind](str(line)) for line in lines)
    except (ValueError, KeyError, TypeError, StopIteration, RecursionError) as error:
        raise D2lEnvError(
            tr("{path} is not what `d2lenv fingerprint --json` prints", path=path),
            why=trouble[0].why if trouble else repr(error),
            status=USAGE,
        ) from error
    return found


_KINDS = {head: kind for kind, head in HEADS.items()}


def _lock_line(line: str) -> tuple[tuple[str, str], PackageState]:
    url, digest = line.rsplit(" ", 1)
    stem = re.sub(r"\.(conda|tar\.bz2)$", "", url.rpartition("/")[2])
    name, version, built = stem.rsplit("-", 2)
    digest = "" if digest == "-" else digest
    return ("conda", name), PackageState(name, "conda", version, built, digest, _channel(url))


def _wheel_line(line: str) -> tuple[tuple[str, str], PackageState]:
    pin, digest = line.split(" ")
    if pin == "python":
        return ("wheel", pin), PackageState(pin, "wheel", digest)
    name, version = pin.split("==")
    return ("wheel", name), PackageState(name, "wheel", version, hash=digest)


def _installed_line(line: str) -> tuple[tuple[str, str], PackageState]:
    kind, path, *rest = line.split(" ")
    name = printable(unquote(path))
    return ("file", name), PackageState(name, "file", kind, hash=" ".join(map(unquote, rest)))


_LINES: Mapping[str, Callable[[str], tuple[tuple[str, str], PackageState]]] = {
    "lock": _lock_line,
    "wheels": _wheel_line,
    "installed": _installed_line,
}


def _of_revision(workspace: Workspace, revision: str) -> PackageSets:
    """Read the lock and the requirements of a commit, a tag or a branch."""
    listing = _git(
        workspace.root, revision, "ls-tree", "-r", "--name-only", "-z", "--end-of-options", revision
    )
    names = [
        name
        for name in listing.split("\0")
        if name == LOCK or re.fullmatch(r"envs/[\w-]+/requirements(-[\w-]+)?\.txt", name)
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
        return _of_files(root, workspace)


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
