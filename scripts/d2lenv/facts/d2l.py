"""The releases of d2l: one row for each, and where its pins have wheels.

Edition, pins and modules were read 2026-11-22 from the wheels of each release (``Requires-Dist`` and the list
of files). The sha256 of the modules were computed on that day from the wheels d2l-1.0.3-py3-none-any.whl and
d2l-0.17.6-py3-none-any.whl that ``pip download --no-deps d2l==VERSION`` gave (their own sha256 stands with
each); conda-forge's record of 1.0.3 has no known hash, so an installed ``d2l`` is compared with these. The
names that only one edition's ``d2l.torch`` has come from 0.17.6 and 1.0.3, by parsing both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from packaging.version import Version

Edition = Literal["zh", "en"]


@dataclass(frozen=True)
class Released:
    """The files of a release, whatever channel or index an installation came from.

    Attributes:
        wheel_sha256: of the wheel that the digests were computed from.
        files: path below site-packages → sha256 (hex).
        metadata: path below the ``.dist-info`` folder → sha256 (hex), for files that every build copies.
    """

    wheel_sha256: str
    files: Mapping[str, str]
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Release:
    """One release of d2l.

    Attributes:
        edition: ``zh``: 0.17, the Chinese book; ``en``: 1.0, the English book.
        pins: distribution → the one version that it accepts.
        modules: the names that ``from d2l import <module> as d2l`` takes.
        torch: the torch, torchvision and Python that the book was written with.
        released: its files, None where their digests were not computed.
    """

    edition: Edition
    pins: Mapping[str, str]
    modules: tuple[str, ...]
    torch: tuple[str, str, str]
    released: Released | None = None


_PINS_0_17_1 = {
    "jupyter": "1.0.0",
    "numpy": "1.18.5",
    "matplotlib": "3.3.3",
    "requests": "2.25.1",
    "pandas": "1.2.2",
}
_PINS_0_17_5 = {
    "jupyter": "1.0.0",
    "numpy": "1.21.5",
    "matplotlib": "3.5.1",
    "requests": "2.25.1",
    "pandas": "1.2.4",
}
_PINS_1_0_0 = {
    "jupyter": "1.0.0",
    "numpy": "1.23.5",
    "matplotlib": "3.7.2",
    "matplotlib-inline": "0.1.6",
    "requests": "2.31.0",
    "pandas": "2.0.3",
}
_MODULES_0_17 = ("mxnet", "tensorflow", "torch")
_MODULES_1_0 = ("jax", "mxnet", "tensorflow", "torch")
_MODULES_0_17_6 = ("mxnet", "paddle", "tensorflow", "torch")
_ZH = ("1.12.0", "0.13.0", "3.9")
_EN = ("2.0.1", "0.15.2", "3.10")

# The same in both wheels and in both source distributions, which conda-forge's recipe builds (their sha256
# are those of the recipe; compared on 2026-11-24). setuptools 77 and newer put the licences into a folder.
_LICENCES = {
    "LICENSE": "a39a4b3d0f411a8217b7c6dd35dc8b06003784ce32d3593d0d2d780a7e9c2f8c",
    "LICENSE-SAMPLECODE": "ddf9b5d9dd2fded18653e0ca4c5934008d4faea1161d754493b54a23c25eac14",
    "LICENSE-SUMMARY": "eeff5a6b129a319ee80e34762695dfa5349fe385a92c02168e6d21deff539f9c",
}
_METADATA = {
    **_LICENCES,
    **{f"licenses/{name}": digest for name, digest in _LICENCES.items()},
    "top_level.txt": "76fb6fc0251d42d3e4a336239854a50006c137448300ab6b1bb9797dd43dd1a1",
    "zip-safe": "01ba4719c80b6fe911b091a7c05124b64eeece964e09c058ef8f9805daca546b",
}
_FILES_0_17_6 = Released(
    "2698f034d892e02de47ed100e22f114de0c93252c851bf492cf5088bd7c96e25",
    {
        "d2l/__init__.py": "b50b77a5cc91877335f9af1a7908b047e163b803821c21241ace832826fb8b12",
        "d2l/mxnet.py": "5057ee9e8defe57e63ae7bbb5d0906e7aa73da0da85c7162e9cb56bf6bbed8cc",
        "d2l/paddle.py": "3da15ccd6e8f30978f35f32210445671283c0d32325beeac25f2baf577d5db09",
        "d2l/tensorflow.py": "71c06442b73dd60e130d391bc6c11cb30f33fa34549a3990b204685baff693df",
        "d2l/torch.py": "3c173de4ee169b383e82f37877113115e8ca47bbe00274afc9215d2e5a70dcca",
    },
    _METADATA,
)
_FILES_1_0_3 = Released(
    "c625a01e66eb5d793a7e0a6f8582b1e1e35dfad02b5e77f3d2ab299d07177ba6",
    {
        "d2l/__init__.py": "4e83d2e09cfc05268a0cfb9ca814ff2944be67aba510b574e179bc1c55fbc60f",
        "d2l/jax.py": "a3ac6386405f93ca5de2eba8db02d78c6e250fd2d3424394526726d886ac0443",
        "d2l/mxnet.py": "932c1983a5d95af03f57d67c2c4b797426703f4b95b4b081c966cb3cb22ce3d0",
        "d2l/tensorflow.py": "6986e0a5274673f1eb3561a9d306a41bd014dd38cd52876b9d207d7ef4c9056a",
        "d2l/torch.py": "10e184aa1d334d9e0232872169eeb186f9426231c33efbb58ea4c42594cc5110",
    },
    _METADATA,
)

RELEASES: dict[str, Release] = {
    "0.17.0": Release("zh", {}, _MODULES_0_17, _ZH),
    "0.17.1": Release("zh", _PINS_0_17_1, _MODULES_0_17, _ZH),
    "0.17.2": Release("zh", _PINS_0_17_1, _MODULES_0_17, _ZH),
    "0.17.3": Release("zh", _PINS_0_17_1, _MODULES_0_17, _ZH),
    "0.17.4": Release("zh", {**_PINS_0_17_5, "numpy": "1.22.2", "matplotlib": "3.4"}, _MODULES_0_17, _ZH),
    "0.17.5": Release("zh", _PINS_0_17_5, _MODULES_0_17, _ZH),
    "0.17.6": Release("zh", _PINS_0_17_5, _MODULES_0_17_6, _ZH, _FILES_0_17_6),
    "1.0.0": Release("en", _PINS_1_0_0, _MODULES_1_0, _EN),
    "1.0.1": Release("en", {**_PINS_1_0_0, "scipy": "1.11.1"}, _MODULES_1_0, _EN),
    "1.0.2": Release("en", {**_PINS_1_0_0, "scipy": "1.11.1"}, _MODULES_1_0, _EN),
    "1.0.3": Release("en", {**_PINS_1_0_0, "scipy": "1.10.1"}, _MODULES_1_0, _EN, _FILES_1_0_3),
}


def _on(intel: str, arm64: str | None = None) -> dict[str, str]:
    """Return the same Pythons for the platforms that were asked for, on Apple silicon others."""
    return {**dict.fromkeys(("linux-64", "osx-64", "win-64"), intel), "osx-arm64": arm64 or ""}


_TO_3_10 = _on("3.8 3.9 3.10", "3.8 3.9 3.10")
_TO_3_11 = _on("3.8 3.9 3.10 3.11", "3.8 3.9 3.10 3.11")
_INTEL_TO_3_9 = _on("3.8 3.9")
WHEELS: Mapping[str, Mapping[str, str]] = {
    "matplotlib==3.3.3": _INTEL_TO_3_9,
    "matplotlib==3.4": _INTEL_TO_3_9,
    "matplotlib==3.5.1": _TO_3_10,
    "matplotlib==3.7.2": _TO_3_11,
    "numpy==1.18.5": _on("3.8"),
    "numpy==1.21.5": _TO_3_10,
    "numpy==1.22.2": _TO_3_10,
    "numpy==1.23.5": _TO_3_11,
    "pandas==1.2.2": _INTEL_TO_3_9,
    "pandas==1.2.4": _INTEL_TO_3_9,
    "pandas==2.0.3": _TO_3_11,
    "scipy==1.10.1": _TO_3_11,
    "scipy==1.11.1": _on("3.9 3.10 3.11", "3.9 3.10 3.11"),
}
"""Compiled pin → platform → the Pythons (of 3.8 to 3.14) for which the index has a wheel of it.

