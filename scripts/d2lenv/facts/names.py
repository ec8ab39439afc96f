"""One package, two names: what conda calls ``pytorch`` pip calls ``torch``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from rattler import RepoDataRecord

CONDA_TO_PYPI = {
    "brotli-python": "brotli",
    "matplotlib-base": "matplotlib",
    "python-fastjsonschema": "fastjsonschema",
    "pytorch": "torch",
    "qtconsole-base": "qtconsole",
    "torchtriton": "triton",
}
"""Conda packages whose name on the Python package index differs and whose records may carry no purl."""

LOADED_BY_NOTEBOOKS = frozenset(
    {
        "argparse", "array", "ast", "asyncio", "base64", "bdb", "binascii", "bisect", "bz2", "cProfile",
        "calendar", "cmath", "cmd", "code", "codeop", "collections", "colorsys", "concurrent",
        "configparser", "contextvars", "copy", "copyreg", "csv", "ctypes", "curses", "dataclasses",
        "datetime", "decimal", "difflib", "dis", "email", "enum", "fcntl", "filecmp", "fnmatch",
        "fractions", "getopt", "getpass", "gettext", "glob", "grp", "gzip", "hashlib", "heapq", "hmac",
        "html", "http", "importlib", "inspect", "ipaddress", "json", "linecache", "locale", "logging",
        "lzma", "math", "mimetypes", "mmap", "multiprocessing", "numbers", "opcode", "pathlib", "pdb",
        "pickle", "pkgutil", "platform", "pprint", "profile", "pstats", "pydoc", "queue", "quopri",
        "random", "re", "resource", "runpy", "secrets", "select", "selectors", "shlex", "shutil",
        "signal", "socket", "socketserver", "sqlite3", "ssl", "string", "stringprep", "struct",
        "subprocess", "sysconfig", "tarfile", "tempfile", "termios", "textwrap", "threading", "timeit",
        "token", "tokenize", "traceback", "typing", "unicodedata", "unittest", "urllib", "uu", "uuid",
        "weakref", "xml", "zipfile", "zlib", "zoneinfo",
    }
)  # fmt: skip
"""Modules of Python itself that a kernel and `from d2l import torch` load from files.

Read from ``sys.modules`` in the environment `cuda` (Python 3.10, ipykernel 6, torch 2.0.1) on 2026-11-24.
"""

METAPACKAGES = frozenset({"cpython"})
"""Packages with a build named as a Python package's that install nothing. :func:`pypi_name_of` names them
all the same: the questions of the requirements files hold them as a preference, which uv never asks for."""

_PURL = "pkg:pypi/"


def pypi_name(record: RepoDataRecord) -> str | None:
    """The name on the Python package index of what ``record`` installs, as :func:`pypi_name_of` finds it."""
    purls = json.loads(record.to_json()).get("purls") or []
    return pypi_name_of(record.name.normalized, str(record.build), purls)


def pypi_name_of(name: str, build: str, purls: Iterable[str]) -> str | None:
    """The name on the Python package index of a conda package, normalised as PEP 503 says.

    From the record's own purl where it has one, else from :data:`CONDA_TO_PYPI`, else the same name for
    a Python extension or a noarch Python package, None for anything else (a C library, a metapackage).
    """
    for purl in purls:
        if purl.startswith(_PURL):
            return canonicalize_name(purl[len(_PURL) :].split("?")[0].split("@")[0])
    if name in CONDA_TO_PYPI:
        return CONDA_TO_PYPI[name]
    # Builds are named `py310h…_0`, `pyhd8ed1ab_0`, or on the pytorch channel `py3.10_cpu_0`, `py310_cpu`.
    return canonicalize_name(name) if build.startswith("py") else None
