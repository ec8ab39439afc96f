"""Every command that takes an environment refuses an unknown one as a wrong word, with those that exist."""

from __future__ import annotations

import pytest

from channelkit import ROOT, d2lenv

COMMANDS = (
    "build nope",
    "diff pixi.lock pixi.lock --environment nope",
    "doctor nope",
    "export nope",
    "fingerprint nope",
    "lab nope",
    "repro nope",
    "saved --environment nope",
    "smoke nope",
    "verify nope",
)


@pytest.mark.parametrize("words", COMMANDS)
def test_an_unknown_environment_is_refused_with_those_that_exist(words: str) -> None:
    done = d2lenv(ROOT, *words.split())
    assert done.returncode == 2, done.stderr
    assert "has no environment `nope`" in done.stderr
    assert all(name in done.stderr for name in ("default", "cpu", "cuda", "cuda12", "dev"))
