"""Small conda channels for the tests: real packages, an address on the loopback, a workspace's lock."""

from __future__ import annotations

import bz2
import hashlib
import http.server
import io
import json
import socket
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zstandard

from d2lenv.facts import platforms
from d2lenv.workspace import lockfile

# As long as conda-build's own: a binary file has room for any prefix that is not longer.
PLACEHOLDER = "/placeholder" + "_placehold" * 20


@dataclass(frozen=True)
class Link:
    """A symbolic link in a package."""

    target: str


@dataclass(frozen=True)
class Package:
    """What goes into one package.

    Attributes:
        files: path → content; text and bytes with :data:`PLACEHOLDER` in them are declared as such.
        entry_points: for a noarch Python package, ``name = module:function``.
        noarch: ``python``, ``generic`` or empty.
        archive: ``conda`` or ``tar.bz2``.
    """

    name: str
    version: str = "1.0"
    build: str = "0"
    depends: tuple[str, ...] = ()
    files: Mapping[str, str | bytes | Link] = field(default_factory=dict)
    entry_points: tuple[str, ...] = ()
    noarch: str = ""
    archive: str = "conda"

    @property
    def subdir(self) -> str:
        return "noarch" if self.noarch else platforms.current()

    @property
    def stem(self) -> str:
        return f"{self.name}-{self.version}-{self.build}"

    @property
    def place(self) -> str:
        """Where it lies below the channel."""
        return f"{self.subdir}/{self.stem}.{self.archive}"

    def members(self) -> dict[str, tarfile.TarInfo | bytes]:
        """Path in the archive → its content, or the link."""
        return {**{path: _member(value) for path, value in self.files.items()}, **self._info()}

    def data(self) -> bytes:
        """The archive."""
        content = {path: _member(value) for path, value in self.files.items()}
        info = self._info()
        if self.archive == "tar.bz2":
            return bz2.compress(_tar({**content, **info}))
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
            for name, data in {
                "metadata.json": json.dumps({"conda_pkg_format_version": 2}).encode(),
                f"pkg-{self.stem}.tar.zst": zstandard.compress(_tar(content)),
                f"info-{self.stem}.tar.zst": zstandard.compress(_tar(info)),
            }.items():
                archive.writestr(zipfile.ZipInfo(name), data)  # without the time of day
        return target.getvalue()

    def index(self) -> dict[str, Any]:
        index: dict[str, Any] = {
            "name": self.name,
            "version": self.version,
            "build": self.build,
            "build_number": 0,
            "depends": list(self.depends),
            "subdir": self.subdir,
        }
        if self.noarch:
            index["noarch"] = self.noarch
        return index

    def _info(self) -> dict[str, tarfile.TarInfo | bytes]:
        paths = []
        for path, value in self.files.items():
            entry: dict[str, Any] = {"_path": path, "path_type": "hardlink"}
            if isinstance(value, Link):
                entry["path_type"] = "softlink"
            else:
                raw = value.encode() if isinstance(value, str) else value
                entry["sha256"], entry["size_in_bytes"] = hashlib.sha256(raw).hexdigest(), len(raw)
                if PLACEHOLDER.encode() in raw:
                    entry["prefix_placeholder"] = PLACEHOLDER
                    entry["file_mode"] = "text" if isinstance(value, str) else "binary"
            paths.append(entry)
        info: dict[str, Any] = {
            "info/index.json": self.index(),
            "info/paths.json": {"paths": paths, "paths_version": 1},
            "info/about.json": {},
        }
        if self.noarch == "python":
            info["info/link.json"] = {
                "noarch": {"type": "python", "entry_points": list(self.entry_points)},
                "package_metadata_version": 1,
            }
        return {path: json.dumps(value).encode() for path, value in info.items()}


def _member(value: str | bytes | Link) -> tarfile.TarInfo | bytes:
    if isinstance(value, Link):
        link = tarfile.TarInfo()
        link.type, link.linkname = tarfile.SYMTYPE, value.target
        return link
    return value.encode() if isinstance(value, str) else value


