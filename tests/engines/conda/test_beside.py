"""A wheel beside conda's packages: built, verified, compared, exported and missed."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import condakit
import wheelkit
from d2lenv.base.errors import D2lEnvError
from d2lenv.doctor.model import Context
from d2lenv.doctor.rules import drift
from d2lenv.engines import build
from d2lenv.engines.conda import beside as installer
from d2lenv.facts import d2l
from d2lenv.prefix import locations, marker
from d2lenv.prefix.contents.prefix import read_prefix
from d2lenv.verify import fingerprint
from d2lenv.verify.prefix import verification
from d2lenv.workspace import beside, lockfile, manifest
from doctor.environments import LINUX, NO_GPU
from engines.test_rattler_engine import set_apart

FILES = {"d2l/__init__.py": "__version__ = '1.0.3'\n", "d2l/torch.py": "x = 1\n"}
TOOL = 'beside-conda = ["d2l==1.0.3"]\n'


def python_with_pip() -> condakit.Package:
    """A Python whose ``-I -m pip`` is uv, told to install into the prefix: the tests' own has no pip."""
    plain = condakit.python_package()
    site = f"lib/python{'.'.join(plain.version.split('.')[:2])}/site-packages"
    program = str(plain.files["bin/python"]).replace(
        "exec ",
        f'case "$1 $2 $3" in "-I -m pip") shift 3; exec "{sys.executable}" -m uv pip "$@" --no-config '
        f'--python "{sys.executable}" --target "$here/{site}";; esac\nexec ',
        1,
    )
    return replace(plain, files={**plain.files, "bin/python": program})


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A workspace whose environment has a stand-in for d2l beside it; index and channel are folders."""
    set_apart(monkeypatch, tmp_path)
    for name, value in wheelkit.private_uv(tmp_path, str(tmp_path / "house")).items():
        monkeypatch.setenv(name, value)
    pin = wheelkit.write_wheel(tmp_path / "house", "d2l", "1.0.3", FILES)
    files = {path: hashlib.sha256(text.encode()).hexdigest() for path, text in FILES.items()}
    release = d2l.Released(pin.sha256[0], files)
    monkeypatch.setattr(d2l, "released", lambda version: release if version == "1.0.3" else None)
    packages = (python_with_pip(), *condakit.everyday_packages()[1:])
    condakit.write_channel(tmp_path / "channel", packages)
    with condakit.served(tmp_path / "channel") as address:
        condakit.write_workspace(tmp_path / "root", address, packages, tool=TOOL)
        yield tmp_path / "root"


def built(root: Path, prefix: Path, **options: bool) -> build.Built:
    space = manifest.load(root)
    return build.build(space, "tiny", engine="rattler", prefix=prefix, say=lambda _line: None, **options)  # type: ignore[arg-type]


def context(root: Path, prefix: Path) -> Context:
    content = read_prefix(prefix)
    return Context(content, LINUX, NO_GPU, expected=drift.expected(content, root))


def test_a_build_adds_it_and_verify_knows_it(root: Path, tmp_path: Path) -> None:
    prefix = built(root, tmp_path / "prefix").prefix
    assert ("d2l", "1.0.3") in locations.distributions(prefix)
    space = manifest.load(root)
    found = verification.verify(space, str(prefix), os.environ)
    assert found.ok, found.findings
    locked, _ = fingerprint.of_prefix(space, prefix)
    assert any(line.startswith("d2l==1.0.3 sha256:") for line in locked.lines)
    assert (
        marker.read(prefix)["digest"] != lockfile.digest(lockfile.of(space), "tiny", locked.platform).digest
    )
    assert not list(drift.beside_missing(context(root, prefix)))


def test_it_is_not_asked_for_again(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = built(root, tmp_path / "prefix").prefix
    (tmp_path / "house").rename(tmp_path / "gone")
    assert built(root, prefix).reused
    monkeypatch.setattr(installer.process, "run", lambda *_a, **_k: pytest.fail("pip was started"))
    assert built(root, prefix).reused


def test_another_wheel_of_its_name_is_refused(root: Path, tmp_path: Path) -> None:
    wheelkit.write_wheel(tmp_path / "house", "d2l", "1.0.3", {**FILES, "d2l/evil.py": ""})
    with pytest.raises(D2lEnvError, match="tiny cannot be built") as caught:
        built(root, tmp_path / "prefix")
    assert "ash" in caught.value.why
    assert not (tmp_path / "prefix").exists()


def test_a_prefix_that_lost_it_is_told_by_verify_and_doctor(root: Path) -> None:
    prefix = built(root, root / ".pixi" / "envs" / "tiny").prefix
    (prefix / marker.MARKER).unlink()
    for path in prefix.glob("lib/python3*/site-packages/d2l*"):
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
    found = verification.verify(manifest.load(root), str(prefix), os.environ)
    assert [(one.kind, one.package) for one in found.findings if one.package == "d2l"] == [
        ("package-missing", "d2l")
    ]
    (problem,) = drift.beside_missing(context(root, prefix))
    assert problem.title == "d2l is missing beside the conda packages"
    (command,) = problem.fix
    assert command.argv[:2] == ("pixi", "run")
    assert command.argv[-3:] == ("--environment", "tiny", "d2l")


def test_what_else_pip_installed_is_still_told(root: Path, tmp_path: Path) -> None:
    prefix = built(root, tmp_path / "prefix").prefix
    (site,) = prefix.glob("lib/python3*/site-packages")
    (site / "other-1.0.dist-info").mkdir()
    (site / "other-1.0.dist-info" / "METADATA").write_text("Name: other\nVersion: 1.0\n", encoding="utf-8")
    found = verification.verify(manifest.load(root), str(prefix), os.environ)
    assert ("package-extra", "other") in {(one.kind, one.package) for one in found.findings}


def test_a_wheel_of_which_nothing_is_known_is_refused(root: Path) -> None:
    pixi = root / "pixi.toml"
    pixi.write_text(pixi.read_text(encoding="utf-8").replace("d2l==1.0.3", "d2l==9.9"), encoding="utf-8")
    with pytest.raises(D2lEnvError, match=r"nothing is known of the wheel `d2l==9\.9`"):
        fingerprint.of_lock(manifest.load(root), "tiny", "linux-64")


def test_the_digest_is_the_locks_own_without_such_wheels() -> None:
    assert beside.digest("abc", ()) == "abc"
