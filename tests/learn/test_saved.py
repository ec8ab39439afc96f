"""What ``#@save`` has kept: counted, placed, followed to the network, compared with a notebook."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from d2lenv.base.errors import USAGE, D2lEnvError
from d2lenv.cli import app as cli
from d2lenv.facts import d2l as d2l_release
from d2lenv.learn import saved

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


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    prefix = tmp_path / "prefix"
    folder = prefix / "lib" / "python3.10" / "site-packages" / "d2l"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("", encoding="utf-8")
    (folder / "torch.py").write_text(TORCH, encoding="utf-8")
    (folder / "tensorflow.py").write_text(TENSORFLOW, encoding="utf-8")
    (folder.parent / "d2l-1.0.3.dist-info").mkdir()
    return prefix


@pytest.fixture
def library(prefix: Path) -> saved.Library:
    return saved.read(prefix)


def entry(library: saved.Library, name: str, module: str = "torch") -> saved.Saved:
    return next(e for e in reversed(library.modules[module].entries) if e.name == name)


def test_every_framework_module_of_the_release_is_read(library: saved.Library) -> None:
    assert library.version == "1.0.3"
    assert list(library.modules) == ["tensorflow", "torch"]


def test_functions_classes_methods_aliases_values_and_datasets_are_told_apart(library: saved.Library) -> None:
    kinds: dict[str, list[str]] = {}
    for found in library.modules["torch"].entries:
        kinds.setdefault(found.kind, []).append(found.name)
    assert kinds["function"][:3] == ["use_svg_display", "show", "download"]
    assert kinds["class"] == ["HyperParameters", "Classifier", "Data", "MoreData", "FashionMNIST"]
    assert kinds["method"] == ["HyperParameters.save", "HyperParameters.save", "Classifier.accuracy"]
    assert kinds["alias"] == ["nn_Module", "ones", "reshape"]
    assert kinds["value"] == ["COLORS"]
    assert kinds["dataset"] == ["pokemon"]


def test_an_entry_has_its_line_and_the_section_that_defined_it(library: saved.Library) -> None:
    found = entry(library, "use_svg_display")
    assert TORCH.splitlines()[found.line - 1] == "def use_svg_display():"
    assert found.section == "sec_calculus"
    assert entry(library, "Classifier.accuracy").section == "sec_classification"
    assert entry(library, "mnist").section == ""


def test_a_class_without_a_section_has_that_of_its_first_method(library: saved.Library) -> None:
    assert entry(library, "HyperParameters").section == "sec_oo-design"


def test_a_definition_that_a_later_one_replaces_is_marked(library: saved.Library) -> None:
    shows = [found for found in library.modules["torch"].entries if found.name == "show"]
    assert [found.replaced for found in shows] == [True, False]
    saves = [found for found in library.modules["torch"].entries if found.name == "HyperParameters.save"]
    assert [found.replaced for found in saves] == [True, False]


@pytest.mark.parametrize(
    ("name", "chain"),
    [
        ("download", "download → requests.get"),
        ("download_extract", "download_extract → download → requests.get"),
        ("Data", "Data.fetch → download_extract → download → requests.get"),
        ("MoreData", "Data.fetch → download_extract → download → requests.get"),
        ("mnist", "mnist → torchvision.datasets.FashionMNIST(download=True)"),
        ("local", "local → gluon.data.vision.MNIST"),
        ("train", "train → FashionMNIST.__init__ → mnist → torchvision.datasets.FashionMNIST(download=True)"),
        ("make", ""),  # making the object runs no method that downloads
        ("folder_only", ""),
        ("mentions", ""),
        ("use_svg_display", ""),
    ],
)
def test_calls_are_followed_to_the_network(library: saved.Library, name: str, chain: str) -> None:
    assert entry(library, name).network == chain


def test_keras_datasets_download_without_being_asked(library: saved.Library) -> None:
    assert entry(library, "load", "tensorflow").network.endswith("fashion_mnist.load_data")


def test_a_name_is_found_with_and_without_the_prefix(library: saved.Library) -> None:
    assert [e.name for e in saved.find(library, "d2l.Classifier", ["torch"])] == [
        "Classifier",
        "Classifier.accuracy",
    ]
    assert saved.find(library, "ones", ["torch"])[0].kind == "alias"


def test_a_name_that_is_not_kept_is_refused_with_near_ones(library: saved.Library) -> None:
    with pytest.raises(D2lEnvError, match="keeps no `Clasifier`") as caught:
        saved.find(library, "Clasifier", ["torch"])
    assert "Classifier" in caught.value.fix
    with pytest.raises(D2lEnvError) as caught:
        saved.find(library, "only_here", ["torch"])
    assert "--module tensorflow" in caught.value.fix


def test_a_prefix_without_d2l_and_a_damaged_file_are_refused(tmp_path: Path, prefix: Path) -> None:
    with pytest.raises(D2lEnvError, match="has no d2l"):
        saved.read(tmp_path)
    (prefix / "lib/python3.10/site-packages/d2l/torch.py").write_text("def (", encoding="utf-8")
    with pytest.raises(D2lEnvError, match="cannot be read"):
        saved.read(prefix)


# ---------------------------------------------------------------------------------------------- notebooks


def notebook(path: Path, *sources: str) -> Path:
    cells: list[dict[str, Any]] = [{"cell_type": "markdown", "source": ["text with #@save"]}]
    cells += [{"cell_type": "code", "source": source.splitlines(keepends=True)} for source in sources]
    path.write_text(json.dumps({"cells": cells}), encoding="utf-8")
    return path


SAME = '''%matplotlib inline
import torch

def use_svg_display():  #@save
    """使用svg格式在Jupyter中显示绘图"""
    backend_inline.set_matplotlib_formats('svg')
'''
ADDED = """@d2l.add_to_class(Classifier)  #@save
def accuracy(self, Y_hat, Y):
    # another comment
    return (Y_hat == Y).mean()
