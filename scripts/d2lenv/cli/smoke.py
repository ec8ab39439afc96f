"""``d2lenv smoke``."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from d2lenv.base import signals
from d2lenv.base.errors import FAILED, D2lEnvError
from d2lenv.base.messages import mark, tr
from d2lenv.cli import shared

if TYPE_CHECKING:
    from d2lenv.smoke.results import SmokeRun
    from d2lenv.smoke.run import Chosen
    from d2lenv.workspace.pins import Difference


_BUILD = ("engine", "python", "pytorch", "mirror")
"""Options that are the build's."""


@shared.command(
    short_help=mark("Run the notebooks in an environment and report."),
    help=mark(
        "Run the notebooks in an environment's own kernel, several at a time, and write what they prove to "
        "reports/ENV: a page (report.html), JUnit XML, result.json and the executed notebooks. Exit status 1 "
        "when something failed.\n\n"
        "Example: d2lenv smoke cuda --prefix .d2lenv/cuda-wheels --notebook 02-gpu-tensor-op"
    ),
)
@click.argument("environment", metavar="ENV")
@shared.option(
    "--prefix",
    type=click.Path(file_okay=False, path_type=Path),
    help=mark("Run in this conda environment or virtual environment."),
)
@shared.engine
@shared.python
@shared.pytorch
@shared.mirror
@shared.option(
    "--notebook", "names", multiple=True, metavar="NAME", help=mark("Run only this notebook (repeatable).")
)
@shared.option(
    "--notebooks",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help=mark("Run the notebooks of this folder, a book's with its chapters (default: ours, notebooks/)."),
)
@shared.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help=mark("With --notebooks: where d2l.download finds its files, instead of ../data."),
)
@shared.option("--require-gpu", is_flag=True, help=mark("What needs a GPU and finds none has failed."))
@shared.option(
    "--cell-timeout",
    "cell_timeout_s",
    type=click.IntRange(min=1),
    default=600,
    show_default=True,
    metavar="SECONDS",
    help=mark("The most seconds for one cell."),
)
@shared.kernels
@shared.devices
@shared.jobs
@shared.option(
    "--report",
    "asked",
    type=click.Path(file_okay=False, path_type=Path),
    help=mark("Folder for the report (default: reports/ENV)."),
)
@shared.as_json
@click.pass_obj
def smoke(
    place: shared.Place,
    /,
    environment: str,
    asked: Path | None,
    folder: Path | None,
    as_json: bool,
    **how: Any,
) -> int:
    from d2lenv.base import console
    from d2lenv.smoke import devices, report

    if how["data"] is not None and folder is None:
        raise click.UsageError(tr("--data goes with --notebooks"))
    with tempfile.TemporaryDirectory(prefix="d2lenv-smoke-", ignore_cleanup_errors=True) as scratch:
        chosen = _choose(place, folder, how.pop("names"), how.pop("data"), Path(scratch))
        name = environment if folder is None else f"{environment}-{folder.resolve().name}"
        target = report.choose_folder(asked, place.root, name, console.note)
        report.refuse_overwriting(target, chosen.paths)
        prefix, differences = _environment(
            place, environment, how.pop("prefix"), **{name: how.pop(name) for name in _BUILD}
        )
        how["devices"] = devices.chosen(place.root, environment, how["devices"])
        done = _run(prefix, chosen, Path(scratch), folder is None, **how)
        target = target if asked else report.beside_the_full_one(target, done)
        done = report.write(done, environment, target, differences)
    report.show_document(done, environment, differences) if as_json else report.show(done, target)
    return signals.exit_status() if done.interrupted else FAILED if done.failed else 0


def _environment(
    place: shared.Place, environment: str, prefix: Path | None, **how: Any
) -> tuple[Path, tuple[Difference, ...]]:
    """Return the prefix, built where none was given, and where its wheels differ from the lock."""
    from d2lenv.base.console import note
    from d2lenv.engines import build, find

    if prefix is None:
        built = build.build(place.workspace(), environment, say=note, **how)
        return built.prefix, built.differences
    # Outside a workspace, or in one without this environment, there is nothing to compare with.
    with suppress(D2lEnvError):
        return prefix, find.differences_in(prefix, place.root())
    return prefix, ()


def _choose(
    place: shared.Place, folder: Path | None, names: Sequence[str], data: Path | None, scratch: Path
) -> Chosen:
    """Return the notebooks to run; a book's are laid out in ``scratch``."""
    from d2lenv.learn import books
    from d2lenv.smoke import notebooks
    from d2lenv.smoke.run import Chosen

    if folder is not None and (data is not None or books.has_chapters(folder)):
        return Chosen(books.stage(folder, names, data, scratch), folder, len(books.find(folder)))
    folder = folder or place.root() / "notebooks"
    return Chosen(notebooks.find(folder, names), folder, len(notebooks.find(folder)))


def _run(prefix: Path, chosen: Chosen, scratch: Path, ours: bool, **how: Any) -> SmokeRun:
    """Run the notebooks; in a reader's own, a missing network is no failure."""
    from dataclasses import replace

    from d2lenv.learn import books
    from d2lenv.smoke import interpreter, report, run

    how["limits"] = replace(run.LIMITS, cell_s=how.pop("cell_timeout_s"))
    if not ours:
        how["revise"] = books.revise
    with report.progress(len(chosen.paths)) as on_event:
        return run.run(interpreter.interpreter_of(prefix), chosen, scratch, on_event=on_event, **how)
