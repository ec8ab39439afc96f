"""Say what a bundle holds, and whether it is whole."""

from __future__ import annotations

from pathlib import Path

from d2lenv.base.console import print_table, say
from d2lenv.base.messages import tr, trn
from d2lenv.bundle.check import Checked
from d2lenv.bundle.manifest import Manifest

_MEGABYTE = 1e6


def made(manifest: Manifest, folder: Path) -> None:
    """Print what is in a new bundle, what is not, and what to do with it."""
    print_table(
        [tr("environment"), tr("platform"), "Python", tr("carries a Python")],
        [
            [one.environment, one.platform, one.python, tr("yes") if one.interpreter else tr("no")]
            for one in manifest.carried
        ],
    )
    for lack in manifest.lacks:
        say(tr("not in it: {what} ({why})", what=lack.what, why=lack.why))
    say(
        trn(
            "{folder}: {count} file, {size} MB",
            "{folder}: {count} files, {size} MB",
            count=len(manifest.files),
            folder=folder,
            size=f"{manifest.size / _MEGABYTE:.0f}",
        )
    )
    say(tr("copy the folder to a machine and run there: `sh install.sh` (Windows: install.ps1)"))


def checked(found: Checked, manifest: Manifest, folder: Path) -> None:
    """Print each file that is missing, damaged or unknown, and the verdict."""
    for path in found.damaged:
        say(tr("damaged: {path}", path=path))
    for path in found.missing:
        say(tr("missing: {path}", path=path))
    for path in found.unknown:
        say(tr("not in the manifest: {path}", path=path))
    if found.ok:
        say(
            trn(
                "{folder} is whole: {count} file, {size} MB",
                "{folder} is whole: {count} files, {size} MB",
                count=len(manifest.files),
                folder=folder,
                size=f"{manifest.size / _MEGABYTE:.0f}",
            )
        )
    else:
        say(tr("copy those files again; if this bundle was made with --since, copy it over the older one"))
