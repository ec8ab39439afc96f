"""`notebooks/devices.py`: d2l's GPU functions on the devices that are there, and who puts them there."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from d2lenv.base.errors import D2lEnvError
from d2lenv.books import front
from d2lenv.learn import lab
from d2lenv.smoke import devices, interpreter
from d2lenv.smoke import run as smoke
from d2lenv.smoke.report import as_dict
from d2lenv.workspace import manifest, settings
from smokekit import chosen, notebook, scratch, written

ROOT = Path(__file__).parents[1]
FILE = ROOT / "notebooks" / "devices.py"

TORCH = """
import os, types
class device:
    def __init__(self, name): self.name = name
    def __repr__(self): return self.name
cuda = types.SimpleNamespace(device_count=lambda: int(os.environ.get("GPUS", 0)))
backends = types.SimpleNamespace()
if "MPS" in os.environ:
    backends.mps = types.SimpleNamespace(is_available=lambda: os.environ["MPS"] == "1")
"""

# As the two releases have them.
NEW = """
import sys
import torch
d2l = sys.modules[__name__]
def cpu():
    return torch.device('cpu')
def gpu(i=0):
    return torch.device(f'cuda:{i}')
def num_gpus():
    return torch.cuda.device_count()
def try_gpu(i=0):
    if num_gpus() >= i + 1:
        return gpu(i)
    return cpu()
def try_all_gpus():
    return [gpu(i) for i in range(num_gpus())]
"""
OLD = """
import sys
import torch
d2l = sys.modules[__name__]
def try_gpu(i=0):
    if torch.cuda.device_count() >= i + 1:
        return torch.device(f'cuda:{i}')
    return torch.device('cpu')
def try_all_gpus():
    devices = [torch.device(f'cuda:{i}')
             for i in range(torch.cuda.device_count())]
    return devices if devices else [torch.device('cpu')]
"""
TRAIN = """
def train_ch13(net, num_epochs=3, devices=d2l.try_all_gpus(), *, lr=1):
    return num_epochs, devices, lr
