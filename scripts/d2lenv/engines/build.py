"""``d2lenv build``: choose an engine, build beside the place, rename; never a half-made prefix.

A finished prefix carries ``d2lenv.json`` with the digest of what it was built from; a prefix whose digest
is still the lock's is used again at once. pixi builds in place: what an interrupted pixi leaves there, pixi
itself puts right.
"""

from __future__ import annotations

import glob
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import ModuleType

from rattler import RepoDataRecord

from d2lenv.base.console import out, print_table
from d2lenv.base.errors import USAGE, D2lEnvError
from d2lenv.base.files import exclusive_lock, write_atomic
from d2lenv.base.messages import tr
from d2lenv.base.process import python_module
from d2lenv.engines import interpreters
from d2lenv.engines import pixi as pixi_engine
from d2lenv.engines import rattler as rattler_engine
from d2lenv.engines import uv as wheels_engine
from d2lenv.engines.job import Job
from d2lenv.facts import d2l as d2l_release
from d2lenv.facts import platforms
from d2lenv.prefix import baseline, marker
from d2lenv.solve import wheels
from d2lenv.workspace import lockfile
from d2lenv.workspace import settings as variants
from d2lenv.workspace.lockfile import Lock
from d2lenv.workspace.manifest import Workspace, load

ENGINES: dict[str, ModuleType] = {
    "pixi": pixi_engine,
    "rattler": rattler_engine,
    "wheels": wheels_engine,
}
"""Name → engine, in the order in which ``auto`` tries them."""

# Packages are compressed to about a third, and a prefix on the cache's own disk shares its files with it.
_UNPACKED_RATIO = 3.5


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
    differences: tuple[wheels.Difference, ...] = ()
    note: str = ""

    def as_json(self) -> dict[str, object]:
        return {**asdict(self), "prefix": str(self.prefix), "python": str(self.python)}


def build(
    workspace: Workspace,
    name: str,
    *,
    engine: str = "auto",
    prefix: Path | None = None,
    python: Path | None = None,
    fresh: bool = False,
    link_scripts: bool = False,
    check_space: bool = True,
    say: Callable[[str], None],
) -> Built:
    """Build environment ``name`` for this machine, or find it built.

    Args:
        engine: a key of :data:`ENGINES`, or ``auto``.
        prefix: where; the default is ``.pixi/envs/NAME`` for pixi and ``.d2lenv/NAME-ENGINE`` otherwise.
        python: interpreter for the wheels engine.
        fresh: build although a prefix with the right digest is there.
        link_scripts: let conda packages run their post-link scripts.
        check_space: refuse when the disk has less room than the build needs.
        say: receives lines of progress.

    Raises:
        D2lEnvError: no engine serves it here, or the build failed; an old prefix is then still usable.
    """
    variant = variants.get(workspace, name)
    platform = platforms.current()
    lock = lockfile.read(workspace.lock)

    def job_for(engine_name: str) -> Job:
        place = (prefix or default_prefix(workspace, name, engine_name)).absolute()
        if place.is_symlink():
            place = place.resolve()  # the folder is replaced, not the link to it
        # With the process id: a killed build's uv may still be writing into its own.
        beside = place.parent / f".{place.name}.building-{os.getpid()}"
        return Job(
            workspace=workspace,
            lock=lock,
            variant=variant,
            platform=platform,
            prefix=place,
            building=place if engine_name == "pixi" else beside,
            fresh=fresh,
            python=python,
            link_scripts=link_scripts,
            say=say,
        )

    chosen = _choose(engine, job_for, say)
    job = job_for(chosen)
    digest = _digest(job, chosen)
    built = Built(
        environment=name,
        engine=chosen,
        prefix=job.prefix,
        python=python_of(job.prefix),
        digest=digest,
        reused=not fresh and _is_current(job, digest),
        differences=_differences(job, chosen),
        note=_note(name, platform, chosen),
    )
    if chosen == "pixi":
        if check_space and not job.prefix.exists():
            _check_space(job, chosen)
        known = pixi_engine.build(job)
        _finish(job, built, known)
        return replace(built, python=python_of(job.prefix))
    _refuse_foreign(job)
    with exclusive_lock(job.prefix.with_name(f".{job.prefix.name}.lock"), f"d2lenv build {name}", say):
        try:
            _recover(job)
            if not fresh and _is_current(job, digest):
                say(tr("{prefix} is up to date", prefix=job.prefix))
                return replace(built, reused=True)
            if check_space:
                _check_space(job, chosen)
            known = ENGINES[chosen].build(job)
            _finish(job, built, known)
            _swap(job)
        except OSError as error:
            raise D2lEnvError(
                tr("{path} cannot be written", path=error.filename or job.prefix),
                why=error.strerror or str(error),
                fix=tr("free some space or make the folder writable, then run the command again"),
            ) from error
        finally:
            # Whatever went wrong, Ctrl-C included: nothing half-made stays, and the old prefix does.
            with suppress(OSError):
                _recover(job)
    return replace(built, reused=False, python=python_of(job.prefix))


