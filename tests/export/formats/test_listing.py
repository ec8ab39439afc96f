"""``PACKAGES.md``: what a person reads, and that nothing in a lock becomes markup."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from d2lenv.base.errors import D2lEnvError
from d2lenv.export.formats import listing
from d2lenv.export.formats.text import bytes_text, escaped
from d2lenv.export.table import EnvironmentTable
from export import sample_locks
from export.sample_locks import CONDA_FORGE, Env, pick, text
from export.tables import tables_of


def made(one: EnvironmentTable) -> str:
    return listing.files(one)[f"{one.folder}/PACKAGES.md"]


def rows(content: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in content.splitlines()
        if line.startswith("| ")
    ]


def test_every_package_has_a_row_with_its_version_on_each_platform(
    own_tables: list[EnvironmentTable],
) -> None:
    for one in own_tables:
        content = made(one).partition("## Packages")[2].partition("## Changes")[0]
        found = {html.unescape(row[0]): [html.unescape(cell) for cell in row[1:]] for row in rows(content)}
        names = {package.name for target in one.targets for package in target.packages}
        assert set(found) == names | {"package"}
        for index, target in enumerate(one.targets):
            versions = {package.name: package.version for package in target.packages}
            for name in names:
                assert found[name][index] == versions.get(name, "–")


def test_every_row_has_as_many_cells_as_its_head(sample: Path, own_tables: list[EnvironmentTable]) -> None:
    for one in [*tables_of(sample), *own_tables]:
        for part in made(one).split("\n\n"):
            assert len({len(row) for row in rows(part)}) <= 1, part


def test_pypi_packages_have_a_row(tmp_path: Path) -> None:
    path = tmp_path / "pixi.lock"
    path.write_text(sample_locks.good()["v6-pypi"], encoding="utf-8")
    (one,) = tables_of(path)
    assert ["requests", "2.31.0", "unknown", "unknown", "PyPI"] in rows(made(one))


def test_a_licence_cannot_become_markup(tmp_path: Path) -> None:
    path = tmp_path / "pixi.lock"
    licence = "MIT | <script>x</script> `y` [z](https://evil.example) ~~w~~ www.evil.example *b* _c_"
    record = pick("linux-64", "bzip2")[0] | {"license": licence}
    path.write_text(text(6, {"default": Env((CONDA_FORGE,), {"linux-64": [record]})}), encoding="utf-8")
    (one,) = tables_of(path)
    (line,) = [line for line in made(one).splitlines() if line.startswith("| bzip2")]
    assert len(rows(line)[0]) == 5
    cell = rows(line)[0][2]
    assert not re.search(r"[<>`\[\]()*~_|]|https?:", cell)
    assert "script" in cell


def test_without_an_earlier_release_it_says_so(own_tables: list[EnvironmentTable]) -> None:
    assert made(own_tables[0]).endswith("## Changes\n\nNo release before this one.\n")


def test_what_changed_since_a_release_is_listed(tmp_path: Path) -> None:
    path = tmp_path / "pixi.lock"
    path.write_text(sample_locks.good()["v6-pypi"], encoding="utf-8")
    (one,) = tables_of(path)
    old = {"linux-64": {"cycler": "0.11.0 pyhd8ed1ab_0", "gone": "1 0", **listing.versions(one.targets[0])}}
    old["linux-64"]["cycler"] = "0.11.0 pyhd8ed1ab_0"
    del old["linux-64"]["requests (PyPI)"]
    content = made(replace(one, previous=old, previous_name="v0.1.0")).partition("## Changes")[2]
    assert "Since v0.1.0:" in content
    assert rows(content)[1:] == [
        ["linux-64", "cycler", "0.11.0 pyhd8ed1ab&#95;0".replace("&#95;", "_"), "0.12.1 pyhcf101f3_2"],
        ["linux-64", "gone", "1 0", "–"],
        ["linux-64", escaped("requests (PyPI)"), "–", "2.31.0"],
    ]


def test_a_release_without_changes_and_a_new_environment_are_named(
    own_tables: list[EnvironmentTable],
) -> None:
    one = own_tables[0]
    same = {target.platform: listing.versions(target) for target in one.targets}
    assert made(replace(one, previous=same, previous_name="v1")).endswith("Since v1:\n\nNothing changed.\n")
    assert made(replace(one, previous=None, previous_name="v1")).endswith("This environment is new.\n")


def test_a_release_is_read_back_as_it_was_written(tmp_path: Path, own_tables: list[EnvironmentTable]) -> None:
    environments = {
        one.environment: {target.platform: listing.versions(target) for target in one.targets}
        for one in own_tables
    }
    release = listing.PreviousRelease("v0.1.0", environments)
    path = tmp_path / listing.PREVIOUS
    path.write_text(listing.previous_text(release), encoding="utf-8")
    assert listing.read_previous(path) == release
    assert listing.read_previous(tmp_path / "none.json") is None


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"release": "x", "environments": 3}', '{"release": 1, "environments": {"a": 1}}'],
)
def test_a_damaged_list_of_a_release_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / listing.PREVIOUS
    path.write_text(content, encoding="utf-8")
    with pytest.raises(D2lEnvError, match="not a list"):
        listing.read_previous(path)


def test_the_text_of_a_release_is_sorted_json() -> None:
    data = json.loads(listing.previous_text(listing.PreviousRelease("x", {"b": {}, "a": {}})))
    assert list(data["environments"]) == ["a", "b"]


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (99_499, "99.5 kB"),
        (123_456, "123 kB"),
        (1_234_567, "1.2 MB"),
        (2_500_000_000, "2.50 GB"),
    ],
)
def test_sizes_are_written_for_people(size: int, expected: str) -> None:
    assert bytes_text(size) == expected
