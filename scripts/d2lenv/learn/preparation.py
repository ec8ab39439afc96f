"""Every question before a lab's start: which environment, which folders, which address."""

from __future__ import annotations

import os
import secrets
import sys
import webbrowser
from collections.abc import Callable, Mapping
from pathlib import Path

from d2lenv.base.errors import USAGE, D2lEnvError
from d2lenv.base.messages import tr
from d2lenv.data import book, store
from d2lenv.learn import folders
from d2lenv.learn.address import check_host, free_port
from d2lenv.learn.lab import Lab, has_package, kernels
from d2lenv.prefix import locations, marker
from d2lenv.workspace.manifest import Workspace

START_NOTEBOOK = "00-start-here.ipynb"
"""A lab opens with it until it has a layout of its own to come back to."""


def find_or_build(workspace: Workspace, environment: str, say: Callable[[str], None]) -> Path:
    """Return the environment's prefix: the one that is there, or a new one.

    One that was built from an older lock is used as it is, and that is said: a lesson must not wait for a
    download that nobody asked for, and a classroom may have no network.

    Raises:
        D2lEnvError: if there is none and it cannot be built.
    """
    from d2lenv.engines import build, find
    from d2lenv.workspace import settings

    settings.get(workspace, environment)
    for engine, prefix in find.default_prefixes(workspace, environment):
        digest = marker.read(prefix).get("digest", "")
        if locations.interpreter(prefix).exists() and (digest or find.ENGINES[engine].IN_PLACE):
            if digest:
                _say_if_old(workspace, environment, engine, prefix, say)
            return prefix
    return build.build(workspace, environment, say=say).prefix


def _say_if_old(
    workspace: Workspace, environment: str, engine: str, prefix: Path, say: Callable[[str], None]
) -> None:
    from d2lenv.engines import find
    from d2lenv.workspace import lockfile

    try:
        platform = find.ENGINES[engine].platform(workspace, environment)
        wanted = find.wanted_digest(
            workspace, environment, platform, engine, lambda: lockfile.of(workspace), prefix
        )
    except D2lEnvError as error:  # nothing to compare with is no reason not to open a lab
        say(str(error))
        return
    if marker.read(prefix).get("digest") != wanted:
        say(
            tr(
                "{prefix} was built from an older lock; `d2lenv build {name}` brings it up to date",
                prefix=prefix,
                name=environment,
            )
        )


def check_has_lab(prefix: Path) -> None:
    """Check that there is a JupyterLab in ``prefix``.

    Raises:
        D2lEnvError: if there is none.
    """
    if not has_package(prefix, "jupyterlab"):
        raise D2lEnvError(
            tr("{prefix} has no JupyterLab", prefix=prefix),
            fix=tr("build one of ours with `d2lenv build`, or install `jupyterlab` there"),
        )


def can_open_browser(environ: Mapping[str, str]) -> bool:
    """Return whether there is a browser with a window; a text browser would take over the terminal."""
    if sys.platform.startswith("linux") and not any(
        environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER", "WSL_DISTRO_NAME")
    ):
        return False
    try:
        webbrowser.get()
    except webbrowser.Error:
        return False
    return True


def prepare(
    environment: str,
    prefix: Path,
    python: Path,
    root: Path,
    state: Path,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    browser: bool = True,
    devices: Path | None = None,
    environ: Mapping[str, str],
    say: Callable[[str], None],
) -> Lab:
    """Return the lab that is to be started, and say all that a reader should know before.

    Args:
        root: the folder to show.
        state: folder for the layout and the log; another is used if it is not this user's to write.

    Raises:
        D2lEnvError: if the lab cannot or must not be started.
    """
    check_has_lab(prefix)
    if not root.is_dir():
        raise D2lEnvError(
            tr("{path} is not a folder", path=root), fix=tr("name one with --notebooks"), status=USAGE
        )
    as_root = hasattr(os, "geteuid") and os.geteuid() == 0
    check_host(host, as_root, environ)
    if as_root:
        say(tr("running as root: the lab listens on this machine only"))
    state = folders.state(state)
    return Lab(
        environment=environment,
        prefix=prefix,
        python=python,
        kernels=kernels(prefix, environment),
        root=root,
        host=host,
        port=free_port(host, port),
        port_named=port is not None,
        token=environ.get("JUPYTER_TOKEN") or secrets.token_urlsafe(32),
        state=state,
        moved=_moved(root, state, environ, say),
        data=_data(root, state, environ, say),
        opens=_first_page(root, state),
        browser=browser and can_open_browser(environ),
        as_root=as_root,
        devices=devices,
    )


def _moved(root: Path, state: Path, environ: Mapping[str, str], say: Callable[[str], None]) -> dict[str, str]:
    """Return Jupyter's folders that have to be elsewhere; say that, and that notebooks cannot be saved."""
    home = state / "home"
    moved = folders.moved(environ, home)
    if moved:
        say(tr("your home folder cannot be written; Jupyter's settings go to {folder}", folder=home))
    if not folders.writable(root):
        say(tr("{folder} cannot be written: notebooks open, but cannot be saved there", folder=root))
    return moved


def _data(root: Path, state: Path, environ: Mapping[str, str], say: Callable[[str], None]) -> dict[str, str]:
    """Lay a book's data beside it; a lab whose data cannot be linked opens all the same."""
    try:
        return book.lay_out(root, store.place(None, environ), state / "torch", environ, say)
    except D2lEnvError as error:
        say(str(error))
        return {}


def _first_page(root: Path, state: Path) -> str:
    first_time = not any((state / "workspaces").glob("*"))
    return f"/lab/tree/{START_NOTEBOOK}" if first_time and (root / START_NOTEBOOK).exists() else "/lab"
