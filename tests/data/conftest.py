from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loopback is asked, whatever proxy the developer's machine has."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
