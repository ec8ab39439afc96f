"""An installed d2l is compared with the released files."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from d2lenv.facts import d2l as d2l_release
from d2lenv.facts.d2l import RELEASES, Released

FILES = {"d2l/__init__.py": b"version\n", "d2l/torch.py": b"import torch\n", "d2l/jax.py": b"import jax\n"}
MADE = Released("0" * 64, {name: hashlib.sha256(data).hexdigest() for name, data in FILES.items()})


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder that holds a d2l made for the test."""
    for name, data in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    return tmp_path


def test_the_released_files_do_not_differ(site: Path) -> None:
    assert d2l_release.differing(site, MADE) == {}


def test_missing_changed_and_unreadable_files_are_told_apart(site: Path) -> None:
    (site / "d2l/__init__.py").unlink()
    (site / "d2l/torch.py").write_bytes(b"import torch \n")
    (site / "d2l/jax.py").unlink()
    (site / "d2l/jax.py").mkdir()
    assert d2l_release.differing(site, MADE) == {
        "d2l/__init__.py": "missing",
        "d2l/torch.py": "changed",
        "d2l/jax.py": "unreadable",
    }


def test_line_ends_that_a_checkout_turned_are_a_change(site: Path) -> None:
    (site / "d2l/torch.py").write_bytes(b"import torch\r\n")
    assert d2l_release.differing(site, MADE) == {"d2l/torch.py": "changed"}


def test_a_file_of_ones_own_beside_them_does_not_matter(site: Path) -> None:
    (site / "d2l/mine.py").write_bytes(b"")
    assert d2l_release.differing(site, MADE) == {}


def test_a_release_without_digests_has_none() -> None:
    assert RELEASES["1.0.0"].released is d2l_release.released("1.0.0") is d2l_release.released("9.9") is None


@pytest.mark.parametrize("version", ["1.0.3", "0.17.6"])
def test_the_table_holds_each_module_of_both_editions(version: str) -> None:
    release = RELEASES[version].released
    assert release is not None
    other = {"1.0.3": "jax", "0.17.6": "paddle"}[version]
    assert set(release.files) == {
        f"d2l/{name}.py" for name in ("__init__", "torch", "mxnet", "tensorflow", other)
    }
    assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in release.files.values())
    assert len(set(release.files.values())) == len(release.files)


def test_every_compiled_pin_of_every_release_was_looked_up() -> None:
    pure = {"jupyter", "requests", "matplotlib-inline"}
    for version, release in RELEASES.items():
        for name, pin in release.pins.items():
            assert name in pure or f"{name}=={pin}" in d2l_release.WHEELS, (version, name)


def test_a_release_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    made = d2l_release.Release("en", {"numpy": "9.9"}, ("torch",), ("9.9", "9.9", "3.14"), MADE)
    monkeypatch.setitem(RELEASES, "1.9.0", made)
    assert d2l_release.newest("en") == "1.9.0"
    assert d2l_release.release("1.9.0") is made
    assert d2l_release.released("1.9.0") is MADE
    assert not d2l_release.no_wheel("numpy", "9.9", "3.14", "linux-64")
