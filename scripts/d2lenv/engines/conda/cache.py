"""rattler's and pixi's shared cache of unpacked packages: what in it may be linked into a prefix."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import platformdirs
from rattler import PackageCache, RepoDataRecord

from d2lenv.base.messages import printable, tr
from d2lenv.prefix import archives, screening, unhashed
from d2lenv.prefix.archives import Archive
from d2lenv.prefix.scan import scan

_MOST_REASONS = 10


def root() -> Path:
    """Return where rattler and pixi keep unpacked conda packages (rattler_cache's own default)."""
    stated = os.environ.get("RATTLER_CACHE_DIR")
    base = Path(stated) if stated else platformdirs.user_cache_path("rattler", appauthor=False) / "cache"
    return base.absolute() / "pkgs"


def _folder_name(record: RepoDataRecord) -> str:
    return f"{record.name.normalized}-{record.version}-{record.build}"


def has_all(records: Iterable[RepoDataRecord]) -> bool:
    """Return True if every package is unpacked in the cache; not whether it is as it was packed."""
    folder = root()
    return all((folder / _folder_name(record) / "info").is_dir() for record in records)


@dataclass(frozen=True)
class Cache:
    """The cache, as one build sees it.

    Attributes:
        folder: where the packages are unpacked.
        mask: permissions that no file of a package keeps.
        ignores_case: whether the file system of the prefix takes ``A`` and ``a`` for one.
        in_full: read all that is there, whatever ``stat`` says.
    """

    folder: Path
    mask: int
    ignores_case: bool
    in_full: bool = False

    def package(self, record: RepoDataRecord) -> Path:
        """Return the folder in which rattler unpacks the package."""
        return self.folder / _folder_name(record)

    def notes(self) -> Path:
        """Return the folder of what is kept about packages, beside theirs."""
        return self.folder.with_name("d2lenv")

    def note(self, record: RepoDataRecord) -> Path:
        """Return the place of the note about the package."""
        return self.notes() / f"{key(record)}{'-anycase' if self.ignores_case else ''}.json"

    def is_unchanged(self, noted: Archive) -> bool:
        """Return True if the folder of ``noted`` holds what was noted."""
        if not self.in_full:
            changed, late = noted.compare()
            return not changed and noted.hold(late)
        try:
            return noted.same_content(archives.look(scan(noted.folder)))
        except OSError:
            return False

    def take_out(self, record: RepoDataRecord) -> None:
        """Remove the unpacked package; rattler downloads it again."""
        shutil.rmtree(self.package(record), ignore_errors=True)
        self.note(record).unlink(missing_ok=True)


def key(record: RepoDataRecord) -> str:
    """Return the name under which a package is known: its hash, or its file's name where none is locked."""
    if record.sha256:
        return record.sha256.hex()
    return f"md5-{record.md5.hex()}" if record.md5 else f"no-hash-{record.file_name}"


@dataclass(frozen=True)
class Look:
    """What a look at an unpacked package gave.

    Attributes:
        hostile: why it must not be installed.
        damaged: why it is not as it was packed.
        archive: the package, None when there is a reason of either kind.
    """

    hostile: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    archive: Archive | None = None


def look(cache: Cache, record: RepoDataRecord) -> Look:
    """Screen an unpacked package, compare each file with its own list, and note what is there."""
    folder = cache.package(record)
    if not folder.is_dir():
        return Look(damaged=[tr("it is not at its place in the cache: {path}", path=folder)])
    tree = scan(folder)
    hostile = screening.package_reasons(tree, ignores_case=cache.ignores_case)
    if not hostile and not (record.sha256 or record.md5):
        hostile = unhashed.package_problems(tree, str(record.version))
    if hostile:
        return Look(hostile=hostile)
    if archives.close_modes(tree, cache.mask):
        tree = scan(folder)
    rows = _rows(folder)
    patched = [row["_path"] for row in rows if row.get("prefix_placeholder")]
    archive = archives.look(tree, patched)
    damaged = _damage(rows, archive)
    if damaged:
        return Look(damaged=damaged)
    archives.write(cache.note(record), archive)
    return Look(archive=archive)


def _rows(folder: Path) -> Sequence[Mapping[str, Any]]:
    """Return the rows of ``paths.json``, which was screened; a package older than 2017 has none."""
    try:
        rows: list[dict[str, Any]] = json.loads((folder / "info" / "paths.json").read_bytes())["paths"]
    except FileNotFoundError:
        return []
    return rows


def _damage(rows: Iterable[Mapping[str, Any]], archive: Archive) -> list[str]:
    found = []
    for row in rows:
        path, stated = str(row["_path"]), row.get("sha256")
        fact = archive.facts.get(path)
        if fact is None:
            found.append(tr("{path} is missing", path=printable(path)))
        elif (
            stated
            and archives.is_file(fact)
            and row.get("path_type") != "softlink"
            and fact.content != stated
        ):
            found.append(tr("{path} has another sha256 than its package says", path=printable(path)))
    return found


def vouched(
    cache: Cache, records: Iterable[RepoDataRecord], say: Callable[[str], None]
) -> dict[str, Archive]:
    """Return the packages that are unpacked and as they were packed, by name.

    A package that was changed since is taken out of the cache; one that must not be installed stays for
    :class:`Gate` to refuse.
    """
    found: dict[str, Archive] = {}
    unknown: list[RepoDataRecord] = []
    for record in records:
        if not cache.package(record).is_dir():
            continue
        noted = _noted(cache, record)
        if noted is None:
            unknown.append(record)
        elif (archive := _unchanged(cache, record, noted)) is not None:
            found[record.name.normalized] = archive
        else:
            say(tr("{package} was changed in the cache: it is fetched again", package=record.file_name))
            cache.take_out(record)
    for record in _from_their_archive(cache, unknown):
        seen = look(cache, record)
        if seen.archive is not None:
            found[record.name.normalized] = seen.archive
        elif seen.damaged:
            say(tr("{package} was changed in the cache: it is fetched again", package=record.file_name))
            cache.take_out(record)
    return found


def _noted(cache: Cache, record: RepoDataRecord) -> Archive | None:
    """Return the note about the package; one without a hash is looked at each time."""
    hashed = record.sha256 or record.md5
    return archives.read(cache.note(record), cache.package(record)) if hashed else None


def _unchanged(cache: Cache, record: RepoDataRecord, noted: Archive) -> Archive | None:
    """Return the package if it is as it was noted; read it if ``stat`` does not say so."""
    if not cache.in_full and cache.is_unchanged(noted):
        return noted
    try:
        now = archives.look(scan(noted.folder), noted.patched)
    except OSError:
        return None
    if not noted.same_content(now):
        return None
    archives.write(cache.note(record), now)  # a cache that was copied, or put back from a backup
    return now


def _from_their_archive(cache: Cache, unknown: Sequence[RepoDataRecord]) -> list[RepoDataRecord]:
    """Return those whose folder was unpacked from the locked archive, as far as rattler noted that.

    rattler notes the sha256 alone, and a folder has the same name whatever channel it came from: one for
    which only an md5 is locked is fetched again.
    """
    if not unknown:
        return []
    import asyncio  # 20 ms that a build with nothing unknown does without

    index = asyncio.run(PackageCache(cache.folder).index())
    found = []
    for record in unknown:
        if record.md5 and not record.sha256:
            cache.take_out(record)
        elif index.contains_record(record):
            found.append(record)
    return found


def installed(
    cache: Cache, records: Iterable[RepoDataRecord], known: Mapping[str, Archive]
) -> list[tuple[RepoDataRecord, Archive]]:
    """Return the packages with what they hold, those that :class:`Gate` has passed meanwhile included."""
    found = []
    for record in records:
        archive = known.get(record.name.normalized) or archives.read(
            cache.note(record), cache.package(record)
        )
        archive = archive or look(cache, record).archive  # a cache in which nothing can be noted
        if archive is not None:
            found.append((record, archive))
    return found


class Gate:
    """Looks at every package between the cache and the prefix.

    py-rattler ignores exceptions that a reporter raises, so a package is stopped by taking it out of the
    cache: linking it then fails. py-rattler 0.28 reports the start of linking before it reads the package's
    ``paths.json``.
    """

    def __init__(self, cache: Cache, records: Iterable[RepoDataRecord], known: Mapping[str, int]) -> None:
        """
        Args:
            records: the packages that are to be installed.
            known: name → inode of the folder, of those that :func:`vouched` returned.
        """
        self._cache = cache
        self._records = {record.name.normalized: record for record in records}
        self._known = known
        self.refused: list[str] = []

    def pass_or_take_out(self, name: str) -> None:
        """Look at the unpacked package ``name``; take it out of the cache if it must not be installed."""
        try:
            if self._is_known(name):
                return
            seen = look(self._cache, self._records[name])
            found = seen.hostile + seen.damaged
        except Exception as error:  # noqa: BLE001 - py-rattler would swallow it and link the package
            found = [repr(error)]
        self.refused += [f"{name}: {reason}" for reason in found]
        if found and name in self._records:
            self._cache.take_out(self._records[name])

    def _is_known(self, name: str) -> bool:
        """Return True unless the package was unpacked since it was looked at."""
        known = self._known.get(name)
        return known is not None and self._cache.package(self._records[name]).lstat().st_ino == known

    def raise_refused(self) -> None:
        """
        Raises:
            D2lEnvError: if a package was refused.
        """
        if self.refused:
            raise screening.refused(self.refused[:_MOST_REASONS])
