"""Is a bundle what its manifest says: every file there, of its size, with its sha256."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from d2lenv.base.errors import D2lEnvError
from d2lenv.base.messages import tr
from d2lenv.bundle import install
from d2lenv.bundle.manifest import NAME, WHEELS, File, Manifest, read
from d2lenv.engines.wheels import editions
from d2lenv.facts import platforms
from d2lenv.prefix import scan
from d2lenv.prefix.scan import Entry


@dataclass(frozen=True)
class Checked:
    """What a look at every file of a bundle found.

    Attributes:
        missing: paths that are not there, or are no plain files.
        damaged: paths whose size or sha256 is another.
        unknown: paths that are there and not in the manifest.
    """

    missing: tuple[str, ...]
    damaged: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not (self.missing or self.damaged)


def check(folder: Path, manifest: Manifest, files: Iterable[File]) -> Checked:
    """Compare ``files`` of the bundle in ``folder`` with what the manifest says of them."""
    wanted = {file.path: file for file in files}
    sizes = {path: _size(folder / path) for path in wanted}
    missing = [path for path, size in sizes.items() if size is None]
    right_size = {path for path, size in sizes.items() if size == wanted[path].size}
    entries = [Entry(path, "file", 0, wanted[path].size) for path in sorted(right_size)]
    digests, _unreadable = scan.digests(folder, entries)
    damaged = {path for path in wanted if sizes[path] is not None and path not in right_size}
    damaged |= {path for path in right_size if digests.get(path) != wanted[path].sha256}
    known = {NAME, *install.NAMES, *(file.path for file in manifest.files)}
    unknown = (path for path in paths(folder) if path not in known)
    return Checked(tuple(sorted(missing)), tuple(sorted(damaged)), tuple(sorted(unknown)))


def _size(path: Path) -> int | None:
    """Return the size of a plain file; None if it is not there, or a pipe or a device."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def paths(folder: Path) -> Iterable[str]:
    """Yield the path below ``folder`` of each of its files."""
    for here, _folders, files in os.walk(folder):
        for name in files:
            yield (Path(here) / name).relative_to(folder).as_posix()


def how_to_build(folder: Path, environment: str) -> dict[str, Any]:
    """Check the wheels of an environment for this machine, and return how the engines take them.

    Raises:
        D2lEnvError: if the bundle has no such environment, or one of the wheels is missing or damaged.
    """
    manifest, platform = read(folder), platforms.current()
    served = sorted({one.environment for one in manifest.carried if one.platform == platform})
    if environment not in served:
        raise D2lEnvError(
            tr("the bundle has no {name} for {platform}", name=environment, platform=platform),
            why=tr("it has: {names}", names=", ".join(served) or tr("nothing for this platform")),
            fix=tr(
                "name one of those, or make a bundle with it: `d2lenv bundle create {name}`", name=environment
            ),
        )
    wanted = [
        file
        for file in manifest.files
        if file.path.startswith(f"{WHEELS}/") and file.is_for(platform, environment)
    ]
    refuse_damage(check(folder, manifest, wanted))
    # A bundle has the package index's build of PyTorch.
    return {"engine": "wheels", "wheels": folder / WHEELS, "pytorch": editions.of("", platform)}


def refuse_damage(checked: Checked) -> None:
    """Raise an error that names the first of the missing or damaged files.

    Raises:
        D2lEnvError: if there is any.
    """
    if checked.ok:
        return
    bad = [*checked.damaged, *checked.missing]
    raise D2lEnvError(
        tr("the bundle is not whole: {path}", path=bad[0]),
        why=tr(
            "{damaged} damaged, {missing} missing; nothing was installed",
            damaged=len(checked.damaged),
            missing=len(checked.missing),
        ),
        fix=tr("copy these files again: {names}", names=", ".join(bad[:5]) + (" …" if bad[5:] else "")),
    )
