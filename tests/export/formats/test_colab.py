"""The Colab notebook: valid, and its cells do what they say, as far as a machine without Colab can tell."""

from __future__ import annotations

import ast
import hashlib
import http.server
import io
import json
import os
import shlex
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from rattler.explicit_environment import ExplicitEnvironmentSpec

from d2lenv.export.formats import colab, explicit
from d2lenv.export.table import EnvironmentTable
from d2lenv.workspace.pins import Pin
from export import sample_locks
from export.sample_locks import CONDA_FORGE, Env, pick, text
from export.tables import tables_of

posix = pytest.mark.skipif(
    sys.platform == "win32", reason="Colab's machine is Linux; the cells use its paths"
)


def notebook(one: EnvironmentTable) -> nbformat.NotebookNode:
    return nbformat.reads(colab.files(one)[f"{one.folder}/colab.ipynb"], as_version=4)


@pytest.fixture
def cuda(own_tables: list[EnvironmentTable]) -> EnvironmentTable:
    (one,) = [one for one in own_tables if one.environment == "cuda"]
    return one


def cell(one: EnvironmentTable, name: str) -> str:
    (found,) = [cell for cell in notebook(one).cells if cell["id"] == name]
    return str(found["source"])


def test_it_is_a_valid_notebook_without_outputs(own_tables: list[EnvironmentTable]) -> None:
    for one in own_tables:
        if one.target("linux-64") is None:
            continue
        book = notebook(one)
        nbformat.validate(book)
        assert all(
            not c["outputs"] and c["execution_count"] is None for c in book.cells if c.cell_type == "code"
        )
        assert "not checked on the service" in book.cells[0]["source"]


def test_it_carries_the_explicit_list_of_linux(cuda: EnvironmentTable) -> None:
    tree = ast.parse(cell(cuda, "install"))
    (value,) = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "PACKAGES"
    ]
    target = cuda.target("linux-64")
    assert target is not None
    assert value.splitlines() == ["@EXPLICIT", *(explicit.line(package) for package in target.packages)]
    assert len(ExplicitEnvironmentSpec.from_str(value).packages) == len(target.packages)


def test_only_an_environment_for_gpus_asks_for_one(own_tables: list[EnvironmentTable]) -> None:
    asks = {
        one.environment: "accelerator" in notebook(one).metadata
        for one in own_tables
        if one.environment in ("cpu", "cuda", "cuda12")
    }
    assert asks == {"cpu": False, "cuda": True, "cuda12": True}


def test_an_environment_without_linux_has_no_notebook(tmp_path: Path) -> None:
    path = tmp_path / "pixi.lock"
    path.write_text(
        text(6, {"default": Env((CONDA_FORGE,), {"win-64": pick("win-64", "ucrt")})}), encoding="utf-8"
    )
    (one,) = tables_of(path)
    assert colab.files(one) == {}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, bytes]]:
    """A loopback server with a conda package whose micromamba makes a prefix that prints its arguments."""
    prefix_python = f"#!/bin/sh\nexec {shlex.quote(sys.executable)} - <<'END'\nprint('checked')\nEND\n"
    script = (
        "#!/bin/sh\n"
        'echo "$@" > "$(dirname "$0")/arguments"\n'
        'while [ "$1" != "--prefix" ]; do shift; done\n'
        'mkdir -p "$2/bin" "$2/conda-meta"; touch "$2/conda-meta/history"\n'
        f"cat > \"$2/bin/python\" <<'OUTER'\n{prefix_python}OUTER\n"
        'chmod +x "$2/bin/python"\n'
    ).encode()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:bz2") as tar:
        member = tarfile.TarInfo("bin/micromamba")
        member.size = len(script)
        tar.addfile(member, io.BytesIO(script))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(packed.getvalue())

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/micromamba.tar.bz2", packed.getvalue()
        running.shutdown()


def local(one: EnvironmentTable, folder: Path, url: str, sha256: str) -> str:
    """The install cell, on this machine's folders and server."""
    source = cell(one, "install")
    for old, new in (
        ("/content", str(folder)),
        (colab.MICROMAMBA[0], url),
        (colab.MICROMAMBA[1], sha256),
    ):
        assert old in source
        source = source.replace(old, new)
    return source


