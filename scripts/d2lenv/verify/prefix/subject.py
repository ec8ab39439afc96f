"""Find out which environment a prefix belongs to, and which packages are locked for that."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from d2lenv.base.errors import D2lEnvError
from d2lenv.base.messages import printable, tr
from d2lenv.facts.engines import PACKAGES, Packages
from d2lenv.prefix import marker
from d2lenv.prefix.contents.model import Prefix
from d2lenv.workspace import beside, lockfile, settings
from d2lenv.workspace import pins as pinned
from d2lenv.workspace.lockfile import Lock
from d2lenv.workspace.manifest import Workspace
from d2lenv.workspace.pins import Variation

_CONDA_FIELDS = ("version", "build", "subdir", "url", "sha256", "md5")


@dataclass(frozen=True)
class Wanted:
    """One package of the lock.

    Attributes:
        fields: conda-meta's field → value; for a wheel only ``version``.
    """

    name: str
    fields: Mapping[str, str]


@dataclass(frozen=True)
class Subject:
    """The locked environment that a prefix is compared with.

    Attributes:
        kind: of its packages.
        ours: whether `d2lenv build` made the prefix; another client leaves no marker and no baseline.
        digest: of the lock, as ``d2lenv.json`` records it.
        source: the file that has the packages.
        variation: what was chosen of the wheels.
        beside: wheels that belong to conda's packages, by name.
    """

    environment: str
    platform: str
    kind: Packages
    ours: bool
    digest: str
    source: Path
    packages: Mapping[str, Wanted]
    variation: Variation
    beside: Mapping[str, Wanted] = field(default_factory=dict)


def subject(workspace: Workspace, content: Prefix, asked: str = "") -> Subject:
    """Return the subject of a prefix, by its own marker, by where it lies, or as asked for.

    Args:
        asked: the environment that the user names; the marker may not name another.

    Raises:
        D2lEnvError: if it belongs to no environment of the workspace, or to another one.
    """
    said = {key: value for key, value in content.marker.items() if isinstance(value, str)}
    ours = bool(said.get("environment")) or content.path.parent == workspace.root / ".d2lenv"
    stated = said.get("environment", "")
    if not stated and content.path.parent == workspace.root / ".pixi" / "envs":
        stated = content.path.name
    environment = stated or asked
    if not re.fullmatch(r"[\w-]{1,64}", environment):
        raise D2lEnvError(
            tr("{path} does not say of which environment it is", path=content.path),
            why=tr("it has no {file} and is not below .pixi/envs", file=marker.MARKER),
            fix=tr("say which with --environment NAME, if another tool made it from this lock"),
        )
    if asked and asked != environment:
        raise D2lEnvError(
            tr(
                "{path} says that it is {found}, not {name}",
                path=content.path,
                found=printable(environment),
                name=asked,
            )
        )
    stated = said.get("platform", "")
    if _kind(content, said) == "wheels":
        universal = settings.get(workspace, environment).universal
        chosen = Variation.of({**({"python": content.python_minor} if universal else {}), **said})
        return _of_wheels(workspace, environment, stated or content.platform, ours, chosen)
    lock = lockfile.of(workspace)
    installed = {(package.name, package.version, package.build) for package in content.conda}
    platform = stated or lock.nearest(environment, content.platform, installed)
    return _of_lock(workspace, lock, environment, platform, ours)


def _kind(content: Prefix, said: Mapping[str, str]) -> Packages:
    stated = said.get("engine", "")
    if stated in PACKAGES:
        return PACKAGES[stated]
    if content.kind not in ("conda", "venv"):
        raise D2lEnvError(
            tr("{path} is no environment", path=content.path),
            why=tr("it has neither conda-meta nor pyvenv.cfg"),
            fix=tr("`d2lenv doctor PREFIX` examines any environment; `d2lenv build` makes one of ours"),
        )
    return "conda" if content.kind == "conda" else "wheels"


def _of_wheels(
    workspace: Workspace, environment: str, platform: str, ours: bool, variation: Variation
) -> Subject:
    pins = pinned.read(workspace, environment, platform, variation)
    return Subject(
        environment,
        platform,
        "wheels",
        ours,
        pinned.digest(pins, variation),
        pinned.path_of(workspace, environment, platform),
        {pin.name: Wanted(pin.name, {"version": pin.version}) for pin in pins},
        variation,
    )


def _of_lock(workspace: Workspace, lock: Lock, environment: str, platform: str, ours: bool) -> Subject:
    added = beside.pins(settings.get(workspace, environment))
    return Subject(
        environment,
        platform,
        "conda",
        ours,
        beside.digest(lockfile.digest(lock, environment, platform).digest, added),
        workspace.lock,
        {
            record.name.normalized: _wanted(json.loads(record.to_json()))
            for record in lock.records(environment, platform)
        },
        Variation(),
        {pin.name: Wanted(pin.name, {"version": pin.version}) for pin in added},
    )


def _wanted(record: dict[str, Any]) -> Wanted:
    fields = {key: str(record[key]) for key in _CONDA_FIELDS if record.get(key)}
    return Wanted(str(record["name"]), fields)
