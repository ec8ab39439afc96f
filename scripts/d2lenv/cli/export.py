"""``d2lenv export``."""

from __future__ import annotations

from pathlib import Path

import click

from d2lenv.base.messages import mark, tr
from d2lenv.cli import shared


@shared.command(
    short_help=mark("Write envs/: the lock for conda, mamba, Colab and others."),
    help=mark(
        "Write what other tools read, made from pixi.lock alone: conda-lock.yml, explicit lists, "
        "environment.yml, Colab, Studio Lab and Binder, an SBOM and a PACKAGES.md for each environment. "
        "--check writes nothing and fails with a diff when a file is stale or was edited.\n\n"
        "Example: d2lenv export --check\n\n"
        "Example: d2lenv export --lock ../other/pixi.lock --output exported --format conda-lock"
    ),
)
@click.argument("names", nargs=-1, metavar="[ENV]...")
@shared.option(
    "--format", "formats", multiple=True, metavar="FORMAT", help=mark("Only this format (repeatable).")
)
@shared.option("--check", "checking", is_flag=True, help=mark("Write nothing: exit 1 and a diff when stale."))
@shared.option(
    "--lock",
    "lock_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help=mark("Export this pixi.lock (format 4 to 7) instead; needs --output."),
)
@shared.option(
    "--output", type=click.Path(file_okay=False, path_type=Path), help=mark("Where --lock's exports go.")
)
@shared.option(
    "--conda-only", is_flag=True, help=mark("Leave PyPI packages out of formats without a place for them.")
)
@shared.option(
    "--previous", metavar="LOCK|REVISION", help=mark("Compare PACKAGES.md with this release from now on.")
)
@shared.as_json
@click.pass_obj
def export(
    place: shared.Place,
    names: tuple[str, ...],
    formats: tuple[str, ...],
    checking: bool,
    lock_file: Path | None,
    output: Path | None,
    conda_only: bool,
    previous: str | None,
    as_json: bool,
) -> int:
    from d2lenv.export import plan as plans
    from d2lenv.export import report, write
    from d2lenv.export.request import Request

    if (lock_file is None) != (output is None):
        raise click.UsageError(tr("--lock and --output go together"))
    request = Request(names, formats, conda_only, previous, write=not checking)
    if lock_file is not None and output is not None:
        plan = plans.of_lock(lock_file, output, request)
    else:
        plan = plans.of_workspace(place.workspace(), request)
    return report.report(plan, write.run(plan, request), as_json)
