"""The commands that findings print, for the examined prefix's own Python and package manager."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from d2lenv.base import process
from d2lenv.doctor.model import Command, Context
from d2lenv.prefix.contents.model import Prefix


def pixi_environment(prefix: Prefix) -> str:
    """Name of the pixi environment that the prefix is, empty when it is none."""
    parts = prefix.path.parts
    return parts[-1] if parts[-3:-1] == (".pixi", "envs") else ""


def _pip(context: Context) -> tuple[str, ...]:
    """``<python> -m pip`` where the prefix has pip; the words before the subcommand."""
    prefix = context.prefix
    if prefix.find("pip") is not None and prefix.python is not None:
        return (str(prefix.python), "-m", "pip")
    return ()


def _uv(context: Context) -> tuple[str, ...]:
    """``uv`` where the PATH has one outside the examined environment, else the one that the tool needs."""
    found = process.which("uv", context.environ, outside=[context.prefix.path])
    return ("uv",) if found else (sys.executable, "-m", "uv")


def _safe(context: Context) -> bool:
    """Whether pip may change this prefix unasked: a venv, or a conda environment that is not the base one."""
    prefix = context.prefix
    if prefix.kind == "conda":
        return not prefix.conda_package("conda")
    return prefix.kind == "venv" and prefix.python is not None


def pip_install(context: Context, *specs: str, index: str = "", options: tuple[str, ...] = ()) -> Command:
    """Install ``specs`` into the prefix with pip, or with uv where it has no pip."""
    tail = (*options, *specs, *(("--index-url", index) if index else ()))
    # No `-m pip`: the prefix was made by uv, which needs to be told which Python is meant.
    pip = _pip(context)
    argv = (
        (*pip, "install", *tail)
        if pip
        else (*_uv(context), "pip", "install", "--python", _python(context), *tail)
    )
    return Command(argv, safe=_safe(context), installs=specs, index=index)


def pip_uninstall(context: Context, *names: str) -> Command:
    pip = _pip(context)
    argv = (
        (*pip, "uninstall", "--yes", *names)
        if pip
        else (*_uv(context), "pip", "uninstall", "--python", _python(context), *names)
    )
    return Command(argv, safe=_safe(context), removes=names)


def conda_install(context: Context, *specs: str, channels: tuple[str, ...] = ()) -> Command:
    """Install with the conda that is there; never run unasked, it may change many packages."""
    tail = tuple(word for channel in channels for word in ("-c", channel))
    return Command((_conda(context), "install", "--prefix", str(context.prefix.path), *specs, *tail))


def torch_channels(torch: str) -> tuple[str, ...]:
    """Return where conda finds PyTorch ``torch`` and its CUDA libraries."""
    return ("pytorch", "conda-forge" if torch.startswith("1.12") else "nvidia")


def reinstall(context: Context, *names: str) -> Command:
    """Put a conda package's own files back."""
    environment = pixi_environment(context.prefix)
    if environment:
        return Command(("pixi", "reinstall", "--environment", environment, *names))
    return Command(
        (_conda(context), "install", "--prefix", str(context.prefix.path), "--force-reinstall", *names)
    )


def install(context: Context, conda: tuple[str, ...], pip: tuple[str, ...], index: str = "") -> Command:
    """``conda`` specs in a conda prefix, ``pip`` specs elsewhere."""
    if context.prefix.kind == "conda":
        return conda_install(context, *conda)
    return pip_install(context, *pip, index=index)


def remove(path: Path) -> Command:
    """Remove a folder by hand: the doctor deletes nothing itself."""
    words = ("cmd", "/c", "rmdir", "/s", "/q") if os.name == "nt" else ("rm", "-r", "--")
    return Command((*words, str(path)))


def other_python(context: Context) -> Command:
    """Make an environment with the Python of the English book beside this one."""
    return Command(("uv", "venv", "--python", "3.10", f"{context.prefix.path}-3.10"))


def export(name: str, value: str) -> Command:
    """Set a variable in this shell; it changes no file."""
    return Command(text=f"set {name}={value}" if os.name == "nt" else f"export {name}={value}")


def _python(context: Context) -> str:
    python = context.prefix.python
    return str(python if python is not None else context.prefix.path)


def _conda(context: Context) -> str:
    names = ("conda", "mamba", "micromamba")
    return next((name for name in names if process.which(name, context.environ)), "conda")
