"""Servers of the loopback that give data sets, well and badly."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import datakit

BY_NAME = {path.rpartition("/")[2]: content for path, content in datakit.CONTENT.items()}


@dataclass
class Host:
    """A server.

    Attributes:
        manner: how it answers; see ``_Handler``.
        asked: name and range of each request.
        breaks: answers that end too early, before it is well again.
        gate: what comes after the first block waits for it.
    """

    manner: str = "ranges"
    breaks: int = 0
    url: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    waiting: threading.Event = field(default_factory=threading.Event)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    host: Host

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        name, wanted = self.path.rpartition("/")[2], self.headers.get("Range", "")
        self.host.asked.append((name, wanted))
        with suppress(OSError):
            getattr(self, f"_{self.host.manner}")(BY_NAME.get(name), wanted)

    def _head(self, status: int, length: int | None, **headers: str) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True

    def _ranges(self, content: bytes | None, wanted: str) -> None:
        if content is None:
            self._head(404, 0)
            return
        begin = int(wanted.removeprefix("bytes=").rstrip("-") or 0)
        if begin >= len(content):
            self._head(416, 0)
            return
        status = 206 if wanted else 200
        self._head(
            status, len(content) - begin, Content_Range=f"bytes {begin}-{len(content) - 1}/{len(content)}"
        )
        if self.host.breaks:
            self.host.breaks -= 1
            self.wfile.write(content[begin : begin + (len(content) - begin) // 2])
            return
        self.wfile.write(content[begin:])

    def _gated(self, content: bytes | None, wanted: str) -> None:
        assert content is not None
        begin = int(wanted.removeprefix("bytes=").rstrip("-") or 0)
        middle = max(begin, len(content) // 2)
        self._head(
            206 if wanted else 200, len(content) - begin, Content_Range=f"bytes {begin}-/{len(content)}"
        )
        self.wfile.write(content[begin:middle])
        self.wfile.flush()
        self.host.waiting.set()
        self.host.gate.wait(60)
        self.wfile.write(content[middle:])

    def _plain(self, content: bytes | None, wanted: str) -> None:
        assert content is not None
        self._head(200, len(content))
        half = len(content) // 2 if self.host.breaks else len(content)
        self.host.breaks = max(0, self.host.breaks - 1)
        self.wfile.write(content[:half])

    def _wrong(self, content: bytes | None, wanted: str) -> None:
        assert content is not None
        self._head(200, len(content))
        self.wfile.write(b"?" * len(content))

    def _other_range(self, content: bytes | None, wanted: str) -> None:
        assert content is not None
        self._head(206, len(content), Content_Range=f"bytes 0-{len(content) - 1}/{len(content)}")
        self.wfile.write(content)

    def _endless(self, content: bytes | None, wanted: str) -> None:
        self._head(200, None)
        while True:
            self.wfile.write(b"x" * 1_000_000)

    def _trickle(self, content: bytes | None, wanted: str) -> None:
        assert content is not None
        self._head(200, len(content))
        for byte in content:
            self.wfile.write(bytes([byte]))
            time.sleep(0.02)

    def _silent(self, content: bytes | None, wanted: str) -> None:
        self.host.gate.wait(60)

    def _slow_head(self, content: bytes | None, wanted: str) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        while not self.host.gate.wait(0.05):
            self.wfile.write(b"x")

    def _loop(self, content: bytes | None, wanted: str) -> None:
        self._head(302, 0, Location=self.path)

    def _to_a_file(self, content: bytes | None, wanted: str) -> None:
        self._head(302, 0, Location="file:///etc/hostname")

    def _moved(self, content: bytes | None, wanted: str) -> None:
        if self.path.startswith("/there/"):
            self._ranges(content, wanted)
        else:
            self._head(302, 0, Location=f"/there{self.path}")

    def _escapes(self, content: bytes | None, wanted: str) -> None:
        self.wfile.write(b"HTTP/1.1 500 \x1b[31mred\x1b]0;title\x07\r\nContent-Length: 0\r\n\r\n")
        self.close_connection = True


@contextmanager
def serving(manner: str = "ranges", breaks: int = 0) -> Iterator[Host]:
    """A server that answers in this manner while the body runs."""
    host = Host(manner, breaks)
    handler = type("Handler", (_Handler,), {"host": host})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    host.url = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield host
    finally:
        host.gate.set()
        server.shutdown()
        server.server_close()
        thread.join(10)
