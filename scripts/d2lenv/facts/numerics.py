"""BLAS and OpenMP as conda-forge packages them: which implementation a build is of.

One environment must have one of each. Two OpenMP runtimes in one process abort it or slow it down
(`OMP: Error #15`), two BLAS bring two OpenMP runtimes, and the reference BLAS (netlib) is many times slower
than any other (conda-forge.org, "Switching BLAS implementation"; looked at 2026-11-24).
"""

from __future__ import annotations

# Packages whose build ends in the implementation: `21_linux64_mkl`, `5_h51639a9_openblas`, `mkl`.
_BLAS_BUILDS = frozenset({"blas", "blas-devel", "libblas", "libcblas", "liblapack", "liblapacke"})

# Packages that are an implementation themselves.
_BLAS_LIBRARIES = {"blis": "blis", "libopenblas": "openblas", "mkl": "mkl", "openblas": "openblas"}

REFERENCE_BLAS = frozenset({"netlib", "reference"})
"""Implementations that nobody wants to compute with."""

OPENMP_RUNTIMES = frozenset({"intel-openmp", "libgomp", "llvm-openmp"})
"""The packages that bring an OpenMP runtime each."""


def blas(name: str, build: str) -> str:
    """Return the BLAS that a conda package belongs to, as ``mkl``, nothing for any other package."""
    if name in _BLAS_BUILDS:
        return build.rpartition("_")[2]
    return _BLAS_LIBRARIES.get(name, "")
