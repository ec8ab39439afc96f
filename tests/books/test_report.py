"""The page is light, loads nothing from elsewhere and works on a phone; JUnit and JSON tell the same."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

import bookkit
from d2lenv.books import coverage, front, report


@pytest.fixture(scope="module")
def written(light_prefix: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[front.BookRun, Path]:
    base = tmp_path_factory.mktemp("report")
    hostile = "raise ValueError('<script>alert(1)</script>')"
    book = bookkit.book(base / "book", hostile=[hostile])
    done, _ = bookkit.run(bookkit.subject(book, light_prefix, base / "data"), base / "report")
    report.write(done, base / "report")
    return done, base / "report"


Written = tuple[front.BookRun, Path]


def test_the_page_names_every_notebook_below_its_chapter(written: Written) -> None:
    page = (written[1] / "report.html").read_text("utf-8")
    chapters = re.findall(r'<h2 id="c\d+">(.*?)</h2>', page)
    assert chapters == [
        "chapter_computer-vision", "chapter_more", "chapter_optimization", "chapter_preliminaries", ".",
    ]  # fmt: skip
    for name in bookkit.SOURCES:
        assert f"{name.rpartition('/')[2]}.ipynb" in page
    assert "8 of 8 notebooks have run" in page
    assert "8 个笔记本已运行 8 个" in page


def test_the_page_is_light_inert_and_points_to_what_is_there(written: Written) -> None:
    page = (written[1] / "report.html").read_text("utf-8")
    assert len(page) < 100_000
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert 'content="width=device-width' in page
    found = re.findall(r'(?:src|href)="([^"#]+)"', page)
    assert found
    for address in found:
        assert not re.match(r"\w+:|/", address)
        assert (written[1] / address).is_file(), address


def test_junit_fails_for_what_is_ours_alone(written: Written) -> None:
    root = ElementTree.parse(written[1] / "junit.xml").getroot()
    failed = [case.get("name") for case in root.iter("testcase") if case.find("failure") is not None]
    assert failed == ["chapter_more/hostile.ipynb", "chapter_optimization/wrong.ipynb"]
    assert len(list(root.iter("testcase"))) == 1 + 11


def test_a_whole_run_becomes_small_rows_and_tables(written: Written, tmp_path: Path) -> None:
    document = json.loads((written[1] / "result.json").read_text("utf-8"))
    assert document["ok"] is False
    assert document["complete"] is True
    (tmp_path / "x.json").write_text(coverage.small({**document, "book": "en"}), encoding="utf-8")
    (run,) = coverage.read(tmp_path)
    assert len(run.rows) == 11
    assert "| chapter_preliminaries | 2 passed |" in list(coverage.chapters_table([run], "en"))
    assert any("8 of 8 with code" in line for line in coverage.runs_table([run]))
    reasons = "\n".join(coverage.reasons([run], "en"))
    assert "| chapter_computer-vision/needs-gpu | `light` | needs a GPU | needs an NVIDIA GPU |" in reasons
    assert "ndarray" not in reasons