"""
CLASS = """class Classifier(HyperParameters):  #@save
    def step(self, batch):
        return reshape(batch, (-1,))
"""
DATASET = """#@save
d2l.DATA_HUB['pokemon'] = (d2l.DATA_URL + 'pokemon.zip', 'c0')
x = 1

#@save
def mnist(root):
    return torchvision.datasets.FashionMNIST(root, download=False)
"""
MINE = """def test_save(): #@save
    "defined by a reader"
    print("hey!")

def not_marked():
    return "#@save in a string"
"""


def test_each_marked_cell_is_compared_with_the_library(tmp_path: Path, library: saved.Library) -> None:
    path = notebook(tmp_path / "mine.ipynb", SAME, ADDED, CLASS, DATASET, MINE)
    found = saved.compare(path, library)
    assert [(e.cell, e.name, e.state) for e in found] == [
        (2, "use_svg_display", "same"),
        (3, "Classifier.accuracy", "same"),
        (4, "Classifier", "same"),
        (5, "DATA_HUB['pokemon']", "same"),
        (5, "mnist", "differs"),
        (6, "test_save", "yours"),
    ]
    assert found[0].line == entry(library, "use_svg_display").line
    assert any("download=False" in line for line in found[4].difference)
    assert found[5].line == 0


def test_a_class_with_another_base_or_another_method_differs(tmp_path: Path, library: saved.Library) -> None:
    other_base = CLASS.replace("HyperParameters", "nn.Module")
    more = CLASS + "    def extra(self):\n        return 0\n"
    path = notebook(tmp_path / "n.ipynb", other_base, more)
    assert [e.state for e in saved.compare(path, library)] == ["differs", "differs"]


def test_an_earlier_definition_that_was_replaced_is_still_the_books(
    tmp_path: Path, library: saved.Library
) -> None:
    path = notebook(tmp_path / "n.ipynb", "def show(x):  #@save\n    return x\n")
    assert saved.compare(path, library)[0].state == "same"


def test_the_framework_is_the_one_that_the_notebook_imports(tmp_path: Path, library: saved.Library) -> None:
    path = notebook(
        tmp_path / "n.ipynb", "from d2l import tensorflow as d2l", "def only_here():  #@save\n    pass\n"
    )
    assert saved.compare(path, library)[0].state == "same"
    assert saved.compare(path, library, "torch")[0].state == "yours"
    with pytest.raises(D2lEnvError, match="no module `jax`"):
        saved.compare(path, library, "jax")


@pytest.mark.parametrize("text", ["{", "[]", '{"cells": [{"cell_type": "code"}]}'])
def test_a_file_that_is_no_notebook_is_refused(tmp_path: Path, library: saved.Library, text: str) -> None:
    (tmp_path / "n.ipynb").write_text(text, encoding="utf-8")
    with pytest.raises(D2lEnvError, match="not a notebook") as caught:
        saved.compare(tmp_path / "n.ipynb", library)
    assert caught.value.status == USAGE


def test_a_cell_that_is_not_python_has_no_marks() -> None:
    assert saved.marked("this is no python #@save") == []
    assert saved.marked("!pip list  #@save") == []
    assert len(saved.marked("%time\nx = 1  # @save")) == 1


# -------------------------------------------------------------------------------------------- the command


def invoke(*words: str) -> str:
    result = CliRunner().invoke(cli.cli, ["saved", *words], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_the_command_lists_everything_in_words(prefix: Path) -> None:
    text = invoke("--prefix", str(prefix))
    assert "11 functions, 5 classes, 3 methods" in text
    assert "use_svg_display()" in text
    assert "sec_calculus" in text
    assert "pokemon" in text


def test_the_command_shows_one_entry_in_full(prefix: Path) -> None:
    text = invoke("d2l.train", "--prefix", str(prefix))
    assert "network: train → FashionMNIST.__init__ → mnist" in text
    assert "torch.py:" in text


def test_the_command_answers_in_json(prefix: Path) -> None:
    data = json.loads(invoke("--prefix", str(prefix), "--all", "--json"))
    assert data["d2l"] == "1.0.3"
    assert {found["module"] for found in data["entries"]} == {"torch", "tensorflow"}


def test_the_command_says_kindly_what_is_the_readers_own(tmp_path: Path, prefix: Path) -> None:
    path = notebook(tmp_path / "mine.ipynb", SAME, DATASET, MINE)
    text = " ".join(invoke("--prefix", str(prefix), "--notebook", str(path)).split())
    assert "adds nothing to the library" in text
    assert "import mine" in text
    assert "download=False" in text
    data = json.loads(invoke("--prefix", str(prefix), "--notebook", str(path), "--json"))
    assert [found["state"] for found in data["marked"]] == ["same", "same", "differs", "yours"]


def test_the_command_says_when_nothing_is_marked(tmp_path: Path, prefix: Path) -> None:
    path = notebook(tmp_path / "mine.ipynb", "x = 1")
    assert "no cell of this notebook carries #@save" in invoke(
        "--prefix", str(prefix), "--notebook", str(path)
    )


def test_the_active_environment_is_looked_into(prefix: Path) -> None:
    def unused() -> Any:
        raise AssertionError("no workspace is needed")

    assert saved.find_prefix(unused, None, {"VIRTUAL_ENV": str(prefix)}) == prefix


def test_without_any_environment_one_is_asked_for(tmp_path: Path, prefix: Path) -> None:
    from d2lenv.workspace import manifest as workspace

    (tmp_path / "pixi.toml").write_text(
        '[workspace]\nname = "x"\nchannels = ["conda-forge"]\nplatforms = ["linux-64"]\n'
        '[tool.d2lenv]\nexclude-newer = "2026-01-01T00:00:00Z"\n'
        '[tool.d2lenv.environments.zh]\npython = "3.9"\n',
        encoding="utf-8",
    )

    def here() -> Any:
        return workspace.load(tmp_path)

    with pytest.raises(D2lEnvError, match="no environment with d2l"):
        saved.find_prefix(here, "zh", {})
    (tmp_path / ".d2lenv").mkdir()
    prefix.rename(tmp_path / ".d2lenv" / "zh-wheels")
    assert saved.find_prefix(here, None, {}) == tmp_path / ".d2lenv" / "zh-wheels"


# ---------------------------------------------------------------------------------- the real releases


def real(version: str) -> saved.Library:
    """The released d2l out of an environment that is built here, its files compared with the release's."""
    root = Path(__file__).parents[2]
    named = [Path(place) for place in os.environ.get("D2LENV_TEST_PREFIXES", "").split(os.pathsep) if place]
    for prefix in [*named, *sorted((root / ".d2lenv").glob("*-*")), *sorted((root / ".pixi/envs").glob("*"))]:
        if saved.has_d2l(prefix) and (library := saved.read(prefix)).version == version:
            assert d2l_release.differing(library.folder.parent, version) == {}
            return library
    pytest.skip(f"not checked: no environment with d2l {version} is built here (`d2lenv build`)")


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


