"""What the rattler engine does after py-rattler: modes, bytecode, digests."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import condakit
import proofkit
from condakit import Link, Package
from d2lenv.engines import build
from d2lenv.engines.conda import bytecode
from d2lenv.engines.conda import cache as package_cache
from d2lenv.prefix import baseline
from d2lenv.prefix.scan import digests, scan
from proofkit import CONDA_SITE, Home

pytestmark = pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    with ExitStack() as stack:
        yield proofkit.home(tmp_path / "home", monkeypatch, stack)


def compiled(prefix: Path) -> dict[str, Path]:
    """Path below the prefix → each compiled file in it."""
    return {path.relative_to(prefix).as_posix(): path for path in prefix.rglob("*.pyc")}


def modules(*packages: Package) -> tuple[Package, ...]:
    return (condakit.python_package(), *packages)


def noarch(name: str, files: dict[str, str], build: str = "0") -> Package:
    content = {f"site-packages/{path}": text for path, text in files.items()}
    return Package(name, build=build, depends=("python",), files=content, noarch="python")


def lock(home: Home, *packages: Package) -> None:
    everything = modules(*packages)
    condakit.write_channel(home.channel, everything)
    (address,) = home.workspace.channels
    condakit.write_workspace(home.root, address, everything)


def test_everybody_may_read_a_prefix_and_nobody_else_write_to_it(home: Home, tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        prefix = home.build("rattler", tmp_path / "prefix")
    finally:
        os.umask(before)
    modes = {entry.path: entry.mode for entry in scan(prefix).entries.values() if entry.kind != "link"}
    assert {path for path, mode in modes.items() if mode & 0o7022} == set()
    assert {path for path, mode in modes.items() if not mode & 0o044} == set()
    assert modes["conda-meta/settings-1.0-0.json"] == 0o644
    assert modes["bin/greet"] == 0o755


def test_a_noarch_package_is_compiled_and_python_takes_the_file(home: Home, tmp_path: Path) -> None:
    prefix = home.build("rattler", tmp_path / "prefix")
    ((path, file),) = compiled(prefix).items()
    source = prefix / CONDA_SITE / "greet/__init__.py"
    assert file == Path(importlib.util.cache_from_source(os.fspath(source)))
    assert int.from_bytes(file.read_bytes()[4:8], "little") == 0b11  # PEP 552: a hash, and it is checked
    entry = baseline.read(prefix)
    assert entry is not None
    assert entry.sha256[path] == digests(prefix, [scan(prefix).entries[path]])[0][path]
    done = subprocess.run(
        [sys.executable, "-v", "-c", "import greet; greet.main()"],
        env={**os.environ, "PYTHONPATH": str(prefix / CONDA_SITE)}, capture_output=True, text=True,
        timeout=60, check=True,
    )  # fmt: skip
    assert f"{file} matches {source}" in done.stderr
    assert done.stdout == f"hello from {source}\n"


def test_bytecode_is_the_same_in_every_prefix_and_names_none(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "def f(x):\n    return x in {'a', 'b', 'c', 'd', 'e'}\n" * 20
    lock(home, noarch("many", {f"many/m{number}.py": text for number in range(20)}))
    first = compiled(home.build("rattler", tmp_path / "first"))
    monkeypatch.setenv("RATTLER_CACHE_DIR", str(tmp_path / "cold"))
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    second = compiled(home.build("rattler", tmp_path / "a longer name"))
    assert len(first) == 20
    assert {path: file.read_bytes() for path, file in first.items()} == {
        path: file.read_bytes() for path, file in second.items()
    }
    assert not any(b"first" in file.read_bytes() for file in first.values())


def test_bytecode_is_kept_and_what_was_changed_is_made_anew(home: Home, tmp_path: Path) -> None:
    ((path, first),) = compiled(home.build("rattler", tmp_path / "first")).items()
    second = home.build("rattler", tmp_path / "second") / path
    assert second.stat().st_ino == first.stat().st_ino
    good = first.read_bytes()
    with first.open("r+b") as file:
        file.write(b"evil")
    third = home.build("rattler", tmp_path / "third") / path
    assert third.read_bytes() == good


def test_what_compiles_ends_with_the_process_that_asked(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "endless.py")
    child = Path(bytecode.__file__).with_name("compile_child.py").read_text(encoding="utf-8")
    with subprocess.Popen([sys.executable, "-S", "-c", child], stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps([[str(tmp_path / "endless.py"), "x"]]).encode() + b"\n")
        process.stdin.flush()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.stdin.close()
        assert process.wait(30) == 1


def test_another_python_compiles_anew(home: Home, tmp_path: Path) -> None:
    first = compiled(home.build("rattler", tmp_path / "first"))
    packages = [condakit.python_package("3.10.14"), *proofkit.packages()[1:]]
    condakit.write_channel(home.channel, tuple(packages))
    (address,) = home.workspace.channels
    condakit.write_workspace(home.root, address, tuple(packages))
    second = compiled(home.build("rattler", tmp_path / "second"))
    (path,) = first
    assert second[path].stat().st_ino != first[path].stat().st_ino


def test_what_cannot_be_compiled_once_for_all_is_left_to_python(home: Home, tmp_path: Path) -> None:
    lock(
        home,
        noarch("own", {"own.py": "x = 1\n", "template.py": "{{ x }} = \n", "shared.py": "x = 1\n"}),
        noarch("other", {"shared.py": "x = 2\n", "where.py": f"x = '{condakit.PLACEHOLDER}/share'\n"}),
    )
    for name in ("cold", "warm"):
        prefix = home.build("rattler", tmp_path / name)
        assert [path.name.partition(".")[0] for path in compiled(prefix).values()] == ["own"]
        assert home.verify(prefix).findings == ()


def test_an_environment_without_python_has_no_bytecode(home: Home, tmp_path: Path) -> None:
    package = Package("plain", files={"bin/python": condakit.python_package().files["bin/python"]})
    condakit.write_channel(home.channel, (package,))
    (address,) = home.workspace.channels
    condakit.write_workspace(home.root, address, (package,))
    assert compiled(home.build("rattler", tmp_path / "prefix")) == {}


def test_the_baseline_has_the_true_digest_of_every_file(home: Home, tmp_path: Path) -> None:
    lock(
        home,
        *proofkit.packages()[1:],
        noarch("own", {"own.py": "x = 1\n", "shared.py": "x = 1\n"}),
        noarch("other", {"shared.py": "x = 2\n"}),
        # One that has a program of the name that `greet` makes, and a link where `scripted` has a file.
        Package("rival", files={"bin/greet": "#!/bin/sh\n", "share/scripted.txt": Link("oldstyle.txt")}),
    )
    for name in ("cold", "warm"):
        prefix = home.build("rattler", tmp_path / name)
        recorded = baseline.read(prefix)
        assert recorded is not None
        tree = scan(prefix)
        assert set(recorded.entries) == set(tree.entries)
        assert recorded.sha256 == digests(prefix, tree.entries.values())[0]


def test_a_fresh_build_believes_no_stat(home: Home, tmp_path: Path) -> None:
    first = home.build("rattler", tmp_path / "prefix")
    module = f"{CONDA_SITE}/greet/__pycache__"
    for path in ["share/oldstyle.txt", *(f"{module}/{file.name}" for file in (first / module).iterdir())]:
        status, good = (first / path).stat(), (first / path).read_bytes()
        with (first / path).open("r+b") as file:
            file.write(b"evil!!"[: len(good)])
        os.utime(first / path, ns=(status.st_atime_ns, status.st_mtime_ns))
        second = home.build("rattler", tmp_path / "prefix", fresh=True)
        assert (second / path).read_bytes() == good


def test_link_scripts_may_change_what_a_package_brought(home: Home, tmp_path: Path) -> None:
    script = '#!/bin/sh\necho changed > "$PREFIX/share/plain.txt"\n'
    lock(home, Package("plain", files={"share/plain.txt": "x\n", "bin/.plain-post-link.sh": script}))
    built = build.build(
        home.workspace, "tiny", engine="rattler", prefix=tmp_path / "prefix", link_scripts=True, say=print
    )
    assert (built.prefix / "share/plain.txt").read_text(encoding="utf-8") == "changed\n"
    recorded = baseline.read(built.prefix)
    assert recorded is not None
    assert (
        "share/plain.txt" not in recorded.sha256
        or recorded.sha256["share/plain.txt"]
        == (digests(built.prefix, [scan(built.prefix).entries["share/plain.txt"]])[0]["share/plain.txt"])
    )


def test_a_cache_that_keeps_nothing_costs_time_only(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = package_cache.root().with_name("d2lenv")
    notes.parent.mkdir(parents=True)
    notes.write_text("a file where the folder would be", encoding="utf-8")
    for name in ("first", "second"):
        prefix = home.build("rattler", tmp_path / name)
        assert len(compiled(prefix)) == 1
        recorded = baseline.read(prefix)
        assert recorded is not None
        assert recorded.sha256 == digests(prefix, scan(prefix).entries.values())[0]
    assert json.loads((prefix / "d2lenv.json").read_text(encoding="utf-8"))["engine"] == "rattler"
