"""The workspace: the folder with ``pixi.toml``, and what the manifest says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from d2lenv.base.errors import USAGE, D2lEnvError
from d2lenv.base.messages import tr
from d2lenv.workspace.environments import Environment, read
from d2lenv.workspace.platforms import Platform
from d2lenv.workspace.toml import document
from d2lenv.workspace.toml.keys import ManifestError

MANIFEST = document.MANIFEST
LOCK = "pixi.lock"


@dataclass(frozen=True)
class Workspace:
    """The folder with ``pixi.toml`` and what the manifest says.

    Attributes:
        root: the folder.
        environments: name → environment, ``default`` first, then in the manifest's order.
        platforms: in the manifest's order, which is that of preference.
        requires_pixi: the versions of pixi that may read it, as ``>=0.71``, empty for any.
        tool: the table ``[tool.d2lenv]`` as it stands.
    """

    root: Path
    environments: Mapping[str, Environment] = field(hash=False)
    platforms: tuple[Platform, ...] = ()
    requires_pixi: str = ""
    tool: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)

    @property
    def manifest(self) -> Path:
        return self.root / MANIFEST

    @property
    def lock(self) -> Path:
        return self.root / LOCK

    @property
    def channels(self) -> tuple[str, ...]:
        """Return every channel that any environment may use, in first-seen order."""
        return tuple(dict.fromkeys(c for env in self.environments.values() for c in env.channels))


def find(start: Path) -> Path:
    """Return the nearest folder at or above ``start`` that holds a ``pixi.toml``.

    Raises:
        D2lEnvError: if there is none up to the root of the file system.
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
        D2lEnvError: if the file is missing or not TOML, or a table in it is wrong or not supported; the
            message names the table.
    """
    data = document.parse(root)
    try:
        environments, platforms = read(data)
    except ManifestError as error:
        raise document.refused(root / MANIFEST, error) from error
    head = data.get("workspace", data.get("project", {}))
    return Workspace(
        root,
        environments,
        platforms,
        str(head.get("requires-pixi", "")),
        document.tool(data),
    )
