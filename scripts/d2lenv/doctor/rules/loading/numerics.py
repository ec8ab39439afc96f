"""BLAS and OpenMP of a conda environment, by the table that ``d2lenv check`` holds locks to."""

from __future__ import annotations

from collections.abc import Iterator

from d2lenv.base.messages import tr
from d2lenv.doctor import fixes
from d2lenv.doctor.model import Command, Context, Found, Problem, joined
from d2lenv.facts import numerics
from d2lenv.prefix.contents.model import CondaPackage


def one_blas(context: Context) -> Iterator[Problem]:
    """numpy, scipy and PyTorch compute matrices with a BLAS library. conda-forge has several and a
    package, `libblas`, that says which one is used. The reference one (netlib) is correct and many times
    slower than any other. With two of them one program may load both, and with them two OpenMP runtimes,
    which take each other's processors or stop the process."""
    kinds = {
        package.name: (kind, package)
        for package in context.prefix.conda
        if (kind := numerics.blas(package.name, package.build))
    }
    names = {kind for kind, _ in kinds.values()}
    found = tuple(_found(package) for _, (_, package) in sorted(kinds.items()))
    if len(names) > 1:
        title = tr("more than one BLAS: {names}", names=joined(sorted(names)))
        yield Problem("warning", title, "libblas", found, tuple(_take_one(context, names)))
    elif names & numerics.REFERENCE_BLAS:
        title = tr("the BLAS is the reference one, which is many times slower than any other")
        yield Problem("warning", title, "libblas", found, tuple(_take_one(context, names)))


def openmp_packages(context: Context) -> Iterator[Problem]:
    """Two conda packages bring an OpenMP runtime each. A process that loads both of Intel's and LLVM's stops
    with `OMP: Error #15`; beside GNU's, each starts threads of its own for the same processors, which costs
    speed. conda-forge has one for all of its packages when `_openmp_mutex` says which."""
    there = {p.name: p for p in context.prefix.conda if p.name in numerics.OPENMP_RUNTIMES}
    if len(there) < 2:
        return
    yield Problem(
        # Anaconda's own environments have GNU's beside Intel's, and work.
        "info" if "libgomp" in there and len(there) == 2 else "warning",
        tr("more than one OpenMP runtime: {names}", names=joined(sorted(there))),
        "openmp",
        tuple(_found(there[name]) for name in sorted(there)),
        tuple(_one_runtime(context)),
    )


def _take_one(context: Context, names: set[str]) -> Iterator[Command]:
    """Yield the command of conda-forge's documentation; MKL where the environment has it anyway."""
    if context.prefix.conda_package("libblas") is not None:
        kind = "mkl" if "mkl" in names else "openblas"
        yield fixes.conda_install(context, f"libblas=*=*{kind}", channels=("conda-forge",))


def _one_runtime(context: Context) -> Iterator[Command]:
    mutex = context.prefix.conda_package("_openmp_mutex")
    if mutex is not None and mutex.channel == "conda-forge":
        yield fixes.conda_install(context, "_openmp_mutex=*=*_llvm", channels=("conda-forge",))


def _found(package: CondaPackage) -> Found:
    return Found(
        f"{package.name} ({package.channel or '?'})", f"{package.version} {package.build}", str(package.file)
    )
