"""The engines, and what they built already."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from d2lenv.base.errors import USAGE, D2lEnvError
from d2lenv.base.messages import printable, tr
from d2lenv.engines import pixi, rattler, uv
from d2lenv.engines.job import Engine, Job
from d2lenv.facts.engines import PACKAGES
from d2lenv.prefix import baseline, locations, marker
from d2lenv.workspace import lockfile
from d2lenv.workspace import pins as pinned
from d2lenv.workspace.lockfile import Lock
from d2lenv.workspace.manifest import Workspace, load
from d2lenv.workspace.pins import Variation

ENGINES: dict[str, Engine] = {"pixi": pixi, "rattler": rattler, "wheels": uv}
"""Name → engine, in the order in which ``auto`` tries them."""

AUTO = "auto"
_SHOWN = 5


def choose(engine: str, job_for: Callable[[str], Job], say: Callable[[str], None]) -> str:
    """Return the engine that does the job: the one that was asked for, or for ``auto`` the first that can.

    Raises:
        D2lEnvError: if there is no such engine, or none can.
    """
    if engine != AUTO:
        if engine not in ENGINES:
            raise D2lEnvError(
                tr("there is no engine `{name}`", name=engine),
                fix=tr("choose one of: {names}", names=", ".join([AUTO, *ENGINES])),
                status=USAGE,
            )
        reason = ENGINES[engine].why_not(job_for(engine))
        if reason:
            raise D2lEnvError(
                tr("engine {name} cannot build this", name=engine),
                why=reason,
                fix=tr("`--engine auto` takes one that can"),
            )
        return engine
    return _first_that_can(job_for, say)


def _first_that_can(job_for: Callable[[str], Job], say: Callable[[str], None]) -> str:
    # What is built already needs no channel and is there at once; pixi sees to its own.
    own = [name for name, engine in ENGINES.items() if engine.IN_PLACE]
    built = next((name for name in ENGINES if name not in own and _is_built(job_for(name), name)), "")
    reasons: list[str] = []
    for name in [*own, built] if built else ENGINES:
        reason = "" if name == built else ENGINES[name].why_not(job_for(name))
        if not reason:
            for line in reasons:
                say(line)
            say(tr("engine: {name}", name=name))
            return name
        reasons.append(tr("not {name}: {reason}", name=name, reason=reason))
    raise D2lEnvError(
        tr("no engine can build this environment on this machine"),
        why="\n".join(reasons),
        fix=tr("install pixi, or check the network or a mirror for the channels"),
    )


def _is_built(job: Job, engine: str) -> bool:
    return ENGINES[engine].serves(job) and not job.fresh and is_from(job, digest(job, engine))


def digest(job: Job, engine: str) -> str:
    """Return the sha256 (hex) of all that ``engine`` builds the environment from."""
    return ENGINES[engine].digest(
        job.workspace, job.settings.name, job.platform, lambda: job.lock, job.variation
    )


def wanted_digest(
    workspace: Workspace,
    environment: str,
    platform: str,
    engine: str,
    lock: Callable[[], Lock],
    prefix: Path,
) -> str:
    """Return the same for an environment that is only looked for.

    Args:
        lock: gives pixi.lock; called only for an engine that builds from it.
        prefix: the environment; its marker says what was chosen of the wheels.

    Raises:
        D2lEnvError: if the lock or the requirements cannot be read.
    """
    return ENGINES[engine].digest(workspace, environment, platform, lock, Variation.of(marker.read(prefix)))


def default_prefixes(workspace: Workspace, environment: str) -> Iterator[tuple[str, Path]]:
    """Yield each engine with each place where it puts the environment, in the order of preference."""
    for name, engine in ENGINES.items():
        for place in engine.places(workspace, environment).values():
            yield name, place


def differences_in(prefix: Path, root: Path) -> tuple[pinned.Difference, ...]:
    """Return where ``prefix`` has other versions than the pixi.lock in ``root``.

    Empty when its packages are those of pixi.lock, or when it was not built from today's pins.
    """
    said = marker.read(prefix)
    if PACKAGES.get(said.get("engine", "")) != "wheels":
        return ()
    workspace, name, platform = load(root), said.get("environment", ""), said.get("platform", "")
    variation = Variation.of(said)
    pins = pinned.read(workspace, name, platform, variation)
    if pinned.digest(pins, variation) != said["digest"]:
        return ()
    return tuple(pinned.differences(lockfile.of(workspace), name, platform, pins))


def is_from(job: Job, wanted: str) -> bool:
    """Return True if the prefix says that it was built here from ``wanted``; a moved one has its old path."""
    said = marker.read(job.prefix)
    return (
        said.get("prefix") == str(job.prefix)
        and said.get("environment") == job.settings.name
        and said.get("digest") == wanted
    )


def is_ready(job: Job, engine: Engine, wanted: str, say: Callable[[str], None]) -> bool:
    """Return True if the prefix is built from ``wanted`` and whole, as names and ``stat`` can tell.

    A damaged one is built anew, but a reader's changes in it are not thrown away unasked.

    Raises:
        D2lEnvError: if files were changed since it was built.
    """
    if not is_from(job, wanted):
        return False
    wrong, more = locations.differences(engine.packages(job), engine.installed(job.prefix))
    try:
        missing, changed = baseline.moved(job.prefix)
    except baseline.BaselineError as error:
        missing, changed = [error.what], []
    if not locations.interpreter(job.prefix).exists():
        missing.append(str(locations.interpreter(job.prefix)))
    if wrong or missing:
        say(
            tr(
                "{prefix} is damaged, so it is built anew: {reasons}",
                prefix=job.prefix,
                reasons=_some([*wrong, *(tr("{path} is missing", path=path) for path in missing)]),
            )
        )
        return False
    if changed:
        raise D2lEnvError(
            tr("{prefix} is not as it was built: files were changed since", prefix=job.prefix),
            why=_some(changed),
            fix=tr(
                "`d2lenv build {name} --fresh` builds it anew, without these changes; "
                "`d2lenv verify` lists all of them",
                name=job.settings.name,
            ),
        )
    if more:
        say(tr("{prefix} has more than the lock: {packages}", prefix=job.prefix, packages=_some(more)))
    say(tr("{prefix} is up to date", prefix=job.prefix))
    return True


def _some(items: list[str]) -> str:
    shown = ", ".join(printable(item) for item in items[:_SHOWN])
    hidden = len(items) - _SHOWN
    return tr("{items} and {count} more", items=shown, count=hidden) if hidden > 0 else shown
