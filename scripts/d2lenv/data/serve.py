"""Give the data to others: a static server with ranges, for a classroom without a network.

Only files that are in the table, found and checked at the start, can be had: no name that is asked for
becomes a path. tornado is there anyway (jupyter_client needs it), and its file handler knows ranges.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from tornado.httpserver import HTTPServer
from tornado.web import Application, HTTPError, RequestHandler, StaticFileHandler

from d2lenv.base.errors import USAGE, D2lEnvError
from d2lenv.base.messages import tr
from d2lenv.data.table import DataFile

EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - it is asked for, not done


@dataclass(frozen=True)
class _Offer:
    path: Path
    digest: str


class _File(StaticFileHandler):
    """A file of the table, by its path or its name."""

    def initialize(self, offers: Mapping[str, _Offer]) -> None:  # type: ignore[override]
        super().initialize(path="")
        self.offers = offers

    def parse_url_path(self, url_path: str) -> str:
        if url_path not in self.offers:
            raise HTTPError(404)
        self.offer = self.offers[url_path]
        return str(self.offer.path)

    @classmethod
    def get_absolute_path(cls, root: str, path: str) -> str:
        return path

    def validate_absolute_path(self, root: str, absolute_path: str) -> str | None:
        return absolute_path

    def compute_etag(self) -> str | None:
        return f'"{self.offer.digest}"'  # tornado would read the whole file for one


class _List(RequestHandler):
    def initialize(self, offers: Mapping[str, _Offer]) -> None:
        self.offers = offers

    def get(self) -> None:
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.write("".join(f"{path}\n" for path in sorted(self.offers)))


def application(found: Mapping[DataFile, Path]) -> Application:
    """Return the server's answers."""
    offers = {
        name: _Offer(path.resolve(), file.digest)
        for file, path in found.items()
        for name in (file.path, file.name)
        # MNIST and FashionMNIST have files of the same names.
        if name == file.path or sum(other.name == name for other in found) == 1
    }
    given: dict[str, Any] = {"offers": offers}
    return Application([(r"/", _List, given), (r"/(.+)", _File, given)], log_function=lambda handler: None)


def serve(found: Mapping[DataFile, Path], host: str, port: int, on_ready: Callable[[int], object]) -> None:
    """Serve until the process is stopped.

    Args:
        port: 0 takes a free one.
        on_ready: hears the port.

    Raises:
        D2lEnvError: if the address or the port cannot be had.
    """

    async def run() -> None:
        server = HTTPServer(application(found))
        try:
            listening = socket.create_server((host, port), family=_family(host))
        except OSError as error:
            raise D2lEnvError(
                tr("{host}:{port} cannot be listened on", host=host, port=port),
                why=error.strerror or str(error),
                fix=tr("choose another --port, or --host 127.0.0.1"),
                status=USAGE,
            ) from error
        listening.setblocking(False)
        server.add_socket(listening)
        on_ready(listening.getsockname()[1])
        try:
            await asyncio.Event().wait()
        finally:
            server.stop()

    asyncio.run(run())


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def addresses(host: str, port: int) -> tuple[str, ...]:
    """Return the addresses by which others reach a server that listens on ``host``."""
    if host not in EVERYWHERE:
        return (f"http://{f'[{host}]' if ':' in host else host}:{port}",)
    here = (
        row.address for rows in psutil.net_if_addrs().values() for row in rows if row.family == socket.AF_INET
    )
    return tuple(f"http://{address}:{port}" for address in here if not address.startswith("127."))
