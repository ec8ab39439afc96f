"""The end of a build: the proof that it is what was asked for, the kernelspec, the marker, the baseline."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from d2lenv.base.errors import D2lEnvError
from d2lenv.base.files import write_atomic
from d2lenv.base.messages import tr
from d2lenv.base.process import python_module
from d2lenv.engines import interpreters
from d2lenv.engines.job import Engine, Job
from d2lenv.facts import d2l as d2l_releases
from d2lenv.prefix import baseline, locations, marker
from d2lenv.prefix.scan import Known

_SHOWN = 10


def finish(
    job: Job, engine: Engine, said: dict[str, str], known: Mapping[str, Known], *, reused: bool
) -> None:
    """Prove that the prefix in ``job.building`` is what was asked for and runs, and sign it.

    Args:
        said: what its marker says; the baseline, which comes last, vouches for it.
        known: path → what is known of the files for which the engine vouches.
        reused: the engine found the prefix as it was.

    Raises:
        D2lEnvError: if a package is missing, too many or of another version, Python does not run, or d2l is
            not the released one.
    """
    _check_packages(job, engine)
    python = locations.interpreter(job.building)
    if interpreters.probe(python, "") is None:
        raise D2lEnvError(
            tr("{name} was built but its Python does not run", name=job.settings.name),
            why=str(python),
            fix=tr("`d2lenv build {name} --fresh` builds it anew", name=job.settings.name),
        )
    _write_kernelspec(job, job.prefix / python.relative_to(job.building))
    for site_packages, version in _installed_d2l(job.building):
        _verify_d2l(site_packages, version)
        _detach(site_packages / "d2l")
    _write_if_new(job.building / marker.MARKER, json.dumps(said, indent=2, ensure_ascii=False) + "\n")
    # pixi's prefix is finished again by every build: what happened to it since must not become its record.
    if not (reused and baseline.path_of(job.building).exists()):
        baseline.record(job.building, known)


def _check_packages(job: Job, engine: Engine) -> None:
    wrong, more = locations.differences(engine.packages(job), engine.installed(job.building))
    if wrong or more:
        lines = [*wrong, *(tr("{package}: not asked for", package=package) for package in more)]
        raise D2lEnvError(
            tr(
                "{name} was built but is not what was asked for: {count} packages differ",
                name=job.settings.name,
                count=len(lines),
            ),
            why="\n".join(lines[:_SHOWN]),
            fix=tr("`d2lenv build {name} --fresh` builds it anew", name=job.settings.name),
        )


def _write_kernelspec(job: Job, python: Path) -> None:
    """Write a kernelspec that names this prefix's Python by its full path: Jupyter never starts another.

    It is not started with ``-m``, which imports from the notebook's folder before the kernel can prevent it.
    """
    spec = {
        "argv": python_module(python, "ipykernel_launcher", "-f", "{connection_file}"),
        "display_name": job.settings.display_name,
        "language": "python",
        "metadata": {"debugger": True},
    }
    path = job.building / "share" / "jupyter" / "kernels" / f"d2l-{job.settings.name}" / "kernel.json"
    _write_if_new(path, json.dumps(spec, indent=2, ensure_ascii=False) + "\n")


def _write_if_new(path: Path, text: str) -> None:
    with suppress(OSError):
        if path.read_bytes() == text.encode("utf-8"):
            return
    write_atomic(path, text)


def _installed_d2l(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield (site-packages, version) of each d2l in the prefix ``folder``."""
    for site in locations.site_packages(folder):
        for metadata in site.glob("d2l-*.dist-info"):
            yield site, metadata.name.removeprefix("d2l-").removesuffix(".dist-info")


def _verify_d2l(site_packages: Path, version: str) -> None:
    released = d2l_releases.released(version)
    wrong = d2l_releases.differing(site_packages, released) if released else {}
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
