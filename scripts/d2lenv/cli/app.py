"""The group of all commands.

Modules are imported inside the commands: ``d2lenv --help`` and ``d2lenv doctor`` must not pay for a
solver or a notebook client that they do not use.
"""

from __future__ import annotations

import os
from pathlib import Path

import click

from d2lenv.base import messages
from d2lenv.base.messages import mark, tr
from d2lenv.cli import build, bundle, export, lock, proof, shared, smoke
from d2lenv.cli.learner import books, data, doctor, explain, learn


def _speak(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    """Choose the language, for the processes that are started too."""
    if value is None:
        return
    if messages.matching(value).partition("_")[0] != value.partition("_")[0]:
        raise click.BadParameter(tr("one of: {names}", names=", ".join(messages.languages())))
    os.environ[messages.VARIABLE] = value


@click.group(
    cls=shared.Group,
    help=mark("Reproducible deep-learning environments for d2l and Deep Learning with PyTorch."),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(
    package_name="d2lenv",
    prog_name="d2lenv",
    message="%(prog)s, version %(version)s",  # the same in every language: programs read it
    cls=shared.TranslatedOption,
    help=mark("Show the version and exit."),
)
@shared.option(
    "--workspace",
    "root",
    type=click.Path(file_okay=False, path_type=Path),
    default=None,
    help=mark("Folder with pixi.toml (default: this one or the nearest above)."),
)
@shared.option(
    "--lang",
    metavar="LANGUAGE",
    expose_value=False,
    is_eager=True,
    callback=_speak,
    help=mark("Language of what is printed: en, zh_CN (default: the system's)."),
)
@click.pass_context
def cli(context: click.Context, root: Path | None) -> None:
    context.obj = shared.Place(root)


for _command in (
    lock.lock, lock.check, build.build, smoke.smoke, export.export, doctor.doctor, explain.explain,
    proof.verify, proof.repro, proof.fingerprint, proof.diff, proof.attest,
    learn.lab, learn.saved, books.books, data.data, bundle.bundle,
):  # fmt: skip
    cli.add_command(_command)
