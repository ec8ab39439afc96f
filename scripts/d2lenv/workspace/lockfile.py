"""``pixi.lock``: its records for each (environment, platform), and digests of what they say.

py-rattler parses the file (format 4 to 7) in Rust, nothing here parses YAML again.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rattler import LockFile, RepoDataRecord
from rattler.exceptions import ParseCondaLockError
from rattler.lock import Environment as LockEnvironment
from rattler.lock import LockPlatform, PypiLockedPackage

from d2lenv.base.errors import D2lEnvError
from d2lenv.base.files import write_atomic
from d2lenv.base.messages import tr
from d2lenv.workspace import platforms
from d2lenv.workspace.manifest import Workspace
from d2lenv.workspace.platforms import Platform

DIGESTS = "envs/lock-digests.json"
"""Relative to the workspace: the recorded digests, committed beside the exports."""

FORMAT = 7
"""The format of the lock that pixi writes since 0.68; 4 to 6 are read for `export --lock`."""

Key = tuple[str, str]
"""(environment, platform), as ("cuda", "linux-64")."""

Package = tuple[str, str, str]
"""(name, version, build)."""


@dataclass(frozen=True)
class Lock:
    """A lock in memory.

    Attributes:
        path: where it was read from, for messages.
        file: the lock as py-rattler has it.
        environments: name → environment, sorted by name.
        format: the number of its format, as it stands in the file.
        names: the name of a platform in the file → the manifest's, where they differ.
    """

    path: Path
    file: LockFile = field(repr=False, compare=False)
    environments: Mapping[str, LockEnvironment] = field(repr=False, compare=False)
    format: int = FORMAT
    names: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    _records: dict[Key, tuple[RepoDataRecord, ...]] = field(default_factory=dict, repr=False, compare=False)
    _data: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False, compare=False)
    _digests: dict[str, str] = field(default_factory=dict, repr=False, compare=False)

    def platforms(self, environment: str) -> tuple[str, ...]:
        """Return the sorted platform names of ``environment``, empty when the lock does not have it."""
        found = self.environments.get(environment)
        return tuple(sorted(self._name(p) for p in found.platforms())) if found else ()

    def pairs(self) -> Iterator[Key]:
        """Yield every (environment, platform) of the lock, sorted."""
        for name in self.environments:
            for platform in self.platforms(name):
                yield name, platform

    def channels(self, environment: str) -> tuple[str, ...]:
        """Return the channels of ``environment``, highest priority first, each with a closing slash."""
        found = self.environments.get(environment)
        return tuple(str(channel).rstrip("/") + "/" for channel in found.channels()) if found else ()

    def platform(self, environment: str, platform: str) -> LockPlatform | None:
        """Return the lock's own description of ``platform``, with its virtual packages."""
        found = self.environments.get(environment)
        return next((p for p in found.platforms() if self._name(p) == platform), None) if found else None

    def nearest(self, environment: str, subdir: str, installed: Collection[Package]) -> str:
        """Return the platform of ``subdir`` whose packages are most like those that are installed.

        What pixi installs does not say for which of its named platforms. ``subdir`` where there is none.
        """
        places = [p for p in self.platforms(environment) if self._subdir(environment, p) == subdir]
        if len(places) < 2:
            return places[0] if places else subdir

        def shared(platform: str) -> int:
            records = self.records(environment, platform)
            return sum((r.name.normalized, str(r.version), str(r.build)) in installed for r in records)

        return max(places, key=lambda place: (shared(place), place == subdir))

    def _subdir(self, environment: str, platform: str) -> str:
        row = self.platform(environment, platform)
        return str(row.subdir) if row else ""

    def _name(self, row: LockPlatform) -> str:
        return self.names.get(row.name, row.name)

    def records(self, environment: str, platform: str) -> tuple[RepoDataRecord, ...]:
        """Return the conda records of (environment, platform), sorted by name, then address.

        Raises:
            D2lEnvError: if the lock has no such environment or platform.
        """
        if (environment, platform) in self._records:
            return self._records[environment, platform]
        place = self.platform(environment, platform)
        if place is None:
            raise D2lEnvError(
                tr(
                    "{file} has no environment `{name}` for {platform}",
                    file=self.path,
                    name=environment,
                    platform=platform,
                ),
                fix=tr("`d2lenv lock` solves what pixi.toml asks for"),
            )
        found = self.environments[environment].conda_repodata_records_for_platform(place) or []
        records = tuple(sorted(found, key=lambda record: (record.name.normalized, record.url)))
        self._records[environment, platform] = records
        return records

    def record_data(self, record: RepoDataRecord) -> dict[str, Any]:
        """Return :func:`record_data` of a record; this lock says the same of an address everywhere."""
        if record.url not in self._data:
            self._data[record.url] = record_data(record)
        return self._data[record.url]

    def record_digest(self, record: RepoDataRecord) -> str:
        """Return :func:`record_digest` of a record of this lock."""
        if record.url not in self._digests:
            self._digests[record.url] = _sha256(self.record_data(record))
        return self._digests[record.url]

    def wheels(self, environment: str, platform: str) -> tuple[PypiLockedPackage, ...]:
        """Return the PyPI packages of (environment, platform), sorted by name; our own lock has none."""
        place = self.platform(environment, platform)
        found = self.environments[environment].pypi_packages_for_platform(place) if place else None
        return tuple(sorted(found or [], key=lambda package: package.name))


class DamagedLock(D2lEnvError):
    """The file is there and is no lock: cut off, not YAML, or empty."""


