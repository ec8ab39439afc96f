"""Disks that are small or cannot be written, for root and for anybody else."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A new disk of ``size`` (as mount writes it) at ``folder``, where this user may mount one."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, timeout=30).returncode:
        pytest.skip("not checked: a small disk cannot be mounted here (needs root on Linux)")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True, timeout=30)


def make_read_only(folder: Path) -> None:
    """Nothing may be written to the small disk at ``folder`` from now on, not even by root."""
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True, timeout=30)


@contextmanager
def read_only(folder: Path, size: str = "") -> Iterator[Callable[[], None]]:
    """A new empty folder that cannot be written: by its mode, or, as no mode stops root, by its disk.

    With a size it can be filled first; what the body gets closes it then.
    """
    if os.geteuid() != 0:
        with closed_by_modes(folder) as close:
            if not size:
                close()
            yield close
        return
    with small_disk(folder, size or "64k"):
        if not size:
            make_read_only(folder)
        yield lambda: make_read_only(folder)


@contextmanager
def closed_by_modes(folder: Path) -> Iterator[Callable[[], None]]:
    folder.mkdir()

    def change(mode: int) -> None:
        for path, _, _ in [*os.walk(folder)]:
            Path(path).chmod(mode)

    yield lambda: change(0o555)
    change(0o755)
