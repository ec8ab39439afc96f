"""The formats: one row each. A new format is a module beside this one and a row here.

A module sees an environment as plain, checked values and returns texts; it reads and writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from d2lenv.base.messages import tr
from d2lenv.export.formats import beside_conda, colab, conda_lock, environment_yml, explicit, listing, sbom
from d2lenv.export.table import EnvironmentTable, PinTable
from d2lenv.workspace import beside

REQUIREMENTS = "requirements"
"""The format that ``d2lenv lock`` writes; an export only checks it (``formats/requirements.py``)."""


@dataclass(frozen=True)
class About:
    """The words of README on a format.

    Attributes:
        readers: the tools, or the people, that the files are for.
        exact: whether they get exactly the locked packages.
    """

    readers: str
    exact: str


def _complete(table: EnvironmentTable) -> str:
    return ""


@dataclass(frozen=True)
class Format:
    """One kind of exported file.

    Attributes:
        make: a pure function from an environment to ``{path: text}``.
        patterns: of its files' names in the environment's folder, to find those that nothing makes any more.
        about: what README says of it.
        holds_wheels: whether it has a place for PyPI packages.
        of_pins: the same as ``make`` for an environment that exists as wheels alone, where it has such files.
        left_out: what the files of an environment lack and why, for the reader, empty for nothing.
    """

    make: Callable[[EnvironmentTable], dict[str, str]]
    patterns: tuple[str, ...]
    about: Callable[[], About]
    holds_wheels: bool = True
    of_pins: Callable[[PinTable], dict[str, str]] | None = None
    left_out: Callable[[EnvironmentTable], str] = _complete


FORMATS: Mapping[str, Format] = {
    "explicit": Format(
        explicit.files,
        ("conda-*.lock",),
        lambda: About(
            tr("`conda create --file`, micromamba, mamba"), tr("yes, hashes verified (`d2l` has none)")
        ),
        holds_wheels=False,
    ),
    "conda-lock": Format(
        conda_lock.files,
        ("conda-lock.yml", "conda-lock-*.yml"),
        lambda: About(
            tr("conda-lock, micromamba, conda with conda-lockfiles"),
            tr("yes, but `d2l`: the format wants an md5 and none is known; its head has the command"),
        ),
        left_out=conda_lock.left_out_note,
    ),
    "environment": Format(
        environment_yml.every_package,
        ("environment-*.yml", "environment.yml"),
        lambda: About(
            tr("`conda env create`; the second one is the source of conda-lock.yml"),
            tr("version and build, no hashes"),
        ),
    ),
    "beside-conda": Format(
        beside_conda.files,
        (beside.FILE,),
        lambda: About(
            tr("pip, for the wheels beside conda packages (`d2l` in `modern`)"), tr("yes, hashes verified")
        ),
    ),
    "colab": Format(
        colab.files,
        ("colab.ipynb",),
        lambda: About(
            tr("Google Colab; not checked on the service"), tr("yes, hashes verified (`d2l` has none)")
        ),
        holds_wheels=False,
    ),
    "studio-lab": Format(
        environment_yml.studio_lab,
        ("studio-lab.yml",),
        lambda: About(
            tr("SageMaker Studio Lab; not checked on the service"), tr("version and build, no hashes")
        ),
    ),
    "sbom": Format(
        sbom.files,
        ("sbom-*.cdx.json",),
        lambda: About(tr("scanners and inventories: CycloneDX 1.6"), "–"),
        of_pins=sbom.of_pins,
    ),
    "listing": Format(
        listing.files,
        (listing.FILE,),
        lambda: About(tr("people: versions, licences, sizes, changes"), "–"),
    ),
    # .binder/environment.yml belongs to no environment's folder
    "binder": Format(
        environment_yml.binder,
        (),
        lambda: About(tr("Binder; not checked on the service"), tr("version and build, no hashes")),
    ),
}
"""Name → format, in the order in which they are made and shown."""


def requirements_about() -> About:
    """Return what README says of the file that an export only checks."""
    return About(tr("pip and uv, `--require-hashes`"), tr("the wheels engine's own lock"))
