"""`d2lenv attest`: an in-toto statement whose digests are those of the files."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import proofkit
from d2lenv.base.errors import D2lEnvError
from d2lenv.cli import app as cli
from d2lenv.facts import platforms
from d2lenv.verify import attest
from proofkit import Home


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    with ExitStack() as stack:
        yield proofkit.home(tmp_path, monkeypatch, stack)


def report(home: Home, name: str, data: object) -> Path:
    path = home.root / "reports" / name / "result.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def test_the_subjects_are_the_locks_and_the_exports_with_their_digests(home: Home) -> None:
    (home.root / "envs" / "tiny" / "conda-lock.yml").write_text("x\n", encoding="utf-8")
    made = attest.statement(home.workspace, {})
    assert made["_type"] == "https://in-toto.io/Statement/v1"
    assert re.fullmatch(r"[a-z]+:\S+", made["predicateType"])
    names = [subject["name"] for subject in made["subject"]]
    requirements = f"envs/tiny/requirements-{platforms.current()}.txt"
    assert names == sorted(["pixi.toml", "pixi.lock", "envs/tiny/conda-lock.yml", requirements])
    for subject in made["subject"]:
        data = (home.root / subject["name"]).read_bytes()
        assert subject["digest"] == {"sha256": hashlib.sha256(data).hexdigest()}


@pytest.mark.skipif(os.name != "posix", reason="links of POSIX")
def test_a_link_is_no_subject(home: Home) -> None:
    (home.root / "envs" / "tiny" / "passwd").symlink_to("/etc/passwd")
    assert not any("passwd" in name for name in attest.subjects(home.workspace))


def test_the_predicate_says_how_it_was_made_and_what_was_run(home: Home) -> None:
    notebooks = [{"name": "01", "status": "passed"}, {"name": "02", "status": "failed"}]
    python = {"platform": "Linux", "executable": "/home/somebody/python"}
    smoke = {"environment": "tiny", "ok": False, "partial": False, "notebooks": notebooks, "python": python}
    path = report(home, "tiny", smoke)
    report(home, "repro-tiny", {"environment": "tiny", "ok": True, "undone": {"prefix": 2}, "entries": 9})
    report(home, "other", {"unknown": 1})
    report(home, "list", [1])
    made = attest.statement(
        home.workspace, {"GITHUB_RUN_ID": "7", "HOME": "/secret", "GITHUB_TOKEN": "secret"}
    )
    predicate = made["predicate"]
    assert predicate["run"] == {"GITHUB_RUN_ID": "7"}
    assert set(predicate["tools"]) == {"d2lenv", "python", "py-rattler", "uv"}
    (one,) = predicate["smoke"]
    assert one["notebooks"] == {"01": "passed", "02": "failed"}
    assert one["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    (two,) = predicate["repro"]
    assert (two["ok"], two["entries"]) == (True, 9)
    assert len(predicate["fingerprints"]) == 2
    assert "secret" not in json.dumps(made)
    assert "somebody" not in json.dumps(made)


def test_it_says_whether_the_files_are_the_commits(home: Home) -> None:
    assert attest.statement(home.workspace, {})["predicate"]["source"] == {}

    def git(*words: str) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *identity, *words], cwd=home.root, check=True, capture_output=True, timeout=60)

    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "one")
    source = attest.statement(home.workspace, {})["predicate"]["source"]
    assert re.fullmatch("[0-9a-f]{40}", source["commit"])
    assert source["changed"] is False
    with (home.root / "pixi.toml").open("a", encoding="utf-8") as file:
        file.write("\n")
    assert attest.statement(home.workspace, {})["predicate"]["source"]["changed"] is True


def test_a_damaged_report_is_an_error_and_not_left_out(home: Home) -> None:
    path = report(home, "tiny", {})
    path.write_text("{", encoding="utf-8")
    with pytest.raises(D2lEnvError, match=r"result\.json cannot be read"):
        attest.statement(home.workspace, {})


def test_a_file_that_cannot_be_read_is_an_error(home: Home) -> None:
    with pytest.raises(D2lEnvError, match="cannot be read"):
        attest._sha256(home.root / "none")


def test_the_command_writes_the_statement_and_its_two_halves(home: Home) -> None:
    result = CliRunner().invoke(cli.cli, ["--workspace", str(home.root), "attest"], standalone_mode=False)
    assert result.exception is None, result.exception
    folder = home.root / "reports"
    made = json.loads((folder / "attestation.json").read_text(encoding="utf-8"))
    predicate = json.loads((folder / "attestation-predicate.json").read_text(encoding="utf-8"))
    assert made["predicate"] == predicate
    if os.name == "posix":
        check = ["sha256sum", "--check", "--strict", "reports/attestation-subjects.sha256"]
        subprocess.run(check, cwd=home.root, check=True, capture_output=True, timeout=60)
    sums = (folder / "attestation-subjects.sha256").read_text(encoding="utf-8").splitlines()
    assert len(sums) == len(made["subject"])


@pytest.mark.parametrize(
    "change",
    [{"partial": True, "ended": 1}, {"partial": None}, {"notebooks": [{"name": "a", "status": "passed"}]}],
    ids=["partial", "of an older tool", "of other notebooks"],
)
def test_a_run_that_is_not_of_every_notebook_is_not_counted(
    home: Home, capsys: pytest.CaptureFixture[str], change: dict[str, Any]
) -> None:
    (home.root / "notebooks").mkdir()
    for name in ("a", "b"):
        (home.root / "notebooks" / f"{name}.ipynb").write_text("{}", encoding="utf-8")
    notebooks = [{"name": name, "status": "passed"} for name in ("a", "b")]
    full = {"environment": "tiny", "ok": True, "partial": False, "total": 2, "notebooks": notebooks}
    report(home, "tiny", full)
    report(home, "tiny-partial", full | change)
    made = attest.statement(home.workspace, {})
    assert [one["notebooks"] for one in made["predicate"]["smoke"]] == [{"a": "passed", "b": "passed"}]
    assert [one["report"] for one in made["predicate"]["not_counted"]] == ["reports/tiny-partial/result.json"]
    attest.show(made)
    assert "reports/tiny-partial/result.json is not counted" in capsys.readouterr().out


def test_what_a_full_release_would_have_is_said(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    attest.show(attest.statement(home.workspace, {}))
    text = capsys.readouterr().out
    assert "not checked: no smoke run lies in reports/" in text
    assert "not checked: no repro run lies in reports/" in text
    assert "not signed" in text
    report(home, "tiny", {"environment": "tiny", "ok": True, "partial": False, "notebooks": []})
    report(home, "repro-tiny", {"environment": "tiny", "ok": False, "undone": {}})
    made = attest.statement(home.workspace, {})
    made["predicate"]["source"] = {"changed": True}
    attest.show(made)
    text = capsys.readouterr().out
    assert "smoke tiny: passed" in text
    assert "repro tiny: not the same" in text
    assert "this is no release" in text
