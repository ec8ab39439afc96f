"""User-facing text in the reader's language.

The English text stands in the code and is the key, as in gettext. Every other language is a folder of
``locale`` with .po files, one for each family of messages: a new folder is all that a new language takes. The
language is looked up each time that a text is shown. ``tests/base/test_messages.py`` fails when a translation
is missing, stale, or has other placeholders.
"""

from __future__ import annotations

import gettext
import os
from functools import cache
from pathlib import Path
from unicodedata import category

from d2lenv.base import catalogue

SOURCE_LANGUAGE = "en"
VARIABLE = "D2LENV_LANG"
"""The environment variable that chooses a language, also for the processes that are started."""

_FOLDER = Path(__file__).parents[1] / "locale"


@cache
def languages() -> tuple[str, ...]:
    """Return the languages that there are, as gettext writes them: ``en``, then the folders (``zh_CN``)."""
    return SOURCE_LANGUAGE, *sorted(entry.name for entry in _FOLDER.iterdir() if entry.is_dir())


def language() -> str:
    """Return the reader's: ``D2LENV_LANG``, else the locale (``LC_ALL``, ``LC_MESSAGES``, ``LANG``)."""
    names = (VARIABLE, "LC_ALL", "LC_MESSAGES", "LANG")
    return matching(next((value for name in names if (value := os.environ.get(name))), ""))


def matching(locale: str) -> str:
    """Return the language for a locale's name (``zh_CN.UTF-8``, ``zh``); English for an unknown one."""
    wanted = locale.partition(".")[0].partition("@")[0].replace("-", "_").lower()
    known = {name.lower(): name for name in languages()}
    same = (name for short, name in known.items() if short.partition("_")[0] == wanted.partition("_")[0])
    return known.get(wanted) or next(same, SOURCE_LANGUAGE)


@cache
def translations(language: str) -> gettext.NullTranslations:
    """Return the catalogue of a language, all families together."""
    if language == SOURCE_LANGUAGE:
        return gettext.NullTranslations()
    files = sorted((_FOLDER / language).glob("*.po"))
    return catalogue.compiled(file.read_text(encoding="utf-8") for file in files)


def tr(english: str, /, **values: object) -> str:
    """Return ``english`` in the reader's language with ``{placeholders}`` filled.

    A text without a translation is shown in English: a missing line must never hide a message.
    """
    template = translations(language()).gettext(english)
    return template.format(**values) if values else template


def trn(one: str, many: str, /, *, count: int, **values: object) -> str:
    """Return the form of a text for ``count`` things; the count fills ``{count}``."""
    return translations(language()).ngettext(one, many, count).format(count=count, **values)


def mark(english: str, /) -> str:
    """Return ``english`` as it is: :func:`translated` is called where it is shown."""
    return english


def translated(marked: str, /) -> str:
    """Return a text that was given by :func:`mark` in the reader's language."""
    return translations(language()).gettext(marked) if marked else ""


def each_language(english: str, /, **values: object) -> dict[str, str]:
    """Return ``english`` in every language at once, for a page whose reader chooses."""
    texts = {name: translations(name).gettext(english) for name in languages()}
    return {name: text.format(**values) if values else text for name, text in texts.items()}


def printable(text: str) -> str:
    r"""Return ``text`` without anything that a terminal would act on, and encodable as UTF-8.

    File names and metadata come from elsewhere: escape sequences, line ends, and marks that reverse the
    direction of writing are shown as ``\x1b``; undecodable bytes as ``\udc80``.
    """
    return "".join(
        c if c.isprintable() or category(c) == "Zs" else c.encode("unicode_escape").decode("ascii")
        for c in text
    )


def printable_lines(text: str) -> str:
    """Return ``text`` as :func:`printable` does, with its line ends and tabs."""
    return "\n".join(printable(line) for line in text.expandtabs().split("\n"))
