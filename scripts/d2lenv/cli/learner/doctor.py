"""``d2lenv doctor``."""

from __future__ import annotations

import click

from d2lenv.base.messages import mark, tr
from d2lenv.cli import shared


@shared.command(
    short_help=mark("What is wrong with an environment, why, and what to type."),
    help=mark(
        "Examine an environment: ours, a conda environment, a venv or a system Python; without a name the "
        "active one. Reads files only, imports nothing. Exit status 1 when errors are found.\n\n"
        "Examples: d2lenv doctor, d2lenv --lang zh doctor cuda, d2lenv doctor --plan python=3.12 d2l==0.17.6"
    ),
)
@click.argument("words", nargs=-1, metavar="[PREFIX|ENV]")
@shared.option(
    "--plan",
    is_flag=True,
    help=mark("Judge what is about to be installed: python=3.12 d2l==0.17.6, or gpu=rtx-4090."),
)
@shared.option("--deep", is_flag=True, help=mark("Also start its Python, import torch and use the GPU."))
@shared.option(
    "--imports", is_flag=True, help=mark("Also start its Python and import what d2l and Jupyter need.")
)
@shared.option("--all", "everything", is_flag=True, help=mark("Also show what is no fault."))
@shared.option("--fix", is_flag=True, help=mark("Print only the commands that mend what was found."))
@shared.option("--yes", is_flag=True, help=mark("With --fix: run the commands that are safe."))
@shared.as_json
@click.pass_obj
def doctor(
    place: shared.Place,
    words: tuple[str, ...],
    plan: bool,
    deep: bool,
    imports: bool,
    everything: bool,
    fix: bool,
    yes: bool,
    as_json: bool,
) -> int:
    if yes and not fix:
        raise click.UsageError(tr("--yes goes with --fix"))
    if len(words) > 1 and not plan:
        raise click.UsageError(tr("one environment at a time"))
    from d2lenv.doctor import command

    if plan:
        return command.plan(words, place.given, as_json)
    name = words[0] if words else None
    asked = command.Asked(
        deep=deep, imports=imports, fix=fix, yes=yes, as_json=as_json, everything=everything
    )
    return command.examine(name, place.given, asked)
