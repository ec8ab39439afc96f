"""YAML scalars, read back by a YAML library."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from d2lenv.export.formats.text import comment, escaped, scalar


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126)))
def test_any_line_of_text_reads_back_as_itself(text: str) -> None:
    assert yaml.safe_load(f"- {scalar(text)}\n") == [text]
    assert yaml.safe_load(f"key: {scalar(text)}\n") == {"key": text}


@pytest.mark.parametrize(
    "text", ["yes", "No", "null", "1.10", "1e5", "0x1f", "1:30", "a: b", "a #b", "- a", "{a}", "=", "~", "a:"]
)
def test_what_looks_like_something_else_is_quoted(text: str) -> None:
    assert scalar(text).startswith('"')


@pytest.mark.parametrize(
    "text", ["numpy=1.23.5=py310_0", "pytorch::pytorch=2.0.1", "https://c.example/x-1-0.conda", "mkl<2024.1"]
)
def test_ordinary_specs_and_addresses_are_plain(text: str) -> None:
    assert scalar(text) == text


def test_a_comment_has_no_trailing_blanks() -> None:
    assert comment("one", "", "two\nthree") == "# one\n#\n# two\n# three\n"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [("a|b", "a&#124;b"), ("<b>", "&#60;b&#62;"), ("a\nb", "a b"), ("--", "&#45;&#45;"), ("plain", "plain")],
)
def test_markup_is_escaped(raw: str, expected: str) -> None:
    assert escaped(raw) == expected
