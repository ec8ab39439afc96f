"""The workflows: pinned, locked, with no more rights than they need."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from d2lenv.facts import platforms
from d2lenv.verify import attest
from d2lenv.workspace import manifest as workspace
from d2lenv.workspace import settings

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def load(name: str) -> dict[str, Any]:
    data = yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text(encoding="utf-8"))
    assert isinstance(data, dict)
    return data


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_action_is_pinned_by_commit_and_names_its_release(path: Path) -> None:
    uses = re.findall(r"uses: (\S+)(.*)", path.read_text(encoding="utf-8"))
    assert uses
    pins: dict[str, str] = {}
    for action, comment in uses:
        name, _, commit = action.partition("@")
        assert re.fullmatch("[0-9a-f]{40}", commit), action
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), action
        assert pins.setdefault(name, commit) == commit


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_workflow_may_only_read_unless_a_job_says_otherwise(path: Path) -> None:
    assert load(path.name)["permissions"] == {"contents": "read"}


def test_the_matrix_is_exactly_the_environments_and_platforms_of_the_workspace() -> None:
    matrix = load("ci.yml")["jobs"]["pixi"]["strategy"]["matrix"]
    run = {(row["os"], row["environment"]) for row in matrix["include"]}
    ours = workspace.load(ROOT)
    expected = {
        (platforms.row(platform.subdir).runner, name)
        for name, environment in ours.environments.items()
        if name not in ("default", "dev")
        for platform in environment.targets.values()
    }
    assert run == expected
    assert all(runner for runner, _ in run)


def test_pixi_never_changes_the_lock_but_in_the_weekly_job() -> None:
    for path in FILES:
        for line in path.read_text(encoding="utf-8").splitlines():
            if "pixi run" in line:
                assert "--locked" in line, line
            if "pixi update" in line:
                assert path.name == "weekly.yml"
        steps = [step for job in load(path.name)["jobs"].values() for step in job["steps"]]
        for step in steps:
            if "setup-pixi" in step.get("uses", ""):
                assert step["with"]["locked"] is True


def test_what_is_attested_is_what_the_command_writes() -> None:
    jobs = load("release.yml")["jobs"]
    (step,) = (step for step in jobs["attest"]["steps"] if step["uses"].startswith("actions/attest@"))
    assert step["with"] == {
        "subject-checksums": "attestation-subjects.sha256",
        "predicate-type": attest.PREDICATE,
        "predicate-path": "attestation-predicate.json",
    }
    (upload,) = (step for step in jobs["state"]["steps"] if "upload-artifact@" in step.get("uses", ""))
    assert "reports/attestation*" in upload["with"]["path"].split()


def test_a_job_that_may_write_installs_nothing_and_runs_nothing_of_the_repository() -> None:
    writing = {
        (path.name, name): job
        for path in FILES
        for name, job in load(path.name)["jobs"].items()
        if "write" in job.get("permissions", {}).values()
    }
    assert set(writing) == {("release.yml", "attest"), ("release.yml", "publish"), ("weekly.yml", "propose")}
    for job in writing.values():
        for step in job["steps"]:
            action = step.get("uses", "").partition("@")[0]
            assert action in ("", "actions/checkout", "actions/download-artifact", "actions/attest")
            programs = {line.split()[0] for line in step.get("run", "").replace("\\\n", " ").splitlines()}
            assert programs <= {"git", "gh", "tar", "if", "fi", 'body="$RUNNER_TEMP/moved/body.md"'}


@pytest.mark.parametrize("path", [*FILES, ROOT / ".ci" / "run"], ids=lambda path: path.name)
def test_nothing_is_installed_but_through_run_py(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "run.py" in text
    assert not re.search(r"\b(pip|pipx|uvx|npm|npx|uv (pip|tool|run)|cargo|go)\b (?!-)", text)
    assert not re.search(r"install -e|pip install", text)


def test_the_form_offers_the_environments_that_a_learner_has() -> None:
    form = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / "environment.yml").read_text("utf-8"))
    (offered,) = (field for field in form["body"] if field.get("id") == "environment")
    ours = workspace.load(ROOT)
    variants = settings.load(ours)
    learners = {name for name in (*ours.environments, *variants) if name not in ("default", "dev")}
    assert {*offered["attributes"]["options"]} == {*learners, "one of my own / 自己的环境"}
