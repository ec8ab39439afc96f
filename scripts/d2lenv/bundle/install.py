"""The scripts with which a bundle installs itself, in sh and PowerShell, and the sums they check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import PurePosixPath

import jinja2
from packaging.version import Version

from d2lenv.bundle.manifest import Carried, File
from d2lenv.facts import platforms

_SCRIPTS = {"install.sh": "\n", "install.ps1": "\r\n"}
"""Name → the ends of its lines."""

_SUMS = "SHA256SUMS"
OLDEST_FOR_THE_TOOL = "3.10"
"""The oldest Python that run.py takes."""

NAMES = (*_SCRIPTS, *(f"{_SUMS}-{platform}" for platform in platforms.ROWS))
"""Every file that this module writes into a bundle."""


def sums_name(platform: str) -> str:
    """Return the name of the file with the sums of what a platform needs."""
    return f"{_SUMS}-{platform}"


def sums(files: Sequence[File], carried: Sequence[Carried]) -> dict[str, str]:
    """Return platform → the text of its sums, as ``sha256sum --check`` reads it."""
    return {
        one.platform: "".join(f"{file.sha256}  {file.path}\n" for file in files if file.is_for(one.platform))
        for one in carried
    }


def texts(carried: Sequence[Carried], interpreters: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return name → text of the install scripts.

    Args:
        interpreters: platform → the archives of its Pythons.
    """
    folder = resources.files("d2lenv") / "templates"
    engine = jinja2.Environment(  # noqa: S701 - they are programs, and every value is a name that we made
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True, trim_blocks=True, lstrip_blocks=True
    )
    found = {}
    for name, end in _SCRIPTS.items():
        template = engine.from_string((folder / f"bundle-{name}.j2").read_text(encoding="utf-8"))
        text = template.render(
            machines=[
                _machine(platform, carried, interpreters.get(platform, ()))
                for platform in _platforms(carried)
            ]
        )
        found[name] = text.replace("\n", end)
    return found


def _platforms(carried: Sequence[Carried]) -> list[str]:
    return list(dict.fromkeys(one.platform for one in carried))


def _machine(platform: str, carried: Sequence[Carried], archives: Sequence[str]) -> dict[str, object]:
    row = platforms.row(platform)
    here = [one for one in carried if one.platform == platform]
    fitting = [archive for archive in archives if runs_the_tool(_release(archive))]
    return {
        "platform": platform,
        "system": row.system.name,
        "machine": row.machine,
        "sums": sums_name(platform),
        "archives": archives,
        "tool": PurePosixPath(max(fitting, key=lambda one: Version(_release(one)))).stem if fitting else "",
        "environments": [
            {"name": one.environment, "python": PurePosixPath(one.interpreter).stem, "version": one.python}
            for one in here
        ],
    }


def runs_the_tool(python: str) -> bool:
    """Return whether the tool runs on a version of Python, as ``3.10`` or ``3.10.13``."""
    return Version(python) >= Version(OLDEST_FOR_THE_TOOL)


def _release(archive: str) -> str:
    """Return the release of a Python by the name of its archive."""
    return PurePosixPath(archive).name.split("-")[1]
