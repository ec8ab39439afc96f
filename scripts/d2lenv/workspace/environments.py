"""The environments of a ``pixi.toml``: how features, targets and specs combine, as pixi 0.77 has it.

Only what a lock depends on is read: tasks, activation and the like are pixi's business. A table that would
change the lock and is not read here is refused by its name, because a lock solved without it is not pixi's.

An environment's own tables come first, then its features in the order given, then the default feature
(``crates/pixi_manifest/src/toml/manifest.rs``). Channels are joined in that order without repetition, for a
solve group over all its environments. Within a feature the target tables override the general one and, where
several fit a platform, the later one in the file wins. Across features every spec counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rattler import MatchSpec
from rattler.exceptions import InvalidMatchSpecError

from d2lenv.base.messages import tr
from d2lenv.facts.platforms import ROWS
from d2lenv.workspace import platforms
from d2lenv.workspace.channels import channel_url
from d2lenv.workspace.platforms import Platform
from d2lenv.workspace.toml import keys
from d2lenv.workspace.toml.keys import ManifestError, Table

_DEFAULT = "default"


@dataclass(frozen=True)
class Spec:
    """One dependency of the manifest.

    Attributes:
        name: the conda package's name, normalised.
        text: the match spec that the solver reads, such as ``numpy[version="1.23.*"]``.
        where: the table that holds it, for messages: ``[feature.cuda.dependencies]``.
    """

    name: str
    text: str
    where: str

    @property
    def match_spec(self) -> MatchSpec:
        return MatchSpec(self.text)


@dataclass(frozen=True)
class Environment:
    """One named set of packages.

    Attributes:
        name: as in ``[environments]``.
        channels: base addresses with a closing slash, highest priority first; those of the whole
            solve group where there is one, as pixi writes them into the lock.
        targets: the platforms by name, sorted.
        specs: platform's name → the dependencies there, sorted by name.
        solve_group: environments of one group are solved together, empty for none.
    """

    name: str
    channels: tuple[str, ...]
    targets: Mapping[str, Platform] = field(hash=False)
    specs: Mapping[str, tuple[Spec, ...]] = field(hash=False)
    solve_group: str = ""

    @property
    def platforms(self) -> tuple[str, ...]:
        """Return the names of its platforms, sorted."""
        return tuple(self.targets)


@dataclass(frozen=True)
class _Feature:
    """A table with dependencies.

    Attributes:
        prefix: its dotted name with a closing dot, ``feature.cuda.``, empty for the default feature.
        table: its content.
        channels: its own, else the workspace's.
        platforms: the names that it gives, None for all of the workspace's.
    """

    prefix: str
    table: Table
    channels: tuple[str, ...]
    platforms: frozenset[str] | None


@dataclass(frozen=True)
class _Head:
    """The part of ``[workspace]`` that every feature has: channels, platforms and a pool of specs."""

    channels: tuple[str, ...]
    platforms: tuple[Platform, ...]
    pool: Table


def read(data: Table) -> tuple[dict[str, Environment], tuple[Platform, ...]]:
    """Return the environments and the platforms of a parsed ``pixi.toml``.

    The environments stand with ``default`` first, then in the manifest's order, the platforms as there.

    Raises:
        ManifestError: if a table names an unknown feature or platform, holds a spec that does not parse, or
            asks for something that this tool does not support.
    """
    keys.known(data, keys.ROOT, "")
    head = _head(data)
    features = {
        name: _feature(head, f"feature.{name}.", table, keys.FEATURE)
        for name, table in _tables(data, "feature", "").items()
    }
    default = _Feature("", data, head.channels, None)
    declared = {_DEFAULT: [], **_table(data, "environments", "")}
    found = {name: _environment(name, value, head, features, default) for name, value in declared.items()}
    joined = {name: replace(env, channels=_group_channels(env, found)) for name, env in found.items()}
    return joined, head.platforms


def _group_channels(environment: Environment, all_of_them: Mapping[str, Environment]) -> tuple[str, ...]:
    if not environment.solve_group:
        return environment.channels
    members = (env for env in all_of_them.values() if env.solve_group == environment.solve_group)
    return tuple(dict.fromkeys(channel for member in members for channel in member.channels))


def _head(data: Table) -> _Head:
    name = "workspace" if "workspace" in data else "project"
    table = _table(data, name, "")
    if not table:
        raise ManifestError("", tr("it has no [workspace] table"))
    keys.known(table, keys.WORKSPACE, name)
    keys.default_solver(table, name)
    return _Head(
        channels=_channels(table.get("channels", []), f"[{name}] channels"),
        platforms=_workspace_platforms(table.get("platforms", []), f"[{name}] platforms"),
        pool=_table(table, "dependencies", f"{name}."),
    )


def _feature(head: _Head, prefix: str, table: Table, allowed: keys.Keys) -> _Feature:
    name = prefix[:-1]
    keys.known(table, allowed, name)
    keys.default_solver(table, name)
    return _Feature(
        prefix,
        table,
        _channels(table["channels"], f"[{name}] channels") if "channels" in table else head.channels,
        _platforms(table["platforms"], head, f"[{name}] platforms") if "platforms" in table else None,
    )


def _environment(
    name: str, value: Any, head: _Head, features: Mapping[str, _Feature], default: _Feature
) -> Environment:
    where = f"[environments] {name}"
    table = {"features": value} if isinstance(value, list) else value
    if not isinstance(table, dict) or not isinstance(names := table.get("features", []), list):
        raise ManifestError(where, tr("expected a list of features or a table"))
    parts: list[_Feature] = []
    inline = _feature(head, f"environments.{name}.", table, keys.ENVIRONMENT)
    if table.keys() & keys.FEATURE.read:
        parts.append(inline)
    for feature in names:
        if not isinstance(feature, str) or feature not in features:
            raise ManifestError(where, tr("there is no feature `{name}`", name=feature))
        parts.append(features[feature])
    if not table.get("no-default-feature", False):
        parts.append(default)
    chosen = platforms.chosen(head.platforms, (part.platforms for part in parts))
    targets = {platform.name: platform for platform in sorted(chosen, key=lambda one: one.name)}
    return Environment(
        name=name,
        channels=tuple(dict.fromkeys(channel for part in parts for channel in part.channels)),
        targets=targets,
        specs={one: _specs(parts, platform, head) for one, platform in targets.items()},
        solve_group=str(table.get("solve-group", "")),
    )


def _specs(parts: list[_Feature], platform: Platform, head: _Head) -> tuple[Spec, ...]:
    found: list[Spec] = []
    for part in parts:
        merged: dict[str, Spec] = {}
        for where, table in _dependency_tables(part, platform, head):
            for name, value in table.items():
                spec = _spec(name, _inherited(name, value, head.pool, where), where)
                merged[spec.name] = spec
        found.extend(merged.values())
    return tuple(sorted(found, key=lambda spec: (spec.name, spec.where)))


def _dependency_tables(part: _Feature, platform: Platform, head: _Head) -> Iterator[tuple[str, Table]]:
    prefix = part.prefix
    yield f"[{prefix}dependencies]", _table(part.table, "dependencies", prefix)
    for target, table in _tables(part.table, "target", prefix).items():
        inner = f"{prefix}target.{target}"
        if not any(one.fits(target) for one in (*head.platforms, *map(platforms.bare, ROWS))):
            raise platforms.unknown(target, f"[{inner}]")
        keys.known(table, keys.TARGET, inner)
        if platform.fits(target):
            yield f"[{inner}.dependencies]", _table(table, "dependencies", f"{inner}.")


def _inherited(name: str, value: Any, pool: Table, where: str) -> Any:
    """Return ``value`` with `{ workspace = true }` replaced by the spec of ``[workspace.dependencies]``."""
    if not isinstance(value, dict) or value.get("workspace") is not True:
        return value
    if name not in pool:
        raise ManifestError(f"{where} {name}", tr("[workspace.dependencies] has no `{name}`", name=name))
    shared = pool[name]
    own = {key: item for key, item in value.items() if key != "workspace"}
    return {**({"version": shared} if isinstance(shared, str) else shared), **own}


def _spec(name: str, value: Any, where: str) -> Spec:
    place = f"{where} {name}"
    fields = {"version": value} if isinstance(value, str) else value
    if not isinstance(fields, dict):
        raise ManifestError(place, tr("expected a version or a table"))
    keys.known(fields, keys.SPEC, place)
    for text in fields.values():
        if not isinstance(text, str):
            raise ManifestError(place, tr("`{value}` is not a text", value=text))
    if not re.fullmatch(r"[A-Za-z0-9_][\w.-]*", name, re.ASCII):
        raise ManifestError(place, tr("`{value}` is not a package name", value=name))
    brackets = ",".join(
        f'{key.replace("-", "_").replace("file_name", "fn")}="{fields[key]}"'
        for key in keys.SPEC_ORDER
        if key in fields
    )
    text = f"{name}[{brackets}]" if brackets else name
    _parses(text, place)
    return Spec(name.lower(), text, where)


def _parses(text: str, place: str) -> None:
    """Refuse a spec that the solver does not read.

    pixi 0.77 still takes a bare ``1.23.5`` for ``==1.23.5`` and warns that it will be an error.
    """
    try:
        MatchSpec(text, strict=True)
    except InvalidMatchSpecError as error:
        try:
            MatchSpec(text, strict=False)
        except InvalidMatchSpecError:
            raise ManifestError(place, f"`{text}`: {error}") from error
        raise ManifestError(place, f"`{text}`: {error}", tr("a version without an operator")) from error


def _table(data: Table, key: str, prefix: str) -> Table:
    value = data.get(key, {})
    if not isinstance(value, dict):
        raise ManifestError(f"[{prefix}{key}]", tr("expected a table"))
    return value


def _tables(data: Table, key: str, prefix: str) -> dict[str, Table]:
    """Return the tables inside the table ``key``."""
    outer = _table(data, key, prefix)
    return {name: _table(outer, name, f"{prefix}{key}.") for name in outer}


def _workspace_platforms(values: Any, where: str) -> tuple[Platform, ...]:
    if not isinstance(values, list) or not all(isinstance(value, (str, dict)) for value in values):
        raise ManifestError(where, tr("expected a list of platform names or tables"))
    return platforms.read(values, where)


def _platforms(values: Any, head: _Head, where: str) -> frozenset[str]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ManifestError(where, tr("expected a list of platform names"))
    for value in values:
        if value not in ROWS and all(value != platform.name for platform in head.platforms):
            raise platforms.unknown(value, where)
    return frozenset(values)


def _channels(values: Any, where: str) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(value, (str, dict)) for value in values):
        raise ManifestError(where, tr("expected a list of channel names"))
    if any(isinstance(value, dict) for value in values):
        raise ManifestError(where, tr("expected a list of channel names"), tr("channels that are tables"))
    try:
        return tuple(channel_url(value) for value in values)
    except ValueError as error:
        raise ManifestError(where, tr("`{name}` is not a channel", name=error)) from error
