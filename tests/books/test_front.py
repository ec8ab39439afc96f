"""Every notebook of a book is found, run or said not to be, and its result kept."""

from __future__ import annotations

from pathlib import Path

import pytest

import bookkit
from d2lenv.base.errors import USAGE, D2lEnvError
from d2lenv.books import front


@pytest.fixture(scope="module")
def first(
    light_prefix: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[front.BookRun, Path, Path, list[str]]:
    base = tmp_path_factory.mktemp("book")
    said: list[str] = []
    book = bookkit.book(base / "书 with spaces")
    done, _ = bookkit.run(bookkit.subject(book, light_prefix, base / "data"), base / "report", said)
    return done, book, base, said


First = tuple[front.BookRun, Path, Path, list[str]]


def test_every_notebook_has_its_class(first: First) -> None:
    assert bookkit.kinds(first[0]) == {
        "chapter_computer-vision/needs-data": "data",
        "chapter_computer-vision/needs-gpu": "gpu",
        "chapter_computer-vision/needs-package": "package",
        "chapter_optimization/empty": "not-applicable",
        "chapter_optimization/endless": "slow",
        "chapter_optimization/wrong": "surprise",
        "chapter_preliminaries/index": "not-applicable",
        "chapter_preliminaries/ndarray": "passed",
        "chapter_preliminaries/pandas": "passed",
        "index": "not-applicable",
    }


def test_the_first_line_says_how_many_of_how_many(first: First) -> None:
    assert first[3] == ["7 of 10 notebooks are run: 3 have no code, 0 have a result already"]
    done = first[0]
    assert (done.total, done.code, done.ended, done.complete, done.failed) == (10, 7, 7, True, True)


def test_a_slow_notebook_says_how_far_it_came(first: First) -> None:
    slow = next(known for known in first[0].results if known.kind == "slow")
    assert (slow.cells_done, slow.cells) == (1, 2)
    assert slow.values == {"limit": "3", "done": 1, "cells": 2}


def test_nothing_is_installed_and_the_readers_book_is_as_it_was(first: First) -> None:
    cells = bookkit.executed(first[2] / "report", "chapter_preliminaries/pandas")
    assert cells[0]["source"] == ["# d2lenv: not run: !pip install d2l==1.0.3\n"]
    assert "!pip install" in (first[1] / "chapter_preliminaries" / "pandas.ipynb").read_text("utf-8")
    assert not (first[1] / "data").exists()


def test_the_last_figure_is_a_file_beside_the_page(first: First) -> None:
    known = next(known for known in first[0].results if known.notebook.endswith("ndarray.ipynb"))
    assert known.figure == "figures/chapter_preliminaries.ndarray.svg"
    assert "<svg" in (first[2] / "report" / known.figure).read_text("utf-8")


def test_what_has_a_result_is_not_run_again(first: First, light_prefix: Path) -> None:
    _, book, base, _ = first
    subject = bookkit.subject(book, light_prefix, base / "data")
    said: list[str] = []
    again, events = bookkit.run(subject, base / "report", said)
    assert (again.ran, events) == (frozenset(), [])
    assert bookkit.kinds(again) == bookkit.kinds(first[0])
    assert said == ["0 of 10 notebooks are run: 3 have no code, 7 have a result already"]


def test_failed_ones_are_run_again_on_demand_and_all_too(first: First, light_prefix: Path) -> None:
    subject = bookkit.subject(first[1], light_prefix, first[2] / "data")
    failed, _ = bookkit.run(
        subject, first[2] / "report", again="failed", only=("chapter_preliminaries", "wrong")
    )
    assert failed.ran == {"chapter_optimization/wrong.ipynb"}
    every, _ = bookkit.run(subject, first[2] / "report", again="all", only=("chapter_preliminaries",))
    assert every.ran == {"chapter_preliminaries/ndarray.ipynb", "chapter_preliminaries/pandas.ipynb"}


def test_a_changed_notebook_environment_or_book_is_run_again(light_prefix: Path, tmp_path: Path) -> None:
    book = tmp_path / "book"
    bookkit.write(book / "chapter_a" / "one.ipynb", "1")
    bookkit.write(book / "chapter_a" / "two.ipynb", "2")
    subject = bookkit.subject(book, light_prefix, tmp_path / "data")
    report = tmp_path / "report"
    assert len(bookkit.run(subject, report)[0].ran) == 2
    bookkit.write(book / "chapter_a" / "one.ipynb", "3")
    assert bookkit.run(subject, report)[0].ran == {"chapter_a/one.ipynb"}
    (book / "chapter_a" / "lines.txt").write_text("x", encoding="utf-8")
    assert len(bookkit.run(subject, report)[0].ran) == 2
    from dataclasses import replace

    assert len(bookkit.run(replace(subject, fingerprint="0" * 64), report)[0].ran) == 2
    assert not bookkit.run(replace(subject, fingerprint="0" * 64), report)[0].ran


def test_a_slow_one_is_run_again_under_higher_limits_only(light_prefix: Path, tmp_path: Path) -> None:
    book = tmp_path / "book"
    bookkit.write(book / "chapter_a" / "slow.ipynb", "import time\nwhile time.process_time() < 4: pass")
    subject = bookkit.subject(book, light_prefix, tmp_path / "data")
    slow, _ = bookkit.run(subject, tmp_path / "report", limits=front.Limits(cpu_s=1))
    assert bookkit.kinds(slow) == {"chapter_a/slow": "slow"}
    lower, _ = bookkit.run(subject, tmp_path / "report", limits=front.Limits(cpu_s=0.5))
    assert not lower.ran
    higher, _ = bookkit.run(subject, tmp_path / "report", limits=front.Limits(cpu_s=30))
    assert bookkit.kinds(higher) == {"chapter_a/slow": "passed"}


def test_a_chapter_that_is_not_there_is_refused(first: First, light_prefix: Path) -> None:
    subject = bookkit.subject(first[1], light_prefix, first[2] / "data")
    with pytest.raises(D2lEnvError, match="no notebook or chapter `chapter_none`") as caught:
        bookkit.run(subject, first[2] / "report", only=("chapter_none",))
    assert caught.value.status == USAGE


def test_a_part_of_the_book_is_never_complete(light_prefix: Path, tmp_path: Path) -> None:
    book = bookkit.book(tmp_path / "book")
    subject = bookkit.subject(book, light_prefix, tmp_path / "data")
    done, _ = bookkit.run(subject, tmp_path / "report", only=("chapter_preliminaries",))
    assert not done.complete
    assert (done.ended, done.code) == (2, 7)
    assert not done.failed
    assert not done.left


def test_a_file_that_is_no_notebook_is_a_surprise(light_prefix: Path, tmp_path: Path) -> None:
    book = bookkit.write(tmp_path / "book" / "chapter_a" / "good.ipynb", "1") or tmp_path / "book"
    (book / "chapter_a" / "broken.ipynb").write_text("{", encoding="utf-8")
    done, _ = bookkit.run(bookkit.subject(book, light_prefix, tmp_path / "data"), tmp_path / "report")
    assert bookkit.kinds(done) == {"chapter_a/broken": "surprise", "chapter_a/good": "passed"}


def test_with_kernels_the_classes_are_the_same(light_prefix: Path, tmp_path: Path) -> None:
    book = bookkit.book(tmp_path / "book")
    subject = bookkit.subject(book, light_prefix, tmp_path / "data")
    only = ("chapter_preliminaries", "needs-gpu", "endless")
    done, _ = bookkit.run(subject, tmp_path / "report", kernels=True, only=only)
    found = {name: kind for name, kind in bookkit.kinds(done).items() if kind != "not-applicable"}
    assert found == {
        "chapter_computer-vision/needs-gpu": "gpu",
        "chapter_optimization/endless": "slow",
        "chapter_preliminaries/ndarray": "passed",
        "chapter_preliminaries/pandas": "passed",
    }
