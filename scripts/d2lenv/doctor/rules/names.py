"""Names: which distribution provides ``import torch``, and what conda and pip call it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name

from d2lenv.base.messages import tr, trn
from d2lenv.doctor import fixes
from d2lenv.doctor.model import (
    CONDA_NAMES,
    TRIO,
    Command,
    Context,
    Found,
    Problem,
    from_distribution,
    joined,
)
from d2lenv.facts import d2l as releases
from d2lenv.facts import platforms
from d2lenv.facts.pytorch import releases as matrix
from d2lenv.prefix.contents.text import read_optional

# Import name → (name on the Python package index, name in conda), as far as the three differ.
_NAMES = {
    "torch": ("torch", "pytorch"),
    "torchvision": ("torchvision", "torchvision"),
    "torchaudio": ("torchaudio", "torchaudio"),
    "d2l": ("d2l", "d2l"),
    "numpy": ("numpy", "numpy"),
    "matplotlib": ("matplotlib", "matplotlib-base"),
    "PIL": ("pillow", "pillow"),
    "cv2": ("opencv-python", "opencv"),
    "sklearn": ("scikit-learn", "scikit-learn"),
}

# Distributions whose import folder is known; a folder that is gone means a half-removed package.
_VERSION_LIMIT = 64 << 10
_FOLDERS = ("torch", "torchvision", "torchaudio", "numpy", "d2l", "matplotlib", "pandas", "scipy", "requests")


@dataclass(frozen=True)
class Row:
    """One line of the table of names, empty cells where a package manager does not know the package."""

    imported: str
    what: str
    conda: str
    pip: str


def table(context: Context) -> tuple[Row, ...]:
    """What `conda list` and `pip list` call the packages that are installed, side by side."""
    rows = []
    for imported, (pip, conda) in _NAMES.items():
        package = context.prefix.conda_package(conda)
        distribution = context.prefix.find(pip)
        if package is None and distribution is None:
            continue
        rows.append(
            Row(
                imported,
                _what(imported),
                f"{package.name} {package.version} {package.build}" if package else "",
                f"{distribution.name} {distribution.version} ({distribution.source})" if distribution else "",
            )
        )
    return tuple(rows)


def _what(imported: str) -> str:
    return {
        "torch": tr("PyTorch itself: tensors, on CPU and GPU"),
        "torchvision": tr("images: datasets, models, transforms"),
        "torchaudio": tr("audio: datasets, models, transforms"),
        "d2l": tr("the functions of the book"),
    }.get(imported, "")


def two_names(context: Context) -> Iterator[Problem]:
    """PyTorch has two names. Its project and its conda package are called `pytorch`; what Python imports and
    what pip installs is called `torch`. `conda list` shows `pytorch`, `pip list` shows `torch`, and both
    mean the same files. torchvision and torchaudio are separate packages that add images and audio; both
    need a torch of one exact version."""
    package = context.prefix.conda_package("pytorch")
    if package is not None:
        found = [
            Found(
                f"pytorch ({package.channel or 'conda'})",
                f"{package.version} {package.build}",
                str(package.file),
            )
        ]
        distribution = context.prefix.find("torch")
        if distribution is not None:
            found.append(from_distribution(distribution))
        yield Problem(
            "info", tr("conda calls it `pytorch`, pip and Python call it `torch`"), "torch", tuple(found)
        )


_OTHER_FRAMEWORKS = ("tensorflow", "mxnet", "jax", "paddlepaddle")


def torch_missing(context: Context) -> Iterator[Problem]:
    """Neither conda's `pytorch` nor pip's `torch` is here, so `import torch` fails with ModuleNotFoundError,
    and something that is installed needs it. d2l does not bring PyTorch: it has to be installed beside it,
    and before it, so that d2l's own pins have the last word."""
    if context.version("torch") or "torch" in context.prefix.modules:
        return
    needing = [name for name in ("torchvision", "torchaudio") if context.version(name)]
    # d2l serves other frameworks too.
    if context.version("d2l") and not any(context.version(name) for name in _OTHER_FRAMEWORKS):
        needing.insert(0, "d2l")
    if not needing:
        return
    torch = (
        "1.12.0"
        if releases.edition(context.version("d2l")) == "zh"
        else matrix.fitting(context.prefix.python_minor)
    )
    specs = (f"torch=={torch}", f"torchvision=={matrix.RELEASES[torch].vision[0]}") if torch else ()
    conda = (f"pytorch={torch}", *(spec.replace("==", "=") for spec in specs[1:]))
    yield Problem(
        "error",
        tr("PyTorch is not installed in this environment"),
        "torch",
        tuple(Found(name, context.version(name)) for name in needing),
        (fixes.install(context, conda, specs) if torch else fixes.other_python(context),),
    )


