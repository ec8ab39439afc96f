"""The releases of d2l: edition, exact pins, modules, and where the pins have wheels.

Read 2026-11-22 from the wheels of each release (``Requires-Dist`` and the list of files). The names that only
one edition's ``d2l.torch`` has come from 0.17.6 and 1.0.3, by parsing both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Edition = Literal["zh", "en"]

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


@dataclass(frozen=True)
class Release:
    """One release of d2l.

    Attributes:
        edition: ``zh``: 0.17, the Chinese book; ``en``: 1.0, the English book.
        pins: distribution → the one version that it accepts.
        modules: what ``from d2l import <module> as d2l`` can name.
        torch: the torch, torchvision and Python that the book was written with.
    """

    edition: Edition
    pins: Mapping[str, str]
    modules: tuple[str, ...]
    torch: tuple[str, str, str]


_ZH = ("1.12.0", "0.13.0", "3.9")
_EN = ("2.0.1", "0.15.2", "3.10")

RELEASES: dict[str, Release] = {
    "0.17.0": Release("zh", {}, _MODULES_0_17, _ZH),
    "0.17.1": Release("zh", _PINS_0_17_1, _MODULES_0_17, _ZH),
    "0.17.2": Release("zh", _PINS_0_17_1, _MODULES_0_17, _ZH),
    "0.17.3": Release("zh", _PINS_0_17_1, _MODULES_0_17, _ZH),
    "0.17.4": Release("zh", {**_PINS_0_17_5, "numpy": "1.22.2", "matplotlib": "3.4"}, _MODULES_0_17, _ZH),
    "0.17.5": Release("zh", _PINS_0_17_5, _MODULES_0_17, _ZH),
    "0.17.6": Release("zh", _PINS_0_17_5, ("mxnet", "paddle", "tensorflow", "torch"), _ZH),
    "1.0.0": Release("en", _PINS_1_0_0, _MODULES_1_0, _EN),
    "1.0.1": Release("en", {**_PINS_1_0_0, "scipy": "1.11.1"}, _MODULES_1_0, _EN),
    "1.0.2": Release("en", {**_PINS_1_0_0, "scipy": "1.11.1"}, _MODULES_1_0, _EN),
    "1.0.3": Release("en", {**_PINS_1_0_0, "scipy": "1.10.1"}, _MODULES_1_0, _EN),
}

NEWEST: dict[Edition, str] = {"zh": "0.17.6", "en": "1.0.3"}

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


def release(version: str) -> Release | None:
    """The release, ``None`` when it is not in the table."""
    return RELEASES.get(version)
