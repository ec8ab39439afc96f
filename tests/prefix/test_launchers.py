"""Starters and kernelspecs: those that start a function of the prefix's own Python, and all others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from d2lenv.base import process
from d2lenv.prefix import launchers

# As conda 26.7.1 (built from source on 2026-11-24) and rattler 0.48 wrote them into a prefix.
CONDA = """\
#!PREFIX/bin/python3.12
# -*- coding: utf-8 -*-
import re
import sys

from pkg.cli import App

if __name__ == '__main__':
    sys.argv[0] = re.sub(r'(-script\\.pyw?|\\.exe)?$', '', sys.argv[0])
    sys.exit(App.main())
"""
RATTLER = CONDA.replace("    ", "\t")
LONG = CONDA.replace(
    "#!PREFIX/bin/python3.12\n", "#!/bin/sh\n'''exec' \"PREFIX/bin/python3.12\" \"$0\" \"$@\" #'''\n"
)


@pytest.mark.parametrize("text", [CONDA, RATTLER, LONG, RATTLER.replace("#!PREFIX/bin/python3.12", "")])
def test_what_conda_clients_write_names_its_function(tmp_path: Path, text: str) -> None:
    assert launchers.entry_point(text.replace("PREFIX", str(tmp_path)), tmp_path) == "pkg.cli:App.main"


def test_a_prefix_may_be_named_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "real" / "bin").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    text = CONDA.replace("PREFIX", str(tmp_path / "real"))
    assert launchers.entry_point(text, tmp_path / "link")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("PREFIX", "/usr"),
        ("PREFIX/bin/python3.12", "PREFIX/bin/../../evil/python3.12"),
        ("PREFIX/bin/python3.12", "PREFIX/bin/bash"),
        ("PREFIX/bin/python3.12", "PREFIX/bin/python3.12 -ic evil"),
        ("import sys\n", "import sys\nimport evil\n"),
        ("sys.exit(App.main())", "sys.exit(App.main()); evil()"),
        ("sys.exit(App.main())", "sys.exit(Other())"),
        ("from pkg.cli", "from pkg.cli import evil; from x"),
        ("App.main()", "App.main(1)"),
        ("# -*-", "evil\n# -*-"),
        ("\n", "\r\n"),
    ],
)
def test_any_other_text_is_no_starter(tmp_path: Path, old: str, new: str) -> None:
    for text in (CONDA, RATTLER):
        assert old in text
        changed = text.replace(old, new).replace("PREFIX", str(tmp_path))
        assert launchers.entry_point(changed, tmp_path) == ""
    assert launchers.entry_point(CONDA.replace("PREFIX", str(tmp_path)) + "evil()\n", tmp_path) == ""


def kernel(prefix: Path, **fields: object) -> str:
    argv = [f"{prefix}/bin/python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    return json.dumps({"argv": argv, "display_name": "x", "language": "python", **fields})


def test_a_kernel_of_the_prefixs_own_python_is_known(tmp_path: Path) -> None:
    assert launchers.starts_own_python(kernel(tmp_path), tmp_path)
    assert launchers.starts_own_python(kernel(tmp_path, metadata={"debugger": True}, env={}), tmp_path)
    argv = process.python_module(f"{tmp_path}/bin/python", "ipykernel_launcher", "-f", "{connection_file}")
    assert launchers.starts_own_python(kernel(tmp_path, argv=argv), tmp_path)  # as a build writes it
    argv = [
        f"{tmp_path}/bin/python3.10",
        "-Xfrozen_modules=off",
        *("-m", "ipykernel_launcher", "-f", "{connection_file}"),
    ]
    assert launchers.starts_own_python(kernel(tmp_path, argv=argv), tmp_path)


@pytest.mark.parametrize(
    "fields",
    [
        {"argv": ["PREFIX/bin/sh", "-m", "ipykernel_launcher", "-f", "{connection_file}"]},
        {"argv": ["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]},
        {"argv": ["PREFIX/../x/bin/python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]},
        {"argv": ["PREFIX/bin/python", "-c", "evil", "-f", "{connection_file}"]},
        {"argv": ["PREFIX/bin/python", "-m", "evil", "-f", "{connection_file}"]},
        {"argv": ["PREFIX/bin/python", "-m", "ipykernel_launcher", "-f", "{connection_file}", "--x"]},
        {"argv": []},
        {"argv": "PREFIX/bin/python"},
        {"argv": [1]},
        {"env": {"PYTHONPATH": "/x"}},
        {"metadata": {"kernel_provisioner": {"provisioner_name": "evil"}}},
        {"metadata": 3},
        {"more": 1},
    ],
)
def test_a_kernel_that_may_run_something_else_is_not(tmp_path: Path, fields: dict[str, object]) -> None:
    text = kernel(tmp_path, **fields).replace("PREFIX", str(tmp_path))
    assert not launchers.starts_own_python(text, tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "3", "{", '{"argv": null}', "[" * 5000])
def test_what_is_no_kernelspec_is_not(tmp_path: Path, text: str) -> None:
    assert not launchers.starts_own_python(text, tmp_path)
