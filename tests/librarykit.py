"""A small d2l, and the real ones that are built here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from d2lenv.facts import d2l as d2l_release
from d2lenv.learn.library import Kept, Library, has_d2l, read

TORCH = '''
DATA_HUB = dict()
DATA_URL = 'http://data.example/'
nn_Module = nn.Module
d2l = sys.modules[__name__]

def use_svg_display():
    """Use the svg format.

    Defined in :numref:`sec_calculus`"""
    backend_inline.set_matplotlib_formats('svg')

def show(x):
    return x

class HyperParameters:
    """The base class."""
    def save(self, ignore=[]):
        """Defined in :numref:`sec_oo-design`"""
        raise NotImplemented

    def save(self, ignore=[]):
        """Save arguments.

        Defined in :numref:`sec_utils`"""
        self.hparams = ignore

class Classifier(d2l.HyperParameters):
    """Defined in :numref:`sec_classification`"""
    def step(self, batch):
        return d2l.reshape(batch, (-1,))

    def accuracy(self, Y_hat, Y):
        """Compute.

        Defined in :numref:`sec_classification`"""
        return (Y_hat == Y).mean()

def download(url, folder='../data'):
    """Defined in :numref:`sec_utils`"""
    return requests.get(url)

def download_extract(name):
    return extract(download(name))

class Data(d2l.HyperParameters):
    def fetch(self):
        return d2l.download_extract('x')

    def load(self):
        return self.fetch()

class MoreData(Data):
    def load(self):
        return 1

def make():
    return MoreData()

def mentions():
    print("d2l.download('x') and requests.get")
    return show(1)

def mnist(root):
    return torchvision.datasets.FashionMNIST(root, download=True)

def local(root):
    vision = gluon.data.vision
    return vision.MNIST(train=True)

def folder_only(root):
    return gluon.data.vision.ImageFolderDataset(root)

class FashionMNIST:
    def __init__(self):
        self.data = mnist('x')

def train():
    return FashionMNIST()

def show(x, y):
    """Again.

    Defined in :numref:`sec_utils`"""
    return x + y

COLORS = [[0, 0, 0]]
d2l.DATA_HUB['pokemon'] = (d2l.DATA_URL + 'pokemon.zip', 'c0')
ones = torch.ones
reshape = lambda x, *args: x.reshape(*args)
'''


TENSORFLOW = '''
def load():
    """Defined in :numref:`sec_fashion`"""
    return tf.keras.datasets.fashion_mnist.load_data()

def only_here():
    pass
'''


def make_prefix(prefix: Path) -> Path:
    """Make a prefix with a small d2l of two frameworks."""
    folder = prefix / "lib" / "python3.10" / "site-packages" / "d2l"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("", encoding="utf-8")
    (folder / "torch.py").write_text(TORCH, encoding="utf-8")
    (folder / "tensorflow.py").write_text(TENSORFLOW, encoding="utf-8")
    (folder.parent / "d2l-1.0.3.dist-info").mkdir()
    return prefix


def real(version: str) -> Library:
    """The released d2l out of an environment that is built here, its files compared with the release's."""
    root = Path(__file__).parents[1]
    named = [Path(place) for place in os.environ.get("D2LENV_TEST_PREFIXES", "").split(os.pathsep) if place]
    for prefix in [*named, *sorted((root / ".d2lenv").glob("*-*")), *sorted((root / ".pixi/envs").glob("*"))]:
        if has_d2l(prefix) and (library := read(prefix)).version == version:
            released = d2l_release.released(version)
            assert released is not None
            assert d2l_release.differing(library.folder.parent, released) == {}
            return library
    pytest.skip(f"not checked: no environment with d2l {version} is built here (`d2lenv build`)")


def entry(library: Library, name: str, module: str = "torch") -> Kept:
    return next(e for e in reversed(library.modules[module].entries) if e.name == name)


# Release, module → functions, classes, methods added by later sections, of the files whose sha256 stand in
# d2l_release (2026-11-22). The test counts them once more in the text, without parsing.
COUNTS = {
    ("1.0.3", "torch"): (109, 59, 56),
    ("1.0.3", "mxnet"): (111, 55, 54),
    ("1.0.3", "tensorflow"): (55, 43, 46),
    ("1.0.3", "jax"): (21, 36, 47),
    ("0.17.6", "torch"): (109, 33, 9),
    ("0.17.6", "mxnet"): (118, 36, 9),
    ("0.17.6", "tensorflow"): (62, 25, 7),
    ("0.17.6", "paddle"): (108, 33, 9),
}
