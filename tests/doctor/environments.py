"""Environments as installers leave them, made for the tests: dist-info, conda-meta, kernelspecs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from d2lenv import doctor
from d2lenv.doctor.model import Context, Finding
from d2lenv.doctor.probe.hardware import Gpu
from d2lenv.doctor.probe.system import Machine
from d2lenv.prefix.contents.prefix import read_prefix

NO_GPU = Gpu("no-driver", via="NVML", why="NVML Shared Library Not Found")
LINUX = Machine(system="Linux", arch="x86_64", glibc=(2, 36), free_disk=10**12)
_PE = b"MZ" + bytes(58) + b"\x40\0\0\0" + b"PE\0\0\x64\x86"
_ELF = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00\x3e\x00" + bytes(44)


class Environment:
    """A prefix under construction."""

    def __init__(
        self, path: Path, python: str = "3.10", kind: str = "venv", platform: str = "linux-64"
    ) -> None:
        self.path, self.python, self.kind, self.platform = path, python, kind, platform
        win = platform.startswith("win")
        self.site = (
            path / "Lib" / "site-packages" if win else path / "lib" / f"python{python}" / "site-packages"
        )
        self.site.mkdir(parents=True)
        program = path / ("python.exe" if win else "bin/python")
        program.parent.mkdir(exist_ok=True)
        program.write_bytes(_PE if win else _ELF)
        program.chmod(0o755)
        if kind == "conda":
            self.conda("python", f"{python}.0", "h0_0_cpython", channel="conda-forge")
        else:
            (path / "pyvenv.cfg").write_text(f"home = /usr/bin\nversion_info = {python}.1\n")

    def file(self, name: str, text: str = "") -> Path:
        """A file in the prefix."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def module(self, name: str, text: str = "") -> Path:
        """A file in site-packages."""
        return self.file(str(self.site.relative_to(self.path) / name), text)

    def dist(
        self,
        name: str,
        version: str,
        requires: Iterable[str] = (),
        installer: str = "pip",
        files: Mapping[str, str] | None = None,
        requested: bool = False,
        module: str | None = None,
        site: Path | None = None,
    ) -> Path:
        """A distribution with its dist-info; ``module`` is its import folder (default: its name)."""
        site = site or self.site
        folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir(parents=True)
        lines = [
            "Metadata-Version: 2.1",
            f"Name: {name}",
            f"Version: {version}",
            *(f"Requires-Dist: {r}" for r in requires),
        ]
        (folder / "METADATA").write_text(
            "\n".join(lines) + "\n\nThe description: not: read\n", encoding="utf-8"
        )
        (folder / "INSTALLER").write_text(installer + "\n")
        if requested:
            (folder / "REQUESTED").write_text("")
        imported = module if module is not None else name.replace("-", "_")
        contents = {f"{imported}/__init__.py": "", **(files or {})}
        for path, text in contents.items():
            (site / path).parent.mkdir(parents=True, exist_ok=True)
            (site / path).write_text(text, encoding="utf-8")
        record = [f"{path},sha256=x,{len(text.encode())}" for path, text in contents.items()]
        (folder / "RECORD").write_text("\n".join([*record, f"{folder.name}/RECORD,,"]) + "\n")
        return folder

    def conda(
        self,
        name: str,
        version: str,
        build: str = "0",
        channel: str = "conda-forge",
        depends: Iterable[str] = (),
        files: Mapping[str, str] | None = None,
        dist: str | None = None,
    ) -> Path:
        """A conda package: its record, its files and, for ``dist``, Python metadata that it owns."""
        contents = dict(files or {})
        if dist is not None:
            folder = self.dist(dist, version, installer="conda")
            relative = folder.relative_to(self.path).as_posix()
            contents.update({f"{relative}/{f.name}": f.read_text() for f in folder.iterdir()})
        for path, text in contents.items():
            self.file(path, text)
        record: dict[str, Any] = {
            "name": name,
            "version": version,
            "build": build,
            "build_number": 0,
            "channel": f"https://conda.anaconda.org/{channel}/{self.platform}",
            "subdir": self.platform,
            "url": f"https://conda.anaconda.org/{channel}/{self.platform}/{name}-{version}-{build}.tar.bz2",
            "depends": list(depends),
            "files": list(contents),
            "paths_data": {
                "paths_version": 1,
                "paths": [
                    {
                        "_path": path,
                        "path_type": "hardlink",
                        "sha256": hashlib.sha256(text.encode()).hexdigest(),
                        "sha256_in_prefix": hashlib.sha256(text.encode()).hexdigest(),
                    }
                    for path, text in contents.items()
                ],
            },
        }
        return self.file(f"conda-meta/{name}-{version}-{build}.json", json.dumps(record))

    def torch(
        self, version: str = "2.0.1", local: str = "+cu117", cuda: str | None = "11.7", **kwargs: Any
    ) -> Path:
        text = f"__version__ = '{version}{local}'\ndebug = False\ncuda = {cuda!r}\nhip = None\n"
        return self.dist("torch", version, files={"torch/version.py": text}, **kwargs)

    def companion(self, name: str, version: str, local: str = "+cu117", **kwargs: Any) -> Path:
        return self.dist(
            name, version, files={f"{name}/version.py": f"__version__ = '{version}{local}'\n"}, **kwargs
        )

    def kernel(self, name: str, argv: list[str], language: str = "python") -> Path:
        data = {"argv": argv, "display_name": name, "language": language}
        return self.file(f"share/jupyter/kernels/{name}/kernel.json", json.dumps(data))

    def book(self) -> Environment:
        """What the English edition needs, in the versions that it wants."""
        self.torch()
        self.companion("torchvision", "0.15.2")
        self.companion("torchaudio", "2.0.2")
        pins = [
            "jupyter (==1.0.0)",
            "numpy (==1.23.5)",
            "matplotlib (==3.7.2)",
            "matplotlib-inline (==0.1.6)",
        ]
        imports = "import numpy as np\nimport torch\nimport torchvision\nfrom PIL import Image\n"
        self.dist("d2l", "1.0.3", requires=pins, files={"d2l/torch.py": imports + "import os\n"})
        for name, version in (
            ("jupyter", "1.0.0"),
            ("numpy", "1.23.5"),
            ("matplotlib", "3.7.2"),
            ("matplotlib-inline", "0.1.6"),
            ("requests", "2.31.0"),
            ("pandas", "2.0.3"),
            ("scipy", "1.10.1"),
            ("jupyterlab", "4.2.0"),
            ("ipykernel", "6.29.0"),
        ):
            self.dist(name, version)
        self.dist("pillow", "9.4.0", module="PIL")
        self.kernel("python3", ["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"])
        return self

    def context(self, **kwargs: Any) -> Context:
        kwargs.setdefault("home", self.path.parent / "home")
        kwargs.setdefault("machine", LINUX)
        kwargs.setdefault("gpu", NO_GPU)
        return Context(prefix=read_prefix(self.path), **kwargs)

    def context_findings(self, **kwargs: Any) -> tuple[Finding, ...]:
        """All findings, the gravest first."""
        return doctor.examine(self.context(**kwargs))

    def findings(self, **kwargs: Any) -> dict[str, Finding]:
        """Code → finding, the gravest of each code."""
        found: dict[str, Finding] = {}
        for finding in self.context_findings(**kwargs):
            found.setdefault(finding.code, finding)
        return found


def commands(finding: Finding) -> list[str]:
    return [str(command) for command in finding.fix]


def spoil(path: Path) -> None:
    """Make a file unreadable for everyone, root too: a link to itself."""
    path.unlink()
    path.symlink_to(path.name)
