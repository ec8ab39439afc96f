"""The kernels that a lab offers.

The lab writes the kernelspec of its Python itself: one that lies in the environment may be of an older build,
name the folder from which the environment was moved, or start Python with ``-m``, which imports from the
notebook's folder before the kernel can prevent it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from d2lenv.base.process import python_module


def name_of(environment: str) -> str:
    """Return the name of an environment's own kernel."""
    return f"d2l-{environment}"


def others(prefix: Path) -> tuple[str, ...]:
    """Return the kernelspecs of other languages in ``prefix`` whose program exists.

    Notebooks of the books name kernels that no reader has (``conda_pytorch_p36``). JupyterLab opens them
    without a question only when exactly one Python kernel is listed. So other kernelspecs of the same Python
    are left out, and so are those of other prefixes, which belong to labs of their own.
    """
    found: list[str] = []
    for file in sorted((prefix / "share" / "jupyter" / "kernels").glob("*/kernel.json")):
        spec = _read(file)
        try:
            program = Path(spec["argv"][0])
        except (KeyError, IndexError, TypeError):
            continue
        is_python = str(spec.get("language", "")).lower() == "python"
        if not is_python and program.is_absolute() and program.exists():
            found.append(file.parent.name)
    return tuple(found)


def own(prefix: Path, python: Path, environment: str) -> dict[str, Any]:
    """Return the kernelspec of the environment's Python.

    The abilities that the installed ipykernel states (debugging, encryption) are kept, and so is the display
    name that the build has given.
    """
    folder = prefix / "share" / "jupyter" / "kernels"
    able = _read(folder / "python3" / "kernel.json")
    named = _read(folder / name_of(environment) / "kernel.json")
    return {
        "argv": python_module(python, "ipykernel_launcher", "-f", "{connection_file}"),
        "display_name": str(named.get("display_name") or f"d2l ({environment})"),
        "language": "python",
        "metadata": able.get("metadata") or {"debugger": True},
        **{key: able[key] for key in ("kernel_protocol_version",) if key in able},
    }


def _read(file: Path) -> dict[str, Any]:
    """Return the kernelspec, empty if it cannot be read."""
    try:
        spec = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return spec if isinstance(spec, dict) else {}


def place(folder: Path, environment: str) -> Path:
    """Return where Jupyter looks for the kernelspec in ``folder``, which is named in ``JUPYTER_PATH``."""
    return folder / "kernels" / name_of(environment) / "kernel.json"