def of(workspace: Workspace) -> Lock:
    """Read the workspace's pixi.lock, with its platforms called as the manifest calls them.

    Raises:
        D2lEnvError: as :func:`read`.
    """
    return read(workspace.lock, workspace.platforms)


def read(path: Path, known: Iterable[Platform] = ()) -> Lock:
    """Read a pixi.lock.

    Args:
        known: the manifest's platforms; without them each has the lock's own name, such as ``p1``.

    Raises:
        DamagedLock: if the file is not a lock or is cut off.
        D2lEnvError: if it is missing, or of a newer format than the installed py-rattler reads. Either
            message names the file and, where known, the line.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise D2lEnvError(
            tr("{path} cannot be read", path=path),
            why=error.strerror or str(error),
            fix=tr("`git checkout {name}` restores it, `d2lenv lock` makes a new one", name=path.name),
        ) from error
    if not content.strip():
        raise _not_a_lock(path, tr("the file is empty"))
    try:
        file = LockFile.from_path(path)
        environments = dict(sorted(file.environments()))
    except ParseCondaLockError as error:
        reason = str(error)
        if "newer lockfile format" in reason:
            raise D2lEnvError(
                tr("{path} has a newer format than this d2lenv reads", path=path),
                why=reason,
                fix=tr("install a newer py-rattler: `python -m pip install -U py-rattler`"),
            ) from error
        raise _not_a_lock(path, reason) from error
    except Exception as error:  # py-rattler raises bare exceptions for bytes that are not UTF-8
        raise _not_a_lock(path, str(error)) from error
    number = re.search(rb"^version: *['\"]?(\d+)", content, re.MULTILINE)
    rows = [row for environment in environments.values() for row in environment.platforms()]
    names = platforms.renamed(rows, known)
    return Lock(path, file, environments, int(number[1]) if number else FORMAT, names)


def _not_a_lock(path: Path, why: str) -> DamagedLock:
    return DamagedLock(
        tr("{path} is not a pixi lock", path=path),
        why=why,
        fix=tr(
            "`git checkout {name}` restores it, `d2lenv lock --update-all` makes a new one", name=path.name
        ),
    )


def record_data(record: RepoDataRecord) -> dict[str, Any]:
    """Return everything the lock says of a record."""
    data: dict[str, Any] = json.loads(record.to_json())
    # `arch` and `platform` repeat the subdir; py-rattler fills them in only when it reads a lock.
    for derived in ("arch", "platform"):
        data.pop(derived, None)
    return data


def record_digest(record: RepoDataRecord) -> str:
    """Return sha256 (hex) over everything the lock says of a record, as one canonical JSON line."""
    return _sha256(record_data(record))


def _sha256(data: object) -> str:
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


@dataclass(frozen=True)
class Digest:
    """The canonical digest of one (environment, platform).

    Attributes:
        digest: sha256 (hex) over channels, platform row and record digests.
        packages: conda name → the first 12 hex digits of its record's digest, to name what changed.
    """

    digest: str
    packages: Mapping[str, str]


def digest(lock: Lock, environment: str, platform: str) -> Digest:
    """Return the digest of all that the lock says of (environment, platform), whatever the file's layout.

    Raises:
        D2lEnvError: if the lock has no such environment or platform.
    """
    records = {
        record.name.normalized: lock.record_digest(record) for record in lock.records(environment, platform)
    }
    row = lock.platform(environment, platform)
    content = {
        "channels": lock.channels(environment),
        "platform": platform,
        "virtual-packages": row.virtual_packages if row else [],
        "records": sorted(records.items()),
        "wheels": [[package.name, package.location] for package in lock.wheels(environment, platform)],
    }
    return Digest(_sha256(content), {name: full[:12] for name, full in records.items()})


def digests(lock: Lock) -> dict[Key, Digest]:
    """Return the digest of every (environment, platform) of the lock."""
    return {key: digest(lock, *key) for key in lock.pairs()}


@dataclass(frozen=True)
class Recorded:
    """The file beside the lock: its content when it was solved or accepted, and its source.

    Attributes:
        digests: the digest of every (environment, platform).
        snapshot: the digest of the channel snapshot that it was solved from, empty when the channels
            themselves or pixi gave it.
    """

    digests: Mapping[Key, Digest]
    snapshot: str = ""


def write_digests(path: Path, recorded: Recorded) -> None:
    """Write the small file that `check` compares with."""
    rows = [
        f"{json.dumps('/'.join(key))}: "
        + json.dumps({"digest": value.digest, "packages": dict(sorted(value.packages.items()))})
        for key, value in sorted(recorded.digests.items())
    ]
    snapshot = json.dumps(recorded.snapshot)
    write_atomic(path, f'{{\n"snapshot": {snapshot},\n"digests": {{\n' + ",\n".join(rows) + "\n}\n}\n")


def read_digests(path: Path) -> Recorded:
    """Read what :func:`write_digests` wrote.

    Raises:
        D2lEnvError: if the file is missing or damaged.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        found: dict[Key, Digest] = {}
        for name, value in data["digests"].items():
            environment, platform = name.split("/")
            found[environment, platform] = Digest(str(value["digest"]), dict(value["packages"]))
        return Recorded(found, str(data["snapshot"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise D2lEnvError(
            tr("{path} cannot be read", path=path),
            why=str(error),
            fix=tr("`d2lenv lock --record` writes it anew from a pixi.lock that you trust"),
        ) from error
