"""``d2lenv books``."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from d2lenv.base import signals
from d2lenv.base.errors import FAILED, USAGE, D2lEnvError
from d2lenv.base.messages import mark, tr, trn
from d2lenv.cli import shared

if TYPE_CHECKING:
    from d2lenv.books.front import Subject, Wish
    from d2lenv.smoke.interpreter import Interpreter


@click.group(cls=shared.Group, help=mark("The books' own notebooks."))
def books() -> None:
    pass


@books.command(
    "get",
    short_help=mark("Unpack a book's archive, or say where it is."),
    help=mark(
        "Unpack the notebooks of a book's archive that you have downloaded. Without FILE: say where the book "
        "says that it is. Nothing is downloaded, because no sha256 is known to check it with.\n\n"
        "Example: d2lenv books get en d2l-en-1.0.3.zip, then "
        "d2lenv smoke cuda --notebooks books/en --data DIR"
    ),
)
@click.argument("edition", type=click.Choice(["en", "zh"]))
@click.argument(
    "archive", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="[FILE]"
)
@shared.option(
    "--folder", type=click.Path(path_type=Path), help=mark("Where to unpack it (default: books/EDITION).")
)
@shared.option("--framework", default="pytorch", show_default=True, help=mark("Whose notebooks."))
@shared.as_json
@click.pass_obj
def books_get(
    place: shared.Place,
    edition: str,
    archive: Path | None,
    folder: Path | None,
    framework: str,
    as_json: bool,
) -> None:
    from d2lenv.base.console import print_json
    from d2lenv.learn import archives, books

    target, digest = archives.get(edition, archive, folder or place.root() / "books" / edition, framework)
    count, book = len(books.find(target)), archives.BOOKS[edition]
    if as_json:
        known = bool(book.sha256)
        data = {"folder": str(target), "notebooks": count, "sha256": digest, "sha256_known": known}
        print_json("books get", True, data)
    else:
        _show_book(target, count, book.d2l, digest)


def _show_book(target: Path, count: int, version: str, digest: str) -> None:
    from d2lenv.base.console import note

    click.echo(target)
    note(
        trn(
            "{count} notebook; it needs d2l {version}",
            "{count} notebooks; they need d2l {version}",
            count=count,
            version=version,
        )
    )
    note(tr("sha256 of the archive: {digest} (no known one to compare with)", digest=digest))


@books.command(
    "run",
    short_help=mark("Run every notebook of a book in an environment."),
    help=mark(
        "Run every notebook of a book in an environment and say of each why it did not pass: it needs data, "
        "or a GPU, or more time, the book is at fault, or we are. BOOK is en, zh or dlwpt (in books/BOOK) or "
        "a folder. A result is kept as long as the notebook, its data and the environment are the same, so a "
        "stopped run goes on where it was. Exit status 1 for what is ours to mend, and when notebooks are "
        "left.\n\n"
        "Examples: d2lenv books run en --env cuda, d2lenv books run en --only chapter_preliminaries"
    ),
)
@click.argument("book", metavar="BOOK")
@shared.option(
    "--env",
    "environment",
    default="default",
    show_default=True,
    metavar="ENV",
    help=mark("In this environment."),
)
@shared.built
@shared.option(
    "--only", multiple=True, metavar="NAME", help=mark("Only this chapter or notebook (repeatable).")
)
@shared.option(
    "--again",
    type=click.Choice(["failed", "all"]),
    help=mark("Also what has a result: what did not pass, or everything."),
)
@shared.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help=mark("The folder with the books' data (default: D2LENV_DATA, or your own)."),
)
@shared.option(
    "--extras",
    is_flag=True,
    help=mark(
        "Install what single chapters import (gpytorch, syne-tune, gym, imageio …) beside the environment."
    ),
)
@shared.option(
    "--cpu",
    "cpu_s",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help=mark("The most CPU seconds for a notebook; 0 for no limit."),
)
@shared.option(
    "--wall",
    "wall_s",
    type=click.FloatRange(min=0),
    default=900.0,
    show_default=True,
    metavar="SECONDS",
    help=mark("The most seconds for a notebook; 0 for no limit."),
)
@shared.option(
    "--memory",
    type=click.FloatRange(min=0.1),
    metavar="GIB",
    help=mark("The most memory for a notebook (default: its share of this machine's)."),
)
@shared.devices
@shared.jobs
@shared.kernels
@shared.option(
    "--report",
    "target",
    type=click.Path(file_okay=False, path_type=Path),
    help=mark("Folder for results and report (default: reports/books-BOOK-ENV)."),
)
@shared.as_json
@click.pass_obj
def books_run(
    place: shared.Place,
    /,
    book: str,
    environment: str,
    prefix: Path | None,
    data: Path | None,
    target: Path | None,
    devices: str | None,
    extras: bool,
    as_json: bool,
    **how: Any,
) -> int:
    from d2lenv.base import console
    from d2lenv.books import front, report, show
    from d2lenv.smoke.devices import chosen
    from d2lenv.smoke.report import choose_folder

    folder = _book_folder(place, book)
    target = choose_folder(target, place.root, f"books-{folder.name}-{environment}", console.note)
    asked = _subject(place, folder, environment, prefix, data)
    asked = replace(asked, devices=chosen(place.root, environment, devices))
    if extras:
        asked = _with_extras(place, asked)
    done = front.run(asked, _wish(**how), target, console.note, show.progress)
    report.write(done, target)
    console.print_document(report.as_dict(done)) if as_json else show.show(done, target)
    if done.interrupted:
        return signals.exit_status()
    return FAILED if done.failed or done.left else 0


def _book_folder(place: shared.Place, book: str) -> Path:
    from d2lenv.learn.archives import BOOKS

    folder = place.root() / "books" / book if book in BOOKS else Path(book)
    if not folder.is_dir():
        raise D2lEnvError(
            tr("{path} is not a folder", path=folder),
            fix=tr("`d2lenv books get {book}` says where the book is", book=book) if book in BOOKS else "",
            status=USAGE,
        )
    return folder.absolute()


def _wish(
    cpu_s: float, wall_s: float, memory: float | None, again: str | None, only: tuple[str, ...], **how: Any
) -> Wish:
    from d2lenv.books.front import Wish
    from d2lenv.smoke.execution.limits import Limits

    limits = Limits(
        cpu_s=cpu_s or None, wall_s=wall_s or None, memory=int(memory * 2**30) if memory else None
    )
    return Wish(limits, again=again or "", only=only, **how)  # type: ignore[arg-type]


def _subject(
    place: shared.Place, folder: Path, environment: str, prefix: Path | None, data: Path | None
) -> Subject:
    from d2lenv.base.console import note
    from d2lenv.books import front
    from d2lenv.data import store
    from d2lenv.doctor.probe import hardware
    from d2lenv.engines import build
    from d2lenv.smoke import interpreter

    if prefix is None:
        prefix = build.build(place.workspace(), environment, say=note).prefix
    python = interpreter.interpreter_of(prefix)
    fingerprint = _fingerprint(place, environment, prefix, interpreter.describe(python))
    gpus = len(hardware.look(os.environ, prefix).devices)
    return front.subject(folder, environment, python, fingerprint, store.place(data, os.environ), gpus)


def _with_extras(place: shared.Place, asked: Subject) -> Subject:
    from d2lenv.base.console import note
    from d2lenv.books import extras

    found = extras.install(asked.environment, asked.python, place.root() / ".d2lenv" / "extras", note)
    return replace(asked, extra=found.folder, extra_packages=found.packages)


def _fingerprint(place: shared.Place, environment: str, prefix: Path, python: Interpreter) -> str:
    """Return the environment's fingerprint; of one that is none of ours, a digest of its packages."""
    from d2lenv.verify import fingerprint

    with suppress(D2lEnvError):
        return fingerprint.of_prefix(place.workspace(), prefix, environment)[1].digest
    lines = [f"{name} {version}\n" for name, version in sorted(python.packages.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
