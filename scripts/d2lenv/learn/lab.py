"""A lab, and how JupyterLab is told of it: options, environment variables, settings and kernels.

The token travels in the environment: every user of the machine can read a command line.

The server does not run in the folder of the notebooks: Python would import modules from there, jupyter_lsp
looks for language servers in a ``node_modules`` there, and nbconvert takes templates, which are programs,
from a folder ``lab`` there (jupyter_lsp 2.3, nbconvert 7.17, tried on 2026-11-24).

The kernelspec of the environment's Python is the lab's own. One that lies in the environment may be of an
older build, name the folder from which the environment was moved, or start Python with ``-m``, which imports
from the notebook's folder before the kernel can prevent it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from d2lenv.base.files import private_folder, write_atomic
from d2lenv.base.messages import language
from d2lenv.base.process import python_file, python_module
from d2lenv.learn import folders, guard
from d2lenv.prefix import locations
from d2lenv.prefix.contents import stack
from d2lenv.smoke.devices import kernel_options

MARK = "D2LENV_LAB"
"""A variable of everything that a lab has started; its value is the lab's log."""

_NEWS = "@jupyterlab/apputils-extension:notification"
_LOCALE = "@jupyterlab/translation-extension:plugin"

# Variables that would let another Python's packages or kernels in.
_FOREIGN = ("PYTHONPATH", "PYTHONHOME", "JUPYTER_PATH", "VIRTUAL_ENV", "CONDA_PREFIX", "PIXI_PROJECT_ROOT")

# And one of a lab in whose terminal this one is started: its temporary folder is not ours to remove.
_OUTER = (folders.TEMPORARY,)

# Jupyter opens a terminal for which no folder was asked where the server runs.
_SHELL = (
    'if [ "$(pwd -P)" = "$D2LENV_NOWHERE" ]; then cd -- "$JUPYTER_SERVER_ROOT"; fi; exec "${SHELL:-sh}" -l'
)


@dataclass(frozen=True)
class Lab:
    """A JupyterLab that is to be started.

    Attributes:
        environment: its name.
        python: the prefix's interpreter.
        kernels: the kernelspecs that the lab lists, the default first.
        root: the folder that the lab shows.
        host, port: where it listens.
        port_named: whether the reader asked for that port; otherwise the next free one will do as well.
        token: the secret that lets a browser in.
        state: folder for the lab's layout and log.
        moved: Jupyter's folders that cannot be used, by their variables → the folders used instead.
        data: variables that lead notebooks to the shared data (:mod:`d2lenv.data.book`).
        opens: path that the address opens, such as ``/lab/tree/00-start-here.ipynb``.
        browser: whether a browser is opened.
        as_root: whether it runs as root.
        devices: the file that gives d2l's GPU functions their fallbacks, None for the book's own.
    """

    environment: str
    prefix: Path
    python: Path
    kernels: tuple[str, ...]
    root: Path
    host: str
    port: int
    port_named: bool
    token: str
    state: Path
    moved: Mapping[str, str]
    data: Mapping[str, str]
    opens: str
    browser: bool
    as_root: bool
    devices: Path | None = None

    @property
    def base(self) -> str:
        """The server's address as this machine reaches it."""
        host = self.host
        if host in ("", "0.0.0.0", "*"):  # noqa: S104 - it is asked for, not done
            host = "127.0.0.1"
        elif host == "::":
            host = "::1"
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def url(self) -> str:
        """The address that opens the lab, token included."""
        return f"{self.base}{self.opens}?token={self.token}"

    @property
    def nowhere(self) -> Path:
        """An empty folder for the server to run in."""
        return self.state / "nowhere"

    @property
    def log(self) -> Path:
        """The server's output; named after this process, because two labs may try one port at once."""
        return self.state / f"lab-{os.getpid()}.log"


def command(lab: Lab) -> list[str]:
    """Return the server's command line. Nothing on it is secret."""
    words = [
        f"--ServerApp.ip={lab.host}",
        f"--ServerApp.port={lab.port}",
        # Another program may take the port in the meantime: better to fail than to listen where no one looks.
        "--ServerApp.port_retries=0",
        f"--ServerApp.root_dir={lab.root}",
        f"--ServerApp.default_url={lab.opens}",
        f"--ServerApp.open_browser={lab.browser}",
        f"--MultiKernelManager.default_kernel_name={lab.kernels[0]}",
        "--KernelSpecManager.ensure_native_kernel=False",
        _transport(lab),
        *(f"--KernelSpecManager.allowed_kernelspecs={name}" for name in lab.kernels),
    ]
    if lab.as_root:
        words.append("--allow-root")
    return python_file(lab.python, Path(guard.__file__), *words)


def _transport(lab: Lab) -> str:
    """Return the option that keeps other users from listening to the kernels.

    On a port of this machine anybody can subscribe to a kernel's outputs (tried on 2026-11-24 with
    jupyter_client 7.4 and 8.9, whose default it is). Sockets in the runtime folder are this user's alone.
    Windows has none, and a kernel of another language may not know them: there the connection is encrypted
    where both sides can.
    """
    if sys.platform == "win32" or len(lab.kernels) > 1:
        return "--KernelManager.transport_encryption=auto"
    return "--KernelManager.transport=ipc"


