"""``colab.ipynb``: a notebook whose first cell puts the environment onto Colab's machine, and checks it.

Colab's own Python is newer than d2l's pins allow, and condacolab replaces packages under that same Python,
so neither can hold this environment. The notebook makes a prefix of its own with micromamba, from the
explicit list that it carries itself (no address of this repository is needed, and nothing is uploaded), and
runs cells marked ``%%d2l`` in a kernel of that prefix.
"""

from __future__ import annotations

import json

from d2lenv.export.formats import explicit
from d2lenv.export.table import EnvironmentTable
from d2lenv.facts.platforms import SERVICES
from d2lenv.workspace.beside import PIP, lines

MICROMAMBA = (
    "https://conda.anaconda.org/conda-forge/linux-64/micromamba-2.8.1-0.tar.bz2",
    "a934c3709c997feae403a27fd1e321c106d26ffa4f294800ffb11cbc9a3e8515",
)
"""Address and sha256 from conda-forge's index, fixed so that the notebook is the same every day."""

INSTALL = '''\
# Download micromamba, verify it, and install the packages listed below.
import hashlib, io, os, pathlib, subprocess, tarfile, urllib.request

PREFIX = pathlib.Path("/content/d2l-env")
ROOT = pathlib.Path("/content/micromamba")
MICROMAMBA = "{url}"
SHA256 = "{sha256}"
PACKAGES = """\\
{packages}"""

if not (PREFIX / "conda-meta" / "history").exists():
    archive = urllib.request.urlopen(MICROMAMBA, timeout=120).read()
    if hashlib.sha256(archive).hexdigest() != SHA256:
        raise SystemExit("The download of micromamba is damaged; run this cell again.")
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:bz2") as tar:
        program = tar.extractfile("bin/micromamba").read()
    ROOT.mkdir(parents=True, exist_ok=True)
    (ROOT / "micromamba").write_bytes(program)
    (ROOT / "micromamba").chmod(0o755)
    (ROOT / "packages.lock").write_text(PACKAGES)
    subprocess.run(
        [ROOT / "micromamba", "create", "--yes", "--root-prefix", ROOT, "--prefix", PREFIX,
         "--file", ROOT / "packages.lock"],
        check=True,
    )

CHECK = """
import sys, torch, torchvision, d2l
print("Python", sys.version.split()[0], "| torch", torch.__version__, "| d2l", d2l.__version__)
print("GPU:", torch.cuda.get_device_name() if torch.cuda.is_available() else "none, the CPU is used")
assert torch.ones(2).sum().item() == 2
"""
env = {{name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MPLBACKEND")}}
subprocess.run([PREFIX / "bin" / "python", "-c", CHECK], check=True, env=env)
print("The environment is ready. Run the next cell, then start your own cells with %%d2l")
'''

MAGIC = '''\
# Make %%d2l: it runs a cell in the environment's own Python, which keeps its variables between cells.
import os, pathlib, subprocess

from IPython.core.magic import register_cell_magic
from IPython.display import publish_display_data
from jupyter_client.manager import start_new_kernel

PYTHON = pathlib.Path("/content/d2l-env/bin/python")
# What Colab sets for its own Python would reach into this one.
ENV = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MPLBACKEND")}
subprocess.run([PYTHON, "-m", "ipykernel", "install", "--user", "--name", "d2l"], check=True, env=ENV)
manager, client = start_new_kernel(kernel_name="d2l", startup_timeout=120, env=ENV)


def show(message):
    kind, content = message["msg_type"], message["content"]
    if kind == "stream":
        print(content["text"], end="")
    elif kind in ("display_data", "execute_result"):
        publish_display_data(content["data"], content["metadata"])
    elif kind == "error":
        print("\\n".join(content["traceback"]))


@register_cell_magic
def d2l(line, cell):
    """Run the cell in the d2l environment."""
    reply = client.execute_interactive(cell, output_hook=show, allow_stdin=False)
    if reply["content"]["status"] == "error":
        raise RuntimeError("the cell failed; its error stands above")
'''

TRY = """\
%%d2l
%matplotlib inline
import torch
from d2l import torch as d2l

x = torch.arange(0, 3, 0.1)
d2l.plot(x, [x**2, 2 * x], "x", "y", legend=["x²", "2x"])
print("device:", d2l.try_gpu())
"""


