"""``d2lenv bundle``: create and verify."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from d2lenv.base.errors import FAILED, USAGE, D2lEnvError
from d2lenv.base.messages import mark, tr
from d2lenv.cli import shared

if TYPE_CHECKING:
    from d2lenv.data.table import DataSet


@click.group(
    cls=shared.Group,
    help=mark(
        "Environments for machines without a network: one folder, installed by a script that is in it."
    ),
)
def bundle() -> None:
    pass


@bundle.command(
    short_help=mark("Write all that machines without a network need into one folder."),
    help=mark(
        "Write the wheels of environments, a Python, the tool, the notebooks, books and data into one folder "
        "of plain files. `sh install.sh` there installs them. A second run goes on where the first was "
        "stopped.\n\n"
        "Example: d2lenv bundle create cuda --output room --data linear-regression"
    ),
)
@click.argument("environments", nargs=-1, required=True, metavar="ENV...")
@shared.option(
    "--output",
    "folder",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help=mark("The folder."),
)
@shared.option(
    "--platform",
    "platforms",
    multiple=True,
    metavar="PLATFORM",
    help=mark("For such machines, as win-64 (repeatable; default: this one's)."),
)
@shared.option(
    "--python",
    "pythons",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help=mark("The folder of a Python to carry, where uv cannot fetch one (repeatable)."),
)
@shared.option(
    "--book",
    "books",
    multiple=True,
    metavar="NAME=DIR",
    help=mark("An unpacked book, as en=books/en (repeatable)."),
)
@shared.option(
    "--data",
    "chapters",
    multiple=True,
    metavar="CHAPTER",
    help=mark("The data of a chapter, from the shared folder (repeatable)."),
)
@shared.option(
    "--since",
    type=click.Path(exists=True, path_type=Path),
    metavar="BUNDLE",
    help=mark("Leave out the files of this older bundle (or its bundle.json), which the machines have."),
)
@shared.as_json
@click.pass_obj
def create(
    place: shared.Place,
    environments: tuple[str, ...],
    folder: Path,
    platforms: tuple[str, ...],
    pythons: tuple[Path, ...],
    books: tuple[str, ...],
    chapters: tuple[str, ...],
    since: Path | None,
    as_json: bool,
) -> None:
    from d2lenv.base.console import note, print_json
    from d2lenv.bundle import create, manifest, show
    from d2lenv.data import store
    from d2lenv.facts.platforms import current

    request = create.Request(
        environments=environments,
        platforms=platforms or (current(),),
        pythons=pythons,
        books=dict(map(_book, books)),
        data=_data(chapters),
        data_folder=store.place(None, os.environ),
        since=manifest.older(since) if since else None,
    )
    made = create.create(place.workspace(), request, folder.absolute(), note)
    if as_json:
        print_json("bundle create", True, {"folder": str(folder.absolute()), **asdict(made)})
    else:
        show.made(made, folder)


def _book(text: str) -> tuple[str, Path]:
    name, _, folder = text.partition("=")
    if not name.isidentifier() or not folder:
        raise D2lEnvError(tr("--book is NAME=DIR, not {text}", text=text), status=USAGE)
    return name, Path(folder)


def _data(chapters: Sequence[str]) -> tuple[DataSet, ...]:
    from d2lenv.data import table

    return table.choose(table.load(), chapters=chapters) if chapters else ()


@bundle.command(
    short_help=mark("Compare each file of a bundle with its size and sha256."),
    help=mark(
        "Compare each file of a bundle with its size and sha256. Exit status 1 if one is missing or damaged."
    ),
)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), metavar="DIR")
@shared.as_json
def verify(folder: Path, as_json: bool) -> int:
    from d2lenv.base.console import print_json
    from d2lenv.bundle import check, manifest, show

    known = manifest.read(folder)
    checked = check.check(folder, known, known.files)
    if as_json:
        print_json("bundle verify", checked.ok, asdict(checked))
    else:
        show.checked(checked, known, folder)
    return 0 if checked.ok else FAILED
