"""Known faults of the books: a notebook that fails in an environment that is as the book wants it.

Each row was seen in a whole run of the book on its date, and its cause was read in the source.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from d2lenv.base.messages import mark


@dataclass(frozen=True)
class BookBug:
    """One fault.

    Attributes:
        book: ``en``, ``zh`` or ``dlwpt``.
        notebook: its path in the book.
        cell: the one that fails, counted from 1 over all cells.
        error: matches the beginning of the error's last line.
        text: the cause and what a reader does about it, marked for translation.
        seen: the date.
        environments: where it fails, empty for everywhere.
    """

    book: str
    notebook: str
    cell: int
    error: str
    text: str
    seen: str
    environments: tuple[str, ...] = ()


_SEEN = "2026-11-24"

# deep-learning-with-pytorch/dlwpt-code at d6c0210: p2ch13 has no diagnose.py, no model_seg.py, and in its
# dsets.py no old_build2dLungMask.
BUGS: tuple[BookBug, ...] = (
    BookBug(
        "dlwpt",
        "p1ch4/X_video_cockatoo.ipynb",
        6,
        r"TypeError: empty\(\): argument 'size' must be tuple of ints, but found element of type float",
        mark("takes meta['nframes'], which imageio no longer knows: write reader.count_frames() instead"),
        _SEEN,
    ),
    BookBug(
        "dlwpt",
        "p2ch13_explore_data_v2.ipynb",
        2,
        r"ImportError: cannot import name 'old_build2dLungMask'",
        mark("imports old_build2dLungMask, which the repository does not have: leave this notebook out"),
        _SEEN,
    ),
    BookBug(
        "dlwpt",
        "p2ch13_explore_diagnose.ipynb",
        3,
        r"ModuleNotFoundError: No module named 'p2ch13\.diagnose'",
        mark("imports p2ch13.diagnose, which the book's repository does not have: leave this notebook out"),
        _SEEN,
    ),
    BookBug(
        "dlwpt",
        "p3ch15/1_jit_intro.ipynb",
        7,
        r"ModuleNotFoundError: No module named 'p2ch13\.model_seg'",
        mark("imports p2ch13.model_seg, which the book's repository does not have: what comes before works"),
        _SEEN,
    ),
    BookBug(
        "dlwpt",
        "generate_annotations_with_malignancy.ipynb",
        2,
        r"ModuleNotFoundError: No module named 'pylidc'",
        mark("is the authors' tool and needs the LIDC database: its result is in data/part2/luna already"),
        _SEEN,
    ),
)


def find(book: str, notebook: str, error: str) -> BookBug | None:
    """Return the fault that explains ``error``, None if none does."""
    return next(
        (
            bug
            for bug in (*BUGS, *NEWER_PACKAGES)
            if (bug.book, bug.notebook) == (book, notebook) and re.match(bug.error, error)
        ),
        None,
    )


_STEM = r"TypeError: (Axes\.)?stem\(\) got an unexpected keyword argument 'use_line_collection'"
_NO_STEM = mark(
    "matplotlib 3.8 took this argument of `stem` away: delete `use_line_collection=True` from the call"
)

NEWER_PACKAGES: tuple[BookBug, ...] = (
    BookBug(
        "en",
        "chapter_appendix-mathematics-for-deep-learning/distributions.ipynb",
        6,
        _STEM,
        _NO_STEM,
        "2026-11-24",
        ("modern",),
    ),
    BookBug(
        "en",
        "chapter_appendix-mathematics-for-deep-learning/random-variables.ipynb",
        8,
        _STEM,
        _NO_STEM,
        "2026-11-24",
        ("modern",),
    ),
    BookBug(
        "zh",
        "chapter_preliminaries/pandas.ipynb",
        6,
        r'TypeError: can only concatenate str \(not "int"\) to str',
        mark(
            "the mean of a column of text, which pandas 2 refuses (Python 3.12 and newer have it): write "
            "`inputs.mean(numeric_only=True)`"
        ),
        "2026-11-24",
        ("zh-modern",),
    ),
)
"""What the books' own lines break on in environments whose packages are newer than the books ask for."""
