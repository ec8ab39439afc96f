"""Fingerprints, computed a second time from docs/fingerprint.md alone."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import click
import pytest
from click.testing import CliRunner

import proofkit
from d2lenv.base.errors import D2lEnvError
from d2lenv.cli import app as cli
from d2lenv.facts import platforms
from d2lenv.prefix import records
from d2lenv.prefix.contents.prefix import read_prefix
from d2lenv.verify import fingerprint
from d2lenv.workspace import manifest as workspace
from proofkit import SITE, Home

PLATFORM = platforms.current()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        yield proofkit.home(tmp_path_factory.mktemp("fingerprint"), patch, stack)


@pytest.fixture(scope="module")
def built(home: Home) -> dict[str, Path]:
    return {engine: home.build(engine, home.caches / f"{engine}-built") for engine in ("wheels", "rattler")}


# --- the same from the page: nothing of d2lenv is used here --------------------------------------------


def digest_of(head: str, lines: set[str]) -> str:
    ordered = sorted(line.encode("utf-8") for line in lines)
    return hashlib.sha256(b"".join(line + b"\n" for line in [head.encode(), *ordered])).hexdigest()


def owned_by_conda(prefix: Path) -> dict[str, tuple[str, str, str]]:
    """path → (sha256, sha256_in_prefix, path_type)"""
    found = {}
    for file in prefix.glob("conda-meta/*.json"):
        data = json.loads(file.read_text(encoding="utf-8"))
        for row in data["paths_data"]["paths"]:
            path = row["_path"]
            if data.get("noarch") == "python":
                (site,) = prefix.glob("lib/python3.*/site-packages")
                path = re.sub("^site-packages/", f"{site.relative_to(prefix).as_posix()}/", path)
                path = re.sub("^python-scripts/", "bin/", path)
            found[path] = (row.get("sha256") or "", row.get("sha256_in_prefix") or "", row["path_type"])
    return found


def owned_by_wheels(prefix: Path) -> set[str]:
    found = set()
    for record in prefix.rglob("*.dist-info/RECORD"):
        site = record.parent.parent
        for row in csv.reader(record.read_text(encoding="utf-8").splitlines()):
            found.add(Path(os.path.normpath(site / row[0])).relative_to(prefix).as_posix())
    return found


MACHINERY = re.compile(
    r"pyvenv\.cfg|\.gitignore|lib64|d2lenv\.json|\.lock|CACHEDIR\.TAG|share/jupyter/kernels/d2l-[^/]*/kernel\.json"
    r"|(bin|Scripts)/((python|activate|deactivate)[^/]*|pydoc\.bat)"
    r"|(lib/python3\.\d+|Lib)/site-packages/_virtualenv\.(py|pth)"
)
SETTINGS = re.compile(r"(etc/jupyter/labconfig|share/jupyter/lab/settings)/page_config\.json")
KERNEL = re.compile(r"(share/jupyter/kernels/[^/]+)/(kernel\.json|logo-\w+\.(png|svg))")
STARTER = """\
# -*- coding: utf-8 -*-
import re
import sys

from MODULE import NAME

if __name__ == '__main__':
    sys.argv[0] = re.sub(r'(-script\\.pyw?|\\.exe)?$', '', sys.argv[0])
    sys.exit(FUNCTION())
