"""The ``wheels`` engine: uv builds a virtual environment from the pinned wheels; no conda channel needed.

uv links the files from its cache where the file system allows it: a build takes seconds and no space, and
a file that is changed in place changes in the cache as well.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from d2lenv.base import process
from d2lenv.base.errors import D2lEnvError
from d2lenv.base.messages import tr, trn
from d2lenv.engines import interpreters
from d2lenv.engines.job import Job, disk_step
from d2lenv.engines.wheels import editions, wheel_cache
from d2lenv.engines.wheels.arrivals import Arrivals
from d2lenv.engines.wheels.editions import available
from d2lenv.facts import platforms
from d2lenv.prefix import locations, marker, records
from d2lenv.prefix.scan import Known
from d2lenv.solve import uv
from d2lenv.workspace import pins as pinned
from d2lenv.workspace import settings
from d2lenv.workspace.lockfile import Lock
from d2lenv.workspace.manifest import Workspace
from d2lenv.workspace.pins import Difference, Pin, Variation
from d2lenv.workspace.settings import Settings

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

IN_PLACE = False
_TIMEOUT_S = 2 * 3600.0
_LAST_LINES = 20
_SHOWN = 5
_STALL_S = 600.0
"""So long may nearly nothing come: uv writes pages of an index when whole, and big files by the MB."""


def places(workspace: Workspace, environment: str) -> Mapping[Variation, Path]:
    variations = pinned.variations(settings.get(workspace, environment), platforms.current())
    folder = workspace.root / ".d2lenv"
    return {one: folder / "-".join(filter(None, [environment, "wheels", str(one)])) for one in variations}


def platform(_workspace: Workspace, _environment: str) -> str:
    return platforms.current()


def serves(job: Job) -> bool:
    return job.platform in job.settings.wheels


def _pins(job: Job) -> list[Pin]:
    return pinned.read(job.workspace, job.settings.name, job.platform, job.variation)


def digest(
    workspace: Workspace, environment: str, platform: str, _lock: Callable[[], Lock], variation: Variation
) -> str:
    return pinned.digest(pinned.read(workspace, environment, platform, variation), variation)


def choose(
    workspace: Workspace,
    own: Settings,
    prefix: Path | None,
    asked: Path | None,
    pytorch: str,
) -> Variation:
    """Return what of the wheels is taken here: as asked for, as built before, or the best that there is."""
    builds = editions.builds(own, platforms.current(), pytorch)
    there = {one: place for one, place in places(workspace, own.name).items() if one.build in builds}
    if asked is None:
        for choice, place in sorted(there.items(), key=lambda item: builds.index(item[0].build)):
            said = marker.read(prefix or place)
            if said.get("environment") == own.name and Variation.of(said) == choice:
                return choice
    if not own.universal:
        return Variation("", builds[0])
    found = interpreters.search(own.pythons, asked)
    return Variation(found.version if found else own.pythons[0], builds[0])


def packages(job: Job) -> Mapping[str, str]:
    return {pin.name: locations.canonical_version(pin.version) for pin in _pins(job)}


def installed(prefix: Path) -> Sequence[tuple[str, str]]:
    return locations.distributions(prefix)


def size(job: Job) -> float:
    row = job.settings.host.get(job.platform)
    return (row.gb if row and job.variation.build else job.settings.disk_gb) * 1e9


def differences(job: Job) -> Sequence[Difference]:
    return pinned.differences(job.lock, job.settings.name, job.platform, _pins(job))


def note(job: Job) -> str:
    if job.variation.build:
        return editions.lacking(job)
    if not job.settings.cuda and platforms.index_cuda(job.platform):
        return tr(
            "for Linux the package index has only the CUDA build of PyTorch, which runs on the CPU too: "
            "this is that one"
        )
    return ""


def why_not(job: Job) -> str:
    """Return why the package index cannot serve the job, or nothing."""
    if not serves(job):
        name, platform, twin = job.settings.name, job.platform, _twin(job)
        if twin:
            return tr(
                "the wheels of {name} for {platform} are those of `{twin}`: name that one",
                name=name,
                platform=platform,
                twin=twin,
            )
        return tr("the package index has no {name} for {platform}", name=name, platform=platform)
    try:
        uv.program()
    except D2lEnvError as error:
        return error.what
    return ""


def _twin(job: Job) -> str:
    """Return the environment with the same packages that the package index serves; empty for none."""
    packages = {
        name: environment.specs.get(job.platform) for name, environment in job.workspace.environments.items()
    }
    wanted = packages.get(job.settings.name)
    served = settings.load(job.workspace)
    same = (
        name for name, specs in packages.items() if specs == wanted and job.platform in served[name].wheels
    )
    return next(same, "") if wanted else ""


def build(job: Job) -> Mapping[str, Known]:
    """Make a virtual environment in ``job.building`` with every pin, each verified against its sha256.

    Returns:
        path → what is known of the files that are in it as they are in their wheels.

    Raises:
        D2lEnvError: if there is no fitting Python, no network and a cold cache, another hash, or a full disk.
    """
    version = job.variation.python or pinned.python_version(job.settings, job.lock, job.platform)
    pins = _pins(job)
    cache, seen, python = _look_around(job, version, pins)
    job.say(f"Python {version}: {python.path} ({python.source})")
    job.say(
        trn(
            "installing {count} package into {prefix}",
            "installing {count} packages into {prefix}",
            count=len(pins),
            prefix=job.prefix,
        )
    )
    good, bad = wheel_cache.judge(cache, seen, job.say)
    wheel_cache.throw_out(bad, job.say)
    with ThreadPoolExecutor(max_workers=1) as pool:  # while uv links
        ready = pool.submit(wheel_cache.kept, locations.new_site_packages(version), good, job.building.parent)
        with editions.requirements(job) as file:
            _install(job, python, file, cache)
    there = wheel_cache.installed(job.building, wheel_cache.complete(cache, pins, good), ready.result())
    if unknown := {pin.name for pin in pins} - there.folders.keys():
        wheel_cache.refuse_changed(job.building, unknown)
    _settle_conflicts(job, there)
    editions.forget_addresses(job)
    return there.content


def _look_around(
    job: Job, version: str, pins: list[Pin]
) -> tuple[Path, wheel_cache.Survey, interpreters.Interpreter]:
    """Find uv's cache, what ``stat`` says of it, and a Python, which is mostly waiting for other programs."""
    uv.program()  # found before the thread starts: sysconfig, which it asks, fills its table without a lock

    def survey() -> tuple[Path, wheel_cache.Survey]:
        cache = wheel_cache.root()
        return cache, wheel_cache.survey(cache, pins, fresh=job.fresh)

    with ThreadPoolExecutor(max_workers=1) as pool:
        surveyed = pool.submit(survey)
        python = interpreters.find(version, job.python, job.say, others=job.settings.pythons)
        cache, seen = surveyed.result()
    return cache, seen, python


