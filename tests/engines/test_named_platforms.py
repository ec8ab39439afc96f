"""A named platform from the lock to the prefix, and back: build, verify, fingerprint, drift."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import condakit
from d2lenv.doctor.rules import drift
from d2lenv.engines import build
from d2lenv.facts import platforms
from d2lenv.prefix import marker
from d2lenv.prefix.contents.prefix import read_prefix
from d2lenv.verify import fingerprint
from d2lenv.verify.prefix import verification
from d2lenv.workspace import lockfile, manifest
from engines.test_rattler_engine import set_apart

BARE = condakit.everyday_packages()
GPU = condakit.Package("gpu", files={"gpu.txt": "the packages of a machine with a driver"})
SUBDIR = platforms.current()
NAMED = f"{SUBDIR}-cuda"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A workspace whose named platform has one package more; its channel is served."""
    set_apart(monkeypatch, tmp_path)
    condakit.write_channel(tmp_path / "channel", (*BARE, GPU))
    with condakit.served(tmp_path / "channel") as address:
        root = tmp_path / "root"
        condakit.write_workspace(root, address, (*BARE, GPU))
        pixi = (root / "pixi.toml").read_text(encoding="utf-8")
        pixi = pixi.replace(
            f'platforms = ["{SUBDIR}"]',
            f'platforms = [{{ name = "{NAMED}", platform = "{SUBDIR}", cuda = "12.8" }}, "{SUBDIR}"]',
        ).replace('gpu = "*"\n', "")
        target = f'[feature.tiny.target.{NAMED}.dependencies]\ngpu = "*"\n'
        (root / "pixi.toml").write_text(pixi.replace("[tool.d2lenv]\n", f"{target}[tool.d2lenv]\n"), "utf-8")
        text = (root / "pixi.lock").read_text(encoding="utf-8")
        head, sets, rest = text.partition(f"      {SUBDIR}:\n")
        listed, packages, described = rest.partition("packages:\n")
        fewer = "".join(line for line in listed.splitlines(keepends=True) if "/gpu-" not in line)
        rows = "".join(
            f"- name: {one.locked_name}\n  subdir: {one.subdir}\n  virtual-packages:\n"
            + "".join(f"  - {package}\n" for package in one.row.virtual_packages)
            for one in manifest.load(root).platforms
        )
        head = head.replace("version: 6\n", f"version: 7\nplatforms:\n{rows}")
        (root / "pixi.lock").write_text(
            f"{head}{sets}{fewer}      p1:\n{listed}{packages}{described}", encoding="utf-8"
        )
        yield root


def built(root: Path, prefix: Path) -> Path:
    space = manifest.load(root)
    return build.build(space, "tiny", engine="rattler", prefix=prefix, say=lambda _line: None).prefix


@pytest.mark.parametrize(("driver", "platform"), [("12.6", SUBDIR), ("12.8", NAMED)])
def test_a_machine_gets_the_packages_of_its_platform(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, driver: str, platform: str
) -> None:
    monkeypatch.setenv("CONDA_OVERRIDE_CUDA", driver)
    prefix = built(root, tmp_path / "prefix")
    assert marker.read(prefix)["platform"] == platform
    assert (prefix / "gpu.txt").exists() == (platform == NAMED)
    space = manifest.load(root)
    assert verification.verify(space, str(prefix), os.environ).ok
    locked, _ = fingerprint.of_prefix(space, prefix)
    assert locked.platform == platform
    assert locked.digest == fingerprint.of_lock(space, "tiny", platform).digest


@pytest.mark.parametrize(("driver", "platform"), [("12.6", SUBDIR), ("12.8", NAMED)])
def test_a_prefix_that_does_not_say_its_platform_is_compared_with_the_nearest(
    root: Path, monkeypatch: pytest.MonkeyPatch, driver: str, platform: str
) -> None:
    monkeypatch.setenv("CONDA_OVERRIDE_CUDA", driver)
    prefix = built(root, root / ".pixi" / "envs" / "tiny")
    (prefix / marker.MARKER).unlink()
    # On another day the driver may be gone: the packages say what it was made for.
    monkeypatch.setenv("CONDA_OVERRIDE_CUDA", "")
    expected = drift.expected(read_prefix(prefix), root)
    assert expected is not None
    assert not expected.trouble
    assert (expected.environment, expected.platform) == ("tiny", platform)
    assert ("gpu" in {package.name for package in expected.packages}) == (platform == NAMED)
    locked, _ = fingerprint.of_prefix(manifest.load(root), prefix)
    assert locked.platform == platform


def test_the_digests_of_both_platforms_differ(root: Path) -> None:
    found = lockfile.digests(lockfile.of(manifest.load(root)))
    assert set(found) == {("tiny", SUBDIR), ("tiny", NAMED)}
    assert len({one.digest for one in found.values()}) == 2
