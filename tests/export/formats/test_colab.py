"""The Colab notebook: valid, and its cells do what they say, as far as a machine without Colab can tell."""

from __future__ import annotations

import ast
import hashlib
import http.server
import io
import json
import os
import shlex
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from rattler.explicit_environment import ExplicitEnvironmentSpec

from d2lenv.export.formats import colab, explicit
from d2lenv.export.table import EnvironmentTable
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
