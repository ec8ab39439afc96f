"""The workspace, options that several commands have, and help that is translated when it is shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from d2lenv.base.messages import mark, tr, translated
from d2lenv.facts.engines import PACKAGES

if TYPE_CHECKING:
    from d2lenv.workspace.manifest import Workspace


_F = TypeVar("_F", bound=Callable[..., Any])


class _Translated:
    """An attribute that holds an English text and is read in the language of the moment."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = f"_english_{name}"

    def __get__(self, instance: object, owner: type) -> str | None:
        english: str | None = vars(instance)[self.name]
        return translated(english) if english else english

    def __set__(self, instance: object, english: str | None) -> None:
        vars(instance)[self.name] = english


class TranslatedOption(click.Option):
    """An option whose help is translated when it is shown."""

    help = _Translated()


class _Command(click.Command):
    help = _Translated()
    short_help = _Translated()


class Group(click.Group):
    """A group of commands whose help is translated when it is shown."""

    command_class = _Command
    help = _Translated()
    short_help = _Translated()

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """Return the option for help; click makes it before ``--lang`` is read."""
        found = super().get_help_option(ctx)
        if found is not None:
            found.help = tr("Show this message and exit.")
        return found


def option(*names: str, **attributes: Any) -> Callable[[_F], _F]:
    """Add an option, as ``click.option`` does; its help is given in English by ``mark("…")``."""
    return click.option(*names, cls=TranslatedOption, **attributes)


def command(name: str | None = None, **attributes: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a command, as ``click.command`` does; its texts are given in English by ``mark("…")``."""
    return click.command(name, cls=_Command, **attributes)


@dataclass(frozen=True)
class Place:
    """The folder that a command works in.

    Attributes:
        given: the folder that ``--workspace`` names, None without it.
    """

    given: Path | None

    def root(self) -> Path:
        """Return the folder with pixi.toml: the given one, else this one or the nearest above."""
        from d2lenv.workspace import manifest

        return self.given if self.given is not None else manifest.find(Path.cwd())

    def workspace(self) -> Workspace:
        """Return the contents of pixi.toml."""
        from d2lenv.workspace import manifest

        return manifest.load(self.root())


as_json = option("--json", "as_json", is_flag=True, help=mark("One JSON document on standard output."))

engine = option(
    "--engine",
    default="auto",
    show_default=True,
    metavar="|".join(["auto", *PACKAGES]),
    help=mark("Who builds it."),
)

pytorch = option(
    "--pytorch",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    metavar="auto|cpu|cuda",
    help=mark("The build of PyTorch in the wheels, where there are two (default: by this machine's GPU)."),
)

mirror = option(
    "--mirror",
    default="",
    metavar="URL",
    help=mark("A mirror of PyTorch's own host for the build that the package index does not have."),
)

devices = option(
    "--devices",
    type=click.Choice(["any", "book"]),
    envvar="D2LENV_DEVICES",
    metavar="any|book",
    help=mark(
        "d2l's GPU functions: with Apple's GPU and the CPU where there is no other (any), or as the book has "
        "them (book). Default: D2LENV_DEVICES, else as the environment says."
    ),
)

python = option("--python", type=click.Path(path_type=Path), help=mark("Interpreter for the wheels engine."))

built = option(
    "--prefix",
    type=click.Path(file_okay=False, path_type=Path),
    help=mark("Use this conda environment or virtual environment; build nothing."),
)

kernels = option(
    "--kernels", is_flag=True, help=mark("A kernel for each notebook, also where a fork would do.")
)

jobs = option(
    "--jobs",
    type=click.IntRange(min=1),
    metavar="N",
    help=mark("Notebooks at a time (default: by cores and memory)."),
)
