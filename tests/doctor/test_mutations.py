"""Broken prefixes are the doctor's daily bread: 2,000 of them, no crash, no hang, nothing hostile out.

Whole environments are made once; each example damages one to three places of one of them, examines it, and
puts it back. The seed is fixed, so a failure repeats; D2LENV_MUTATION_SEED tries others.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from d2lenv import doctor
from d2lenv.doctor import show
from d2lenv.doctor.model import Context
from d2lenv.doctor.probe import system
from d2lenv.doctor.probe.hardware import Device, Gpu
from d2lenv.doctor.rules import drift
from d2lenv.prefix.contents.prefix import read_prefix
from doctor.environments import LINUX, NO_GPU, Environment
from doctor.rules.test_sources import overlaid, seed

EXAMPLES = 2100
SECONDS_EACH = 10
SEED = int(os.environ.get("D2LENV_MUTATION_SEED", "20261122"))

HUGE = "9" * 5000
HOSTILE = "\x1b]0;x\x07\x1b[2J\u202e\x9b\n\r\t\x00"
VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    10**400,
    1e308,
    "",
    HUGE,
    HOSTILE,
    [],
    {},
    [None],
    {"a": {"b": []}},
    "../../etc",
)
LINES = (
    "Version: " + HUGE,
    "Version: 1!2.0.post1.dev3+x.y",
    "Name: " + HOSTILE.replace("\n", "").replace("\x00", ""),
    "Requires-Dist: " + "(" * 500,
    "Requires-Dist: numpy>=" + HUGE,
    "Requires-Dist: x; python_version >= '3.x'",
    "Requires-Dist: torch @ file:///\x1b[31m",
    "Requires-Dist: x; extra == 'a' or os_name == 'posix'",
    ": : :",
    "argv",
)
CARDS = Gpu("ok", "535.1", (Device(0, "H100\x1b[0m", (9, 0), 1), Device(1, "?", None, 0)), "NVML")


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def cut(path: Path, chance: random.Random) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: chance.randrange(len(data) + 1)])


def garbage(path: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes() or b"x")
    for _ in range(chance.randint(1, 30)):
        data[chance.randrange(len(data))] = chance.randrange(256)
    path.write_bytes(bytes(data))


def line(path: Path, chance: random.Random) -> None:
    lines = path.read_text("utf-8", "replace").split("\n")
    lines.insert(chance.randrange(len(lines)), chance.choice(LINES))
    if chance.random() < 0.5:
        lines[chance.randrange(len(lines))] = chance.choice(LINES)
    path.write_text("\n".join(lines), encoding="utf-8")


def value(path: Path, chance: random.Random) -> None:
    """Replace one value of a JSON document, at any depth, by one of another type."""
    try:
        data = json.loads(path.read_text("utf-8", "replace"))
    except ValueError:
        line(path, chance)
        return
    place: Any = {"": data}
    key: Any = ""
    while isinstance(place[key], (dict, list)) and place[key] and chance.random() < 0.8:
        place = place[key]
        key = chance.choice(list(place) if isinstance(place, dict) else list(range(len(place))))
    place[key] = chance.choice(VALUES)
    path.write_text(json.dumps(data if key != "" else place[key]), encoding="utf-8")


def gone(path: Path, chance: random.Random) -> None:
    remove(path)


def folder(path: Path, chance: random.Random) -> None:
    remove(path)
    path.mkdir()


def dangling(path: Path, chance: random.Random) -> None:
    remove(path)
    path.symlink_to(chance.choice(["/nowhere", path.name, "..", "\x1b[2J"]))


def pipe(path: Path, chance: random.Random) -> None:
    remove(path)
    os.mkfifo(path)


def renamed(path: Path, chance: random.Random) -> None:
    name = chance.choice(
        [f"~{path.name}", f"{path.name}{HOSTILE}".replace("\x00", ""), "-.dist-info", "a-b-c-d.json"]
    )
    path.rename(path.with_name(name[:200]))


def parent_gone(path: Path, chance: random.Random) -> None:
    remove(path.parent)
    if chance.random() < 0.5:
        path.parent.write_bytes(b"")


DAMAGES: tuple[Callable[[Path, random.Random], None], ...] = (
    cut,
    garbage,
    line,
    value,
    value,
    gone,
    folder,
    dangling,
    pipe,
    renamed,
    parent_gone,
)


def environments(root: Path) -> list[Environment]:
    book = Environment(root / "venv").book()
    book.dist("nvidia-cublas-cu11", "11.10.3.66", module="nvidia")
    book.dist("opencv-python", "4.8", requires=["numpy>=1.21; python_version >= '3.9'"], module="cv2")
    conda = Environment(root / ".pixi" / "envs" / "cuda", kind="conda")
    conda.conda("pytorch", "2.0.1", "py3.10_cuda11.7_cudnn8.5.0_0", channel="pytorch", dist="torch")
    conda.conda("mkl", "2024.1.0", "0")
    conda.conda(
        "torchvision", "0.15.2", "py310_cu117", channel="pytorch", depends=["jpeg"], dist="torchvision"
    )
    conda.conda("d2l", "1.0.3", "0", dist="d2l")
    overlaid(conda)
    marked = Environment(root / "marked")
    marked.file("d2lenv.json", json.dumps({"environment": "zh", "engine": "wheels", "platform": "linux-64"}))
    marked.dist("numpy", "1.23.5")
    requirements = root / "envs" / "zh" / "requirements-linux-64.txt"
    requirements.parent.mkdir(parents=True)
    requirements.write_text("numpy==1.21.5 \\\n    --hash=sha256:aa\nscipy==1.10.1 --hash=sha256:bb\n")
    return [book, conda, seed(root / "windows"), marked]


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    def late(number: int, frame: object) -> None:
        raise TimeoutError(f"still busy after {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def examine(path: Path, root: Path, chance: random.Random) -> None:
    found = read_prefix(path)
    context = Context(
        prefix=found,
        machine=system.Machine(
            system=chance.choice(["Linux", "Darwin", "Windows"]), arch="x86_64", glibc=(2, 17), now=1e9
        )
        if chance.random() < 0.3
        else LINUX,
        gpu=chance.choice([NO_GPU, CARDS]),
        environ={"PYTHONPATH": str(path), "CUDA_VISIBLE_DEVICES": HOSTILE} if chance.random() < 0.3 else {},
        expected=drift.expected(found, root),
        home=path / "share",
        active=chance.random() < 0.5,
    )
    findings = doctor.examine(context)
    text = json.dumps(
        show.as_json(context, findings, doctor.causes(context, findings), ()), ensure_ascii=False
    )
    text += "".join(str(command) for f in findings for command in f.fix if not command.argv)
    text.encode("utf-8")
    assert not [c for c in show.heading(context) + text if not c.isprintable() and c != "\n"]


@pytest.mark.skipif(os.name == "nt", reason="the damage is made with links, pipes and names of POSIX")
def test_no_damage_crashes_or_hangs_the_doctor(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    made = environments(tmp_path)
    # The conda environment's lock is broken as well: parsing the project's own would be most of the time.
    (tmp_path / "pixi.lock").write_text("version: 6\n")
    kept = {env.path: tmp_path / "kept" / env.path.name for env in made}
    for path, copy in kept.items():
        shutil.copytree(path, copy, symlinks=True)
    examined = 0
    for number in range(EXAMPLES):
        env = chance.choice(made)
        files = sorted(path for path in env.path.rglob("*") if path.is_file())
        done = []
        for _ in range(chance.randint(1, 3)):
            path, damage = chance.choice(files), chance.choice(DAMAGES)
            if path.is_file():
                damage(path, chance)
                done.append(f"{damage.__name__} {path.relative_to(env.path)}")
        try:
            with at_most(SECONDS_EACH):
                examine(env.path, tmp_path, chance)
        except Exception as error:
            raise AssertionError(f"example {number}, seed {SEED}: {done}") from error
        examined += 1
        remove(env.path)
        shutil.copytree(kept[env.path], env.path, symlinks=True)
    assert examined >= 2000
