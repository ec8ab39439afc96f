"""uv's cache of unpacked wheels: is it still what was unpacked?

uv links the files of an environment from its cache where the disk cannot share them in a better way, so a
file that is edited in place in one environment is edited in the cache, and with it in every later one. uv
compares nothing. So what a wheel held when it was first seen is noted in the cache
(:mod:`d2lenv.prefix.archives`); before a build whatever ``stat`` calls changed is read, and a wheel that is
not what it was is thrown out, for uv to fetch it again.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import os
import posixpath
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.utils import canonicalize_name

from d2lenv.base.errors import D2lEnvError
from d2lenv.base.files import umask
from d2lenv.base.messages import printable, tr
from d2lenv.prefix import archives, baseline, locations, records, screening
from d2lenv.prefix.archives import Archive, Fact
from d2lenv.prefix.contents.prefix import read_prefix
from d2lenv.prefix.scan import Entry, Known, Tree, digests, inside, scan
from d2lenv.solve import uv
from d2lenv.workspace.pins import Pin

_TIMEOUT_S = 600.0
_SHOWN = 5
_MOST_BYTES = 16 << 20
"""A file that was only touched is read up to this size: libraries of hundreds of megabytes are not edited."""
_RISKY = ~0o664
"""Bits of a mode that matter: the kind, setuid and the like, execution, and writing by anybody."""
# uv writes its own into an environment, or leaves them out.
_OWN = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "RECORD.jws", "RECORD.p7s")
# PyTorch's wheels torch 1.12.0 and torchvision 0.13.0 have another METADATA than their RECORD says (seen
# 2026-11-24). Nothing of it runs.
_MISTAKEN = ("METADATA",)


@dataclass(frozen=True)
class Wheel:
    """A wheel that is unpacked in the cache.

    Attributes:
        pin: what it is.
        metadata: its ``.dist-info`` folder, below its own.
        folder: where it lies.
        archive: what it holds, None until it was read.
    """

    pin: Pin
    metadata: str
    folder: Path
    archive: Archive | None = None


def root() -> Path:
    """Return uv's cache.

    Raises:
        D2lEnvError: if uv does not say where it is.
    """
    done = uv.run("cache", "dir", timeout_s=_TIMEOUT_S)
    if done.returncode != 0:
        raise D2lEnvError(tr("uv does not say where its cache is"), why=done.stderr.strip())
    return Path(done.stdout.strip())


def unpacked(cache: Path, pins: Iterable[Pin]) -> list[Wheel]:
    """Return the unpacked wheels of the pinned versions; several where one has files for several Pythons."""
    wanted = {(pin.name, locations.canonical_version(pin.version)): pin for pin in pins}
    found = []
    for folder in cache.glob("archive-v*/*"):
        try:
            names = os.listdir(folder)  # noqa: PTH208 - there may be thousands
        except OSError:
            continue
        for metadata in names:
            if metadata.endswith(".dist-info"):
                name, _, version = metadata.removesuffix(".dist-info").rpartition("-")
                pin = wanted.get((canonicalize_name(name), locations.canonical_version(version)))
                if pin is not None:
                    found.append(Wheel(pin, metadata, folder))
    return found


def _note(cache: Path, wheel: Wheel) -> Path:
    return cache / "d2lenv" / f"{wheel.folder.name}.json"


@dataclass(frozen=True)
class Survey:
    """What ``stat`` says of the wheels in the cache.

    Attributes:
        good: as they were noted.
        doubtful: with the files to be read, None for all, or for a wheel that is not known yet.
    """

    good: list[Wheel]
    doubtful: list[tuple[Wheel, list[str] | None]]


def survey(cache: Path, pins: Iterable[Pin], *, fresh: bool) -> Survey:
    """Compare the wheels of ``pins`` with their notes.

    Args:
        fresh: trust no ``stat``; all are to be read.
    """
    found = Survey([], [])
    for wheel in unpacked(cache, pins):
        archive = archives.read(_note(cache, wheel), wheel.folder)
        if archive is None:
            found.doubtful.append((wheel, None))
            continue
        noted = replace(wheel, archive=archive)
        changed, late = archive.compare()
        late = [path for path in late if archive.facts[path].size <= _MOST_BYTES]
        if changed or fresh:
            found.doubtful.append((noted, None))
        elif late:
            found.doubtful.append((noted, late))
        else:
            found.good.append(noted)
    return found


def judge(
    cache: Path, seen: Survey, say: Callable[[str], None]
) -> tuple[list[Wheel], list[tuple[Wheel, list[str]]]]:
    """Read what is doubtful.

    Returns:
        the wheels that are what they were, and the others with the files that are not.
    """
    new = [wheel for wheel, _ in seen.doubtful if wheel.archive is None]
    if new:
        say(tr("reading {count} wheels in uv's cache that are not known yet", count=len(new)))
    good, bad = list(seen.good), []
    for wheel, paths in seen.doubtful:
        if wheel.archive is not None and paths is not None:
            wrong = _differing(wheel.archive, paths)
            now: Wheel | None = wheel
        else:
            now, wrong = _read_all(cache, wheel)
        if wrong or now is None:
            bad.append((wheel, wrong))
        else:
            good.append(now)
    return good, bad


def _differing(archive: Archive, paths: list[str]) -> list[str]:
    entries = {path: Entry(path, "file", 0, archive.facts[path].size) for path in paths}
    found, failed = digests(archive.folder, entries.values())
    return [path for path in paths if path in failed or found[path] != archive.facts[path].content]


def _read_all(cache: Path, wheel: Wheel) -> tuple[Wheel | None, list[str]]:
    """Return the wheel as it is now, and its files that differ from the note, else from RECORD."""
    tree = scan(wheel.folder)
    try:
        now = archives.look(tree)
    except OSError as error:
        return None, [str(error.filename or error)]
    if wheel.archive is not None:
        before, after = wheel.archive.facts, now.facts
        wrong = [path for path in before.keys() | after.keys() if _other(before, after, path)]
    else:
        wrong = _not_as_recorded(tree, wheel, now)
    if not wrong:
        archives.write(_note(cache, wheel), now)
    return Wheel(wheel.pin, wheel.metadata, wheel.folder, now), sorted(wrong)


def _other(before: Mapping[str, Fact], after: Mapping[str, Fact], path: str) -> bool:
    one, two = before.get(path), after.get(path)
    return one is None or two is None or one.content != two.content or bool((one.mode ^ two.mode) & _RISKY)


def _not_as_recorded(tree: Tree, wheel: Wheel, now: Archive) -> list[str]:
    recorded = _record(wheel)
    if recorded is None:
        return [f"{wheel.metadata}/RECORD"]
    wrong = [path for path in recorded if path not in tree.entries or not inside(path)]
    never = 0o7000 | (0o002 & umask())  # no wheel can ask for such a mode
    for path, entry in tree.entries.items():
        if entry.kind == "folder":
            continue
        if entry.mode & never and entry.kind == "file":
            wrong.append(path)
        if path in {f"{wheel.metadata}/{name}" for name in (*_OWN, *_MISTAKEN)}:
            continue
        if entry.kind != "file" or recorded.get(path) != now.facts[path].content:
            wrong.append(path)
    return wrong


def _record(wheel: Wheel) -> dict[str, str] | None:
    """Return path → sha256 (hex) as the wheel's own RECORD says, None if that cannot be read."""
    found = {}
    try:
        with (wheel.folder / wheel.metadata / "RECORD").open(encoding="utf-8", newline="") as file:
            for path, digest, _ in csv.reader(file):
                kind, _, text = digest.partition("=")
                raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)) if kind == "sha256" else b""
                found[path] = raw.hex()
    except (OSError, ValueError, csv.Error):
        return None
    return found


