"""A run as one HTML page for people: no script, no address, figures inside, in all languages at once.

All that comes from a notebook is shown as text or as an inert image, whatever it says it is.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import nbformat
from markupsafe import Markup

from d2lenv import __version__
from d2lenv.base.messages import each_language, language, mark, trn
from d2lenv.smoke.results import MAIN_PACKAGES, SmokeRun, not_checked, plain
from d2lenv.workspace.pins import Difference

EXECUTED = "notebooks"
"""The folder of the executed notebooks, beside the page."""

_PRINTED_CHARACTERS = 20_000


@dataclass(frozen=True)
class Outputs:
    """The outputs of an executed notebook, ready for the page."""

    figures: tuple[str, ...] = ()
    """``data:`` addresses."""
    printed: str = ""
    errors: str = ""


def page(run: SmokeRun, environment: str, differences: Sequence[Difference] = ()) -> str:
    """Return the run as one HTML page."""
    packages = run.interpreter.packages
    return template("report.html.j2").render(
        run=run,
        environment=environment,
        language=code_of(language()),
        languages=names_of_languages(),
        tool=__version__,
        started=f"{run.started:%Y-%m-%d %H:%M} UTC",
        counts=_counts(run),
        not_checked=not_checked(run),
        versions={name: packages[name] for name in MAIN_PACKAGES if name in packages},
        packages=packages,
        differences=differences,
        outputs={one.name: outputs(one.executed) if one.executed else Outputs() for one in run.notebooks},
        executed=EXECUTED,
    )


def template(name: str, texts: Callable[[str], Markup] | None = None) -> jinja2.Template:
    """Return a template of a page, with ``t`` for texts in all languages.

    Args:
        texts: makes them; the usual way without it.
    """
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("d2lenv"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    templates.globals["t"] = texts or spans
    return templates.get_template(name)


def _counts(run: SmokeRun) -> dict[str, int]:
    words = ("passed", "failed", "not-checked", "not-applicable", "stopped")
    return {word: sum(notebook.status == word for notebook in run.notebooks) for word in words}


def code_of(name: str) -> str:
    """Return a language as HTML calls it: ``zh-CN``."""
    return name.replace("_", "-")


def names_of_languages() -> dict[str, str]:
    """Return each language's code and its own name for itself."""
    return {code_of(name): text for name, text in each_language(mark("English")).items()}


def spans(english: str, **values: object) -> Markup:
    """Return a text in all languages, of which the page shows one."""
    # Markup.format escapes the values; the texts themselves are ours.
    return Markup("").join(
        Markup('<span lang="{}">{}</span>').format(code_of(name), Markup(text).format(**values))  # noqa: S704 - ours; values are escaped
        for name, text in each_language(english).items()
    )


def outputs(path: Path) -> Outputs:
    """Return the figures and the text of an executed notebook."""
    figures: list[str] = []
    printed: list[str] = []
    errors: list[str] = []
    for cell in nbformat.reads(path.read_text(encoding="utf-8"), as_version=4).cells:
        for output in cell.get("outputs", []):
            if output.output_type == "stream":
                (errors if output.name == "stderr" else printed).append(plain(output.text))
            elif output.output_type in ("display_data", "execute_result"):
                figure = _figure(output.data)
                if figure:
                    figures.append(figure)
                else:
                    printed.append(plain(str(output.data.get("text/plain", ""))) + "\n")
    return Outputs(tuple(figures), _shortened("".join(printed)), _shortened("".join(errors)))


def _figure(data: Mapping[str, Any]) -> str:
    """Return an image as a ``data:`` address, or nothing. An SVG in <img> cannot run scripts."""
    if "image/svg+xml" in data:
        raw = b64encode(str(data["image/svg+xml"]).encode("utf-8", "replace")).decode("ascii")
        return f"data:image/svg+xml;base64,{raw}"
    for kind in ("image/png", "image/jpeg"):
        if kind in data:
            raw = re.sub(r"[^A-Za-z0-9+/=]", "", str(data[kind]))
            return f"data:{kind};base64,{raw}"
    return ""


def _shortened(text: str) -> str:
    if len(text) <= _PRINTED_CHARACTERS:
        return text
    left = len(text) - _PRINTED_CHARACTERS
    return text[:_PRINTED_CHARACTERS] + trn(
        "\n… {count} more character in the notebook",
        "\n… {count} more characters in the notebook",
        count=left,
    )
