"""The books' notebooks: all are found, data by its sha1, a missing network told apart."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from d2lenv.base.errors import USAGE, D2lEnvError
from d2lenv.cli import app as cli
from d2lenv.learn import books
from d2lenv.smoke import results

DATA = Path(__file__).parents[1] / "data"
BOOK, BOOK_DATA = DATA / "book", DATA / "book-data"


# ------------------------------------------------------------------------------------------------ stage


def test_a_book_is_laid_out_so_that_pictures_and_data_are_found(tmp_path: Path) -> None:
    staged = books.stage(BOOK, (), BOOK_DATA, tmp_path)
    assert [path.stem for path in staged] == [
        "chapter_preliminaries.index",
        "chapter_preliminaries.reading",
        "chapter_recurrent.index",
        "chapter_recurrent.with-data",
        "chapter_recurrent.without-data",
        "chapter_recurrent.wrong",
    ]
    for path in staged:
        assert (path.parent / "../data/tiny_houses.csv").is_file()
        assert (path.parent / "../img/dot.txt").is_file()


def test_one_chapter_alone_finds_the_pictures_beside_it(tmp_path: Path) -> None:
    staged = books.stage(BOOK / "chapter_recurrent", ("with-data",), BOOK_DATA, tmp_path)
    assert [path.name for path in staged] == ["with-data.ipynb"]
    assert (staged[0].parent / "../data/tiny_houses.csv").is_file()
    assert (staged[0].parent / "../img/dot.txt").is_file()


def test_a_notebook_is_found_by_its_name_with_and_without_the_chapter(tmp_path: Path) -> None:
    wanted = ("chapter_recurrent.wrong.ipynb", "reading")
    staged = books.stage(BOOK, wanted, None, tmp_path)
    assert [path.stem for path in staged] == ["chapter_preliminaries.reading", "chapter_recurrent.wrong"]
    with pytest.raises(D2lEnvError, match="no notebook `nothing`"):
        books.stage(BOOK, ("nothing",), None, tmp_path / "again")


def test_what_a_notebook_writes_into_data_stays_out_of_the_readers_folder(tmp_path: Path) -> None:
    data = shutil.copytree(BOOK_DATA, tmp_path / "data")
    staged = books.stage(BOOK, (), data, tmp_path / "scratch")
    (staged[0].parent / "../data/unpacked").mkdir()
    assert [path.name for path in data.iterdir()] == ["tiny_houses.csv"]


def test_where_links_are_not_allowed_files_are_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("privilege not held")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    staged = books.stage(BOOK, (), BOOK_DATA, tmp_path)
    copied = staged[0].parent / "../data/tiny_houses.csv"
    assert copied.read_bytes() == (BOOK_DATA / "tiny_houses.csv").read_bytes()
    assert not copied.is_symlink()


def test_a_book_has_chapters_and_a_folder_of_notebooks_has_none(tmp_path: Path) -> None:
    assert books.has_chapters(BOOK)
    # Both real books have pages beside their chapters.
    book = shutil.copytree(BOOK, tmp_path / "book")
    for name in ("index", "zreferences"):
        shutil.copy(BOOK / "chapter_recurrent" / "index.ipynb", book / f"{name}.ipynb")
    (book / "index").mkdir()
    (book / ".ipynb_checkpoints").mkdir()
    shutil.copy(book / "index.ipynb", book / ".ipynb_checkpoints" / "index-checkpoint.ipynb")
    assert books.has_chapters(book)
    assert len(books.stage(book, (), None, tmp_path / "scratch")) == len(books.find(BOOK)) + 2
    assert not books.has_chapters(BOOK / "chapter_recurrent")  # runs in its own place unless --data is given


def test_a_file_of_the_book_that_a_notebook_writes_anew_stays_as_it_was(tmp_path: Path) -> None:
    """As ``torch.save(x, 'x-file')`` does, which both real books have in the chapter."""
    book = shutil.copytree(BOOK, tmp_path / "book")
    (book / "chapter_recurrent" / "x-file").write_text("the book's", encoding="utf-8")
    staged = books.stage(book, ("with-data",), None, tmp_path / "scratch")
    (staged[0].parent / "x-file").write_text("the run's", encoding="utf-8")
    assert (book / "chapter_recurrent" / "x-file").read_text(encoding="utf-8") == "the book's"


@pytest.mark.parametrize(
    "place",
    ["venv/pyvenv.cfg", "conda/conda-meta/history", "reports/cuda/report.html", ".git/x", "node_modules/x"],
)
def test_environments_and_reports_beside_the_notebooks_are_no_chapters(tmp_path: Path, place: str) -> None:
    mark = tmp_path / "work" / place
    mark.parent.mkdir(parents=True)
    mark.touch()
    below = (
        tmp_path / "work" / Path(place).parts[0] / ("cuda" if place.startswith("reports") else "") / "share"
    )
    below.mkdir()
    for folder in (tmp_path / "work", below):
        shutil.copy(BOOK / "chapter_recurrent" / "index.ipynb", folder / "mine.ipynb")
    assert not books.has_chapters(tmp_path / "work")
    staged = books.stage(tmp_path / "work", (), None, tmp_path / "scratch")
    assert [path.name for path in staged] == ["mine.ipynb"]
    assert not (tmp_path / "scratch" / "book" / Path(place).parts[0]).exists()


def test_folders_that_are_not_there_or_empty_are_refused(tmp_path: Path) -> None:
    with pytest.raises(D2lEnvError, match="no notebooks"):
        books.find(tmp_path)
    with pytest.raises(D2lEnvError, match="is not a folder") as caught:
        books.stage(BOOK, (), tmp_path / "none", tmp_path)
    assert caught.value.status == USAGE


# ----------------------------------------------------------------------------------------- no network


def failed(reason: str, traceback: str) -> results.NotebookResult:
    return results.NotebookResult(
        "n", Path("n.ipynb"), "failed", cause="error", reason=reason, traceback=traceback, place="cell 3: x"
    )


@pytest.mark.parametrize(
    ("reason", "traceback"),
    [
        (
            "ConnectionError: HTTPConnectionPool(host='d2l-data', port=80)",
            "site-packages/requests/adapters.py",
        ),
        ("ProxyError: …", "requests/adapters.py"),
        (
            "URLError: <urlopen error [Errno -2] Name or service not known>",
            "lib/python3.10/urllib/request.py",
        ),
        ("RuntimeError: Error downloading train-images-idx3-ubyte.gz", "torchvision/datasets/mnist.py"),
    ],
)
def test_a_download_that_nobody_answered_is_not_a_failure(reason: str, traceback: str) -> None:
    revised = books.revise(failed(reason, traceback))
    assert (revised.status, revised.cause) == ("not-checked", "network")
    assert "--data" in revised.reason
    assert revised.checks[-1].status == "not-checked"
    assert revised.checks[-1].needs == "network"


@pytest.mark.parametrize(
    ("reason", "traceback"),
    [
        ("ConnectionError: of my own making", "cell 2"),
        ("HTTPError: HTTP Error 404: Not Found", "urllib/request.py"),
        ("NameError: name 'x' is not defined", "requests"),
        ("RuntimeError: CUDA error", "torchvision/datasets"),
        ("ConnectionRefusedError: [Errno 111]", "my_requests.py"),
    ],
)
def test_any_other_failure_stays_one(reason: str, traceback: str) -> None:
    result = failed(reason, traceback)
    assert books.revise(result) is result


# ------------------------------------------------------------------------------------------- a whole run

# The same convention as d2l's own `download`, for an environment without PyTorch.
STAND_IN = """
import hashlib, os
DATA_HUB, DATA_URL = {}, 'http://127.0.0.1:9/'

