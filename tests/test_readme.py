"""README in two languages says the same things, and its commands exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from d2lenv.cli import app

ROOT = Path(__file__).resolve().parents[1]
ENGLISH = (ROOT / "README.md").read_text(encoding="utf-8")
CHINESE = (ROOT / "README.zh-CN.md").read_text(encoding="utf-8")


def blocks(text: str) -> list[list[str]]:
    """The commands of each console block, without their comments."""
    found = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    return [
        [re.split(r"\s+# ", line)[0].removeprefix("$ ") for line in block.splitlines()] for block in found
    ]


def tables(text: str) -> list[list[str]]:
    """The columns of each table that are not prose: files, environments, versions, seconds."""
    found = []
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        rows = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in table.splitlines()[2:]]
        found.append([cell for row in rows for cell in row if re.match(r"\d+\.\d|\[\d|✓|–", cell)])
    return found


@pytest.mark.parametrize("of", [blocks, tables], ids=["commands", "tables"])
def test_both_have_the_same(of: object) -> None:
    assert callable(of)
    assert of(ENGLISH)
    assert of(ENGLISH) == of(CHINESE)


@pytest.mark.parametrize("pattern", [r"^#+ ", r"^\|", r"^\d\. ", r"^!\[", r"^```"])
def test_both_have_the_same_parts(pattern: str) -> None:
    count = len(re.findall(pattern, ENGLISH, re.MULTILINE))
    assert count
    assert len(re.findall(pattern, CHINESE, re.MULTILINE)) == count


@pytest.mark.parametrize("text", [ENGLISH, CHINESE], ids=["en", "zh"])
def test_links_and_commands_lead_somewhere(text: str) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / target).exists(), target
    known = {*app.cli.commands, "nox", "--help"}
    used = set(re.findall(r"run\.py ([\w-]+)", text))
    assert {"lab", "nox", "doctor", "verify"} <= used <= known
    assert "pip install" not in text