def throw_out(bad: Iterable[tuple[Wheel, list[str]]], say: Callable[[str], None]) -> None:
    """Remove wheels from uv's cache, so that it fetches them again.

    Raises:
        D2lEnvError: if uv cannot remove them.
    """
    for wheel, paths in bad:
        say(
            tr(
                "{package} was changed in uv's cache, so it is fetched again: {paths}",
                package=f"{wheel.pin.name} {wheel.pin.version}",
                paths=", ".join(map(printable, paths[:_SHOWN])),
            )
        )
    names = sorted({wheel.pin.name for wheel, _ in bad})
    if names:
        done = uv.run("cache", "clean", *names, timeout_s=_TIMEOUT_S)
        if done.returncode != 0:
            raise D2lEnvError(
                tr(
                    "uv cannot remove from its cache what was changed there: {names}",
                    names=", ".join(names),
                ),
                why=done.stderr.strip(),
                fix=tr("`uv cache clean {names}` removes it", names=" ".join(names)),
            )


def complete(cache: Path, pins: Iterable[Pin], good: Iterable[Wheel]) -> list[Wheel]:
    """Return ``good`` and the wheels that uv has unpacked since, from archives whose hash it has verified.

    Raises:
        D2lEnvError: if one says that it has files in other places than its own.
    """
    known = {wheel.folder: wheel for wheel in good}
    for wheel in unpacked(cache, pins):
        if wheel.folder not in known:
            _refuse_outside(wheel)
            archive = archives.look(scan(wheel.folder))
            archives.write(_note(cache, wheel), archive)
            known[wheel.folder] = Wheel(wheel.pin, wheel.metadata, wheel.folder, archive)
    return list(known.values())