def _install(job: Job, python: interpreters.Interpreter, requirements: Path, cache: Path) -> None:
    # What uv's cache holds needs no network, not even to be asked whether it is there.
    reason = _attempt(job, python, requirements, ("--offline",), shown=False)
    if not reason:
        return
    shown = sys.stderr.isatty() and job.wheels is None
    if job.wheels is None:
        job.say(tr("not all of them are in uv's cache; asking the package index"))
        reason = _ask_the_index(job, python, requirements, cache, shown=shown)
    if reason:
        raise D2lEnvError(
            tr("the wheels of {name} cannot be installed", name=job.settings.name),
            why=tr("see uv's message above") if shown else reason,
            fix=_next_step(reason),
        )


def _ask_the_index(
    job: Job, python: interpreters.Interpreter, requirements: Path, cache: Path, *, shown: bool
) -> str:
    arrivals = Arrivals(cache, job.building, _STALL_S)
    watch = process.Watch(_STALL_S / 20, lambda: arrivals.go_on(time.monotonic()))
    try:
        return _attempt(job, python, requirements, (), shown=shown, watch=watch)
    except process.StalledError:
        raise _stalled(job, cache) from None


def _stalled(job: Job, cache: Path) -> D2lEnvError:
    pins = _pins(job)
    there = {wheel.pin.name for wheel in wheel_cache.unpacked(cache, pins)}
    names = [pin.name for pin in pins if pin.name not in there]
    return D2lEnvError(
        tr("the wheels of {name} cannot be installed", name=job.settings.name),
        why=tr(
            "the downloads have stalled: nearly nothing came for {seconds} s; not there yet: {packages}",
            seconds=f"{_STALL_S:g}",
            packages=", ".join([*names[:_SHOWN], *(["…"] if len(names) > _SHOWN else [])]),
        ),
        fix=tr(
            "run the command again: what is there is kept; if it stalls again, name another package index in "
            "UV_DEFAULT_INDEX"
        ),
    )


