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
from d2lenv.export.plan import Request, of_workspace
from d2lenv.export.table import Bundle
from d2lenv.workspace import lockfile
from d2lenv.workspace import manifest as workspace
from export import sample_locks
from export.lock_bundles import REPOSITORY, bundles_of
from export.sample_locks import CONDA_FORGE, Env, pick, text


def split(document: dict[str, Any]) -> tuple[list[str], list[str]]:
    """(conda specs, pip lines)"""
    conda = [item for item in document["dependencies"] or [] if isinstance(item, str)]
    pip = [line for item in document["dependencies"] or [] if isinstance(item, dict) for line in item["pip"]]
    return conda, pip


def check(path: Path, one: Bundle, platform: str, document: dict[str, Any]) -> None:
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
    for one in bundles_of(sample):
        made = environment_yml.every_package(one)
        for target in one.targets:
            document = yaml.safe_load(made[f"{one.folder}/environment-{target.platform}.yml"])
            assert document["name"] == one.title
            assert document["channels"][-1] == "nodefaults"
            check(sample, one, target.platform, document)


def test_the_file_of_all_platforms_says_the_same_through_conda_locks_selectors(sample: Path) -> None:
    for one in bundles_of(sample):
        content = environment_yml.every_package(one)[f"{one.folder}/environment.yml"]
        for target in one.targets:
            filtered = "\n".join(filter_platform_selectors(content, platform=target.subdir))
            check(sample, one, target.platform, yaml.safe_load(filtered))


def test_a_package_of_a_later_channel_is_named_with_it(own_bundles: list[Bundle]) -> None:
    (cuda,) = [one for one in own_bundles if one.environment == "cuda"]
    document = yaml.safe_load(environment_yml.every_package(cuda)["cuda/environment-linux-64.yml"])
    assert document["channels"] == ["nvidia", "conda-forge", "pytorch", "nodefaults"]
    conda, _ = split(document)
    assert "pytorch::pytorch=2.0.1=py3.10_cuda11.7_cudnn8.5.0_0" in conda
    assert any(spec.startswith("conda-forge::python=3.10.") for spec in conda)
    assert any(spec.startswith("cuda-cudart=11.7") for spec in conda)


def test_what_a_person_would_write_comes_from_the_manifest() -> None:
    plan = of_workspace(workspace.load(REPOSITORY), Request(formats=("short",)))
    document = yaml.safe_load(plan.texts["envs/cuda/environment.short-linux-64.yml"])
    assert document["channels"] == ["nvidia", "conda-forge", "pytorch", "nodefaults"]
    assert {"python=3.10", "d2l=1.0.3", "pytorch::pytorch-cuda=11.7", "mkl<2024.1", "ipykernel"} <= set(
        document["dependencies"]
    )
    assert "envs/cuda12/environment.short.yml" in plan.texts  # one platform, one file
    assert "envs/cuda/environment.short.yml" not in plan.texts


def test_every_short_spec_is_fulfilled_by_the_lock() -> None:
    ours = workspace.load(REPOSITORY)
    lock = lockfile.read(ours.lock)
    plan = of_workspace(ours, Request(formats=("short",)))
    assert plan.texts
    for path, content in plan.texts.items():
        environment = path.split("/")[1]
        match = re.search(r"short-(.+)\.yml$", path)
        (platform,) = [match[1]] if match else lock.platforms(environment)
        records = lock.records(environment, platform)
        for spec in yaml.safe_load(content)["dependencies"]:
            assert any(MatchSpec(spec).matches(record) for record in records), (path, spec)


def test_without_a_manifest_the_short_file_has_what_nothing_else_needs(tmp_path: Path) -> None:
    path = tmp_path / "pixi.lock"
    records = pick("linux-64", "_openmp_mutex", "llvm-openmp", "tzdata")
    path.write_text(text(6, {"default": Env((CONDA_FORGE,), {"linux-64": records})}), encoding="utf-8")
    (one,) = bundles_of(path)
    document = yaml.safe_load(environment_yml.short(one)["default/environment.short.yml"])
    assert document["dependencies"] == ["_openmp_mutex=4.5", "tzdata=2026c"]


def test_our_studio_lab_files_fit_on_its_disk(own_bundles: list[Bundle]) -> None:
    learners = [one for one in own_bundles if one.environment in ("cpu", "cuda", "cuda12")]
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
    (one,) = bundles_of(path)
    assert "DOES NOT FIT" in environment_yml.studio_lab(one)["default/studio-lab.yml"]


def test_binder_gets_one_environment_and_a_python_that_repo2docker_sees() -> None:
    plan = of_workspace(workspace.load(REPOSITORY), Request(formats=("binder",)))
    assert list(plan.texts) == [".binder/environment.yml"]
    document = yaml.safe_load(plan.texts[".binder/environment.yml"])
    # repo2docker finds the version with this expression, at the start of the line
    versions = [m[1] for spec in document["dependencies"] if (m := re.match(r"python\s*=+\s*([\d.]*)", spec))]
    assert [version[:5] for version in versions] == ["3.10."]


def unknown_platform(tmp_path: Path) -> Iterator[Bundle]:
    path = tmp_path / "pixi.lock"
    for platform in ("win-arm64", "linux-riscv64"):
        record = pick("linux-64", "tzdata")
        path.write_text(text(6, {"default": Env((CONDA_FORGE,), {platform: record})}), encoding="utf-8")
        yield from bundles_of(path)


def test_platforms_that_conda_lock_does_not_know_are_named(tmp_path: Path) -> None:
    found = list(unknown_platform(tmp_path))
    assert [environment_yml.selector_problem(one) for one in found] == [
        "conda-lock does not know win-arm64",
        "conda-lock does not know linux-riscv64",
    ]
    assert "default/environment.yml" not in environment_yml.every_package(found[0])


def test_two_platforms_of_one_subdir_are_named(tmp_path: Path) -> None:
    path = tmp_path / "pixi.lock"
    records = pick("linux-64", "bzip2")
    env = Env((CONDA_FORGE,), {"linux-64": records, "linux-cuda": records})
    path.write_text(text(7, {"default": env}, {"linux-cuda": "linux-64"}), encoding="utf-8")
    (one,) = bundles_of(path)
    assert environment_yml.selector_problem(one) == "two platforms share a subdir: linux-64, linux-cuda"


@pytest.mark.parametrize("name", ["v6-channel-on-another-host", "v6-channel-with-a-label"])
def test_channels_of_other_hosts_and_labels_keep_their_address(tmp_path: Path, name: str) -> None:
    path = tmp_path / "pixi.lock"
    path.write_text(sample_locks.good()[name], encoding="utf-8")
    (one,) = bundles_of(path)
    document = yaml.safe_load(environment_yml.every_package(one)["default/environment.yml"])
    assert document["channels"][0] in ("https://prefix.dev/conda-forge", "conda-forge/label/python_rc")
