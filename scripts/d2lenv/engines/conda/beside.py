"""The wheels beside conda's packages, as the environment's own pip installs them (``workspace.beside``)."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from d2lenv.base import process
from d2lenv.base.errors import D2lEnvError
from d2lenv.base.messages import tr
from d2lenv.engines.job import Job
from d2lenv.prefix import locations
from d2lenv.workspace import beside

_TIMEOUT_S = 900.0
_LAST_LINES = 12


def install(job: Job) -> None:
    """Install what is missing into ``job.building``. Nothing is asked of the network where all is there.

    Raises:
        D2lEnvError: if pip does not find the wheel, or finds one with another hash.
    """
    pins = beside.pins(job.settings)
    there = set(locations.distributions(job.building))
    missing = tuple(pin for pin in pins if (pin.name, locations.canonical_version(pin.version)) not in there)
    if not missing:
        return
    names = ", ".join(f"{pin.name} {pin.version}" for pin in missing)
    job.say(tr("adding {names}, which pixi.lock does not have", names=names))
    with tempfile.TemporaryDirectory() as folder:
        asked = Path(folder) / beside.FILE
        asked.write_text("\n".join(beside.lines(missing)) + "\n", encoding="utf-8")
        # `-I`: what lies in the reader's own site-packages or PYTHONPATH is not there for pip either.
        pip: list[str | Path] = [locations.interpreter(job.building), "-I", "-m", *beside.PIP, asked]
        done = process.run(pip, timeout_s=_TIMEOUT_S, cwd=Path(folder), environ=os.environ)
    if done.returncode != 0:
        raise D2lEnvError(
            tr("{name} cannot be built", name=job.settings.name),
            why="\n".join(done.stderr.strip().splitlines()[-_LAST_LINES:]),
            fix=tr("check the network, the disk and pip's own configuration, then run the command again"),
        )
