"""Sizes and licences of the books' data, where a source states them.

Addresses and digests stand in ``data/table.json``. Looked up on 2026-11-24:

- the six files of d2l's own hub, whose sha1 is in the table: counted;
- CIFAR10, FashionMNIST, MNIST, aclImdb: the length that torchvision, Keras or wget print while they download
  the same address (several public notebooks each);
- VOC 2012: the length and this sha1 together stand in a public checker of that archive;
- weights: ``meta["_file_size"]`` of torchvision 0.15.2, in MiB with three decimals.

For the others no source was found.
"""

from __future__ import annotations

SIZES: dict[str, int] = {
    "aclImdb_v1.tar.gz": 84_125_825,
    "airfoil_self_noise.dat": 59_984,
    "cifar-10-python.tar.gz": 170_498_071,
    "FashionMNIST/raw/t10k-images-idx3-ubyte.gz": 4_422_102,
    "FashionMNIST/raw/t10k-labels-idx1-ubyte.gz": 5_148,
    "FashionMNIST/raw/train-images-idx3-ubyte.gz": 26_421_880,
    "FashionMNIST/raw/train-labels-idx1-ubyte.gz": 29_515,
    "fra-eng.zip": 3_420_152,
    "kaggle_house_pred_test.csv": 451_405,
    "kaggle_house_pred_train.csv": 460_676,
    "MNIST/raw/t10k-images-idx3-ubyte.gz": 1_648_877,
    "MNIST/raw/t10k-labels-idx1-ubyte.gz": 4_542,
    "MNIST/raw/train-images-idx3-ubyte.gz": 9_912_422,
    "MNIST/raw/train-labels-idx1-ubyte.gz": 28_881,
    "ptb.zip": 1_981_551,
    "timemachine.txt": 178_979,
    "VOCtrainval_11-May-2012.tar": 1_999_639_040,
}
"""Path of a file → its bytes."""

MEBIBYTES: dict[str, float] = {
    "hub/checkpoints/resnet101-63fe2227.pth": 170.511,
    "hub/checkpoints/resnet18-f37072fd.pth": 44.661,
    "hub/checkpoints/resnet34-b627a593.pth": 83.275,
    "hub/checkpoints/vgg19-dcbb9e9d.pth": 548.051,
}
"""Path of a file of weights → its size, rounded."""

LICENCES: dict[str, tuple[str, str]] = {
    "FashionMNIST": ("MIT", "https://github.com/zalandoresearch/fashion-mnist/blob/master/LICENSE"),
    "fra-eng": ("CC BY 2.0 (FR)", "fra-eng/_about.txt in the archive"),
}
"""Name of a data set → its licence, and where that is said; the others were not looked up (2026-11-24)."""
