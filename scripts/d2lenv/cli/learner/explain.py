"""``d2lenv explain``."""

from __future__ import annotations

import os
from pathlib import Path

import click

from d2lenv.base.messages import mark, tr
from d2lenv.cli import shared


@shared.command(
    short_help=mark("What a pasted error means, and what to type."),
    help=mark(
        "Explain an error: the text itself, a file with it, the outputs of a notebook, or standard input. "
        "Reads and sends nothing else. Exit status 1 when the error is not known.\n\n"
        "Examples: d2lenv explain \"No module named 'd2l'\", d2lenv explain notebook.ipynb, "
        "d2lenv explain < traceback.txt"
    ),
    context_settings={"ignore_unknown_options": True},
)
@click.argument("words", nargs=-1, metavar="[TEXT|FILE|NOTEBOOK]")
@shared.option(
    "--env", "environment", metavar="ENV", help=mark("Let the doctor decide between causes: an environment.")
)
@shared.option(
    "--prefix",
    type=click.Path(file_okay=False, path_type=Path),
    help=mark("The same, for an environment in this folder."),
)
@shared.as_json
@click.pass_obj
def explain(
    place: shared.Place, words: tuple[str, ...], environment: str | None, prefix: Path | None, as_json: bool
) -> int:
    from d2lenv.base.errors import FAILED
    from d2lenv.explain import decide, match, rows, show, sources

    stream = sources.standard_input()
    if not words and stream is None:
        raise click.UsageError(tr("give the text of the error, a file with it, or a notebook"))
    if environment and prefix:
        raise click.UsageError(tr("--env or --prefix, not both"))
    text = sources.read(words, stream)
    named = environment or (str(prefix) if prefix else decide.at_hand(os.environ, place.given))
    verdict = decide.decide(match.find(text, rows.load()), named, place.given)
    show.answer(verdict, len(rows.load()), as_json=as_json)
    return 0 if verdict.answers else FAILED
