"""Packages that do not work together, in versions that their own metadata allows.

Each row says in its source whether it was run, or from where it is known. Two packages whose metadata
exclude each other need no row: every unmet requirement is found anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Stops = Literal["import", "kernel", ""]


@dataclass(frozen=True)
class Clash:
    """Two packages, the versions of each that do not go together, and what the reader sees.

    Attributes:
        stops: what cannot work at all: `from d2l import torch as d2l`, the kernel, or none of both.
        says: the error, as Python words it.
        install: what mends it.
        source: where it was reported, and whether it was run here.
    """

    one: str
    one_versions: str
    other: str
    other_versions: str
    says: str
    install: tuple[str, ...]
    stops: Stops = ""
    source: str = "run on 2026-11-24 on Linux: two versions that clash, then the import"


CLASHES: tuple[Clash, ...] = (
    Clash(
        "tensorboard", "<=2.20.0", "setuptools", ">=82",
        "ModuleNotFoundError: No module named 'pkg_resources'", ("setuptools<82",),
    ),
    Clash(
        "jinja2", "<3.0", "markupsafe", ">=2.1",
        "ImportError: cannot import name 'soft_unicode' from 'markupsafe'", ("jinja2>=3",), "kernel",
    ),
    Clash(
        "d2l", "<0.17.5", "ipython", ">=9",
        "AttributeError: module 'IPython.display' has no attribute 'set_matplotlib_formats'", ("ipython<9",),
    ),
    Clash(
        "gensim", "<4.3.3", "scipy", ">=1.13",
        "ImportError: cannot import name 'triu' from 'scipy.linalg'", ("scipy<1.13",),
    ),
    Clash(
        "statsmodels", "<0.14.5", "scipy", ">=1.16",
        "ImportError: cannot import name '_lazywhere' from 'scipy._lib._util'", ("statsmodels>=0.14.5",),
    ),
    Clash(
        "torchtext", "<=0.18.0", "torch", ">=2.4",
        "OSError: libtorchtext.so: undefined symbol", (), "",
        "not run; written from memory of torchtext's README: 0.18 for torch 2.3 is the last release",
    ),
    Clash(
        "mxnet", "<2", "numpy", ">=1.24",
        "AttributeError: module 'numpy' has no attribute 'bool'", ("numpy<1.24",), "",
        "run on 2026-11-24 with mxnet 1.9.1 (numpy 1.24.4 fails, 1.23.5 works), no other release; the number "
        "of the report is from memory: apache/mxnet#21165",
    ),
    Clash(
        "jupyterlab-widgets", "<3", "jupyterlab", ">=4",
        "Error displaying widget: model not found", ("ipywidgets>=8",), "",
        "not run; written from memory of ipywidgets' documentation: JupyterLab 4 takes jupyterlab_widgets 3",
    ),
)  # fmt: skip

NUMPY_2: Mapping[str, str] = {
    "bottleneck": "1.4.0",
    "h5py": "3.11.0",
    "matplotlib": "3.8.4",
    "ml-dtypes": "0.4.0",
    "numba": "0.60.0",
    "numexpr": "2.10.0",
    "onnxruntime": "1.19.0",
    "opencv-contrib-python": "4.10.0.84",
    "opencv-python": "4.10.0.84",
    "opencv-python-headless": "4.10.0.84",
    "pandas": "2.2.2",
    "pyarrow": "16.0.0",
    "pywavelets": "1.6.0",
    "scikit-image": "0.23.1",
    "scikit-learn": "1.4.2",
    "scipy": "1.13.0",
    "shapely": "2.0.4",
}
"""Package → the first release whose compiled code goes with numpy 2; the release before it does not.

Run on 2026-11-24 with numpy 2.0.2 and Python 3.11 on Linux: the last release before each and the first one
were imported. For scipy (1.12.0, 1.13.0) and opencv's contrib and headless wheels (4.9.0.80, 4.10.0.84) that
was done in a second session, for `scipy.linalg` and `cv2`. Releases before those were not run.
"""
