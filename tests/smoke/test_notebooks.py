"""Which notebooks there are, and what each needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from nbformat.v4 import new_notebook

from d2lenv.base.errors import USAGE, D2lEnvError
from d2lenv.smoke import notebooks, report
from smokekit import PYTHON, written


@pytest.mark.parametrize(
    ("requires", "reason"),
    [
        ([], ""),
        (["d2l<1.0"], ""),
        (["torch==2.0.1"], ""),
        (["Torch>=1.12", "python>=3.9"], ""),
        (["d2l>=1.0"], "needs d2l>=1.0, here 0.17.6"),
        (["d2l<1.0", "python>=3.11"], "needs python>=3.11, here 3.10.13"),
        (["torchaudio"], "needs torchaudio, which is not installed here"),
        (["torchaudio; python_version < '3.10'"], ""),
        (["d2l =="], "its metadata asks for `d2l ==`, which cannot be read"),
    ],
)
def test_requirements_of_a_notebook_are_compared_with_what_is_installed(
    requires: Sequence[str], reason: str
) -> None:
    assert notebooks.needs(new_notebook(metadata={"d2lenv": {"requires": requires}}), PYTHON) == reason


def test_notebooks_are_picked_by_name_with_or_without_the_suffix(tmp_path: Path) -> None:
    folder = written(tmp_path, **{"a": "", "a-zh": "", "b": ""})
    assert [path.stem for path in notebooks.find(folder)] == ["a", "a-zh", "b"]
    assert [path.stem for path in notebooks.find(folder, ["b.ipynb", "a"])] == ["a", "b"]


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda folder: notebooks.find(folder / "empty"), "no notebooks in"),
        (lambda folder: notebooks.find(folder, ["z"]), "no notebook `z`"),
        (lambda folder: report.choose_folder(None, lambda: folder, "../up", print), "cannot be the name"),
        (lambda folder: report.refuse_overwriting(folder.parent, [folder / "a.ipynb"]), "would overwrite"),
    ],
)
def test_words_that_are_off_are_refused(tmp_path: Path, use: Callable[[Path], object], message: str) -> None:
    folder = written(tmp_path / "notebooks", a="")
    with pytest.raises(D2lEnvError, match=message) as caught:
        use(folder)
    assert caught.value.status == USAGE
