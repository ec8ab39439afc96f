"""Small hand-made workspaces and channel snapshots for the tests of solving, locking and checking."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]

HEAD = """\
[workspace]
name = "small"
channels = ["main", "extra"]
platforms = ["linux-64"]
"""

MANIFEST = (
    HEAD
    + """
[dependencies]
app = "*"
"""
)


def record(
    name: str,
    version: str = "1.0",
    build: str = "0",
    *,
    depends: tuple[str, ...] = (),
    constrains: tuple[str, ...] = (),
    subdir: str = "noarch",
) -> dict[str, Any]:
    """One entry of a repodata.json; its hashes are those of its file name."""
    file = f"{name}-{version}-{build}.conda"
    return {
        "fn": file,
        "name": name,
        "version": version,
        "build": build,
        "build_number": 0,
        "depends": list(depends),
        "constrains": list(constrains),
        "sha256": hashlib.sha256(file.encode()).hexdigest(),
        "md5": hashlib.md5(file.encode()).hexdigest(),
        "size": 1000 + len(file),
        "subdir": subdir,
        "license": "MIT",
        "timestamp": 1700000000000,
    }


def write_channel(folder: Path, channel: str, *records: dict[str, Any], platform: str = "linux-64") -> None:
    """``folder/channel/<platform|noarch>/repodata.json`` with ``records``."""
    for subdir in (platform, "noarch"):
        packages = {
            row["fn"]: {key: value for key, value in row.items() if key != "fn"}
            for row in records
            if row["subdir"] == subdir
        }
        path = folder / channel / subdir / "repodata.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            json.dumps({"info": {"subdir": subdir}, "packages": {}, "packages.conda": packages}),
            encoding="utf-8",
        )


def write_snapshot(folder: Path, main: list[dict[str, Any]], extra: list[dict[str, Any]]) -> Path:
    write_channel(folder, "main", *main)
    write_channel(folder, "extra", *extra)
    return folder


def small_snapshot(folder: Path) -> Path:
    """``app`` needs ``lib``; two versions of each, the older ``lib`` only in what is not preferred."""
    return write_snapshot(
        folder,
        [
            record("app", "1.0", depends=("lib >=1",)),
            record("app", "2.0", depends=("lib >=1", "tool")),
            record("lib", "1.5", subdir="linux-64", depends=("__glibc >=2.17",)),
            record("lib", "1.6", subdir="linux-64", depends=("__glibc >=2.17",)),
            record("tool", "0.1"),
            record("tool", "0.2"),
        ],
        [record("lib", "9.0"), record("only-extra", "1.0")],
    )


def write_workspace(root: Path, manifest: str = MANIFEST) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "pixi.toml").write_text(manifest, encoding="utf-8")
    return root


def environ(**variables: str) -> dict[str, str]:
    """This process's environment, speaking English."""
    return {**os.environ, "D2LENV_LANG": "en", "NO_COLOR": "1", "COLUMNS": "200", **variables}


def d2lenv(root: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The real command, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "d2lenv", "--workspace", str(root), *words],
        env=environ(**variables),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


def files(root: Path) -> dict[str, bytes]:
    """Every file of a workspace but the tool's own ``.d2lenv`` folder."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and ".d2lenv" not in path.parts
    }
