"""``d2lenv lab``: JupyterLab of one environment, opened right and ended cleanly.

The server runs from the prefix's own Python in a session of its own: Ctrl-C reaches this process alone, which
then asks the server to stop its kernels and itself, and ends whatever is left. If this process is killed, the
server notices by its standard input (guard.py). The token travels in the environment: every user of the
machine can read a command line. The files that Jupyter writes it to are this user's alone (folders.py).

The server does not run in the folder of the notebooks: Python would import modules from there, jupyter_lsp
looks for language servers in a ``node_modules`` there, and nbconvert takes templates, which are programs,
from a folder ``lab`` there (jupyter_lsp 2.3, nbconvert 7.17, tried on 2026-11-24).
"""

from __future__ import annotations

import errno
import getpass
import ipaddress
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from d2lenv.base import signals
from d2lenv.base.errors import USAGE, D2lEnvError
from d2lenv.base.files import open_private, private_folder, write_atomic
from d2lenv.base.messages import language, tr
from d2lenv.base.process import python_file
from d2lenv.learn import folders, guard, kernels
from d2lenv.workspace.manifest import Workspace

FIRST_PORT = 8888
"""Jupyter's own first choice."""

START_NOTEBOOK = "00-start-here.ipynb"
"""What a lab opens with until it has a layout of its own to come back to."""

_NEWS = "@jupyterlab/apputils-extension:notification"
_LOCALE = "@jupyterlab/translation-extension:plugin"
_CHINESE = "jupyterlab_language_pack_zh_CN"

START_TIMEOUT_S = 120.0
_PORTS_TRIED = 100
_SHUTDOWN_S = 15.0
_TERMINATE_S = 5.0
_IDLE_S = 1.0
_POLL_S = 0.05
_LOG_LINES = 20

# What jupyter_server 1 and 2 say before they end, and what the system says.
_PORT_TAKEN = re.compile(r"port \d+ is not available|address already in use", re.IGNORECASE)

# In the environment of everything that a lab has started; its value is the lab's log.
_MARK = "D2LENV_LAB"

# Variables that would let another Python's packages or kernels in.
_FOREIGN = ("PYTHONPATH", "PYTHONHOME", "JUPYTER_PATH", "VIRTUAL_ENV", "CONDA_PREFIX", "PIXI_PROJECT_ROOT")


@dataclass(frozen=True)
class Lab:
    """What to start.

    Attributes:
        environment: its name.
        python: the prefix's interpreter.
        kernels: the kernelspecs that the lab lists, the default first.
        root: the folder that the lab shows.
        host, port: where it listens.
        port_named: whether the reader asked for that port; otherwise the next free one will do as well.
        token: what a browser has to show to be let in.
        state: folder for the lab's layout and log.
        moved: Jupyter's folders that cannot be used, by their variables → the folders used instead.
        opens: path that the address opens, such as ``/lab/tree/00-start-here.ipynb``.
        browser: whether a browser is opened.
        as_root: whether it runs as root.
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
    opens: str
    browser: bool
    as_root: bool

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
        """What the server says; named after this process, because two labs may try one port at once."""
        return self.state / f"lab-{os.getpid()}.log"


# --------------------------------------------------------------------------------------------------------
# Before the start: each question has a function of its own.


def is_loopback(host: str) -> bool:
    """Is ``host`` this machine and nobody else's way in?"""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_host(host: str, as_root: bool, environ: Mapping[str, str]) -> None:
    """Beyond loopback only with a token or password that the reader has chosen, and never as root.

    Raises:
        D2lEnvError: it must not listen there.
    """
    if is_loopback(host):
        return
    tunnel = tr("leave out --host and use the ssh line that `d2lenv lab --no-browser` prints")
    if as_root:
        raise D2lEnvError(
            tr("as root the lab listens on this machine only, not on {host}", host=host),
            why=tr("whoever gets in could do everything here"),
            fix=tr("start it as another user, or {tunnel}", tunnel=tunnel),
            status=USAGE,
        )
    if not (environ.get("JUPYTER_TOKEN") or has_password(environ)):
        raise D2lEnvError(
            tr("{host} can be reached from other machines, and there is no token or password", host=host),
            why=tr("whoever gets in can run programs as you, and the connection is not encrypted"),
            fix=tr(
                "set JUPYTER_TOKEN to a secret of yours or run `jupyter lab password`; better, {tunnel}",
                tunnel=tunnel,
            ),
            status=USAGE,
        )