def show(built: Built) -> None:
    """Where the prefix is, how to use it, and where its versions are not pixi.lock's."""
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
        out().print(built.note, markup=False, soft_wrap=True)
    out().print(
        tr("{name} is ready: {prefix}", name=built.environment, prefix=built.prefix),
        markup=False,
        soft_wrap=True,
    )
    out().print(tr("its Python: {path}", path=built.python), markup=False, soft_wrap=True)


def default_prefix(workspace: Workspace, name: str, engine: str) -> Path:
    """Where ``engine`` puts environment ``name``."""
    if engine == "pixi":
        return workspace.root / ".pixi" / "envs" / name
    return workspace.root / ".d2lenv" / f"{name}-{engine}"


def python_of(prefix: Path) -> Path:
    """The interpreter of a conda prefix or virtual environment that exists."""
    if sys.platform != "win32":
        return prefix / "bin" / "python"
    conda = prefix / "python.exe"
    return conda if conda.exists() else prefix / "Scripts" / "python.exe"


def differences_in(prefix: Path, root: Path) -> tuple[wheels.Difference, ...]:
    """Where ``prefix`` has other versions than the pixi.lock in ``root``.

    Empty when the wheels engine did not build it, or not from today's pins.
    """
    said = marker.read(prefix)
    if said.get("engine") != "wheels":
        return ()
    workspace, name, platform = load(root), said.get("environment", ""), said.get("platform", "")
    pins = wheels.read(workspace, name, platform)
    if wheels.digest(pins) != said["digest"]:
        return ()
    return tuple(wheels.differences(lockfile.read(workspace.lock), name, platform, pins))