def _attempt(
    job: Job,
    python: interpreters.Interpreter,
    requirements: Path,
    options: tuple[str, ...],
    *,
    shown: bool,
    watch: process.Watch | None = None,
) -> str:
    """Make a new virtual environment with every wheel; return why that failed, or nothing.

    Args:
        shown: uv draws its progress on the terminal, and says there itself what went wrong.
    """
    venv: list[str | Path] = [
        # Relocatable: it is built beside its place and renamed.
        *("venv", "--clear", "--relocatable", "--no-project", "--prompt", f"d2l-{job.settings.name}"),
        *("--python", python.path, job.building),
    ]
    words = [*_install_words(job, requirements), *options]
    return _run(venv, shown=False) or _run(words, shown=shown, watch=watch)


def _install_words(job: Job, requirements: Path) -> list[str | Path]:
    return [
        *("pip", "install", "--python", job.building, "--requirements", requirements),
        *("--require-hashes", "--only-binary", ":all:", "--no-deps"),
        *(("--link-mode", job.link_mode) if job.link_mode else ()),
        *(("--no-index", "--find-links", job.wheels) if job.wheels else ()),
    ]


def _settle_conflicts(job: Job, there: wheel_cache.Installed) -> None:
    """Give a file that two wheels bring to the one whose name comes first.

    uv installs in parallel and lets the last one win, so `jupyter.py`, which jupyter 1.0.0 and jupyter-core
    both have, was now one and now the other (seen 2026-11-22 with `d2lenv repro`).
    """
    # Scripts and data are not as they are in their wheels: uv has to put them back.
    for winner in sorted({*_losers(job.building, records.conflicts(job.building)).values()}, reverse=True):
        with editions.requirements(job) as file:
            reason = _run(
                [*_install_words(job, file), "--offline", "--reinstall-package", winner], shown=False
            )
        if reason:
            raise D2lEnvError(
                tr("the wheels of {name} cannot be installed", name=job.settings.name),
                why=reason,
                fix=_next_step(reason),
            )
    for path, winner in _losers(job.building, there.shared).items():
        target = job.building / path
        copy = target.with_name(f".{target.name}.copy")
        shutil.copy2(there.folders[winner] / path.partition("/site-packages/")[2], copy)
        copy.replace(target)


def _losers(prefix: Path, shared: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return path → the distribution whose file should be there, for those where another one's is."""
    return {
        path: min(owners)
        for path, owners in shared.items()
        if hashlib.sha256((prefix / path).read_bytes()).hexdigest() != owners[min(owners)]
    }


def _run(arguments: list[str | Path], *, shown: bool, watch: process.Watch | None = None) -> str:
    """Run uv; return why it failed, or nothing.

    Raises:
        StalledError: if ``watch`` says that it does not go on.
    """
    try:
        done = uv.run(
            *arguments,
            timeout_s=_TIMEOUT_S,
            shown=shown,
            pip_index=True,
            watch=watch,
            UV_PYTHON_DOWNLOADS="never",
        )
    except process.StalledError:
        raise
    except TimeoutError:
        return tr("no end after {seconds} s", seconds=f"{_TIMEOUT_S:g}")
    except OSError as error:
        return str(error)
    if done.returncode == 0:
        return ""
    lines = (done.stderr or "").strip().splitlines()[-_LAST_LINES:]
    return "\n".join(lines) or tr("uv ended with status {status}", status=done.returncode)


def _next_step(reason: str) -> str:
    if step := disk_step(reason, "UV_CACHE_DIR"):
        return step
    if "hash mismatch" in reason.lower():
        return tr("the index or the cache holds another file than the locked one; try `uv cache clean`")
    if sys.platform == "win32" and "os error 206" in reason:
        return tr("move the checkout to a shorter path")
    return tr("check the network, or name a package index that answers in UV_DEFAULT_INDEX")