"""

ASK = """
import json
from d2l import torch as d2l
names = [name for name in ("gpu", "num_gpus", "try_gpu", "try_all_gpus") if hasattr(d2l, name)]
said = {name: str(getattr(d2l, name)()) for name in names}
said |= {"second": str(d2l.try_gpu(1)), "train": str(d2l.train_ch13(None))}
print(json.dumps(said))
"""
USE = f"import runpy; devices = runpy.run_path({str(FILE)!r}); devices['use']()"


def library(folder: Path, text: str) -> Path:
    (folder / "d2l").mkdir(parents=True)
    (folder / "torch.py").write_text(TORCH, encoding="utf-8")
    (folder / "d2l" / "__init__.py").touch()
    (folder / "d2l" / "torch.py").write_text(text + TRAIN, encoding="utf-8")
    return folder


def ask(folder: Path, *before: str, **environ: str) -> dict[str, str]:
    code = "\n".join([*before, ASK])
    environ |= {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, env=environ, capture_output=True, text=True, check=True, timeout=60)
    said: dict[str, str] = json.loads(done.stdout)
    return said


WHEN = [(USE,), ("import d2l.torch", USE), (USE, USE, "import d2l.torch", USE)]
RELEASES = [pytest.param(NEW, id="1.0.3"), pytest.param(OLD, id="0.17.6")]


def answers(text: str, gpu: str, count: int, every: str, second: str) -> dict[str, str]:
    found = {"try_gpu": gpu, "try_all_gpus": every, "second": second, "train": f"(3, {every}, 1)"}
    return {"gpu": gpu, "num_gpus": str(count), **found} if text == NEW else found


@pytest.mark.parametrize("before", WHEN, ids=["before d2l", "after d2l", "again and again"])
@pytest.mark.parametrize("text", RELEASES)
def test_without_a_gpu_it_is_the_cpu(tmp_path: Path, text: str, before: tuple[str, ...]) -> None:
    assert ask(library(tmp_path, text), *before, MPS="0") == answers(text, "cpu", 0, "[cpu]", "cpu")
    assert ask(tmp_path, *before) == answers(text, "cpu", 0, "[cpu]", "cpu")  # a PyTorch that knows no MPS


@pytest.mark.parametrize("before", WHEN, ids=["before d2l", "after d2l", "again and again"])
@pytest.mark.parametrize("text", RELEASES)
def test_apples_gpu_is_the_first_and_only_one(tmp_path: Path, text: str, before: tuple[str, ...]) -> None:
    found = ask(library(tmp_path, text), *before, MPS="1")
    assert found == answers(text, "mps:0", 1, "[mps:0]", "cpu")


@pytest.mark.parametrize("text", RELEASES)
@pytest.mark.parametrize("gpus", ["1", "2"])
def test_with_nvidias_gpus_the_answers_are_the_books(tmp_path: Path, text: str, gpus: str) -> None:
    library(tmp_path, text)
    assert ask(tmp_path, USE, GPUS=gpus, MPS="1") == ask(tmp_path, GPUS=gpus, MPS="1")


@pytest.mark.parametrize("text", RELEASES)
def test_d2ls_files_stay_as_they_are(tmp_path: Path, text: str) -> None:
    folder = library(tmp_path, text)

    def digests() -> dict[Path, str]:
        files = [path for path in folder.rglob("*") if path.is_file()]
        return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    before = digests()
    ask(folder, USE)
    assert digests() == before


def test_it_says_whether_it_is_on(tmp_path: Path) -> None:
    library(tmp_path, NEW)
    load = f"import runpy; devices = runpy.run_path({str(FILE)!r})"
    ask(tmp_path, load, "assert not devices['on']()", "import d2l.torch", "assert not devices['on']()")
    ask(tmp_path, USE, "assert not devices['on']()", "import d2l.torch", "assert devices['on']()")


# ------------------------------------------------------------------------------------------ who asks for it


def space(tmp_path: Path) -> Path:
    (tmp_path / "pixi.toml").write_text(
        '[workspace]\nname = "w"\nchannels = ["c"]\nplatforms = ["linux-64"]\n'
        "[tool.d2lenv.environments.old]\n[tool.d2lenv.environments.new]\ndevice-fallbacks = true\n",
        encoding="utf-8",
    )
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "devices.py").write_bytes(FILE.read_bytes())
    return tmp_path


@pytest.mark.parametrize(
    ("environment", "asked", "on"),
    [
        ("old", None, False),
        ("old", "any", True),
        ("new", None, True),
        ("new", "book", False),
        ("none-of-these", None, False),
    ],
)
def test_the_environment_decides_unless_the_reader_does(
    tmp_path: Path, environment: str, asked: str | None, on: bool
) -> None:
    root = space(tmp_path)
    found = devices.chosen(lambda: root, environment, asked)
    assert found == (tmp_path / "notebooks" / "devices.py" if on else None)


def test_what_was_asked_for_and_is_not_there_is_said(tmp_path: Path) -> None:
    (space(tmp_path) / "notebooks" / "devices.py").unlink()
    with pytest.raises(D2lEnvError, match=r"devices\.py"):
        devices.chosen(lambda: tmp_path, "old", "any")


def test_our_own_environments_of_the_books_time_run_the_book_as_printed() -> None:
    found = settings.load(manifest.load(ROOT))
    assert {name for name, own in found.items() if own.device_fallbacks} == {"modern", "zh-modern"}


@pytest.mark.parametrize("kernels", [False, True], ids=["forks", "kernels"])
@pytest.mark.parametrize("on", [False, True], ids=["off", "on"])
def test_a_run_has_the_fallbacks_when_they_are_on_and_says_so(
    light_prefix: Path, tmp_path: Path, kernels: bool, on: bool
) -> None:
    python = interpreter.interpreter_of(light_prefix)
    expected = "[cpu]" if on else "[]"
    source = f"from d2l import torch as d2l\nassert str(d2l.try_all_gpus()) == {expected!r}"
    folder = library(written(tmp_path / "nb", one=notebook("assert 'devices' not in dir()", source)), NEW)
    files = scratch(tmp_path / "scratch")
    file = FILE if on else None
    done = smoke.run(python, chosen(folder), files, kernels=kernels, devices=file)
    assert [(one.status, one.reason) for one in done.notebooks] == [("passed", "")]
    assert as_dict(done, "x")["device_fallbacks"] is on


def test_the_labs_kernel_has_them_when_they_are_on(light_prefix: Path, tmp_path: Path) -> None:
    python = interpreter.interpreter_of(light_prefix)
    plain = lab.own_kernel(light_prefix, python, "x")["argv"]
    assert lab.own_kernel(light_prefix, python, "x", FILE)["argv"] == [*plain, *devices.kernel_options(FILE)]


def test_a_books_result_counts_only_under_the_same_functions(tmp_path: Path) -> None:
    book = written(tmp_path / "book", one=notebook("1"))
    asked = front.subject(book, "x", Path("python"), "fingerprint", tmp_path, 0)
    every, _ = front.find(book)
    with_them = front.keys(replace(asked, devices=FILE), every)
    assert front.keys(asked, every) != with_them
    assert with_them == front.keys(replace(asked, devices=FILE), every)