def _choose(engine: str, job_for: Callable[[str], Job], say: Callable[[str], None]) -> str:
    if engine != "auto":
        if engine not in ENGINES:
            raise D2lEnvError(
                tr("there is no engine `{name}`", name=engine),
                fix=tr("choose one of: {names}", names=", ".join(["auto", *ENGINES])),
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
    # What is built already needs no channel and is there at once; pixi sees to its own.
    built = next((name for name in ENGINES if name != "pixi" and _is_built(job_for(name), name)), "")
    reasons: list[str] = []
    for name in ["pixi", built] if built else ENGINES:
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


def _differences(job: Job, engine: str) -> tuple[wheels.Difference, ...]:
    if engine != "wheels":
        return ()
    pins = wheels.read(job.workspace, job.variant.name, job.platform)
    return tuple(wheels.differences(job.lock, job.variant.name, job.platform, pins))


def _is_built(job: Job, engine: str) -> bool:
    served = job.platform in job.variant.wheels if engine == "wheels" else job.locked
    return served and not job.fresh and _is_current(job, _digest(job, engine))


def _digest(job: Job, engine: str) -> str:
    return wanted_digest(job.workspace, job.variant.name, job.platform, engine, lambda: job.lock)


def wanted_digest(
    workspace: Workspace, name: str, platform: str, engine: str, lock: Callable[[], Lock]
) -> str:
    """Of what ``engine`` builds environment ``name`` from: sha256 (hex), as the prefix notes it.

    Args:
        lock: gives pixi.lock; called only for an engine that builds from it.

    Raises:
        D2lEnvError: the lock or the requirements cannot be read.
    """
    if engine != "wheels":
        return lockfile.digest(lock(), name, platform).digest
    return wheels.digest(wheels.read(workspace, name, platform))


def _note(name: str, platform: str, engine: str) -> str:
    if engine == "wheels" and (name, platform) == ("cpu", "linux-64"):
        return tr(
            "for Linux the package index has only the CUDA build of PyTorch, which runs on the CPU too: "
            "this is that one"
        )
    return ""


def _is_current(job: Job, digest: str) -> bool:
    """Whether the prefix is whole and built from ``digest``, here: a moved one has its old path inside."""
    said = marker.read(job.prefix)
    there = said.get("prefix") == str(job.prefix) and python_of(job.prefix).exists()
    there = there and baseline.path_of(job.prefix).exists()
    return there and said.get("environment") == job.variant.name and said.get("digest") == digest


def _refuse_foreign(job: Job) -> None:
    """An existing folder is only replaced when this tool built this environment there."""
    fix = tr("choose another --prefix, or remove it yourself")
    try:
        if not job.prefix.exists() or (job.prefix.is_dir() and not any(job.prefix.iterdir())):
            return
    except OSError as error:
        raise D2lEnvError(tr("{path} cannot be read", path=job.prefix), why=str(error), fix=fix) from error
    owner = marker.read(job.prefix).get("environment")
    if owner is None:
        raise D2lEnvError(tr("{path} is there already and was not built by d2lenv", path=job.prefix), fix=fix)
    if owner != job.variant.name:
        raise D2lEnvError(tr("{path} holds the environment {name}", path=job.prefix, name=owner), fix=fix)


def unpacked_size(records: Iterable[RepoDataRecord]) -> float:
    """About how many bytes the packages take on disk."""
    return sum(record.size or 0 for record in records) * _UNPACKED_RATIO


def _check_space(job: Job, engine: str) -> None:
    if engine == "wheels":
        needed = job.variant.disk_gb * 1e9
    else:
        needed = unpacked_size(job.lock.records(job.variant.name, job.platform))
    folder = job.prefix.parent
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise D2lEnvError(
            tr(
                "{folder} has {free} GB free; {name} needs about {needed} GB",
                folder=folder,
                free=f"{free / 1e9:.1f}",
                name=job.variant.name,
                needed=f"{needed / 1e9:.1f}",
            ),
            fix=tr(
                "free some space or choose another disk with --prefix; --no-space-check if the packages "
                "are in the cache already"
            ),
        )


def _finish(job: Job, built: Built, known: Mapping[str, str] | None) -> None:
    """The kernelspec, the proof that Python runs and that d2l is the released one, the marker, and last the
    baseline, which vouches for all of it."""
    python = python_of(job.building)
    if interpreters.probe(python, "") is None:
        raise D2lEnvError(
            tr("{name} was built but its Python does not run", name=job.variant.name),
            why=str(python),
            fix=tr("`d2lenv build {name} --fresh` builds it anew", name=job.variant.name),
        )
    _write_kernelspec(job, job.prefix / python.relative_to(job.building))
    for site_packages, version in _installed_d2l(job.building):
        _verify_d2l(site_packages, version)
        _detach(site_packages / "d2l")
    said = {
        "environment": built.environment,
        "engine": built.engine,
        "platform": job.platform,
        "prefix": str(job.prefix),
        "digest": built.digest,
    }
    _write_if_new(job.building / marker.MARKER, json.dumps(said, indent=2, ensure_ascii=False) + "\n")
    # pixi's prefix is finished again by every build: what happened to it since must not become its record.
    if not (built.reused and baseline.path_of(job.building).exists()):
        baseline.record(job.building, known)


def _write_kernelspec(job: Job, python: Path) -> None:
    """A kernelspec that names this prefix's Python by its full path: Jupyter never starts another.

    It is not started with ``-m``, which imports from the notebook's folder before the kernel can prevent it.
    """
    spec = {
        "argv": python_module(python, "ipykernel_launcher", "-f", "{connection_file}"),
        "display_name": job.variant.display_name,
        "language": "python",
        "metadata": {"debugger": True},
    }
    path = job.building / "share" / "jupyter" / "kernels" / f"d2l-{job.variant.name}" / "kernel.json"
    _write_if_new(path, json.dumps(spec, indent=2, ensure_ascii=False) + "\n")


def _write_if_new(path: Path, text: str) -> None:
    with suppress(OSError):
        if path.read_bytes() == text.encode("utf-8"):
            return
    write_atomic(path, text)


def _installed_d2l(folder: Path) -> Iterator[tuple[Path, str]]:
    """(site-packages, version) of each d2l in the prefix ``folder``."""
    for pattern in ("lib/python*/site-packages", "Lib/site-packages"):
        for metadata in folder.glob(f"{pattern}/d2l-*.dist-info"):
            yield metadata.parent, metadata.name.removeprefix("d2l-").removesuffix(".dist-info")


def _verify_d2l(site_packages: Path, version: str) -> None:
    wrong = d2l_release.differing(site_packages, version) if version in d2l_release.RELEASES else {}
    if wrong:
        raise D2lEnvError(
            tr("the d2l that was installed is not the released {version}", version=version),
            why=", ".join(f"{name}: {state}" for name, state in wrong.items()),
            fix=tr(
                "`uv cache clean d2l` or `pixi clean cache` removes a changed copy from the cache; if it "
                "comes again, do not use it and check the mirror that serves it"
            ),
        )


def _detach(folder: Path) -> None:
    """Give the files in ``folder`` a content of their own.

    Engines link files from their cache. Readers try things in d2l's modules; an editor that writes in place
    would change the cache, and with it every later build.
    """
    for path in folder.glob("*.py"):
        if path.stat().st_nlink > 1:
            copy = path.with_name(f".{path.name}.copy")
            shutil.copy2(path, copy)
            copy.replace(path)


def _retired(job: Job) -> Path:
    return job.prefix.with_name(f".{job.prefix.name}.old")


def _recover(job: Job) -> None:
    """Put right what an interrupted build left: a half-made folder, or an old prefix moved aside."""
    baseline.settle(job.prefix)
    remove(job.building)
    for stale in job.prefix.parent.glob(f".{glob.escape(job.prefix.name)}.building-*"):
        with suppress(OSError):  # the uv of a killed build may still be writing there
            remove(stale)
    old = _retired(job)
    if old.exists() and not job.prefix.exists():
        old.rename(job.prefix)
    remove(old)


def _swap(job: Job) -> None:
    if job.prefix.exists():
        with suppress(OSError):
            job.prefix.rmdir()  # an empty folder that the reader made
    if job.prefix.exists():
        job.prefix.rename(_retired(job))
    job.building.rename(job.prefix)
    baseline.settle(job.prefix)


def remove(folder: Path) -> None:
    """Remove a folder, a link or a file, read-only or not, if it is there."""
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder, onerror=_make_writable_and_retry)


def _make_writable_and_retry(function: Callable[[str], object], path: str, _error: object) -> None:
    """Read-only folders and, on Windows, read-only files cannot be removed before they are writable."""
    parent = Path(path).parent
    for target in (parent, Path(path)):
        with suppress(OSError):
            target.chmod(0o700)
    with suppress(FileNotFoundError):
        function(path)
