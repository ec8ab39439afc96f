"""The ``rattler`` engine: py-rattler installs the records of pixi.lock; no pixi needed.

The installation runs in a process of its own (:mod:`d2lenv.engines.conda.installer`).
"""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from rattler import RepoDataRecord, install

from d2lenv.base import files, process
from d2lenv.base.errors import D2lEnvError
from d2lenv.base.messages import tr, trn
from d2lenv.engines.conda import beside, finish
from d2lenv.engines.conda import cache as package_cache
from d2lenv.engines.conda.answers import (
    available,
    choose,
    differences,
    digest,
    installed,
    note,
    packages,
    platform,
    serves,
    size,
)
from d2lenv.engines.conda.cache import Cache
from d2lenv.engines.job import Job, disk_step
from d2lenv.prefix import screening, unhashed
from d2lenv.prefix.archives import Archive
from d2lenv.prefix.scan import Known
from d2lenv.workspace import channels
from d2lenv.workspace.manifest import Workspace
from d2lenv.workspace.pins import Variation

__all__ = [
    "IN_PLACE",
    "available",
    "build",
    "choose",
    "differences",
    "digest",
    "installed",
    "note",
    "packages",
    "places",
    "platform",
    "serves",
    "size",
    "why_not",
]
"""The answers that an engine must give, see :class:`d2lenv.engines.job.Engine`."""

IN_PLACE = False
# A first build downloads gigabytes over a slow link.
_TIMEOUT_S = 4 * 3600.0
_STALL_S = 120.0
"""So long may all downloads together bring nearly nothing."""


def places(workspace: Workspace, environment: str) -> Mapping[Variation, Path]:
    return {Variation(): workspace.root / ".d2lenv" / f"{environment}-rattler"}


def why_not(job: Job) -> str:
    """Return why py-rattler cannot build the job, or nothing.

    Asks the channels, two seconds for the lot, unless the cache has all packages.
    """
    if not job.locked:
        return tr(
            "pixi.lock does not have {name} for {platform}", name=job.settings.name, platform=job.platform
        )
    if "alternative_target_prefix" not in inspect.signature(install).parameters:
        return tr("the installed py-rattler is older than 0.26")
    if package_cache.has_all(job.lock.records(job.settings.name, job.platform)):
        return ""  # nothing is asked of a channel
    silent = [answer for answer in channels.ask(job.lock.channels(job.settings.name)) if answer.reason]
    if silent:
        return tr(
            "{count} of its channels do not answer: {reasons}",
            count=len(silent),
            reasons="; ".join(answer.reason for answer in silent),
        )
    return ""


def build(job: Job) -> Mapping[str, Known]:
    """Install every record of (environment, platform) into ``job.building``, paths as in ``job.prefix``.

    py-rattler verifies each download against the record's sha256, else its md5, and keeps the packages in
    its shared cache. Every package is looked at before it is linked (:mod:`d2lenv.engines.conda.cache`).

    Returns:
        path → what is known of the files for which their packages vouch.

    Raises:
        D2lEnvError: if a package is missing, has another hash or holds what must not be installed, or if the
            disk is full or not writable.
    """
    records = job.lock.records(job.settings.name, job.platform)
    _refuse_unverifiable(records)
    job.building.mkdir(parents=True, exist_ok=True)
    mask, ignores_case = 0o7000 | files.umask(), screening.ignores_case(job.building)
    cache = Cache(package_cache.root(), mask, ignores_case, in_full=job.fresh)
    job.say(
        trn(
            "installing {count} package into {prefix}",
            "installing {count} packages into {prefix}",
            count=len(records),
            prefix=job.prefix,
        )
    )
    prepared, reason, fix = None, "", ""
    try:
        with _installer() as installer:
            known = package_cache.vouched(cache, records, job.say)
            installer.send(_request(job, cache, known))
            if len(known) == len(records):  # what py-rattler leaves to do is done while it links
                prepared = finish.prepare(cache, job.building, package_cache.installed(cache, records, known))
            reason, fix = _answer(installer)
    except OSError as error:
        reason = str(error)
    if reason:
        raise D2lEnvError(
            tr("{name} for {platform} cannot be installed", name=job.settings.name, platform=job.platform),
            why=reason,
            fix=fix or _next_step(reason),
        )
    if prepared is None:
        prepared = finish.prepare(cache, job.building, package_cache.installed(cache, records, known))
    digests = finish.complete(cache, job.building, prepared)
    beside.install(job)
    # Link scripts may have changed any file.
    return {} if job.link_scripts else digests


def _installer() -> AbstractContextManager[process.Conversation]:
    return process.conversation(
        process.python_module(sys.executable, "d2lenv.engines.conda.installer"),
        timeout_s=_TIMEOUT_S,
        # No folder of the reader's, whose modules could be taken for Python's own.
        cwd=Path(Path(sys.executable).anchor),
        environ=process.python_environment(os.environ),
    )


def _request(job: Job, cache: Cache, known: Mapping[str, Archive]) -> bytes:
    request = {
        "lock": str(job.lock.path.absolute()),
        "environment": job.settings.name,
        "platform": _locked_name(job),
        "building": str(job.building),
        "prefix": str(job.prefix),
        "link_scripts": job.link_scripts,
        "cache": str(cache.folder),
        "mask": cache.mask,
        "ignores_case": cache.ignores_case,
        "known": {name: archive.facts["."].inode for name, archive in known.items()},
        "stall_s": _STALL_S,
        "progress": sys.stderr.isatty(),
    }
    return json.dumps(request).encode("ascii") + b"\n"


def _locked_name(job: Job) -> str:
    """Return the platform's name in pixi.lock, which the other process reads without pixi.toml."""
    row = job.lock.platform(job.settings.name, job.platform)
    return row.name if row else job.platform


def _answer(installer: process.Conversation) -> tuple[str, str]:
    """Return why py-rattler failed, or nothing, and what it advises."""
    answer, status = installer.answer()
    try:
        said = json.loads(answer)
        return str(said["error"]), str(said["fix"])
    except (ValueError, KeyError, TypeError):
        return tr("py-rattler ended with status {status}", status=status), ""


def _refuse_unverifiable(records: tuple[RepoDataRecord, ...]) -> None:
    """Refuse a record without a hash unless its files can be compared with the released ones."""
    for record in records:
        hashed = record.sha256 or record.md5
        if not (hashed or unhashed.known(record.name.normalized, str(record.version))):
            raise D2lEnvError(
                tr("pixi.lock has no hash for {package}", package=record.file_name),
                fix=tr("`d2lenv check` lists what is wrong with the lock"),
            )


def _next_step(reason: str) -> str:
    lower = reason.lower()
    if "checksum" in lower or "hash mismatch" in lower:
        return tr("the channel or its mirror serves another file than the locked one: do not use it")
    return disk_step(reason, "RATTLER_CACHE_DIR") or tr(
        "check the network, the disk and `pixi.lock`, then run the command again"
    )
