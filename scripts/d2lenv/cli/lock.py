"""``d2lenv lock`` and ``d2lenv check``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from d2lenv.base.errors import FAILED
from d2lenv.base.messages import mark, tr
from d2lenv.cli import shared

if TYPE_CHECKING:
    from d2lenv.workspace.manifest import Workspace


@shared.command(
    short_help=mark("Solve pixi.toml into pixi.lock."),
    help=mark(
        "Solve pixi.toml into pixi.lock: with pixi where it is installed and the channels answer, otherwise "
        "with the embedded solver. Locked packages stay where they are unless they must move.\n\n"
        "Example: d2lenv lock --snapshot ../shared/channels --update numpy"
    ),
)
@shared.option(
    "--snapshot",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help=mark("Solve offline from DIR/<channel>/<subdir>/repodata.json."),
)
@shared.option(
    "--update", "names", multiple=True, metavar="NAME", help=mark("Let this package move (repeatable).")
)
@shared.option("--update-all", is_flag=True, help=mark("Let every package move."))
@shared.option("--no-wheels", is_flag=True, help=mark("Leave envs/*/requirements-*.txt as they are."))
@shared.option("--record", is_flag=True, help=mark("Solve nothing: accept the pixi.lock that pixi wrote."))
@shared.as_json
@click.pass_obj
def lock(
    place: shared.Place,
    snapshot: Path | None,
    names: tuple[str, ...],
    update_all: bool,
    no_wheels: bool,
    record: bool,
    as_json: bool,
) -> None:
    from d2lenv.solve import update

    if record and (snapshot or names or update_all):
        raise click.UsageError(tr("--record solves nothing: it goes with none of the other options"))
    workspace, moved = place.workspace(), frozenset(names)
    if record:
        update.show_recorded(update.record(workspace), as_json)
    else:
        update.show(update.lock(workspace, snapshot, moved, update_all), as_json)
    if not no_wheels:
        _lock_wheels(workspace, moved, update_all)


def _lock_wheels(workspace: Workspace, moved: frozenset[str], update_all: bool) -> None:
    from d2lenv.base.console import note
    from d2lenv.solve import wheels
    from d2lenv.workspace import lockfile, settings

    locked, chosen = lockfile.of(workspace), settings.load(workspace)
    for path in wheels.lock_wheels(workspace, locked, chosen, update=moved, update_all=update_all, say=note):
        note(tr("{path} written", path=path.relative_to(workspace.root)))


@shared.command(
    short_help=mark("Does pixi.lock satisfy pixi.toml?"),
    help=mark(
        "Prove, offline and without pixi, that pixi.lock satisfies pixi.toml and is what `d2lenv lock` "
        "recorded. One line for each finding; exit status 1 when there is an error among them.\n\n"
        "Example: d2lenv check --solve"
    ),
)
@shared.option(
    "--solve", "solve_again", is_flag=True, help=mark("Also solve again from the locked records alone.")
)
@shared.as_json
@click.pass_obj
def check(place: shared.Place, solve_again: bool, as_json: bool) -> int:
    from d2lenv.base.console import print_json
    from d2lenv.solve import again, check
    from d2lenv.workspace import lockfile

    workspace = place.workspace()
    locked = lockfile.of(workspace)
    remarks = check.check(workspace, locked, lockfile.read_digests(workspace.root / lockfile.DIGESTS))
    if solve_again:
        remarks += again.solve_again(workspace, locked)
    ok = not check.errors(remarks)
    if as_json:
        print_json("check", ok, check.as_json(remarks, locked))
    else:
        check.show(remarks, locked)
    return 0 if ok else FAILED
