"""Ask git about the checkout that a workspace lies in."""

from __future__ import annotations

import os
from pathlib import Path

from d2lenv.base import process

TIMEOUT_S = 60


class GitError(Exception):
    """git is not installed, was too slow or refused; the text is its own reason."""


def git(root: Path, *words: str) -> str:
    """Return the output of ``git WORDS`` in ``root``.

    Raises:
        GitError: if there is no answer.
    """
    program = process.which("git", os.environ)
    if program is None:
        raise GitError("git: command not found")
    try:
        done = process.run([program, "-C", root, *words], timeout_s=TIMEOUT_S)
    except OSError as error:
        raise GitError(str(error)) from error
    if done.returncode:
        raise GitError(done.stderr.strip())
    return done.stdout