Established 2026-11-22 with pip's `--dry-run --no-deps --only-binary :all: --python-version --platform`.
"""
_ASKED = ("3.8", "3.14")

ONLY: dict[Edition, frozenset[str]] = {
    "zh": frozenset(
        [
            "EncoderBlock",
            "RNNModel",
            "RNNModelScratch",
            "SeqDataLoader",
            "count_corpus",
            "download_all",
            "evaluate_accuracy",
            "load_corpus_time_machine",
            "load_data_time_machine",
            "predict_ch3",
            "predict_ch8",
            "read_time_machine",
            "seq_data_iter_random",
            "seq_data_iter_sequential",
            "train_ch3",
            "train_ch8",
            "train_epoch_ch3",
            "train_epoch_ch8",
            "transpose_output",
            "transpose_qkv",
        ]
    ),
    "en": frozenset(
        [
            "Classifier",
            "DataModule",
            "FashionMNIST",
            "GRU",
            "HyperParameters",
            "LeNet",
            "LinearRegression",
            "LinearRegressionScratch",
            "MTFraEng",
            "Module",
            "ProgressBoard",
            "RNN",
            "RNNLM",
            "RNNLMScratch",
            "RNNScratch",
            "ResNeXtBlock",
            "SGD",
            "Seq2Seq",
            "SoftmaxRegression",
            "SyntheticRegressionData",
            "TimeMachine",
            "Trainer",
            "TransformerEncoderBlock",
            "add_to_class",
            "init_cnn",
            "init_seq2seq",
        ]
    ),
}
"""Names that only this edition's ``d2l.torch`` defines."""


