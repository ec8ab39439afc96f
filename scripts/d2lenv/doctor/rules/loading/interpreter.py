"""The interpreter: a Python that was replaced, an environment that was moved, this tool's own environment."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from d2lenv.base.messages import tr
from d2lenv.doctor import fixes
from d2lenv.doctor.model import Context, Found, Problem
from d2lenv.prefix.contents.text import is_folder

_SHEBANG_LIMIT = 512
# Whatever else there is, one of these is in every environment with pip or Jupyter.
_SCRIPTS = ("jupyter", "jupyter-lab", "pip", "ipython")


def python_replaced(context: Context) -> Iterator[Problem]:
    """The Python that this environment was made with has been replaced by another version, for instance by an
    upgrade of the system. The new one looks for packages in a folder of its own, which is empty here: every
    import fails with ModuleNotFoundError, although all files are still there."""
    prefix = context.prefix
    folders = [site.folder.parent.name for site in prefix.sites if site.distributions]
    minors = {match[1] for name in folders if (match := re.fullmatch(r"(?:python|pypy)(3\.\d+)t?", name))}
    if prefix.kind != "venv" or prefix.python is None or not minors or prefix.python_minor in minors:
        return
    made = max(minors, key=lambda text: int(text.partition(".")[2]))
    yield Problem(
        "error",
        tr(
            "made with Python {made}, but its Python is {now} now",
            made=made,
            now=prefix.python_minor or "?",
        ),
        "python",
        (
            Found(f"Python {prefix.python_version}", "", str(prefix.python.resolve())),
            Found(tr("packages"), "", str(prefix.sites[0].folder)),
        ),
        (fixes.python_again(context, made),),
    )


def configuration_gone(context: Context) -> Iterator[Problem]:
    """The file `pyvenv.cfg` of this virtual environment is gone. Without it Python takes itself for the one
    that it was made from and looks for packages there: every import of what is installed here fails."""
    prefix = context.prefix
    if prefix.kind != "python" or prefix.python is None or not prefix.python.is_symlink():
        return
    for site in prefix.sites:
        if site.distributions and not (site.folder.parent / "os.py").exists() and prefix.python_minor:
            yield Problem(
                "error",
                tr("the file {name} of this environment is gone", name="pyvenv.cfg"),
                "python",
                (Found("pyvenv.cfg", "", str(prefix.path / "pyvenv.cfg")),),
                (fixes.python_again(context, prefix.python_minor),),
            )
            return


def moved(context: Context) -> Iterator[Problem]:
    """The environment was moved or copied. Its programs (`jupyter`, `pip`) still name the old place: they do
    not start (`bad interpreter`, `cannot execute: required file not found`), or they start another
    environment's Python. `python -m jupyter lab` with this environment's Python goes around them."""
    prefix = context.prefix
    if prefix.python is None or prefix.kind not in ("venv", "conda"):
        return
    for name in _SCRIPTS:
        script = prefix.python.parent / name
        named = _shebang(script)
        if not named or _within(named, prefix.path) or not _was_an_environment(named):
            continue
        gone = not Path(named).exists()
        yield Problem(
            "warning",
            tr("the environment was moved: its `{name}` starts another Python", name=name)
            if not gone
            else tr("the environment was moved: its `{name}` names a Python that is gone", name=name),
            "moved",
            (Found(named, "", str(script)),),
            fixes.scripts_again(context),
        )
        return


def _shebang(script: Path) -> str:
    """Return the Python that a script's first lines name; uv and pip write long ones for `/bin/sh`."""
    try:
        with script.open("rb") as file:
            head = file.read(_SHEBANG_LIMIT).decode("utf-8", errors="replace")
    except (OSError, ValueError):
        return ""
    match = re.match(r"#!\s*(?:/bin/sh\n'''exec' )?[\"']?(/[^\n\"']*?/python[\d.]*)[\"' \n]", head)
    return match[1] if match else ""


def _within(named: str, prefix: Path) -> bool:
    path = Path(named)
    try:
        return path.is_relative_to(prefix) or path.parent.resolve().is_relative_to(prefix.resolve())
    except (OSError, RuntimeError):
        return False


def _was_an_environment(named: str) -> bool:
    """Return False for a Python of the system: a script may name it on purpose."""
    return Path(named).parent not in (Path("/usr/bin"), Path("/usr/local/bin"), Path("/bin"))


def own_environment(context: Context) -> Iterator[Problem]:
    """This is the environment of the tool itself. It holds what `d2lenv` needs and no PyTorch; the books'
    notebooks run in the environments that `d2lenv build` makes."""
    here = Path(sys.prefix)
    if is_folder(here) and context.prefix.path.resolve() == here.resolve() and not context.version("torch"):
        yield Problem(
            "info",
            tr("this is d2lenv's own environment"),
            "d2lenv",
            (Found("d2lenv", context.version("d2lenv"), str(context.prefix.path)),),
        )
