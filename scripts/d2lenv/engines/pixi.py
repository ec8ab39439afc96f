"""The ``pixi`` engine: pixi on the PATH builds its own prefix from the lock."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from d2lenv.base import process
from d2lenv.base.errors import D2lEnvError
from d2lenv.base.messages import tr
from d2lenv.engines.conda import beside
from d2lenv.engines.conda.answers import (
    available,
    choose,
    differences,
    digest,
    installed,
    note,
    packages,
    platform,
    serves,
    size,
)
from d2lenv.engines.job import Job
from d2lenv.prefix.scan import Known
from d2lenv.workspace.manifest import Workspace
from d2lenv.workspace.pins import Variation

__all__ = [
    "IN_PLACE",
    "available",
    "build",
    "choose",
    "differences",
    "digest",
    "installed",
    "note",
    "packages",
    "places",
    "platform",
    "serves",
    "size",
    "why_not",
]
"""The answers that an engine must give, see :class:`d2lenv.engines.job.Engine`."""

IN_PLACE = True
# A first build downloads gigabytes over a slow link.
_TIMEOUT_S = 4 * 3600.0
_VERSION_TIMEOUT_S = 20.0


def places(workspace: Workspace, environment: str) -> Mapping[Variation, Path]:
    return {Variation(): workspace.root / ".pixi" / "envs" / environment}


def why_not(job: Job) -> str:
    """Why pixi cannot build the job, or nothing."""
    if not job.locked:
        return tr(
            "pixi.lock does not have {name} for {platform}", name=job.settings.name, platform=job.platform
        )
    pixi = _pixi()
    if pixi is None:
        return tr("pixi is not on the PATH")
    if job.prefix != places(job.workspace, job.settings.name)[Variation()].absolute():
        return tr("pixi builds only its own prefix, not {prefix}", prefix=job.prefix)
    version = _version(pixi)
    if not version:
        return tr("{path} does not run", path=pixi)
    wanted = _required(job.workspace)
    if version not in wanted:
        return tr("pixi {version} is too old; pixi.toml wants {wanted}", version=version, wanted=wanted)
    return ""


def build(job: Job) -> Mapping[str, Known]:
    """Run ``pixi install --locked``, or ``pixi reinstall`` for a fresh one.

    Returns:
        nothing: for no file does this engine vouch.

    Raises:
        D2lEnvError: if pixi failed; its own message stands above.
    """
    verb = "reinstall" if job.fresh and job.prefix.exists() else "install"
    command = [str(_pixi() or "pixi"), verb, "--locked", "-e", job.settings.name]
    command += ["--manifest-path", str(job.workspace.manifest)]
    job.say(tr("running {command}", command=" ".join(command)))
    fix = tr(
        "read pixi's message above; `d2lenv build {name} --engine wheels` needs no pixi",
        name=job.settings.name,
    )
    try:
        # pixi's own progress is the reader's; standard output stays free for `--json`.
        status = process.run_visibly(command, timeout_s=_TIMEOUT_S, aside=True)
    except OSError as error:
        raise D2lEnvError(
            tr("{name} cannot be built", name=job.settings.name), why=str(error), fix=fix
        ) from error
    if status != 0:
        raise D2lEnvError(tr("pixi ended with status {status}", status=status), fix=fix)
    beside.install(job)
    return {}


def _pixi() -> Path | None:
    return process.which("pixi", os.environ)


def _version(pixi: Path) -> str:
    """Return the number that ``pixi --version`` tells (``pixi 0.71.1``), empty when it does not run."""
    try:
        done = process.run([pixi, "--version"], timeout_s=_VERSION_TIMEOUT_S)
    except OSError:
        return ""
    found = re.search(r"\d+(\.\d+)+", done.stdout)
    return found[0] if found and done.returncode == 0 else ""


def _required(workspace: Workspace) -> SpecifierSet:
    """``requires-pixi`` of pixi.toml; an older pixi takes the lock for missing."""
    try:
        return SpecifierSet(workspace.requires_pixi)
    except InvalidSpecifier:
        return SpecifierSet()  # conda's wider syntax; pixi itself checks it
