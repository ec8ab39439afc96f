"""d2l: edition, pins, imports, notebooks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from d2lenv.doctor.model import Expected
from d2lenv.doctor.probe import gather
from d2lenv.facts import d2l as releases
from doctor.environments import Environment, commands, spoil


@pytest.fixture
def env(tmp_path: Path) -> Environment:
    return Environment(tmp_path / "env")


@pytest.mark.parametrize(
    ("version", "book"), [("0.17.6", "the Chinese edition"), ("1.0.3", "the English edition")]
)
def test_the_edition_is_named(env: Environment, version: str, book: str) -> None:
    env.dist("d2l", version)
    assert book in env.findings()["D2L040"].title


def test_without_d2l_no_edition_is_named(env: Environment) -> None:
    assert "D2L040" not in env.findings()


def test_an_unknown_release_is_not_judged(env: Environment) -> None:
    spoil(env.dist("d2l", "2.7.1") / "METADATA")
    found = env.findings()
    assert found["D2L040"].severity == "not-checked"
    assert "D2L041" not in found


def test_a_broken_pin_names_who_broke_it(env: Environment) -> None:
    env.book()
    numpy = env.site / "numpy-1.23.5.dist-info"
    (numpy / "METADATA").write_text("Name: numpy\nVersion: 2.1.0\n\n")
    (numpy / "REQUESTED").write_text("")
    env.dist("opencv-python", "4.12.0", requires=["numpy>=2,<2.3"])
    found = env.findings()["D2L041"]
    assert found.title == "d2l 1.0.3 wants numpy 1.23.5, 2.1.0 is installed"
    whats = [item.what for item in found.found]
    assert any(w.startswith("opencv-python asks for numpy") for w in whats)
    assert "asked for by name (`pip install numpy`)" in whats
    assert commands(found)[0].endswith("numpy==1.23.5")


def test_pins_that_hold_are_fine(env: Environment) -> None:
    assert "D2L041" not in env.book().findings()


def test_a_package_that_is_meant_to_be_another_breaks_no_pin(env: Environment) -> None:
    env.book()
    for folder, version in (("numpy-1.23.5", "2.2.6"), ("pandas-2.0.3", "2.3.3")):
        text = f"Name: {folder.partition('-')[0]}\nVersion: {version}\n\n"
        (env.site / f"{folder}.dist-info" / "METADATA").write_text(text)
    expected = Expected(
        "modern", "linux-64", env.path / "requirements.txt", conda=False, overrides=frozenset({"numpy"})
    )
    found = [one for one in env.context_findings(expected=expected) if one.code == "D2L041"]
    assert [one.subject for one in found] == ["pandas"]


def test_a_pinned_package_with_unreadable_metadata_is_judged_by_its_folders_name(env: Environment) -> None:
    env.book()
    spoil(env.site / "numpy-1.23.5.dist-info" / "METADATA")
    found = env.findings()
    assert "D2L041" not in found
    assert "D2L099" in found


def test_a_pin_that_is_missing_is_found(env: Environment) -> None:
    env.dist("d2l", "1.0.3")
    titles = {f.title for f in env.context_findings() if f.code == "D2L041"}
    assert "d2l 1.0.3 wants scipy 1.10.1, which is not installed" in titles


def test_a_python_without_wheels_of_the_pins_is_found(tmp_path: Path) -> None:
    env = Environment(tmp_path / "env", python="3.12")
    env.dist("d2l", "0.17.6")
    env.dist("numpy", "1.26.4")
    found = env.findings()["D2L042"]
    assert [item.what for item in found.found] == ["Python", "numpy", "matplotlib", "pandas"]
    assert "--python 3.9" in commands(found)[0]


def test_the_books_python_has_wheels(env: Environment) -> None:
    assert "D2L042" not in env.book().findings()


def test_a_prefix_of_unknown_python_is_not_judged(tmp_path: Path) -> None:
    env = Environment(tmp_path / "env", python="3.12")
    env.dist("d2l", "0.17.6")
    spoil(env.path / "pyvenv.cfg")
    (env.path / "lib" / "python3.12").rename(env.path / "lib" / "python3")
    found = env.findings()
    assert "D2L042" not in found
    assert "D2L099" in found


def test_a_missing_import_of_d2l_is_named_with_its_package(env: Environment) -> None:
    env.book()
    (env.site / "PIL" / "__init__.py").unlink()
    (env.site / "PIL").rmdir()
    found = env.findings()["D2L043"]
    assert found.title == "`from d2l import torch` fails: PIL is not installed"
    assert commands(found)[0].endswith(" --force-reinstall --no-deps pillow==9.4.0")
    for path in (env.site / "pillow-9.4.0.dist-info").iterdir():
        path.unlink()
    (env.site / "pillow-9.4.0.dist-info").rmdir()
    assert commands(env.findings()["D2L043"])[0].endswith("/bin/python pillow")


def test_d2l_without_its_module_is_reinstalled(env: Environment) -> None:
    env.book()
    (env.site / "d2l" / "torch.py").unlink()
    assert commands(env.findings()["D2L043"])[0].endswith("--force-reinstall --no-deps d2l==1.0.3")


def test_a_complete_d2l_can_be_imported(env: Environment) -> None:
    assert "D2L043" not in env.book().findings()


def test_a_module_of_d2l_that_cannot_be_read_is_reported(env: Environment) -> None:
    env.book()
    spoil(env.site / "d2l" / "torch.py")
    assert "D2L099" in env.findings() or "D2L043" in env.findings()


def test_other_frameworks_say_what_is_missing(env: Environment) -> None:
    env.dist(
        "d2l",
        "1.0.3",
        files={"d2l/torch.py": "", "d2l/mxnet.py": "from mxnet import np\nfrom mxnet import gluon\n"},
    )
    found = env.findings()["D2L044"]
    assert [item.what for item in found.found] == [
        "from d2l import mxnet: mxnet is not installed",
        "d2l 1.0.3 has no module paddle",
    ]


def test_a_framework_that_is_there_is_usable(env: Environment) -> None:
    env.dist("d2l", "9.9", files={"d2l/torch.py": "", "d2l/jax.py": "import jax\n"})
    env.dist("jax", "0.4.0")
    assert "D2L044" not in env.findings()
    spoil(env.site / "d2l" / "jax.py")
    assert "D2L044" not in env.findings()


@pytest.mark.parametrize(
    ("inline", "plt", "there"),
    [
        ("0.2.1", "3.5.1", True),
        ("0.1.7", "3.5.1", False),
        ("0.2.1", "3.7.2", False),
        ("0.2.1", "3.5.2", False),
    ],
)
def test_matplotlib_inline_0_2_with_an_old_matplotlib_is_found(
    env: Environment, inline: str, plt: str, there: bool
) -> None:
    env.dist("matplotlib", plt)
    metadata = env.dist("matplotlib-inline", inline) / "METADATA"
    assert ("D2L045" in env.findings()) is there
    spoil(metadata)
    assert "D2L099" in env.findings()


def notebook(path: Path, code: object, kind: str = "code") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"cells": [{"cell_type": kind, "source": code}], "nbformat": 4}))
    return path


def test_notebooks_of_the_other_edition_are_found(env: Environment, tmp_path: Path) -> None:
    env.dist("d2l", "0.17.6")
    notebook(tmp_path / "book" / "linear" / "a.ipynb", ["class A(d2l.HyperParameters):\n", "  d2l.plt\n"])
    notebook(tmp_path / "book" / "b.ipynb", "d2l.train_ch3(net)")
    found = env.findings(notebooks=tuple(gather.notebooks(tmp_path / "book")))["D2L046"]
    newest = releases.newest("en")
    assert found.title == f"1 notebook belongs to the other edition, d2l {newest}"
    assert found.found[1].file.endswith("a.ipynb")


def test_a_folder_with_both_editions_is_only_mentioned(env: Environment, tmp_path: Path) -> None:
    env.dist("d2l", "0.17.6")
    for number in range(3):
        notebook(tmp_path / f"{number}.ipynb", "d2l.plt.show()")
    notebook(tmp_path / "new.ipynb", "d2l.Trainer(max_epochs=1)")
    assert env.findings(notebooks=tuple(gather.notebooks(tmp_path)))["D2L046"].severity == "info"


def test_notebooks_of_the_same_edition_are_fine(env: Environment, tmp_path: Path) -> None:
    env.dist("d2l", "1.0.3")
    notebook(tmp_path / "a.ipynb", "class A(d2l.HyperParameters): ...")
    assert "D2L046" not in env.findings(notebooks=tuple(gather.notebooks(tmp_path)))


def test_notebooks_that_are_broken_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "cut.ipynb").write_text('{"cells": [{"d2l"')
    (tmp_path / "list.ipynb").write_text('["d2l"]')
    notebook(tmp_path / "text.ipynb", "d2l.HyperParameters", kind="markdown")
    notebook(tmp_path / "odd.ipynb", {"d2l.Module": 1})
    spoil(notebook(tmp_path / "loop.ipynb", "d2l.Module"))
    assert not list(gather.notebooks(tmp_path))


def test_no_name_belongs_to_both_editions() -> None:
    assert not releases.ONLY["zh"] & releases.ONLY["en"]


def test_the_chinese_books_repository_gives_2_0_0(tmp_path: Path) -> None:
    """`pip install git+…/d2l-zh` installs it under that number, which was taken for the English book's."""
    env = Environment(tmp_path / "env")
    env.dist("d2l", "2.0.0")
    assert "the Chinese edition" in env.findings()["D2L040"].title or any(
        "the Chinese edition" in finding.title
        for finding in env.context_findings()
        if finding.code == "D2L040"
    )
    assert "torch==1.12.0" in commands(env.findings()["D2L002"])[0]
