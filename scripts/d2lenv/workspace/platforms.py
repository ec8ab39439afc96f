"""The platforms of a workspace, as pixi 0.77 has them: bare conda subdirs, and named ones that promise more.

A named platform is a conda subdir with virtual packages beyond pixi's defaults, as ``linux-64-cuda`` with
``__cuda=12.8``. pixi.lock has it as ``p1``, ``p2``, … in the manifest's order, and knows it again by
its content, not by its name (pixi's ``platform.rs``, ``toml/platform.rs`` and ``platform_rename.rs``).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from rattler import Version
from rattler.exceptions import InvalidVersionError
from rattler.lock import LockPlatform

from d2lenv.base.messages import tr
from d2lenv.facts.platforms import ROWS, VirtualPackage
from d2lenv.workspace.toml import keys
from d2lenv.workspace.toml.keys import ManifestError, Table

# pixi's own keys for virtual packages, in the order in which it writes and names them. `osx` is `macos`.
_FRIENDLY = {"cuda": "__cuda", "glibc": "__glibc", "linux": "__linux", "macos": "__osx", "windows": "__win"}
_NAME = re.compile(r"[A-Za-z]([A-Za-z0-9-]{0,62}[A-Za-z0-9])?")


@dataclass(frozen=True)
class Platform:
    """A platform that an environment is solved for.

    Attributes:
        name: as the manifest calls it; the subdir for a bare one.
        subdir: the conda subdir.
        locked_name: its name in pixi.lock: the subdir, or ``p1`` for the manifest's first named platform.
        promised: its virtual packages beyond pixi's defaults, or with other values.
    """

    name: str
    subdir: str
    locked_name: str
    promised: tuple[VirtualPackage, ...] = ()

    @property
    def virtual_packages(self) -> tuple[VirtualPackage, ...]:
        """Return all of its virtual packages, in the order in which pixi writes them."""
        own = {package.name for package in self.promised}
        return (*self.promised, *(p for p in ROWS[self.subdir].virtual if p.name not in own))

    @property
    def row(self) -> LockPlatform:
        """Return the lock's description of it."""
        locked = [package.locked for package in self.virtual_packages]
        # The type of a subdir was renamed in py-rattler 0.26; a row of its own has one.
        return LockPlatform(self.locked_name, LockPlatform(self.subdir).subdir, locked)

    def fits(self, selector: str) -> bool:
        """Return True if a target of this name, family or pattern with ``*`` is for it."""
        return selector in {self.name, self.subdir, *ROWS[self.subdir].system.families} or (
            "*" in selector and fnmatchcase(self.name, selector)
        )


def bare(subdir: str) -> Platform:
    """Return the platform that pixi means by the name of a conda subdir."""
    return Platform(subdir, subdir, subdir)


def read(values: Sequence[Any], where: str) -> tuple[Platform, ...]:
    """Return the platforms of ``[workspace]``, in its order: that of pixi's preference.

    Raises:
        ManifestError: if one is unknown, is there twice, or promises something that this tool does not know.
    """
    found: dict[str, Platform] = {}
    for value in values:
        named = sum(platform.name != platform.subdir for platform in found.values())
        one = _bare(value, where) if isinstance(value, str) else _named(value, where, f"p{named + 1}")
        if one.name in found:
            raise ManifestError(where, tr("`{name}` is there twice", name=one.name))
        for other in found.values():
            if identity(one.row) == identity(other.row):
                why = tr("`{name}` and `{other}` are the same platform", name=one.name, other=other.name)
                raise ManifestError(where, why, tr("two names for one platform"))
        found[one.name] = one
    return tuple(found.values())


def chosen(everything: Iterable[Platform], asked: Iterable[Collection[str] | None]) -> tuple[Platform, ...]:
    """Return the platforms of an environment, in the workspace's order (``features_ext.rs``).

    Args:
        asked: the ``platforms`` of each of its features, None for a feature without them. A name of a subdir
            stands for its named platforms too, unless some feature names a platform of that subdir itself.
    """
    lists = [names for names in asked if names is not None]
    exact = {name for names in lists for name in names}
    platforms = tuple(everything)
    subdirs = {platform.subdir for platform in platforms if platform.name in exact}
    return tuple(
        platform
        for platform in platforms
        if all(platform.name in names or platform.subdir in names for names in lists)
        and (platform.name in exact or platform.subdir not in subdirs)
    )


