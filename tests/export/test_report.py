"""What an export says."""

from __future__ import annotations

import json
from pathlib import Path

from d2lenv.export import report
from export.command import code, run


def test_a_long_diff_is_cut_for_people_and_whole_for_machines(root: Path) -> None:
    assert code(run(root)) == 0
    file = root / "envs" / "cpu" / "PACKAGES.md"
    file.write_text("edited\n" * 500 + file.read_text(encoding="utf-8"), encoding="utf-8")
    shown = run(root, "--check").stdout
    assert shown.count("-edited") < report.SHOWN_LINES
    assert "more lines" in shown
    (finding,) = json.loads(run(root, "--check", "--json").stdout)["findings"]
    assert finding["detail"].count("-edited") == 500
