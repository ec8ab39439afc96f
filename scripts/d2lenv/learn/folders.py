"""The folders of the lab and of Jupyter: this user's alone, because the token lies there."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import platformdirs

from d2lenv.base.errors import D2lEnvError
from d2lenv.base.files import private_folder, short_folder

RUNTIME = "JUPYTER_RUNTIME_DIR"
"""The variable of the folder with the token and the kernels' sockets."""


TEMPORARY = "D2LENV_TEMPORARY"
"""The variable of a folder that ends with the lab; guard.py removes it if the lab cannot any more."""


def state(preferred: Path) -> Path:
    """Return ``preferred``, or a folder in the user's home if that is another user's or cannot be written.

    A checkout that an administrator shares is such a place: each of its users has a layout and a log of
    their own.
    """
    name = f"{preferred.name}-{hashlib.sha256(os.fsencode(preferred)).hexdigest()[:12]}"
    for folder in (preferred, platformdirs.user_state_path("d2lenv") / "lab" / name):
        if private(folder):
            return folder
    return Path(tempfile.mkdtemp(prefix="d2lenv-lab-"))


def of_jupyter(environ: Mapping[str, str]) -> dict[str, Path]:
    """Return where Jupyter and IPython will write, by the variable that moves each."""
    home = home_of(environ)
    if sys.platform == "win32":
        data = Path(environ.get("APPDATA") or home) / "jupyter"
    elif sys.platform == "darwin":
        data = home / "Library" / "Jupyter"
    else:
        data = Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share") / "jupyter"
    data = Path(environ.get("JUPYTER_DATA_DIR") or data)
    return {
        "JUPYTER_CONFIG_DIR": Path(environ.get("JUPYTER_CONFIG_DIR") or home / ".jupyter"),
        "JUPYTER_DATA_DIR": data,
        RUNTIME: Path(environ.get("JUPYTER_RUNTIME_DIR") or data / "runtime"),
        "IPYTHONDIR": Path(environ.get("IPYTHONDIR") or home / ".ipython"),
    }


def home_of(environ: Mapping[str, str]) -> Path:
    """Return the home folder as Jupyter will find it."""
    return Path(environ.get("USERPROFILE" if sys.platform == "win32" else "HOME") or Path.home())


def moved(environ: Mapping[str, str], instead: Path) -> dict[str, str]:
    """Return the places, below ``instead``, of Jupyter's folders that cannot be used, by their variables.

    The runtime folder holds the token (``jpserver-PID-open.html``), so it must be this user's alone. The
    others only get that mode when they are new: what a reader has shared on purpose stays shared.
    """
    found: dict[str, str] = {}
    for name, folder in of_jupyter(environ).items():
        shared = name != RUNTIME and folder.exists()
        if not (writable(folder) if shared else private(folder)):
            found[name] = str(instead / name.lower())
    return found


# Jupyter's sockets begin with the folder.
_LONGEST = 103 - len("/kernel-01234567-89ab-cdef-0123-456789abcdef-ipc-1")


@contextmanager
def short_runtime(environ: Mapping[str, str], moved: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
    """Yield ``moved`` with a temporary runtime folder if the one in use has too long a path for sockets."""
    used = Path(moved.get(RUNTIME) or of_jupyter(environ)[RUNTIME])
    with short_folder(used, _LONGEST) as folder:
        yield moved if folder == used else {**moved, RUNTIME: str(folder), TEMPORARY: str(folder)}


def private(folder: Path) -> bool:
    """Close ``folder`` to everybody else, and return False if that, or writing there, is not possible."""
    try:
        private_folder(folder)
    except D2lEnvError:
        return False
    return writable(folder)


def writable(folder: Path) -> bool:
    """Return whether a file can be put into ``folder``. Tried, not asked: modes are only half of it."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