def wrong_name(context: Context) -> Iterator[Problem]:
    """On the Python package index the name `pytorch` belongs to an empty placeholder; PyTorch itself is
    `torch` there. `pip install pytorch` gives nothing that can be imported."""
    for distribution in context.prefix.distributions:
        if distribution.key == "pytorch" and not distribution.conda:
            yield Problem(
                "error",
                tr("pip installed the placeholder `pytorch` instead of `torch`"),
                "torch",
                (from_distribution(distribution),),
                (fixes.pip_uninstall(context, "pytorch"), fixes.pip_install(context, "torch")),
            )


def half_removed(context: Context) -> Iterator[Problem]:
    """The package manager's list says that it is installed, but its folder is gone (or the other way round).
    An interrupted installation or a folder deleted by hand leaves this; the import fails although `pip
    list` shows the package."""
    for distribution in context.prefix.distributions:
        site = next(site for site in context.prefix.sites if distribution in site.distributions)
        if (
            distribution.key in _FOLDERS
            and not distribution.editable
            and distribution.key not in site.modules
        ):
            yield Problem(
                "error",
                tr("{name} is listed as installed, but its folder is missing", name=distribution.name),
                distribution.key,
                (from_distribution(distribution),),
                (_again(context, distribution.key, distribution.version, bool(distribution.conda)),),
            )
    for name in TRIO:
        place = next((site for site in context.prefix.sites if name in site.modules), None)
        if place is not None and context.prefix.find(name) is None and not context.version(name):
            yield Problem(
                "error",
                tr("there is a folder `{name}`, but no package manager knows it", name=name),
                name,
                (Found(name, "", str(place.folder / name)),),
                (_recorded_again(context, name, place.folder),),
            )


def _again(context: Context, name: str, version: str, conda: bool) -> Command:
    if conda:
        return fixes.reinstall(context, CONDA_NAMES.get(name, name))
    spec = f"{name}=={version.partition('+')[0]}" if version else name
    return fixes.pip_install(context, spec, options=("--force-reinstall", "--no-deps"))


def _recorded_again(context: Context, name: str, site: Path) -> Command:
    """Install the version that the folder has, so that its record is there again."""
    text = read_optional(site / name / "version.py", _VERSION_LIMIT, context.trouble)
    match = re.search(r"^__version__ = ['\"]([\w.]{1,32})", text, re.MULTILINE)
    spec = f"{name}=={match[1]}" if match else name
    conda = spec.replace(name, CONDA_NAMES.get(name, name), 1).replace("==", "=")
    return fixes.install(context, (conda,), (spec,))


def leftovers(context: Context) -> Iterator[Problem]:
    """pip renames a package's folder to `~name` while it replaces it. When that is interrupted, or a file is
    in use on Windows, the folder stays and pip warns `Ignoring invalid distribution` at every call. It
    does no harm otherwise and can be deleted."""
    found = [path for site in context.prefix.sites for path in site.leftovers]
    if found:
        yield Problem(
            "warning",
            tr(
                "an interrupted pip left folders behind: {names}",
                names=joined(path.name for path in found[:5]),
            ),
            "pip",
            tuple(Found(path.name, "", str(path)) for path in found),
            tuple(fixes.remove(path) for path in found[:5]),
        )


def python_gone(context: Context) -> Iterator[Problem]:
    """The environment's Python is missing, or it is a link to a Python that has been removed or updated.
    Nothing in the environment can start; it has to be made anew."""
    prefix = context.prefix
    if prefix.kind == "unknown":
        return
    home = prefix.config.get("home", "")
    if prefix.python is None or not prefix.python.exists() or _cannot_start(context, prefix.python):
        yield Problem(
            "error",
            tr("the Python of this environment is gone"),
            "python",
            (Found("python", prefix.python_version, str(prefix.python or prefix.path)),)
            + ((Found("home", "", home),) if home else ()),
            (fixes.anew(context),),
        )


def _cannot_start(context: Context, python: Path) -> bool:
    """Return True for a program of this system that may not be run: a copy that lost its permissions."""
    system = platforms.system_of(context.prefix.platform)
    here = system is None or system.name == context.machine.system
    return os.name != "nt" and here and not os.access(python, os.X_OK)


def not_an_environment(context: Context) -> Iterator[Problem]:
    """The folder has neither a Python nor the marks of an environment (`conda-meta`, `pyvenv.cfg`,
    `site-packages`), so there is nothing to examine."""
    if context.prefix.kind == "unknown":
        yield Problem(
            "error",
            tr("this is not a Python environment"),
            canonicalize_name(context.prefix.path.name),
            (Found(context.prefix.path.name, "", str(context.prefix.path)),),
        )


def unreadable(context: Context) -> Iterator[Problem]:
    """These files could not be read, so what they would say was not examined. A disk error, an interrupted
    installation or missing permission is the usual cause."""
    found = (*context.prefix.unreadable, *context.trouble)
    if found:
        yield Problem(
            "not-checked",
            trn(
                "{count} file or folder could not be read",
                "{count} files or folders could not be read",
                count=len(found),
            ),
            "files",
            tuple(Found(item.path.name, item.why, str(item.path)) for item in dict.fromkeys(found)),
        )
