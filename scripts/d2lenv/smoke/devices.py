"""Whether d2l's GPU functions fall back to the devices that are there (notebooks/devices.py)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from d2lenv.base.errors import D2lEnvError
from d2lenv.base.messages import tr
from d2lenv.workspace import manifest, settings


def chosen(root: Callable[[], Path], environment: str, asked: str | None) -> Path | None:
    """Return the file that puts the fallbacks in place, None for the book's own functions.

    Args:
        root: returns the workspace's folder, and raises where there is none.
        asked: ``any`` or ``book``; None for the environment's own default.

    Raises:
        D2lEnvError: if they are on and the file or the workspace is not there.
    """
    if asked == "book" or (asked is None and not _default(root, environment)):
        return None
    file = (root() / "notebooks" / "devices.py").absolute()
    if not file.is_file():
        raise D2lEnvError(
            tr("{path} is not there", path=file),
            why=tr("it makes d2l's GPU functions use the devices that are there"),
            fix=tr("use --devices book, or restore the file"),
        )
    return file


def _default(root: Callable[[], Path], environment: str) -> bool:
    # A prefix of the reader's own may go by any name, and needs no workspace.
    with suppress(D2lEnvError):
        return settings.get(manifest.load(root()), environment).device_fallbacks
    return False


def kernel_options(file: Path | None) -> list[str]:
    """Return a kernel's options that run ``file`` before the first cell and leave no name behind."""
    if file is None:
        return []
    return [f'--IPKernelApp.exec_lines=__import__("runpy").run_path({str(file)!r})["use"]()']
