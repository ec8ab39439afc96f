"""``d2lenv bundle create``: wheels, Pythons, the tool, notebooks, books and data, in one folder.

The folder is filled in place and its manifest is written last: a run that was stopped goes on where it was,
and a folder without a manifest is no bundle yet. The same inputs give the same bytes.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from packaging.version import Version

from d2lenv.base import git
from d2lenv.base.errors import USAGE, D2lEnvError
from d2lenv.base.files import exclusive_lock, write_atomic
from d2lenv.base.messages import tr
from d2lenv.bundle import check, install, pythons, tar, wheels
from d2lenv.bundle.manifest import NAME, WHEELS, Carried, File, Lack, Manifest
from d2lenv.data import digests, store
from d2lenv.data.table import DataSet
from d2lenv.facts import platforms
from d2lenv.prefix import scan
from d2lenv.prefix.scan import Entry
from d2lenv.workspace import lockfile, settings
from d2lenv.workspace import pins as pinned
from d2lenv.workspace.manifest import Workspace
from d2lenv.workspace.pins import Pin, Variation

TOOL = "d2l-env.tar"
"""The archive of the checkout: the tool, the locks, the notebooks."""

_TOOL_LOCK = Path(".ci") / "requirements" / "tool.txt"
# What a learner's machine needs of a checkout; tests, benchmarks and pictures stay at home.
_CARRIED = (
    *(".ci/requirements/tool.txt", "LICENSE", "README.md", "README.zh-CN.md", "SECURITY.md"),
    *("envs", "notebooks", "noxfile.py", "pixi.lock", "pixi.toml", "pyproject.toml", "run.py", "scripts"),
)


@dataclass(frozen=True)
class Request:
    """What a bundle is to hold.

    Attributes:
        environments: names.
        platforms: for which machines.
        pythons: folders of Pythons that run from any place.
        books: name → folder of an unpacked book.
        data: data sets whose files are taken from the shared folder.
        data_folder: that folder.
        since: an older bundle that the machines have: its files are left out.
    """

    environments: tuple[str, ...]
    platforms: tuple[str, ...]
    pythons: tuple[Path, ...] = ()
    books: Mapping[str, Path] = field(default_factory=dict)
    data: tuple[DataSet, ...] = ()
    data_folder: Path = Path()
    since: Manifest | None = None


@dataclass
class _Work:
    """A bundle in the making.

    Attributes:
        there: sha256 → path of the wheels that are in it.
        serves: path → what needs it, of every file that belongs to it.
    """

    workspace: Workspace
    folder: Path
    say: Callable[[str], None]
    there: dict[str, Path]
    serves: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    carried: list[Carried] = field(default_factory=list)
    lacks: list[Lack] = field(default_factory=list)
    sources: list[pythons.Source] = field(default_factory=list)


def create(workspace: Workspace, request: Request, folder: Path, say: Callable[[str], None]) -> Manifest:
    """Write a bundle into ``folder``, or bring the one that is there up to date.

    Raises:
        D2lEnvError: if ``folder`` holds something else, or a part cannot be had that all of it needs.
    """
    _refuse_foreign(folder)
    with exclusive_lock(folder.with_name(f".{folder.name}.lock"), "d2lenv bundle", say):
        folder.mkdir(parents=True, exist_ok=True)
        work = _Work(workspace, folder, say, wheels.present(folder / WHEELS))
        work.sources = [pythons.given(path) for path in request.pythons]
        for platform in request.platforms:
            for name in request.environments:
                _environment(work, name, platform)
            if any(one.platform == platform for one in work.carried):
                _tool(work, platform)
        if not work.carried:
            raise D2lEnvError(
                tr("nothing of what was asked for can be in a bundle"), why=work.lacks[0].why, status=USAGE
            )
        _archives(work, request)
        return _finish(work, request)


def _refuse_foreign(folder: Path) -> None:
    ours = {NAME, WHEELS, "python", "books", "data", TOOL, *install.NAMES}
    if folder.exists() and not folder.is_dir():
        names = [folder.name]
    else:
        names = [
            path.name for path in folder.glob("*") if path.name not in ours and not path.name.startswith(".")
        ]
    if names:
        raise D2lEnvError(
            tr("{path} holds something else: {name}", path=folder, name=names[0]),
            fix=tr("name an empty folder, or one with a bundle"),
            status=USAGE,
        )


def _environment(work: _Work, name: str, platform: str) -> None:
    own = settings.get(work.workspace, name)
    if platform not in own.wheels:
        work.lacks.append(
            Lack(f"{name}/{platform}", tr("no wheels are pinned for it; conda packages are not carried yet"))
        )
        return
    variation = _variation(work, own.pythons if own.universal else ())
    pins = pinned.read(work.workspace, name, platform, variation)
    python = variation.python or pinned.python_version(own, lockfile.of(work.workspace), platform)
    work.say(tr("{name} for {platform}: {count} wheels", name=name, platform=platform, count=len(pins)))
    _wheels(work, pins, wheels.Target(platform, python), f"{platform}/{name}")
    interpreter = _python(work, python, platform)
    work.carried.append(Carried(name, platform, python, interpreter, pinned.digest(pins, variation)))


def _variation(work: _Work, versions: Sequence[str]) -> Variation:
    """Return the best of the versions for which a Python was given, else the best."""
    known = {source.version for source in work.sources}
    return (
        Variation(next((version for version in versions if version in known), versions[0]))
        if versions
        else Variation()
    )


def _wheels(work: _Work, pins: Sequence[Pin], target: wheels.Target, serves: str) -> None:
    for path in wheels.collect(pins, target, work.folder / WHEELS, work.there, work.say).values():
        work.serves[f"{WHEELS}/{path.name}"].add(serves)


def _python(work: _Work, version: str, platform: str) -> str:
    """Pack a Python, and return its path in the bundle; empty if there is none, which is noted."""
    known = [one.interpreter for one in work.carried if (one.python, one.platform) == (version, platform)]
    if known:
        return known[0]
    with tempfile.TemporaryDirectory(prefix="d2lenv-python-") as scratch:
        source = pythons.choose(work.sources, version) if platform == platforms.current() else None
        if source is None:
            work.say(tr("Python {version} for {platform}: asking uv", version=version, platform=platform))
            source = pythons.from_uv(version, platform, Path(scratch))
        if source is None:
            why = tr("uv cannot fetch one here, and none was named with --python")
            work.lacks.append(Lack(f"Python {version}/{platform}", why))
            return ""
        path = f"python/cpython-{source.release}-{platform}.tar"
        pythons.pack(source, platform, work.folder / path)
    work.serves[path].add(platform)
    return path


def _tool(work: _Work, platform: str) -> None:
    """Take the tool's own wheels, for each Python of the bundle that may run it on that platform."""
    try:
        text = (work.workspace.root / _TOOL_LOCK).read_text(encoding="utf-8")
    except OSError as error:
        raise D2lEnvError(
            tr("{path} cannot be read", path=work.workspace.root / _TOOL_LOCK),
            why=tr("a bundle carries the tool itself"),
            fix=tr("make bundles in a checkout of this repository"),
        ) from error
    versions = sorted({one.python for one in work.carried if one.platform == platform}, key=Version)
    fitting = [version for version in versions if install.runs_the_tool(version)]
    if not fitting:
        fitting = [install.OLDEST_FOR_THE_TOOL]
        _python(work, install.OLDEST_FOR_THE_TOOL, platform)
    for version in fitting:
        pins = pinned.applying(pinned.parse(text, str(_TOOL_LOCK)), platform, version)
        _wheels(work, pins, wheels.Target(platform, version), platform)


