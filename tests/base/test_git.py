"""git is asked once, in one way."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from d2lenv.base.git import GitError, git


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_output_of_git_or_its_own_reason(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    assert git(tmp_path, "rev-parse", "--is-inside-work-tree") == "true\n"
    with pytest.raises(GitError, match="nothing-of-that-name"):
        git(tmp_path, "show", "--end-of-options", "nothing-of-that-name")


def test_a_machine_without_git_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GitError, match="not found"):
        git(tmp_path, "status")


@pytest.mark.skipif(sys.platform == "win32", reason="scripts with a shebang")
def test_a_git_in_the_working_folder_is_not_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "git").write_text("#!/bin/sh\necho from the working folder\n", encoding="utf-8")
    (tmp_path / "git").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", os.pathsep.join(["", "."]))
    with pytest.raises(GitError, match="not found"):
        git(tmp_path, "--version")