def variables(lab: Lab, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the server and its kernels: ``environ`` with this prefix in front."""
    kept = {name: value for name, value in environ.items() if name not in (*_FOREIGN, *_OUTER)}
    conda = (lab.prefix / "conda-meta").is_dir()
    config = filter(None, [str(lab.state / "config"), environ.get("JUPYTER_CONFIG_PATH", "")])
    return kept | {
        "PATH": os.pathsep.join([*map(str, _programs(lab.prefix)), environ.get("PATH", "")]),
        "CONDA_PREFIX" if conda else "VIRTUAL_ENV": str(lab.prefix),
        "PYTHONNOUSERSITE": "1",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "JUPYTER_TOKEN": lab.token,
        # A kernelspec of the same name in the home folder, from another checkout, must not win.
        "JUPYTER_PREFER_ENV_PATH": "1",
        "JUPYTER_PATH": str(lab.state / "jupyter"),
        "JUPYTERLAB_WORKSPACES_DIR": str(lab.state / "workspaces"),
        "JUPYTER_CONFIG_PATH": os.pathsep.join(config),
        "D2LENV_NOWHERE": str(lab.nowhere.resolve()),
        MARK: str(lab.log),
        # For the first notebook, which shows the answer of `d2lenv doctor`.
        "D2LENV_ENVIRONMENT": lab.environment,
        "D2LENV_PYTHON": sys.executable,
        "D2LENV_FOLDER": str(Path(__file__).resolve().parents[2]),
        **stack.variables(lab.prefix, environ),
        **lab.moved,
        **lab.data,
    }


def _programs(prefix: Path) -> list[Path]:
    """Return the folders that activation would put in front of PATH."""
    if sys.platform != "win32":
        return [prefix / "bin"]
    return [prefix, *(prefix / part for part in ("Library/mingw-w64/bin", "Library/bin", "Scripts"))]


def write_settings(lab: Lab) -> None:
    """Write the settings that Jupyter reads at its start; remove the logs of labs that have ended.

    Raises:
        D2lEnvError: if a folder or file cannot be written.
    """
    for folder in (lab.state, lab.nowhere, *map(Path, lab.moved.values())):
        private_folder(folder)
    for old in lab.state.glob("lab-*.log"):
        owner = old.stem.removeprefix("lab-")
        if owner.isdecimal() and not psutil.pid_exists(int(owner)):
            old.unlink(missing_ok=True)
    config = lab.state / "config"
    kernelspec = lab.state / "jupyter" / "kernels" / lab.kernels[0] / "kernel.json"
    for path, settings in (
        (config / "labconfig" / "default_setting_overrides.json", defaults(lab.prefix)),
        (config / "jupyter_server_config.json", server_settings()),
        (kernelspec, own_kernel(lab.prefix, lab.python, lab.environment, lab.devices)),
    ):
        write_atomic(path, json.dumps(settings, indent=2, ensure_ascii=False) + "\n")


def defaults(prefix: Path) -> dict[str, dict[str, object]]:
    """Return JupyterLab's defaults that a lab changes; the reader's own settings win.

    No question about news, no look for updates: neither is the lesson, and a classroom has no network. The
    menus are Chinese for a reader of Chinese, where the prefix has them.
    """
    changed: dict[str, dict[str, object]] = {_NEWS: {"fetchNews": "false", "checkForUpdates": False}}
    if has_package(prefix, f"jupyterlab_language_pack_{language()}"):
        changed[_LOCALE] = {"locale": language()}
    return changed


def has_package(prefix: Path, name: str) -> bool:
    """Return whether the package ``name`` can be imported in ``prefix``."""
    return any((site / name).is_dir() for site in locations.site_packages(prefix))


def server_settings() -> dict[str, object]:
    """Return the server's settings that are no options of its command line."""
    if sys.platform == "win32":
        return {}
    return {"ServerApp": {"terminado_settings": {"shell_command": ["/bin/sh", "-c", _SHELL]}}}


def kernels(prefix: Path, environment: str) -> tuple[str, ...]:
    """Return the names of the kernels to list: the environment's own, then those of other languages.

    Notebooks of the books name kernels that no reader has (``conda_pytorch_p36``). JupyterLab opens them
    without a question only when exactly one Python kernel is listed. So other kernelspecs of the same Python
    are left out, and so are those of other prefixes, which belong to labs of their own.
    """
    found = [f"d2l-{environment}"]
    for file in sorted((prefix / "share" / "jupyter" / "kernels").glob("*/kernel.json")):
        spec = _kernelspec(file)
        try:
            program = Path(spec["argv"][0])
        except (KeyError, IndexError, TypeError):
            continue
        is_python = str(spec.get("language", "")).lower() == "python"
        if not is_python and program.is_absolute() and program.exists():
            found.append(file.parent.name)
    return tuple(found)


def own_kernel(prefix: Path, python: Path, environment: str, devices: Path | None = None) -> dict[str, Any]:
    """Return the kernelspec of the environment's Python.

    The abilities that the installed ipykernel states (debugging, encryption) are kept, and so is the display
    name that the build has given.
    """
    folder = prefix / "share" / "jupyter" / "kernels"
    able = _kernelspec(folder / "python3" / "kernel.json")
    named = _kernelspec(folder / f"d2l-{environment}" / "kernel.json")
    return {
        "argv": [
            *python_module(python, "ipykernel_launcher", "-f", "{connection_file}"),
            *kernel_options(devices),
        ],
        "display_name": str(named.get("display_name") or f"d2l ({environment})"),
        "language": "python",
        "metadata": able.get("metadata") or {"debugger": True},
        **{key: able[key] for key in ("kernel_protocol_version",) if key in able},
    }


def _kernelspec(file: Path) -> dict[str, Any]:
    """Return the kernelspec, empty if it cannot be read."""
    try:
        spec = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return spec if isinstance(spec, dict) else {}