def has_password(environ: Mapping[str, str]) -> bool:
    """Has ``jupyter lab password`` (or ``jupyter server password``) left a password in Jupyter's settings?"""
    folder = Path(environ.get("JUPYTER_CONFIG_DIR") or folders.home_of(environ) / ".jupyter")
    for name in ("jupyter_server_config.json", "jupyter_lab_config.json"):
        try:
            settings = json.loads((folder / name).read_text(encoding="utf-8"))
            # jupyter_server 2 writes the second and third, 1 the first.
            for section, key in (
                ("ServerApp", "password"),
                ("IdentityProvider", "hashed_password"),
                ("PasswordIdentityProvider", "hashed_password"),
            ):
                if settings.get(section, {}).get(key):
                    return True
        except (OSError, ValueError, AttributeError):
            continue
    return False


def free_port(host: str, wanted: int | None) -> int:
    """``wanted``, or without one the first free port from :data:`FIRST_PORT` on.

    Raises:
        D2lEnvError: ``wanted`` is taken, ``host`` is not an address of this machine, or nothing is free.
    """
    tried = [wanted] if wanted is not None else range(FIRST_PORT, FIRST_PORT + _PORTS_TRIED)
    for port in tried:
        try:
            if _can_bind(host, port):
                return port
        except PermissionError as error:
            raise D2lEnvError(
                tr("port {port} cannot be used: {reason}", port=port, reason=error.strerror),
                fix=tr("leave out --port, then a free one is taken"),
                status=USAGE,
            ) from error
        except OSError as error:
            raise D2lEnvError(
                tr("{host} is not an address of this machine", host=host),
                why=error.strerror or str(error),
                fix=tr("leave out --host: 127.0.0.1 always works"),
                status=USAGE,
            ) from error
    if wanted is not None:
        raise D2lEnvError(
            tr("port {port} is taken{by}", port=wanted, by=_holder(wanted)),
            fix=tr("stop that program, or leave out --port, then a free one is taken"),
        )
    raise D2lEnvError(
        tr("none of the ports {first} to {last} is free", first=FIRST_PORT, last=tried[-1]),
        fix=tr("name a free one with --port"),
    )


def _can_bind(host: str, port: int) -> bool:
    """Would a server get ``port``? False when another has it; any other obstacle is raised."""
    family, kind, protocol, _, address = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        if sys.platform != "win32":
            # As the server does: a port that was closed a moment ago is free. On Windows this flag would
            # let two servers share a port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
            probe.listen(1)
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, getattr(errno, "WSAEADDRINUSE", errno.EADDRINUSE)):
                return False
            raise
    return True


def _holder(port: int) -> str:
    """Who has ``port``, as far as this user may know: `` by python (12345)``."""
    with suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            here = getattr(connection.laddr, "port", None) == port
            if here and connection.status == psutil.CONN_LISTEN and connection.pid:
                name = psutil.Process(connection.pid).name()
                return " " + tr("by {name} (process {pid})", name=name, pid=connection.pid)
    return ""


def check_has_lab(prefix: Path) -> None:
    """Is there a JupyterLab in ``prefix``?

    Raises:
        D2lEnvError: there is none.
    """
    if not _has_package(prefix, "jupyterlab"):
        raise D2lEnvError(
            tr("{prefix} has no JupyterLab", prefix=prefix),
            fix=tr("build one of ours with `d2lenv build`, or install `jupyterlab` there"),
        )


def _has_package(prefix: Path, name: str) -> bool:
    patterns = (f"lib/python*/site-packages/{name}", f"Lib/site-packages/{name}")
    return any(found.is_dir() for pattern in patterns for found in prefix.glob(pattern))


