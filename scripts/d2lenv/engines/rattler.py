"""The ``rattler`` engine: py-rattler installs the records of pixi.lock; no pixi needed.

It runs in a process of its own (``python -m d2lenv.engines.rattler``): when one package fails, or Ctrl-C
comes, py-rattler returns while its threads still write into the prefix (0.28, tried 2026-11-22); only the
end of their process stops them, and only then can what is half-made be removed.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from rattler import RepoDataRecord, install
from rattler.exceptions import InstallerError, IoError, LinkError, TransactionError

from d2lenv.base.console import note
from d2lenv.base.errors import D2lEnvError
from d2lenv.base.messages import tr
from d2lenv.engines.job import Job, disk_step
from d2lenv.facts import d2l as d2l_release
from d2lenv.prefix import screening as untrusted
from d2lenv.workspace import channels, lockfile

if TYPE_CHECKING:
    from rattler import InstallerReporter

# A first build downloads gigabytes over a slow link.
_TIMEOUT_S = 4 * 3600.0
_MOST_LINES = 6


def why_not(job: Job) -> str:
    """Why py-rattler cannot build the job, or nothing; asks the channels, two seconds for the lot."""
    if not job.locked:
        return tr(
            "pixi.lock does not have {name} for {platform}", name=job.variant.name, platform=job.platform
        )
    if "alternative_target_prefix" not in inspect.signature(install).parameters:
        return tr("the installed py-rattler is older than 0.26")
    silent = [answer for answer in channels.ask(job.lock.channels(job.variant.name)) if answer.reason]
    if silent:
        return tr(
            "{count} of its channels do not answer: {reasons}",
            count=len(silent),
            reasons="; ".join(answer.reason for answer in silent),
        )
    return ""


def build(job: Job) -> None:
    """Install every record of (environment, platform) into ``job.building``, paths as in ``job.prefix``.

    py-rattler verifies each download against the record's sha256, else its md5, and keeps the packages in
    its shared cache. What is there already is hashed again, and every package is looked at before it is
    linked (:mod:`d2lenv.prefix.screening`).

    Raises:
        D2lEnvError: a package is missing, has another hash or holds what must not be installed, or the disk
            is full or not writable.
    """
    records = job.lock.records(job.variant.name, job.platform)
    _refuse_unverifiable(records)
    job.say(tr("installing {count} packages into {prefix}", count=len(records), prefix=job.prefix))
    reason = _in_own_process(
        {
            "lock": str(job.lock.path.absolute()),
            "environment": job.variant.name,
            "platform": job.platform,
            "building": str(job.building),
            "prefix": str(job.prefix),
            "link_scripts": job.link_scripts,
            "progress": sys.stderr.isatty(),
        }
    )
    if reason:
        raise D2lEnvError(
            tr("{name} for {platform} cannot be installed", name=job.variant.name, platform=job.platform),
            why=reason,
            fix=_next_step(reason),
        )


def _refuse_unverifiable(records: tuple[RepoDataRecord, ...]) -> None:
    """A record with neither hash is installed only when its files can be compared with the released ones."""
    for record in records:
        known = record.name.normalized == "d2l" and str(record.version) in d2l_release.RELEASES
        if not (record.sha256 or record.md5 or known):
            raise D2lEnvError(
                tr("pixi.lock has no hash for {package}", package=record.file_name),
                fix=tr("`d2lenv check` lists what is wrong with the lock"),
            )


def _in_own_process(request: dict[str, Any]) -> str:
    """Run :func:`_main` and return why it failed, or nothing; kill it when this process is interrupted."""
    command = [sys.executable, "-m", "d2lenv.engines.rattler"]
    answer, status = b"", -1
    try:
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            # Ctrl-C is for this process, which then ends that one.
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            timer = threading.Timer(_TIMEOUT_S, process.kill)
            timer.daemon = True
            timer.start()
            try:
                with suppress(BrokenPipeError):  # it ended at once; its status says so below
                    process.stdin.write(json.dumps(request).encode("ascii") + b"\n")
                # Standard input stays open: that it ends tells the other process that this one is gone.
                answer = process.stdout.read()
                status = process.wait()
            except BaseException:
                process.kill()
                raise
            finally:
                timer.cancel()
    except OSError as error:
        return str(error)
    try:
        return str(json.loads(answer)["error"])
    except (ValueError, KeyError, TypeError):
        return tr("py-rattler ended with status {status}", status=status)


def _main() -> None:
    """The process that installs: one request on standard input, one answer on standard output."""
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    error = ""
    try:
        asyncio.run(_install(request))
    except (D2lEnvError, InstallerError, IoError, LinkError, TransactionError, OSError, ValueError) as caught:
        error = _reason(caught)
    print(json.dumps({"error": error}), flush=True)
    # Not the interpreter's own end: py-rattler's threads may still run, and 0.28 sometimes aborts there.
    os._exit(0)


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


async def _install(request: dict[str, Any]) -> None:
    from rattler import Config, PackageCache
    from rattler.package_cache import ValidationMode

    records = list(lockfile.read(Path(request["lock"])).records(request["environment"], request["platform"]))
    cache, building = untrusted.package_cache(), Path(request["building"])
    building.mkdir(parents=True, exist_ok=True)
    gate = untrusted.Gate(
        cache,
        {
            record.name.normalized: f"{record.name.normalized}-{record.version}-{record.build}"
            for record in records
        },
        ignores_case=untrusted.ignores_case(building),
        say=note if request["progress"] else lambda _text: None,
    )
    try:
        await install(
            records,
            target_prefix=building,
            alternative_target_prefix=request["prefix"],
            execute_link_scripts=request["link_scripts"],
            # Full: a file that was changed in the cache since it was unpacked is downloaded again.
            package_cache=PackageCache.new_layered([cache], validation_mode=ValidationMode.full()),
            reporter=cast("InstallerReporter", gate),
            # The reader's own mirrors, proxies, certificates and ways to link.
            config=Config.load_from_default_locations("pixi"),
        )
    finally:
        gate.raise_refused()


def _reason(error: BaseException) -> str:
    """The error's lines, none that another one contains; of many the first and the last ones."""
    lines: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        for line in str(cause).splitlines():
            text = line.strip().removeprefix("Caused by: ").rstrip(".")
            if text and text not in lines:
                lines.append(text)
        cause = cause.__cause__
    lines = [line for line in lines if not any(line in other for other in lines if other != line)]
    if len(lines) > _MOST_LINES:
        lines[1 : 2 - _MOST_LINES] = ["…"]
    return "\n".join(lines)


def _next_step(reason: str) -> str:
    lower = reason.lower()
    if "checksum" in lower or "hash mismatch" in lower:
        return tr("the channel or its mirror serves another file than the locked one: do not use it")
    return disk_step(reason, "RATTLER_CACHE_DIR") or tr(
        "check the network, the disk and `pixi.lock`, then run the command again"
    )


if __name__ == "__main__":
    _main()
