"""Notebooks in forks of a process that has imported what they import (fork_server.py).

The process of the environment listens on a Unix socket in a folder that only this user can enter.
"""

from __future__ import annotations

import asyncio
import json
import os
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from d2lenv.base.files import open_private
from d2lenv.base.process import Service, kill_service, python_file, start_service
from d2lenv.smoke.execution.limits import family_of, kill
from d2lenv.smoke.execution.session import (
    CellRaised,
    CellTooLong,
    Client,
    Dead,
    NotStarted,
    Session,
    quiet,
    tail,
)

POSSIBLE = sys.platform == "linux"
"""Return True if this system forks, tells of orphans and ends a child with its parent."""

_PROGRAM = Path(__file__).with_name("fork_server.py")
_HEAD = struct.Struct(">I")
# Longer than any message of a notebook that keeps to its form: output is cut to 16 MB later.
_LONGEST = 2**28
_START_S = 120.0
_END_S = 15.0
_LOGGED = 1 << 20


class Server:
    """The process that forks; started when the first notebook asks for it."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.address = session.sockets / "fork"
        self.log = session.scratch / "fork_server.log"
        self.service: Service | None = None

    def start(self) -> None:
        """Start it, unless it runs.

        Raises:
            OSError: if it cannot be started.
        """
        if self.service is not None and self.service.poll() is None:
            return
        self.end()
        with open_private(self.log) as log:
            self.service = start_service(
                python_file(self.session.interpreter.executable, _PROGRAM, *self._arguments()),
                cwd=self.session.scratch,
                environ=self.session.variables,
                output=log,
            )

    def _arguments(self) -> list[str]:
        """Return the socket, and the file with the fallbacks of d2l's GPU functions where they are on."""
        devices = self.session.devices
        return [str(self.address), *([str(devices)] if devices else [])]

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to it, as soon as it listens.

        Raises:
            NotStarted: if it ends, or does not listen in time.
        """
        self.start()
        assert self.service is not None
        loop = asyncio.get_running_loop()
        limit = loop.time() + _START_S
        while self.service.poll() is None and loop.time() < limit:
            with suppress(OSError):
                return await asyncio.open_unix_connection(str(self.address), limit=2**20)
            await asyncio.sleep(0.02)
        raise self.failure()

    def failure(self) -> NotStarted:
        """Return the last line of its log as the reason that it did not start."""
        return NotStarted(next((line for line in reversed(tail(self.log).splitlines()) if line.strip()), ""))

    def end(self) -> None:
        """End it; its notebooks have ended."""
        if self.service is not None:
            kill_service(self.service, 0.0)
            self.service = None
        with suppress(OSError):
            self.address.unlink()


@asynccontextmanager
async def serving(session: Session) -> AsyncIterator[Server]:
    """Yield the server of a run; it ends after the body."""
    server = Server(session)
    try:
        yield server
    finally:
        server.end()


class Fork:
    """A notebook in a fork (:class:`~d2lenv.smoke.execution.session.Way`)."""

    def __init__(self, server: Server, path: Path, notebook: Any, log: Path) -> None:
        self.server, self.path, self.log = server, path, log
        self.limits = server.session.limits
        self.client: Any = Client(notebook, log=quiet)
        # What was printed past Python: by C code, by programs that the notebook starts.
        self.printed = {"stdout": log.with_name("stdout"), "stderr": log}
        self.shown = dict.fromkeys(self.printed, 0)
        self.pid = 0
        self.count = 0
        self.ended: dict[str, Any] = {}

    async def start(self) -> None:
        for file in self.printed.values():
            open_private(file).close()
        self.reader, self.writer = await self.server.connect()
        try:
            await self._send(
                {
                    "folder": str(self.path.parent),
                    **{name: str(file) for name, file in self.printed.items()},
                    "file_bytes": self.limits.written or 0,
                }
            )
            self.pid = int((await self._receive())["started"])
        except (Dead, OSError) as error:
            raise self.server.failure() from error

    async def run(self, cell: Any, index: int) -> None:
        if cell.cell_type != "code" or not cell.source.strip():
            return
        self.count += 1
        cell.execution_count, cell.outputs = self.count, []
        self.client.clear_before_next_output = False
        try:
            done = await asyncio.wait_for(self._ran(cell, index), self.limits.cell_s)
        except (asyncio.TimeoutError, TimeoutError) as error:
            raise CellTooLong from error
        except (OSError, ValueError) as error:
            raise Dead from error
        finally:
            self._show_printed(cell, index)
        if done and "raises-exception" not in cell.metadata.get("tags", []):
            raise CellRaised(done["ename"], done["evalue"])

    async def _ran(self, cell: Any, index: int) -> dict[str, str]:
        await self._send({"source": cell.source})
        while True:
            message = await self._receive()
            if "done" in message:
                answer: dict[str, str] = message["done"]
                return answer
            self._show(message["msg_type"], message["content"], cell, index)

    def _show(self, kind: str, content: Any, cell: Any, index: int) -> None:
        message = {"msg_type": kind, "header": {"msg_type": kind}, "parent_header": {}, "content": content}
        self.client.process_message(message, cell, index)

    def _show_printed(self, cell: Any, index: int) -> None:
        for name, file in self.printed.items():
            with suppress(OSError), file.open("rb") as log:
                size = os.fstat(log.fileno()).st_size
                log.seek(self.shown[name])
                text = log.read(_LOGGED).decode("utf-8", "replace")
                self.shown[name] = size
                if text:
                    self._show("stream", {"name": name, "text": text}, cell, index)

    async def status(self) -> int | None:
        await self._wait_for_the_end()
        return os.waitstatus_to_exitcode(self.ended["ended"]) if self.ended else None

    async def end(self) -> float:
        if not hasattr(self, "writer"):
            return 0.0
        with suppress(OSError):
            await self._send({})
        if not await self._wait_for_the_end():
            kill(self.pid, family_of(self.pid))
            await self._wait_for_the_end()
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()
        return float(self.ended.get("cpu_s", 0.0))

    async def _wait_for_the_end(self) -> bool:
        with suppress(Dead, OSError, ValueError, asyncio.TimeoutError, TimeoutError):
            await asyncio.wait_for(self._until_the_end(), _END_S)
        return bool(self.ended)

    async def _until_the_end(self) -> None:
        while not self.ended:
            await self._receive()

    async def _send(self, message: Any) -> None:
        raw = json.dumps(message).encode("utf-8")
        self.writer.write(_HEAD.pack(len(raw)) + raw)
        await self.writer.drain()

    async def _receive(self) -> dict[str, Any]:
        """Return the next message.

        Raises:
            Dead: if that is the end, whether or not it was announced.
        """
        if self.ended:
            raise Dead
        try:
            size = _HEAD.unpack(await self.reader.readexactly(_HEAD.size))[0]
            if size > _LONGEST:
                raise Dead
            message: dict[str, Any] = json.loads(await self.reader.readexactly(size))
        except asyncio.IncompleteReadError as error:
            # A process that was killed while it wrote leaves half a message before the warden's.
            at = error.partial.rfind(b'{"ended"')
            if at < 0:
                raise Dead from error
            message = json.loads(error.partial[at:])
        if "ended" in message:
            self.ended = message
            raise Dead
        return message
