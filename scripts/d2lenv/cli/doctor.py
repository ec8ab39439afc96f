"""``d2lenv doctor``."""

from __future__ import annotations

import os

import click

from d2lenv.base.messages import tr
from d2lenv.cli import shared


@click.command(
    short_help=tr("What is wrong with an environment, why, and what to type."),
    help=tr(
        "Examine an environment: ours, a conda environment, a venv or a system Python; without a name the "
        "active one. Reads files only, imports nothing. Exit status 1 when errors are found.\n\n"
        "Examples: d2lenv doctor, d2lenv doctor cuda --lang zh, d2lenv doctor --plan python=3.12 d2l==0.17.6"
    ),
)
@click.argument("words", nargs=-1, metavar="[PREFIX|ENV]")
@click.option(
    "--plan", is_flag=True, help=tr("Judge what is about to be installed: python=3.12 d2l==0.17.6.")
)
@click.option("--deep", is_flag=True, help=tr("Also start its Python, import torch and use the GPU."))
@click.option("--fix", is_flag=True, help=tr("Print only the commands that mend what was found."))
@click.option("--yes", is_flag=True, help=tr("With --fix: run the commands that are safe."))
@click.option("--lang", type=click.Choice(["en", "zh"]), help=tr("Language of the answer."))
@shared.as_json
@click.pass_obj
def doctor(
    place: shared.Place,
    words: tuple[str, ...],
    plan: bool,
    deep: bool,
    fix: bool,
    yes: bool,
    lang: str | None,
    as_json: bool,
) -> int:
    if lang is not None:
        os.environ["D2LENV_LANG"] = lang
    if yes and not fix:
        raise click.UsageError(tr("--yes goes with --fix"))
    if len(words) > 1 and not plan:
        raise click.UsageError(tr("one environment at a time"))
    from d2lenv.doctor import command

    if plan:
        return command.plan(words, as_json)
    name = words[0] if words else None
    return command.examine(name, place.given, deep=deep, fix=fix, yes=yes, as_json=as_json)
