"""User-facing text in English and Simplified Chinese.

The English text is the key, as in gettext; the Chinese one stands in ``locale/zh_CN/*.json``, a file
for each family of messages. ``tests/test_messages.py`` reads every ``tr("…")`` in the source and fails
when a translation is missing, stale, or has other placeholders. JSON instead of gettext's ``.mo``
because a compiled catalogue would be a second file to keep in step.
"""

from __future__ import annotations

import json
import os
from functools import cache
from importlib import resources
from typing import Literal
from unicodedata import category

Language = Literal["en", "zh"]


def language() -> Language:
    """The reader's language: ``D2LENV_LANG``, else the locale (``LC_ALL``, ``LC_MESSAGES``, ``LANG``)."""
    chosen = os.environ.get("D2LENV_LANG", "")
    if not chosen:
        chosen = next(
            (value for name in ("LC_ALL", "LC_MESSAGES", "LANG") if (value := os.environ.get(name))), ""
        )
    return "zh" if chosen.lower().startswith("zh") else "en"


@cache
def chinese() -> dict[str, str]:
    """English text → Chinese text, all families together."""
    catalogue: dict[str, str] = {}
    folder = resources.files("d2lenv") / "locale" / "zh_CN"
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if file.name.endswith(".json"):
            catalogue.update(json.loads(file.read_text(encoding="utf-8")))
    return catalogue


def tr(english: str, /, **values: object) -> str:
    """``english`` in the reader's language with ``{placeholders}`` filled.

    A text without a translation is shown in English: a missing line must never hide a message.
    """
    template = chinese().get(english, english) if language() == "zh" else english
    return template.format(**values) if values else template


def both(english: str, /, **values: object) -> dict[Language, str]:
    """``english`` in every language at once, for a page whose reader chooses."""
    texts: dict[Language, str] = {"en": english, "zh": chinese().get(english, english)}
    return {name: text.format(**values) if values else text for name, text in texts.items()}


def printable(text: str) -> str:
    r"""``text`` without anything that a terminal would act on, and encodable as UTF-8.

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
