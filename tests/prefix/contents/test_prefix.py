"""What is installed in a prefix, read from its files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from d2lenv.prefix.contents.distributions import read_record
from d2lenv.prefix.contents.prefix import read_prefix
from doctor.environments import Environment, spoil


def test_a_venv_is_read_with_its_distributions(tmp_path: Path) -> None:
    env = Environment(tmp_path / "env")
    env.dist("Typing_Extensions", "4.0", requires=["x>=1", "y"], installer="uv", requested=True)
    found = read_prefix(env.path)
    assert (found.kind, found.python_version, found.python_minor, found.platform) == (
        "venv",
        "3.10.1",
        "3.10",
        "linux-64",
    )
    (dist,) = found.distributions
    assert (dist.name, dist.key, dist.version, dist.installer) == (
        "Typing_Extensions",
        "typing-extensions",
        "4.0",
        "uv",
    )
    assert dist.requires == ("x>=1", "y")
    assert dist.requested
    assert found.find("typing.extensions") == dist
    assert not found.unreadable


def test_condas_metadata_is_known_to_be_condas(tmp_path: Path) -> None:
    env = Environment(tmp_path / "env", kind="conda")
    env.conda("pytorch", "2.0.1", "py3.10_cpu_0", channel="pytorch", dist="torch", depends=["python"])
    env.dist("rich", "13.0")
    found = read_prefix(env.path)
    assert found.kind == "conda"
    assert {d.name: d.source for d in found.distributions} == {"torch": "conda", "rich": "pip"}
    package = found.conda_package("pytorch")
    assert package is not None
    assert (package.channel, package.build, package.depends) == ("pytorch", "py3.10_cpu_0", ("python",))


@pytest.mark.parametrize(
    ("url", "channel"),
    [
        (
            "https://mirror.example/cloud/pytorch/linux-64/x-1-0.tar.bz2",
            "https://mirror.example/cloud/pytorch",
        ),
        ("", "https://conda.anaconda.org/pytorch/linux-64"),
        ("", "https://conda.anaconda.org/pytorch/"),
        ("", "https://conda.anaconda.org/pytorch/noarch"),
        ("", "pytorch"),
    ],
)
def test_the_channels_name_is_the_same_however_a_tool_spells_it(
    tmp_path: Path, url: str, channel: str
) -> None:
    env = Environment(tmp_path / "env", kind="conda")
    record = {"name": "x", "version": "1", "build": "0", "url": url, "channel": channel, "subdir": "linux-64"}
    env.file("conda-meta/x-1-0.json", json.dumps(record))
    package = read_prefix(env.path).conda_package("x")
    assert package is not None
    assert package.channel == "pytorch"


def test_condas_old_egg_info_is_read(tmp_path: Path) -> None:
    env = Environment(tmp_path / "env", kind="conda")
    site = env.site.relative_to(env.path).as_posix()
    text = "Metadata-Version: 2.1\nName: torch\nVersion: 2.0.1\n"
    env.conda("pytorch", "2.0.1", files={f"{site}/torch-2.0.1-py3.10.egg-info/PKG-INFO": text})
    env.module("six-1.16.0-py3.10.egg-info", "Name: six\nVersion: 1.16.0\n")
    found = {d.name: d for d in read_prefix(env.path).distributions}
    assert found["torch"].conda == "pytorch"
    assert found["six"].version == "1.16.0"


def test_an_editable_installation_is_known(tmp_path: Path) -> None:
    env = Environment(tmp_path / "env")
    folder = env.dist("d2lenv", "0.1")
    (folder / "direct_url.json").write_text(
        json.dumps({"url": "file:///src", "dir_info": {"editable": True}})
    )
    (dist,) = read_prefix(env.path).distributions
    assert (dist.editable, dist.origin) == (True, "file:///src")


def test_metadata_with_windows_line_ends_is_read(tmp_path: Path) -> None:
    env = Environment(tmp_path / "env")
    (env.dist("x", "1") / "METADATA").write_bytes(b"Name: x\r\nVersion: 2\r\n\r\nVersion: 3\r\n")
    assert read_prefix(env.path).distributions[0].version == "2"


def test_a_long_header_is_read_to_its_end(tmp_path: Path) -> None:
    env = Environment(tmp_path / "env")
    many = [f"p{n}>=1; extra == 'a'" for n in range(3000)]
    env.dist("big", "1", requires=many)
    assert len(read_prefix(env.path).distributions[0].requires) == 3000


def test_lib64_that_is_a_link_to_lib_is_read_once(tmp_path: Path) -> None:
    env = Environment(tmp_path / "env")
    env.dist("x", "1")
    (env.path / "lib64").symlink_to("lib")
    assert len(read_prefix(env.path).distributions) == 1


def test_a_python_without_an_environment_says_its_version_in_a_header(tmp_path: Path) -> None:
    env = Environment(tmp_path / "env")
    (env.path / "pyvenv.cfg").unlink()
    env.file("include/python3.10/patchlevel.h", '#define PY_VERSION              "3.10.13"\n')
    found = read_prefix(env.path)
    assert (found.kind, found.python_version) == ("python", "3.10.13")


@pytest.mark.parametrize(
    ("head", "platform"),
    [
        (b"\xcf\xfa\xed\xfe\x0c\x00\x00\x01", "osx-arm64"),
        (b"\xcf\xfa\xed\xfe\x07\x00\x00\x01", "osx-64"),
        (b"\x7fELF" + bytes(14) + b"\xb7\x00", "linux-aarch64"),
        (b"MZ" + bytes(58) + b"\x40\0\0\0" + b"PE\0\0\x64\x86", "win-64"),
        (b"MZ" + bytes(58) + b"\x40\0\0\0" + b"PE\0\0\x64\xaa", ""),
        (b"\x7fELF", ""),
        (b"#!/bin/sh\n", ""),
    ],
)
def test_the_interpreters_first_bytes_say_the_platform(tmp_path: Path, head: bytes, platform: str) -> None:
    env = Environment(tmp_path / "env")
    (env.path / "bin" / "python").write_bytes(head)
    assert read_prefix(env.path).platform == platform


def test_a_windows_prefix_is_read_on_any_system(tmp_path: Path) -> None:
    env = Environment(tmp_path / "env", platform="win-64")
    env.dist("x", "1")
    found = read_prefix(env.path)
    assert (found.platform, len(found.distributions)) == ("win-64", 1)


def test_metadata_that_is_gone_leaves_what_the_folder_says(tmp_path: Path) -> None:
    env = Environment(tmp_path / "env")
    (env.dist("numpy", "1.23.5") / "METADATA").unlink()
    found = read_prefix(env.path)
    assert [(d.name, d.version) for d in found.distributions] == [("numpy", "1.23.5")]
    assert found.unreadable[0].path.name == "METADATA"


@pytest.mark.parametrize(
    "text",
    ["", "{", "[1]", "null", "\x00", '{"name": 7}', '{"name": "x"}', '{"depends": {}, "paths_data": [1]}'],
)
def test_a_broken_conda_record_is_reported_and_the_rest_read(tmp_path: Path, text: str) -> None:
    env = Environment(tmp_path / "env", kind="conda")
    env.file("conda-meta/pytorch-2.0.1-py3.10_cpu_0.json", text)
    found = read_prefix(env.path)
    assert found.conda_package("python") is not None
    assert [item.path.name for item in found.unreadable] == ["pytorch-2.0.1-py3.10_cpu_0.json"]


def test_json_that_is_nested_too_deeply_is_reported(tmp_path: Path) -> None:
    env = Environment(tmp_path / "env", kind="conda")
    env.file("conda-meta/deep-1-0.json", "[" * 200_000)
    assert read_prefix(env.path).unreadable


@pytest.mark.skipif(os.name == "nt", reason="no pipes in the file system")
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    env = Environment(tmp_path / "env")
    metadata = env.dist("x", "1") / "METADATA"
    metadata.unlink()
    os.mkfifo(metadata)
    assert read_prefix(env.path).unreadable[0].why == "not a regular file"


def test_a_link_to_itself_is_reported(tmp_path: Path) -> None:
    env = Environment(tmp_path / "env")
    spoil(env.dist("x", "1") / "METADATA")
    assert read_prefix(env.path).unreadable


def test_a_prefix_that_is_not_there_is_unknown(tmp_path: Path) -> None:
    found = read_prefix(tmp_path / "nothing")
    assert (found.kind, found.python, found.distributions) == ("unknown", None, ())
    assert found.unreadable


def test_kernelspecs_are_read_and_odd_ones_reported(tmp_path: Path) -> None:
    env = Environment(tmp_path / "env")
    env.kernel("python3", ["python", "-m", "ipykernel_launcher"])
    env.file("share/jupyter/kernels/odd/kernel.json", '{"argv": [1]}')
    env.file("share/jupyter/kernels/none/logo.png")
    found = read_prefix(env.path)
    assert [spec.name for spec in found.kernelspecs] == ["python3"]
    assert [item.path.parent.name for item in found.unreadable] == ["odd"]


def test_the_files_of_a_record_are_listed(tmp_path: Path) -> None:
    env = Environment(tmp_path / "env")
    folder = env.dist("x", "1")
    (folder / "RECORD").write_text('"a, ""b"".py",sha256=x,1\nx/c.py,sha256=y,2\nx/d,e.py,,\nodd\n\n')
    assert read_record(read_prefix(env.path).distributions[0], []) == (
        'a, "b".py',
        "x/c.py",
        "x/d,e.py",
        "odd",
    )


def test_five_thousand_packages_are_read(tmp_path: Path) -> None:
    env = Environment(tmp_path / "env")
    for number in range(5000):
        folder = env.site / f"p{number}-1.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Name: p{number}\nVersion: 1\n")
    assert len(read_prefix(env.path).distributions) == 5000
