"""Read a whole prefix."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from d2lenv.base.files import absolute
from d2lenv.base.messages import tr
from d2lenv.facts import platforms
from d2lenv.prefix import locations
from d2lenv.prefix.contents.conda_meta import metadata_owners, read_conda_packages
from d2lenv.prefix.contents.distributions import read_site
from d2lenv.prefix.contents.model import CondaPackage, Kernelspec, Kind, Prefix, Site, Unreadable
from d2lenv.prefix.contents.text import (
    entries,
    exists,
    is_folder,
    open_file,
    read_object,
    read_text,
    text_of,
    why_no_folder,
)

_HEADER_LIMIT = 1 << 20
_PROGRAM_LIMIT = 4096


def read_prefix(path: Path) -> Prefix:
    """Read the prefix at ``path``. Never raises for what lies there."""
    trouble: list[Unreadable] = []
    path = absolute(path)
    if not is_folder(path):
        trouble.append(Unreadable(path, why_no_folder(path)))
    conda = tuple(read_conda_packages(path, trouble))
    config = _pyvenv(path, trouble)
    folders = tuple(_site_folders(path))
    version = _python_version(path, conda, config, folders, trouble)
    owners = metadata_owners(conda)
    sites = tuple(read_site(folder, path, owners) for folder in folders)
    for site in sites:
        trouble.extend(site.unreadable)
    program = locations.interpreter(path)
    python = program if exists(program) else None
    platform = _platform(conda, python)
    if python is not None and platform not in platforms.ROWS:
        trouble.append(Unreadable(python, _no_row(platform)))
    return Prefix(
        path=path,
        kind="conda" if is_folder(path / "conda-meta") else "venv" if config else _bare_kind(python, sites),
        python=python,
        python_version=version,
        platform=platform,
        sites=sites,
        conda=conda,
        kernelspecs=tuple(read_kernelspecs(path / "share" / "jupyter" / "kernels", trouble)),
        config=config,
        marker=read_object(path / "d2lenv.json", trouble),
        unreadable=tuple(trouble),
    )


def read_kernelspecs(folder: Path, trouble: list[Unreadable]) -> Iterator[Kernelspec]:
    """Yield the kernelspecs under ``folder`` (``share/jupyter/kernels``), sorted by name."""
    if not is_folder(folder):
        return
    for entry in sorted(entries(folder, trouble), key=lambda item: item.name):
        file = folder / entry.name / "kernel.json"
        if not exists(file):
            continue
        data = read_object(file, trouble)
        argv = data.get("argv")
        if not isinstance(argv, list) or not argv or not all(isinstance(part, str) for part in argv):
            if data:
                trouble.append(Unreadable(file, tr("it has no list `argv`")))
            continue
        yield Kernelspec(
            entry.name, file, tuple(argv), text_of(data, "display_name"), text_of(data, "language")
        )


def _pyvenv(prefix: Path, trouble: list[Unreadable]) -> dict[str, str]:
    file = prefix / "pyvenv.cfg"
    if not exists(file):
        return {}
    lines = (line.partition("=") for line in read_text(file, _HEADER_LIMIT, trouble).splitlines())
    config = {key.strip().lower(): value.strip() for key, equals, value in lines if equals}
    return config or {"": ""}  # an empty pyvenv.cfg still makes it a venv


def _site_folders(prefix: Path) -> Iterator[Path]:
    """Yield the site-packages folders, the one that Python looks in first before the others."""
    seen: set[tuple[int, int]] = set()
    candidates = [prefix / "Lib" / "site-packages"]
    for lib in ("lib", "lib64", "local/lib"):
        ignored: list[Unreadable] = []  # a missing lib is no finding: a prefix need not have each of them
        names = (entry.name for entry in entries(prefix / lib, ignored))
        # Newest first: a prefix that was updated in place may keep the old minor version's folder.
        for name in sorted(
            (n for n in names if re.fullmatch(r"(python|pypy)3(\.\d+)?t?", n)), key=_minor, reverse=True
        ):
            candidates += [prefix / lib / name / kind for kind in ("site-packages", "dist-packages")]
    for folder in candidates:
        try:
            status = folder.stat()
        except (OSError, ValueError):
            continue
        if stat.S_ISDIR(status.st_mode) and (status.st_dev, status.st_ino) not in seen:
            seen.add((status.st_dev, status.st_ino))
            yield folder


def _minor(name: str) -> int:
    digits = name.rpartition(".")[2].rstrip("t")
    # Anything longer than a real minor version is not one (and `int` refuses 5,000 digits).
    return int(digits) if digits.isdecimal() and len(digits) < 4 else -1


def _python_version(
    prefix: Path,
    conda: tuple[CondaPackage, ...],
    config: Mapping[str, str],
    sites: tuple[Path, ...],
    trouble: list[Unreadable],
) -> str:
    for package in conda:
        if package.name == "python" and package.version:
            return package.version
    started = _started_minor(prefix) if config else ""
    for key in ("version_info", "version"):
        if match := re.match(r"\d{1,3}\.\d{1,3}(\.\d{1,3})?", config.get(key, "")):
            said = match.group()
            # pyvenv.cfg is what was true when the environment was made.
            return started if started and not f"{said}.".startswith(f"{started}.") else said
    minor = next(
        (m.group(1) for s in sites if (m := re.match(r"(?:python|pypy)(3\.\d{1,3})", s.parent.name))), ""
    )
    header = prefix / "include" / f"python{minor}" / "patchlevel.h"
    if minor and exists(header):
        text = read_text(header, _HEADER_LIMIT, trouble)
        if match := re.search(r'PY_VERSION\s+"(\d{1,3}\.\d{1,3}\.\d{1,3})', text):
            return match.group(1)
    return minor


def _started_minor(prefix: Path) -> str:
    """Return the version of the Python that a virtual environment links to, as its name or its library
    tells."""
    python = locations.interpreter(prefix)
    try:
        real = python.resolve() if python.is_symlink() and python.exists() else None
    except (OSError, RuntimeError, ValueError):
        return ""
    if real is None:
        return ""
    if match := re.fullmatch(r"(?:python|pypy)(3\.\d{1,3})t?", real.name):
        return match[1]
    ignored: list[Unreadable] = []
    beside = [entry.name for entry in entries(real.parent.parent / "lib", ignored)]
    minors = {match[1] for name in beside if (match := re.fullmatch(r"(?:python|pypy)(3\.\d{1,3})t?", name))}
    return minors.pop() if len(minors) == 1 else ""


def _bare_kind(python: Path | None, sites: tuple[Site, ...]) -> Kind:
    return "python" if python is not None and sites else "unknown"


def _platform(conda: tuple[CondaPackage, ...], python: Path | None) -> str:
    for package in conda:
        if package.subdir and package.subdir != "noarch":
            return package.subdir
    if python is None:
        return ""
    try:
        with open_file(python) as file:
            head: bytes = file.read(_PROGRAM_LIMIT)
    except (OSError, ValueError):
        return ""
    return platforms.of_program(*_program(head))


def _no_row(platform: str) -> str:
    if platform:
        return tr("nothing is known of the platform `{name}`", name=platform)
    return tr("its first bytes name no platform that is known")


def _program(head: bytes) -> tuple[str, int]:
    """Return the format and the processor in a program's header, if it has 64 bits and is little endian."""
    if head[:4] == b"\x7fELF":
        return "ELF", int.from_bytes(head[18:20], "little")
    if head[:4] == b"\xcf\xfa\xed\xfe":
        return "Mach-O", int.from_bytes(head[4:8], "little")
    start = int.from_bytes(head[60:64], "little")
    if head[:2] == b"MZ" and head[start : start + 4] == b"PE\0\0":
        return "PE", int.from_bytes(head[start + 4 : start + 6], "little")
    return "", 0
