"""Wheels that an environment of conda packages has beside them: d2l where its recipe's pins do not fit.

conda-forge's d2l pins the numpy of its time, and as a PyPI dependency it would bring an index's addresses
into pixi.lock. So pip installs it without its requirements, by the hash of its release, from whatever index
or mirror the reader has. pip itself looks first: where it is there, nothing is asked of the network.
"""

from __future__ import annotations

import hashlib

from packaging.requirements import Requirement

from d2lenv.base.errors import USAGE, D2lEnvError
from d2lenv.base.messages import tr
from d2lenv.facts import d2l
from d2lenv.workspace.pins import Pin
from d2lenv.workspace.settings import Settings

FILE = "beside-conda.txt"
"""In the environment's folder below ``envs/``."""

PIP = (
    "pip",
    "install",
    "--disable-pip-version-check",
    "--no-deps",
    "--require-hashes",
    "--only-binary",
    ":all:",
    # What is compiled before the prefix has its place would name another one.
    "--no-compile",
    "--requirement",
)
"""The words that pixi's task, a build and a reader type before the file's name."""


def pins(settings: Settings) -> tuple[Pin, ...]:
    """Return the wheels of an environment's ``beside-conda``, with the hashes of their releases.

    Raises:
        D2lEnvError: if one of them is no release of d2l whose hash is known.
    """
    return tuple(_pin(text) for text in settings.beside)


def _pin(text: str) -> Pin:
    wanted = Requirement(text)
    version = next((one.version for one in wanted.specifier if one.operator == "=="), "")
    release = d2l.released(version) if wanted.name == "d2l" else None
    if release is None:
        raise D2lEnvError(
            tr("nothing is known of the wheel `{text}`", text=text),
            why=tr("`beside-conda` takes a release of d2l, as d2l==1.0.3"),
            status=USAGE,
        )
    return Pin(wanted.name, version, (release.wheel_sha256,))


def lines(found: tuple[Pin, ...]) -> tuple[str, ...]:
    """Return the lines that pip reads, sorted."""
    return tuple(sorted(f"{pin.name}=={pin.version} --hash=sha256:{pin.sha256[0]}" for pin in found))


def digest(locked: str, found: tuple[Pin, ...]) -> str:
    """Return the sha256 (hex) of a lock's digest and the wheels beside it: the former alone without any."""
    text = "\n".join([locked, *lines(found)])
    return hashlib.sha256(text.encode("utf-8")).hexdigest() if found else locked