@posix
def test_the_install_cell_makes_the_prefix_once_and_checks_it(
    cuda: EnvironmentTable, tmp_path: Path, server: tuple[str, bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    url, packed = server
    source = local(cuda, tmp_path, url, hashlib.sha256(packed).hexdigest())
    exec(compile(source, "install", "exec"), {})
    arguments = (tmp_path / "micromamba" / "arguments").read_text().split()
    assert arguments[:2] == ["create", "--yes"]
    assert arguments[-2:] == ["--file", str(tmp_path / "micromamba" / "packages.lock")]
    target = cuda.target("linux-64")
    assert target is not None
    assert explicit.line(target.packages[-1]) in (tmp_path / "micromamba" / "packages.lock").read_text()
    assert "checked" in capfd.readouterr().out
    (tmp_path / "micromamba" / "arguments").unlink()
    exec(compile(source, "install", "exec"), {})
    assert not (tmp_path / "micromamba" / "arguments").exists()
    assert "checked" in capfd.readouterr().out


@posix
def test_the_install_cell_does_not_run_a_damaged_download(
    cuda: EnvironmentTable, tmp_path: Path, server: tuple[str, bytes]
) -> None:
    with pytest.raises(SystemExit, match="damaged"):
        exec(compile(local(cuda, tmp_path, server[0], "0" * 64), "install", "exec"), {})
    assert not (tmp_path / "micromamba").exists()


def run(cells: list[str], folder: Path) -> str:
    """Run the cells in a notebook of this Python; returns what they print."""
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    variables = {"JUPYTER_DATA_DIR": str(folder / "data"), "JUPYTER_PATH": "", "HOME": str(folder)}
    NotebookClient(book, timeout=120, kernel_name="python3").execute(env=os.environ | variables)
    return "".join(out["text"] for c in book.cells for out in c["outputs"] if out["output_type"] == "stream")


@pytest.fixture
def magic(cuda: EnvironmentTable, tmp_path: Path) -> str:
    """The cell that makes ``%%d2l``, for a prefix whose Python is this one."""
    python = tmp_path / "content" / "d2l-env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    source = cell(cuda, "magic")
    assert '"/content/' in source
    return source.replace('"/content/', f'"{tmp_path}/content/')


@posix
def test_cells_with_the_magic_run_in_the_environment_and_keep_their_variables(
    magic: str, tmp_path: Path
) -> None:
    outside = "import os\nos.environ['MPLBACKEND'] = 'nonsense'\nx = 1"
    inside = "%%d2l\nimport os\nprint('backend', os.environ.get('MPLBACKEND'), 'x' in globals())\nx = 41"
    printed = run([outside, magic, inside, "%%d2l\nprint(x + 1)", "print(x)"], tmp_path)
    assert "x' in" not in printed
    assert "nonsense" not in printed
    assert "42\n" in printed
    assert printed.endswith("1\n")


@posix
def test_a_failing_cell_fails_and_shows_its_error(magic: str, tmp_path: Path) -> None:
    with pytest.raises(CellExecutionError, match="the cell failed"):
        run([magic, "%%d2l\n1 / 0"], tmp_path)


def test_the_file_is_what_json_reads(cuda: EnvironmentTable) -> None:
    content = colab.files(cuda)[f"{cuda.folder}/colab.ipynb"]
    assert json.loads(content)["nbformat"] == 4
    assert content.endswith("}\n")


# --- d2l beside Colab's own PyTorch -----------------------------------------------------------------------

STAND_INS = {
    "torch.py": "__version__ = '2.11'\ndef manual_seed(n): pass\ndef tensor(x): return x\n",
    # What pip is asked for is written down, and the stand-in for d2l comes with it.
    "pip/__main__.py": """
import pathlib, sys
here = pathlib.Path(__file__).parents[1]
asked = pathlib.Path(sys.argv[-1]).read_text()
(here / "asked.txt").write_text("\\n".join([*sys.argv[1:-1], asked]))
(here / "d2l").mkdir()
(here / "d2l" / "__init__.py").write_text("")
(here / "d2l" / "torch.py").write_text((here / "stand-in.txt").read_text())
""",
    "stand-in.txt": """
class SyntheticRegressionData:
    def __init__(self, w, b): self.X, self.y = w, b
class Loss(float):
    backward = lambda self: None
    item = lambda self: float(self)
class LinearRegression:
    def __init__(self, lr): self.losses = LOSSES
    def configure_optimizers(self): return type("SGD", (), {"step": lambda self: None})()
    def __call__(self, X): return X
    def loss(self, y_hat, y): return Loss(self.losses.pop(0))
def try_gpu(): return "cpu"
""",
}


def beside(folder: Path) -> EnvironmentTable:
    (one,) = tables_of(sample_locks.write_named(folder))
    return replace(one, beside=(Pin("d2l", "1.0.3", ("ab" * 32,)),))


def run_beside(folder: Path, losses: str) -> subprocess.CompletedProcess[str]:
    """The cell in a process of its own, with stand-ins for pip, torch and d2l."""
    for name, content in STAND_INS.items():
        path = folder / "there" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content.replace("LOSSES", losses), encoding="utf-8")
    (folder / "there" / "pip" / "__init__.py").write_text("", encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-X", "utf8", "-c", cell(beside(folder), "install")],
        env={**os.environ, "PYTHONPATH": str(folder / "there")},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def test_the_one_cell_adds_d2l_by_its_hash_and_tries_it(tmp_path: Path) -> None:
    done = run_beside(tmp_path, "[2.0, 1.0]")
    assert (done.returncode, done.stderr) == (0, "")
    assert "one training step: loss 2.00 → 1.00" in done.stdout
    asked = (tmp_path / "there" / "asked.txt").read_text(encoding="utf-8").splitlines()
    assert {"install", "--no-deps", "--require-hashes"} <= set(asked)
    assert asked[-1] == f"d2l==1.0.3 --hash=sha256:{'ab' * 32}"


def test_a_training_step_that_does_not_help_is_an_error(tmp_path: Path) -> None:
    done = run_beside(tmp_path, "[1.0, 1.0]")
    assert done.returncode != 0
    assert "a training step did not help" in done.stderr


def test_nothing_of_colabs_own_is_replaced(tmp_path: Path) -> None:
    one = beside(tmp_path)
    assert [c["id"] for c in notebook(one).cells] == ["about", "install"]
    assert "torch==" not in colab.files(one)["default/colab.ipynb"]
