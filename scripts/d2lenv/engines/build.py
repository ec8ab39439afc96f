"""``d2lenv build``: choose an engine, build beside the place, rename; never a half-made prefix.

A finished prefix carries ``d2lenv.json`` with the digest of what it was built from; a prefix whose digest
is still the lock's, and which is whole, is used again at once. pixi builds in place: what an interrupted
pixi leaves there, pixi itself puts right.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from d2lenv.base import process
from d2lenv.base.console import print_table, say
from d2lenv.base.messages import tr
from d2lenv.engines import find, place
from d2lenv.engines.find import AUTO, ENGINES
from d2lenv.engines.finish import finish
from d2lenv.engines.job import Job
from d2lenv.engines.wheels.editions import MIRROR
from d2lenv.prefix import locations
from d2lenv.workspace import lockfile, settings
from d2lenv.workspace import pins as pinned
from d2lenv.workspace.manifest import Workspace
from d2lenv.workspace.pins import Variation


@dataclass(frozen=True)
class Built:
    """A prefix that is ready.

    Attributes:
        environment: its name.
        engine: which engine built it.
        prefix: where it is.
        python: its interpreter.
        digest: of what it was built from.
        reused: whether it was there already.
        differences: where its versions are not pixi.lock's (wheels engine).
        note: what else a reader should know of it; empty for most.
    """

    environment: str
    engine: str
    prefix: Path
    python: Path
    digest: str
    reused: bool
    differences: tuple[pinned.Difference, ...] = ()
    note: str = ""

    def as_json(self) -> dict[str, object]:
        return {**asdict(self), "prefix": str(self.prefix), "python": str(self.python)}


def build(
    workspace: Workspace,
    name: str,
    *,
    engine: str = AUTO,
    prefix: Path | None = None,
    python: Path | None = None,
    pytorch: str = AUTO,
    mirror: str = "",
    fresh: bool = False,
    link_mode: str | None = None,
    wheels: Path | None = None,
    link_scripts: bool = False,
    check_space: bool = True,
    say: Callable[[str], None],
) -> Built:
    """Build environment ``name`` for this machine, or find it built.

    Args:
        engine: a key of :data:`ENGINES`, or ``auto``.
        prefix: where; the default is ``.pixi/envs/NAME`` for pixi and ``.d2lenv/NAME-ENGINE`` otherwise.
        python: interpreter for the wheels engine.
        pytorch: ``cpu`` or ``cuda``: the wheels engine's edition, where there are two; ``auto`` for this
            machine's.
        mirror: where PyTorch's own builds are fetched from instead of its host.
        fresh: build although a prefix with the right digest is there, from a cache that was read in full.
        link_mode: how the wheels engine gets files from its cache: copy, hardlink, clone.
        wheels: a folder with every wheel, for a machine without a package index (wheels engine).
        link_scripts: let conda packages run their post-link scripts.
        check_space: refuse when the disk has less room than the build needs.
        say: receives lines of progress.

    Raises:
        D2lEnvError: if no engine serves it here, or the build failed; an old prefix is then still usable.
    """
    asked = settings.get(workspace, name)
    lock = lockfile.of(workspace)

    @cache
    def job_for(engine_name: str, settled: Variation | None = None) -> Job:
        engine = ENGINES[engine_name]
        variation = settled or engine.choose(workspace, asked, prefix, python, pytorch)
        there = (prefix or engine.places(workspace, name)[variation]).absolute()
        if there.is_symlink():
            there = there.resolve()  # the folder is replaced, not the link to it
        # With the process id: a killed build's uv may still be writing into its own.
        beside = there.parent / f".{there.name}.building-{os.getpid()}"
        return Job(
            workspace=workspace,
            lock=lock,
            settings=asked,
            platform=ENGINES[engine_name].platform(workspace, name),
            prefix=there,
            building=there if engine.IN_PLACE else beside,
            fresh=fresh,
            python=python,
            variation=variation,
            pytorch=pytorch,
            mirror=mirror or os.environ.get(MIRROR, ""),
            link_mode=link_mode,
            wheels=wheels,
            link_scripts=link_scripts,
            say=say,
        )

    chosen = find.choose(engine, job_for, say)
    job = job_for(chosen, ENGINES[chosen].available(job_for(chosen)))
    digest = find.digest(job, chosen)
    build_it = _in_place if ENGINES[chosen].IN_PLACE else _beside
    with process.without_collector():
        reused = build_it(job, chosen, digest, check_space)
    return Built(
        environment=name,
        engine=chosen,
        prefix=job.prefix,
        python=locations.interpreter(job.prefix),
        digest=digest,
        reused=reused,
        differences=tuple(ENGINES[chosen].differences(job)),
        note=ENGINES[chosen].note(job),
    )


def _in_place(job: Job, chosen: str, digest: str, check_space: bool) -> bool:
    """Let the engine see to its own prefix; return True if it was there already."""
    engine = ENGINES[chosen]
    reused = not job.fresh and find.is_from(job, digest) and locations.interpreter(job.prefix).exists()
    if check_space and not job.prefix.exists():
        place.check_space(job, engine.size(job))
    known = engine.build(job)
    finish(job, engine, _marker(job, chosen, digest), known, reused=reused)
    return reused


def _beside(job: Job, chosen: str, digest: str, check_space: bool) -> bool:
    """Build beside the place and rename; return True if the prefix was there already."""
    engine = ENGINES[chosen]

    place.refuse_foreign(job)
    # Without the lock, whose file cannot be written in an administrator's checkout.
    if not job.fresh and place.is_settled(job) and find.is_ready(job, engine, digest, job.say):
        return True
    with place.held(job):
        # Again, as another process may have built it meanwhile.
        if not job.fresh and find.is_ready(job, engine, digest, lambda _line: None):
            job.say(tr("{prefix} is up to date", prefix=job.prefix))
            return True
        if check_space:
            place.check_space(job, engine.size(job))
        known = engine.build(job)
        finish(job, engine, _marker(job, chosen, digest), known, reused=False)
        place.swap(job)
    return False


def _marker(job: Job, chosen: str, digest: str) -> dict[str, str]:
    return {
        "environment": job.settings.name,
        "engine": chosen,
        "platform": job.platform,
        "prefix": str(job.prefix),
        "digest": digest,
        **job.variation.said(),
    }


def show(built: Built) -> None:
    """Print where the prefix is, how to use it, and where its versions are not pixi.lock's."""
    if built.differences:
        print_table(
            [tr("package"), tr("in pixi.lock"), tr("in the wheels")],
            [
                [
                    " / ".join(dict.fromkeys([row.conda_name, row.pypi_name])),
                    row.conda_version,
                    row.pypi_version,
                ]
                for row in built.differences
            ],
            title=tr("The package index and pixi.lock differ here"),
        )
    if built.note:
        say(built.note)
    say(tr("{name} is ready: {prefix}", name=built.environment, prefix=built.prefix))
    say(tr("its Python: {path}", path=built.python))
