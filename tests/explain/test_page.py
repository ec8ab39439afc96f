"""The page for the browser: the same answers as the command, offline, and nothing acts in it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from d2lenv.explain import documents, match, rows

ROOT = Path(__file__).resolve().parents[2]
ROWS = rows.load()

TEXTS = [
    *(row.example for row in ROWS),
    *(text for row in ROWS for text in row.unlike),
    *(f"{row.example}\n\n{ROWS[number - 1].example}" for number, row in enumerate(ROWS)),
    "\x1b[0;31mModuleNotFoundError\x1b[0m: No module named ‘d2l’",
    "│ No module │\n│ named\u3000'd2l' │\ufeff\x1c",
    "x" * 700_000 + " No module named 'd2l'",
    "Error loading " * 40_000,
    "𝒳" * 2000 + "No module named 'd2l'",
    "",
]


def script() -> str:
    found = re.search(r"<script>(.*)</script>", documents.page(), re.DOTALL)
    assert found is not None
    return found[1]


def test_the_page_answers_as_the_command_does(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("not checked: there is no node to run the page's script")
    (tmp_path / "texts.json").write_text(json.dumps(TEXTS), encoding="utf-8")
    ask = 'const texts = require("./texts.json");' + script()
    ask += (
        "\nconsole.log(JSON.stringify(texts.map((t) => find(t).map((m) => [m.row.name, m.said, m.start]))));"
    )
    (tmp_path / "ask.js").write_text(ask, encoding="utf-8")
    told = subprocess.run([node, "ask.js"], cwd=tmp_path, capture_output=True, encoding="utf-8", check=True)
    for text, page in zip(TEXTS, json.loads(told.stdout), strict=True):
        command = [[one.row.name, one.said, one.start] for one in match.find(text, ROWS)]
        # JavaScript counts two for a character beyond the 65,536 first.
        assert [row[:2] for row in page] == [row[:2] for row in command], text[:80]


def test_the_page_is_one_file_that_sends_nothing() -> None:
    page = documents.page()
    assert "default-src 'none'" in page
    assert not re.search(r'(?:src|href)\s*=\s*"(?!#)', page)
    assert not re.search(r"innerHTML|fetch\(|XMLHttpRequest|WebSocket|sendBeacon|@import|url\(", page)
    assert len(page) < 300_000


def test_what_a_row_says_cannot_end_the_script() -> None:
    assert "</script" not in script()
    assert "<lambda>" not in script()


def test_the_page_speaks_every_language() -> None:
    page = documents.page()
    assert "d2l is not installed in the Python" in page
    assert "没有安装 d2l" in page or json.dumps("没有安装 d2l")[1:-1] in page


def test_every_pattern_is_javascript_too() -> None:
    assert documents.javascript("a(?P<name>b)") == "a(?<name>b)"
    assert not [row.name for row in ROWS for p in row.patterns if "(?P=" in p.expression]


def test_the_documents_name_every_row() -> None:
    for name in ("errors.md", "errors.zh-CN.md"):
        text = (ROOT / "docs" / name).read_text(encoding="utf-8")
        assert [row.name for row in ROWS] == re.findall(r"^### (.*)$", text, re.MULTILINE)
