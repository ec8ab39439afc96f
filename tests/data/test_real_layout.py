"""The installed d2l, torchvision and torch find the data where they are laid, without a network."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import pickle
import struct
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from d2lenv.data import store
from d2lenv.data.prepare import altered, prepare, stamps, variables
from d2lenv.data.table import Table, needs_of, read
from d2lenv.prefix import locations

PREFIX = os.environ.get("D2LENV_REAL_PREFIX", "")

pytestmark = pytest.mark.skipif(
    not PREFIX, reason="not checked: D2LENV_REAL_PREFIX names no prefix with d2l and torchvision"
)

# The stand-ins have digests of their own; they are put into the tables of the installed packages.
CODE = """
import json, os, sys, socket
def refuse(*_, **__): raise OSError("the network was asked")
socket.socket.connect = socket.getaddrinfo = refuse
known = json.loads(sys.argv[1])
import torch, torchvision
from d2l import torch as d2l
mnist = torchvision.datasets.MNIST
mnist.resources = [(name, known["MNIST/raw/" + name]) for name, _ in mnist.resources]
cifar = torchvision.datasets.CIFAR10
cifar.tgz_md5 = known[cifar.filename]
for row in [*cifar.train_list, *cifar.test_list]:
    row[1] = known[row[0]]
cifar.meta = cifar.meta | {"md5": known["batches.meta"]}
d2l.DATA_HUB["words"] = ("http://nowhere.test/words.zip", known["words.zip"])
print("mnist", len(mnist("./temp", train=True, download=True)))
print("cifar", len(cifar("../data", train=True, download=True)))
print("ready", len(cifar("../unversioned", train=False, download=False)))
print("words", open(os.path.join(d2l.download_extract("words"), "words.txt")).read())
found = torch.hub.load_state_dict_from_url("http://nowhere.test/" + known["net"], check_hash=True)
print("net", found["a"])
"""


def idx(kind: int, shape: tuple[int, ...]) -> bytes:
    size = 1
    for length in shape:
        size *= length
    return gzip.compress(struct.pack(f">BBBB{len(shape)}I", 0, 0, kind, len(shape), *shape) + bytes(size))


BATCH = """
import numpy, pickle, sys
sys.stdout.buffer.write(pickle.dumps({"data": numpy.zeros((2, 3072), "uint8"), "labels": [0, 1]}))
"""


def told(code: str) -> bytes:
    """What the prefix's Python writes."""
    return subprocess.run([python(), "-c", code], stdout=subprocess.PIPE, check=True, timeout=120).stdout


def cifar(known: dict[str, str]) -> bytes:
    packed, batch = io.BytesIO(), told(BATCH)
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name in [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta"]:
            content = pickle.dumps({"label_names": ["a", "b"]}) if name == "batches.meta" else batch
            known[name] = hashlib.md5(content).hexdigest()
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def python() -> Path:
    return locations.interpreter(Path(PREFIX))


def words() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("words/words.txt", "time machine")
    return packed.getvalue()


def make(shared: Path) -> tuple[Table, dict[str, str]]:
    """Fill ``shared`` with stand-ins; return their table, and all that the installed packages must know."""
    known: dict[str, str] = {}
    net = told("import torch, sys; torch.save({'a': 7}, sys.stdout.buffer)")
    known["net"] = f"net-{hashlib.sha256(net).hexdigest()[:8]}.pth"
    content = {
        "MNIST/raw/train-images-idx3-ubyte.gz": idx(8, (5, 28, 28)),
        "MNIST/raw/train-labels-idx1-ubyte.gz": idx(8, (5,)),
        "MNIST/raw/t10k-images-idx3-ubyte.gz": idx(8, (3, 28, 28)),
        "MNIST/raw/t10k-labels-idx1-ubyte.gz": idx(8, (3,)),
        "cifar-10-python.tar.gz": cifar(known),
        "words.zip": words(),
        f"hub/checkpoints/{known['net']}": net,
    }
    rows: dict[str, list[dict[str, object]]] = {}
    for path, data in content.items():
        (shared / path).parent.mkdir(parents=True, exist_ok=True)
        (shared / path).write_bytes(data)
        kind = "sha1" if path == "words.zip" else "sha256" if path.startswith("hub/") else "md5"
        known[path] = hashlib.new(kind, data).hexdigest()
        digest = {"sha256-prefix": known[path][:8]} if kind == "sha256" else {kind: known[path]}
        rows.setdefault(path.partition("/")[0], []).append({"path": path, "urls": [], **digest})
    needs = [
        ["MNIST", "./temp"],
        ["cifar-10-python.tar.gz", "../data"],
        ["words.zip", "../data"],
        ["hub", ""],
    ]
    needs.append(["cifar-10-python.tar.gz", "../unversioned", "unpacked"])
    sets = [{"name": name, "sources": [], "files": files} for name, files in rows.items()]
    return read(json.dumps({"sets": sets, "needs": {"en": {"chapter/one.ipynb": needs}}})), known


def test_they_find_everything_offline_and_the_shared_files_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared, folder, torch_home = tmp_path / "shared", tmp_path / "book" / "chapter", tmp_path / "torch"
    monkeypatch.setattr("d2lenv.data.table.SIZES", {})
    table, known = make(shared)
    folder.mkdir(parents=True)
    files = store.files_of(table.sets)
    before = stamps(shared, files)
    assert prepare(folder, needs_of(table, "en", "chapter/one.ipynb"), shared, torch_home).missing == ()
    done = subprocess.run(
        [python(), "-c", CODE, json.dumps(known)],
        cwd=folder, env=os.environ | variables(torch_home), capture_output=True, encoding="utf-8",
        timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for line in ("mnist 5", "cifar 10", "ready 2", "words time machine", "net 7"):
        assert line in done.stdout.splitlines()
    assert altered(shared, before) == ()
    assert stamps(shared, files) == before
    assert sorted(path.name for path in shared.rglob("*") if path.is_file()) == sorted(
        Path(file.path).name for file in files
    )
