"""``d2lenv data``: list, get, check, serve."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from d2lenv.base.errors import FAILED
from d2lenv.base.messages import mark, tr
from d2lenv.cli import shared

if TYPE_CHECKING:
    from d2lenv.data.table import DataSet, Table

_BOOKS = ("en", "zh", "dlwpt")


@click.group(
    cls=shared.Group,
    help=mark("The books' data: fetched once, checked, and shared by all runs and labs of this machine."),
)
def data() -> None:
    pass


_folder = shared.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help=mark("The shared folder (default: D2LENV_DATA, else one in your own data folder)."),
)
_book = shared.option("--book", type=click.Choice(_BOOKS), help=mark("Only what this book's notebooks need."))
_only = shared.option(
    "--only",
    "chapters",
    multiple=True,
    metavar="CHAPTER",
    help=mark("Only what this chapter needs, as computer-vision (repeatable)."),
)


def _place(folder: Path | None) -> Path:
    from d2lenv.data import store

    return store.place(folder, os.environ)


def _chosen(
    names: Sequence[str], book: str | None, chapters: Sequence[str]
) -> tuple[Table, tuple[DataSet, ...]]:
    from d2lenv.data import table

    known = table.load()
    return known, table.choose(known, names=names, book=book, chapters=chapters)


@data.command(
    "list",
    short_help=mark("Which data sets there are, and which are here."),
    help=mark(
        "List the data sets that the books' notebooks need: size, chapters, and whether they are here.\n\n"
        "Examples: d2lenv data list --book en, d2lenv data list --only computer-vision"
    ),
)
@_folder
@_book
@_only
@shared.as_json
def data_list(folder: Path | None, book: str | None, chapters: Sequence[str], as_json: bool) -> None:
    from d2lenv.base.console import print_json
    from d2lenv.data import show, store

    place = _place(folder)
    known, sets = _chosen((), book, chapters)
    states = store.states(place, store.files_of(sets))
    if as_json:
        print_json("data list", True, show.list_document(known, sets, states, place))
    else:
        show.listed(known, sets, states, place)


@data.command(
    "get",
    short_help=mark("Fetch data sets that are not here."),
    help=mark(
        "Fetch the data sets of these names, or those that a book or a chapter needs: several files at a "
        "time, resumed after a break, each checked by its digest before it gets its name. With --from, a "
        "folder (a USB stick) or an address (`d2lenv data serve`, a mirror) is asked instead of the "
        "Internet.\n\n"
        "Examples: d2lenv data get fra-eng, d2lenv data get --book en --only computer-vision, "
        "d2lenv data get --from http://192.168.1.10:8008"
    ),
)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@_folder
@_book
@_only
@shared.option(
    "--from",
    "origins",
    multiple=True,
    metavar="DIR|URL",
    help=mark("Ask this folder or mirror (repeatable)."),
)
@shared.option(
    "--jobs",
    type=click.IntRange(1, 16),
    default=4,
    show_default=True,
    metavar="N",
    help=mark("Files at a time."),
)
@shared.as_json
def data_get(
    names: Sequence[str],
    folder: Path | None,
    book: str | None,
    chapters: Sequence[str],
    origins: Sequence[str],
    jobs: int,
    as_json: bool,
) -> int:
    from d2lenv.base.console import note, print_json
    from d2lenv.data import get, show, sources, store

    place = _place(folder)
    if names and (book or chapters):
        raise click.UsageError(tr("give names, or --book and --only"))
    files = store.files_of(_chosen(names, book, chapters)[1])
    with show.progress() as on_progress:
        done = get.get(
            place, files, sources.origin(origins), say=note, jobs=jobs, on_progress=on_progress,
            on_plan=lambda wanted: show.planned(wanted, place),
        )  # fmt: skip
    if as_json:
        print_json("data get", not done.failed, show.get_document(done, place))
    else:
        show.got(done, place)
    return FAILED if done.failed else 0


@data.command(
    "check",
    short_help=mark("Read every file and compare its digest."),
    help=mark(
        "Read every file of the shared folder and compare its digest with the table. Exit status 1 when one "
        "is damaged; missing files and files of your own are named.\n\n"
        "Example: d2lenv data check --book en"
    ),
)
@_folder
@_book
@_only
@shared.as_json
def data_check(folder: Path | None, book: str | None, chapters: Sequence[str], as_json: bool) -> int:
    from d2lenv.base.console import print_json
    from d2lenv.data import show, store

    place = _place(folder)
    known, sets = _chosen((), book, chapters)
    wanted = sets if book or chapters else known.sets
    with show.reading(store.files_of(wanted)) as on_file:
        found = store.check(place, store.files_of(wanted), store.files_of(known.sets), on_file)
    damaged = bool(found.of("damaged"))
    if as_json:
        print_json("data check", not damaged, show.check_document(found, place))
    else:
        show.checked(found, place)
    return FAILED if damaged else 0


@data.command(
    "serve",
    short_help=mark("Give the data to other computers."),
    help=mark(
        "Serve the files of the table that lie in DIR (default: the shared folder), whatever they are called "
        "there. On this machine only, unless --host names an address of the network: 0.0.0.0 is all of them. "
        "Ctrl-C ends it.\n\nExample: d2lenv data serve --host 0.0.0.0"
    ),
)
@click.argument(
    "folder", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="[DIR]"
)
@shared.option("--host", default="127.0.0.1", show_default=True, help=mark("Listen on this address."))
@shared.option(
    "--port", type=click.IntRange(0, 65535), default=8008, show_default=True, help=mark("0 takes a free one.")
)
@shared.as_json
def data_serve(folder: Path | None, host: str, port: int, as_json: bool) -> None:
    from d2lenv.data import serve, sources, store, table

    place = _place(folder)
    found = sources.find_in(place, store.files_of(table.load().sets))
    serve.serve(found, host, port, _ready(place, host, len(found), as_json))


def _ready(place: Path, host: str, count: int, as_json: bool) -> Callable[[int], Any]:
    from d2lenv.base.console import print_json
    from d2lenv.data import serve, show

    def on_ready(port: int) -> None:
        urls = serve.addresses(host, port)
        if as_json:
            print_json(
                "data serve", True, {"folder": str(place), "files": count, "addresses": urls, "port": port}
            )
        else:
            show.serving(place, count, urls)

    return on_ready
