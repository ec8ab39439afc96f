"""``pixi.toml`` as TOML: neither its tables nor its specs are judged, and py-rattler is not loaded for it."""

from __future__ import annotations

from pathlib import Path

import tomli

from d2lenv.base.errors import USAGE, D2lEnvError
from d2lenv.base.messages import tr
from d2lenv.workspace.toml.keys import ManifestError, Table

MANIFEST = "pixi.toml"


def parse(root: Path) -> Table:
    """Parse ``root/pixi.toml``.

    Raises:
        D2lEnvError: if the file is missing or not TOML.
    """
    path = root / MANIFEST
    try:
        # pixi reads TOML 1.1; the standard library's tomllib is for 1.0 up to Python 3.14.
        return tomli.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomli.TOMLDecodeError) as error:
        raise refused(path, ManifestError("", str(error))) from error


def tool(data: Table) -> Table:
    """Return the table ``[tool.d2lenv]`` as it stands."""
    table: Table = data.get("tool", {}).get("d2lenv", {})
    return table


def refused(path: Path, error: ManifestError) -> D2lEnvError:
    """Return the message that the file at ``path`` cannot be read because of ``error``."""
    place = f"{path} {error.where}".strip()
    if error.unsupported:
        return D2lEnvError(
            tr("{place}: d2lenv does not support {feature}", place=place, feature=error.unsupported),
            why=error.why,
            fix=tr("pixi takes it; d2lenv can lock, check and build the workspace only without it"),
            status=USAGE,
        )
    return D2lEnvError(
        tr("{place} cannot be read", place=place),
        why=error.why,
        fix=tr("correct the file; `git diff {name}` shows what changed", name=path.name),
        status=USAGE,
    )
