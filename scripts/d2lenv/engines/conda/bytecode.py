"""Bytecode of the packages that come without it (`noarch: python`), made at installation as conda does.

Where the environment is another user's, Python can write none, and each start would compile anew. A file
holds the hash of its source instead of its time (PEP 552), and the source's path below the prefix (Python
puts the whole one in when it loads the file). So it is the same in every prefix, and is kept beside the
package cache under the hashes of the package and of the Python that made it.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rattler import RepoDataRecord

from d2lenv.base import process
from d2lenv.engines.conda.cache import Cache, key
from d2lenv.prefix import archives, baseline
from d2lenv.prefix.archives import Archive
from d2lenv.prefix.scan import Entry, Known, Tree, scan

_CHILD = Path(__file__).with_name("compile_child.py")
_TIMEOUT_S = 600.0
_AT_ONCE = 300
"""Files for one interpreter: a few seconds, so that Ctrl-C does not wait long."""
_PACKED = "site-packages/"


@dataclass(frozen=True)
class Interpreter:
    """The environment's Python, as its package describes it.

    Attributes:
        record: its package.
        program: what to start.
        site: its site-packages below the prefix.
    """

    record: RepoDataRecord
    program: Path
    site: str


@dataclass(frozen=True)
class Shelves:
    """The compiled files of several packages.

    Attributes:
        kept: those that were kept by an earlier build.
        missing: (shelf, sources below site-packages) of the packages that are to be compiled.
    """

    kept: Sequence[Archive]
    missing: Sequence[tuple[Path, Sequence[str]]]


def look_up(
    cache: Cache, python: Interpreter, packages: Collection[tuple[RepoDataRecord, Archive]]
) -> Shelves:
    """Return what is kept for ``packages`` and what is not.

    Not compiled are files into which the prefix's path was written, and those that two packages bring.
    """
    sources = {record.name.normalized: list(_sources(archive)) for record, archive in packages}
    times = Counter(path for found in sources.values() for path in found)
    kept: list[Archive] = []
    missing: list[tuple[Path, Sequence[str]]] = []
    for record, _ in packages:
        shelf = cache.notes() / f"{key(record)}-{key(python.record)[:16]}"
        everything = sources[record.name.normalized]
        own = [path for path in everything if times[path] == 1]
        noted = archives.read(_note(shelf), shelf) if len(own) == len(everything) else None
        if noted is not None and cache.is_unchanged(noted):
            kept.append(noted)
        else:
            missing.append((shelf, own))
    return Shelves(kept, missing)


def take(shelves: Shelves, prefix: Path, python: Interpreter) -> dict[str, Known]:
    """Link what is kept into ``prefix`` and return the paths there with their facts."""
    for kept in shelves.kept:
        _take(kept, prefix / python.site)
    return {path: fact for kept in shelves.kept for path, fact in _files(kept, prefix, python.site).items()}


def make(shelves: Shelves, prefix: Path, python: Interpreter) -> dict[str, Known]:
    """Compile what is missing in ``prefix``, keep it, and return the paths there with their facts."""
    found: dict[str, Known] = {}
    compiled = _compile(prefix, python, [path for _, paths in shelves.missing for path in paths])
    for shelf, paths in shelves.missing:
        kept = _keep(shelf, prefix / python.site, [compiled[path] for path in paths if path in compiled])
        found |= _files(kept, prefix, python.site)
    return found


def _note(shelf: Path) -> Path:
    return shelf.with_name(shelf.name + ".json")


def _sources(archive: Archive) -> Iterator[str]:
    """The package's own modules, below site-packages."""
    for path in archive.facts:
        if path.startswith(_PACKED) and path.endswith(".py") and path not in archive.patched:
            yield path.removeprefix(_PACKED)


def _compile(prefix: Path, python: Interpreter, sources: Sequence[str]) -> dict[str, str]:
    """Compile ``sources`` (below site-packages), several interpreters at a time; source → compiled file."""
    batches = [sources[start : start + _AT_ONCE] for start in range(0, len(sources), _AT_ONCE)]
    if not batches:
        return {}
    pool = ThreadPoolExecutor(max_workers=process.cores())
    try:
        answers = pool.map(lambda batch: _ask(prefix, python, batch), batches)
        return {source: target for answer in answers for source, target in answer}
    finally:
        pool.shutdown(cancel_futures=True)


def _ask(prefix: Path, python: Interpreter, sources: Sequence[str]) -> list[tuple[str, str]]:
    site = f"{prefix}/{python.site}/"
    rows = [(site + source, f"{python.site}/{source}") for source in sources]
    # No site-packages, and sets in one order: code must come out the same each time.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environ["PYTHONHASHSEED"] = "0"
    try:
        answer, _ = process.ask(
            [python.program, "-S", "-s", "-B", "-W", "ignore", "-c", _CHILD.read_text(encoding="utf-8")],
            json.dumps(rows).encode("ascii") + b"\n",
            timeout_s=_TIMEOUT_S,
            cwd=Path(prefix.anchor),
            environ=environ,
        )
        targets = [target and str(target).removeprefix(site) for target in json.loads(answer)]
        return [(source, target) for source, target in zip(sources, targets, strict=True) if target]
    except (OSError, ValueError, TypeError):
        return []  # that it does not run is found out, and said, by the build


def _take(kept: Archive, site: Path) -> None:
    """Link the compiled files into a prefix."""
    source, target, folders = f"{kept.folder}/", f"{site}/", set[str]()
    for path, fact in kept.facts.items():
        if not archives.is_file(fact):
            continue
        folder = path.rpartition("/")[0]
        if folder not in folders:
            folders.add(folder)
            os.makedirs(target + folder, exist_ok=True)  # noqa: PTH103 - a thousand folders
        _link(source + path, target + path)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except FileExistsError:
        os.unlink(target)  # noqa: PTH108
        _link(source, target)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
            raise
        shutil.copy2(source, target)


def _keep(shelf: Path, site: Path, paths: Iterable[str]) -> Archive:
    """Keep those of ``paths`` that could be compiled on ``shelf``, and return them as they lie in the prefix.

    A cache that cannot be written keeps nothing.
    """
    there = [path for path in paths if (site / path).is_file()]
    with suppress(OSError):
        shutil.rmtree(shelf, ignore_errors=True)
        for path in there:
            (shelf / path).parent.mkdir(parents=True, exist_ok=True)
            _link(f"{site}/{path}", f"{shelf}/{path}")
        kept = archives.look(scan(shelf))
        archives.write(_note(shelf), kept)
        return kept
    entries = {path: Entry(path, "file", 0) for path in there}
    return archives.look(Tree(site, entries, {}))


def _files(kept: Archive, prefix: Path, site: str) -> Mapping[str, Known]:
    files = {f"{site}/{path}": fact for path, fact in kept.facts.items() if archives.is_file(fact)}
    return baseline.known_files(files, kept.folder, prefix)