def defaults(prefix: Path) -> dict[str, dict[str, object]]:
    """JupyterLab's defaults that a lab changes; what the reader has set wins.

    No question about news, no look for updates: neither is the lesson, and a classroom has no network.
    Chinese menus for who reads Chinese, where the prefix has them.
    """
    changed: dict[str, dict[str, object]] = {_NEWS: {"fetchNews": "false", "checkForUpdates": False}}
    if language() == "zh" and _has_package(prefix, _CHINESE):
        changed[_LOCALE] = {"locale": "zh_CN"}
    return changed


# Jupyter opens a terminal for which no folder was asked where the server runs.
_SHELL = (
    'if [ "$(pwd -P)" = "$D2LENV_NOWHERE" ]; then cd -- "$JUPYTER_SERVER_ROOT"; fi; exec "${SHELL:-sh}" -l'
)


def server_settings() -> dict[str, object]:
    """Return the server's settings that are no options of its command line."""
    if sys.platform == "win32":
        return {}
    return {"ServerApp": {"terminado_settings": {"shell_command": ["/bin/sh", "-c", _SHELL]}}}


def can_open_browser(environ: Mapping[str, str]) -> bool:
    """Is there a browser with a window? A text browser would take over the terminal."""
    if sys.platform.startswith("linux") and not any(
        environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER", "WSL_DISTRO_NAME")
    ):
        return False
    try:
        webbrowser.get()
    except webbrowser.Error:
        return False
    return True


def ssh_line(port: int, environ: Mapping[str, str]) -> str:
    """What to type on the other computer to reach this one's ``port``."""
    # "client-address client-port server-address server-port": the address by which the reader came.
    words = environ.get("SSH_CONNECTION", "").split()
    host = words[2] if len(words) == 4 else socket.gethostname()
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # no name for this user id, as in some containers
        user = "USER"
    return f"ssh -N -L {port}:127.0.0.1:{port} {user}@{host}"


def prepare(
    environment: str,
    prefix: Path,
    python: Path,
    root: Path,
    state: Path,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    browser: bool = True,
    environ: Mapping[str, str],
    say: Callable[[str], None],
) -> Lab:
    """Answer every question before the start; say what a reader should know.

    Args:
        root: the folder to show.
        state: where the layout and the log may be kept; another is used if it is not this user's to write.

    Raises:
        D2lEnvError: the lab cannot or must not be started; the message says what to do.
    """
    check_has_lab(prefix)
    if not root.is_dir():
        raise D2lEnvError(
            tr("{path} is not a folder", path=root), fix=tr("name one with --notebooks"), status=USAGE
        )
    as_root = hasattr(os, "geteuid") and os.geteuid() == 0
    check_host(host, as_root, environ)
    if as_root:
        say(tr("running as root: the lab listens on this machine only"))
    state = folders.state(state)
    moved = folders.moved(environ, state / "home")
    if moved:
        say(
            tr("your home folder cannot be written; Jupyter's settings go to {folder}", folder=state / "home")
        )
    if not folders.writable(root):
        say(tr("{folder} cannot be written: notebooks open, but cannot be saved there", folder=root))
    first_time = not any((state / "workspaces").glob("*"))
    return Lab(
        environment=environment,
        prefix=prefix,
        python=python,
        kernels=(kernels.name_of(environment), *kernels.others(prefix)),
        root=root,
        host=host,
        port=free_port(host, port),
        port_named=port is not None,
        token=environ.get("JUPYTER_TOKEN") or secrets.token_urlsafe(32),
        state=state,
        moved=moved,
        opens=f"/lab/tree/{START_NOTEBOOK}" if first_time and (root / START_NOTEBOOK).exists() else "/lab",
        browser=browser and can_open_browser(environ),
        as_root=as_root,
    )