def _archives(work: _Work, request: Request) -> None:
    """Write what is the same for every platform: the tool, books, data, and the scripts that install it."""
    tar.write(work.folder / TOOL, _checkout(work.workspace.root))
    work.serves[TOOL] = set()
    for name, book in sorted(request.books.items()):
        path = f"books/{name}.tar"
        tar.write(work.folder / path, ((f"{name}/{inner}", file) for inner, file in _tree(book)))
        work.serves[path] = set()
    for file in store.files_of(request.data):
        source = request.data_folder / file.path
        if store.state(request.data_folder, file) != "present":
            work.lacks.append(Lack(file.path, tr("it is not in the shared folder: `d2lenv data get`")))
            continue
        target = work.folder / "data" / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        if not (target.is_file() and digests.is_the(file, target)):
            shutil.copyfile(source, target)
        work.serves[f"data/{file.path}"] = set()


def _checkout(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files of the checkout that a learner needs: of a clone those that git knows."""
    try:
        tracked = set(git.git(root, "ls-files", "-z").split("\0"))
    except git.GitError:  # a release's archive, not a clone
        tracked = set()
    for name in _CARRIED:
        for inner, path in _tree(root / name) if (root / name).is_dir() else [("", root / name)]:
            relative = f"{name}/{inner}" if inner else name
            if path.is_file() and (not tracked or relative in tracked):
                yield f"d2l-env/{relative}", path


def _tree(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield (path below it, file) of the plain files of a folder; links do not leave it."""
    if not folder.is_dir():
        raise D2lEnvError(tr("{path} is no folder", path=folder), status=USAGE)
    for here, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in (".git", ".ipynb_checkpoints", "__pycache__")]
        for name in files:
            path = Path(here) / name
            if not path.is_symlink():
                yield path.relative_to(folder).as_posix(), path


