"""A run of a book as one light HTML page: chapters, and every notebook with its class, figure and reason."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from markupsafe import Markup

from d2lenv import __version__
from d2lenv.base.messages import language, mark
from d2lenv.books.classes import EXPLANATIONS, NAMES
from d2lenv.books.front import BookRun
from d2lenv.books.show import chapters, counts
from d2lenv.books.store import Known
from d2lenv.smoke.page import code_of, names_of_languages, spans, template

BOOKS: Mapping[str, str] = {
    "en": mark("Dive into Deep Learning, English edition"),
    "zh": mark("Dive into Deep Learning, Chinese edition"),
    "dlwpt": mark("Deep Learning with PyTorch"),
    "": mark("a book of your own"),
}


def page(run: BookRun) -> str:
    """Return the run as one HTML page; figures and executed notebooks are files beside it."""
    return template("book.html.j2").render(
        run=run,
        title=BOOKS[run.subject.book],
        language=code_of(language()),
        languages=names_of_languages(),
        tool=__version__,
        started=f"{run.started:%Y-%m-%d %H:%M} UTC",
        chapters=chapters(run.results),
        counts=counts,
        names=NAMES,
        explanations=EXPLANATIONS,
        reason=_reason,
        address=quote,
        memory=max((known.memory for known in run.results), default=0),
        cpu_s=sum(known.cpu_s for known in run.results),
    )


def _reason(known: Known) -> Markup:
    return spans(known.reason, **known.values) if known.reason else Markup("")
