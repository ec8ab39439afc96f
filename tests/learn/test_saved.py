"""What ``#@save`` has kept: looked up, and compared with a notebook."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import librarykit
from d2lenv.base.errors import USAGE, D2lEnvError
from d2lenv.cli import app as cli
from d2lenv.learn import saved
from d2lenv.learn.library import Library, read


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    return librarykit.make_prefix(tmp_path / "prefix")


@pytest.fixture
def library(prefix: Path) -> Library:
    return read(prefix)


def test_a_name_is_found_with_and_without_the_prefix(library: Library) -> None:
    assert [e.name for e in saved.find(library, "d2l.Classifier", ["torch"])] == [
        "Classifier",
        "Classifier.accuracy",
    ]
    assert saved.find(library, "ones", ["torch"])[0].kind == "alias"


def test_a_name_that_is_not_kept_is_refused_with_near_ones(library: Library) -> None:
    with pytest.raises(D2lEnvError, match="keeps no `Clasifier`") as caught:
        saved.find(library, "Clasifier", ["torch"])
    assert "Classifier" in caught.value.fix
    with pytest.raises(D2lEnvError) as caught:
        saved.find(library, "only_here", ["torch"])
    assert "--module tensorflow" in caught.value.fix


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


def test_each_marked_cell_is_compared_with_the_library(tmp_path: Path, library: Library) -> None:
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
    assert found[0].line == librarykit.entry(library, "use_svg_display").line
    assert any("download=False" in line for line in found[4].difference)
    assert found[5].line == 0


def test_a_class_with_another_base_or_another_method_differs(tmp_path: Path, library: Library) -> None:
    other_base = CLASS.replace("HyperParameters", "nn.Module")
    more = CLASS + "    def extra(self):\n        return 0\n"
    path = notebook(tmp_path / "n.ipynb", other_base, more)
    assert [e.state for e in saved.compare(path, library)] == ["differs", "differs"]


def test_an_earlier_definition_that_was_replaced_is_still_the_books(tmp_path: Path, library: Library) -> None:
    path = notebook(tmp_path / "n.ipynb", "def show(x):  #@save\n    return x\n")
    assert saved.compare(path, library)[0].state == "same"


def test_the_framework_is_the_one_that_the_notebook_imports(tmp_path: Path, library: Library) -> None:
    path = notebook(
        tmp_path / "n.ipynb", "from d2l import tensorflow as d2l", "def only_here():  #@save\n    pass\n"
    )
    assert saved.compare(path, library)[0].state == "same"
    assert saved.compare(path, library, "torch")[0].state == "yours"
    with pytest.raises(D2lEnvError, match="no module `jax`"):
        saved.compare(path, library, "jax")


@pytest.mark.parametrize("text", ["{", "[]", '{"cells": [{"cell_type": "code"}]}'])
def test_a_file_that_is_no_notebook_is_refused(tmp_path: Path, library: Library, text: str) -> None:
    (tmp_path / "n.ipynb").write_text(text, encoding="utf-8")
    with pytest.raises(D2lEnvError, match="not a notebook") as caught:
        saved.compare(tmp_path / "n.ipynb", library)
    assert caught.value.status == USAGE


def test_what_is_nested_without_end_is_refused(tmp_path: Path, library: Library) -> None:
    (tmp_path / "n.ipynb").write_text('{"cells": ' + "[" * 200_000, encoding="utf-8")
    deep = "def mnist(root):  #@save\n    return " + " + ".join(["1"] * 700)
    for path in (tmp_path / "n.ipynb", notebook(tmp_path / "deep.ipynb", deep)):
        with pytest.raises(D2lEnvError, match="not a notebook"):
            saved.compare(path, library)


@pytest.mark.filterwarnings("error")
def test_a_cell_that_python_would_warn_of_or_give_up_is_read_in_silence() -> None:
    assert len(saved.marked("pattern = '\\d'  #@save")) == 1
    assert saved.marked("x = " + "-" * 200_000 + "1  #@save") == []


def test_a_cell_that_is_not_python_has_no_marks() -> None:
    assert saved.marked("this is no python #@save") == []
    assert saved.marked("!pip list  #@save") == []
    assert len(saved.marked("%time\nx = 1  # @save")) == 1


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


@pytest.mark.parametrize("version", ["1.0.3", "0.17.6"])
def test_every_definition_of_the_real_release_is_recognised_when_a_notebook_marks_it(
    version: str, tmp_path: Path
) -> None:
    """Each function and class, cut out of the file as text and marked as the book marks it."""
    library = librarykit.real(version)
    module = library.modules["torch"]
    lines = module.path.read_text(encoding="utf-8").splitlines(keepends=True)
    sources = [
        "#@save\n" + "".join(lines[node.lineno - 1 : node.end_lineno])
        for node in module.tree.body
        if type(node).__name__ in ("FunctionDef", "ClassDef")
    ]
    found = saved.compare(notebook(tmp_path / "n.ipynb", *sources), library, "torch")
    assert len(found) == len(sources) == sum(librarykit.COUNTS[version, "torch"][:2])
    assert {e.state for e in found} == {"same"}