"""


def is_left_by_use(prefix: Path, name: str) -> bool:
    if MACHINERY.fullmatch(name):
        return True
    if SETTINGS.fullmatch(name):
        keys = set(json.loads((prefix / name).read_text(encoding="utf-8")))
        return keys <= {"disabledExtensions", "lockedExtensions"}
    if match := KERNEL.fullmatch(name):
        kernel = json.loads((prefix / match[1] / "kernel.json").read_text(encoding="utf-8"))
        words = [word for word in kernel["argv"][1:] if word != "-Xfrozen_modules=off"]
        python = re.fullmatch(rf"{re.escape(str(prefix))}/bin/python[\d.]*", kernel["argv"][0])
        return bool(
            python
            and words == ["-m", "ipykernel_launcher", "-f", "{connection_file}"]
            and not kernel.get("env")
        )
    return False


def starts(prefix: Path, text: str) -> str:
    first, _, rest = text.partition("\n")
    found = re.search(r"from (\S+) import (\S+)\n", rest)
    function = re.search(r"sys\.exit\((.+)\(\)\)\n", rest)
    if not found or not function or not first.startswith(f"#!{prefix}/bin/python"):
        return ""
    wanted = STARTER.replace("MODULE", found[1]).replace("NAME", found[2]).replace("FUNCTION", function[1])
    return f"entry-point:{found[1]}:{function[1]}" if rest.replace("\t", "    ") == wanted else ""


def installed_lines(prefix: Path) -> set[str]:
    conda, wheels = owned_by_conda(prefix), owned_by_wheels(prefix)
    owned = set(conda) | wheels
    lines = set()
    for path in prefix.rglob("*"):
        name = path.relative_to(prefix).as_posix()
        status = path.lstat()
        if stat.S_ISDIR(status.st_mode) or name.startswith("conda-meta/"):
            continue
        if re.search(r"\.dist-info/(RECORD|INSTALLER|REQUESTED)$", name):
            continue
        if path.suffix == ".pyc" and path.parent.name == "__pycache__":
            source = (path.parent.parent / (path.name.split(".")[0] + ".py")).relative_to(prefix).as_posix()
            if name in owned or source in owned:
                continue
        if name not in owned and is_left_by_use(prefix, name):
            continue
        if stat.S_ISLNK(status.st_mode):
            lines.add(f"link {quote(name)} {quote(os.readlink(path))}")  # noqa: PTH115 - its own text
            continue
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        archived, in_prefix, kind = conda.get(name, ("", "", ""))
        if archived and in_prefix == digest:
            digest = archived
        if "entry_point" in kind:
            digest = starts(prefix, path.read_text(encoding="utf-8")) or digest
        runs = "x" if status.st_mode & stat.S_IXUSR else "-"
        lines.add(f"file {quote(name)} {runs} {digest}")
    return lines


def installed(prefix: Path) -> str:
    return digest_of("d2lenv installed 2", installed_lines(prefix))


@pytest.mark.parametrize("engine", ["wheels", "rattler"])
def test_the_installed_fingerprint_is_the_one_of_the_page(
    home: Home, built: dict[str, Path], engine: str
) -> None:
    _, found = fingerprint.of_prefix(home.workspace, built[engine])
    assert found.digest == installed(built[engine])


def test_the_lock_fingerprint_is_the_one_of_the_page(home: Home) -> None:
    text = (home.root / "pixi.lock").read_text(encoding="utf-8")
    lines = {
        f"{url} sha256:{digest}" for url, digest in re.findall(r"\n- conda: (\S+)\n  sha256: (\S+)", text)
    }
    assert len(lines) == len(proofkit.packages())
    assert fingerprint.of_lock(home.workspace, "tiny", PLATFORM).digest == digest_of("d2lenv lock 1", lines)


def test_the_wheels_fingerprint_is_the_one_of_the_page(home: Home) -> None:
    pins = {pin.name: pin for pin in proofkit.pins(home.house)}
    lines = {f"{pin.name}==1.0 sha256:{pin.sha256[0]}" for pin in pins.values()}
    found = fingerprint.of_wheels(home.workspace, "tiny", PLATFORM)
    assert found.digest == digest_of("d2lenv wheels 1", lines)
    assert str(found) == f"tiny {PLATFORM} wheels:{found.digest}"


# --- test vectors: a committed tree, and the digests that every version of the tool must give it --------


VECTORS = json.loads((Path(__file__).parents[1] / "data" / "fingerprint.json").read_text(encoding="utf-8"))


def grow(place: Path, tree: dict[str, dict[str, str]]) -> None:
    """Write the tree; ``@PREFIX@`` is its place, ``@SHA256 path@`` the digest of a file before it."""
    for name, entry in tree.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if "link" in entry:
            path.symlink_to(entry["link"])
            continue
        text = entry["text"].replace("@PREFIX@", str(place))
        text = re.sub(
            "@SHA256 (.*?)@", lambda match: hashlib.sha256((place / match[1]).read_bytes()).hexdigest(), text
        )
        path.write_text(text, encoding="utf-8", newline="")
        path.chmod(int(entry.get("mode", "644"), 8))


@pytest.mark.parametrize("name", list(VECTORS["installed"]))
@pytest.mark.skipif(os.name != "posix", reason="links and modes of POSIX")
def test_a_committed_tree_has_the_digest_that_was_committed_with_it(tmp_path: Path, name: str) -> None:
    vector = VECTORS["installed"][name]
    grow(tmp_path, vector["tree"])
    lines = fingerprint.installed_lines(tmp_path, records.read(read_prefix(tmp_path)))
    assert sorted(lines) == vector["lines"]
    assert digest_of(VECTORS["head"], set(vector["lines"])) == vector["digest"]
    assert sorted(installed_lines(tmp_path)) == vector["lines"]
    assert fingerprint.HEADS["installed"] == VECTORS["head"]


def test_no_tolerance_of_verify_reaches_a_fingerprint() -> None:
    code = "import sys, d2lenv.verify.fingerprint; print('d2lenv.verify.prefix.tolerances' in sys.modules)"
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True, check=True, text=True).stdout == "False\n"


# --- what it depends on -------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["wheels", "rattler"])
def test_it_is_the_same_for_another_path_and_after_use(
    home: Home, built: dict[str, Path], tmp_path: Path, engine: str
) -> None:
    other = home.build(engine, tmp_path / "another and longer 位置")
    cache = other / SITE / "__pycache__"
    cache.mkdir(parents=True, exist_ok=True)
    if engine == "wheels":
        (cache / "greet.cpython-310.pyc").write_bytes(b"bytecode")
    first, second = (fingerprint.of_prefix(home.workspace, place)[1] for place in (built[engine], other))
    assert first.digest == second.digest


@pytest.mark.parametrize(
    "change",
    [
        lambda prefix: proofkit.flip(prefix / SITE / "greet.py"),
        lambda prefix: (prefix / SITE / "sitecustomize.py").write_text("", encoding="utf-8"),
        lambda prefix: (prefix / SITE / "greet.py").chmod(0o755),
        lambda prefix: (prefix / "etc" / "f.json").unlink(),
        lambda prefix: (prefix / "lib" / "new").symlink_to("x"),
        lambda prefix: os.mkfifo(prefix / "lib" / "pipe"),
    ],
    ids=["byte", "sitecustomize", "mode", "missing", "link", "pipe"],
)
@pytest.mark.skipif(os.name != "posix", reason="links, pipes and modes of POSIX")
def test_every_change_that_counts_changes_it(
    home: Home, built: dict[str, Path], tmp_path: Path, change: object
) -> None:
    prefix = proofkit.copied(built["wheels"], tmp_path)
    before = fingerprint.of_prefix(home.workspace, prefix)[1].digest
    change(prefix)  # type: ignore[operator]
    assert fingerprint.of_prefix(home.workspace, prefix)[1].digest != before


def test_a_record_without_a_hash_has_its_address_only() -> None:
    ours = workspace.load(Path(__file__).resolve().parents[2])
    lines = fingerprint.of_lock(ours, "cuda", "linux-64").lines
    assert any(line.endswith(" -") and "/d2l-" in line for line in lines)
    assert sum(" sha256:" in line for line in lines) > 200


def test_an_unreadable_file_is_an_error(home: Home, built: dict[str, Path], tmp_path: Path) -> None:
    prefix = proofkit.copied(built["wheels"], tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fingerprint, "digests", lambda *_arguments: ({}, {"a/b": "Permission denied"}))
        with pytest.raises(D2lEnvError, match=r"b cannot be read") as caught:
            fingerprint.of_prefix(home.workspace, prefix)
    assert caught.value.why == "Permission denied"


# --- the command --------------------------------------------------------------------------------------


def run(home: Home, *words: str) -> str:
    arguments = ["--workspace", str(home.root), "fingerprint", *words]
    result = CliRunner().invoke(cli.cli, arguments, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.output


def test_the_command_prints_one_line_for_the_lock_and_one_for_the_prefix(
    home: Home, built: dict[str, Path]
) -> None:
    assert re.fullmatch(rf"tiny {PLATFORM} lock:[0-9a-f]{{64}}\n", run(home, "tiny"))
    lines = run(home, "--prefix", str(built["wheels"])).splitlines()
    assert [line.split()[2].split(":")[0] for line in lines] == ["wheels", "installed"]
    lines = run(home, "--prefix", str(built["rattler"])).splitlines()
    assert [line.split()[2].split(":")[0] for line in lines] == ["lock", "installed"]
    assert lines[0] + "\n" == run(home, "tiny")
    (answer,) = json.loads(run(home, "tiny", "--json"))["fingerprints"]
    assert answer["lines"][0] == "d2lenv lock 1"


def test_an_environment_that_exists_as_wheels_only_has_a_wheels_fingerprint() -> None:
    ours = workspace.load(Path(__file__).resolve().parents[2])
    (found,) = fingerprint.of_environment(ours, "zh", "linux-64")
    assert found.kind == "wheels"
    with pytest.raises(D2lEnvError, match="nothing is locked for zh on osx-arm64"):
        fingerprint.of_environment(ours, "zh", "osx-arm64")


def test_an_environment_for_several_pythons_has_a_fingerprint_for_each() -> None:
    ours = workspace.load(Path(__file__).resolve().parents[2])
    found = {str(one.variation): one for one in fingerprint.of_environment(ours, "zh-modern", "linux-64")}
    pythons = {"py310", "py311", "py312", "py313"}
    assert set(found) == pythons | {f"{python}-cpu" for python in pythons}
    assert len({one.digest for one in found.values()}) == 8
    assert any(line.startswith("torch==2.10.0+cpu ") for line in found["py312-cpu"].lines)
    newest = found["py313"]
    assert str(newest) == f"zh-modern linux-64 py313 wheels:{newest.digest}"
    assert "python 3.13" in newest.lines
    assert newest.digest == digest_of("d2lenv wheels 2", set(newest.lines))
    assert not any(" ; " in line for line in newest.lines)


def test_the_command_wants_an_environment_a_prefix_or_both(home: Home, built: dict[str, Path]) -> None:
    with pytest.raises(click.UsageError):
        run(home)
    both = run(home, "tiny", "--prefix", str(built["wheels"]))
    assert both == run(home, "--prefix", str(built["wheels"]))
    with pytest.raises(D2lEnvError, match="says that it is tiny, not cuda"):
        run(home, "cuda", "--prefix", str(built["wheels"]))
