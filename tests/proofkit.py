"""A small workspace that both engines can build, its prefixes, and packages that mean harm."""

from __future__ import annotations

import bz2
import hashlib
import io
import json
import os
import shutil
import stat
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import zstandard

import condakit
import wheelkit
from d2lenv.engines import build
from d2lenv.facts import platforms
from d2lenv.prefix import baseline
from d2lenv.verify.prefix import verification as verify
from d2lenv.verify.prefix.verification import Verification
from d2lenv.workspace import manifest as workspace
from d2lenv.workspace.manifest import Workspace
from d2lenv.workspace.pins import Pin

SITE = f"lib/python{wheelkit.PYTHON}/site-packages"
CONDA_SITE = "lib/python3.10/site-packages"
SHARED_OBJECT = b"\x7fELF" + bytes(range(256)) * 64


@dataclass(frozen=True)
class Home:
    """A checkout whose environment `tiny` both engines build without leaving the loopback.

    Attributes:
        root: the checkout.
        house: the folder of its wheels.
        channel: the folder of its conda channel.
        caches: what RATTLER_CACHE_DIR and UV_CACHE_DIR name.
    """

    root: Path
    house: Path
    channel: Path
    caches: Path

    @property
    def workspace(self) -> Workspace:
        return workspace.load(self.root)

    def build(self, engine: str, prefix: Path, *, fresh: bool = False) -> Path:
        built = build.build(
            self.workspace,
            "tiny",
            engine=engine,
            prefix=prefix,
            fresh=fresh,
            say=lambda _line: None,
        )
        return built.prefix

    def verify(self, prefix: Path, *, quick: bool = False) -> Verification:
        return verify.verify(self.workspace, str(prefix), os.environ, quick=quick)


def packages() -> tuple[condakit.Package, ...]:
    """Every kind of package, and one with compiled code."""
    return (
        *condakit.everyday_packages(),
        condakit.Package("fast", files={f"{CONDA_SITE}/fast.so": SHARED_OBJECT}),
    )


def pins(house: Path) -> list[Pin]:
    return [
        wheelkit.write_greet(house),
        wheelkit.write_wheel(
            house,
            "fast",
            "1.0",
            {
                "fast/__init__.py": "x = 1\n",
                "fast/_c.so": SHARED_OBJECT,
                "fast-1.0.data/data/etc/f.json": "{}",
            },
        ),
    ]


def home(folder: Path, patch: pytest.MonkeyPatch, stack: ExitStack) -> Home:
    """A home in ``folder``: every tool's variables lead to it, its channel is served until ``stack`` ends."""
    for name, value in wheelkit.private_uv(folder, str(folder / "house")).items():
        patch.setenv(name, value)
    patch.setenv("RATTLER_CACHE_DIR", str(folder / "rattler-cache"))
    patch.setenv("no_proxy", "127.0.0.1")
    for name in ("HOME", "XDG_CONFIG_HOME", "PIXI_HOME", "RATTLER_HOME"):
        patch.setenv(name, str(folder / "home"))
    found = packages()
    condakit.write_channel(folder / "channel", found)
    address = stack.enter_context(condakit.served(folder / "channel"))
    condakit.write_workspace(folder / "root", address, found, tool=wheelkit.TOOL)
    wheelkit.write_pins(folder / "root", pins(folder / "house"))
    return Home(folder / "root", folder / "house", folder / "channel", folder)


def copied(prefix: Path, folder: Path) -> Path:
    """The prefix and its baseline as new files in ``folder``: a test may change them."""
    target = folder / prefix.name
    shutil.copytree(prefix, target, symlinks=True)
    shutil.copy2(baseline.path_of(prefix), baseline.path_of(target))
    return target


def flip(path: Path, at: int = -1) -> None:
    """Change one bit of one byte; size and times stay, and so do other names of the same file."""
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.unlink()
    path.write_bytes(data)
    path.chmod(status.st_mode)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


