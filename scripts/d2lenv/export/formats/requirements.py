"""``requirements-PLATFORM.txt``, ``requirements.txt``: `d2lenv lock` writes them, here they are looked at.

Their pins come from the package index and not from ``pixi.lock`` alone, so an export cannot make them again.
It can say whether they are whole and belong to this lock.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from d2lenv.base.errors import D2lEnvError
from d2lenv.base.messages import tr
from d2lenv.solve import wheels
from d2lenv.workspace import pins as pinned
from d2lenv.workspace import settings
from d2lenv.workspace.lockfile import Lock
from d2lenv.workspace.manifest import Workspace


def problems(workspace: Workspace, lock: Lock, names: Collection[str] = ()) -> Mapping[str, str]:
    """Return path → reason for each requirements file that is missing, edited or of another lock.

    Args:
        names: environments, empty for all.
    """
    found: dict[str, str] = {}
    for name, one in settings.load(workspace).items():
        if names and name not in names:
            continue
        for platform in wheels.files(one):
            path = pinned.path_of(workspace, name, platform)
            try:
                pins = pinned.read_file(path)
                text = pinned.text_of(pins, wheels.head_of(workspace, lock, one, platform))
                present = path.read_bytes()
            except D2lEnvError as error:
                found[path.relative_to(workspace.root).as_posix()] = str(error)
                continue
            if present != text.encode("utf-8"):
                found[path.relative_to(workspace.root).as_posix()] = tr(
                    "it was made for another lock, or edited; `d2lenv lock` makes it again"
                )
    return found
