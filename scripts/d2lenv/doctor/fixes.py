"""The commands that findings print, for the examined prefix's own Python and package manager."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from packaging.utils import canonicalize_name

from d2lenv.base import process
from d2lenv.doctor import managers
from d2lenv.doctor.model import CONDA_NAMES, Command, Context


def _rebuilt(context: Context, specs: Iterable[str]) -> Command | None:
    """Return the command that builds the environment anew, if it is this tool's and its lock has all of
    it."""
    made_by, expected = managers.manager(context), context.expected
    if made_by.kind != "d2lenv" or expected is None:
        return None
    locked = {package.name for package in expected.packages}
    names = {canonicalize_name(re.split(r"[=<>!~\[ ]", spec)[0]) for spec in specs}
    known = all(name in locked or CONDA_NAMES.get(name, name) in locked for name in names)
    return managers.again(made_by) if names and known else None


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
    """Install ``specs`` into the prefix: with its maker's own command, else with pip, or uv where it has
    none."""
    if built := _rebuilt(context, specs):
        return built
    made_by, force = managers.manager(context), "--force-reinstall" in options
    if made_by.kind == "uv":
        return managers.uv_add(made_by, specs, index, force=force)
    if made_by.kind == "pixi" and not force:
        return managers.pixi_add_wheels(made_by, specs)
    tail = (*options, *specs, *(("--index-url", index) if index else ()))
    # No `-m pip`: the prefix was made by uv, which needs to be told which Python is meant.
    pip = _pip(context)
    argv = (
        (*pip, "install", *tail)
        if pip
        else (*_uv(context), "pip", "install", "--python", _python(context), *tail)
    )
    return Command(argv, safe=_safe(context), installs=specs, index=index, specs=specs)


def pip_uninstall(context: Context, *names: str) -> Command:
    """Remove what pip or uv installed; nothing of conda's."""
    made_by = managers.manager(context)
    if built := _rebuilt(context, names):
        return built
    if made_by.kind == "uv":
        return managers.uv_remove(made_by, names)
    pip = _pip(context)
    argv = (
        (*pip, "uninstall", "--yes", *names)
        if pip
        else (*_uv(context), "pip", "uninstall", "--python", _python(context), *names)
    )
    return Command(argv, safe=_safe(context), removes=names)


def conda_install(context: Context, *specs: str, channels: tuple[str, ...] = ()) -> Command:
    """Install with the conda that is there; never run unasked, it may change many packages."""
    made_by = managers.manager(context)
    if built := _rebuilt(context, specs):
        return built
    if made_by.kind == "pixi":
        return managers.pixi_add(made_by, context.prefix, specs, channels)
    tail = tuple(word for channel in channels for word in ("-c", channel))
    argv = (_conda(context), "install", "--prefix", str(context.prefix.path), *specs, *tail)
    return Command(argv, specs=specs)


def torch_channels(torch: str) -> tuple[str, ...]:
    """Return where conda finds PyTorch ``torch`` and its CUDA libraries."""
    return ("pytorch", "conda-forge" if torch.startswith("1.12") else "nvidia")


def reinstall(context: Context, *names: str) -> Command:
    """Put a conda package's own files back."""
    made_by = managers.manager(context)
    if built := _rebuilt(context, names):
        return built
    if made_by.kind == "pixi":
        return managers.pixi_reinstall(made_by, names)
    argv = (_conda(context), "install", "--prefix", str(context.prefix.path), "--force-reinstall", *names)
    return Command(argv, specs=names)


def install(context: Context, conda: tuple[str, ...], pip: tuple[str, ...], index: str = "") -> Command:
    """``conda`` specs in a conda prefix, ``pip`` specs elsewhere."""
    if context.prefix.kind == "conda":
        return conda_install(context, *conda)
    return pip_install(context, *pip, index=index)


def beside(context: Context, environment: str) -> Command:
    """Add the wheels that belong beside conda's packages, as whoever made the environment does."""
    made_by = managers.manager(context)
    if made_by.kind == "pixi":
        return managers.pixi_task(made_by, "d2l")
    return managers.again(made_by) if made_by.kind == "d2lenv" else Command(("d2lenv", "build", environment))


def anew(context: Context) -> Command:
    """Make the environment again at its place; its packages have to be installed again after that."""
    made_by, prefix = managers.manager(context), context.prefix
    version = prefix.python_minor or "3.10"
    if made_by.kind in ("d2lenv", "pixi"):
        return managers.again(made_by)
    if made_by.kind == "uv":
        return Command(("uv", "sync", "--project", str(made_by.place), "--reinstall"))
    if prefix.kind == "conda":
        return conda_install(context, f"python={version}")
    # Not `--clear`: the packages are still there, and good for that Python.
    return Command(("uv", "venv", "--allow-existing", "--python", version, str(prefix.path)))


def python_again(context: Context, minor: str) -> Command:
    """Give a virtual environment its Python back and keep its packages; make another one anew."""
    if context.prefix.kind == "conda" or managers.manager(context).kind:
        return anew(context)
    return Command(("uv", "venv", "--allow-existing", "--python", minor, str(context.prefix.path)))


def scripts_again(context: Context) -> tuple[Command, ...]:
    """Have the programs in ``bin`` written again, for the place where the environment is now."""
    if managers.manager(context).kind:
        return (anew(context),)
    python = str(context.prefix.python)
    return (Command((python, "-m", "jupyter", "lab")),) if context.version("jupyterlab") else ()


def remove(path: Path) -> Command:
    """Remove a folder by hand: the doctor deletes nothing itself."""
    words = ("cmd", "/c", "rmdir", "/s", "/q") if os.name == "nt" else ("rm", "-r", "--")
    return Command((*words, str(path)))


def other_python(context: Context, python: str = "3.10") -> Command:
    """Make an environment with another Python beside this one; by default with the English book's."""
    return Command(("uv", "venv", "--python", python, f"{context.prefix.path}-{python}"))


def export(name: str, value: str) -> Command:
    """Set a variable in this shell; it changes no file."""
    return Command(text=f"set {name}={value}" if os.name == "nt" else f"export {name}={value}")


def unset(name: str) -> Command:
    """Take a variable away in this shell; it changes no file."""
    return Command(text=f"set {name}=" if os.name == "nt" else f"unset {name}")


def _python(context: Context) -> str:
    python = context.prefix.python
    return str(python if python is not None else context.prefix.path)


def _conda(context: Context) -> str:
    names = ("conda", "mamba", "micromamba")
    return next((name for name in names if process.which(name, context.environ)), "conda")