@pytest.mark.parametrize(("version", "module"), COUNTS)
def test_the_numbers_of_the_real_releases_are_those_of_an_independent_count(
    version: str, module: str
) -> None:
    library = real(version)
    assert set(library.modules) == {name for release, name in COUNTS if release == version}
    found = library.modules[module].entries
    numbers = tuple(sum(e.kind == kind for e in found) for kind in ("function", "class", "method"))
    assert numbers == COUNTS[version, module]

    text = library.modules[module].path.read_text(encoding="utf-8")
    assert numbers[0] == len(re.findall(r"^def ", text, re.MULTILINE))
    assert numbers[1] == len(re.findall(r"^class ", text, re.MULTILINE))
    # A definition at depth one whose docstring comes right after its (maybe broken) head and names a section.
    methods = re.findall(
        r'^    def (?:(?!^ {0,8}def |^class ).)*?:\n\s+"""((?:(?!""").)*)"""', text, re.MULTILINE | re.DOTALL
    )
    assert numbers[2] == sum("Defined in :numref:" in docstring for docstring in methods)
    datasets = set(re.findall(r"^(?:d2l\.)?DATA_HUB\['([^']+)'\] =", text, re.MULTILINE))
    assert datasets == {e.name for e in found if e.kind == "dataset"}


