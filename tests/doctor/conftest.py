"""The made environments hold no real d2l: its released digests are looked at in test_drift.py only."""

from __future__ import annotations

import pytest

from d2lenv.facts import d2l as d2l_release


@pytest.fixture(autouse=True)
def no_released_d2l(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(d2l_release, "RELEASES", {})
    monkeypatch.setenv("D2LENV_LANG", "en")
