"""The release that listings are compared with: a lock file, a git revision, or the one on file."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path

from d2lenv.base.errors import USAGE, D2lEnvError
from d2lenv.base.git import GitError, git
from d2lenv.base.messages import tr
from d2lenv.export import read
from d2lenv.export.formats import listing
from d2lenv.export.formats.listing import PreviousRelease
from d2lenv.export.table import EnvironmentTable
from d2lenv.workspace import lockfile
from d2lenv.workspace.lockfile import Lock
from d2lenv.workspace.manifest import LOCK
from d2lenv.workspace.platforms import Platform


def wanted(
    file: Path,
    reference: str | None,
    *,
    root: Path | None,
    without: Collection[str],
    known: Iterable[Platform] = (),
) -> PreviousRelease | None:
    """Return the release asked for, else the one that ``file`` keeps, else None.

    Args:
        reference: a lock file, or a git revision of ``root``.
        root: the checkout, None where there is none to ask.
        without: environments that are not exported.
        known: the platforms that pixi.toml has names for.

    Raises:
        D2lEnvError: if there is no such release, or it has no lock.
    """
    if reference is None:
        return listing.read_previous(file)
    path = Path(reference)
    if path.is_file():
        return _of_lock(path.name, lockfile.read(path, known), without)
    if root is None:
        raise D2lEnvError(
            tr("{path} cannot be read", path=reference),
            fix=tr("with --lock, give --previous a lock file"),
            status=USAGE,
        )
    return _of_lock(reference, _lock_at(root, reference, known), without)


def beside(table: EnvironmentTable, release: PreviousRelease | None) -> EnvironmentTable:
    """Return ``table`` with what ``release`` had of it."""
    if release is None:
        return table
    return replace(table, previous_name=release.name, previous=release.environments.get(table.environment))


def _lock_at(root: Path, revision: str, known: Iterable[Platform]) -> Lock:
    try:
        text = git(root, "show", "--end-of-options", f"{revision}:./{LOCK}")
    except GitError as error:
        raise _no_release(revision, str(error)) from error
    with tempfile.TemporaryDirectory() as folder:
        old = Path(folder) / LOCK
        old.write_text(text, encoding="utf-8")
        return lockfile.read(old, known)


def _of_lock(name: str, lock: Lock, without: Collection[str]) -> PreviousRelease:
    if not name.isprintable():
        raise _no_release(ascii(name), "")
    tables = [
        read.environment(lock, environment, title=environment, folder=environment, command="", seen={})
        for environment in lock.environments
        if environment not in without
    ]
    versions = {one.environment: {t.platform: listing.versions(t) for t in one.targets} for one in tables}
    return PreviousRelease(name, versions)


def _no_release(revision: str, why: str) -> D2lEnvError:
    return D2lEnvError(
        tr("{name} has no {file}", name=revision, file=LOCK),
        why=why,
        fix=tr("give a lock file, or a git tag or commit that has one"),
        status=USAGE,
    )
