"""The answers that all engines give that install the conda packages of pixi.lock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from rattler import RepoDataRecord

from d2lenv.engines.job import Job
from d2lenv.prefix import locations
from d2lenv.workspace import beside, host, lockfile, settings
from d2lenv.workspace.lockfile import Lock
from d2lenv.workspace.manifest import Workspace
from d2lenv.workspace.pins import Difference, Variation
from d2lenv.workspace.settings import Settings

# Packages are compressed to about a third, and a prefix on the cache's own disk shares its files with it.
_UNPACKED_RATIO = 3.5


platform = host.platform_for


def serves(job: Job) -> bool:
    return job.locked


def choose(
    _workspace: Workspace,
    _own: Settings,
    _prefix: Path | None,
    _asked: Path | None,
    _pytorch: str,
) -> Variation:
    return Variation()


def available(job: Job) -> Variation:
    return job.variation


def digest(
    workspace: Workspace, environment: str, platform: str, lock: Callable[[], Lock], _variation: Variation
) -> str:
    locked = lockfile.digest(lock(), environment, platform).digest
    return beside.digest(locked, beside.pins(settings.get(workspace, environment)))


def packages(job: Job) -> Mapping[str, str]:
    return {
        record.name.normalized: f"{record.version} {record.build}"
        for record in job.lock.records(job.settings.name, job.platform)
    }


def installed(prefix: Path) -> Sequence[tuple[str, str]]:
    return locations.conda_packages(prefix)


def size(job: Job) -> float:
    return unpacked_size(job.lock.records(job.settings.name, job.platform))


def unpacked_size(records: Iterable[RepoDataRecord]) -> float:
    """Return about how many bytes the packages take on disk."""
    return sum(record.size or 0 for record in records) * _UNPACKED_RATIO


def differences(_job: Job) -> Sequence[Difference]:
    return ()


def note(_job: Job) -> str:
    return ""
