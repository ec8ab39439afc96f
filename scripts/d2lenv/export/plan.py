"""The files of an export: every text, and the places where nothing makes a file any more."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TypedDict

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from d2lenv.base import process
from d2lenv.base.errors import USAGE, D2lEnvError
from d2lenv.base.messages import tr
from d2lenv.export import previous, read
from d2lenv.export.formats import listing, requirements
from d2lenv.export.formats.listing import PreviousRelease
from d2lenv.export.formats.registry import FORMATS, REQUIREMENTS, Format
from d2lenv.export.request import Request
from d2lenv.export.table import CondaPackage, EnvironmentTable, PinTable
from d2lenv.workspace import beside, lockfile, settings
from d2lenv.workspace import pins as pinned
from d2lenv.workspace.lockfile import Lock
from d2lenv.workspace.manifest import Workspace
from d2lenv.workspace.settings import Settings

ENVS = "envs"
"""The folder of the workspace that the exports go to."""


@dataclass(frozen=True)
class ExportPlan:
    """The files of an export.

    Attributes:
        root: the folder that the paths are relative to.
        texts: path → text; paths with ``/``.
        covered: patterns of paths that this plan speaks for; what matches and is not in ``texts`` is stale.
        requirements: path → what is wrong with a requirements file, which ``d2lenv lock`` makes.
        incomplete: what a format left out although ``--conda-only`` was not given.
        notes: what a reader should know about complete exports.
    """

    root: Path
    texts: Mapping[str, str]
    covered: tuple[str, ...]
    requirements: Mapping[str, str]
    incomplete: tuple[str, ...]
    notes: tuple[str, ...]


@process.without_collector()
def of_workspace(workspace: Workspace, request: Request) -> ExportPlan:
    """Plan the exports of this project's own lock, under ``envs/``.

    Raises:
        D2lEnvError: if the lock cannot be read, has not the environments named, or holds what is refused.
    """
    lock = lockfile.of(workspace)
    every = settings.load(workspace)
    pinned = {name: one for name, one in every.items() if name not in lock.environments and one.wheels}
    _check_names(lock, request.names, {*lock.environments, *pinned})
    names = request.names or [name for name, one in every.items() if one.exported]
    file = f"{ENVS}/{listing.PREVIOUS}"
    hidden = [name for name, one in every.items() if not one.exported]
    release = previous.wanted(
        workspace.root / file,
        request.previous,
        root=workspace.root,
        without=hidden,
        known=workspace.platforms,
    )
    seen: dict[str, CondaPackage] = {}
    tables = [
        previous.beside(_table(workspace, lock, name, every.get(name), seen), release)
        for name in names
        if name in lock.environments
    ]
    alone = [name for name in names if name in pinned]
    needed = any(request.wants(key) and one.of_pins for key, one in FORMATS.items())
    both = [name for name in names if name in lock.environments and every[name].requirements]
    pins = [_pins(workspace, every[name], lock) for name in (*alone, *both)] if needed else []
    folders = [*(one.folder for one in tables), *(f"{ENVS}/{name}" for name in alone)]
    if not request.names:
        folders += _left_behind(workspace, {*lock.environments, *pinned})
    plan = _plan(workspace.root, tables, pins, folders, request)
    lists = requirements.problems(workspace, lock, request.names) if request.wants(REQUIREMENTS) else {}
    return replace(_with_previous(plan, file, release, request), requirements=lists)


def of_lock(path: Path, output: Path, request: Request) -> ExportPlan:
    """Plan the exports of anybody's lock, a folder for each environment under ``output``.

    Raises:
        D2lEnvError: as :func:`of_workspace`.
    """
    lock = lockfile.read(path)
    _check_names(lock, request.names, lock.environments)
    names = request.names or tuple(lock.environments)
    release = previous.wanted(output / listing.PREVIOUS, request.previous, root=None, without=())
    seen: dict[str, CondaPackage] = {}
    tables = []
    for name in names:
        command = f"d2lenv export --lock pixi.lock {name}"
        one = read.environment(lock, name, title=name, folder=name, command=command, seen=seen)
        tables.append(previous.beside(replace(one, binder=len(names) == 1), release))
    plan = _plan(output, tables, (), [one.folder for one in tables], request)
    return _with_previous(plan, listing.PREVIOUS, release, request)


def _table(
    workspace: Workspace, lock: Lock, name: str, own: Settings | None, seen: dict[str, CondaPackage]
) -> EnvironmentTable:
    one = read.environment(lock, name, **_names(name), seen=seen)
    if name not in workspace.environments or own is None:
        return one
    specs = workspace.environments[name].specs
    asked = {platform: frozenset(spec.name for spec in wanted) for platform, wanted in specs.items()}
    return replace(one, asked=asked, binder=own.binder, beside=beside.pins(own))


def _pins(workspace: Workspace, own: Settings, lock: Lock) -> PinTable:
    """Return the pins of an environment where pixi.lock has none of its packages."""
    conda = lock.platforms(own.name)
    platforms = [platform for platform in own.wheels if platform not in conda]
    wanted = (*own.requirements, *own.extra)
    return PinTable(
        environment=own.name,
        **_names(own.name),
        pins={platform: tuple(pinned.read(workspace, own.name, platform)) for platform in platforms},
        python=own.pythons[0] if own.universal else "",
        asked=frozenset(canonicalize_name(Requirement(text).name) for text in wanted),
    )


class _Names(TypedDict):
    title: str
    folder: str
    command: str


def _names(environment: str) -> _Names:
    command = f"d2lenv export {environment}"
    return {"title": f"d2l-{environment}", "folder": f"{ENVS}/{environment}", "command": command}


def _left_behind(workspace: Workspace, present: Collection[str]) -> list[str]:
    """Return the folders of environments that are gone."""
    root = workspace.root / ENVS
    found = sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    return [f"{ENVS}/{name}" for name in found if name not in present]


def _plan(
    root: Path,
    tables: Sequence[EnvironmentTable],
    pins: Sequence[PinTable],
    folders: Sequence[str],
    request: Request,
) -> ExportPlan:
    _check_formats(request)
    texts: dict[str, str] = {}
    covered: list[str] = []
    incomplete: list[str] = []
    notes: list[str] = []
    for name, one_format in FORMATS.items():
        if not request.wants(name):
            continue
        covered += [f"{folder}/{pattern}" for folder in folders for pattern in one_format.patterns]
        if one_format.of_pins is not None:
            for pin_table in pins:
                texts |= one_format.of_pins(pin_table)
        for table in tables:
            if lacks := _wheels_left_out(name, one_format, table):
                (notes if request.conda_only else incomplete).append(lacks)
                if not request.conda_only:
                    continue
            texts |= one_format.make(table)
            notes += filter(None, [one_format.left_out(table)])
    checked = {_inside(path): text for path, text in texts.items()}
    return ExportPlan(root, checked, tuple(dict.fromkeys(covered)), {}, tuple(incomplete), tuple(notes))


def _with_previous(
    plan: ExportPlan, file: str, release: PreviousRelease | None, request: Request
) -> ExportPlan:
    if release is None or not request.wants("listing"):
        return plan
    return replace(plan, texts={**plan.texts, file: listing.previous_text(release)})


def _wheels_left_out(name: str, one_format: Format, table: EnvironmentTable) -> str:
    if one_format.holds_wheels or not table.has_wheels:
        return ""
    found = sorted({wheel.name for target in table.targets for wheel in target.wheels})
    return tr(
        "{format} of {name} has no place for PyPI packages: {packages}",
        format=name,
        name=table.environment,
        packages=", ".join(found),
    )


def _inside(path: str) -> str:
    """Return ``path``, which the formats build from checked names: a last guard against leaving the root."""
    parts = PurePosixPath(path).parts
    if PurePosixPath(path).is_absolute() or ".." in parts:
        raise ValueError(path)
    return path


def _check_formats(request: Request) -> None:
    known = [*FORMATS, REQUIREMENTS]
    if unknown := sorted(set(request.formats) - set(known)):
        raise D2lEnvError(
            tr("there is no format {names}", names=", ".join(unknown)),
            fix=tr("choose one of: {names}", names=", ".join(known)),
            status=USAGE,
        )


def _check_names(lock: Lock, names: Iterable[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            raise D2lEnvError(
                tr("{file} has no environment `{name}`", file=lock.path, name=name),
                fix=tr("choose one of: {names}", names=", ".join(sorted(known))),
                status=USAGE,
            )