def command(lab: Lab) -> list[str]:
    """The server's command line; nothing on it is secret."""
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
    jupyter_client 7.4 and 8.9, whose default it is). Sockets in the runtime folder are this user's alone. Not
    every other language's kernel has them, nor has Windows: there what can be encrypted is.
    """
    if sys.platform == "win32" or len(lab.kernels) > 1:
        return "--KernelManager.transport_encryption=auto"
    return "--KernelManager.transport=ipc"


def variables(lab: Lab, environ: Mapping[str, str]) -> dict[str, str]:
    """The server's and its kernels' environment variables: ``environ`` with this prefix in front."""
    kept = {name: value for name, value in environ.items() if name not in _FOREIGN}
    programs = (
        [lab.prefix, *(lab.prefix / part for part in ("Library/mingw-w64/bin", "Library/bin", "Scripts"))]
        if sys.platform == "win32"
        else [lab.prefix / "bin"]
    )
    kept["PATH"] = os.pathsep.join([*(str(folder) for folder in programs), environ.get("PATH", "")])
    conda = (lab.prefix / "conda-meta").is_dir()
    kept["CONDA_PREFIX" if conda else "VIRTUAL_ENV"] = str(lab.prefix)
    kept |= {
        "PYTHONNOUSERSITE": "1",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "JUPYTER_TOKEN": lab.token,
        # A kernelspec of the same name in the home folder, from another checkout, must not win.
        "JUPYTER_PREFER_ENV_PATH": "1",
        "JUPYTER_PATH": str(lab.state / "jupyter"),
        "JUPYTERLAB_WORKSPACES_DIR": str(lab.state / "workspaces"),
        "JUPYTER_CONFIG_PATH": os.pathsep.join(
            filter(None, [str(lab.state / "config"), environ.get("JUPYTER_CONFIG_PATH", "")])
        ),
        # For the first notebook, which shows what `d2lenv doctor` says: this tool's Python and its folder.
        "D2LENV_NOWHERE": str(lab.nowhere.resolve()),
        _MARK: str(lab.log),
        "D2LENV_ENVIRONMENT": lab.environment,
        "D2LENV_PYTHON": sys.executable,
        "D2LENV_FOLDER": str(Path(__file__).resolve().parents[2]),
        **lab.moved,
    }
    return kept


# --------------------------------------------------------------------------------------------------------
# The server's life.


@dataclass(frozen=True)
class Answer:
    """What a running lab says to ``--json``."""

    environment: str
    url: str
    base: str
    token: str
    port: int
    pid: int
    prefix: Path
    kernel: str
    root: Path
    log: Path

    def as_json(self) -> dict[str, object]:
        return {
            name: str(value) if isinstance(value, Path) else value for name, value in self.__dict__.items()
        }


def run(lab: Lab, environ: Mapping[str, str], on_ready: Callable[[Answer], None]) -> int:
    """Start the lab, call ``on_ready`` when its page can be opened, stay until it ends.

    It ends by Ctrl-C (or SIGTERM, or a closed terminal), or by *Shut Down* in the page. No process of it
    stays behind; a second Ctrl-C does not wait for the server's good-bye.

    Returns:
        0, however it ended.

    Raises:
        D2lEnvError: it did not start, or it died.
    """
    stop = _Stop()
    with signals.answered_by(stop), folders.short_runtime(environ, lab.moved) as moved:
        lab = replace(lab, moved=moved)
        while True:
            with _server(lab, environ, stop) as process:
                try:
                    if not _wait_until_ready(lab, process, stop):
                        return 0
                except _PortTaken:
                    lab = replace(lab, port=free_port(lab.host, None))
                    continue
                on_ready(_answer(lab, process))
                while process.poll() is None and not stop.asked.wait(0.2):
                    pass
                if process.returncode:
                    raise _died(lab, process.returncode)
                return 0


def _answer(lab: Lab, process: subprocess.Popen[bytes]) -> Answer:
    return Answer(
        environment=lab.environment,
        url=lab.url,
        base=lab.base,
        token=lab.token,
        port=lab.port,
        pid=process.pid,
        prefix=lab.prefix,
        kernel=lab.kernels[0],
        root=lab.root,
        log=lab.log,
    )


class _PortTaken(Exception):
    """Another program took the port between the look for a free one and the server's start."""


