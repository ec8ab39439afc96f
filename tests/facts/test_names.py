"""Conda names and the package index's names."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from rattler import RepoDataRecord

from d2lenv.facts.names import CONDA_TO_PYPI, pypi_name
from d2lenv.workspace import lockfile

ROOT = Path(__file__).parents[2]


def record(text: str) -> RepoDataRecord:
    """The record of a package file's address in a lock that says ``text`` of it."""
    address = text.splitlines()[0]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pixi.lock"
        path.write_text(
            "version: 6\nenvironments:\n  e:\n    channels:\n    - url: https://conda.anaconda.org/c/\n"
            f"    packages:\n      linux-64:\n      - conda: {address}\npackages:\n- conda: {text}\n",
            encoding="utf-8",
        )
        (found,) = lockfile.read(path).records("e", "linux-64")
        return found


BASE = "https://conda.anaconda.org/c/linux-64/"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (BASE + "pytorch-2.0.1-py3.10_cuda11.7_cudnn8.5.0_0.tar.bz2", "torch"),
        (BASE + "matplotlib-base-3.7.2-py310h0_0.conda", "matplotlib"),
        (BASE + "typing_extensions-4.1-pyh0_0.conda", "typing-extensions"),
        (BASE + "openssl-3.0-h0_0.conda", None),
        (BASE + "odd-1.0-py310h0_0.conda\n  purls:\n  - pkg:pypi/Much_Odder@1.0?source=x", "much-odder"),
        (BASE + "odd-1.0-h0_0.conda\n  purls:\n  - pkg:cargo/odd\n  - pkg:pypi/even", "even"),
    ],
)
def test_a_record_has_the_name_that_pip_knows(text: str, name: str | None) -> None:
    assert pypi_name(record(text)) == name


def test_the_names_in_the_table_are_those_of_the_locked_packages() -> None:
    lock = lockfile.read(ROOT / "pixi.lock")
    locked = {r.name.normalized for pair in lock.pairs() for r in lock.records(*pair)}
    assert set(CONDA_TO_PYPI) <= locked