@pytest.mark.parametrize("version", ["1.0.3", "0.17.6"])
def test_every_function_of_the_real_release_that_names_the_download_needs_the_network(version: str) -> None:
    """The other way round: split the text at the left margin, look for the words of a download."""
    library = real(version)
    text = library.modules["torch"].path.read_text(encoding="utf-8")
    words = re.compile(r"requests\.get\(|download=True|\bdownload(?:_extract|_all)?\(")
    blocks = re.split(r"^(?=def |class |\S)", text, flags=re.MULTILINE)
    direct = {
        head.group(2)
        for block in blocks
        if (head := re.match(r"(def|class) (\w+)", block)) and words.search(block.split("\n", 1)[-1])
    }
    direct -= {"DataModule"}
    needing = {
        e.name for e in library.modules["torch"].entries if e.network and e.kind in ("function", "class")
    }
    assert direct <= needing
    assert {"download", "load_data_fashion_mnist", "read_data_nmt", "TokenEmbedding"} <= needing
    assert not {"use_svg_display", "plot", "Timer", "try_gpu", "Accumulator"} & needing


@pytest.mark.parametrize("version", ["1.0.3", "0.17.6"])
def test_every_definition_of_the_real_release_is_recognised_when_a_notebook_marks_it(
    version: str, tmp_path: Path
) -> None:
    """Each function and class, cut out of the file as text and marked as the book marks it."""
    library = real(version)
    module = library.modules["torch"]
    lines = module.path.read_text(encoding="utf-8").splitlines(keepends=True)
    sources = [
        "#@save\n" + "".join(lines[node.lineno - 1 : node.end_lineno])
        for node in module.tree.body
        if type(node).__name__ in ("FunctionDef", "ClassDef")
    ]
    found = saved.compare(notebook(tmp_path / "n.ipynb", *sources), library, "torch")
    assert len(found) == len(sources) == sum(COUNTS[version, "torch"][:2])
    assert {e.state for e in found} == {"same"}


def test_the_released_files_are_the_ones_whose_hashes_are_known() -> None:
    library = real("1.0.3")
    for name, module in library.modules.items():
        digest = hashlib.sha256(module.path.read_bytes()).hexdigest()
        assert digest == d2l_release.RELEASES["1.0.3"].files[f"d2l/{name}.py"]
