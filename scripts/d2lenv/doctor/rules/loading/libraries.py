"""Shared libraries against the system's loader."""

from __future__ import annotations

from collections.abc import Iterator

from d2lenv.base.messages import tr
from d2lenv.doctor import fixes
from d2lenv.doctor.model import Context, Found, Problem
from d2lenv.prefix.contents import stack


def executable_stack(context: Context) -> Iterator[Problem]:
    """A library of this environment asks for an executable stack, as PyTorch before 2.0 does by an oversight
    of its build. Since version 2.41 the C library refuses to load such a library (Debian 13, Ubuntu 25.04,
    Fedora 42, Arch): `import torch` stops with `cannot enable executable stack as shared object requires`.
    The variable allows it for the programs that are started with it; it changes no file."""
    machine = context.machine
    if machine.system != "Linux" or machine.glibc is None:
        return
    if not stack.refused(machine.glibc, context.environ):
        return
    asking = stack.asking((site.folder for site in context.prefix.sites), context.trouble)
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
            (fixes.export(stack.VARIABLE, stack.ALLOWED),),
        )
