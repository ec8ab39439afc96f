"""``pixi.toml``: environments, features, channels, platforms and specs, as pixi understands them.

Only what a lock depends on is read; tasks, activation and the like are pixi's business. A table that
would change the lock and is not read here is refused: a lock solved without it is not pixi's. How
features combine follows pixi 0.77 (``crates/pixi_manifest/src``): an environment's features come in the
order given and the default feature last; channels are joined in that order without repetition, for a
solve group over all its environments; within a feature the target tables override the general one and,
where several fit a platform, the one that stands later in the file wins; across features every spec
counts.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rattler import MatchSpec
from rattler.exceptions import InvalidMatchSpecError

from d2lenv.base.errors import USAGE, D2lEnvError
from d2lenv.base.messages import tr
from d2lenv.facts.platforms import PLATFORMS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


CHANNEL_HOST = "https://conda.anaconda.org"
"""Where a bare channel name lives; the lock always keeps this address, mirrors are the reader's own."""

MANIFEST = "pixi.toml"
LOCK = "pixi.lock"

_DEFAULT_FEATURE = "default"
# The target names that fit each platform.
_TARGETS: dict[str, frozenset[str]] = {
    "linux-64": frozenset({"unix", "linux", "linux-64"}),
    "osx-64": frozenset({"unix", "osx", "macos", "osx-64"}),
    "osx-arm64": frozenset({"unix", "osx", "macos", "osx-arm64"}),
    "win-64": frozenset({"win", "win-64"}),
}
_SPEC_KEYS = ("version", "build", "build-number", "channel", "subdir", "file-name", "md5", "sha256")

