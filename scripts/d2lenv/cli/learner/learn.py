"""The commands of a learner: lab and saved."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from d2lenv.base.messages import mark, tr
from d2lenv.cli import shared

if TYPE_CHECKING:
    from d2lenv.learn.library import Library
    from d2lenv.learn.server import RunningLab


@shared.command(
    short_help=mark("Open JupyterLab in an environment, on the notebooks."),
    help=mark(
        "Open JupyterLab of an environment (built first if there is none) on 127.0.0.1, in your browser, "
        "with the notebooks and the right kernel. Ctrl-C ends it and its kernels.\n\n"
        "Examples: d2lenv lab cuda, d2lenv lab zh --no-browser --port 9000"
    ),
)
@click.argument("environment", metavar="ENV", default="default")
@shared.built
@shared.option(
    "--notebooks",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help=mark("The folder to show (default: ours, notebooks/)."),
)
@shared.option(
    "--no-browser", is_flag=True, help=mark("Open no browser; print the address and the ssh line.")
)
@shared.option(
    "--port",
    type=click.IntRange(1, 65535),
    metavar="N",
    help=mark("This port or none (default: the first free one from 8888)."),
)
@shared.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help=mark("Listen on this address. Beyond loopback only with a token or password of yours."),
)
@shared.devices
@shared.option(
    "--json",
    "as_json",
    is_flag=True,
    help=mark("When ready, one JSON document with the address and the token."),
)
@click.pass_obj
def lab(
    place: shared.Place,
    environment: str,
    prefix: Path | None,
    folder: Path | None,
    no_browser: bool,
    port: int | None,
    host: str,
    devices: str | None,
    as_json: bool,
) -> int:
    from d2lenv.base.console import note
    from d2lenv.learn import preparation, server
    from d2lenv.prefix import locations
    from d2lenv.smoke.devices import chosen

    if prefix is None and environment == "default":
        _say_what_fits(place)
    prefix = (prefix or preparation.find_or_build(place.workspace(), environment, note)).absolute()
    root = place.root()
    lab = preparation.prepare(
        environment, prefix, locations.interpreter(prefix), (folder or root / "notebooks").absolute(),
        root / ".d2lenv" / "lab" / environment,
        host=host, port=port, browser=not no_browser, environ=os.environ, say=note,
        devices=chosen(place.root, environment, devices),
    )  # fmt: skip
    status = server.run(lab, os.environ, lambda running: _print_running(running, as_json))
    note(tr("the lab has ended, and its kernels with it"))
    return status


def _say_what_fits(place: shared.Place) -> None:
    """Say which environment would use this machine's GPU; costs nothing where there is no sign of one."""
    from d2lenv.base.console import note
    from d2lenv.doctor.probe import hardware

    if hardware.driver_signs(os.environ, place.root()):
        from d2lenv.doctor import fitting

        advice = fitting.for_this_machine(place.workspace())
        if advice.environment != "cpu":
            note(tr("{advice}; `d2lenv lab {name}` opens it", advice=advice, name=advice.environment))


def _print_running(running: RunningLab, as_json: bool) -> None:
    from d2lenv.base.console import print_json
    from d2lenv.learn import server

    if as_json:
        print_json("lab", True, running.as_json())
        sys.stdout.flush()
    else:
        server.show(running, os.environ)


@shared.command(
    short_help=mark("What #@save has kept of the book in the installed d2l."),
    help=mark(
        "List what the installed d2l keeps from the book: name, place, the section that defined it, and "
        "whether it needs the network. The files are read, not imported. With --notebook: which of your "
        "#@save cells are in the library, which differ from it, and which are yours.\n\n"
        "Examples: d2lenv saved Vocab, d2lenv saved --environment zh, d2lenv saved --notebook my.ipynb"
    ),
)
@click.argument("name", required=False)
@shared.option(
    "--environment", metavar="ENV", help=mark("Look into this environment, which has to be built.")
)
@shared.option(
    "--prefix",
    type=click.Path(file_okay=False, path_type=Path),
    help=mark("Look into this conda environment or virtual environment."),
)
@shared.option("--module", metavar="FRAMEWORK", help=mark("torch, tensorflow, mxnet … (default: torch)."))
@shared.option("--all", "every", is_flag=True, help=mark("All framework modules of the release."))
@shared.option(
    "--notebook",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=mark("Compare the #@save cells of this notebook with the library."),
)
@shared.as_json
@click.pass_obj
def saved(
    place: shared.Place,
    name: str | None,
    environment: str | None,
    prefix: Path | None,
    module: str | None,
    every: bool,
    notebook: Path | None,
    as_json: bool,
) -> None:
    from d2lenv.learn import library, saved

    if prefix is None:
        prefix = saved.find_prefix(place.workspace, environment, os.environ)
    found = library.read(prefix)
    if notebook is not None:
        _saved_notebook(found, notebook, module, as_json)
        return
    modules = list(found.modules) if every else [library.module_named(found, module or "torch")]
    _saved_entries(found, name, modules, as_json)


def _saved_notebook(library: Library, notebook: Path, module: str | None, as_json: bool) -> None:
    from d2lenv.base.console import print_json
    from d2lenv.learn import saved

    found = saved.compare(notebook, library, module)
    if as_json:
        marked = [asdict(cell) for cell in found]
        print_json("saved", True, {"d2l": library.version, "notebook": str(notebook), "marked": marked})
    else:
        saved.show_notebook(library, notebook, found)


def _saved_entries(library: Library, name: str | None, modules: list[str], as_json: bool) -> None:
    from d2lenv.base.console import print_json
    from d2lenv.learn import saved

    entries = (
        saved.find(library, name, modules)
        if name
        else tuple(entry for chosen in modules for entry in library.modules[chosen].entries)
    )
    if as_json:
        print_json("saved", True, saved.as_json(library, entries))
    elif name:
        saved.show_found(library, entries)
    else:
        saved.show(library, entries)
