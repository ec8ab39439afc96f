"""The Python of a prefix, as it describes itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from d2lenv.base import process
from d2lenv.base.errors import D2lEnvError
from d2lenv.base.messages import tr
from d2lenv.prefix import locations


@dataclass(frozen=True)
class Interpreter:
    """A prefix's Python, as it describes itself.

    Attributes:
        folders: those that activation would put at the front of PATH.
        packages: canonical name → version, of everything installed, and ``python`` itself.
    """

    executable: Path
    prefix: Path
    version: str
    platform: str
    folders: tuple[str, ...] = ()
    packages: Mapping[str, str] = field(default_factory=dict)


def interpreter_of(prefix: Path) -> Path:
    """Return the Python of a conda prefix or a virtual environment.

    Raises:
        D2lEnvError: if there is none.
    """
    python = locations.interpreter(prefix.absolute())
    if python.is_file():
        return python
    raise D2lEnvError(
        tr("{path} is not an environment: it has no Python", path=prefix),
        fix=tr("give the folder of a conda environment or a virtual environment"),
    )


# ``-I`` keeps the caller's PYTHON* variables and the user's site-packages out of the answer.
_DESCRIBE = """
import json, os, platform, sys, sysconfig
from importlib import metadata
print(json.dumps({
    "prefix": sys.prefix, "version": platform.python_version(), "platform": platform.platform(),
    "folders": [os.path.dirname(sys.executable), sysconfig.get_path("scripts")],
    "packages": {d.metadata["Name"]: d.version for d in metadata.distributions() if d.metadata["Name"]},
}))
"""


def describe(python: Path) -> Interpreter:
    """Ask ``python`` for its version and packages.

    Raises:
        D2lEnvError: if it does not run.
    """
    why = ""
    try:
        answer = process.run([python, "-I", "-c", _DESCRIBE], timeout_s=120)
        if answer.returncode == 0:
            return _read(python, json.loads(answer.stdout))
        why = answer.stderr.strip()[-500:]
    except (OSError, ValueError, KeyError) as error:
        why = str(error)
    raise D2lEnvError(
        tr("the Python of this environment does not run: {path}", path=python),
        why=why,
        fix=tr("build the environment again"),
    )


def _read(python: Path, said: dict[str, Any]) -> Interpreter:
    prefix = Path(said["prefix"])
    windows = [prefix / "Library" / part for part in ("mingw-w64/bin", "usr/bin", "bin")]
    folders = [*said["folders"], *(str(folder) for folder in windows if folder.is_dir())]
    found: dict[str, str] = {
        canonicalize_name(name): version for name, version in sorted(said["packages"].items())
    }
    return Interpreter(
        executable=python,
        prefix=prefix,
        version=said["version"],
        platform=said["platform"],
        folders=tuple(dict.fromkeys(folders)),
        packages={"python": said["version"], **found},
    )