def download(name, cache_dir=os.path.join('..', 'data')):
    url, sha1 = DATA_HUB[name]
    fname = os.path.join(cache_dir, url.split('/')[-1])
    with open(fname, 'rb') as f:
        assert hashlib.sha1(f.read()).hexdigest() == sha1
    return fname
"""


@pytest.fixture
def with_d2l(light_prefix: Path) -> Iterator[Path]:
    site = next(light_prefix.glob("[Ll]ib/**/site-packages"))
    (site / "d2l").mkdir()
    (site / "d2l" / "torch.py").write_text(STAND_IN, encoding="utf-8")
    yield light_prefix
    shutil.rmtree(site / "d2l")


def test_a_book_runs_with_its_data_and_says_what_it_could_not_check(with_d2l: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "d2lenv", "smoke", "book", "--prefix", str(with_d2l), "--json"]
    words += ["--notebooks", str(BOOK), "--data", str(BOOK_DATA), "--report", str(tmp_path / "report")]
    done = subprocess.run(words, capture_output=True, encoding="utf-8", timeout=300, check=False)
    found = {one["name"]: one for one in json.loads(done.stdout)["notebooks"]}
    assert {name.split(".")[1]: one["status"] for name, one in found.items() if "index" not in name} == {
        "reading": "passed",
        "with-data": "passed",
        "without-data": "not-checked",
        "wrong": "failed",
    }
    assert done.returncode == 1  # for the one that is wrong
    assert found["chapter_recurrent.without-data"]["place"].startswith("cell 3")
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "needs the network" in page
    junit = (tmp_path / "report" / "junit.xml").read_text(encoding="utf-8")
    assert junit.count("<skipped") >= 2
    assert [path.name for path in BOOK_DATA.iterdir()] == ["tiny_houses.csv"]


def test_a_missing_network_alone_is_no_failure(with_d2l: Path, tmp_path: Path) -> None:
    words = ["smoke", "book", "--prefix", str(with_d2l), "--notebooks", str(BOOK), "--json"]
    words += ["--notebook", "without-data", "--report", str(tmp_path / "report")]
    done = subprocess.run(
        [sys.executable, "-m", "d2lenv", *words],
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_data_without_notebooks_is_refused() -> None:
    result = CliRunner().invoke(cli.cli, ["smoke", "x", "--prefix", "p", "--data", "d"])
    assert result.exit_code == USAGE
    assert "--data goes with --notebooks" in result.output
