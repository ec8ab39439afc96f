"""The table: every row answers for its own example and for nobody else's."""

from __future__ import annotations

import re
from string import Formatter

import pytest

from d2lenv import doctor
from d2lenv.explain import match, rows
from explain import grammar

ROWS = rows.load()
NAMES = [row.name for row in ROWS]
PATTERNS = [(row.name, pattern) for row in ROWS for pattern in row.patterns]
STEPS = 20 * match.WINDOW


def known(text: str) -> list[str]:
    return [found.row.name for found in match.find(text, ROWS)]


def test_names_are_given_once() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert len(ROWS) >= 80


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_an_example_is_answered_by_its_own_row_alone(row: rows.Row) -> None:
    assert known(row.example) == [row.name]


@pytest.mark.parametrize("row", [row for row in ROWS if row.unlike], ids=lambda row: row.name)
def test_what_only_looks_like_it_is_not_taken_for_it(row: rows.Row) -> None:
    for text in row.unlike:
        assert row.name not in known(text), text


def test_each_family_has_texts_that_only_look_like_it() -> None:
    for family in {row.family for row in ROWS}:
        assert sum(len(row.unlike) for row in ROWS if row.family == family) >= 2, family


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_a_row_has_a_public_source_and_something_to_do(row: rows.Row) -> None:
    assert re.fullmatch(r"https://[\w./#%?=&+~-]+", row.source)
    assert row.example
    for cause in row.causes:
        assert cause.why.endswith((".", ")"))
        assert cause.steps


def test_the_findings_that_rows_name_exist() -> None:
    codes = {code for code, _ in (*doctor.FINDINGS, *doctor.PLANNED)}
    assert {code for row in ROWS for cause in row.causes for code in cause.codes} <= codes


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_a_text_names_groups_that_every_pattern_of_its_row_has(row: rows.Row) -> None:
    groups = [set(match.compiled(pattern.expression).groupindex) for pattern in row.patterns]
    everywhere = set.intersection(*groups)
    for cause in row.causes:
        for text in (cause.why, *(step for step in cause.steps if not step.startswith(rows.SHELL))):
            named = {name for _, name, _, _ in Formatter().parse(text) if name is not None}
            assert named <= everywhere, text


@pytest.mark.parametrize(("name", "pattern"), PATTERNS, ids=[p.expression[:40] for _, p in PATTERNS])
def test_a_pattern_begins_with_plain_text_and_has_one_free_part_at_most(
    name: str, pattern: rows.Pattern
) -> None:
    nodes = grammar.parse(pattern.expression)
    assert len(pattern.literal) >= 6
    assert grammar.gaps(nodes) <= 1


@pytest.mark.parametrize(("name", "pattern"), PATTERNS, ids=[p.expression[:40] for _, p in PATTERNS])
def test_no_text_keeps_a_pattern_busy(name: str, pattern: rows.Pattern) -> None:
    nodes = grammar.parse(pattern.expression)
    for text in grammar.attacks(nodes, match.WINDOW):
        assert grammar.steps(nodes, text) <= STEPS, text[:80]


@pytest.mark.parametrize(
    "expression", ["(a{1,9}){1,9}", "a+", "a*", r"\s", "a{1,999}", "(?<=a)b", "a.{0,5}?b"]
)
def test_a_pattern_outside_of_the_common_language_is_refused(expression: str) -> None:
    with pytest.raises(grammar.Refused):
        grammar.parse(expression)


def test_the_counter_finds_a_pattern_that_takes_too_long() -> None:
    nodes = grammar.parse(r"literal.{0,240}.{0,240}x")
    assert grammar.gaps(nodes) == 2
    assert max(grammar.steps(nodes, text) for text in grammar.attacks(nodes, match.WINDOW)) > STEPS


@pytest.mark.parametrize(
    ("expression", "literal"),
    [
        ("plain", "plain"),
        (r"a\.b\(c", "a.b(c"),
        ("abc?", "ab"),
        ("ab{2}", "a"),
        ("ab(?:c)", "ab"),
        (r"a\d", "a"),
    ],
)
def test_the_plain_text_of_a_pattern(expression: str, literal: str) -> None:
    assert rows.literal(expression) == literal
