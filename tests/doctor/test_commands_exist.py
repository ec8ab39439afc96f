"""Every command that the doctor prints exists: PyTorch's builds by version, Python, platform and CUDA.

The judge is plain data, the rows of facts/pytorch/releases.py, and shares no code with the advice.
"""

from __future__ import annotations

import dataclasses
import itertools
import random
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from d2lenv import doctor
from d2lenv.doctor.model import Command
from d2lenv.doctor.rules import plan
from d2lenv.facts import d2l as editions
from d2lenv.facts.pytorch.releases import RELEASES
from doctor.environments import LINUX, NO_GPU, Environment
from doctor.test_advice import CARDS, gpu

# The versions of the package that the channel holds; `test_advice.py` compares with its records.
PYTORCH_CUDA = ("11.6", "11.7", "11.8", "12.1", "12.4")
PLATFORMS = {"linux-64": "Linux", "win-64": "Windows", "osx-64": "Darwin", "osx-arm64": "Darwin"}
PYTHONS = ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13")
ROWS = [name for name, row in RELEASES.items() if row.vision]


def number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def wheel_exists(torch: str, python: str, platform: str, tag: str) -> bool:
    row = RELEASES[torch]
    if not number(row.pythons[0]) <= number(python) <= number(row.pythons[1]):
        return False
    if platform == "osx-64" and number(torch) > (2, 2, 2):
        return False
    if not tag.startswith("cu"):
        return True
    cuda = f"{tag[2:-1]}.{tag[-1]}"
    if platform.startswith("osx") or (platform, cuda) == ("win-64", "10.2"):
        return False
    return not row.builds or cuda in row.builds


def conda_exists(spec: str, platform: str) -> bool:
    """Return True for `pytorch=2.0.1=*cuda11.7*` of the pytorch channel, which ended with 2.5.1."""
    name, version, build = [*spec.split("="), "", ""][:3]
    if name == "pytorch-cuda":
        return version in PYTORCH_CUDA
    cuda = re.search(r"cuda(\d+\.\d)", build)
    if number(version) > (2, 5, 1) or (cuda and platform.startswith("osx")):
        return False
    return cuda is None or cuda[1] in RELEASES[version].builds


def wrong(command: Command, python: str, platform: str) -> Iterator[str]:
    """Yield the words of a command that name what does not exist."""
    words = shlex.split(str(command)) if command.argv else []
    if "venv" in words:
        return
    index = next((word for word in words if "download.pytorch.org" in word), "").rpartition("/")[2]
    for word in words:
        name, _, rest = word.partition("==")
        version, _, tag = rest.partition("+")
        if (
            name == "torch"
            and version in RELEASES
            and not wheel_exists(version, python, platform, tag or index)
        ):
            yield word
        if re.fullmatch(r"pytorch(-cuda)?=\d.*", word) and not conda_exists(word, platform):
            yield word
    asked = dict(re.findall(r"\b(torch|torchvision|torchaudio)==([\d.]+)", " ".join(words)))
    row = RELEASES.get(asked.get("torch", ""))
    if row and "torchvision" in asked and asked["torchvision"] not in row.vision:
        yield "torchvision"
    if row and row.audio and "torchaudio" in asked and asked["torchaudio"] not in row.audio:
        yield "torchaudio"


def real_cases() -> list[tuple[str, ...]]:
    """Return a drawing of the environments that can be there at all: of builds that were published."""
    places = itertools.product(ROWS, PYTHONS, ("linux-64", "win-64", "osx-64"), ("venv", "conda"))
    there = [
        (torch, python, platform, kind)
        for torch, python, platform, kind in places
        if wheel_exists(torch, python, platform, "")
        and (platform != "osx-64" if kind == "venv" else conda_exists(f"pytorch={torch}", platform))
    ]
    cards = (None, *CARDS)
    return random.Random(20261124).sample([(*row, card) for row in there for card in cards], 160)


@pytest.mark.parametrize("case", real_cases(), ids=lambda case: "-".join(map(str, case)))
def test_what_is_printed_for_an_environment_exists(tmp_path: Path, case: tuple[str, ...]) -> None:
    torch, python, platform, kind, card = case
    env = Environment(tmp_path / "env", python=python, platform=platform, kind=kind)
    if kind == "conda":
        env.conda("pytorch", torch, f"py{python}_cpu_0", channel="pytorch", dist="torch")
    else:
        env.dist("pip", "24.0")
        env.torch(torch, local="+cpu", cuda=None)
    env.dist("torchvision", "0.12.0")
    env.dist("numpy", "2.1.0")
    machine = dataclasses.replace(LINUX, system=PLATFORMS[platform], arch="x86_64")
    context = env.context(gpu=gpu(card) if card else NO_GPU, machine=machine)
    findings = doctor.examine(context)
    printed = [c for f in findings for c in f.fix] + [
        c for cause in doctor.causes(context, findings) for c in cause.fix
    ]
    assert printed
    assert not [(word, str(c)) for c in printed for word in wrong(c, python, platform)]


PLANS = random.Random(20261124).sample(
    list(itertools.product((*editions.RELEASES, ""), (*ROWS, ""), (*PYTHONS, "3.14"), PLATFORMS)), 300
)


@pytest.mark.parametrize("case", PLANS, ids=lambda case: "-".join(map(str, case)))
def test_what_a_plan_is_told_to_type_is_a_plan_without_errors(case: tuple[str, ...]) -> None:
    d2l, torch, python, platform = case
    words = [f"python={python}", f"platform={platform}"]
    words += [f"d2l=={d2l}"] * bool(d2l) + [f"torch=={torch}"] * bool(torch)
    for finding in doctor.examine_plan(plan.parse(tuple(words), "linux-64")):
        texts = [str(command) for command in finding.fix]
        new = re.search(r"--python (?:cpython-)?(\d\.\d+)", " ".join(texts))
        specs = dict(word.split("==") for text in texts for word in shlex.split(text) if "==" in word)
        told = new[1] if new else python
        for name, version in specs.items():
            # On Apple silicon the way out is an Intel Python.
            place = "osx-64" if "macos-x86_64" in " ".join(texts) else platform
            if name == "torch":
                assert wheel_exists(version, told, place, ""), (finding.code, texts)
            elif name in ("d2l", "numpy", "pandas", "matplotlib", "scipy"):
                assert not editions.no_wheel(name, version, told, place), (finding.code, texts)
        if {"torch", "d2l"} <= set(specs):
            again = [f"python={told}", f"platform={place}", *(f"{n}=={v}" for n, v in specs.items())]
            judged = doctor.examine_plan(plan.parse(tuple(again), "linux-64"))
            assert [f.code for f in judged if f.severity == "error"] == [], (again, texts)
