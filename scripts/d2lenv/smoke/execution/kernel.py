"""A kernel of the prefix's own Python for one notebook, from its start to its end."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from d2lenv.base.files import open_private
from d2lenv.base.process import python_module
from d2lenv.smoke.devices import kernel_options
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

_STARTUP_TIMEOUT_S = 120


class _OwnKernel(KernelSpecManager):
    """Answers every question for a kernel with the prefix's own Python."""

    def __init__(self, spec: KernelSpec) -> None:
        super().__init__(log=quiet)
        self.spec = spec

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        return self.spec


def _kernel_manager(session: Session, files: Path) -> Any:
    spec = KernelSpec(
        # Not `-m`: a reader's random.py beside the notebook would be imported before the kernel is one.
        argv=[
            *python_module(session.interpreter.executable, "ipykernel_launcher", "-f", "{connection_file}"),
            *kernel_options(session.devices),
        ],
        display_name="d2lenv",
        language="python",
    )
    manager = AsyncKernelManager(
        kernel_name="python3",
        kernel_spec_manager=_OwnKernel(spec),
        connection_file=str(files / "connection.json"),
        log=quiet,
    )
    if sys.platform != "win32":  # else 127.0.0.1, jupyter_client's default
        manager.transport, manager.ip = "ipc", str(session.sockets / files.name)
    return manager


class Kernel:
    """A notebook in a kernel (:class:`~d2lenv.smoke.execution.session.Way`)."""

    def __init__(self, session: Session, path: Path, notebook: Any, log: Path) -> None:
        self.session, self.path, self.log = session, path, log
        self.manager = _kernel_manager(session, log.parent)
        self.client: Any = Client(notebook, km=self.manager, timeout=session.limits.cell_s, log=quiet)
        self.client.startup_timeout = _STARTUP_TIMEOUT_S
        self.pid = 0

    async def start(self) -> None:
        client, environ = self.client, dict(self.session.variables)
        with open_private(self.log) as log:
            await client.async_start_new_kernel(
                env=environ, cwd=str(self.path.parent), stdout=log, stderr=log
            )
        self.pid = getattr(self.manager.provisioner, "pid", None) or 0
        try:
            await client.async_start_new_kernel_client()
        except RuntimeError as error:
            last = next((line for line in reversed(tail(self.log).splitlines()) if line.strip()), "")
            raise NotStarted(f"{error}: {last}" if last else str(error)) from error

    async def run(self, cell: Any, index: int) -> None:
        client = self.client
        try:
            await client.async_execute_cell(cell, index, execution_count=client.code_cells_executed + 1)
        except CellExecutionError as error:
            raise CellRaised(error.ename, error.evalue) from error
        except CellTimeoutError as error:
            raise CellTooLong from error
        except (DeadKernelError, asyncio.CancelledError) as error:
            # nbclient takes a cancelled task for a dead kernel; the session's flag tells the two apart.
            raise Dead from error

    async def status(self) -> int | None:
        code: int | None = await self.manager.provisioner.poll()
        return code

    async def end(self) -> float:
        family = family_of(self.pid) if self.pid else []
        if self.client.kc is not None:
            self.client.kc.stop_channels()
        if self.manager.has_kernel:
            with suppress(RuntimeError):
                await self.manager.shutdown_kernel(now=True)
        await self.manager.cleanup_resources()
        kill(self.pid, family)  # jupyter_client starts a kernel as the leader of its own group
        return 0.0
