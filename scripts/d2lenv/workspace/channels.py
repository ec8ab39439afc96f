"""Do the channels answer from here, directly or through a mirror that the reader has configured?"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic
from urllib.parse import urlsplit

from d2lenv.base.messages import tr

CHANNEL_HOST = "https://conda.anaconda.org"
"""The host of a bare channel name. The lock always keeps this address: mirrors are the reader's own."""

TIMEOUT_S = 2.0
"""For all channels together: a person waits for this."""

# Every channel has the second one; a mirror may compress otherwise, or not at all.
_PROBES = ("noarch/repodata.json.zst", "noarch/repodata.json")


@dataclass(frozen=True)
class Answer:
    """The answer of a channel.

    Attributes:
        channel: its address.
        reason: why it does not serve, empty when it does.
        through: the address that answered: the channel's own or a mirror's.
    """

    channel: str
    reason: str
    through: str = ""


def channel_url(channel: str) -> str:
    """Return ``https://conda.anaconda.org/pytorch/`` of ``pytorch``; an address keeps its own host.

    Raises:
        ValueError: if it is neither a channel name nor an https address.
    """
    if re.fullmatch(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)*", channel):
        return f"{CHANNEL_HOST}/{channel}/"
    parts = urlsplit(channel)
    if parts.scheme not in ("https", "file", "http") or (parts.scheme != "file" and not parts.netloc):
        raise ValueError(channel)
    return channel.rstrip("/") + "/"


def mirrors() -> Mapping[str, Sequence[str]]:
    """Return channel address prefix → mirrors, from pixi's and rattler's configuration files.

    Empty with a py-rattler older than 0.26, which cannot read them, and when a file of them is damaged.
    """
    try:
        from rattler import Config
        from rattler.exceptions import ConfigError
    except ImportError:
        return {}
    try:
        return Config.load_from_default_locations("pixi").mirrors
    except ConfigError:
        return {}  # py-rattler names the file when it is to install from there


def ask(channels: Sequence[str], timeout_s: float = TIMEOUT_S) -> list[Answer]:
    """Ask every channel for its index's head, all at once.

    Args:
        channels: base addresses with a closing slash.
        timeout_s: seconds for the lot; a channel that has not answered by then does not serve.
    """
    configured = mirrors()
    answered: SimpleQueue[Answer] = SimpleQueue()

    def one(channel: str) -> None:
        through, reason = _first_that_answers(_addresses(channel, configured), timeout_s)
        answered.put(Answer(channel, reason, through))

    for channel in channels:
        # A name server that hangs cannot be interrupted: a daemon thread is left behind, even at the end.
        Thread(target=one, args=[channel], daemon=True).start()
    silence = tr("no answer within {seconds} s", seconds=f"{timeout_s:g}")
    answers = {channel: Answer(channel, f"{_shown(channel)}: {silence}") for channel in channels}
    end = monotonic() + timeout_s
    try:
        for _ in channels:
            answer = answered.get(timeout=max(0.0, end - monotonic()))
            answers[answer.channel] = answer
    except Empty:
        pass
    return list(answers.values())


def _addresses(channel: str, configured: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the addresses that rattler asks: the mirrors of the longest prefix, or the channel's own."""
    for prefix in sorted(configured, key=len, reverse=True):
        if channel.startswith(prefix.rstrip("/") + "/"):
            rest = channel[len(prefix.rstrip("/")) + 1 :]
            return [other.rstrip("/") + "/" + rest for other in configured[prefix]]
    return [channel]


def _first_that_answers(addresses: Sequence[str], timeout_s: float) -> tuple[str, str]:
    reason = tr("its mirror list is empty")
    for address in addresses:
        reason = _why_silent(address, timeout_s)
        if not reason:
            return address, ""
    return "", reason


def _why_silent(address: str, timeout_s: float) -> str:
    import urllib.error  # 12 ms that a build which asks no channel does without
    import urllib.request

    reason = ""
    for probe in _PROBES:
        request = urllib.request.Request(address.rstrip("/") + "/" + probe, method="HEAD")
        try:
            with urllib.request.urlopen(request, timeout=timeout_s):
                return ""
        except urllib.error.HTTPError as error:
            reason = f"HTTP {error.code}"
            if error.code != 404:
                break
        except (OSError, ValueError) as error:
            reason = str(getattr(error, "reason", error))
            if not address.startswith("file:"):
                break
    return f"{_shown(address)}: {reason}"


def _shown(address: str) -> str:
    """Return ``address`` without the name and password that a mirror's may carry."""
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
