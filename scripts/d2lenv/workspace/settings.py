"""``[tool.d2lenv]`` in ``pixi.toml``: what the tool knows of an environment beyond pixi's own tables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from d2lenv.base.errors import USAGE, D2lEnvError
from d2lenv.base.messages import tr
from d2lenv.facts.platforms import ROWS
from d2lenv.workspace.toml import document

if TYPE_CHECKING:
    from pathlib import Path

    from d2lenv.workspace.manifest import Workspace


@dataclass(frozen=True)
class Override:
    """Requirements that hold although another package's metadata says otherwise.

    Attributes:
        requirements: of one package, as PEP 508 writes them; several differ in their markers.
        reason: why it is right to overrule that package.
        since: the day on which this was found out.
    """

    requirements: tuple[str, ...]
    reason: str
    since: date

    @property
    def package(self) -> str:
        """Return the name of the package, normalised as PEP 503 says."""
        return canonicalize_name(Requirement(self.requirements[0]).name)


@dataclass(frozen=True)
class HostBuild:
    """A build of PyTorch from its own host, for a platform whose index has the other one.

    Attributes:
        build: ``cpu`` or ``cu128``.
        gb: gigabytes (10**9 bytes) that an environment with it takes.
        index_gb: the same with the index's build.
    """

    build: str
    gb: float
    index_gb: float


@dataclass(frozen=True)
class Settings:
    """The settings of one environment: what the ``wheels`` engine, the exports and the notebooks go by.

    Attributes:
        name: the environment.
        display_name: what Jupyter shows for its kernel.
        pythons: versions as ``3.10`` that its wheels are for, best first, empty when pixi.toml's own spec
            decides. With several there is one requirements file for all of them and all platforms.
        wheels: platforms for which the package index serves it.
        disk_gb: gigabytes (10**9 bytes) that a wheels build needs on an empty disk; 0 for unknown.
        requirements: what is asked for, empty when pixi.lock decides.
        overrides: what packages get in the place of what they ask for.
        extra: what its wheels have beside that.
        exclude_newer: the index as of this moment.
        exported: whether `d2lenv export` makes its files without being asked by name.
        binder: whether Binder gets this environment.
        host: platform → the build that PyTorch's own host has besides.
        beside: wheels that its conda packages have beside them, as ``d2l==1.0.3``.
        device_fallbacks: whether d2l's GPU functions use other devices unless told not to.
        cuda: the CUDA that its PyTorch is built for where there is such a build, as ``11.7``, empty for CPU.
    """

    name: str
    display_name: str
    pythons: tuple[str, ...]
    wheels: tuple[str, ...]
    disk_gb: float
    requirements: tuple[str, ...]
    overrides: tuple[Override, ...]
    extra: tuple[str, ...]
    exclude_newer: str
    exported: bool = True
    binder: bool = False
    device_fallbacks: bool = False
    cuda: str = ""
    beside: tuple[str, ...] = ()
    host: Mapping[str, HostBuild] = field(default_factory=dict)

    @property
    def universal(self) -> bool:
        """Return True if one requirements file serves several Pythons and every platform."""
        return len(self.pythons) > 1


def load(workspace: Workspace) -> Mapping[str, Settings]:
    """Return the settings of every environment, conda's first, then those of wheels alone.

    Raises:
        D2lEnvError: if a value of ``[tool.d2lenv]`` is off; the message names it.
    """
    tool = workspace.tool
    tables: dict[str, dict[str, Any]] = tool.get("environments", {})
    names = [*workspace.environments, *(name for name in tables if name not in workspace.environments)]
    shared: dict[str, Any] = {
        key: tool[key] for key in ("exclude-newer", "extra-requirements") if key in tool
    }
    return {name: _settings(workspace, name, {**shared, **tables.get(name, {})}) for name in names}


def get(workspace: Workspace, name: str) -> Settings:
    """Return the settings of the environment called ``name``; every command looks an environment up here.

    Raises:
        D2lEnvError: if there is none; the message lists those that exist.
    """
    found = load(workspace)
    if name not in found:
        raise D2lEnvError(
            tr("{file} has no environment `{name}`", file=workspace.manifest, name=name),
            fix=tr("choose one of: {names}", names=", ".join(found)),
            status=USAGE,
        )
    return found[name]


def overrides(root: Path, name: str) -> tuple[Override, ...]:
    """Return the overrides of one environment alone, without a judgement of pixi's own tables.

    Raises:
        D2lEnvError: if pixi.toml is missing or not TOML, or an override is off.
    """
    table = document.tool(document.parse(root)).get("environments", {}).get(name, {})
    try:
        return tuple(_override(override) for override in table.get("overrides", ()))
    except _Wrong as error:
        raise _refused(root / document.MANIFEST, name, error) from error


def _settings(workspace: Workspace, name: str, table: dict[str, Any]) -> Settings:
    try:
        return Settings(
            name=name,
            display_name=str(table.get("display-name", f"d2l ({name})")),
            pythons=_pythons(table),
            wheels=_platforms(table),
            disk_gb=float(table.get("disk-gb", 0)),
            requirements=_requirements(table, "requirements"),
            overrides=tuple(_override(override) for override in table.get("overrides", ())),
            extra=_requirements(table, "extra-requirements"),
            exclude_newer=_moment(table),
            exported=bool(table.get("export", True)),
            binder=bool(table.get("binder", False)),
            device_fallbacks=bool(table.get("device-fallbacks", False)),
            cuda=_cuda(table),
            beside=_requirements(table, "beside-conda"),
            host={name: _host_build(own) for name, own in table.get("pytorch-host", {}).items()},
        )
    except _Wrong as error:
        raise _refused(workspace.manifest, name, error) from error


def _refused(manifest: Path, name: str, error: _Wrong) -> D2lEnvError:
    place = f"{manifest} [tool.d2lenv.environments.{name}] {error.key}"
    return D2lEnvError(tr("{place} cannot be read", place=place), why=error.why, status=USAGE)


class _Wrong(Exception):
    """A value that cannot be taken: its key and why."""

    def __init__(self, key: str, why: str) -> None:
        super().__init__(key, why)
        self.key, self.why = key, why


def _platforms(table: dict[str, Any]) -> tuple[str, ...]:
    platforms = tuple(str(value) for value in table.get("wheels", ()))
    for platform in platforms:
        if platform not in ROWS:
            raise _Wrong("wheels", tr("`{name}` is not a platform of this workspace", name=platform))
    return platforms


def _pythons(table: dict[str, Any]) -> tuple[str, ...]:
    given = table.get("python", ())
    pythons = tuple(map(str, given)) if isinstance(given, list) else (str(given),) if given else ()
    for python in pythons:
        if not re.fullmatch(r"3\.\d+", python):
            raise _Wrong("python", tr("`{value}` is not a version of Python, as 3.12", value=python))
    if len(pythons) > 1 and not table.get("requirements"):
        raise _Wrong("python", tr("several go with `requirements` only"))
    return pythons


def _host_build(table: dict[str, Any]) -> HostBuild:
    build, sizes = str(table.get("build", "")), (table.get("gb"), table.get("index-gb"))
    if not re.fullmatch(r"cpu|cu\d{3}", build) or not all(isinstance(size, (int, float)) for size in sizes):
        raise _Wrong(
            "pytorch-host", tr("each has a `build` (cpu or cu128) and the sizes `gb` and `index-gb`")
        )
    return HostBuild(build, *map(float, filter(None, sizes)))


def _override(table: dict[str, Any]) -> Override:
    texts, reason, since = _requirements(table, "requirements"), table.get("reason"), table.get("since")
    if len({canonicalize_name(Requirement(text).name) for text in texts}) != 1:
        raise _Wrong("overrides", tr("each has the `requirements` of one package"))
    try:
        # As a text: pixi 0.77 reads no TOML with a date in it, whatever the table (tried 2026-11-24).
        day = date.fromisoformat(since) if isinstance(since, str) else None
    except ValueError:
        day = None
    if not isinstance(reason, str) or not reason or day is None:
        raise _Wrong("overrides", tr("each has a `reason` and the day `since` when it is known"))
    return Override(texts, reason, day)


def _requirements(table: dict[str, Any], key: str) -> tuple[str, ...]:
    texts = tuple(str(text) for text in table.get(key, ()))
    for text in texts:
        try:
            Requirement(text)
        except InvalidRequirement as error:
            raise _Wrong(key, str(error)) from error
    return texts


def _moment(table: dict[str, Any]) -> str:
    """Return ``exclude-newer``, which wheels need."""
    moment = str(table.get("exclude-newer", ""))
    try:
        datetime.fromisoformat(moment.replace("Z", "+00:00"))
    except ValueError as error:
        if table.get("wheels"):
            raise _Wrong("exclude-newer", str(error)) from error
    return moment


def _cuda(table: dict[str, Any]) -> str:
    cuda = str(table.get("cuda", ""))
    if cuda and not re.fullmatch(r"\d+\.\d+", cuda):
        raise _Wrong("cuda", tr("`{value}` is not a version of CUDA, as 11.7", value=cuda))
    return cuda
