"""Plain text in columns and paragraphs, Chinese and English."""

from __future__ import annotations

import io
import sys

import pytest

from d2lenv.doctor import layout


def test_chinese_takes_two_columns_and_an_accent_none() -> None:
    assert layout.columns("torch 版本") == 10
    assert layout.columns("e\u0301") == 1


def test_english_breaks_between_words() -> None:
    assert layout.wrap("the quick brown fox", 10) == ["the quick", "brown fox"]


def test_chinese_breaks_anywhere_but_not_before_punctuation() -> None:
    lines = layout.wrap("一二三四五，六七八九十。", 10)
    assert lines == ["一二三四", "五，六七八", "九十。"]
    assert all(layout.columns(line) <= 10 for line in lines)


def test_a_path_that_is_too_long_is_cut_and_loses_nothing() -> None:
    path = "/a/very/long/path/to/some/place/without/any/space"
    lines = layout.wrap(path, 12)
    assert "".join(lines) == path
    assert all(layout.columns(line) <= 12 for line in lines)


def test_line_ends_are_kept() -> None:
    assert layout.wrap("a\n\nb", 10) == ["a", "", "b"]


def test_a_table_stands_in_columns_and_ends_without_spaces() -> None:
    assert layout.table(["a", "名称"], [["1", "2"], ["333", ""]]) == [
        "a    名称",
        "───  ────",
        "1    2",
        "333",
    ]


def test_the_widest_column_of_a_table_gives_way() -> None:
    lines = layout.table(["name", "text"], [["x", "word " * 30]], width=40)
    assert max(layout.columns(line) for line in lines) <= 40
    assert len(lines) > 4


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_colour_is_for_terminals_that_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert layout.coloured("x", "error") == "x"
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert layout.coloured("x", "error") == "\x1b[1;31mx\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert layout.coloured("x", "error") == "x"
