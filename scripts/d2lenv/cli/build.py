"""``d2lenv build``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from d2lenv.base.messages import mark
from d2lenv.cli import shared


@shared.command(
    short_help=mark("Build an environment on this machine."),
    help=mark(
        "Build an environment from its lock: with pixi, with py-rattler, or from wheels. An up-to-date one "
        "is used again at once. Without a name the one that fits this machine's GPU and driver is built.\n\n"
        "Example: d2lenv build cuda --engine wheels"
    ),
)
@click.argument("environment", required=False)
@shared.engine
@shared.option(
    "--prefix",
    type=click.Path(path_type=Path),
    help=mark("Where (default: .pixi/envs/ENV or .d2lenv/ENV-ENGINE)."),
)
@shared.python
@shared.pytorch
@shared.mirror
@shared.option("--fresh", is_flag=True, help=mark("Build anew although the prefix is up to date."))
@shared.option(
    "--link-mode",
    type=click.Choice(["copy", "hardlink", "clone"]),
    metavar="copy|hardlink|clone",
    help=mark("How the wheels engine gets files from uv's cache (default: clone where the disk can)."),
)
@shared.option(
    "--bundle",
    type=click.Path(file_okay=False, path_type=Path),
    help=mark("Take the wheels from this bundle (`d2lenv bundle create`), and ask no network."),
)
@shared.option("--link-scripts", is_flag=True, help=mark("Let conda packages run their post-link scripts."))
@shared.option("--no-space-check", is_flag=True, help=mark("Build although the disk looks too small."))
@shared.as_json
@click.pass_obj
def build(
    place: shared.Place,
    /,
    environment: str | None,
    bundle: Path | None,
    no_space_check: bool,
    as_json: bool,
    **how: Any,  # as engines.build.build takes it
) -> None:
    from d2lenv.base.console import note, print_json
    from d2lenv.engines import build

    workspace = place.workspace()
    if environment is None:
        from d2lenv.doctor import fitting

        advice = fitting.for_this_machine(workspace)
        note(str(advice))
        environment = advice.environment
    if bundle is not None:
        from d2lenv.bundle import check

        how |= check.how_to_build(bundle, environment)
    built = build.build(workspace, environment, check_space=not no_space_check, say=note, **how)
    if as_json:
        print_json("build", True, built.as_json())
    else:
        build.show(built)
