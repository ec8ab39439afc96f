"""The environments of this project are healthy: their locked records, as conda writes them, raise nothing."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from d2lenv.doctor.rules import drift
from d2lenv.prefix.contents.prefix import read_prefix
from d2lenv.workspace import lockfile, manifest
from doctor.environments import LINUX, Environment

ROOT = Path(__file__).parents[2]
SPACE = manifest.load(ROOT)
LOCK = lockfile.of(SPACE)
# conda name → name of the Python metadata that the package brings, for those that the findings look at.
METADATA = {
    "pytorch": "torch",
    **{name: name for name in ("torchvision", "torchaudio", "numpy", "d2l", "pandas", "scipy", "requests")},
    **{
        name: name
        for name in ("matplotlib-inline", "jupyterlab", "ipykernel", "setuptools", "pillow", "jupyter")
    },
    "matplotlib-base": "matplotlib",
}
MACHINES = {
    "linux-64": LINUX,
    "osx-64": dataclasses.replace(LINUX, system="Darwin", glibc=None, macos=(13, 0)),
    "osx-arm64": dataclasses.replace(LINUX, system="Darwin", arch="arm64", glibc=None, macos=(13, 0)),
    "win-64": dataclasses.replace(LINUX, system="Windows", arch="AMD64", glibc=None),
}
LEARNERS = [key for key in LOCK.pairs() if key[0] != "dev"]


@pytest.mark.parametrize(("name", "platform"), LEARNERS)
def test_a_locked_environment_has_neither_errors_nor_warnings(
    tmp_path: Path, name: str, platform: str
) -> None:
    subdir = SPACE.environments[name].targets[platform].subdir
    env = Environment(tmp_path / ".pixi" / "envs" / name, kind="conda", platform=subdir)
    (env.path / "conda-meta" / "python-3.10.0-h0_0_cpython.json").unlink()
    for record in LOCK.records(name, platform):
        channel = str(record.url).split("/")[-3]
        dist = METADATA.get(record.name.normalized)
        module = "PIL" if dist == "pillow" else (dist or "").replace("-", "_")
        file = env.conda(
            record.name.normalized,
            str(record.version),
            str(record.build),
            channel=channel,
            depends=[str(item) for item in record.depends],
            dist=dist,
        )
        data = json.loads(file.read_text())
        data["subdir"] = record.subdir
        file.write_text(json.dumps(data))
        if dist:
            env.module(f"{module}/__init__.py")
    if name == "modern":  # whose d2l is a wheel beside the conda packages
        env.dist("d2l", "1.0.3")
    env.module(
        "d2l/torch.py", "import numpy as np\nimport torch\nimport torchvision\nfrom PIL import Image\n"
    )
    env.kernel("python3", [str(read_prefix(env.path).python), "-m", "ipykernel_launcher"])
    env.file("d2lenv.json", json.dumps({"environment": name, "engine": "rattler", "platform": platform}))
    expected = drift.expected(read_prefix(env.path), ROOT)
    assert expected is not None
    found = env.findings(machine=MACHINES[subdir], expected=expected)
    bad = {code: f.title for code, f in found.items() if f.severity in ("error", "warning")}
    assert bad == {}
