"""Find the prefix that a user names, or the active one."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from d2lenv.base.errors import D2lEnvError
from d2lenv.base.files import absolute
from d2lenv.base.messages import tr
from d2lenv.facts.engines import PACKAGES
from d2lenv.workspace import settings


def target(name: str | None, environ: Mapping[str, str], root: Path | None) -> tuple[Path, bool]:
    """Return the prefix that a user names, and whether it is the active one.

    Args:
        name: a path, an environment of the workspace, or nothing for the active environment.

    Raises:
        D2lEnvError: if there is no such environment, it is not built, or none is active.
    """
    running = active(environ)
    if name is None:
        if running is None:
            raise D2lEnvError(
                tr("no environment is active and there is no `python` on the PATH"),
                fix=tr("name one: `d2lenv doctor PATH`"),
            )
        return running, True
    path = Path(name)
    if root is not None and re.fullmatch(r"[\w-]{1,64}", name) and not path.exists():
        built = built_environments(root, name)
        if not built:
            from d2lenv.workspace import manifest  # with py-rattler, which a built one does without

            settings.get(manifest.load(root), name)
            raise D2lEnvError(
                tr("there is no environment `{name}` here, and no such folder", name=name),
                why=tr("looked in {folders}", folders=f"{root / '.pixi' / 'envs'}, {root / '.d2lenv'}"),
                fix=tr("build it first, or give the path of an environment"),
            )
        path = built[0]
    elif not path.exists() and not path.is_symlink():
        raise D2lEnvError(
            tr("there is no folder {path}", path=path), fix=tr("give the path of an environment")
        )
    path = absolute(path)
    return path, running is not None and path == running


def built_environments(root: Path, name: str) -> list[Path]:
    """Return the prefixes of environment ``name`` in the workspace, whatever engine built them."""
    places = [root / ".pixi" / "envs" / name]
    places += [root / ".d2lenv" / f"{name}-{engine}" for engine in PACKAGES]
    # Wheels for several Pythons have one prefix for each; the newest build first.
    several = (root / ".d2lenv").glob(f"{name}-wheels-*")
    places += sorted(several, key=lambda place: place.stat().st_mtime, reverse=True)
    return [place for place in places if place.is_dir()]


def active(environ: Mapping[str, str]) -> Path | None:
    """Return the active environment: of those that say so, the one whose Python the prompt starts."""
    stated = [Path(environ[name]) for name in ("VIRTUAL_ENV", "CONDA_PREFIX") if environ.get(name)]
    python = shutil.which("python", path=environ.get("PATH")) or shutil.which(
        "python3", path=environ.get("PATH")
    )
    if python is not None:
        for path in stated:
            if Path(python).is_relative_to(path):
                return absolute(path)
    if stated:
        return absolute(stated[0])
    if python is None:
        return None
    folder = absolute(Path(python)).parent
    return folder.parent if folder.name in ("bin", "Scripts") else folder