def _refuse_outside(wheel: Wheel) -> None:
    outside = [path for path in _record(wheel) or {} if not inside(path)]
    if outside:
        reason = tr("it names a file outside: {path}", path=printable(outside[0]))
        raise screening.refused([f"{wheel.pin.name}: {reason}"])


@dataclass(frozen=True)
class Installed:
    """What the wheels say of the files in an environment.

    Attributes:
        content: path → what lies there as it is in its wheel. Files that uv writes, moves or patches
            (scripts, data) are left out.
        shared: path → distribution → sha256, where several wheels bring different files.
        folders: distribution → where its wheel lies unpacked, for those that were found.
    """

    content: Mapping[str, Known]
    shared: Mapping[str, Mapping[str, str]]
    folders: Mapping[str, Path]


Kept = Mapping[tuple[str, Path], Mapping[str, Known]]
"""(site-packages below the prefix, wheel's folder) → path in the prefix → what is known of it."""


def kept(site: str, wheels: Iterable[Wheel], beside: Path) -> Kept:
    """Return what will be known of the wheels' files if they get into ``site`` of a prefix in ``beside``."""
    return {
        (site, wheel.folder): baseline.known_files(_files(site, wheel, wheel.archive), wheel.folder, beside)
        for wheel in wheels
        if wheel.archive is not None
    }


def installed(prefix: Path, wheels: Iterable[Wheel], ready: Kept) -> Installed:
    """Return what ``wheels`` say of the files in ``prefix``.

    Of wheels for several Pythons the one whose WHEEL is the installed one's counts.

    Args:
        ready: what :func:`kept` said of some of them.
    """
    files: dict[str, Mapping[str, Known]] = {}
    folders: dict[str, Path] = {}
    unsure: set[str] = set()
    for site in locations.site_packages(prefix):
        below = site.relative_to(prefix).as_posix()
        for wheel in wheels:
            tag = f"{wheel.metadata}/WHEEL"
            if wheel.archive is not None and _digest(site / tag) == _content(wheel.archive, tag):
                key = (below, wheel.folder)
                own = ready[key] if key in ready else kept(below, [wheel], prefix.parent)[key]
                folders[wheel.pin.name] = wheel.folder
                twin = files.setdefault(wheel.pin.name, own)
                if twin is not own:
                    unsure |= {
                        path for path in own.keys() | twin.keys() if _says(own, path) != _says(twin, path)
                    }
    return _merged(files, folders, unsure)


def _merged(
    files: Mapping[str, Mapping[str, Known]], folders: Mapping[str, Path], unsure: Collection[str]
) -> Installed:
    """Return the files of all distributions, where ``files`` is distribution → path → what is known of it.

    Args:
        unsure: paths for which nobody vouches: two equal wheels differ there.
    """
    content: dict[str, Known] = {}
    owner: dict[str, str] = {}
    several: dict[str, dict[str, str]] = {}
    for name in sorted(files):
        own = files[name]
        for path in own.keys() & content.keys():
            several.setdefault(path, {owner[path]: content[path].sha256})[name] = own[path].sha256
        content.update(own)
        owner.update(dict.fromkeys(own, name))
    shared = {path: names for path, names in several.items() if len(set(names.values())) > 1}
    for path in {*shared, *unsure}:
        content.pop(path, None)
    return Installed(content, {path: names for path, names in shared.items() if path not in unsure}, folders)


def refuse_changed(prefix: Path, names: Collection[str]) -> None:
    """Compare the installed files of distributions with their RECORD, where uv's cache could not be judged.

    Raises:
        D2lEnvError: if one is not what its RECORD says.
    """
    listed = records.read(read_prefix(prefix)).of
    stated = {
        path: line.sha256
        for path, lines in listed.items()
        for line in lines
        if line.owner in names and line.sha256 and posixpath.basename(path) not in _MISTAKEN
    }
    found, failed = digests(prefix, (Entry(path, "file", 0, 1 << 20) for path in stated))
    wrong = [path for path in stated if path in failed or found[path] != stated[path]]
    if wrong:
        raise D2lEnvError(
            tr("files of wheels are not what their RECORD says: {paths}", paths=", ".join(wrong[:_SHOWN])),
            fix=tr("`uv cache clean {names}` removes it", names=" ".join(sorted(names)[:_SHOWN])),
        )


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _content(archive: Archive, path: str) -> str:
    return archive.facts[path].content if path in archive.facts else "none"


def _says(files: Mapping[str, Known], path: str) -> str:
    return files[path].sha256 if path in files else ""


def _files(site: str, wheel: Wheel, archive: Archive) -> dict[str, Fact]:
    data = wheel.metadata.removesuffix(".dist-info") + ".data/"
    own = {f"{wheel.metadata}/{name}" for name in _OWN}
    return {
        f"{site}/{path}": fact
        for path, fact in archive.facts.items()
        if archives.is_file(fact) and not path.startswith(data) and path not in own
    }
