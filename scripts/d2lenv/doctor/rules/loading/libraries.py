"""Shared libraries against the system's loader."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from d2lenv.base.messages import tr
from d2lenv.doctor import fixes
from d2lenv.doctor.model import Context, Found, Problem
from d2lenv.prefix.contents.model import Unreadable
from d2lenv.prefix.contents.text import open_file, reason

_REFUSED_SINCE = (2, 41)  # glibc's NEWS for 2.41: dlopen no longer makes the stack executable
_PT_GNU_STACK, _PF_X = 0x6474E551, 1
_HEADER, _ENTRY = 64, 56
_MOST_ENTRIES = 64


def executable_stack(context: Context) -> Iterator[Problem]:
    """A library of this environment asks for an executable stack, as PyTorch before 2.0 does by an oversight
    of its build. Since version 2.41 the C library refuses to load such a library (Debian 13, Ubuntu 25.04,
    Fedora 42, Arch): `import torch` stops with `cannot enable executable stack as shared object requires`.
    The variable allows it for the programs that are started with it; it changes no file."""
    machine = context.machine
    if machine.system != "Linux" or machine.glibc is None or machine.glibc < _REFUSED_SINCE:
        return
    if "glibc.rtld.execstack=2" in context.environ.get("GLIBC_TUNABLES", ""):
        return
    asking = [path for path in _libraries(context) if _wants_executable_stack(context, path)]
    if asking:
        yield Problem(
            "error",
            tr(
                "{name} needs an executable stack, which glibc {version} refuses",
                name=asking[0].name,
                version=".".join(map(str, machine.glibc)),
            ),
            "torch",
            tuple(Found(path.name, "", str(path)) for path in asking),
            (fixes.export("GLIBC_TUNABLES", "glibc.rtld.execstack=2"),),
        )


def _libraries(context: Context) -> Iterator[Path]:
    """Yield the libraries that `import torch` and `import torchvision` load."""
    for site in context.prefix.sites:
        for folder in ("torch/lib", "torch", "torchvision", "torchvision.libs"):
            try:
                yield from sorted(p for p in (site.folder / folder).iterdir() if ".so" in p.name)
            except (OSError, ValueError):
                continue


def _wants_executable_stack(context: Context, path: Path) -> bool:
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
        context.trouble.append(Unreadable(path, reason(error)))
        return False
    entries = (struct.unpack_from("<II", table, at) for at in range(0, len(table) - _ENTRY + 1, _ENTRY))
    return any(kind == _PT_GNU_STACK and flags & _PF_X for kind, flags in entries)
