"""What the pins of pixi.toml mean, whatever the solver answers otherwise.

The strategies `lowest` and `lowest-direct` stand for other solvers and other days: they take the other end of
every range that the manifest leaves open. By hand, 2026-11-24: py-rattler 0.25 to 0.28 and pixi 0.77 give
today's pixi.lock from the same snapshot, record for record.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Literal

import pytest
from rattler import ChannelPriority, RepoDataRecord, solve_with_sparse_repodata

from channelkit import ROOT
from d2lenv.facts import numerics
from d2lenv.solve.conda import Snapshot
from d2lenv.workspace import lockfile, manifest

SNAPSHOT = Path(os.environ.get("D2LENV_SNAPSHOT", ROOT / ".." / "shared" / "channels"))
SPACE = manifest.load(ROOT)
# The tool's own environment computes nothing.
PAIRS = [
    (environment.name, platform)
    for environment in SPACE.environments.values()
    for platform in environment.platforms
    if any(spec.name == "pytorch" for spec in environment.specs[platform])
]

# Exactly these builds: version and build.
_EXACT = frozenset({"numpy", "pytorch", "pytorch-cuda", "pytorch-mutex", "torchaudio", "torchvision"})
# CUDA's own libraries: their versions must be of the CUDA that PyTorch was built for.
_CUDA = frozenset({"cuda-cudart", "cuda-version", "libcublas", "libcurand", "libcufile"})


@cache
def snapshot() -> Snapshot:
    return Snapshot(SNAPSHOT)


def meaning(records: Iterable[RepoDataRecord]) -> dict[str, object]:
    """What must be the same whatever else moves."""
    rows = [(record.name.normalized, str(record.version), str(record.build)) for record in records]
    return {
        "exact": sorted(row for row in rows if row[0] in _EXACT),
        "cuda": sorted((name, version.split(".")[0]) for name, version, _ in rows if name in _CUDA),
        "blas": sorted({kind for name, _, build in rows if (kind := numerics.blas(name, build))}),
        "openmp": sorted({name for name, _, _ in rows} & numerics.OPENMP_RUNTIMES),
    }


@pytest.mark.skipif(not SNAPSHOT.is_dir(), reason=f"not checked: no channel snapshot at {SNAPSHOT}")
@pytest.mark.parametrize(("name", "platform"), PAIRS)
@pytest.mark.parametrize("strategy", ["highest", "lowest", "lowest-direct"])
def test_every_strategy_gives_the_same_pytorch_blas_openmp_cuda_and_numpy(
    name: str, platform: str, strategy: Literal["highest", "lowest", "lowest-direct"]
) -> None:
    environment = SPACE.environments[name]
    target = environment.targets[platform]
    records = asyncio.run(
        solve_with_sparse_repodata(
            [spec.text for spec in environment.specs[platform]],
            snapshot().repodata(environment.channels, target.subdir),
            virtual_packages=[package.for_solver() for package in target.virtual_packages],
            channel_priority=ChannelPriority.Strict,
            strategy=strategy,
        )
    )
    locked = lockfile.of(SPACE).records(name, platform)
    assert meaning(records) == meaning(locked)
    assert len(meaning(locked)["blas"]) == 1  # type: ignore[arg-type]
