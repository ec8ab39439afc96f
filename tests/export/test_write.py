"""Files are written where they differ, compared with ``--check``, and removed when nothing makes them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from d2lenv.base.errors import D2lEnvError
from d2lenv.export import plan
from d2lenv.export.formats.registry import FORMATS
from export.command import code, lock_text, run, snapshot


def test_an_export_is_followed_by_a_check_that_passes(root: Path) -> None:
    assert code(run(root)) == 0
    before = snapshot(root)
    assert "envs/cpu/conda-lock.yml" in before
    assert ".binder/environment.yml" in before
    assert not any(path.startswith("envs/default/") for path in before)  # the same packages as cpu
    assert code(run(root, "--check")) == 0
    assert snapshot(root) == before


def test_a_second_export_writes_nothing(root: Path) -> None:
    assert code(run(root)) == 0
    result = run(root, "--json")
    assert json.loads(result.stdout)["written"] == []


def test_any_touched_file_fails_the_check_with_a_diff(root: Path) -> None:
    assert code(run(root)) == 0
    for path in [path for path in snapshot(root) if path.startswith(("envs/", ".binder/"))]:
        file = root / path
        whole = file.read_bytes()
        file.write_bytes(whole.replace(b"\n", b"\nedited by hand\n", 1))
        result = run(root, "--check")
        assert code(result) == 1
        assert f"changed: {path}" in result.stdout
        assert "-edited by hand" in result.stdout
        file.write_bytes(whole)
    assert code(run(root, "--check")) == 0


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda data: data.replace(b"\n", b"\r\n"), "only the line ends differ"),
        (lambda data: b"\xff" + data, "not UTF-8"),
        (lambda data: data[:-1], "changed"),
    ],
)
def test_other_ways_to_spoil_a_file_are_found_too(root: Path, spoil: object, says: str) -> None:
    assert code(run(root)) == 0
    file = root / "envs" / "cpu" / "environment.yml"
    file.write_bytes(spoil(file.read_bytes()))  # type: ignore[operator]
    result = run(root, "--check")
    assert code(result) == 1
    assert says in result.stdout
    assert code(run(root)) == 0
    assert code(run(root, "--check")) == 0


def test_a_missing_file_and_one_that_nothing_makes_fail_the_check(root: Path) -> None:
    assert code(run(root)) == 0
    (root / "envs/cpu/PACKAGES.md").unlink()
    (root / "envs/cpu/conda-osx-64.lock").write_text("@EXPLICIT\n", encoding="utf-8")
    (root / "envs/cpu/notes.txt").write_text("mine\n", encoding="utf-8")
    (root / "envs/old").mkdir()
    (root / "envs/old/conda-lock.yml").write_text("version: 1\n", encoding="utf-8")
    data = json.loads(run(root, "--check", "--json").stdout)
    assert data["ok"] is False
    assert {(finding["kind"], finding["path"]) for finding in data["findings"]} == {
        ("missing", "envs/cpu/PACKAGES.md"),
        ("stale", "envs/cpu/conda-osx-64.lock"),
        ("stale", "envs/old/conda-lock.yml"),
    }
    assert code(run(root)) == 0
    assert not (root / "envs/cpu/conda-osx-64.lock").exists()
    assert not (root / "envs/old/conda-lock.yml").exists()
    assert (root / "envs/cpu/notes.txt").exists()


def test_one_format_does_not_speak_for_the_others_files(root: Path) -> None:
    assert code(run(root)) == 0
    for name in [*FORMATS, plan.REQUIREMENTS]:
        data = json.loads(run(root, "--check", "--format", name, "--json").stdout)
        assert data["ok"], (name, data)


def test_a_changed_lock_makes_its_exports_stale(root: Path) -> None:
    assert code(run(root)) == 0
    (root / "pixi.lock").write_text(lock_text("default", "cpu", md5="0" * 32), encoding="utf-8")
    data = json.loads(run(root, "--check", "--json").stdout)
    changed = {finding["path"] for finding in data["findings"]}
    assert "envs/cpu/conda-lock.yml" in changed
    assert "envs/cpu/conda-linux-64.lock" in changed
    assert "envs/cpu/conda-win-64.lock" not in changed  # its platform is as it was


def test_a_file_that_cannot_be_removed_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert code(run(root)) == 0
    (root / "envs" / "cpu" / "sbom-gone-64.cdx.json").write_text("{}", encoding="utf-8")

    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    result = run(root)
    assert isinstance(result.exception, D2lEnvError)
    assert "sbom-gone-64.cdx.json cannot be removed" in str(result.exception)
