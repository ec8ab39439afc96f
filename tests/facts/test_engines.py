"""The engines by name."""

from __future__ import annotations

from d2lenv.engines import find
from d2lenv.facts.engines import PACKAGES


def test_every_engine_has_its_row_and_none_too_many() -> None:
    assert list(PACKAGES) == list(find.ENGINES)
