"""The command ``lock``: choose who solves, solve, write, record the digests, say what changed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from d2lenv.base import process
from d2lenv.base.console import note, print_json, print_table, say
from d2lenv.base.errors import D2lEnvError
from d2lenv.base.files import exclusive_lock, write_atomic
from d2lenv.base.messages import tr
from d2lenv.solve import check, conda
from d2lenv.solve.conda import Change
from d2lenv.workspace import channels, lockfile
from d2lenv.workspace.lockfile import Lock
from d2lenv.workspace.manifest import Workspace

_PIXI_TIMEOUT_S = 1800.0


def lock(
    workspace: Workspace,
    snapshot: Path | None,
    names: frozenset[str],
    update_all: bool,
    say: Callable[[str], None] = note,
) -> list[Change]:
    """Solve into ``pixi.lock``, record its digests and return what changed.

    Args:
        snapshot: solve offline from this folder. None means pixi, else the channels themselves.
        names: packages that may move although the lock satisfies the manifest.
        update_all: nothing is kept.

    Raises:
        D2lEnvError: if there is no solution, a channel does not answer, or a name is unknown; the old lock is
            then untouched.
    """
    with exclusive_lock(workspace.root / ".d2lenv" / "lock.lock", "d2lenv lock", say):
        old = _old(workspace, update_all)
        _known(names, old)
        if snapshot is None:
            _ask_channels(workspace)
        pixi = process.which("pixi", os.environ) if snapshot is None else None
        solved_from = ""
        if pixi:
            _run_pixi(pixi, workspace, names, update_all, say)
        else:
            source = conda.Snapshot(snapshot) if snapshot else None
            kept = None if update_all else old
            _solve(workspace, source, kept, names, say)
            solved_from = source.digest() if source else ""
            if source and kept:
                _tell_other_snapshot(workspace, solved_from, say)
        new = _satisfying(workspace, workspace.lock)
        _record(workspace, new, solved_from)
        return conda.changes(old, {key: new.records(*key) for key in new.pairs()})


def _ask_channels(workspace: Workspace) -> None:
    silent = [answer for answer in channels.ask(workspace.channels) if answer.reason]
    if silent:
        raise D2lEnvError(
            tr("the channels cannot be reached: {names}", names=", ".join(a.channel for a in silent)),
            why="; ".join(answer.reason for answer in silent),
            fix=tr("check the network or a mirror, or solve offline with --snapshot DIR"),
        )


def _solve(
    workspace: Workspace,
    source: conda.Snapshot | None,
    kept: Lock | None,
    released: frozenset[str],
    say: Callable[[str], None],
) -> None:
    solution = conda.solve_workspace(workspace, source, preferred=kept, released=released, say=say)
    _write(workspace, conda.lock_text(conda.build_lock(workspace, solution)))


def _tell_other_snapshot(workspace: Workspace, digest: str, say: Callable[[str], None]) -> None:
    """Say that the locked packages came from another snapshot than the one that was now asked."""
    with suppress(D2lEnvError):  # without recorded digests there is nothing to compare with
        before = lockfile.read_digests(workspace.root / lockfile.DIGESTS).snapshot
        if before != digest:
            say(
                tr(
                    "pixi.lock was solved from another snapshot: what it has stays where it can; "
                    "`--update-all` solves anew from this one"
                )
            )


def _old(workspace: Workspace, update_all: bool) -> Lock | None:
    """Return the lock so far; a damaged one stands in the way unless nothing of it is to be kept."""
    if not workspace.lock.is_file():
        return None
    try:
        return lockfile.of(workspace)
    except lockfile.DamagedLock:
        if not update_all:
            raise
    return None


def record(workspace: Workspace, say: Callable[[str], None] = note) -> Path:
    """Accept ``pixi.lock`` as it is: record its digests, if it satisfies the manifest.

    Returns:
        The file that holds them.

    Raises:
        D2lEnvError: if it does not; the recorded digests are then untouched.
    """
    path = workspace.root / lockfile.DIGESTS
    with exclusive_lock(workspace.root / ".d2lenv" / "lock.lock", "d2lenv lock --record", say):
        new = _satisfying(workspace, workspace.lock)
        snapshot = ""
        with suppress(D2lEnvError):
            before = lockfile.read_digests(path)
            if before.digests == lockfile.digests(new):
                snapshot = before.snapshot
        _record(workspace, new, snapshot)
    return path


def _record(workspace: Workspace, new: Lock, snapshot: str) -> None:
    recorded = lockfile.Recorded(lockfile.digests(new), snapshot)
    lockfile.write_digests(workspace.root / lockfile.DIGESTS, recorded)


def _write(workspace: Workspace, text: str) -> None:
    """Replace ``pixi.lock`` with ``text``, once that has been read back and checked."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / workspace.lock.name
        path.write_text(text, encoding="utf-8", newline="\n")
        _satisfying(workspace, path)
    if not workspace.lock.is_file() or workspace.lock.read_bytes() != text.encode("utf-8"):
        write_atomic(workspace.lock, text)


def _satisfying(workspace: Workspace, path: Path) -> Lock:
    new = lockfile.read(path, workspace.platforms)
    errors = check.errors(check.check(workspace, new, None))
    if errors:
        raise D2lEnvError(
            tr("{path} does not satisfy pixi.toml; nothing was recorded", path=path.name),
            why="\n".join(remark.line() for remark in errors[: conda.MAX_REASON_LINES]),
            fix=tr("`d2lenv lock` solves what pixi.toml asks for"),
        )
    return new


def show(found: list[Change], as_json: bool) -> None:
    """Print the changes as a table or as JSON."""
    if as_json:
        print_json("lock", True, {"changes": [asdict(change) for change in found]})
    elif found:
        print_table(
            [tr("package"), tr("old"), tr("new"), tr("platforms")],
            [[c.package, c.old or "-", c.new or "-", ", ".join(c.places)] for c in found],
        )
    else:
        say(tr("no package changed; pixi.lock is up to date"))


def show_recorded(path: Path, as_json: bool) -> None:
    """Print the place of the digests of the accepted lock."""
    if as_json:
        print_json("lock", True, {"recorded": str(path)})
    else:
        told = tr("pixi.lock satisfies pixi.toml; its digests are in {path}", path=path)
        say(told)


def _known(names: frozenset[str], old: Lock | None) -> None:
    have = {record.name.normalized for key in old.pairs() for record in old.records(*key)} if old else set()
    unknown = sorted(names - have)
    if unknown:
        raise D2lEnvError(
            tr("pixi.lock has no package called {names}", names=", ".join(unknown)),
            fix=tr("use the conda name, as `pytorch` for pip's `torch`"),
            status=2,
        )


def _run_pixi(
    pixi: Path, workspace: Workspace, names: frozenset[str], update_all: bool, say: Callable[[str], None]
) -> None:
    verb = ["update", *sorted(names)] if names or update_all else ["lock"]
    command = [str(pixi), *verb, "--manifest-path", str(workspace.manifest)]
    say(tr("running {command}", command=" ".join(command)))
    try:
        status = process.run_visibly(command, timeout_s=_PIXI_TIMEOUT_S, environ=os.environ, aside=True)
    except OSError as error:
        raise D2lEnvError(
            tr("pixi did not run to its end; pixi.lock is as pixi left it"),
            why=str(error),
            fix=tr("read pixi's message above, or solve without it: --snapshot DIR"),
        ) from error
    if status != 0:
        raise D2lEnvError(
            tr("pixi ended with status {status}; pixi.lock is as pixi left it", status=status),
            fix=tr("read pixi's message above, or solve without it: --snapshot DIR"),
        )