def identity(row: LockPlatform) -> tuple[str, frozenset[str]]:
    """Return the part of a lock's row by which pixi knows a platform: subdir, and what is not its default."""
    subdir = str(row.subdir)
    usual = {package.locked for package in (ROWS[subdir].virtual if subdir in ROWS else ())}
    return subdir, frozenset(row.virtual_packages) - usual


def renamed(rows: Iterable[LockPlatform], platforms: Iterable[Platform]) -> Mapping[str, str]:
    """Return the lock's name → the manifest's, where the content says which platform it is.

    A row stays as it is where two platforms fit, or where its own name or the new one is already another's.
    """
    known, have = tuple(platforms), {row.name: row for row in rows}
    names = {platform.name for platform in known}
    found: dict[str, str] = {}
    for name, row in have.items():
        fitting = [platform.name for platform in known if identity(platform.row) == identity(row)]
        if len(fitting) == 1 and name not in names and fitting[0] not in have:
            found[name] = fitting[0]
    return found


def unknown(name: str, where: str) -> ManifestError:
    """Return the error for a name that is no platform here."""
    why = tr("this distribution is for {names}", names=", ".join(ROWS))
    if name in keys.SUBDIRS:
        return ManifestError(where, why, tr("the platform `{name}`", name=name))
    return ManifestError(where, tr("`{name}` is not a platform of this workspace", name=name))


def _bare(name: str, where: str) -> Platform:
    if name not in ROWS:
        raise unknown(name, where)
    return bare(name)


def _named(table: Table, where: str, locked_name: str) -> Platform:
    name, subdir = table.get("name"), table.get("platform", table.get("name"))
    if not all(isinstance(text, str) for text in (name or "", subdir)):
        raise ManifestError(where, tr("a platform that is a table needs a text `platform`"))
    if subdir not in ROWS:
        raise unknown(str(subdir), where)
    promised = tuple(_promised(table, where, str(subdir)))
    name = name or _made_up(str(subdir), promised)
    if name == subdir:
        if promised:
            why = tr("`{name}` is a bare subdir: give the platform a name of its own", name=name)
            raise ManifestError(where, why)
        return bare(name)
    if not _NAME.fullmatch(name) or any(name in row.system.families for row in ROWS.values()):
        raise ManifestError(where, tr("`{name}` is not a platform's name", name=name))
    return Platform(name, str(subdir), locked_name, promised)


def _promised(table: Table, where: str, subdir: str) -> Iterable[VirtualPackage]:
    """Yield the virtual packages of a platform that is a table, in pixi's order, but for pixi's defaults."""
    usual = {package.locked for package in ROWS[subdir].virtual}
    texts = {
        key: _version_text(key, value, where)
        for key, value in table.items()
        if key not in ("name", "platform")
    }
    if "osx" in texts:
        if "macos" in texts:
            raise ManifestError(where, tr("`{name}` is there twice", name="macos"))
        texts["macos"] = texts.pop("osx")
    for key, package in _FRIENDLY.items():
        if key in texts and f"{package}={texts[key]}" not in usual:
            yield VirtualPackage(package, texts[key], "0", f"{package}={texts[key]}")


def _version_text(key: str, value: Any, where: str) -> str:
    if key == "archspec" or key.startswith("__"):
        raise ManifestError(
            where, tr("no lock can be solved for it here"), tr("`{name}` of a platform", name=key)
        )
    if key not in {*_FRIENDLY, "osx"}:
        raise ManifestError(where, tr("`{value}` is not known", value=key))
    if key == "cuda" and isinstance(value, dict):
        if "arch" in value:
            raise ManifestError(where, tr("no lock can be solved for it here"), "`cuda.arch`")
        value = value.get("driver")
    try:
        Version(value)
    except (InvalidVersionError, TypeError) as error:
        raise ManifestError(where, tr("`{value}` is not a version", value=value)) from error
    return str(value)


def _made_up(subdir: str, promised: Iterable[VirtualPackage]) -> str:
    """Return the name that pixi gives a platform without one: ``linux-64-cuda-12-0``."""
    keys_of = {package: key for key, package in _FRIENDLY.items()}
    parts = (f"{keys_of[p.name]}-{re.sub('[^A-Za-z0-9]+', '-', p.version).strip('-')}" for p in promised)
    return "-".join([subdir, *parts])
