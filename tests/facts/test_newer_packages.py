"""What the books' own lines break on where packages are newer than the books ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from d2lenv.facts import book_bugs
from d2lenv.workspace import manifest, settings

APPENDIX = "chapter_appendix-mathematics-for-deep-learning"


@pytest.mark.parametrize(
    ("book", "notebook", "error"),
    [
        # As a run of the books on torch 2.10.0 gave them, 2026-11-24.
        (
            "en",
            f"{APPENDIX}/distributions.ipynb",
            "TypeError: stem() got an unexpected keyword argument 'use_line_collection'",
        ),
        (
            "en",
            f"{APPENDIX}/random-variables.ipynb",
            "TypeError: stem() got an unexpected keyword argument 'use_line_collection'",
        ),
        (
            "zh",
            "chapter_preliminaries/pandas.ipynb",
            'TypeError: can only concatenate str (not "int") to str',
        ),
    ],
)
def test_a_line_that_newer_packages_refuse_is_known(book: str, notebook: str, error: str) -> None:
    found = book_bugs.find(book, notebook, error)
    assert found is not None
    assert found in book_bugs.NEWER_PACKAGES
    assert book_bugs.find(book, notebook, "NameError: name 'x' is not defined") is None
    assert book_bugs.find("zh" if book == "en" else "en", notebook, error) is None


def test_they_are_known_for_environments_that_there_are() -> None:
    ours = settings.load(manifest.load(Path(__file__).parents[2]))
    for bug in book_bugs.NEWER_PACKAGES:
        assert bug.environments
        for name in bug.environments:
            assert ours[name].overrides
