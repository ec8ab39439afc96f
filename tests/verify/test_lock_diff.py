"""`d2lenv diff`: every kind of side, and text that cannot break a table."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner
from markdown_it import MarkdownIt

import condakit
import proofkit
import wheelkit
from d2lenv.base.errors import D2lEnvError
from d2lenv.cli import app as cli
from d2lenv.facts import platforms
from d2lenv.verify import fingerprint
from d2lenv.verify import lock_diff as diff
from d2lenv.verify.package_sets import PackageState
from proofkit import Home

PLATFORM = platforms.current()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        yield proofkit.home(tmp_path_factory.mktemp("diff"), patch, stack)


@pytest.fixture(scope="module")
def newer(home: Home) -> Home:
    """The same checkout after a change: one package newer, one gone, one more, one wheel newer."""
    root = home.caches / "newer"
    shutil.copytree(home.root, root, ignore=shutil.ignore_patterns(".d2lenv"))
    packages = [package for package in proofkit.packages() if package.name not in ("fast", "oldstyle")]
    packages += [condakit.Package("fast", "2.0", "1"), condakit.Package("fresh", "1.0")]
    (address,) = home.workspace.channels
    condakit.write_workspace(root, address, tuple(packages), tool=wheelkit.TOOL)
    pins = [*proofkit.pins(home.caches / "newer-house")[1:], wheelkit.write_greet(home.caches / "n", "1.1")]
    wheelkit.write_pins(root, pins)
    return Home(root, home.house, home.channel, home.caches)


EXPECTED = {
    ("fast", "changed", "1.0 0", "2.0 1"),
    ("fresh", "added", "–", "1.0 0"),
    ("oldstyle", "removed", "1.0 0", "–"),
    ("greet", "changed", "1.0", "1.1"),
}


def rows(found: list[diff.PackageChange]) -> set[tuple[str, str, str, str]]:
    return {tuple(row[:4]) for row in diff._rows(found)}  # type: ignore[misc]


def run(home: Home, *words: str) -> tuple[int, str]:
    arguments = ["--workspace", str(home.root), "diff", *words]
    result = CliRunner().invoke(cli.cli, arguments, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return int(result.return_value), result.output


def test_two_checkouts(home: Home, newer: Home) -> None:
    found = diff.diff(home.workspace, str(home.root), str(newer.root))
    assert rows(found) == EXPECTED
    assert all(change.where == (("tiny", PLATFORM),) for change in found)


def test_two_lock_files_have_no_wheels(home: Home, newer: Home) -> None:
    found = diff.diff(home.workspace, str(home.root / "pixi.lock"), str(newer.root / "pixi.lock"))
    assert rows(found) == {row for row in EXPECTED if row[0] != "greet"}
    changed = next(change for change in found if change.name == "fast")
    assert set(changed.fields) == {"version", "build", "hash", "size"}


def test_two_requirements_files(home: Home, newer: Home) -> None:
    name = f"envs/tiny/requirements-{PLATFORM}.txt"
    assert rows(diff.diff(home.workspace, str(home.root / name), str(newer.root / name))) == {
        row for row in EXPECTED if row[0] == "greet"
    }


def test_two_git_revisions(home: Home, newer: Home, tmp_path: Path) -> None:
    root = tmp_path / "git"
    shutil.copytree(home.root, root, ignore=shutil.ignore_patterns(".d2lenv"))

    def git(*words: str) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *identity, *words], cwd=root, check=True, capture_output=True, timeout=60)

    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "one")
    git("tag", "one")
    shutil.copytree(newer.root, root, dirs_exist_ok=True)
    git("commit", "-qam", "two")
    both = Home(root, home.house, home.channel, home.caches)
    assert rows(diff.diff(both.workspace, "one", "HEAD")) == EXPECTED
    assert rows(diff.diff(both.workspace, "one", str(root))) == EXPECTED
    assert diff.diff(both.workspace, "HEAD", str(root)) == []
    for word in ("nothing", "--output=evil", "HEAD:pixi.lock"):
        with pytest.raises(D2lEnvError, match="no file, no folder and no git revision"):
            diff.diff(both.workspace, "HEAD", word)
    assert not (root / "evil").exists()
    git("rm", "-q", "pixi.lock")
    git("commit", "-qm", "three")
    with pytest.raises(D2lEnvError, match=r"HEAD has no pixi\.lock"):
        diff.diff(both.workspace, "HEAD", "one")


def test_two_prefixes_and_a_prefix_against_its_lock(home: Home, newer: Home, tmp_path: Path) -> None:
    first = home.build("rattler", tmp_path / "first")
    assert diff.diff(home.workspace, str(first), str(first)) == []
    assert rows(diff.diff(home.workspace, str(first), str(newer.root / "pixi.lock"))) == {
        row for row in EXPECTED if row[0] != "greet"
    }
    venv = home.build("wheels", tmp_path / "venv")
    name = f"envs/tiny/requirements-{PLATFORM}.txt"
    assert rows(diff.diff(home.workspace, str(venv), str(newer.root / name))) == {
        row for row in EXPECTED if row[0] == "greet"
    }


def test_two_fingerprints(home: Home, newer: Home, tmp_path: Path) -> None:
    prefix = home.build("wheels", tmp_path / "prefix")
    paths = []
    for number, own in enumerate((home, newer)):
        found = [fingerprint.of_lock(own.workspace, "tiny", PLATFORM)]
        found.append(fingerprint.of_wheels(own.workspace, "tiny", PLATFORM))
        if own is home:
            found.append(fingerprint.of_prefix(own.workspace, prefix)[1])
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps({"fingerprints": [one.as_json() for one in found]}), encoding="utf-8")
        paths.append(str(path))
    found_rows = rows(diff.diff(home.workspace, *paths))
    assert found_rows >= EXPECTED
    assert any(name.endswith("greet.py") and what == "removed" for name, what, _, _ in found_rows)


@pytest.mark.parametrize(
    "text", ["", "{}", "[3]", '["lines"]', '[{"lines": ["other 1"]}]', '[{"lines": []}]']
)
def test_a_json_file_that_is_no_fingerprint_is_refused(home: Home, tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(f'{{"fingerprints": {text}}}' if "[" in text else text, encoding="utf-8")
    with pytest.raises(D2lEnvError, match="is not what `d2lenv fingerprint --json` prints"):
        diff.diff(home.workspace, str(path), str(path))


def test_a_folder_that_is_no_environment_is_refused(home: Home, tmp_path: Path) -> None:
    with pytest.raises(D2lEnvError, match="is no environment"):
        diff.diff(home.workspace, str(tmp_path), str(tmp_path))


def test_the_same_change_in_several_places_is_one_row() -> None:
    old, new = PackageState("a", "conda", "1", "0"), PackageState("a", "conda", "2", "0")
    places = [("cuda", "linux-64"), ("cpu", "win-64"), ("cpu", "linux-64")]
    left = {place: {("conda", "a"): old} for place in places}
    right = {place: {("conda", "a"): new} for place in places}
    (change,) = diff.changes(left, right)
    assert diff._where(change) == "cpu linux-64 win-64, cuda linux-64"


def test_a_hash_that_changes_alone_is_shown_and_what_is_unknown_is_no_difference() -> None:
    old = PackageState("a", "conda", "1", "0", "sha256:" + "1" * 64, "https://c", "MIT", 10**6)
    key = {("e", "p"): {("conda", "a"): old}}
    new = PackageState("a", "conda", "1", "0", "sha256:" + "2" * 64, "https://d", "BSD", 2 * 10**6)
    (change,) = diff.changes(key, {("e", "p"): {("conda", "a"): new}})
    assert diff._others(change) == [
        "hash: sha256:111111111111 → sha256:222222222222",
        "channel: https://c → https://d",
        "licence: MIT → BSD",
        "size: 1.0 MB → 2.0 MB",
    ]
    unknown = PackageState("a", "conda", "1", "0")
    assert diff.changes(key, {("e", "p"): {("conda", "a"): unknown}}) == []


HOSTILE = "x|y <img src=x> [l](http://e) `c` **b** @user #1 :tada: ![i](j)\n| new | row |"


def test_markdown_shows_hostile_text_as_text() -> None:
    new = PackageState(HOSTILE, "conda", "1|2", "<b>", licence="a_b_c")
    text = diff.markdown(diff.changes({}, {("e", "p"): {("conda", HOSTILE): new}}))
    lines = text.splitlines()
    assert len(lines) == 5  # summary, empty, head, rule, one row
    assert lines[4].count("|") == lines[2].count("|")
    for part in ("<img", "](", "`", "**", "@user", ":tada:", "<b>", "http://"):
        assert part not in lines[4]
    page = MarkdownIt("commonmark").enable("table").render(text)
    assert page.count("<tr>") == 2
    assert page.count("<td>") == 6
    assert not re.search(r"<(img|a|code|strong|em|h1|b)\b", page)


def test_markdown_of_ordinary_packages_is_readable_in_its_source() -> None:
    old, new = (
        PackageState("py_x", "conda", "1.0", "py310_0"),
        PackageState("py_x", "conda", "2.0", "h1_cuda-11.7"),
    )
    text = diff.markdown(
        diff.changes({("e", "p"): {("conda", "x"): old}}, {("e", "p"): {("conda", "x"): new}})
    )
    assert "| py_x | changed | 1.0 py310_0 | 2.0 h1_cuda-11.7 |" in text


def test_nothing_of_a_packages_own_words_acts_on_the_terminal(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    meta = tmp_path / "conda-meta"
    meta.mkdir()
    data = {"name": "evil\x1b]0;x\x07", "version": "1\x1b[2J", "build": "0", "license": "\x1b[31m"}
    (meta / "evil-1-0.json").write_text(json.dumps(data), encoding="utf-8")
    (tmp_path / "empty" / "conda-meta").mkdir(parents=True)
    found = diff.diff(home.workspace, str(tmp_path / "empty"), str(tmp_path))
    assert found
    diff.show(found)
    text = capsys.readouterr().out
    assert "package" in text
    assert not {"\x1b", "\x07"} & set(text + diff.markdown(found))


def test_the_command_ends_with_1_when_they_differ(home: Home, newer: Home) -> None:
    status, text = run(home, str(home.root), str(newer.root), "--markdown")
    assert status == 1
    assert text.startswith("1 added, 1 removed, 2 changed.\n\n| package |")
    status, text = run(home, str(home.root), str(newer.root), "--json")
    assert status == 1
    names = {change["name"] for change in json.loads(text)["changes"]}
    assert names == {"fast", "fresh", "oldstyle", "greet"}
    status, text = run(home, str(home.root), str(home.root), "--markdown")
    assert (status, text) == (0, "Nothing differs.\n")


def test_the_table_names_every_change(home: Home, newer: Home, capsys: pytest.CaptureFixture[str]) -> None:
    diff.show(diff.diff(home.workspace, str(home.root), str(newer.root)))
    text = capsys.readouterr().out
    assert "1 added, 1 removed, 2 changed." in text
    assert "oldstyle" in text
