"""Where a lab listens: an address and a port that are safe and free, and how another computer gets there."""

from __future__ import annotations

import errno
import getpass
import ipaddress
import json
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from d2lenv.base.errors import USAGE, D2lEnvError
from d2lenv.base.messages import tr
from d2lenv.learn import folders

FIRST_PORT = 8888
"""Jupyter's own first choice."""

_PORTS_TRIED = 100


def is_loopback(host: str) -> bool:
    """Return whether ``host`` is this machine and nobody else's way in."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_host(host: str, as_root: bool, environ: Mapping[str, str]) -> None:
    """Allow addresses beyond loopback only with a token or password of the reader's choice, never as root.

    Raises:
        D2lEnvError: if the lab must not listen there.
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


# jupyter_server 1 writes the first, 2 the others.
_PASSWORDS = (
    ("ServerApp", "password"),
    ("IdentityProvider", "hashed_password"),
    ("PasswordIdentityProvider", "hashed_password"),
)


def has_password(environ: Mapping[str, str]) -> bool:
    """Return whether ``jupyter lab password`` or ``jupyter server password`` has left a password."""
    folder = Path(environ.get("JUPYTER_CONFIG_DIR") or folders.home_of(environ) / ".jupyter")
    for name in ("jupyter_server_config.json", "jupyter_lab_config.json"):
        with suppress(OSError, ValueError, AttributeError):
            settings = json.loads((folder / name).read_text(encoding="utf-8"))
            if any(settings.get(section, {}).get(key) for section, key in _PASSWORDS):
                return True
    return False


def free_port(host: str, wanted: int | None) -> int:
    """Return ``wanted``, or without one the first free port from :data:`FIRST_PORT` on.

    Raises:
        D2lEnvError: if ``wanted`` is taken, ``host`` is not an address of this machine, or nothing is free.
    """
    tried = [wanted] if wanted is not None else range(FIRST_PORT, FIRST_PORT + _PORTS_TRIED)
    for port in tried:
        if _can_be_had(host, port):
            return port
    if wanted is not None:
        raise D2lEnvError(
            tr("port {port} is taken{by}", port=wanted, by=_holder(wanted)),
            fix=tr("stop that program, or leave out --port, then a free one is taken"),
        )
    raise D2lEnvError(
        tr("none of the ports {first} to {last} is free", first=FIRST_PORT, last=tried[-1]),
        fix=tr("name a free one with --port"),
    )


def _can_be_had(host: str, port: int) -> bool:
    try:
        return _can_bind(host, port)
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


def _can_bind(host: str, port: int) -> bool:
    """Return whether a server would get ``port``.

    Raises:
        OSError: if something other than another server stands in the way.
    """
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
    """Return the program that has ``port``, as far as this user may know: `` by python (process 12345)``."""
    with suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            here = getattr(connection.laddr, "port", None) == port
            if here and connection.status == psutil.CONN_LISTEN and connection.pid:
                name = psutil.Process(connection.pid).name()
                return " " + tr("by {name} (process {pid})", name=name, pid=connection.pid)
    return ""


def ssh_line(port: int, environ: Mapping[str, str]) -> str:
    """Return the command with which another computer reaches this one's ``port``."""
    # "client-address client-port server-address server-port": the address by which the reader came.
    words = environ.get("SSH_CONNECTION", "").split()
    host = words[2] if len(words) == 4 else socket.gethostname()
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # no name for this user id, as in some containers
        user = "USER"
    return f"ssh -N -L {port}:127.0.0.1:{port} {user}@{host}"
