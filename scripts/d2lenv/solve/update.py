"""The command ``lock``: choose who solves, solve, write, record the digests, say what changed."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from d2lenv.base.console import note, out, print_json, print_table
from d2lenv.base.errors import D2lEnvError
from d2lenv.base.files import exclusive_lock, write_atomic
from d2lenv.base.messages import tr
from d2lenv.solve import check
from d2lenv.solve import conda as solve
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
        snapshot: solve offline from this folder; None means pixi, else the channels themselves.
        names: packages that may move although the lock satisfies the manifest.
        update_all: nothing is kept.

    Raises:
        D2lEnvError: no solution, no channel, an unknown name; the old lock is then untouched.
    """
    with exclusive_lock(workspace.root / ".d2lenv" / "lock.lock", "d2lenv lock", say):
        old = _old(workspace.lock, update_all)
        _known(names, old)
        pixi = shutil.which("pixi") if snapshot is None else None
        silent = [answer for answer in _answers(workspace, snapshot) if answer.reason]
        if snapshot is None and silent:
            raise D2lEnvError(
                tr("the channels cannot be reached: {names}", names=", ".join(a.channel for a in silent)),
                why="; ".join(answer.reason for answer in silent),
                fix=tr("check the network or a mirror, or solve offline with --snapshot DIR"),
            )
        if pixi:
            _run_pixi(pixi, workspace, names, update_all, say)
        else:
            source = solve.Snapshot(snapshot) if snapshot else None
            solution = solve.solve_workspace(
                workspace,
                source,
                preferred=None if update_all else old,
                released=names,
                say=say,
            )
            _write(workspace, solve.lock_text(solve.build_lock(workspace, solution)))
        new = _record(workspace)
        return solve.changes(old, {key: new.records(*key) for key in new.pairs()})


def _old(path: Path, update_all: bool) -> Lock | None:
    """The lock so far. One that cannot be read stands in the way, unless nothing of it is to be kept."""
    if not path.is_file():
        return None
    try:
        return lockfile.read(path)
    except lockfile.DamagedLock:
        if not update_all:
            raise
    return None


def record(workspace: Workspace, say: Callable[[str], None] = note) -> Path:
    """Accept ``pixi.lock`` as it is: record its digests, if it satisfies the manifest.

    Returns:
        The file that holds them.

    Raises:
        D2lEnvError: it does not; the recorded digests are then untouched.
    """
    with exclusive_lock(workspace.root / ".d2lenv" / "lock.lock", "d2lenv lock --record", say):
        _record(workspace)
    return workspace.root / lockfile.DIGESTS


def _record(workspace: Workspace) -> Lock:
    new = _satisfying(workspace, workspace.lock)
    lockfile.write_digests(workspace.root / lockfile.DIGESTS, lockfile.digests(new))
    return new


def _write(workspace: Workspace, text: str) -> None:
    """Replace ``pixi.lock`` with ``text``, once that has been read back and checked."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / workspace.lock.name
        path.write_text(text, encoding="utf-8", newline="\n")
        _satisfying(workspace, path)
    if not workspace.lock.is_file() or workspace.lock.read_bytes() != text.encode("utf-8"):
        write_atomic(workspace.lock, text)


def _satisfying(workspace: Workspace, path: Path) -> Lock:
    new = lockfile.read(path)
    errors = [finding for finding in check.check(workspace, new, None) if finding.level == "error"]
    if errors:
        raise D2lEnvError(
            tr("{path} does not satisfy pixi.toml; nothing was recorded", path=path.name),
            why="\n".join(finding.line() for finding in errors[: solve.MAX_REASON_LINES]),
            fix=tr("`d2lenv lock` solves what pixi.toml asks for"),
        )
    return new


def show(found: list[Change], as_json: bool) -> None:
    """What changed, as a table or as JSON."""
    if as_json:
        print_json("lock", True, {"changes": [asdict(change) for change in found]})
    elif found:
        print_table(
            [tr("package"), tr("old"), tr("new"), tr("platforms")],
            [[c.package, c.old or "-", c.new or "-", ", ".join(c.places)] for c in found],
        )
    else:
        out().print(tr("no package changed; pixi.lock is up to date"), markup=False)


def show_recorded(path: Path, as_json: bool) -> None:
    """Where the digests of the accepted lock stand."""
    if as_json:
        print_json("lock", True, {"recorded": str(path)})
    else:
        told = tr("pixi.lock satisfies pixi.toml; its digests are in {path}", path=path)
        out().print(told, markup=False, soft_wrap=True)


def _known(names: frozenset[str], old: Lock | None) -> None:
    have = {record.name.normalized for key in old.pairs() for record in old.records(*key)} if old else set()
    unknown = sorted(names - have)
    if unknown:
        raise D2lEnvError(
            tr("pixi.lock has no package called {names}", names=", ".join(unknown)),
            fix=tr("use the conda name, as `pytorch` for pip's `torch`"),
            status=2,
        )


def _answers(workspace: Workspace, snapshot: Path | None) -> list[channels.Answer]:
    return [] if snapshot else channels.ask(workspace.channels)


def _run_pixi(
    pixi: str, workspace: Workspace, names: frozenset[str], update_all: bool, say: Callable[[str], None]
) -> None:
    verb = ["update", *sorted(names)] if names or update_all else ["lock"]
    command = [pixi, *verb, "--manifest-path", str(workspace.manifest)]
    say(tr("running {command}", command=" ".join(command)))
    # Its own output is progress for the reader; standard output stays ours for `--json`.
    try:
        done = subprocess.run(command, stdout=2, timeout=_PIXI_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise D2lEnvError(
            tr("pixi did not run to its end; pixi.lock is as pixi left it"),
            why=str(error),
            fix=tr("read pixi's message above, or solve without it: --snapshot DIR"),
        ) from error
    if done.returncode != 0:
        raise D2lEnvError(
            tr("pixi ended with status {status}; pixi.lock is as pixi left it", status=done.returncode),
            fix=tr("read pixi's message above, or solve without it: --snapshot DIR"),
        )
