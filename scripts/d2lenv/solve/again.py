"""Solve again with the locked records as the only candidates: the answer must be the same set."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from d2lenv.base.errors import D2lEnvError
from d2lenv.base.messages import tr
from d2lenv.solve import conda
from d2lenv.solve.rules import Part, Remark
from d2lenv.workspace.environments import Environment
from d2lenv.workspace.lockfile import Lock
from d2lenv.workspace.manifest import Workspace


def solve_again(workspace: Workspace, lock: Lock) -> list[Remark]:
    """Solve with the locked records as the only candidates: the answer must be the same set."""
    remarks: list[Remark] = []
    for environment in workspace.environments.values():
        for platform in environment.platforms:
            if platform not in lock.platforms(environment.name):
                continue
            records = lock.records(environment.name, platform)
            part = Part(environment, platform, records)
            with tempfile.TemporaryDirectory() as folder:
                _write_repodata(Path(folder), part)
                only = Workspace(workspace.root, {environment.name: _alone(environment, platform)})
                try:
                    answer = conda.solve_workspace(only, conda.Snapshot(Path(folder)))
                except D2lEnvError as error:
                    remarks.append(part.remark("solve", "", error.why or error.what))
                    continue
            got = {record.url for record in answer[environment.name, platform]}
            remarks.extend(
                part.remark("solve", record.name.normalized, tr("solving again does not take it"))
                for record in records
                if record.url not in got
            )
    return remarks


def _alone(environment: Environment, platform: str) -> Environment:
    specs = {platform: environment.specs[platform]}
    targets = {platform: environment.targets[platform]}
    return Environment(environment.name, environment.channels, targets, specs)


def _write_repodata(folder: Path, part: Part) -> None:
    for channel in part.environment.channels:
        name = channel.rstrip("/").rsplit("/", 1)[-1]
        for subdir in (part.target.subdir, "noarch"):
            rows: dict[str, dict[str, object]] = {"packages": {}, "packages.conda": {}}
            for record in part.records:
                if record.channel.rstrip("/") + "/" == channel and record.subdir == subdir:
                    data = json.loads(record.to_json())
                    file_name = data.pop("fn")
                    data.pop("url")
                    data.pop("channel")
                    section = "packages.conda" if file_name.endswith(".conda") else "packages"
                    rows[section][file_name] = data
            path = folder / name / subdir / "repodata.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"info": {"subdir": subdir}, **rows}), encoding="utf-8")
