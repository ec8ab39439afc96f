"""The keys of a ``pixi.toml``: those that this tool reads, and those that pixi 0.77 has besides.

A legal key that is not read is refused by its name, a key that pixi does not have as a mistake. The lists are
those of pixi's own ``schema/schema.json`` (0.77.0, 2026-08-21).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from d2lenv.base.messages import tr

Table = Mapping[str, Any]
"""A table of the parsed TOML."""


@dataclass(frozen=True)
class Keys:
    """The keys of one kind of table.

    Attributes:
        read: those that this tool reads, and those that no lock depends on.
        legal: those that pixi reads besides.
    """

    read: frozenset[str]
    legal: frozenset[str]


def _keys(read: str, legal: str) -> Keys:
    return Keys(frozenset(read.split()), frozenset(legal.split()))


TARGET = _keys(
    "activation dependencies tasks",
    "build-dependencies constraints dev host-dependencies pypi-dependencies",
)
FEATURE = Keys(
    TARGET.read | {"channels", "channel-priority", "platforms", "solve-strategy", "target"},
    TARGET.legal | {"pypi-options", "system-requirements"},
)
# The tables of an environment's own (pixi 0.74) are a feature's but for these.
ENVIRONMENT = Keys(
    FEATURE.read | {"features", "no-default-feature", "solve-group"},
    FEATURE.legal - {"build-dependencies", "host-dependencies", "system-requirements"},
)
ROOT = Keys(
    TARGET.read | {"$schema", "environments", "feature", "project", "target", "tool", "workspace"},
    FEATURE.legal | {"exclude-newer", "package", "pypi-exclude-newer"},
)
WORKSPACE = _keys(
    "authors channel-priority channels conda-pypi-map dependencies description documentation homepage "
    "license license-file name platforms preview readme repository requires-pixi solve-strategy version",
    "build-variants build-variants-files exclude-newer pypi-options s3-options target",
)
SPEC_ORDER = ("version", "build", "build-number", "channel", "subdir", "file-name", "md5", "sha256")
SPEC = _keys(
    " ".join(SPEC_ORDER),
    "branch extras flags git lfs license license-family package path rev subdirectory tag track-features url "
    "when",
)

_SUBDIRS = (
    "linux-32 linux-64 linux-aarch64 linux-armv6l linux-armv7l linux-loongarch64 linux-ppc linux-ppc64 "
    "linux-ppc64le linux-riscv32 linux-riscv64 linux-s390x osx-64 osx-arm64 win-32 win-64 win-arm64 noarch "
    "freebsd-64 emscripten-wasm32 wasi-wasm32 zos-z"
)
SUBDIRS = frozenset(_SUBDIRS.split())
"""The platforms that pixi has a name for, whether this distribution serves them or not."""

# Solver options: key → pixi's default and its other values.
_SOLVER = {
    "channel-priority": ("strict", ("disabled",)),
    "solve-strategy": ("highest", ("lowest", "lowest-direct")),
}


class ManifestError(Exception):
    """A place in the manifest that cannot be taken.

    Attributes:
        where: the table or key, as ``[feature.cuda] platforms``, empty for the whole file.
        why: the reason, in the reader's language.
        unsupported: the name of a legal feature of pixi that this tool does not have, empty for a mistake.
    """

    def __init__(self, where: str, why: str, unsupported: str = "") -> None:
        super().__init__(where, why, unsupported)
        self.where, self.why, self.unsupported = where, why, unsupported


def known(table: Table, keys: Keys, where: str) -> None:
    """Refuse a key that may change the lock and that nothing here reads.

    Args:
        where: the table's dotted name, or its place in brackets.

    Raises:
        ManifestError: if there is one.
    """
    for key in table:
        if key in keys.read:
            continue
        place = where if where.startswith("[") else f"[{where}{'.' if where else ''}{key}]"
        if key in keys.legal:
            why = tr("a lock solved without it is not the one that the manifest asks for")
            raise ManifestError(place, why, f"`{key}`")
        raise ManifestError(place, tr("`{value}` is not known", value=key))


def default_solver(table: Table, where: str) -> None:
    """Refuse solver options other than pixi's defaults, which a lock by py-rattler cannot state.

    Raises:
        ManifestError: if there is one.
    """
    for key, (default, others) in _SOLVER.items():
        value = table.get(key, default)
        if value != default:
            legal = f"`{key} = {value}`" if value in others else ""
            raise ManifestError(
                f"[{where}] {key}", tr("only `{value}` can be locked here", value=default), legal
            )
