"""d2l is wanted by the notebooks of this folder and is not in the environment."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

from d2lenv.base.messages import tr
from d2lenv.doctor import fixes
from d2lenv.doctor.model import Command, Context, Found, Problem
from d2lenv.doctor.rules import plan
from d2lenv.facts import d2l as releases
from d2lenv.facts.pytorch import releases as matrix
from d2lenv.prefix.contents.text import exists


def d2l_missing(context: Context) -> Iterator[Problem]:
    """The notebooks in this folder import d2l, and it is not installed here: `No module named 'd2l'`. Often
    it is installed for another Python, because the `pip` of the prompt was that one's. `python -m pip`, with
    the Python that runs the notebooks, installs for that Python."""
    prefix = context.prefix
    if not context.notebooks or prefix.find("d2l") or "d2l" in prefix.modules or prefix.kind == "unknown":
        return
    if any(path.name == "d2l" for path in context.beside):
        return  # the book's own folder
    runs = context.version("torch") or prefix.find("ipykernel") is not None
    if not runs or prefix.find("d2lenv") is not None:
        return
    edition: releases.Edition = "zh" if _chinese(context) else "en"
    elsewhere = [Found(tr("installed for another Python"), "", str(path)) for path in _elsewhere(context)]
    yield Problem(
        "error" if context.active or context.version("torch") else "warning",
        tr("the notebooks here need d2l, which this environment does not have"),
        "d2l",
        (*(Found(item.file.name, "", str(item.file)) for item in context.notebooks[:2]), *elsewhere),
        (_bring(context, releases.newest(edition)),),
    )


def _chinese(context: Context) -> bool:
    """Return True if more of the notebooks use what only the Chinese edition has."""
    zh = sum(bool(item.names & releases.ONLY["zh"]) for item in context.notebooks)
    return zh > sum(bool(item.names & releases.ONLY["en"]) for item in context.notebooks)


def _bring(context: Context, version: str) -> Command:
    release, prefix = releases.RELEASES[version], context.prefix
    if plan.pins_without_wheels(release, prefix.python_minor, prefix.platform):
        return fixes.other_python(context, plan.python_for(release, prefix.platform))
    torch = () if context.version("torch") else _pair(release.torch, prefix.python_minor)
    command = fixes.pip_install(context, *torch, f"d2l=={version}")
    # d2l takes its pins along.
    pins = tuple(f"{name}=={pin}" for name, pin in release.pins.items())
    return dataclasses.replace(command, installs=(*command.installs, *pins) if command.installs else ())


def _pair(book: tuple[str, str, str], python: str) -> tuple[str, ...]:
    torch, vision, _ = book
    return (
        (f"torch=={torch}", f"torchvision=={vision}") if not python or matrix.made_for(torch, python) else ()
    )


def _elsewhere(context: Context) -> Iterator[Path]:
    """Yield where d2l lies for another Python: the user's folder, the base of this one, beside this one."""
    roots = [context.home / ".local" / "lib", context.prefix.path / "lib"]
    if base := context.prefix.config.get("home", ""):
        roots.append(Path(base).parent / "lib")
    for root in roots:
        try:
            folders = sorted(p for p in root.iterdir() if re.fullmatch(r"python3\.\d+", p.name))
        except (OSError, ValueError):
            continue
        yield from (f / "site-packages" / "d2l" for f in folders if exists(f / "site-packages" / "d2l"))
