"""The table as documents: docs/errors.md in each language, and one page for the browser."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from markupsafe import Markup

from d2lenv.base.messages import each_language, languages, mark, tr, translated, translations
from d2lenv.explain import match, rows
from d2lenv.explain.rows import SHELL, Cause, Row
from d2lenv.smoke.page import template


def sections() -> Iterator[str]:
    """Yield the lines of docs/errors.md, in the language of the moment."""
    family = ""
    for row in rows.load():
        if row.family != family:
            family = row.family
            yield f"## {family}"
            yield ""
        yield from _section(row)


def _section(row: Row) -> Iterator[str]:
    yield f"### {row.name}"
    yield ""
    yield "```text"
    yield row.example
    yield "```"
    yield ""
    for number, cause in enumerate(row.causes):
        label = tr("cause") if number == 0 else tr("or")
        yield f"- {label}: {translated(cause.why)}"
        yield from (f"  - {_step(step)}" for step in cause.steps)
    yield ""
    codes = sorted({code for cause in row.causes for code in cause.codes})
    about = [row.versions, f"[{tr('source')}]({row.source})", ", ".join(codes)]
    yield " · ".join(part for part in about if part)
    yield ""


def _step(step: str) -> str:
    return f"`{step.removeprefix(SHELL)}`" if step.startswith(SHELL) else translated(step)


def page() -> str:
    """Return the page that explains in the browser: one file that loads and sends nothing."""
    page = template("explain.html.j2", _spans).render(
        languages={_code(name): text for name, text in each_language(mark("English")).items()},
        rows=[_row(row) for row in rows.load()],
        head=match.HEAD,
        tail=match.TAIL,
        window=match.WINDOW,
        tries=match.TRIES,
        quotes=match.QUOTES,
        changed=Markup("").join(f"\\u{ord(c):04x}" for c in (*match.QUOTES, *match.FRAMES)),
    )
    return page + "\n"


def _row(row: Row) -> Mapping[str, Any]:
    return {
        "name": row.name,
        "general": row.general,
        "versions": row.versions,
        "source": row.source,
        "find": [[javascript(pattern.expression), pattern.literal] for pattern in row.patterns],
        "causes": [_cause(cause) for cause in row.causes],
    }


def _cause(cause: Cause) -> Mapping[str, Any]:
    return {
        "why": _texts(cause.why),
        "steps": [
            {"command": step.removeprefix(SHELL)} if step.startswith(SHELL) else {"text": _texts(step)}
            for step in cause.steps
        ],
    }


def javascript(expression: str) -> str:
    """Return a pattern as JavaScript writes it: only the names of groups differ."""
    return re.sub(r"\(\?P<", "(?<", expression)


def _texts(english: str) -> dict[str, str]:
    # each_language() would take the braces of a text for placeholders that are filled now.
    return {_code(name): translations(name).gettext(english) for name in languages()}


def _code(name: str) -> str:
    return name.replace("_", "-")


def _spans(english: str, **values: object) -> Markup:
    return Markup("").join(
        Markup('<span lang="{}">{}</span>').format(_code(name), text)
        for name, text in each_language(english, **values).items()
    )
