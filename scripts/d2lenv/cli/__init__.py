"""The commands: options and exit codes, nothing else.

click takes its own words ("Usage", "No such option") from :func:`gettext.gettext`, which finds a catalogue
by the locale's variables and in compiled files alone. So that they follow ``--lang`` and ``D2LENV_LANG``,
gettext's two functions are replaced before click is imported (looked at in click 8.1 to 8.5, 2026-11-24).
"""

import gettext

from d2lenv.base import messages


def _gettext(message: str) -> str:
    return messages.translations(messages.language()).gettext(message)


def _ngettext(msgid1: str, msgid2: str, n: int) -> str:
    return messages.translations(messages.language()).ngettext(msgid1, msgid2, n)


gettext.gettext, gettext.ngettext = _gettext, _ngettext
