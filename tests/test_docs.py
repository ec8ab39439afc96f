"""Documents say what the code and the locks say, and advisories are about versions that are locked."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import re
import sys
import types
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def generate(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "generate", module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_making_a_chinese_table_leaves_the_language_alone(generate: types.ModuleType) -> None:
    before = dict(os.environ)
    assert "是" in "\n".join(generate.PARTS["exports zh"]())
    assert "yes" in "\n".join(generate.PARTS["exports en"]())
    assert dict(os.environ) == before


def test_the_generated_parts_are_current(generate: types.ModuleType) -> None:
    for name in generate.DOCUMENTS:
        text = (ROOT / name).read_text(encoding="utf-8")
        assert generate.generated(text) == text, f"{name}: run `nox -s docs`"
    assert generate.main(["--check"]) == 0


def test_a_changed_version_makes_a_document_stale(
    generate: types.ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = {
        (n, "1.12.1" if (n, v) == ("torch", "1.12.0") else v, k, e) for n, v, k, e in generate.locked()
    }
    monkeypatch.setattr(generate, "locked", lambda: frozenset(changed))
    assert generate.main(["--check"]) == 1
    assert "SECURITY.md" in capsys.readouterr().out


def test_an_advisory_that_concerns_nothing_any_more_is_refused(
    generate: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generate, "locked", lambda: frozenset({("torch", "2.13.0", "wheel", "cuda")}))
    with pytest.raises(SystemExit, match="concerns no locked torch any more"):
        list(generate.advisory_rows())
    with pytest.raises(SystemExit, match="is locked nowhere any more"):
        list(generate.not_looked_up())


@pytest.mark.parametrize(
    ("version", "affected"),
    [("3.6.3", False), ("3.6.4", True), ("3.6.13", True), ("3.6.14", False), ("1!161.3030", False)],
)
def test_affected_are_the_versions_from_since_to_before_fixed(
    generate: types.ModuleType, version: str, affected: bool
) -> None:
    (row,) = (row for row in generate.advisories() if row.package == "gnutls")
    assert row.affects(version) is affected
    unmended = dataclasses.replace(row, fixed="", last="3.6.13")
    assert unmended.affects("3.6.13")
    assert not unmended.affects("3.6.14")


def test_every_advisory_names_an_identifier_a_page_and_a_day(generate: types.ModuleType) -> None:
    rows = generate.advisories()
    assert len(rows) >= 30
    for row in rows:
        assert row.ids
        assert all(re.fullmatch(r"(CVE-\d{4}|PYSEC-\d{4}|GHSA(-\w{4}){2})-\w{2,6}", name) for name in row.ids)
        assert row.source.startswith("http")
        assert row.needs in generate.NEEDS
        assert bool(row.fixed) != bool(row.last)
    assert len({row.ids[0] for row in rows}) == len(rows)


def test_the_pythons_without_mends_are_those_of_the_table(generate: types.ModuleType) -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    for row in generate.table()["python"]:
        assert f"{row['version']} of " in text
        assert str(row["until"]) in text
        assert row["source"] in text


def test_an_environment_says_in_pixi_toml_for_whom_it_is(generate: types.ModuleType) -> None:
    with pytest.raises(SystemExit, match=r"\[tool.d2lenv.environments.dev\] needs `about.en`"):
        generate.purpose("dev", "en")


def test_no_folder_has_more_than_ten_modules_and_no_module_more_than_400_lines() -> None:
    """CONTRIBUTING.md says it of the layout."""
    modules = [path for path in (ROOT / "scripts").rglob("*.py") if path.name != "__init__.py"]
    folders = Counter(path.parent.relative_to(ROOT).as_posix() for path in modules)
    assert folders["scripts/d2lenv/base"]
    assert {folder: count for folder, count in folders.items() if count > 10} == {}
    lines = {path.as_posix(): len(path.read_text(encoding="utf-8").splitlines()) for path in modules}
    assert {name: count for name, count in lines.items() if count > 400} == {}
