"""The group of all commands.

Modules are imported inside the commands: ``d2lenv --help`` and ``d2lenv doctor`` must not pay for a
solver or a notebook client that they do not use.
"""

from __future__ import annotations

from pathlib import Path

import click

from d2lenv.base.messages import tr
from d2lenv.cli import build, doctor, export, learn, lock, proof, smoke
from d2lenv.cli.shared import Place


@click.group(
    help=tr("Reproducible deep-learning environments for d2l and Deep Learning with PyTorch."),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="d2lenv", prog_name="d2lenv")
@click.option(
    "--workspace",
    "root",
    type=click.Path(file_okay=False, path_type=Path),
    default=None,
    help=tr("Folder with pixi.toml (default: this one or the nearest above)."),
)
@click.pass_context
def cli(context: click.Context, root: Path | None) -> None:
    context.obj = Place(root)


for _command in (
    lock.lock, lock.check, build.build, smoke.smoke, export.export, doctor.doctor, proof.verify, proof.repro,
    proof.fingerprint, proof.diff, proof.attest, learn.lab, learn.saved, learn.books,
):  # fmt: skip
    cli.add_command(_command)
