"""A release of PyTorch is a row."""

from __future__ import annotations

import pytest

from d2lenv.facts.pytorch import releases as matrix
from d2lenv.facts.pytorch.releases import Code, TorchRelease


def test_a_release_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    made = TorchRelease(("0.99.0",), (), ("3.14", "3.15"), {"14.0": Code((90, 130))}, "14.0")
    monkeypatch.setitem(matrix.RELEASES, "2.99.0", made)
    assert matrix.fitting("3.15") == "2.99.0"
    assert matrix.cuda_for("2.99.0", (13, 0), "linux-64") == "14.0"
    assert matrix.serving((13, 0), "2.0.1", "3.14", "linux-64") == ("2.99.0", "14.0")


def test_a_patch_release_without_a_row_has_its_minor_versions_code() -> None:
    assert matrix.code_of("2.1.9", "12.1") is matrix.RELEASES["2.1.0"].builds["12.1"]
    assert matrix.code_of("1.12.0", "11.7") is None
    assert matrix.code_of("9.9.0", "12.1") is None
