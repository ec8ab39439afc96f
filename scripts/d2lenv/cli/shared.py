"""The workspace and the options that several commands share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from d2lenv.base.messages import tr

if TYPE_CHECKING:
    from d2lenv.workspace.manifest import Workspace


@dataclass(frozen=True)
class Place:
    """Where a command works.

    Attributes:
        given: what ``--workspace`` names; None without it.
    """

    given: Path | None

    def root(self) -> Path:
        """Return the folder with pixi.toml: the given one, else this one or the nearest above."""
        from d2lenv.workspace import manifest

        return self.given if self.given is not None else manifest.find(Path.cwd())

    def workspace(self) -> Workspace:
        """Return what pixi.toml says."""
        from d2lenv.workspace import manifest

        return manifest.load(self.root())


as_json = click.option("--json", "as_json", is_flag=True, help=tr("One JSON document on standard output."))

engine = click.option(
    "--engine",
    default="auto",
    show_default=True,
    metavar="auto|pixi|rattler|wheels",
    help=tr("Who builds it."),
)

python = click.option(
    "--python", type=click.Path(path_type=Path), help=tr("Interpreter for the wheels engine.")
)
