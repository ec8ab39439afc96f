"""The ``environment.yml`` family, read back as conda reads it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conda_lock.src_parser.selectors import filter_platform_selectors
from packaging.requirements import Requirement
from rattler import MatchSpec

from d2lenv.export.formats import environment_yml
from d2lenv.export.plan import of_workspace
from d2lenv.export.request import Request
from d2lenv.export.table import EnvironmentTable
from d2lenv.workspace import lockfile
from d2lenv.workspace import manifest as workspace
from export import sample_locks
from export.sample_locks import CONDA_FORGE, Env, pick, text
from export.tables import REPOSITORY, tables_of


def split(document: dict[str, Any]) -> tuple[list[str], list[str]]:
    """(conda specs, pip lines)"""
    conda = [item for item in document["dependencies"] or [] if isinstance(item, str)]
    pip = [line for item in document["dependencies"] or [] if isinstance(item, dict) for line in item["pip"]]
    return conda, pip


def check(path: Path, one: EnvironmentTable, platform: str, document: dict[str, Any]) -> None:
    """Each record is matched by exactly one spec, each spec matches exactly one record."""
    lock = lockfile.read(path)
    records = lock.records(one.environment, platform)
    conda, pip = split(document)
    matched = [[r.name.normalized for r in records if MatchSpec(spec).matches(r)] for spec in conda]
    assert all(len(names) == 1 for names in matched)
    assert sorted(names[0] for names in matched) == sorted(record.name.normalized for record in records)
    for spec, (name,) in zip(conda, matched, strict=True):
        record = next(r for r in records if r.name.normalized == name)
        assert spec.endswith(f"{name}={record.version}={record.build}")
    wheels = {(w.name, w.location) for w in lock.wheels(one.environment, platform)}
    found = {(Requirement(line).name, (Requirement(line).url or "").partition("#")[0]) for line in pip}
    assert found == wheels


def test_each_platform_has_every_package_exactly(sample: Path) -> None:
    for one in tables_of(sample):
        made = environment_yml.every_package(one)
        for target in one.targets:
            document = yaml.safe_load(made[f"{one.folder}/environment-{target.platform}.yml"])
            assert document["name"] == one.title
            check(sample, one, target.platform, document)


def test_the_file_of_all_platforms_says_the_same_through_conda_locks_selectors(sample: Path) -> None:
    for one in tables_of(sample):
        content = environment_yml.every_package(one)[f"{one.folder}/environment.yml"]
        for target in one.targets:
            filtered = "\n".join(filter_platform_selectors(content, platform=target.subdir))
            check(sample, one, target.platform, yaml.safe_load(filtered))


def test_each_package_is_named_with_its_channel(own_tables: list[EnvironmentTable]) -> None:
    (cuda,) = [one for one in own_tables if one.environment == "cuda"]
    document = yaml.safe_load(environment_yml.every_package(cuda)["cuda/environment-linux-64.yml"])
    assert document["channels"] == ["nvidia", "conda-forge", "pytorch"]
    conda, _ = split(document)
    assert all("::" in spec for spec in conda)
    assert "pytorch::pytorch=2.0.1=py3.10_cuda11.7_cudnn8.5.0_0" in conda
    assert any(spec.startswith("conda-forge::python=3.10.") for spec in conda)
    assert any(spec.startswith("nvidia::cuda-cudart=11.7") for spec in conda)


def test_no_file_has_the_channel_that_conda_26_7_cannot_find() -> None:
    """conda takes `nodefaults` for a channel and fails; `tests/looks/real_conda.py` tries it."""
    plan = of_workspace(workspace.load(REPOSITORY), Request(formats=("environment", "studio-lab", "binder")))
    assert len(plan.texts) == 19
    for path, content in plan.texts.items():
        assert "nodefaults" not in content, path


def test_a_file_for_conda_says_that_defaults_is_asked_and_how_to_leave_it_out(
    own_tables: list[EnvironmentTable],
) -> None:
    (cpu,) = [one for one in own_tables if one.environment == "cpu"]
    made = environment_yml.every_package(cpu) | environment_yml.studio_lab(cpu)
    for_conda = {path: text for path, text in made.items() if not path.endswith("environment.yml")}
    assert len(for_conda) == 5
    for path, content in for_conda.items():
        head = content.partition("name:")[0]
        assert "`defaults`" in head
        assert f"CONDA_CHANNELS=conda-forge conda env create --file {path.split('/')[1]}" in head
    assert "environment-PLATFORM.yml" in made["cpu/environment.yml"].partition("name:")[0]


def test_our_studio_lab_files_fit_on_its_disk(own_tables: list[EnvironmentTable]) -> None:
    learners = [one for one in own_tables if one.environment in ("cpu", "cuda", "cuda12")]
    assert len(learners) == 3
    for one in learners:
        target = one.target("linux-64")
        assert target is not None
        assert environment_yml.installed_bytes(target) < environment_yml.STUDIO_LAB_DISK
        content = environment_yml.studio_lab(one)[f"{one.folder}/studio-lab.yml"]
        assert "not checked on the service" in content
        assert "that fits" in content


def test_an_environment_too_large_for_studio_lab_says_so(tmp_path: Path) -> None:
    path = tmp_path / "pixi.lock"
    huge = pick("linux-64", "bzip2")[0] | {"size": 9_000_000_000}
    path.write_text(text(6, {"default": Env((CONDA_FORGE,), {"linux-64": [huge]})}), encoding="utf-8")
    (one,) = tables_of(path)
    assert "DOES NOT FIT" in environment_yml.studio_lab(one)["default/studio-lab.yml"]


def test_binder_gets_one_environment_and_a_python_that_repo2docker_sees() -> None:
    plan = of_workspace(workspace.load(REPOSITORY), Request(formats=("binder",)))
    assert list(plan.texts) == [".binder/environment.yml"]
    document = yaml.safe_load(plan.texts[".binder/environment.yml"])
    # repo2docker finds the version with this expression, at the start of the line
    versions = [m[1] for spec in document["dependencies"] if (m := re.match(r"python\s*=+\s*([\d.]*)", spec))]
    assert [version[:5] for version in versions] == ["3.10."]


def unknown_platform(tmp_path: Path) -> Iterator[EnvironmentTable]:
    path = tmp_path / "pixi.lock"
    for platform in ("win-arm64", "linux-riscv64"):
        record = pick("linux-64", "tzdata")
        path.write_text(text(6, {"default": Env((CONDA_FORGE,), {platform: record})}), encoding="utf-8")
        yield from tables_of(path)


def test_platforms_that_conda_lock_does_not_know_are_named(tmp_path: Path) -> None:
    found = list(unknown_platform(tmp_path))
    assert [environment_yml.selector_problem(one) for one in found] == [
        "conda-lock does not know win-arm64",
        "conda-lock does not know linux-riscv64",
    ]
    assert "default/environment.yml" not in environment_yml.every_package(found[0])


def test_a_named_platform_has_a_file_of_its_own_that_says_what_it_needs(tmp_path: Path) -> None:
    (one,) = tables_of(sample_locks.write_named(tmp_path))
    made = environment_yml.every_package(one)
    assert sorted(made) == [
        "default/environment-linux-64.yml",
        "default/environment-linux-cuda.yml",
        "default/environment-osx-64.yml",
        "default/environment.yml",
    ]
    assert "# Only for a machine that has __cuda >=12.8.\n" in made["default/environment-linux-cuda.yml"]
    assert "__cuda" not in made["default/environment.yml"] + made["default/environment-linux-64.yml"]
    assert "libzlib" in made["default/environment-linux-cuda.yml"]
    assert "libzlib" not in made["default/environment.yml"]


def test_services_get_the_platform_that_needs_least(tmp_path: Path) -> None:
    (one,) = tables_of(sample_locks.write_named(tmp_path))
    assert "libzlib" not in environment_yml.studio_lab(one)["default/studio-lab.yml"]


@pytest.mark.parametrize("name", ["v6-channel-on-another-host", "v6-channel-with-a-label"])
def test_channels_of_other_hosts_and_labels_keep_their_address(tmp_path: Path, name: str) -> None:
    path = tmp_path / "pixi.lock"
    path.write_text(sample_locks.good()[name], encoding="utf-8")
    (one,) = tables_of(path)
    made = environment_yml.every_package(one)
    document = yaml.safe_load(made["default/environment.yml"])
    first = document["channels"][0]
    assert first in ("https://prefix.dev/conda-forge", "conda-forge/label/python_rc")
    conda, _ = split(document)
    # conda before 26.7 cuts an address in a spec down to the name of a channel on its usual host
    named = [spec for spec in conda if "::" in spec]
    assert (named == []) == ("://" in first)
    head = made["default/environment-linux-64.yml"].partition("name:")[0]
    assert ("each one here names its channel" in head) == bool(named)
