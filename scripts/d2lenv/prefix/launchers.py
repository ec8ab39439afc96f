"""Small files that start something: the starters that conda clients write, and Jupyter's kernelspecs.

No package's digest covers them, because the prefix's path stands in them. Their text is compared with the
one that the clients write, so that a starter can start nothing but a function of the prefix's own Python.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path, PurePath

from d2lenv.base.process import python_module

# conda's (conda/gateways/disk/create.py and core/portability.py, 26.7) and rattler's
# (crates/rattler/src/install/entry_point.rs and python.rs, 0.48) differ in their indentation. Windows' have
# no first line; conda writes the second form of it where the path is long or has a space.
_ENTRY_POINT = re.compile(
    r"""(?:\#!(?P<python>/[^\n]+)\n|\#!/bin/sh\n'''exec'\ "(?P<long>/[^"\n]+)"\ "\$0"\ "\$@"\ \#'''\n|\n?)"""
    r"""\#\ -\*-\ coding:\ utf-8\ -\*-\nimport\ re\nimport\ sys\n\n"""
    r"""from\ (?P<module>\w+(?:\.\w+)*)\ import\ (?P<name>\w+)\n\nif\ __name__\ ==\ '__main__':\n"""
    r"""(?P<indent>\t|\ {4})sys\.argv\[0\]\ =\ re\.sub\("""
    r"""r'\(-script\\\.pyw\?\|\\\.exe\)\?\$',\ '',\ sys\.argv\[0\]\)\n"""
    r"""(?P=indent)sys\.exit\((?P<function>(?P=name)(?:\.\w+)*)\(\)\)\n""",
    re.VERBOSE,
)
_PYTHON = re.compile(r"python(\d(\.\d+)?)?(\.exe)?")
# As `ipykernel install` writes a kernelspec, and as a build does.
_KERNEL_WORDS = (
    ["-m", "ipykernel_launcher", "-f", "{connection_file}"],
    python_module("", "ipykernel_launcher", "-f", "{connection_file}")[1:],
)
# `env` and a provisioner in `metadata` can run anything; those that are harmless are named.
_KERNEL_KEYS = frozenset(
    {"argv", "display_name", "language", "interrupt_mode", "kernel_protocol_version", "metadata", "env"}
)
_KERNEL_METADATA = frozenset({"debugger", "supported_encryption"})


def entry_point(text: str, prefix: Path) -> str:
    """Return ``module:function`` of a starter that a conda client made for ``prefix``, else nothing."""
    found = _ENTRY_POINT.fullmatch(text)
    if found is None:
        return ""
    python = found["python"] or found["long"]
    if python and not _is_own_python(python, prefix):
        return ""
    return f"{found['module']}:{found['function']}"


def starts_own_python(kernelspec: str, prefix: Path) -> bool:
    """Return True if ``kernelspec`` (a ``kernel.json``) starts ipykernel in the Python of ``prefix`` only.

    A kernelspec is a command line: one with other words, or with variables, may run anything.
    """
    try:
        data = json.loads(kernelspec)
        python, *words = data["argv"]
        metadata = data.get("metadata", {})
        return (
            data.keys() <= _KERNEL_KEYS
            and metadata.keys() <= _KERNEL_METADATA
            and not data.get("env")
            and [word for word in words if word != "-Xfrozen_modules=off"] in _KERNEL_WORDS
            and _is_own_python(python, prefix)
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def _is_own_python(python: str, prefix: Path) -> bool:
    path = PurePath(python)
    if not path.is_absolute() or ".." in path.parts or not _PYTHON.fullmatch(path.name):
        return False
    # The prefix may have been named through a link: folders are compared as they are on the disk.
    places = [os.path.realpath(place) for place in (prefix / "bin", prefix / "Scripts", prefix)]
    return os.path.realpath(path.parent) in places
