"""Every command with `--json`: the same first keys, the verdict, and docs/json.md names what is printed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import pytest

import proofkit
from channelkit import ROOT, d2lenv, small_snapshot, write_workspace
from d2lenv.cli.app import cli
from d2lenv.learn.lab import Lab
from d2lenv.learn.server import RunningLab
from proofkit import Home
from smokekit import notebook, written

# Their keys are data: names of packages, rules, variables.
MAPS = {"packages", "values", "classes", "tolerated", "undone", "proxies", "statement"}

# A command, what it is called in the document, and its exit status.
COMMANDS = {
    "lock --no-wheels --snapshot {channels}": 0,
    "lock --record": 0,
    "check": 0,
    "build tiny --engine wheels": 0,
    "build nope": 2,
    "smoke x --prefix {light}": 1,
    "smoke x --prefix {light} --notebook good": 0,
    "export": 0,
    "export --lock {locked}/pixi.lock --output {locked}/elsewhere --check": 1,
    "doctor {light}": 0,
    "doctor --plan python=3.12 d2l==0.17.6": 1,
    "explain CERTIFICATE_VERIFY_FAILED --prefix {light}": 0,
    "explain nothing": 1,
    "verify {root}/.d2lenv/tiny-wheels": 0,
    "repro tiny --engine wheels --warm": 0,
    "fingerprint tiny": 0,
    "diff {root}/pixi.lock {root}/pixi.lock": 0,
    "diff {root} {root}/.d2lenv/tiny-wheels": 1,
    "attest": 0,
    "saved --prefix {d2l}": 0,
    "saved --prefix {d2l} --notebook {root}/notebooks/good.ipynb": 0,
    "books get en {book}": 0,
    "books get en": 1,
    "books run {root}/notebooks --env tiny --prefix {light} --data {data} --report {data}/report": 1,
    "bundle create tiny --output {data}/room": 1,
    "bundle verify {data}": 2,
    "data list --book zh --folder {data}": 0,
    "data get fra-eng --folder {data} --from {data}": 1,
    "data check --folder {data}": 0,
    "data get nothing": 2,
    "chekc": 2,
    "smoke": 2,
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        home = proofkit.home(tmp_path_factory.mktemp("json"), patch, stack)
        written(home.root / "notebooks", good=notebook("def f():  #@save\n    return 1"), bad=notebook("1/0"))
        yield home


@pytest.fixture(scope="module")
def places(home: Home, light_prefix: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What stands for the words in braces."""
    folder = tmp_path_factory.mktemp("places")
    site = folder / "d2l" / "lib" / "python3.10" / "site-packages"
    (site / "d2l").mkdir(parents=True)
    (site / "d2l-1.0.3.dist-info").mkdir()
    (site / "d2l" / "__init__.py").write_text("", encoding="utf-8")
    (site / "d2l" / "torch.py").write_text("def f():\n    return 1\n", encoding="utf-8")
    with zipfile.ZipFile(folder / "book.zip", "w") as archive:
        archive.writestr("pytorch/chapter_one/a.ipynb", json.dumps(notebook("1")))
    small_snapshot(folder / "channels")
    locked = write_workspace(folder / "locked")
    lock = ["lock", "--no-wheels", "--snapshot", str(folder / "channels")]
    assert d2lenv(locked, *lock).returncode == 0
    return {
        "locked": str(locked),
        "channels": str(folder / "channels"),
        "root": str(home.root),
        "light": str(light_prefix),
        "d2l": str(folder / "d2l"),
        "book": str(folder / "book.zip"),
        "data": str(made_folder(folder / "data")),
    }


def made_folder(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.fixture(scope="module")
def documented() -> dict[str, set[str]]:
    """Heading → every name in its section, the common part included; `a[].b` names both."""
    common, *sections = re.split(r"^## ", (ROOT / "docs" / "json.md").read_text("utf-8"), flags=re.MULTILINE)
    return {
        section.partition("\n")[0]: {
            name for span in re.findall("`([^`]+)`", common + section) for name in re.split(r"\W+", span)
        }
        for section in sections
    }


def keys(data: Any) -> Iterator[str]:
    """The keys of a document and of its rows, to any depth, other than those that are data."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield key
            if key not in MAPS:
                yield from keys(value)
    elif isinstance(data, list):
        for row in data:
            yield from keys(row)


def run(root: Path, words: list[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "d2lenv", "--workspace", str(root), *words, "--json"]
    return subprocess.run(
        command, capture_output=True, encoding="utf-8", timeout=300, env=dict(os.environ), check=False
    )


@pytest.mark.parametrize("words", COMMANDS)
def test_every_document_has_the_same_head_and_is_described(
    home: Home, places: dict[str, str], documented: dict[str, set[str]], words: str
) -> None:
    if "tiny-wheels" in words:
        home.build("wheels", home.root / ".d2lenv" / "tiny-wheels")
    # The locks of the two differ in what they are for: one can be built, the other solved.
    root = places["locked" if words.split()[0] in ("lock", "check", "export") else "root"]
    done = run(Path(root), [word.format(**places) for word in words.split()])
    assert done.returncode == COMMANDS[words], done.stderr
    told = json.loads(done.stdout)
    assert list(told)[:3] == ["schema", "command", "ok"]
    assert told["schema"] == 1
    assert told["ok"] is (done.returncode == 0)
    assert (told["command"] == "error") == ("error" in told)
    assert told["command"] == "error" or words.startswith(told["command"])
    assert not set(keys(told)) - documented[told["command"]]


def test_what_the_lab_prints_is_described_too(documented: dict[str, set[str]]) -> None:
    values = {
        **dict.fromkeys(Lab.__dataclass_fields__, Path()),
        "kernels": ("k",),
        "host": "h",
        "opens": "/lab",
    }
    assert not {*RunningLab(Lab(**values), 1).as_json()} - documented["lab"]


def test_every_command_is_asked_here() -> None:
    groups = {name: command for name, command in cli.commands.items() if isinstance(command, click.Group)}
    names = {f"{group} {name}" for group, command in groups.items() for name in command.commands}
    names |= set(cli.commands) - set(groups)
    # One needs an environment with JupyterLab, both go on until they are stopped: tests/learn/test_server.py
    # and tests/cli/learner/test_data.py read their documents.
    names -= {"lab", "data serve"}
    assert names == {name for name in names if any(words.startswith(name) for words in COMMANDS)}
