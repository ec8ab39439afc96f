"""Libraries that ask for an executable stack: newer C libraries refuse them unless a variable allows it.

PyTorch before 2.0 asks for one, by an oversight of its build. glibc's NEWS for 2.41: dlopen no longer makes
the stack executable. The tunable ``glibc.rtld.execstack=2`` brings the former behaviour back for a process.
"""

from __future__ import annotations

import os
import platform
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

from d2lenv.base.console import note
from d2lenv.base.messages import tr
from d2lenv.prefix import locations
from d2lenv.prefix.contents.model import Unreadable
from d2lenv.prefix.contents.text import open_file, reason

VARIABLE, ALLOWED = "GLIBC_TUNABLES", "glibc.rtld.execstack=2"

_REFUSED_SINCE = (2, 41)
_PT_GNU_STACK, _PF_X = 0x6474E551, 1
_HEADER, _ENTRY = 64, 56
_MOST_ENTRIES = 64


def variables(prefix: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that a program of ``prefix`` needs to load its libraries here, and say so once."""
    version = glibc()
    if not refused(version, environ) or not asking(locations.site_packages(prefix), []):
        return {}
    _tell()
    return {VARIABLE: ":".join(filter(None, [environ.get(VARIABLE, ""), ALLOWED]))}


@cache
def _tell() -> None:
    note(
        tr(
            "this PyTorch needs an executable stack, which this system's glibc refuses: its programs are "
            "started with {variable}={value}",
            variable=VARIABLE,
            value=ALLOWED,
        )
    )


def glibc() -> tuple[int, int] | None:
    """Return the version of this system's C library, None if it is not glibc."""
    if platform.system() != "Linux":
        return None
    # Not `platform.libc_ver(file)`: that is the oldest C library which the file can run with.
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (AttributeError, OSError, ValueError):  # musl
        return None
    match = re.match(r"(\d+)\.(\d+)", version) if name == "glibc" else None
    return (int(match.group(1)), int(match.group(2))) if match else None


def refused(version: tuple[int, int] | None, environ: Mapping[str, str]) -> bool:
    """Return True if this glibc refuses executable stacks and no variable allows them."""
    return version is not None and version >= _REFUSED_SINCE and ALLOWED not in environ.get(VARIABLE, "")


def asking(sites: Iterable[Path], trouble: list[Unreadable]) -> list[Path]:
    """Return PyTorch's libraries in site-packages folders that ask for an executable stack."""
    return [path for path in _libraries(sites) if _asks(path, trouble)]


def _libraries(sites: Iterable[Path]) -> Iterator[Path]:
    """Yield the libraries that `import torch` and `import torchvision` load."""
    for site in sites:
        for folder in ("torch/lib", "torch", "torchvision", "torchvision.libs"):
            try:
                yield from sorted(p for p in (site / folder).iterdir() if ".so" in p.name)
            except (OSError, ValueError):
                continue


def _asks(path: Path, trouble: list[Unreadable]) -> bool:
    """Read the program headers of a 64-bit little-endian ELF file; any other file wants nothing."""
    try:
        with open_file(path) as file:
            head = file.read(_HEADER)
            if len(head) < _HEADER or head[:6] != b"\x7fELF\x02\x01":
                return False
            (offset,), (size, count) = struct.unpack_from("<Q", head, 32), struct.unpack_from("<HH", head, 54)
            if size != _ENTRY or count > _MOST_ENTRIES:
                return False
            file.seek(offset)
            table = file.read(size * count)
    except (OSError, ValueError, OverflowError) as error:
        trouble.append(Unreadable(path, reason(error)))
        return False
    entries = (struct.unpack_from("<II", table, at) for at in range(0, len(table) - _ENTRY + 1, _ENTRY))
    return any(kind == _PT_GNU_STACK and flags & _PF_X for kind, flags in entries)