# ------------------------------------------------------------------------------- packages that mean harm


@dataclass(frozen=True)
class Member:
    """One entry of a package's archive, with nothing kept from it."""

    name: str
    data: bytes = b"x"
    kind: bytes = tarfile.REGTYPE
    target: str = ""

    def row(self) -> dict[str, object]:
        return {
            "_path": self.name,
            "path_type": "softlink" if self.kind == tarfile.SYMTYPE else "hardlink",
            "sha256": hashlib.sha256(self.data).hexdigest(),
            "size_in_bytes": len(self.data),
        }


def _tar(members: Iterable[Member], modes: Mapping[str, int]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for member in members:
            info = tarfile.TarInfo(member.name)
            info.type, info.linkname, info.mode = member.kind, member.target, modes.get(member.name, 0o644)
            info.devmajor, info.devminor = 1, 3
            info.size = len(member.data) if info.isreg() else 0
            archive.addfile(info, io.BytesIO(member.data) if info.isreg() else None)
    return buffer.getvalue()


def write_conda(
    path: Path,
    members: Sequence[Member],
    rows: Sequence[Mapping[str, object]],
    modes: Mapping[str, int] | None = None,
) -> None:
    """``NAME-VERSION-BUILD.conda`` or ``.tar.bz2`` whose ``paths.json`` has ``rows``, true or not."""
    modes = modes or {}
    suffix = ".conda" if path.name.endswith(".conda") else ".tar.bz2"
    stem = path.name.removesuffix(suffix)
    name, version, built = stem.rsplit("-", 2)
    index = {
        "name": name,
        "version": version,
        "build": built,
        "build_number": 0,
        "depends": [],
        "subdir": path.parent.name,
    }
    info = [
        Member("info/index.json", json.dumps(index).encode()),
        Member("info/paths.json", json.dumps({"paths": rows, "paths_version": 1}).encode()),
        Member("info/files", "\n".join(str(row["_path"]) for row in rows).encode()),
    ]
    if suffix == ".tar.bz2":
        path.write_bytes(bz2.compress(_tar([*info, *members], modes)))
        return
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", '{"conda_pkg_format_version": 2}')
        archive.writestr(f"pkg-{stem}.tar.zst", zstandard.compress(_tar(members, modes)))
        archive.writestr(f"info-{stem}.tar.zst", zstandard.compress(_tar(info, modes)))


def lock_archives(root: Path, address: str, paths: Sequence[Path]) -> None:
    """A lock of exactly these archives, with their true hashes: it was made by who made the packages."""
    platform = platforms.current()
    places = [f"{address}{path.parent.name}/{path.name}" for path in paths]
    described = "".join(
        f"- conda: {place}\n  sha256: {hashlib.sha256(path.read_bytes()).hexdigest()}\n"
        for place, path in zip(places, paths, strict=True)
    )
    listed = "".join(f"      - conda: {place}\n" for place in places)
    (root / "pixi.lock").write_text(
        f"version: 6\nenvironments:\n  tiny:\n    channels:\n    - url: {address}\n"
        f"    packages:\n      {platform}:\n{listed}packages:\n{described}",
        encoding="utf-8",
    )


def write_hostile_wheel(
    folder: Path, files: Mapping[str, bytes], special: Sequence[tuple[str, str, int]] = ()
) -> Pin:
    """A wheel called `evil`; ``special`` are (name, content, file type) of entries that are no files."""
    pin = wheelkit.write_wheel(folder, "evil", "1.0", {name: data.decode() for name, data in files.items()})
    path = folder / "evil-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "a") as archive:
        for name, content, kind in special:
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = 3, (kind | 0o777) << 16
            archive.writestr(info, content)
    return Pin(pin.name, pin.version, (hashlib.sha256(path.read_bytes()).hexdigest(),))


IS_LINK, IS_PIPE = stat.S_IFLNK, stat.S_IFIFO
POSIX = sys.platform != "win32"
