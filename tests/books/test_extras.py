"""The locks of the extra packages: every file has a hash, and nothing of the environment is in them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from d2lenv.base.errors import D2lEnvError
from d2lenv.books import extras

LOCKS = Path(extras.__file__).parent / "locks"
ENVIRONMENTS = sorted(path.stem for path in LOCKS.glob("*.txt") if path.stem != "builders")


@pytest.mark.parametrize("name", [*ENVIRONMENTS, "builders"])
def test_every_package_of_a_lock_is_hashed(name: str) -> None:
    text = (LOCKS / f"{name}.txt").read_text("utf-8")
    blocks = re.findall(r"^[^\s#].*\n(?:\s.*\n)*", text, re.MULTILINE)
    assert blocks
    for block in blocks:
        assert re.match(r"[\w.-]+==[\w.]+", block), block
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_a_lock_has_the_packages_of_the_books_and_none_of_the_environment(name: str) -> None:
    names = set(re.findall(r"^([\w.-]+)==", extras.text_of(name), re.MULTILINE))
    assert {"gpytorch", "syne-tune", "imageio", "h5py"} <= names
    assert not names & {"torch", "numpy", "pandas", "matplotlib", "d2l", "ipykernel"}
    # gym 0.21 cannot be imported on Python 3.12.
    on_312 = "Python 3.12." in extras.text_of(name)
    assert bool(re.search(r"^gym==0\.21\.0 ", extras.text_of(name), re.MULTILINE)) is not on_312


def test_an_environment_without_extras_says_so() -> None:
    with pytest.raises(D2lEnvError, match="no extra packages are locked for nope"):
        extras.text_of("nope")