BESIDE = """\
# Keep Colab's own PyTorch, add d2l by its hash and without the versions of 2023 that it asks for, and try it.
import pathlib
import subprocess
import sys
import tempfile
import time

start = time.time()
WHEELS = \"\"\"\\
{wheels}
\"\"\"
with tempfile.TemporaryDirectory() as folder:
    asked = pathlib.Path(folder) / "d2l.txt"
    asked.write_text(WHEELS)
    pip = [sys.executable, "-m", *"{pip}".split(), str(asked)]
    subprocess.run(pip, check=True)

import torch
from d2l import torch as d2l

torch.manual_seed(0)
data = d2l.SyntheticRegressionData(w=torch.tensor([2, -3.4]), b=4.2)
model = d2l.LinearRegression(lr=0.03)
optimizer = model.configure_optimizers()
before = model.loss(model(data.X), data.y)
before.backward()
optimizer.step()
after = model.loss(model(data.X), data.y)
assert after < before, "a training step did not help"
print("Python", sys.version.split()[0], "| torch", torch.__version__, "| device:", d2l.try_gpu())
print(f"one training step: loss {{before.item():.2f}} → {{after.item():.2f}}")
print(f"d2l is ready after {{time.time() - start:.0f}} s")
"""


def files(table: EnvironmentTable) -> dict[str, str]:
    """Return ``colab.ipynb`` where the environment has linux-64, or d2l for whatever PyTorch is there."""
    if table.beside:
        return _beside(table)
    target = table.target(SERVICES)
    if target is None:
        return {}
    packages = "@EXPLICIT\n" + "".join(f"{explicit.line(package)}\n" for package in target.packages)
    about = (
        f"# {table.title} on Google Colab\n\n"
        f"{table.head(target)}\n\n"
        "1. `Runtime → Change runtime type`: choose a GPU where the environment is for one.\n"
        "2. Run the next two cells; the first one downloads the packages and takes some minutes.\n"
        "3. Start each of your own cells with `%%d2l`. They run in the environment's Python, not in Colab's, "
        "whose Python is newer than d2l allows.\n\n"
        "Checked: not checked on the service."
    )
    install = INSTALL.format(url=MICROMAMBA[0], sha256=MICROMAMBA[1], packages=packages)
    cells = [
        _cell("about", "markdown", about),
        _cell("install", "code", install),
        _cell("magic", "code", MAGIC),
        _cell("try", "code", TRY),
    ]
    gpu = any(package.name == "pytorch-cuda" for package in target.packages)
    return _notebook(table, table.head(target), cells, gpu=gpu)


def _beside(table: EnvironmentTable) -> dict[str, str]:
    """Return the notebook that adds the wheels of the environment to Colab's own packages."""
    about = (
        f"# {table.title} on Google Colab\n\n"
        f"Made from pixi.toml, {table.environment}, by `{table.command}`. Do not edit.\n\n"
        "1. `Runtime → Change runtime type`: choose a GPU.\n"
        "2. Run the next cell: a few seconds, less than 1 MB. Colab's own PyTorch and Python stay.\n\n"
        "For exactly the packages of a lock take `colab.ipynb` of another environment.\n\n"
        "Checked: on a clean Python 3.13 with PyTorch 2.10; not checked on the service.\n"
        "Kaggle and Studio Lab: the same cell, not checked there."
    )
    install = BESIDE.format(wheels="\n".join(lines(table.beside)), pip=" ".join(PIP))
    cells = [_cell("about", "markdown", about), _cell("install", "code", install)]
    return _notebook(table, f"pixi.toml, {table.environment}", cells, gpu=True)


def _notebook(
    table: EnvironmentTable, head: str, cells: list[dict[str, object]], *, gpu: bool
) -> dict[str, str]:
    metadata: dict[str, object] = {
        "colab": {"name": f"{table.title}.ipynb", "provenance": []},
        "d2lenv": {"head": head},
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    if gpu:
        metadata["accelerator"] = "GPU"
    notebook = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return {f"{table.folder}/colab.ipynb": json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"}


def _cell(name: str, kind: str, source: str) -> dict[str, object]:
    cell: dict[str, object] = {"cell_type": kind, "id": name, "metadata": {}}
    if kind == "code":
        cell |= {"execution_count": None, "outputs": []}
    return cell | {"source": source.rstrip("\n").splitlines(keepends=True)}
