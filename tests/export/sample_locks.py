"""Lock files as people have them, in formats 4 to 7, for the exports' round trips.

The conda records are real (``data/records.json``, out of this project's lock); the addresses of wheels are of
a host that does not exist, and so are their hashes (sha256 of the file's name).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

Record = dict[str, Any]

RECORDS: dict[str, Record] = json.loads(
    (Path(__file__).parent / "data" / "records.json").read_text(encoding="utf-8")
)
CONDA_FORGE = "https://conda.anaconda.org/conda-forge/"
PYTORCH = "https://conda.anaconda.org/pytorch/"
NVIDIA = "https://conda.anaconda.org/nvidia/"


@dataclass(frozen=True)
class Wheel:
    name: str
    version: str
    url: str
    sha256: str = ""
    requires: tuple[str, ...] = ()


def wheel(name: str, version: str, *requires: str, end: str = "-py3-none-any.whl") -> Wheel:
    file = f"{name.replace('-', '_')}-{version}{end}"
    digest = hashlib.sha256(file.encode()).hexdigest()
    return Wheel(name, version, f"https://wheels.example/packages/{file}", digest, requires)


@dataclass(frozen=True)
class Env:
    channels: tuple[str, ...]
    conda: Mapping[str, Sequence[Record]]
    wheels: Mapping[str, Sequence[Wheel]] = field(default_factory=dict)
    sources: Mapping[str, Sequence[str]] = field(default_factory=dict)


def pick(platform: str, *names: str) -> list[Record]:
    return [dict(RECORDS[f"{platform}/{name}"]) for name in names]


def without(record: Record, *keys: str) -> Record:
    return {key: value for key, value in record.items() if key not in keys}


def text(version: int, environments: Mapping[str, Env], platforms: Mapping[str, str] | None = None) -> str:
    """A pixi.lock of that format; JSON is YAML, so values are quoted as JSON.

    Args:
        platforms: format 7: platform name → subdir, where they differ.
    """
    lines = [f"version: {version}"]
    if version >= 7:
        lines.append("platforms:")
        for name in sorted({platform for env in environments.values() for platform in env.conda}):
            lines.append(f"- name: {name}")
            if platforms and name in platforms:
                lines.append(f"  subdir: {platforms[name]}")
    lines.append("environments:")
    packages: dict[str, list[str]] = {}
    for name, env in environments.items():
        lines += [f"  {json.dumps(name)}:", "    channels:"]
        lines += [f"    - url: {json.dumps(channel)}" for channel in env.channels]
        if any(env.wheels.values()):
            lines += ["    indexes:", "    - https://wheels.example/simple"]
        lines.append("    packages:")
        for platform, records in env.conda.items():
            wheels, sources = env.wheels.get(platform, ()), env.sources.get(platform, ())
            lines.append(f"      {json.dumps(platform)}:" + ("" if records or wheels or sources else " []"))
            for record in records:
                lines.append(f"      - conda: {json.dumps(record['url'])}")
                packages[record["url"]] = conda_entry(version, record)
            for source in sources:
                lines.append(f"      - conda: {json.dumps(source)}")
                packages[source] = source_entry(version, source)
            for one in wheels:
                lines.append(f"      - pypi: {json.dumps(one.url)}")
                packages[one.url] = wheel_entry(version, one)
    lines.append("packages:" if packages else "packages: []")
    for entry in packages.values():
        lines += entry
    return "\n".join(lines) + "\n"


def write_named(folder: Path) -> Path:
    """A lock with a named platform beside the bare one of its subdir; pixi writes its promise so."""
    bare, more = pick("linux-64", "bzip2"), pick("linux-64", "bzip2", "libzlib")
    env = Env((CONDA_FORGE,), {"linux-64": bare, "linux-cuda": more, "osx-64": pick("osx-64", "bzip2")})
    found = text(7, {"default": env}, {"linux-cuda": "linux-64"})
    subdir = "  subdir: linux-64\n"
    path = folder / "pixi.lock"
    path.write_text(
        found.replace(subdir, subdir + "  virtual-packages:\n  - __cuda=12.8\n"), encoding="utf-8"
    )
    return path


def conda_entry(version: int, record: Record) -> list[str]:
    head = [f"- conda: {json.dumps(record['url'])}"]
    if version < 6:
        head = ["- kind: conda", f"  url: {json.dumps(record['url'])}"]
        keys = ("name", "version", "build", "build_number", "subdir", "noarch")
    else:
        keys = ("build_number",)
        if record.get("spell-out"):  # what the address alone would not say
            keys = ("name", "version", "build", "subdir", "build_number")
    rest = ("sha256", "md5", "depends", "license", "size", "timestamp")
    return head + [f"  {key}: {json.dumps(record[key])}" for key in (*keys, *rest) if key in record]


def source_entry(version: int, path: str) -> list[str]:
    common = ["  name: ours", "  version: 0.1.0", "  build: h0_0", "  subdir: linux-64", "  depends: []"]
    return [f"- conda: {json.dumps(path)}", *common] if version >= 6 else []


def wheel_entry(version: int, one: Wheel) -> list[str]:
    lines = [f"- pypi: {json.dumps(one.url)}"]
    if version < 6:
        lines = ["- kind: pypi", f"  url: {json.dumps(one.url)}"]
        if one.url.startswith("./"):
            lines = ["- kind: pypi", f"  path: {json.dumps(one.url)}"]
    lines += [f"  name: {one.name}", f"  version: {json.dumps(one.version)}"]
    if one.sha256:
        lines.append(f"  sha256: {one.sha256}")
    if one.requires:
        lines.append(f"  requires_dist: {json.dumps(list(one.requires))}")
    return lines


_LINUX = pick("linux-64", "_openmp_mutex", "llvm-openmp", "bzip2", "cycler", "tzdata")
_WIN = pick("win-64", "bzip2", "ucrt", "cycler", "colorama")
_MAC = pick("osx-arm64", "bzip2", "libzlib")
_INTEL = pick("osx-64", "bzip2", "libzlib")
_PIP = pick("linux-64", "pip", "setuptools", "cycler")
_WHEELS = (
    wheel("charset-normalizer", "3.3.2"),
    wheel(
        "requests", "2.31.0", "charset-normalizer<4,>=2", "PySocks!=1.5.7,>=1.5.6; extra == 'socks'", "cycler"
    ),
    wheel("rouge-score", "0.1.2", end=".tar.gz"),
)


def _other_channel(record: Record, channel: str) -> Record:
    return record | {"url": record["url"].replace(CONDA_FORGE, channel)}


def good() -> dict[str, str]:
    """Name → lock that can be exported."""
    one = Env((CONDA_FORGE,), {"linux-64": _LINUX})
    many = Env((CONDA_FORGE,), {"linux-64": _LINUX, "win-64": _WIN, "osx-arm64": _MAC, "osx-64": _INTEL})
    cuda = Env(
        (NVIDIA, CONDA_FORGE, PYTORCH),
        {"linux-64": [*_LINUX, *pick("linux-64", "cuda-cudart", "libcurand", "pytorch-mutex")]},
    )
    pypi = Env((CONDA_FORGE,), {"linux-64": _PIP}, {"linux-64": _WHEELS})
    mixed = Env(
        (CONDA_FORGE,), {"linux-64": _PIP, "win-64": _WIN}, {"linux-64": _WHEELS, "win-64": _WHEELS[:2]}
    )
    found: dict[str, str] = {}
    for version in (4, 5, 6, 7):
        found[f"v{version}-one-environment"] = text(version, {"default": one})
        found[f"v{version}-four-platforms"] = text(version, {"default": many})
        found[f"v{version}-several-environments"] = text(
            version, {"default": one, "cuda": cuda, "docs": many}
        )
        found[f"v{version}-pypi"] = text(version, {"default": pypi})
        found[f"v{version}-pypi-on-two-platforms"] = text(version, {"default": mixed, "plain": one})
    bare = without(RECORDS["linux-64/d2l"], "md5", "sha256", "size")
    sha_only = without(RECORDS["linux-64/bzip2"], "md5")
    found["v6-a-record-without-hash"] = text(
        6, {"default": Env((CONDA_FORGE,), {"linux-64": [*_LINUX, bare]})}
    )
    found["v7-a-record-with-sha256-alone"] = text(
        7, {"default": Env((CONDA_FORGE,), {"linux-64": [sha_only, *pick("linux-64", "tzdata")]})}
    )
    elsewhere = "https://prefix.dev/conda-forge/"
    found["v6-channel-on-another-host"] = text(
        6, {"default": Env((elsewhere,), {"linux-64": [_other_channel(r, elsewhere) for r in _LINUX]})}
    )
    label = "https://conda.anaconda.org/conda-forge/label/python_rc/"
    labelled = [_other_channel(_LINUX[2], label), *_LINUX[3:]]
    found["v6-channel-with-a-label"] = text(6, {"default": Env((label, CONDA_FORGE), {"linux-64": labelled})})
    found["v6-no-packages"] = text(6, {"default": Env((CONDA_FORGE,), {"linux-64": []})})
    found["v6-wheels-without-pip-or-hash"] = text(
        6,
        {
            "default": Env(
                (CONDA_FORGE,), {"linux-64": _LINUX}, {"linux-64": [replace(_WHEELS[0], sha256="")]}
            )
        },
    )
    circle = [
        pick("linux-64", "pip")[0] | {"depends": ["setuptools"]},
        pick("linux-64", "setuptools")[0] | {"depends": ["pip", "cycler >=0.1"]},
        pick("linux-64", "cycler")[0] | {"depends": []},
    ]
    found["v6-a-circle-of-dependencies"] = text(6, {"default": Env((CONDA_FORGE,), {"linux-64": circle})})
    return found


def refused() -> dict[str, tuple[str, str]]:
    """Name → (lock, what the message must name)."""
    local = Wheel("ours", "0.1.0", "./ours")
    git = Wheel("ours", "0.1.0", "git+https://git.example/ours.git?rev=0123456789#" + "0" * 40)
    found: dict[str, tuple[str, str]] = {}
    for version in (4, 5, 6, 7):
        base = {"linux-64": _LINUX}
        found[f"v{version}-a-folder"] = (
            text(version, {"default": Env((CONDA_FORGE,), base, {"linux-64": [local]})}),
            "ours",
        )
        found[f"v{version}-a-git-repository"] = (
            text(version, {"default": Env((CONDA_FORGE,), base, {"linux-64": [git]})}),
            "ours",
        )
    found["v6-a-source-package"] = (
        text(6, {"default": Env((CONDA_FORGE,), {"linux-64": _LINUX}, sources={"linux-64": ["src/ours"]})}),
        "ours",
    )
    return found
