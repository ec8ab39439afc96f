"""The engine: wrapped, coloured and hostile text."""

from __future__ import annotations

import pytest

from d2lenv.explain import match, rows

ROWS = rows.load()


def known(text: str) -> list[str]:
    return [found.row.name for found in match.find(text, ROWS)]


@pytest.mark.parametrize(
    "text",
    [
        "ModuleNotFoundError: No module named 'd2l'",
        "\x1b[0;31mModuleNotFoundError\x1b[0m: No module named \x1b[1m'd2l'\x1b[0m",
        "ModuleNotFoundError: No module named ‘d2l’",
        "ModuleNotFoundError: No\r\n  module named\t'd2l'",
        "│ ModuleNotFoundError: No module │\n│ named 'd2l' │",
        "x" * 20_000_000 + " No module named 'd2l'",
        "No module named 'd2l' " + "y" * 20_000_000,
    ],
    ids=["plain", "colours", "quotes", "wrapped", "framed", "at the end", "at the beginning"],
)
def test_it_is_known_however_it_was_printed(text: str) -> None:
    assert known(text) == ["d2l-missing"]


def test_the_last_error_of_a_text_comes_first() -> None:
    first, second = "OMP: Error #15: Initializing libiomp5md.dll", "No module named 'd2l'"
    assert known(f"{first}\n{second}") == ["d2l-missing", "omp-15"]
    assert known(f"{second}\n{first}") == ["omp-15", "d2l-missing"]


def test_a_general_row_answers_only_where_nothing_else_does() -> None:
    special = ROWS[0]
    general = rows.Row(
        "any", "f", (rows.Pattern("Error", "Error"),), special.causes, "", "https://a", "e", (), general=True
    )
    text = f"Error: {special.example}"
    assert [found.row.name for found in match.find(text, [general, special])] == [special.name]
    assert [found.row.name for found in match.find("Error: x", [general, special])] == ["any"]


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_a_text_full_of_beginnings_is_tried_a_limited_number_of_times(
    row: rows.Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = 0

    class Never:
        def match(self, window: str) -> None:
            nonlocal tried
            tried += 1
            assert len(window) <= match.WINDOW

    monkeypatch.setattr(match, "compiled", lambda expression: Never())
    pattern = row.patterns[0]
    assert match.find(f"{pattern.literal} " * 5000, [row]) == ()
    assert 0 < tried <= match.TRIES * len(row.patterns)


@pytest.mark.parametrize(
    "text",
    [
        "\x1b[" * 300_000,
        "\x1b]0;" + "a" * 300_000,
        "\x00" * 300_000,
        "".join(chr(n) for n in range(0x3000)),
        "\ud800" * 1000,
        "(" * 300_000,
        "Error loading " * 40_000,
        "",
    ],
    ids=["escapes", "titles", "nul", "all", "surrogates", "brackets", "beginnings", "nothing"],
)
def test_what_is_no_error_is_not_known(text: str) -> None:
    assert known(text) == []
