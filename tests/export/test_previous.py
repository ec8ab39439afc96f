"""The release that listings are compared with."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from d2lenv.base.errors import D2lEnvError
from d2lenv.cli.main import cli
from d2lenv.export.formats import listing
from export import sample_locks
from export.command import code, lock_text, run


def test_a_lock_file_can_be_the_previous_release(root: Path, tmp_path: Path) -> None:
    old = tmp_path / "v0.1.0.lock"
    old.write_text(lock_text("default", "cpu").replace("0.12.1", "0.11.0"), encoding="utf-8")
    assert code(run(root, "--previous", str(old))) == 0
    content = (root / "envs/cpu/PACKAGES.md").read_text(encoding="utf-8")
    assert "Since v0.1.0.lock:" in content
    assert "| linux-64 | cycler | 0.11.0 " in content
    # kept from now on, and checked
    assert code(run(root, "--check")) == 0
    kept = listing.read_previous(root / "envs" / listing.PREVIOUS)
    assert kept is not None
    assert kept.name == "v0.1.0.lock"
    assert set(kept.environments) == {"cpu"}


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_git_tag_can_be_the_previous_release(root: Path) -> None:
    def git(*words: str) -> None:
        name = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run(["git", "-C", str(root), *name, *words], check=True, capture_output=True, timeout=60)

    git("init", "--quiet")
    git("add", "pixi.lock", "pixi.toml")
    git("commit", "--quiet", "-m", "one")
    git("tag", "v1")
    assert code(run(root, "--previous", "v1")) == 0
    assert "Nothing changed." in (root / "envs/cpu/PACKAGES.md").read_text(encoding="utf-8")
    for words in (("--previous", "--output=x"), ("--previous", "v2"), ("--previous", "v1:pixi.toml")):
        result = run(root, *words)
        assert isinstance(result.exception, D2lEnvError)
        assert not (root / "x").exists()


def test_with_another_lock_the_previous_release_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "pixi.lock"
    path.write_text(sample_locks.good()["v6-one-environment"], encoding="utf-8")
    words = ["export", "--lock", str(path), "--output", str(tmp_path / "out"), "--previous"]
    assert code(CliRunner().invoke(cli, [*words, str(path)], standalone_mode=False)) == 0
    assert "Nothing changed." in (tmp_path / "out/default/PACKAGES.md").read_text(encoding="utf-8")
    result = CliRunner().invoke(cli, [*words, "v1"], standalone_mode=False)
    assert isinstance(result.exception, D2lEnvError)
