"""What CI and run.py install: all of pyproject.toml, each file with its hash, no address."""

from __future__ import annotations

import itertools
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import tomli
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
FILES = {path.stem: path for path in (ROOT / ".ci" / "requirements").glob("*.txt")}
PROJECT: dict[str, Any] = tomli.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
# `nox -s requirements -- --check` also proves, with the index, that the solver gives just these.
PLATFORMS = ("linux", "darwin", "win32")
WANTED = {"dev": ("dev",), "tool": ("run",), "browser": ("browser",)}


def locked(name: str) -> dict[str, list[Requirement]]:
    """Package → its pins, one for each marker."""
    text = re.sub(r" \\\n +", " ", FILES[name].read_text(encoding="utf-8"))
    found: dict[str, list[Requirement]] = {}
    for line in text.splitlines():
        words, *hashes = line.split(" --hash=sha256:")
        assert hashes, line
        assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in hashes), line
        requirement = Requirement(words)
        found.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return found


def group(name: str) -> list[Requirement]:
    found = []
    for entry in PROJECT["dependency-groups"][name]:
        found += [Requirement(entry)] if isinstance(entry, str) else group(entry["include-group"])
    return found


def test_the_files_are_those_that_are_known() -> None:
    assert set(FILES) == set(WANTED)


@pytest.mark.parametrize("name", WANTED)
def test_every_package_is_one_version_with_hashes_and_without_an_address(name: str) -> None:
    text = FILES[name].read_text(encoding="utf-8")
    assert "://" not in text
    assert "--index" not in text
    for pins in locked(name).values():
        for pin in pins:
            assert re.fullmatch(r"==[^*,]+", str(pin.specifier)), pin
            assert pin.url is None


@pytest.mark.parametrize("name", WANTED)
def test_what_pyproject_asks_for_is_there(name: str) -> None:
    wanted = [requirement for entry in WANTED[name] for requirement in group(entry)]
    if name != "browser":  # installed beside dev
        wanted += map(
            Requirement, (*PROJECT["project"]["dependencies"], *PROJECT["build-system"]["requires"])
        )
    pins = locked(name)
    for requirement in wanted:
        found = pins.get(canonicalize_name(requirement.name), [])
        for python, platform in itertools.product(("3.10", "3.11", "3.12", "3.13", "3.14"), PLATFORMS):
            machine = {
                "python_version": python,
                "python_full_version": f"{python}.0",
                "sys_platform": platform,
            }
            if requirement.marker is not None and not requirement.marker.evaluate(machine):
                continue
            versions = [
                specifier.version
                for pin in found
                for specifier in pin.specifier
                if pin.marker is None or pin.marker.evaluate(machine)
            ]
            assert len(versions) == 1, f"{requirement} on {platform}: run `nox -s requirements`"
            assert requirement.specifier.contains(Version(versions[0])), requirement


def test_the_files_agree_on_versions() -> None:
    dev = locked("dev")
    for name in ("tool", "browser"):
        for package, pins in locked(name).items():
            versions = {str(pin.specifier) for pin in dev.get(package, pins)}
            assert {str(pin.specifier) for pin in pins} <= versions, package


def test_the_hooks_of_pre_commit_are_the_programs_that_are_locked() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    dev = {
        package: {str(pin.specifier) for pin in pins if pin.marker is None or pin.marker.evaluate()}
        for package, pins in locked("dev").items()
    }
    (local,) = config["repos"]
    assert local["repo"] == "local"
    used = [Requirement(text) for hook in local["hooks"] for text in hook.get("additional_dependencies", ())]
    assert {"ruff", "typos", "zizmor", "nbstripout"} <= {requirement.name for requirement in used}
    if sys.version_info >= (3, 11):  # the last of some for Python 3.10 are older
        assert all(str(use.specifier) in dev[canonicalize_name(use.name)] for use in used)


@pytest.mark.parametrize(
    ("subject", "good"),
    [
        ("fix(doctor): start nothing", True),
        ("feat!: another lock format", True),
        ("Fixed it", False),
        ("fix: ", False),
        ("fix: " + "x" * 67, True),
        ("fix: " + "x" * 68, False),
    ],
)
def test_a_commits_subject_says_its_type_in_72_characters(subject: str, good: bool) -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    (hook,) = (hook for hook in config["repos"][0]["hooks"] if hook["id"] == "subject")
    assert (re.search(hook["entry"], f"{subject}\n\nbody\n", re.MULTILINE) is not None) is good
