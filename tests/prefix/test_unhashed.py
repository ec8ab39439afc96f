"""A locked package without a hash installs the files of a known release and nothing else."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import condakit
import proofkit
from condakit import Link, Package
from d2lenv.base.errors import D2lEnvError
from d2lenv.facts import d2l
from d2lenv.prefix import unhashed
from d2lenv.prefix.contents.prefix import read_prefix
from d2lenv.prefix.scan import scan
from proofkit import Home

VERSION = "9.9"
INFO = f"site-packages/d2l-{VERSION}.dist-info"
MODULES = {"d2l/__init__.py": "version\n", "d2l/torch.py": "import torch\n"}
WRITTEN = {
    "INSTALLER": "conda",
    "LICENSE": "do what you like\n",
    "METADATA": f"Metadata-Version: 2.1\nName: d2l\nVersion: {VERSION}\n\nText\n",
    "RECORD": f"d2l/__init__.py,sha256=x,8\nd2l-{VERSION}.dist-info/RECORD,,\n",
    "REQUESTED": "",
    "WHEEL": "Wheel-Version: 1.0\nGenerator: setuptools\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "direct_url.json": '{"dir_info": {}, "url": "file:///home/conda/work"}',
}


@pytest.fixture(autouse=True)
def _release(monkeypatch: pytest.MonkeyPatch) -> None:
    """Release 9.9 of a d2l made for the test."""
    files = {name: _sha256(text) for name, text in MODULES.items()}
    released = d2l.Released("0" * 64, files, {"LICENSE": _sha256(WRITTEN["LICENSE"])})
    release = dataclasses.replace(d2l.RELEASES["1.0.3"], released=released)
    monkeypatch.setitem(d2l.RELEASES, VERSION, release)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def package(files: Mapping[str, str | Link | None], entry_points: tuple[str, ...] = ()) -> Package:
    """The honest package with ``files`` put in or, where None, left out."""
    content: dict[str, Any] = {f"site-packages/{name}": text for name, text in MODULES.items()}
    content |= {f"{INFO}/{name}": text for name, text in WRITTEN.items()}
    content |= files
    content = {path: value for path, value in content.items() if value is not None}
    return Package("d2l", VERSION, "pyhd8ed1ab_0", ("python",), content, entry_points, "python")


def unpacked(folder: Path, found: Package) -> Path:
    for path, value in found.members().items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(value, bytes):
            place.write_bytes(value)
        else:
            place.symlink_to(value.linkname)
    return folder


def problems(folder: Path, found: Package) -> list[str]:
    return unhashed.package_problems(scan(unpacked(folder, found)), VERSION)


def test_what_the_release_is_made_of_may_be_installed(tmp_path: Path) -> None:
    assert problems(tmp_path, package({})) == []


def test_the_licences_may_lie_in_a_folder_when_the_release_says_so(tmp_path: Path) -> None:
    found = package({f"{INFO}/licenses/LICENSE": WRITTEN["LICENSE"]})
    assert problems(tmp_path, found) == [f"d2l-{VERSION}.dist-info/licenses/LICENSE does not belong to it"]


HOSTILE: dict[str, tuple[Mapping[str, str | Link | None], str]] = {
    "no-module": ({f"site-packages/{name}": None for name in MODULES}, "d2l/torch.py is missing"),
    "changed": ({"site-packages/d2l/torch.py": "import os\n"}, "d2l/torch.py is not the released one"),
    "pth": ({"site-packages/evil.pth": "import os\n"}, "evil.pth does not belong to it"),
    "startup": ({"site-packages/sitecustomize.py": "x"}, "sitecustomize.py does not belong"),
    "module": ({"site-packages/d2l/evil.py": "x"}, "d2l/evil.py does not belong"),
    "bytecode": ({"site-packages/d2l/__pycache__/torch.cpython-310.pyc": "x"}, "torch.cpython-310.pyc does"),
    "another-name": ({"site-packages/torch/__init__.py": "x"}, "torch/__init__.py does not belong"),
    "script": ({"python-scripts/d2l": "#!/bin/sh\n"}, "python-scripts/d2l does not belong"),
    "program": ({"bin/python": "#!/bin/sh\n"}, "bin/python does not belong"),
    "activation": ({"etc/conda/activate.d/d2l.sh": "x"}, "activate.d/d2l.sh does not belong"),
    "post-link": ({"bin/.d2l-post-link.sh": "x"}, "post-link.sh does not belong"),
    "entry-points": ({f"{INFO}/entry_points.txt": "[console_scripts]\n"}, "entry_points.txt does not belong"),
    "link": ({"site-packages/d2l/jax.py": Link("torch.py")}, "d2l/jax.py does not belong"),
    "linked-module": ({"site-packages/d2l/torch.py": Link("__init__.py")}, "d2l/torch.py does not belong"),
    "licence": ({f"{INFO}/LICENSE": "none\n"}, "LICENSE is not the released one"),
    "metadata": ({f"{INFO}/METADATA": "Name: d2l\nVersion: 1\n"}, "METADATA is not what a build writes"),
    "record": ({f"{INFO}/RECORD": "../../../bin/python,,\n"}, "RECORD is not what a build writes"),
    "installer": ({f"{INFO}/INSTALLER": "evil"}, "INSTALLER is not what a build writes"),
    "requested": ({f"{INFO}/REQUESTED": "evil"}, "REQUESTED is not what a build writes"),
    "wheel": ({f"{INFO}/WHEEL": "Root-Is-Purelib: false\n"}, "WHEEL is not what a build writes"),
    "editable": (
        {f"{INFO}/direct_url.json": '{"url": "file:///x", "dir_info": {"editable": true}}'},
        "direct_url.json is not what a build writes",
    ),
    "no-json": ({f"{INFO}/direct_url.json": "x"}, "direct_url.json cannot be read"),
    "long": ({f"{INFO}/METADATA": WRITTEN["METADATA"] + "x" * 70_000}, "METADATA cannot be read"),
    "rewritten": (
        {"site-packages/d2l/torch.py": f"import torch\n# {condakit.PLACEHOLDER}\n"},
        "site-packages/d2l/torch.py would be rewritten",
    ),
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_anything_else_is_refused(tmp_path: Path, name: str) -> None:
    files, reason = HOSTILE[name]
    assert reason in "\n".join(problems(tmp_path, package(files)))


def test_a_program_that_the_installer_would_make_is_refused(tmp_path: Path) -> None:
    assert problems(tmp_path, package({}, ("d2l = d2l.torch:main",))) == [
        "it makes programs: ['d2l = d2l.torch:main']"
    ]


def rewrite(name: str, change: Callable[[Any], object]) -> Callable[[Path], None]:
    def do(folder: Path) -> None:
        path = folder / "info" / name
        data = json.loads(path.read_text(encoding="utf-8"))
        change(data)
        path.write_text(json.dumps(data), encoding="utf-8")

    return do


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (rewrite("index.json", lambda data: data.update(name="torch")), "it says that it is torch 9.9"),
        (rewrite("index.json", lambda data: data.pop("noarch")), "it says that it is d2l 9.9"),
        (rewrite("paths.json", lambda data: data["paths"].pop()), "names others than it holds"),
        (
            rewrite("paths.json", lambda data: data["paths"][0].update(path_type="softlink")),
            "would be rewritten",
        ),
        (
            rewrite("paths.json", lambda data: data["paths"][0].update(prefix_placeholder="x")),
            "would be rewritten",
        ),
        (rewrite("link.json", lambda data: data["noarch"].update(type="generic")), "it makes programs"),
        (lambda folder: (folder / "info/paths.json").unlink(), "its list of files cannot be read"),
        (lambda folder: (folder / "info/link.json").write_text("[]", encoding="utf-8"), "cannot be read"),
    ],
)
def test_what_tells_the_installer_otherwise_is_refused(
    tmp_path: Path, damage: Callable[[Path], object], reason: str
) -> None:
    folder = unpacked(tmp_path, package({}))
    damage(folder)
    assert reason in "\n".join(unhashed.package_problems(scan(folder), VERSION))


def installed(prefix: Path, names: Mapping[str, str]) -> list[str]:
    """The problems of a prefix whose conda-meta file names ``names`` (path → content), as conda writes it."""
    (prefix / "conda-meta").mkdir(parents=True)
    rows = [{"_path": path, "path_type": "hardlink"} for path in names]
    meta = {"name": "d2l", "version": VERSION, "build": "0", "paths_data": {"paths": rows}, "files": []}
    (prefix / "conda-meta" / f"d2l-{VERSION}-0.json").write_text(json.dumps(meta), encoding="utf-8")
    for path, text in names.items():
        (prefix / path).parent.mkdir(parents=True, exist_ok=True)
        (prefix / path).write_text(text, encoding="utf-8")
    (found,) = read_prefix(prefix).conda
    return unhashed.installed_problems(prefix, found)


def honest(site: str) -> dict[str, str]:
    info = f"{site}/d2l-{VERSION}.dist-info"
    return {f"{site}/{name}": text for name, text in MODULES.items()} | {
        f"{info}/{name}": text for name, text in WRITTEN.items()
    }


@pytest.mark.parametrize("site", ["lib/python3.10/site-packages", "Lib/site-packages", "site-packages"])
def test_an_installed_release_and_its_bytecode_are_in_order(tmp_path: Path, site: str) -> None:
    names = honest(site) | {f"{site}/d2l/__pycache__/torch.cpython-310.pyc": "compiled"}
    assert installed(tmp_path, names) == []


@pytest.mark.parametrize(
    "extra",
    [
        "{site}/evil.pth",
        "{site}/d2l/__pycache__/evil.cpython-310.pyc",
        "bin/d2l",
        "{site}/__pycache__/x.cpython-310.pyc",
    ],
)
def test_anything_else_that_is_installed_is_told(tmp_path: Path, extra: str) -> None:
    site = "lib/python3.10/site-packages"
    (found,) = installed(tmp_path, honest(site) | {extra.format(site=site): "x"})
    assert found.endswith("does not belong to it")


def test_only_releases_whose_files_are_known_need_no_hash() -> None:
    assert unhashed.known("d2l", "1.0.3")
    assert not unhashed.known("d2l", "1.0.2")
    assert not unhashed.known("numpy", "1.0.3")


# ------------------------------------------------------------------------------------- through a real build


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    with ExitStack() as stack:
        yield proofkit.home(tmp_path / "home", monkeypatch, stack)


def lock(home: Home, found: Package) -> None:
    """Lock ``found`` without a hash, beside a python."""
    python = condakit.python_package()
    condakit.write_channel(home.channel, (python, found))
    (address,) = home.workspace.channels
    condakit.write_workspace(home.root, address, (python, found), hashes={"d2l": ""})


@pytest.mark.skipif(os.name != "posix", reason="the python of the test is a shell script")
@pytest.mark.parametrize("name", ["no-module", "pth", "changed"])
def test_a_build_refuses_such_a_package_and_the_next_one_takes_nothing_from_the_cache(
    home: Home, tmp_path: Path, name: str
) -> None:
    files, _ = HOSTILE[name]
    there = package(files)
    # A release that the tool itself knows: the build runs in a process of its own.
    named = {path.replace(VERSION, "1.0.3"): value for path, value in there.files.items()}
    lock(home, replace(there, version="1.0.3", files=named))
    for _ in range(2):
        with pytest.raises(D2lEnvError, match="must not be installed") as caught:
            home.build("rattler", tmp_path / "prefix")
        assert "d2l: d2l/torch.py is" in caught.value.why
        assert not (tmp_path / "prefix").exists()


def released() -> dict[str, str]:
    """The files of d2l 1.0.3 out of an environment that is built here."""
    root = Path(__file__).parents[2]
    for site in sorted((root / ".d2lenv").glob("*-wheels/lib/python*/site-packages")):
        if (site / "d2l-1.0.3.dist-info").is_dir():
            places = [*(site / "d2l").glob("*.py"), *(site / "d2l-1.0.3.dist-info").iterdir()]
            return {f"site-packages/{path.relative_to(site)}": path.read_text("utf-8") for path in places}
    pytest.skip("not checked: no environment with d2l 1.0.3 is built here (`d2lenv build cuda`)")


@pytest.mark.skipif(os.name != "posix", reason="the python of the test is a shell script")
def test_the_released_d2l_is_installed_without_a_hash(home: Home, tmp_path: Path) -> None:
    found = Package("d2l", "1.0.3", "pyhd8ed1ab_0", ("python",), released(), (), "python")
    lock(home, found)
    prefix = home.build("rattler", tmp_path / "prefix")
    (d2l_package,) = [package for package in read_prefix(prefix).conda if package.name == "d2l"]
    assert unhashed.installed_problems(prefix, d2l_package) == []
    (evil,) = prefix.glob("lib/python*/site-packages/d2l/torch.py")
    evil.write_text("import os\n", encoding="utf-8")
    assert unhashed.installed_problems(prefix, d2l_package) == ["d2l/torch.py is not the released one"]
