"""What a run found."""

from __future__ import annotations

from d2lenv.smoke import results


def test_terminal_codes_are_removed() -> None:
    assert (
        results.plain("\x1b[0;31mred\x1b[0m \x1b]8;;x\x07link\x1b]8;;\x07 \x1b[?25hend\x1b") == "red link end"
    )