def edition(version: str) -> Edition:
    """Return whose library a d2l is; `pip install git+…/d2l-zh` gives 2.0.0, the repository's own number."""
    return "zh" if version.startswith(("0.", "2.")) else "en"


def newest(edition: Edition) -> str:
    """Return the newest release of an edition."""
    return max((version for version, row in RELEASES.items() if row.edition == edition), key=Version)


def release(version: str) -> Release | None:
    """Return the release, None when it is not in the table."""
    return RELEASES.get(version)


def released(version: str) -> Released | None:
    """Return the files of a release, None when their digests are not known."""
    row = RELEASES.get(version)
    return row.released if row else None


def no_wheel(name: str, version: str, python: str, platform: str) -> bool:
    """Return True if the index is known to have no wheel, False if it was not looked up."""
    pythons = WHEELS.get(f"{name}=={version}", {}).get(platform)
    if pythons is None or not python:
        return False
    first, last = _ASKED
    return not Version(first) <= Version(python) <= Version(last) or python not in pythons.split()


def differing(site_packages: Path, wanted: Released) -> dict[str, str]:
    """Return the files of an installed d2l that are not the released ones.

    Args:
        site_packages: the folder that holds ``d2l/``.
        wanted: the files of the installed version.

    Returns:
        path → ``missing``, ``changed`` or ``unreadable``, empty when every file is the released one.
    """
    found: dict[str, str] = {}
    for name, digest in wanted.files.items():
        try:
            data = (site_packages / name).read_bytes()
        except FileNotFoundError:
            found[name] = "missing"
        except OSError:
            found[name] = "unreadable"
        else:
            if hashlib.sha256(data).hexdigest() != digest:
                found[name] = "changed"
    return found
