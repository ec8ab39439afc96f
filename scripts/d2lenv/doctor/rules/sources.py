"""Mixed sources: conda beside pip, the same thing twice, files over files, shadows, two OpenMP runtimes."""

from __future__ import annotations

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from d2lenv.base.messages import tr
from d2lenv.doctor import fixes
from d2lenv.doctor.model import (
    CONDA_NAMES,
    TRIO,
    Command,
    Context,
    Found,
    Problem,
    cuda_of_build_string,
    from_distribution,
    joined,
)
from d2lenv.facts.names import LOADED_BY_NOTEBOOKS
from d2lenv.facts.pytorch import releases as matrix
from d2lenv.prefix.contents.distributions import read_record, read_site
from d2lenv.prefix.contents.model import CondaPackage, Distribution, Unreadable
from d2lenv.prefix.contents.text import exists

_HASH_LIMIT = 64 << 20
_MOST_HASHED = 200
_WATCHED = (*TRIO, "numpy")
_LOADED = LOADED_BY_NOTEBOOKS | {*_WATCHED, "d2l", "matplotlib", "pandas", "scipy"}


def _sides(context: Context) -> tuple[dict[str, CondaPackage], dict[str, Distribution]]:
    """Of torch, torchvision, torchaudio and numpy: those that conda installed, and those that pip did."""
    conda, pip = {}, {}
    for name in _WATCHED:
        package = context.prefix.conda_package(CONDA_NAMES.get(name, name))
        distribution = context.prefix.find(name)
        if package is not None:
            conda[name] = package
        if distribution is not None and not distribution.conda and distribution.installer != "conda":
            pip[name] = distribution
    return conda, pip


def mixed_sources(context: Context) -> Iterator[Problem]:
    """torch, torchvision, torchaudio and numpy call each other's compiled code, so they must come from one
    builder. conda's `pytorch` is pip's `torch` under another name, but the two are built differently:
    pip's torchvision does not know conda's CUDA libraries, and neither package manager sees that the
    other one's version no longer fits. Take all of them from the same place."""
    conda, pip = _sides(context)
    mixed = {name: item for name, item in pip.items() if name not in conda}
    if not conda or not mixed:
        return
    trio = set(conda) & set(TRIO) and set(mixed) & set(TRIO)
    found = [
        Found(f"{p.name} (conda, {p.channel or '?'})", f"{p.version} {p.build}", str(p.file))
        for p in conda.values()
    ]
    yield Problem(
        "error" if trio else "warning",
        tr(
            "{one} from conda, {other} from pip",
            one=joined(p.name for p in conda.values()),
            other=joined(mixed),
        ),
        "torch",
        (*found, *(from_distribution(item) for item in mixed.values())),
        tuple(_all_from_conda(context, conda, mixed)),
    )


def _all_from_conda(
    context: Context, conda: dict[str, CondaPackage], mixed: dict[str, Distribution]
) -> Iterator[Command]:
    uninstall = fixes.pip_uninstall(context, *mixed)
    # Safe by itself, but not half of the cure.
    yield Command(uninstall.argv)
    torch = conda.get("torch")
    release = matrix.release(torch.version) if torch else None
    if torch is None or release is None:
        yield fixes.conda_install(context, *(CONDA_NAMES.get(name, name) for name in mixed))
        return
    # conda's own number where it differs from the index's: 2.0.0 goes with 0.15.0 and 2.0.0 there.
    specs = [f"pytorch={torch.version}", f"torchvision={release.vision[-1]}"]
    if "torchaudio" in mixed and release.audio:
        specs.append(f"torchaudio={release.audio[-1]}")
    if "numpy" in mixed:
        specs.append("numpy<2")
    cuda = cuda_of_build_string(torch.build)
    specs.append(matrix.conda_toolkit(torch.version, cuda) if cuda else "cpuonly")
    channels = fixes.torch_channels(torch.version) if cuda else ("pytorch",)
    yield fixes.conda_install(context, *specs, channels=channels)