# What may stand in each table: what is read here and what no lock depends on.
_WORKSPACE_KEYS = frozenset(
    {
        *("name", "version", "description", "authors", "license", "license-file", "readme"),
        *("homepage", "repository", "documentation", "requires-pixi", "conda-pypi-map", "preview"),
        *("channels", "channel-priority", "platforms"),
    }
)
_TARGET_KEYS = frozenset({"activation", "dependencies", "tasks"})
_FEATURE_KEYS = _TARGET_KEYS | {"channels", "platforms", "target"}
_ROOT_KEYS = _TARGET_KEYS | {"$schema", "environments", "feature", "project", "target", "tool", "workspace"}
_ENVIRONMENT_KEYS = frozenset({"features", "no-default-feature", "solve-group"})


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
        platforms: sorted conda subdirs.
        specs: platform → the dependencies there, sorted by name.
        solve_group: environments of one group are solved together; empty for none.
    """

    name: str
    channels: tuple[str, ...]
    platforms: tuple[str, ...]
    specs: Mapping[str, tuple[Spec, ...]] = field(hash=False)
    solve_group: str = ""


@dataclass(frozen=True)
class Workspace:
    """The folder with ``pixi.toml`` and what the manifest says.

    Attributes:
        root: the folder.
        environments: name → environment, ``default`` first, then in the manifest's order.
    """

    root: Path
    environments: Mapping[str, Environment] = field(hash=False)

    @property
    def manifest(self) -> Path:
        return self.root / MANIFEST

    @property
    def lock(self) -> Path:
        return self.root / LOCK

    @property
    def channels(self) -> tuple[str, ...]:
        """Every channel that any environment may use, in first-seen order."""
        return tuple(dict.fromkeys(c for env in self.environments.values() for c in env.channels))

    def environment(self, name: str) -> Environment:
        """The environment called ``name``.

        Raises:
            D2lEnvError: there is none; the message lists those that exist.
        """
        try:
            return self.environments[name]
        except KeyError:
            raise D2lEnvError(
                tr("{file} has no environment `{name}`", file=self.manifest, name=name),
                fix=tr("choose one of: {names}", names=", ".join(self.environments)),
                status=USAGE,
            ) from None


def find(start: Path) -> Path:
    """The nearest folder at or above ``start`` that holds a ``pixi.toml``.

    Raises:
        D2lEnvError: there is none up to the root of the file system.
    """
    for folder in (start, *start.parents):
        if (folder / MANIFEST).is_file():
            return folder
    raise D2lEnvError(
        tr("no {file} at or above {folder}", file=MANIFEST, folder=start),
        fix=tr("run the command inside the d2l-env checkout, or give --workspace DIR"),
        status=USAGE,
    )


def load(root: Path) -> Workspace:
    """Read ``root/pixi.toml``.

    Raises:
        D2lEnvError: the file is missing or not TOML, or a table in it names an unknown feature or
            platform or holds a spec that does not parse; the message names the table.
    """
    path = root / MANIFEST
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _bad(path, "", str(error)) from error
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _bad(path, "", str(error)) from error
    return _Reader(path, data).workspace()


def channel_url(channel: str) -> str:
    """``pytorch`` → ``https://conda.anaconda.org/pytorch/``; an address keeps its own host.

    Raises:
        ValueError: not a channel name and not an https address.
    """
    if re.fullmatch(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)*", channel):
        return f"{CHANNEL_HOST}/{channel}/"
    parts = urlsplit(channel)
    if parts.scheme not in ("https", "file", "http") or (parts.scheme != "file" and not parts.netloc):
        raise ValueError(channel)
    return channel.rstrip("/") + "/"


def _bad(path: Path, where: str, why: str) -> D2lEnvError:
    place = f"{path} {where}".strip()
    return D2lEnvError(
        tr("{place} cannot be read", place=place),
        why=why,
        fix=tr("correct the file; `git diff {name}` shows what changed", name=path.name),
        status=USAGE,
    )


class _Reader:
    """Turns the parsed TOML into a :class:`Workspace`; keeps the path for messages."""

    def __init__(self, path: Path, data: dict[str, Any]) -> None:
        self.path = path
        self.data = data

    def workspace(self) -> Workspace:
        self.known(self.data, _ROOT_KEYS, "")
        name = "workspace" if "workspace" in self.data else "project"
        head = self.table(self.data, name, "")
        if not head:
            raise _bad(self.path, "", tr("it has no [workspace] table"))
        self.known(head, _WORKSPACE_KEYS, name)
        self.all_platforms = self.platforms(head.get("platforms", []), f"[{name}] platforms")
        self.default_channels = self.channels(head.get("channels", []), f"[{name}] channels")
        # Strict is pixi's default; any other would have to stand in the lock, which py-rattler cannot write.
        if (priority := head.get("channel-priority", "strict")) != "strict":
            raise _bad(self.path, f"[{name}] channel-priority", tr("`{value}` is not known", value=priority))
        self.features = self.table(self.data, "feature", "")
        for feature in self.features:
            self.known(self.table(self.features, feature, "feature."), _FEATURE_KEYS, f"feature.{feature}")
        declared = self.table(self.data, "environments", "")
        environments = {
            name: self.environment(name, value) for name, value in {_DEFAULT_FEATURE: [], **declared}.items()
        }
        groups: dict[str, list[str]] = {}
        for environment in environments.values():
            groups.setdefault(environment.solve_group, []).extend(environment.channels)
        for name, environment in environments.items():
            if environment.solve_group:
                shared = tuple(dict.fromkeys(groups[environment.solve_group]))
                environments[name] = replace(environment, channels=shared)
        return Workspace(self.path.parent, environments)

    def environment(self, name: str, value: Any) -> Environment:
        where = f"[environments] {name}"
        if isinstance(value, list):
            value = {"features": value}
        if not isinstance(value, dict):
            raise _bad(self.path, where, tr("expected a list of features or a table"))
        self.known(value, _ENVIRONMENT_KEYS, f"environments.{name}")
        features = value.get("features", [])
        if not isinstance(features, list):
            raise _bad(self.path, where, tr("expected a list of features or a table"))
        parts: list[tuple[str, dict[str, Any]]] = []
        for feature in features:
            if not isinstance(feature, str) or feature not in self.features:
                raise _bad(self.path, where, tr("there is no feature `{name}`", name=feature))
            parts.append((f"feature.{feature}.", self.features[feature]))
        if not value.get("no-default-feature", False):
            parts.append(("", self.data))

        platforms = set(self.all_platforms)
        channels: list[str] = []
        for prefix, part in parts:
            # The default feature's channels and platforms are the workspace's.
            own = part if prefix else {}
            label = f"[{prefix[:-1]}]"
            if "platforms" in own:
                platforms &= set(self.platforms(own["platforms"], f"{label} platforms"))
            channels.extend(
                self.channels(own["channels"], f"{label} channels")
                if "channels" in own
                else self.default_channels
            )
        ordered = tuple(sorted(platforms))
        return Environment(
            name=name,
            channels=tuple(dict.fromkeys(channels)),
            platforms=ordered,
            specs={platform: self.specs(parts, platform) for platform in ordered},
            solve_group=str(value.get("solve-group", "")),
        )

    def specs(self, parts: list[tuple[str, dict[str, Any]]], platform: str) -> tuple[Spec, ...]:
        found: list[Spec] = []
        for prefix, part in parts:
            merged: dict[str, Spec] = {}
            for where, table in self.dependency_tables(prefix, part, platform):
                for name, value in table.items():
                    spec = self.spec(name, value, where)
                    merged[spec.name] = spec
            found.extend(merged.values())
        return tuple(sorted(found, key=lambda spec: (spec.name, spec.where)))

    def dependency_tables(
        self, prefix: str, part: dict[str, Any], platform: str
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        yield f"[{prefix}dependencies]", self.table(part, "dependencies", prefix)
        targets = self.table(part, "target", prefix)
        for target in targets:
            inner = f"{prefix}target.{target}"
            if not any(target in names for names in _TARGETS.values()):
                raise _bad(
                    self.path, f"[{inner}]", tr("`{name}` is not a platform of this workspace", name=target)
                )
            table = self.table(targets, target, f"{prefix}target.")
            self.known(table, _TARGET_KEYS, inner)
            if target in _TARGETS[platform]:
                yield f"[{inner}.dependencies]", self.table(table, "dependencies", f"{inner}.")

    def spec(self, name: str, value: Any, where: str) -> Spec:
        place = f"{where} {name}"
        fields: dict[str, Any]
        if isinstance(value, str):
            fields = {"version": value}
        elif isinstance(value, dict):
            fields = value
        else:
            raise _bad(self.path, place, tr("expected a version or a table"))
        for key in fields:
            if key not in _SPEC_KEYS:
                raise _bad(self.path, place, tr("`{value}` is not known", value=key))
            if not isinstance(fields[key], str):
                raise _bad(self.path, place, tr("`{value}` is not a text", value=fields[key]))
        if not re.fullmatch(r"[A-Za-z0-9_][\w.-]*", name, re.ASCII):
            raise _bad(self.path, place, tr("`{value}` is not a package name", value=name))
        brackets = ",".join(
            f'{key.replace("-", "_").replace("file_name", "fn")}="{fields[key]}"'
            for key in _SPEC_KEYS
            if key in fields
        )
        text = f"{name}[{brackets}]" if brackets else name
        try:
            # Strict, as the solver reads it. pixi still takes a bare `1.23.5`, and warns that it will not.
            MatchSpec(text, strict=True)
        except InvalidMatchSpecError as error:
            raise _bad(self.path, place, f"`{value}`: {error}") from error
        return Spec(name.lower(), text, where)

    def known(self, table: dict[str, Any], keys: frozenset[str], where: str) -> None:
        """Refuse a key that may change the lock and that nothing here reads."""
        place = f"{where}." if where else ""
        for key in table:
            if key == "pypi-dependencies":
                why = tr("this distribution takes every package from conda channels")
            elif key not in keys:
                why = tr("d2lenv does not read it, and a lock solved without it is not the one asked for")
            else:
                continue
            raise _bad(self.path, f"[{place}{key}]", why)

    def table(self, data: dict[str, Any], key: str, prefix: str) -> dict[str, Any]:
        value = data.get(key, {})
        if not isinstance(value, dict):
            raise _bad(self.path, f"[{prefix}{key}]", tr("expected a table"))
        return value

    def platforms(self, values: Any, where: str) -> tuple[str, ...]:
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise _bad(self.path, where, tr("expected a list of platform names"))
        for value in values:
            if value not in PLATFORMS:
                raise _bad(self.path, where, tr("`{name}` is not a platform of this workspace", name=value))
        return tuple(sorted(set(values)))

    def channels(self, values: Any, where: str) -> tuple[str, ...]:
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise _bad(self.path, where, tr("expected a list of channel names"))
        try:
            return tuple(channel_url(value) for value in values)
        except ValueError as error:
            raise _bad(self.path, where, tr("`{name}` is not a channel", name=error)) from error
