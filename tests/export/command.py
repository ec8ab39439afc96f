"""A small workspace and the command itself, for the tests of the exports as a whole."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result

from d2lenv.cli.main import cli
from export.sample_locks import CONDA_FORGE, Env, pick, text

MANIFEST = """\
[workspace]
name = "sample"
channels = ["conda-forge"]
platforms = ["linux-64", "win-64"]

[environments]
default = { features = ["a"] }
cpu = { features = ["a"] }
gone = { features = ["a"] }

[feature.a.dependencies]
cycler = "0.12.*"
bzip2 = { version = "1.0.*", channel = "conda-forge" }
tzdata = "*"

[tool.d2lenv.environments.default]
export = false

[tool.d2lenv.environments.cpu]
binder = true
"""


def lock_text(*names: str, **changes: str) -> str:
    (bzip2,) = pick("linux-64", "bzip2")
    records = {
        "linux-64": [*pick("linux-64", "cycler", "tzdata"), bzip2 | changes],
        "win-64": pick("win-64", "cycler", "bzip2"),
    }
    return text(7, {name: Env((CONDA_FORGE,), records) for name in names})


def run(root: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, ["--workspace", str(root), "export", *words], standalone_mode=False)


def code(result: Result) -> int:
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return int(result.return_value)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
