"""The installed d2l: counted, placed, followed to the network."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

import librarykit
from d2lenv.base.errors import D2lEnvError
from d2lenv.facts import d2l as d2l_release
from d2lenv.learn.library import Library, read


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    return librarykit.make_prefix(tmp_path / "prefix")


@pytest.fixture
def library(prefix: Path) -> Library:
    return read(prefix)


def test_every_framework_module_of_the_release_is_read(library: Library) -> None:
    assert library.version == "1.0.3"
    assert list(library.modules) == ["tensorflow", "torch"]


def test_functions_classes_methods_aliases_values_and_datasets_are_told_apart(library: Library) -> None:
    kinds: dict[str, list[str]] = {}
    for found in library.modules["torch"].entries:
        kinds.setdefault(found.kind, []).append(found.name)
    assert kinds["function"][:3] == ["use_svg_display", "show", "download"]
    assert kinds["class"] == ["HyperParameters", "Classifier", "Data", "MoreData", "FashionMNIST"]
    assert kinds["method"] == ["HyperParameters.save", "HyperParameters.save", "Classifier.accuracy"]
    assert kinds["alias"] == ["nn_Module", "ones", "reshape"]
    assert kinds["value"] == ["COLORS"]
    assert kinds["dataset"] == ["pokemon"]


def test_an_entry_has_its_line_and_the_section_that_defined_it(library: Library) -> None:
    found = librarykit.entry(library, "use_svg_display")
    assert librarykit.TORCH.splitlines()[found.line - 1] == "def use_svg_display():"
    assert found.section == "sec_calculus"
    assert librarykit.entry(library, "Classifier.accuracy").section == "sec_classification"
    assert librarykit.entry(library, "mnist").section == ""


def test_a_class_without_a_section_has_that_of_its_first_method(library: Library) -> None:
    assert librarykit.entry(library, "HyperParameters").section == "sec_oo-design"


def test_a_definition_that_a_later_one_replaces_is_marked(library: Library) -> None:
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
def test_calls_are_followed_to_the_network(library: Library, name: str, chain: str) -> None:
    assert librarykit.entry(library, name).network == chain


def test_keras_datasets_download_without_being_asked(library: Library) -> None:
    assert librarykit.entry(library, "load", "tensorflow").network.endswith("fashion_mnist.load_data")


def test_a_prefix_without_d2l_and_a_damaged_file_are_refused(tmp_path: Path, prefix: Path) -> None:
    with pytest.raises(D2lEnvError, match="has no d2l"):
        read(tmp_path)
    (prefix / "lib/python3.10/site-packages/d2l/torch.py").write_text("def (", encoding="utf-8")
    with pytest.raises(D2lEnvError, match="cannot be read"):
        read(prefix)


@pytest.mark.parametrize(("version", "module"), librarykit.COUNTS)
def test_the_numbers_of_the_real_releases_are_those_of_an_independent_count(
    version: str, module: str
) -> None:
    library = librarykit.real(version)
    assert set(library.modules) == {name for release, name in librarykit.COUNTS if release == version}
    found = library.modules[module].entries
    numbers = tuple(sum(e.kind == kind for e in found) for kind in ("function", "class", "method"))
    assert numbers == librarykit.COUNTS[version, module]

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
    library = librarykit.real(version)
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


def test_the_released_files_are_the_ones_whose_hashes_are_known() -> None:
    library = librarykit.real("1.0.3")
    released = d2l_release.released("1.0.3")
    assert released is not None
    for name, module in library.modules.items():
        digest = hashlib.sha256(module.path.read_bytes()).hexdigest()
        assert digest == released.files[f"d2l/{name}.py"]
