"""Each class by the words that the libraries really print."""

from __future__ import annotations

from pathlib import Path

import pytest

from d2lenv.books import classes
from d2lenv.smoke.results import NotebookResult


def classed(
    reason: str,
    traceback: str = "",
    *,
    source: str = "",
    missing: tuple[str, ...] = (),
    extras: tuple[str, ...] = (),
) -> tuple[str, str]:
    result = NotebookResult("n", Path("n"), "failed", cause="error", reason=reason, traceback=traceback)
    found = classes.of_result(result, source, "en", "chapter_x/n.ipynb", missing, extras)
    return found.kind, found.reason.format(**found.values)


@pytest.mark.parametrize(
    ("reason", "traceback", "kind", "why"),
    [
        (
            "RuntimeError: Dataset not found or corrupted. You can use download=True to download it",
            "---> data = torchvision.datasets.FashionMNIST(root='../data')",
            "data",
            "needs FashionMNIST",
        ),
        (
            "ConnectionError: HTTPConnectionPool(host='d2l-data', port=80): with url: /hotdog.zip",
            "site-packages/requests/adapters.py",
            "data",
            "needs hotdog.zip",
        ),
        (
            "FileNotFoundError: [Errno 2] No such file or directory: '../data/p1ch2/horse2zebra_0.4.0.pth'",
            "",
            "data",
            "needs horse2zebra_0.4.0.pth",
        ),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'mine.txt'", "", "surprise", ""),
        ("AssertionError: Torch not compiled with CUDA enabled", "", "gpu", "needs an NVIDIA GPU"),
        ("RuntimeError: Found no NVIDIA driver on your system.", "", "gpu", "needs an NVIDIA GPU"),
        ("IndexError: list index out of range", "----> devices[1]", "gpu", "needs an NVIDIA GPU"),
        ("IndexError: list index out of range", "----> words[1]", "surprise", ""),
        ("ModuleNotFoundError: No module named 'numpy'", "", "environment", ""),
        ("ValueError: no", "", "surprise", "ValueError: no"),
    ],
)
def test_an_error_has_the_class_of_its_words(reason: str, traceback: str, kind: str, why: str) -> None:
    found = classed(reason, traceback)
    assert found[0] == kind
    assert why in found[1]


def test_a_missing_file_of_the_table_is_named_by_it() -> None:
    assert classed("URLError: <urlopen error>", "urllib/request.py", missing=("VOC2012",)) == (
        "data",
        "needs VOC2012",
    )


def test_a_trial_that_failed_for_want_of_data_needs_them() -> None:
    reason = "ValueError: Trial - 0 failed"
    assert classed(reason, missing=("FashionMNIST",)) == ("data", "needs FashionMNIST")
    assert classed(reason)[0] == "surprise"


def test_a_notebook_for_two_gpus_says_so() -> None:
    assert (
        classed("RuntimeError: Found no NVIDIA driver", source="X.cuda(1); try_gpu(1)")[1]
        == "needs two NVIDIA GPUs"
    )


def test_a_package_that_can_be_had_is_offered() -> None:
    reason = "ModuleNotFoundError: No module named 'gym'"
    assert classed(reason, extras=("gym",)) == ("package", "imports gym, which is not installed")
    assert classed(reason)[0] == "environment"


@pytest.mark.parametrize(
    ("cause", "kind"),
    [("cpu-limit", "slow"), ("wall-limit", "slow"), ("memory-limit", "surprise"), ("disk-limit", "surprise"),
     ("process-limit", "surprise"), ("dead-kernel", "environment"), ("no-kernel", "environment")],
)  # fmt: skip
def test_a_cause_that_is_no_error_has_its_class(cause: str, kind: str) -> None:
    result = NotebookResult("n", Path("n"), "failed", cause=cause, reason="it used more than 5")  # type: ignore[arg-type]
    assert classes.of_result(result, "", "en", "n.ipynb", (), ()).kind == kind


def test_a_known_fault_of_the_book_says_what_to_do() -> None:
    reason = "ModuleNotFoundError: No module named 'p2ch13.diagnose'"
    result = NotebookResult("n", Path("n"), "failed", cause="error", reason=reason)
    found = classes.of_result(result, "", "dlwpt", "p2ch13_explore_diagnose.ipynb", (), ())
    assert (found.kind, "leave this notebook out" in found.reason) == ("book-bug", True)
    other = classes.of_result(result, "", "dlwpt", "p1ch2/1.ipynb", (), ())
    assert other.kind == "environment"
