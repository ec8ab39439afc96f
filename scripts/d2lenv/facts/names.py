"""One package, two names: what conda calls ``pytorch`` pip calls ``torch``."""

from __future__ import annotations

import json
from collections.abc import Iterable

from packaging.utils import canonicalize_name
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
    a Python extension or a noarch Python package; None for anything else (a C library, a metapackage).
    """
    for purl in purls:
        if purl.startswith(_PURL):
            return canonicalize_name(purl[len(_PURL) :].split("?")[0].split("@")[0])
    if name in CONDA_TO_PYPI:
        return CONDA_TO_PYPI[name]
    # Builds are named `py310h…_0`, `pyhd8ed1ab_0`, or on the pytorch channel `py3.10_cpu_0`, `py310_cpu`.
    return canonicalize_name(name) if build.startswith("py") else None