def _finish(work: _Work, request: Request) -> Manifest:
    """Write the install scripts, the sums and the manifest, and remove what an older bundle had beside."""
    interpreters: dict[str, list[str]] = defaultdict(list)
    for path, served in sorted(work.serves.items()):
        if path.startswith("python/"):
            interpreters[next(iter(served))].append(path)
    scripts = install.texts(work.carried, interpreters)
    for name, text in scripts.items():
        write_atomic(work.folder / name, text)
    kept = {NAME, *scripts}
    work.serves |= {name: set() for name in scripts}
    files = _described(work)
    for platform, text in install.sums(files, work.carried).items():
        kept.add(install.sums_name(platform))
        write_atomic(work.folder / install.sums_name(platform), text)
    manifest = Manifest(tuple(work.carried), tuple(files), tuple(work.lacks))
    _remove(work.folder, {*kept, *(file.path for file in files)})
    if request.since is not None:
        older = {(file.path, file.sha256) for file in request.since.files}
        for file in files:
            if (file.path, file.sha256) in older:
                (work.folder / file.path).unlink(missing_ok=True)
    write_atomic(work.folder / NAME, manifest.text())
    return manifest


def _described(work: _Work) -> list[File]:
    """Return the row of each file; the wheels, most of the bytes, were read when they came."""
    known = {f"{WHEELS}/{path.name}": digest for digest, path in work.there.items()}
    sizes = {path: (work.folder / path).stat().st_size for path in sorted(work.serves)}
    unread = [Entry(path, "file", 0, size) for path, size in sizes.items() if path not in known]
    found, failed = scan.digests(work.folder, unread)
    if failed:
        path, why = next(iter(failed.items()))
        raise D2lEnvError(tr("{path} cannot be read", path=work.folder / path), why=why)
    known |= found
    return [File(path, size, known[path], tuple(sorted(work.serves[path]))) for path, size in sizes.items()]


def _remove(folder: Path, kept: set[str]) -> None:
    """Remove the files that this bundle does not have: an older one's, or a stopped run's."""
    for path in check.paths(folder):
        if path not in kept:
            (folder / path).unlink()
    for here, folders, files in os.walk(folder, topdown=False):
        if not folders and not files and Path(here) != folder:
            Path(here).rmdir()