def twice(context: Context) -> Iterator[Problem]:
    """Two copies of one distribution are recorded. Python imports one of them, the package manager may show
    the other, and uninstalling removes only one: what runs is not what the list says."""
    copies: dict[str, list[Distribution]] = defaultdict(list)
    for distribution in context.prefix.distributions:
        copies[distribution.key].append(distribution)
    for key, items in copies.items():
        if len(items) < 2:
            continue
        version = items[0].version.partition("+")[0]
        fix: tuple[Command, ...] = ()
        if all(not item.conda for item in items):
            # pip removes one copy at a time.
            fix = (
                *(fixes.pip_uninstall(context, key) for _ in items),
                fixes.pip_install(context, f"{key}=={version}" if version else key),
            )
        else:
            fix = (fixes.pip_uninstall(context, key), fixes.reinstall(context, CONDA_NAMES.get(key, key)))
        yield Problem(
            "error" if key in _WATCHED else "warning",
            tr("{name} is installed {n} times", name=items[0].name, n=len(items)),
            key,
            tuple(from_distribution(item) for item in items),
            fix,
        )


def pip_over_conda(context: Context) -> Iterator[Problem]:
    """pip wrote its own files over those of a conda package. conda still lists its version and the next
    `conda install` may mix the two; the files on disk are neither. The check compares the hash of each
    file that both claim with the one in `conda-meta`."""
    if not context.prefix.conda:
        return
    claimed: dict[str, CondaPackage] = {path: p for p in context.prefix.conda for path in p.paths}
    hashed = 0
    for distribution in context.prefix.distributions:
        if distribution.conda or distribution.installer == "conda":
            continue
        changed: dict[str, list[str]] = defaultdict(list)
        site = _inside(distribution.site, context.prefix.path)
        record: list[Unreadable] = []
        for name in read_record(distribution, record) if (distribution.folder / "RECORD").is_file() else ():
            path = os.path.normpath(f"{site}/{name}").replace(os.sep, "/")
            package = claimed.get(path)
            if package is None or not package.paths[path] or hashed >= _MOST_HASHED or path.endswith(".pyc"):
                continue
            hashed += 1
            if _sha256(context, context.prefix.path / path) not in ("", package.paths[path]):
                changed[package.name].append(path)
        context.trouble.extend(record)
        for name, paths in changed.items():
            yield Problem(
                "error" if distribution.key in _WATCHED else "warning",
                tr("pip's {pip} lies over conda's {conda}", pip=distribution.name, conda=name),
                distribution.key,
                (
                    from_distribution(distribution),
                    *(Found(tr("changed file"), "", str(context.prefix.path / path)) for path in paths[:3]),
                ),
                (fixes.pip_uninstall(context, distribution.name), fixes.reinstall(context, name)),
            )


def _inside(folder: Path, prefix: Path) -> str:
    return folder.relative_to(prefix).as_posix() if folder.is_relative_to(prefix) else folder.as_posix()


def _sha256(context: Context, path: Path) -> str:
    """Return the hash of a file of up to 64 MiB, empty when larger or unreadable."""
    try:
        if not path.is_file() or path.stat().st_size > _HASH_LIMIT:
            return ""
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except (OSError, ValueError) as error:
        context.trouble.append(Unreadable(path, str(error)))
        return ""


def user_site(context: Context) -> Iterator[Problem]:
    """`pip install --user` puts packages into the home folder, and a conda environment or a system Python
    looks there before its own site-packages. The environment's own copy is never imported.
    `PYTHONNOUSERSITE=1` switches the folder off."""
    prefix = context.prefix
    uses = prefix.kind in ("conda", "python") or prefix.config.get("include-system-site-packages") == "true"
    if not uses or context.environ.get("PYTHONNOUSERSITE") or not prefix.python_minor:
        return
    folder = context.home / ".local" / "lib" / f"python{prefix.python_minor}" / "site-packages"
    if prefix.platform.startswith("win"):
        appdata = Path(context.environ.get("APPDATA") or context.home / "AppData" / "Roaming")
        folder = appdata / "Python" / f"Python{prefix.python_minor.replace('.', '')}" / "site-packages"
    if folder in (site.folder for site in prefix.sites):
        return
    shadows = _shadows(context, folder)
    if shadows:
        yield Problem(
            "warning",
            tr(
                "packages in the home folder shadow this environment's: {names}",
                names=joined(s.name for s in shadows),
            ),
            shadows[0].key,
            tuple(from_distribution(item) for item in shadows),
            (fixes.export("PYTHONNOUSERSITE", "1"),),
        )


