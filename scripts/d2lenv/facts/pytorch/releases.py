"""Which PyTorch goes with which torchvision, torchaudio, Python, CUDA, GPU and driver.

Looked up 2026-11-22. Sources:

* pairs: ``Requires-Dist`` of torchvision's and torchaudio's wheels on the Python package index (a
resolver was asked for each torch version); those that only conda has, from pytorch.org's "previous
versions" page. * Pythons: the files on the index, for Linux x86-64 (``pip index versions
--python-version``). * CUDA builds: the release compatibility matrix in pytorch/pytorch's RELEASE.md (to
2.14), and the "previous versions" page. * architectures: ``TORCH_CUDA_ARCH_LIST`` of pytorch/builder's
and pytorch/pytorch's ``build_cuda.sh`` at the release, and RELEASE.md's CUDA support matrix from 2.11 on;
x86-64 builds. * drivers: NVIDIA's CUDA toolkit release notes, tables 2 and 3 (13.1's edition).

2.15.0 was the newest on the index. What is not here is unknown, not wrong: the findings that need it say
so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from packaging.version import Version

from d2lenv.facts import platforms


@dataclass(frozen=True)
class Code:
    """The GPUs that a build has code for.

    Attributes:
        numbers: sm numbers of its machine code.
        ptx: the compute capability of its PTX, which the driver compiles for anything newer; 0 for none.
    """

    numbers: tuple[int, ...]
    ptx: int = 0


@dataclass(frozen=True)
class TorchRelease:
    """One release of torch.

    Attributes:
        vision: torchvision versions made for it, the index's one first.
        audio: torchaudio versions made for it, empty where none was published or none is known.
        pythons: first and last Python with a Linux wheel.
        builds: CUDA version of each build → its code, empty when not known.
        index_cuda: CUDA version of the Linux wheel on the Python package index, empty when not known.
    """

    vision: tuple[str, ...]
    audio: tuple[str, ...]
    pythons: tuple[str, str]
    builds: Mapping[str, Code] = field(default_factory=dict)
    index_cuda: str = ""


_FROM_3_7 = Code((37, 50, 60, 70, 75, 80, 86))
_AND_HOPPER = Code((37, 50, 60, 70, 75, 80, 86, 90))
_TO_HOPPER = Code((50, 60, 70, 75, 80, 86, 90))
_FROM_VOLTA = Code((70, 75, 80, 86, 90, 100, 120))
_FROM_TURING = Code((75, 80, 86, 90, 100, 120))

# The builds that several releases share, called after the first of them.
_1_12 = {"10.2": Code((37, 50, 60, 70)), "11.3": _FROM_3_7, "11.6": _FROM_3_7}
_1_13 = {"11.6": _FROM_3_7, "11.7": _FROM_3_7}
_2_0 = {"11.7": _FROM_3_7, "11.8": _AND_HOPPER}
_2_1 = {"11.8": _AND_HOPPER, "12.1": _TO_HOPPER}
_2_4 = {**_2_1, "12.4": _TO_HOPPER}
_2_6 = {"11.8": _AND_HOPPER, "12.4": _TO_HOPPER, "12.6": _TO_HOPPER}
_2_7 = {"11.8": _AND_HOPPER, "12.6": _TO_HOPPER, "12.8": Code(_FROM_TURING.numbers, ptx=120)}
_2_8 = {"12.6": _TO_HOPPER, "12.8": _FROM_VOLTA, "12.9": Code(_FROM_VOLTA.numbers, ptx=120)}
_2_9 = {"12.6": _TO_HOPPER, "12.8": _FROM_VOLTA, "13.0": _FROM_TURING}
_2_11 = {"12.6": _TO_HOPPER, "12.8": _FROM_TURING, "13.0": _FROM_TURING}
_2_12 = {"12.6": _TO_HOPPER, "13.0": _FROM_TURING, "13.2": _FROM_TURING}

RELEASES: dict[str, TorchRelease] = {
    "1.12.0": TorchRelease(("0.13.0",), ("0.12.0",), ("3.7", "3.10"), _1_12, "10.2"),
    "1.12.1": TorchRelease(("0.13.1",), ("0.12.1",), ("3.7", "3.10"), _1_12, "10.2"),
    "1.13.0": TorchRelease(("0.14.0",), ("0.13.0",), ("3.7", "3.11"), _1_13, "11.7"),
    "1.13.1": TorchRelease(("0.14.1",), ("0.13.1",), ("3.7", "3.11"), _1_13, "11.7"),
    # 0.15.0 and 2.0.0 are conda's; the wheels were replaced by 0.15.1 and 2.0.1 within days.
    "2.0.0": TorchRelease(("0.15.1", "0.15.0"), ("2.0.1", "2.0.0"), ("3.8", "3.11"), _2_0, "11.7"),
    "2.0.1": TorchRelease(("0.15.2",), ("2.0.2",), ("3.8", "3.11"), _2_0, "11.7"),
    "2.1.0": TorchRelease(("0.16.0",), ("2.1.0",), ("3.8", "3.11"), _2_1, "12.1"),
    "2.1.1": TorchRelease(("0.16.1",), ("2.1.1",), ("3.8", "3.11"), _2_1, "12.1"),
    "2.1.2": TorchRelease(("0.16.2",), ("2.1.2",), ("3.8", "3.11"), _2_1, "12.1"),
    "2.2.0": TorchRelease(("0.17.0",), ("2.2.0",), ("3.8", "3.12"), _2_1, "12.1"),
    "2.2.1": TorchRelease(("0.17.1",), ("2.2.1",), ("3.8", "3.12"), _2_1, "12.1"),
    "2.2.2": TorchRelease(("0.17.2",), ("2.2.2",), ("3.8", "3.12"), _2_1, "12.1"),
    "2.3.0": TorchRelease(("0.18.0",), ("2.3.0",), ("3.8", "3.12"), _2_1, "12.1"),
    "2.3.1": TorchRelease(("0.18.1",), ("2.3.1",), ("3.8", "3.12"), _2_1, "12.1"),
    "2.4.0": TorchRelease(("0.19.0",), ("2.4.0",), ("3.8", "3.12"), _2_4, "12.1"),
    "2.4.1": TorchRelease(("0.19.1",), ("2.4.1",), ("3.8", "3.12"), _2_4, "12.1"),
    "2.5.0": TorchRelease(("0.20.0",), ("2.5.0",), ("3.9", "3.13"), _2_4, "12.4"),
    "2.5.1": TorchRelease(("0.20.1",), ("2.5.1",), ("3.9", "3.13"), _2_4, "12.4"),
    "2.6.0": TorchRelease(("0.21.0",), ("2.6.0",), ("3.9", "3.13"), _2_6, "12.4"),
    "2.7.0": TorchRelease(("0.22.0",), ("2.7.0",), ("3.9", "3.13"), _2_7, "12.6"),
    "2.7.1": TorchRelease(("0.22.1",), ("2.7.1",), ("3.9", "3.13"), _2_7, "12.6"),
    "2.8.0": TorchRelease(("0.23.0",), ("2.8.0",), ("3.9", "3.13"), _2_8, "12.8"),
    # torchaudio's later wheels no longer say which torch they want: 2.10.0's pair is PyTorch's own index's.
    "2.9.0": TorchRelease(("0.24.0",), (), ("3.10", "3.14"), _2_9, "12.8"),
    "2.9.1": TorchRelease(("0.24.1",), (), ("3.10", "3.14"), _2_9, "12.8"),
    "2.10.0": TorchRelease(("0.25.0",), ("2.10.0",), ("3.10", "3.14"), _2_9, "12.8"),
    "2.11.0": TorchRelease(("0.26.0",), (), ("3.10", "3.14"), _2_11, "13.0"),
    "2.12.0": TorchRelease(("0.27.0",), (), ("3.10", "3.14"), _2_12, "13.0"),
    "2.12.1": TorchRelease(("0.27.1",), (), ("3.10", "3.14"), _2_12, "13.0"),
    "2.13.0": TorchRelease(("0.28.0",), (), ("3.10", "3.14"), _2_12, "13.0"),
    # torchvision 0.29's wheels accept several torch releases; for 2.15 no list of CUDA builds was seen.
    "2.14.0": TorchRelease((), (), ("3.10", "3.14"), _2_12, "13.0"),
    "2.14.1": TorchRelease((), (), ("3.10", "3.14"), _2_12, "13.0"),
    "2.15.0": TorchRelease((), (), ("3.11", "3.15"), {}, "13.2"),
}


_BOOK = "2.0.1"

# CUDA major → lowest driver by minor-version compatibility (Linux, Windows), and CUDA version → the driver
# that it was released with. NVIDIA names no Windows driver for CUDA 13: Linux's branch number stands in.
_MINIMUM_DRIVER = {
    "10": ("440.33", "441.22"),
    "11": ("450.80.02", "452.39"),
    "12": ("525.60.13", "528.33"),
    "13": ("580", "580"),
}
_RELEASE_DRIVER = {
    "10.2": ("440.33", "441.22"),
    "11.3": ("465.19.01", "465.89"),
    "11.6": ("510.39.01", "511.23"),
    "11.7": ("515.43.04", "516.01"),
    "11.8": ("520.61.05", "520.06"),
    "12.1": ("530.30.02", "531.14"),
    "12.4": ("550.54.14", "551.61"),
    "12.6": ("560.28.03", "560.76"),
    "12.8": ("570.26", "570.65"),
    "12.9": ("575.51.03", "576.02"),
    "13.0": ("580.65.06", "580"),
}


def release(torch: str) -> TorchRelease | None:
    """The release called ``torch`` (``2.0.1``), ``None`` when it is not in the table."""
    return RELEASES.get(torch)


def fitting(python: str) -> str:
    """Return the torch to install: the English book's where it runs, else the newest known pair.

    Empty when no release in the table is made for ``python``.
    """
    if not python:
        return _BOOK
    return next((v for v in (_BOOK, *reversed(RELEASES)) if RELEASES[v].vision and made_for(v, python)), "")


def looked_up(platform: str) -> bool:
    """Return True if the table speaks of ``platform``."""
    row = platforms.ROWS.get(platform)
    return row is not None and row.last_torch is not None


def made_on(torch: str, platform: str) -> bool:
    """Return True if release ``torch`` has a wheel for ``platform``, as far as was looked up."""
    row = platforms.ROWS.get(platform)
    return row is None or not row.last_torch or Version(torch) <= Version(row.last_torch)


def made_for(torch: str, python: str) -> bool:
    """Return True if release ``torch`` of the table has wheels for Python ``3.10``."""
    first, last = RELEASES[torch].pythons
    return Version(first) <= Version(python) <= Version(last)


def has_build(torch: str, cuda: str, platform: str) -> bool:
    """Return True if PyTorch published a build of release ``torch`` for ``cuda`` on ``platform``.

    1.12 was the first without CUDA 10.2 for Windows (pytorch.org's "previous versions" page). What is not
    known counts as published.
    """
    builds = RELEASES[torch].builds
    system = platforms.system_of(platform)
    if (system is not None and not system.cuda) or (system is platforms.WINDOWS and cuda == "10.2"):
        return False
    return not builds or cuda in builds


def cuda_for(torch: str, capability: tuple[int, int] | None, platform: str) -> str:
    """Return the CUDA of a build of ``torch`` that runs on ``capability``, empty if none does.

    It is that of the Python package index's Linux wheel where that runs, else the newest.
    """
    fitting = [
        cuda
        for cuda in RELEASES[torch].builds
        if has_build(torch, cuda, platform)
        and (capability is None or ((code := code_of(torch, cuda)) and runs_on(capability, code)))
    ]
    index = RELEASES[torch].index_cuda
    return index if index in fitting else max(fitting, key=Version, default="")


def conda_specs(torch: str, cuda: str, platform: str) -> tuple[str, ...]:
    """Return what conda is asked for to get the build of ``torch`` for ``cuda``, empty if there is none.

    The pytorch channel ended with 2.5.1. Its `pytorch-cuda` exists from 11.6 (PyTorch 1.13) to 12.4. Before,
    the toolkit was conda-forge's `cudatoolkit`. Looked at in the channel's records, 2026-11-24.
    """
    if not has_build(torch, cuda, platform) or Version(torch) > Version("2.5.1"):
        return ()
    vision = f"torchvision={RELEASES[torch].vision[-1]}"
    return (f"pytorch={torch}=*cuda{cuda}*", vision, conda_toolkit(torch, cuda))


def conda_toolkit(torch: str, cuda: str) -> str:
    """Return the conda package that brings CUDA's libraries for a build of ``torch``."""
    return f"{'cudatoolkit' if Version(torch) < Version('1.13') else 'pytorch-cuda'}={cuda}"


def code_of(torch: str, cuda: str) -> Code | None:
    """Return the code of a build, None when unknown.

    A patch release that has no row has the code of its minor version's first one.

    Args:
        torch: ``2.0.1``.
        cuda: ``11.7``.
    """
    minor = Version(torch).release[:2]
    row = next((row for version, row in RELEASES.items() if Version(version).release[:2] == minor), None)
    return row.builds.get(cuda) if row else None


def runs_on(capability: tuple[int, int], code: Code) -> bool:
    """Return True if the code runs on a GPU of ``capability``.

    Machine code runs on the same major version from its minor version on (sm_86 on 8.9); the driver
    compiles PTX for anything newer.
    """
    major, minor = capability
    number = major * 10 + minor
    return any(n // 10 == major and n <= number for n in code.numbers) or 0 < code.ptx <= number


def minimum_driver(cuda: str, windows: bool) -> str:
    """Return the oldest driver that can run CUDA ``cuda``, empty when unknown."""
    return _MINIMUM_DRIVER.get(cuda.partition(".")[0], ("", ""))[windows]


def release_driver(cuda: str, windows: bool) -> str:
    """Return the driver that CUDA ``cuda`` was released with, empty when unknown."""
    return _RELEASE_DRIVER.get(cuda, ("", ""))[windows]


def serving(capability: tuple[int, int], torch: str, python: str, platform: str) -> tuple[str, str] | None:
    """Return the (torch, CUDA) of the table that runs on ``capability`` and is nearest to ``torch``.

    None when the table has none for ``python`` and ``platform``.
    """
    order = list(RELEASES)
    at = order.index(torch) if torch in RELEASES else 0
    # The same release first, then the nearest; of two that are as near the newer one.
    for version in sorted(order, key=lambda other: (abs(order.index(other) - at), -order.index(other))):
        if RELEASES[version].vision and (not python or made_for(version, python)):
            cuda = cuda_for(version, capability, platform)
            if cuda:
                return version, cuda
    return None