def _tar(content: Mapping[str, tarfile.TarInfo | bytes]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for path, value in content.items():
            if isinstance(value, tarfile.TarInfo):
                value.name = path
                archive.addfile(value)
            else:
                member = tarfile.TarInfo(path)
                member.size, member.mode = len(value), 0o755 if path.startswith("bin/") else 0o644
                archive.addfile(member, io.BytesIO(value))
    return target.getvalue()


def python_package(version: str = "3.10.13") -> Package:
    """A ``python`` whose program starts the interpreter of the tests, with the prefix's own packages."""
    site = f"lib/python{'.'.join(version.split('.')[:2])}/site-packages"
    program = (
        "#!/bin/sh\n"
        'here=$(dirname "$(dirname "$0")")\n'
        f'export PYTHONPATH="$here/{site}"\n'
        f'exec "{sys.executable}" "$@"\n'
    )
    return Package(
        "python",
        version,
        "0_cpython",
        files={"bin/python": program, f"bin/python{'.'.join(version.split('.')[:2])}": Link("python")},
    )


def everyday_packages() -> tuple[Package, ...]:
    """One of each kind that an installer has to get right."""
    return (
        python_package(),
        Package(
            "settings",
            files={
                "etc/settings.conf": f"home = {PLACEHOLDER}/share\n",
                "bin/where": f"#!{PLACEHOLDER}/bin/python\nimport sys\nprint(sys.argv[0])\n",
                "lib/libsettings.so.1": b"\x7fELF\0" + PLACEHOLDER.encode() + b"/lib\0rest\0",
                "lib/libsettings.so": Link("libsettings.so.1"),
            },
        ),
        Package("oldstyle", files={"share/oldstyle.txt": "bzip2\n"}, archive="tar.bz2"),
        Package(
            "greet",
            build="pyhd8ed1ab_0",
            depends=("python",),
            files={
                "site-packages/greet/__init__.py": "def main():\n    print('hello from', __file__)\n",
                "site-packages/greet-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: greet\n",
            },
            entry_points=("greet = greet:main",),
            noarch="python",
        ),
        Package(
            "scripted",
            files={
                "bin/.scripted-post-link.sh": '#!/bin/sh\ntouch "$PREFIX/post-link-ran"\n',
                "share/scripted.txt": "x\n",
            },
        ),
    )


class _Handler(http.server.SimpleHTTPRequestHandler):
    delay_s = 0.0
    trickle = ""
    at_once = 1
    over: threading.Event

    def do_GET(self) -> None:
        if self.trickle and self.path.endswith(self.trickle):
            self._trickle()
            return
        if self.delay_s and self.path.endswith((".conda", ".tar.bz2", ".whl")):
            self.over.wait(self.delay_s)
        with suppress(OSError):  # a client that was stopped does not wait for its answer
            super().do_GET()

    def _trickle(self) -> None:
        """Send the head at once and the file slowly, as one that wants to hold up its reader."""
        data = Path(self.translate_path(self.path)).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        with suppress(OSError):
            for start in range(0, len(data), self.at_once):
                self.wfile.write(data[start : start + self.at_once])
                if self.over.wait(0.2):
                    return

    def log_message(self, *words: object) -> None:
        pass


@contextmanager
def served(folder: Path, *, delay_s: float = 0.0, trickle: str = "", at_once: int = 1) -> Iterator[str]:
    """``folder`` at an address on the loopback; packages come after ``delay_s`` seconds.

    Args:
        trickle: the end of the path of a file that comes slowly.
        at_once: its bytes that come five times a second.
    """

    class Handler(_Handler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(folder))

    Handler.delay_s, Handler.trickle, Handler.over = delay_s, trickle, threading.Event()
    Handler.at_once = at_once
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        Handler.over.set()
        server.shutdown()
        server.server_close()


def closed_port() -> int:
    """A port of the loopback on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_channel(folder: Path, packages: tuple[Package, ...]) -> None:
    """Write ``packages`` and the index below ``folder``."""
    for subdir in ("noarch", platforms.current()):
        (folder / subdir).mkdir(parents=True, exist_ok=True)
        index = {
            package.place.split("/")[1]: package.index() for package in packages if package.subdir == subdir
        }
        text = json.dumps({"packages": {}, "packages.conda": index})
        (folder / subdir / "repodata.json").write_text(text, encoding="utf-8")
    for package in packages:
        (folder / package.place).write_bytes(package.data())


def write_workspace(
    root: Path,
    channel: str,
    packages: tuple[Package, ...],
    *,
    environment: str = "tiny",
    hashes: Mapping[str, str] | None = None,
    tool: str = "",
) -> None:
    """A workspace whose lock has ``packages``, from ``channel``, for this machine's platform.

    Args:
        hashes: package name → sha256 to lock instead of the true one; empty for none at all.
        tool: lines of the environment's ``[tool.d2lenv.environments]`` table.
    """
    root.mkdir(parents=True, exist_ok=True)
    platform = platforms.current()
    names = "".join(f'{package.name} = "*"\n' for package in packages)
    (root / "pixi.toml").write_text(
        f'[workspace]\nname = "w"\nchannels = ["{channel}"]\nplatforms = ["{platform}"]\n'
        'requires-pixi = ">=0.71"\n'
        f'[environments]\n{environment} = {{ features = ["{environment}"], no-default-feature = true }}\n'
        f"[feature.{environment}.dependencies]\n{names}"
        f'[tool.d2lenv]\nexclude-newer = "2026-11-20T00:00:00Z"\n'
        f"[tool.d2lenv.environments.{environment}]\n{tool}",
        encoding="utf-8",
    )
    listed = "".join(f"      - conda: {channel}{package.place}\n" for package in packages)
    described = ""
    for package in sorted(packages, key=lambda package: package.place):
        described += f"- conda: {channel}{package.place}\n"
        sha256 = (hashes or {}).get(package.name, hashlib.sha256(package.data()).hexdigest())
        if sha256:
            described += f"  sha256: {sha256}\n"
        if package.noarch:
            described += f"  noarch: {package.noarch}\n"
        if package.depends:
            described += "  depends:\n" + "".join(f"  - {text}\n" for text in package.depends)
        described += f"  size: {len(package.data())}\n"
    (root / "pixi.lock").write_text(
        f"version: 6\nenvironments:\n  {environment}:\n    channels:\n    - url: {channel}\n"
        f"    packages:\n      {platform}:\n{listed}packages:\n{described}",
        encoding="utf-8",
    )
    lockfile.read(root / "pixi.lock")