class _Stop:
    """Whether the reader has asked to stop, and, by a second Ctrl-C, not to wait."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.hurry = threading.Event()

    def __call__(self, number: int) -> None:
        if self.asked.is_set() and number == signal.SIGINT:
            self.hurry.set()
        self.asked.set()


@contextmanager
def _server(lab: Lab, environ: Mapping[str, str], stop: _Stop) -> Iterator[subprocess.Popen[bytes]]:
    """The server process; ended with everything that it has started when the body ends."""
    _write_settings(lab)
    with open_private(lab.log) as log:
        try:
            process = subprocess.Popen(
                command(lab),
                env=variables(lab, environ),
                cwd=lab.nowhere,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for this process; the server would ask back on a terminal that it shares.
                start_new_session=sys.platform != "win32",
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        except OSError as error:
            raise D2lEnvError(
                tr("{path} does not run", path=lab.python),
                why=error.strerror or str(error),
                fix=tr("build the environment again: `d2lenv build {name} --fresh`", name=lab.environment),
            ) from error
    try:
        yield process
    finally:
        _end(lab, process, stop)
        assert process.stdin is not None
        process.stdin.close()


def _write_settings(lab: Lab) -> None:
    """Write what Jupyter reads at its start; remove the logs of labs that have ended."""
    for folder in (lab.state, lab.nowhere, *(Path(folder) for folder in lab.moved.values())):
        private_folder(folder)
    for old in lab.state.glob("lab-*.log"):
        owner = old.stem.removeprefix("lab-")
        if owner.isdecimal() and not psutil.pid_exists(int(owner)):
            old.unlink(missing_ok=True)
    config = lab.state / "config"
    for path, settings in (
        (config / "labconfig" / "default_setting_overrides.json", defaults(lab.prefix)),
        (config / "jupyter_server_config.json", server_settings()),
        (
            kernels.place(lab.state / "jupyter", lab.environment),
            kernels.own(lab.prefix, lab.python, lab.environment),
        ),
    ):
        write_atomic(path, json.dumps(settings, indent=2, ensure_ascii=False) + "\n")


def _wait_until_ready(lab: Lab, process: subprocess.Popen[bytes], stop: _Stop) -> bool:
    """Wait for the page and the list of kernels; False when asked to stop before.

    Raises:
        _PortTaken: the server ended because of it, and the reader did not ask for this port.
        D2lEnvError: it ended for another reason, or did not answer in time.
    """
    limit = time.monotonic() + START_TIMEOUT_S
    while not stop.asked.is_set():
        if process.poll() is not None:
            if not lab.port_named and _PORT_TAKEN.search(_tail(lab.log)):
                raise _PortTaken
            raise _died(lab, process.returncode)
        if _ask(lab, process, "/api/kernelspecs") and _ask(lab, process, "/lab"):
            return True
        if time.monotonic() > limit:
            raise D2lEnvError(
                tr("JupyterLab did not answer within {seconds} s", seconds=int(START_TIMEOUT_S)),
                why=_tail(lab.log),
                fix=tr("look into {path}", path=lab.log),
            )
        stop.asked.wait(_POLL_S)
    return False


def _ask(
    lab: Lab,
    process: subprocess.Popen[bytes],
    path: str,
    method: str = "GET",
    timeout_s: float = 10.0,
) -> bool:
    """Did the server answer with 200?

    Nobody else is asked: the question carries the token, and another user may have taken the port.
    """
    if not _has_port(process, lab.port):
        return False
    request = urllib.request.Request(
        lab.base + path, method=method, headers={"Authorization": f"token {lab.token}"}
    )
    # No proxy: a configured one would be asked for 127.0.0.1 too.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=timeout_s) as answer:
            answer.read()
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _has_port(process: subprocess.Popen[bytes], port: int) -> bool:
    """Return whether ``process`` or one that it has started (on Windows Python does) listens on ``port``."""
    try:
        server = psutil.Process(process.pid)
        return any(
            connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
            for member in (server, *server.children(recursive=True))
            for connection in member.net_connections("tcp")
        )
    except psutil.Error:
        return False


def _end(lab: Lab, process: subprocess.Popen[bytes], stop: _Stop) -> None:
    """End the server, its kernels and their children; ask first, then insist."""
    family = _family(process.pid) if process.poll() is None else _orphans(lab)
    patience = _TERMINATE_S
    if process.poll() is None and _ask(lab, process, "/api/shutdown", "POST", timeout_s=_SHUTDOWN_S):
        limit = time.monotonic() + _SHUTDOWN_S
        while process.poll() is None and time.monotonic() < limit and not stop.hurry.wait(_POLL_S):
            children = _family(process.pid)
            family += [member for member in children if member not in family]
            if not children and not _has_port(process, lab.port):
                # Its kernels are gone and its port is closed: nothing is left to wait for. Now and then it
                # does not end all the same, because a worker thread of anyio waits for work for ever (seen
                # with jupyter_server 2.20, 2026-11-22: MainThread in threading._shutdown).
                limit = min(limit, time.monotonic() + _IDLE_S)
                patience = _IDLE_S
    if stop.hurry.is_set():
        patience = 0
    survivors = [member for member in family if member.is_running()]
    for member in survivors:
        with suppress(psutil.Error):
            member.terminate()
    if process.poll() is None:
        process.terminate()
    limit = time.monotonic() + patience
    _, alive = psutil.wait_procs(survivors, timeout=patience)
    for member in alive:
        with suppress(psutil.Error):
            member.kill()
    psutil.wait_procs(alive, timeout=_TERMINATE_S)  # a killed process is gone a moment later
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=max(0.0, limit - time.monotonic()))
    process.kill()
    process.wait()


def _family(pid: int) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return psutil.Process(pid).children(recursive=True)
    return []


def _orphans(lab: Lab) -> list[psutil.Process]:
    """Return what a server that was killed has left: nothing else tells whose it was."""
    found: list[psutil.Process] = []
    for member in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if member.environ().get(_MARK) == str(lab.log):
                found.append(member)
    return found


def _died(lab: Lab, code: int) -> D2lEnvError:
    return D2lEnvError(
        tr("JupyterLab ended with status {code}", code=code),
        why=_tail(lab.log),
        fix=tr("look into {path}; `d2lenv doctor` examines the environment", path=lab.log),
    )


def _tail(path: Path) -> str:
    with suppress(OSError):
        lines = path.read_bytes()[-16384:].decode("utf-8", "replace").splitlines()
        return "\n".join(line for line in lines[-_LOG_LINES:] if line.strip())
    return ""


def show(lab: Lab, answer: Answer, environ: Mapping[str, str], say: Callable[[str], None]) -> None:
    """The address on standard output, what to do with it on standard error."""
    from d2lenv.base.console import out

    say(
        tr(
            "JupyterLab of {name} is ready ({folder}, kernel {kernel})",
            name=lab.environment,
            folder=lab.root,
            kernel=answer.kernel,
        )
    )
    out().print(answer.url, markup=False, soft_wrap=True)
    if lab.browser:
        say(tr("your browser opens it; Ctrl-C here ends it and its kernels"))
        return
    say(tr("open this address in a browser; Ctrl-C here ends it and its kernels"))
    if is_loopback(lab.host):
        say(tr("from another computer, type there first: {line}", line=ssh_line(lab.port, environ)))


def find_or_build(workspace: Workspace, environment: str, say: Callable[[str], None]) -> Path:
    """The environment's prefix: the one that is there, or a new one.

    One that was built from an older lock is used as it is, and that is said: a lesson must not wait for a
    download that nobody asked for, and a classroom may have no network.

    Raises:
        D2lEnvError: there is none and it cannot be built.
    """
    from d2lenv.engines import build, find
    from d2lenv.facts import platforms
    from d2lenv.prefix import locations, marker
    from d2lenv.workspace import lockfile
    from d2lenv.workspace import settings as variants

    variants.get(workspace, environment)
    platform = platforms.current()
    for engine in find.ENGINES:
        prefix = find.default_prefix(workspace, environment, engine)
        recorded = marker.read(prefix).get("digest", "")
        if not locations.interpreter(prefix).exists() or not (recorded or find.ENGINES[engine].IN_PLACE):
            continue
        try:
            wanted = find.wanted_digest(
                workspace, environment, platform, engine, lambda: lockfile.read(workspace.lock)
            )
        except D2lEnvError as error:
            say(str(error))
            return prefix
        if recorded and recorded != wanted:
            say(
                tr(
                    "{prefix} was built from an older lock; `d2lenv build {name}` brings it up to date",
                    prefix=prefix,
                    name=environment,
                )
            )
        return prefix
    return build.build(workspace, environment, say=say).prefix
