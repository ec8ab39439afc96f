"""The CPU and the CUDA edition of an environment's wheels, and where the one comes from that no index has.

The index's Linux wheels of PyTorch are CUDA builds, its Windows wheels CPU builds. The others lie on its own
host. Their hashes are in ``facts/pytorch/wheels.tsv``, so any mirror may serve them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread

from packaging.version import Version

from d2lenv.base.errors import USAGE, D2lEnvError
from d2lenv.base.files import write_atomic
from d2lenv.base.messages import tr
from d2lenv.engines.job import Job
from d2lenv.engines.wheels import wheel_cache
from d2lenv.facts import platforms
from d2lenv.facts.pytorch import host as pytorch_host
from d2lenv.facts.pytorch.host import HOST, TRIO, HostFile
from d2lenv.prefix import locations, marker
from d2lenv.workspace import host
from d2lenv.workspace import pins as pinned
from d2lenv.workspace.pins import Pin, Variation
from d2lenv.workspace.settings import HostBuild, Settings

AUTO, CPU, CUDA = "auto", "cpu", "cuda"

MIRROR = "D2LENV_PYTORCH_MIRROR"
"""The variable that names a mirror of PyTorch's own host."""

_TIMEOUT_S = 5.0
_OLDEST_DRIVER_FOR = Version("12")
"""CUDA 12's: every 12.x runs on it (NVIDIA, minor-version compatibility)."""


def of(build: str, platform: str) -> str:
    """Return the edition that a build is of; an empty build is the index's."""
    if build:
        return CPU if build == "cpu" else CUDA
    return CUDA if platforms.index_cuda(platform) else CPU


def builds(settings: Settings, platform: str, asked: str) -> list[str]:
    """Return the builds to take, the first one that can be had; an empty one is the index's.

    Args:
        asked: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        D2lEnvError: if there is no such edition.
    """
    there = ["", *([settings.host[platform].build] if platform in settings.host else [])]
    if asked != AUTO:
        fitting = [build for build in there if of(build, platform) == asked]
        if not fitting:
            raise D2lEnvError(
                tr(
                    "{name} has no {edition} edition on {platform}",
                    name=settings.name,
                    edition=asked,
                    platform=platform,
                ),
                fix=tr("leave out --pytorch"),
                status=USAGE,
            )
        return fitting
    if len(there) == 1:
        return there
    wanted = CUDA if settings.cuda and has_gpu() else CPU
    return sorted(there, key=lambda build: of(build, platform) != wanted)


def has_gpu() -> bool:
    """Return True if this machine has an NVIDIA driver for CUDA 12, or CONDA_OVERRIDE_CUDA says so."""
    version = host.virtual_packages().get("__cuda", "")
    return bool(version) and Version(version) >= _OLDEST_DRIVER_FOR


def why_silent(file: HostFile, mirror: str) -> str:
    """Return why the host or its mirror does not have ``file`` for us, or nothing."""
    import urllib.error  # 12 ms that other builds do without
    import urllib.request

    answers: SimpleQueue[str] = SimpleQueue()
    request = urllib.request.Request(file.address(mirror or HOST), method="HEAD")

    def ask() -> None:
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S):
                answers.put("")
        except urllib.error.HTTPError as error:
            answers.put(f"HTTP {error.code}")
        except (OSError, ValueError) as error:
            answers.put(str(getattr(error, "reason", error)))

    # A name server that hangs cannot be interrupted: a daemon thread is left behind.
    Thread(target=ask, daemon=True).start()
    try:
        return answers.get(timeout=_TIMEOUT_S)
    except Empty:
        return tr("no answer within {seconds} s", seconds=f"{_TIMEOUT_S:g}")


def available(job: Job) -> Variation:
    """Return the job's variation, or that with the index's build where PyTorch's own host does not answer."""
    row = job.settings.host.get(job.platform)
    if row is None or marker.read(job.prefix).get("environment") == job.settings.name:
        return job.variation
    on_disk = sizes(row, job.platform)
    edition = of(job.variation.build, job.platform)
    job.say(
        tr(
            "{edition} build of PyTorch for this machine (on disk: CPU {cpu} GB, CUDA {cuda} GB; "
            "--pytorch takes the other)",
            edition=edition.upper(),
            **on_disk,
        )
    )
    torch = _file(next(pin for pin in _pins(job) if pin.name == "torch"))
    reason = why_silent(torch, job.mirror) if torch and not _is_cached(job) else ""
    if not reason:
        return job.variation
    if job.pytorch != AUTO:
        raise D2lEnvError(
            tr(
                "PyTorch's own host does not answer, and only it has the {edition} build",
                edition=edition.upper(),
            ),
            why=f"{torch.address(job.mirror or HOST)}: {reason}" if torch else reason,
            fix=tr("name a mirror with --mirror, or leave out --pytorch to take the index's build"),
        )
    other = of("", job.platform)
    job.say(
        tr(
            "PyTorch's own host does not answer ({reason}): the index's {other} build is taken, {gb} GB on "
            "disk; --mirror names a mirror",
            reason=reason,
            other=other.upper(),
            gb=on_disk[other],
        )
    )
    return replace(job.variation, build="")


def _is_cached(job: Job) -> bool:
    torch = [pin for pin in _pins(job) if pin.name == "torch"]
    return bool(wheel_cache.unpacked(wheel_cache.root(), torch))


def _file(pin: Pin) -> HostFile | None:
    return pytorch_host.of_pin(pin.name, pin.version, pin.sha256[0])


@contextmanager
def requirements(job: Job) -> Iterator[Path]:
    """Give the file that uv installs from: the lock's own, or one with addresses of PyTorch's own host."""
    if not job.variation.build:
        yield pinned.path_of(job.workspace, job.settings.name, job.platform)
        return
    with tempfile.TemporaryDirectory(prefix="d2lenv-") as folder:
        path = Path(folder) / "requirements.txt"
        lines = []
        for pin in _pins(job):
            file = _file(pin)
            place = f"{pin.name} @ {file.address(job.mirror or HOST)}" if file else pin.requirement
            lines.append(" ".join([place, *(f"--hash=sha256:{digest}" for digest in pin.sha256)]))
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        yield path


def forget_addresses(job: Job) -> None:
    """Remove uv's note of which mirror served a file, so that two machines have the same environment."""
    for site in locations.site_packages(job.building):
        for pin in _pins(job):
            folder = site / f"{pin.name}-{pin.version}.dist-info"
            if _file(pin) is None or not (folder / "direct_url.json").is_file():
                continue
            (folder / "direct_url.json").unlink()
            record = folder / "RECORD"
            lines = record.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [line for line in lines if not line.startswith(f"{folder.name}/direct_url.json,")]
            write_atomic(record, "".join(kept))


def lacking(job: Job) -> str:
    """Return what the host's build goes without, in one sentence, or nothing."""
    have = {pin.name for pin in _pins(job)}
    names = [name for name in TRIO if name not in have]
    if not names:
        return ""
    return tr(
        "no {build} build of {names} is known for this Python: it goes without",
        build=job.variation.build,
        names=", ".join(names),
    )


def _pins(job: Job) -> list[Pin]:
    return pinned.read(job.workspace, job.settings.name, job.platform, job.variation)


def sizes(found: HostBuild, platform: str) -> dict[str, str]:
    """Return edition → gigabytes on disk, as text."""
    return {
        of(found.build, platform): f"{found.gb:g}",
        of("", platform): f"{found.index_gb:g}",
    }
