"""The formats: one row each. A new format is a module beside this one and a row here.

A module sees an environment as plain, checked values and returns texts; it reads and writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from d2lenv.export.formats import colab, conda_lock, environment_yml, explicit, listing, sbom
from d2lenv.export.table import EnvironmentTable, PinTable

REQUIREMENTS = "requirements"
"""The format that ``d2lenv lock`` writes; an export only checks it (``formats/requirements.py``)."""


def _complete(table: EnvironmentTable) -> str:
    return ""


@dataclass(frozen=True)
class Format:
    """One kind of exported file.

    Attributes:
        make: a pure function from an environment to ``{path: text}``.
        patterns: of its files' names in the environment's folder, to find those that nothing makes any more.
        holds_wheels: whether it has a place for PyPI packages.
        of_pins: the same as ``make`` for an environment that exists as wheels alone, where it has such files.
        left_out: what the files of an environment lack and why, for the reader; empty for nothing.
    """

    make: Callable[[EnvironmentTable], dict[str, str]]
    patterns: tuple[str, ...]
    holds_wheels: bool = True
    of_pins: Callable[[PinTable], dict[str, str]] | None = None
    left_out: Callable[[EnvironmentTable], str] = _complete


FORMATS: Mapping[str, Format] = {
    # conda-lock, conda with conda-lockfiles, micromamba
    "conda-lock": Format(conda_lock.files, ("conda-lock.yml",), left_out=conda_lock.left_out_note),
    # conda, mamba, micromamba: the same bytes, without solving
    "explicit": Format(explicit.files, ("conda-*.lock",), holds_wheels=False),
    # conda, mamba: the same versions and builds; conda-lock's source
    "environment": Format(environment_yml.every_package, ("environment.yml", "environment-*.yml")),
    "colab": Format(colab.files, ("colab.ipynb",), holds_wheels=False),
    "studio-lab": Format(environment_yml.studio_lab, ("studio-lab.yml",)),
    # .binder/environment.yml belongs to no environment's folder
    "binder": Format(environment_yml.binder, ()),
    "sbom": Format(sbom.files, ("sbom-*.cdx.json",), of_pins=sbom.of_pins),
    "listing": Format(listing.files, (listing.FILE,)),
}
"""Name → format, in the order in which they are made."""
