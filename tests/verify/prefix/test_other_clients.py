"""Prefixes that conda, mamba or pixi installed from our exports: no marker, no baseline, their own notes.

The shapes are those that conda 26.7.1 (built from its source, 0f64223fb) wrote on 2026-11-24 when it
installed these same packages from an explicit list; :func:`as_conda_leaves` puts them into a prefix of the
rattler engine. The two real prefixes had the same fingerprint.
"""

from __future__ import annotations

import json
import os
import py_compile
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import condakit
import proofkit
from condakit import Link
from d2lenv.base.errors import D2lEnvError
from d2lenv.cli import app as cli
from d2lenv.prefix import baseline, unhashed
from d2lenv.verify import fingerprint
from d2lenv.verify.prefix import bytecode
from d2lenv.verify.prefix import verification as verify
from d2lenv.verify.prefix.verification import Verification
from proofkit import CONDA_SITE, Home

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links and modes of POSIX")

MORE = (
    condakit.Package(
        "folders",
        files={
            "share/real/a.txt": "a\n",
            "share/linked": Link("real"),
            "share/dangling": Link("nowhere"),
        },
    ),
    condakit.Package(
        "pure",
        build="py_0",
        depends=("python",),
        noarch="python",
        files={
            "site-packages/pure/__init__.py": "def run():\n    print('a' in {'a', 'b'})\n",
            "site-packages/pure-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: pure\nVersion: 1.0\n",
            "python-scripts/pure-script": f"#!{condakit.PLACEHOLDER}/bin/python\nprint(1)\n",
        },
        entry_points=("pure-run = pure:run",),
    ),
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setattr(proofkit, "packages", lambda before=proofkit.packages: (*before(), *MORE))
        yield proofkit.home(tmp_path_factory.mktemp("clients"), patch, stack)


@pytest.fixture(scope="module")
def built(home: Home) -> Path:
    return home.build("rattler", home.caches / "rattler-built")


@pytest.fixture(autouse=True)
def any_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package `python` of these tests says that it is 3.10.13 and starts the interpreter of the tests."""
    monkeypatch.setattr(bytecode, "interpreter", lambda *_arguments, **_options: Path(sys.executable))


@pytest.fixture
def conda(home: Home, tmp_path: Path) -> Path:
    prefix = home.build("rattler", tmp_path / "conda")
    as_conda_leaves(prefix)
    return prefix


def as_conda_leaves(prefix: Path) -> None:
    baseline.path_of(prefix).unlink()
    for name in ("d2lenv.json", "CACHEDIR.TAG"):
        (prefix / name).unlink(missing_ok=True)
    shutil.rmtree(prefix / "share" / "jupyter")
    (prefix / "conda-meta" / "created_at").write_text("1795520677.639007", encoding="utf-8")
    for file in prefix.glob("conda-meta/*.json"):
        data = json.loads(file.read_text(encoding="utf-8"))
        pure = data.get("noarch") == "python"
        rows = [_row(prefix, row, pure) for row in data["paths_data"]["paths"]]
        data["files"] = [row["_path"] for row in data["paths_data"]["paths"]]
        if pure:
            rows += _compile(prefix, data["files"])
        data["paths_data"]["paths"] = rows
        file.write_text(json.dumps(data), encoding="utf-8")


def _row(prefix: Path, row: dict[str, Any], pure: bool) -> dict[str, Any]:
    path, kind = row["_path"], row["path_type"]
    if kind == "softlink":
        return {"_path": path, "path_type": kind}
    if kind == "unix_python_entry_point":
        starter = prefix / path
        starter.write_text(starter.read_text(encoding="utf-8").replace("\t", "    "), encoding="utf-8")
        starter.chmod(0o755)
        return {"_path": path, "path_type": kind, "size_in_bytes": starter.stat().st_size}
    row = {**row, "sha256_in_prefix": row.get("sha256_in_prefix") or row["sha256"]}
    if pure:
        row["_path"] = path.replace(CONDA_SITE, "site-packages").replace("bin/", "python-scripts/")
    return row


def _compile(prefix: Path, paths: list[str]) -> Iterator[dict[str, Any]]:
    for path in [path for path in paths if path.endswith(".py")]:
        made = Path(py_compile.compile(str(prefix / path), doraise=True) or "")
        paths.append(made.relative_to(prefix).as_posix())
        yield {"_path": paths[-1], "path_type": "pyc_file"}


def judged(home: Home, prefix: Path, *, quick: bool = False) -> Verification:
    return verify.verify(home.workspace, str(prefix), os.environ, environment="tiny", quick=quick)


def kinds(home: Home, prefix: Path) -> list[tuple[str, str]]:
    return [(finding.kind, finding.path) for finding in judged(home, prefix).findings]


def test_what_conda_installed_is_clean_and_says_what_nothing_vouches_for(home: Home, conda: Path) -> None:
    result = judged(home, conda)
    assert result.findings == ()
    assert result.tolerated["bytecode"] >= 2
    assert any(text.startswith("no baseline lies beside") for text in result.not_checked)
    assert not any("compiled files" in text or "no recorded digest" in text for text in result.not_checked)
    assert judged(home, conda, quick=True).findings == ()


def test_it_has_the_fingerprint_of_the_rattler_engines_prefix(home: Home, built: Path, conda: Path) -> None:
    ours = fingerprint.of_prefix(home.workspace, built)
    theirs = fingerprint.of_prefix(home.workspace, conda, "tiny")
    assert ours[0] == theirs[0]
    assert ours[1].lines == theirs[1].lines
    assert any(" entry-point:pure:run" in line for line in ours[1].lines)


def test_what_conda_ran_besides_the_lock_is_found(home: Home, conda: Path) -> None:
    (conda / "post-link-ran").write_text("", encoding="utf-8")  # rattler runs no post-link scripts
    assert kinds(home, conda) == [("file-extra", "post-link-ran")]


def test_a_starter_that_imports_something_else_is_found(home: Home, conda: Path) -> None:
    starter = conda / "bin" / "pure-run"
    text = starter.read_text(encoding="utf-8")
    starter.write_text(text.replace("import sys\n", "import sys, evil\n"), encoding="utf-8")
    assert kinds(home, conda) == [("file-changed", "bin/pure-run")]
    before = fingerprint.of_prefix(home.workspace, conda, "tiny")[1]
    starter.write_text(text.replace("pure", "evil"), encoding="utf-8")
    assert fingerprint.of_prefix(home.workspace, conda, "tiny")[1] != before


def test_a_hostile_compiled_file_of_conda_is_found(home: Home, conda: Path) -> None:
    (compiled,) = (conda / CONDA_SITE / "pure").rglob("*.pyc")
    data = bytearray(compiled.read_bytes())
    data[data.index(b"a")] += 1
    compiled.write_bytes(data)
    path = compiled.relative_to(conda).as_posix()
    assert kinds(home, conda) == [("bytecode-differs", path)]


def test_the_python_of_a_prefix_without_a_baseline_is_not_started(
    home: Home, conda: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    (conda / "bin" / "python").unlink()  # the cache has the same file
    (conda / "bin" / "python").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n", encoding="utf-8")
    monkeypatch.setenv("PATH", f"{conda}/bin{os.pathsep}{os.environ['PATH']}")
    result = judged(home, conda)
    assert any("no Python 3.10.13 was found outside" in text for text in result.not_checked)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("path", "target", "kind"),
    [
        ("share/linked", "/etc", "link-changed"),
        ("share/dangling", "../../outside", "link-changed"),
        ("share/linked", "", "kind-changed"),
        ("share/real/a.txt", "b", "kind-changed"),
    ],
)
def test_links_of_conda_are_judged(home: Home, conda: Path, path: str, target: str, kind: str) -> None:
    (conda / path).unlink()
    if target:
        (conda / path).symlink_to(target)
    else:
        (conda / path).mkdir()
    assert (kind, path) in kinds(home, conda)


def test_conda_builds_digest_of_a_link_to_a_folder_is_understood(home: Home, conda: Path) -> None:
    """conda-build 24 writes the digest of nothing for a link that it cannot read (utils.sha256_checksum)."""
    file = conda / "conda-meta" / "folders-1.0-0.json"
    data = json.loads(file.read_text(encoding="utf-8"))
    nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    for row in data["paths_data"]["paths"]:
        if row["path_type"] == "softlink":
            row["sha256"] = nothing
    file.write_text(json.dumps(data), encoding="utf-8")
    assert kinds(home, conda) == []
    (conda / "share" / "linked").unlink()
    (conda / "share" / "linked").symlink_to("real/a.txt")
    assert kinds(home, conda) == [("link-changed", "share/linked")]


@pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o666])
def test_modes_that_no_client_gives_are_found(home: Home, conda: Path, mode: int) -> None:
    shutil.copy(conda / CONDA_SITE / "fast.so", conda / "copy")  # the cache has the same file
    (conda / "copy").chmod(mode)
    (conda / "copy").replace(conda / CONDA_SITE / "fast.so")
    assert kinds(home, conda) == [("mode-changed", f"{CONDA_SITE}/fast.so")]


def test_a_pixi_prefix_needs_no_name_and_no_kernelspec_of_ours(home: Home, conda: Path) -> None:
    place = home.root / ".pixi" / "envs" / "tiny"
    place.parent.mkdir(parents=True, exist_ok=True)
    built = home.build("rattler", place)
    as_conda_leaves(built)
    try:
        for note in ("pixi", ".pixi-environment-fingerprint"):  # pixi 0.77
            (place / "conda-meta" / note).write_text("{}", encoding="utf-8")
        (place / "conda-meta" / "pixi_env_prefix").write_text(str(place), encoding="utf-8")
        result = verify.verify(home.workspace, str(place), os.environ)
        assert result.findings == ()
        assert result.subject.environment == "tiny"
    finally:
        shutil.rmtree(place)


def test_a_prefix_that_pixi_made_anew_is_judged_by_the_baseline_of_its_build(home: Home) -> None:
    """Seen with pixi 0.77: `d2lenv build --engine pixi`, the prefix removed, `pixi install`."""
    place = home.root / ".pixi" / "envs" / "tiny"
    place.parent.mkdir(parents=True, exist_ok=True)
    home.build("rattler", place)
    try:
        (place / "d2lenv.json").unlink()
        shutil.rmtree(place / "share" / "jupyter")
        result = verify.verify(home.workspace, str(place), os.environ)
        assert result.findings == ()
        assert any(text.startswith("pixi made this prefix anew") for text in result.not_checked)
        (place / CONDA_SITE / "fast.so").unlink()
        (place / CONDA_SITE / "fast.so").write_bytes(b"evil")
        (place / "lib" / "new").write_bytes(b"")
        found = verify.verify(home.workspace, str(place), os.environ).findings
        assert [(one.kind, one.path) for one in found] == [
            ("file-extra", "lib/new"),
            ("file-changed", f"{CONDA_SITE}/fast.so"),
        ]
    finally:
        shutil.rmtree(place)
        baseline.path_of(place).unlink()


def test_a_package_without_a_hash_is_judged_by_what_it_may_install(
    home: Home, conda: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(home.root, tmp_path / "root", ignore=shutil.ignore_patterns(".d2lenv"))
    lock = tmp_path / "root" / "pixi.lock"
    text = re.sub(r"(- conda: \S+/fast-\S+\n)  sha256: .*\n", r"\1", lock.read_text(encoding="utf-8"))
    lock.write_text(text, encoding="utf-8")
    other = replace(home, root=tmp_path / "root")
    result = judged(other, conda)
    assert result.findings == ()
    assert any(text.startswith("fast: the lock has no hash of it") for text in result.not_checked)
    asked = []
    monkeypatch.setattr(unhashed, "known", lambda *words: asked.append(words) or True)
    monkeypatch.setattr(unhashed, "installed_problems", lambda *_words: ["evil.pth does not belong to it"])
    (finding,) = judged(other, conda).findings
    assert (finding.kind, finding.package, finding.detail) == (
        "d2l-not-released",
        "fast",
        "evil.pth does not belong to it",
    )
    assert asked == [("fast", "1.0")]


def test_another_environments_name_is_refused(home: Home, built: Path) -> None:
    with pytest.raises(D2lEnvError, match="says that it is tiny, not cuda"):
        verify.verify(home.workspace, str(built), os.environ, environment="cuda")


def test_a_prefix_that_says_nothing_needs_a_name(home: Home, conda: Path, tmp_path: Path) -> None:
    with pytest.raises(D2lEnvError, match="does not say of which environment") as caught:
        home.verify(conda)
    assert "--environment" in caught.value.fix
    with pytest.raises(D2lEnvError, match="is no environment"):
        judged(home, tmp_path)


def test_the_commands_take_the_name(home: Home, built: Path, conda: Path) -> None:
    def run(*words: str) -> str:
        arguments = ["--workspace", str(home.root), *words]
        result = CliRunner().invoke(cli.cli, arguments, standalone_mode=False)
        assert result.exception is None, result.exception
        return result.output

    answer = json.loads(run("verify", str(conda), "--environment", "tiny", "--json"))
    assert (answer["ok"], answer["environment"], answer["engine"]) == (True, "tiny", "conda")
    assert run("fingerprint", "tiny", "--prefix", str(conda)) == run("fingerprint", "--prefix", str(built))
