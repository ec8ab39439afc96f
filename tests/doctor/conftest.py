"""The made environments hold no real d2l: its released digests are looked at in test_drift.py only."""

from __future__ import annotations

import dataclasses

import pytest

from d2lenv.facts import d2l as d2l_releases


@pytest.fixture(autouse=True)
def no_released_d2l(monkeypatch: pytest.MonkeyPatch) -> None:
    for version, release in d2l_releases.RELEASES.items():
        monkeypatch.setitem(d2l_releases.RELEASES, version, dataclasses.replace(release, released=None))
    monkeypatch.setenv("D2LENV_LANG", "en")
