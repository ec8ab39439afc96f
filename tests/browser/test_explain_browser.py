"""The page of errors in a browser: it answers, in both languages, and asks nobody."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from driver import Tab

pytestmark = pytest.mark.browser

PAGE = (Path(__file__).parents[2] / "docs" / "explain.html").as_uri()


def test_the_page_answers_as_the_reader_types_and_sends_nothing(tab: Tab) -> None:
    page: Any = tab.page
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(PAGE)
    page.check("#en", force=True)
    page.fill("#text", "ModuleNotFoundError: No module named 'd2l'\n")
    page.locator("#answer").get_by_text("pip install d2l==1.0.3").first.wait_for()
    assert page.locator("#unknown").is_hidden()
    page.check("#zh-CN", force=True)
    page.locator("#answer").get_by_text("没有安装 d2l").first.wait_for()
    page.fill("#text", "<img src=https://example.invalid/x onerror=document.title='owned'> SomeError")
    page.locator("#unknown").wait_for()
    assert page.title() != "owned"
    assert asked == [PAGE]
    assert tab.errors == []