def pythonpath(context: Context) -> Iterator[Problem]:
    """PYTHONPATH puts folders before the environment's own site-packages, for every Python that is started.
    A copy of a package there is imported instead of the one that was installed."""
    for entry in dict.fromkeys(context.environ.get("PYTHONPATH", "").split(os.pathsep)):
        if not entry:
            continue
        shadows = [(item.name, from_distribution(item)) for item in _shadows(context, Path(entry))]
        modules = [(path.name, Found(path.name, "", str(path))) for path in _modules(Path(entry))]
        if shadows := shadows or modules:
            yield Problem(
                # A package may be the right one all the same; a file of that name is not.
                "error" if shadows is modules else "warning",
                tr(
                    "PYTHONPATH shadows this environment's {names}", names=joined(name for name, _ in shadows)
                ),
                shadows[0][0],
                tuple(found for _, found in shadows),
                (fixes.unset("PYTHONPATH"),),
            )


def _modules(folder: Path) -> list[Path]:
    """Return modules and packages of ``folder`` that are called like one that the notebooks load."""
    try:
        names = sorted(folder.iterdir())
    except (OSError, ValueError):
        return []
    return [
        path
        for path in names
        if path.name.removesuffix(".py") in _LOADED and (path.suffix == ".py" or exists(path / "__init__.py"))
    ]


def _shadows(context: Context, folder: Path) -> list[Distribution]:
    """Distributions of ``folder`` that stand before one of the prefix, those that matter here."""
    if not folder.is_dir():
        return []
    watched = {
        *_WATCHED,
        "d2l",
        "matplotlib",
        "matplotlib-inline",
        "pandas",
        "scipy",
        "ipykernel",
        "jupyter-client",
    }
    own = {item.key for item in context.prefix.distributions}
    return [item for item in read_site(folder).distributions if item.key in watched & own]


def two_openmp(context: Context) -> Iterator[Problem]:
    """Two copies of the Intel or LLVM OpenMP runtime lie in one environment. When both are loaded the
    process stops with `OMP: Error #15: Initializing libiomp5, but found libiomp5 already initialized`, or
    runs slowly. The variable KMP_DUPLICATE_LIB_OK only hides it; installing torch and numpy from one
    source removes it."""
    prefix = context.prefix
    folders = [prefix.path / "lib", prefix.path / "Library" / "bin", prefix.path / "bin"]
    for site in prefix.sites:
        folders += [site.folder / "torch" / "lib", site.folder / "torch" / ".dylibs"]
        folders += [site.folder / "sklearn" / ".dylibs", site.folder / "scikit_learn.libs"]
    found: dict[tuple[int, int], Path] = {}
    for folder in folders:
        try:
            names = sorted(
                p for p in folder.iterdir() if re.match(r"lib(iomp5|omp)(md)?\.(so|dylib|dll)", p.name)
            )
        except (OSError, ValueError):
            continue
        for name in names:
            try:
                status = name.stat()  # follows links: libiomp5.so is often one to libomp.so
            except (OSError, ValueError):
                continue
            found.setdefault((status.st_dev, status.st_ino), name)
    # conda's packages are made to be loaded together.
    claimed = {name for package in prefix.conda for name in package.paths}
    foreign = [path for path in found.values() if _inside(path, prefix.path) not in claimed]
    if foreign and len({path.parent for path in found.values()}) > 1:
        yield Problem(
            "warning",
            tr("{n} OpenMP runtimes lie in one environment", n=len(found)),
            "openmp",
            tuple(Found(path.name, "", str(path)) for path in found.values()),
            tuple(_one_openmp(context)),
        )


def _one_openmp(context: Context) -> Iterator[Command]:
    torch = context.prefix.find("torch")
    if context.prefix.kind == "conda" and torch is not None and not torch.conda:
        yield Command(fixes.pip_uninstall(context, "torch").argv)
        version = torch.version.partition("+")[0]
        yield fixes.conda_install(
            context, f"pytorch={version}" if version else "pytorch", channels=("pytorch",)
        )
    elif torch is not None and torch.conda:
        yield fixes.reinstall(context, "pytorch")
