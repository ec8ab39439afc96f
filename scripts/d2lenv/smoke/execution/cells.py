"""Run a notebook's cells one after another, and say why it ended before the last."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from d2lenv.base.messages import tr
from d2lenv.smoke import machine
from d2lenv.smoke.execution.fork import POSSIBLE, Fork, Server
from d2lenv.smoke.execution.kernel import Kernel
from d2lenv.smoke.execution.limits import Exceeded, Watch
from d2lenv.smoke.execution.session import CellRaised, CellTooLong, Dead, NotStarted, Session, Way
from d2lenv.smoke.judge import RESULT_TAG
from d2lenv.smoke.notebooks import code_cells
from d2lenv.smoke.results import Event, plain


@dataclass
class _Running:
    """One notebook that runs.

    Attributes:
        index: the cell that runs; -1 before the first.
        done: code cells that have ended.
    """

    session: Session
    path: Path
    notebook: Any
    way: Way
    index: int = -1
    done: int = 0
    watch: Watch | None = None
    watching: asyncio.Task[None] | None = None


def choose(session: Session, server: Server | None, path: Path, notebook: Any, log: Path) -> Way:
    """Return a fork of ``server``; a kernel without one, or if the notebook's metadata asks for it."""
    wants = (notebook.metadata.get("d2lenv") or {}).get("kernel")
    if server is None or wants or not POSSIBLE:
        return Kernel(session, path, notebook, log)
    return Fork(server, path, notebook, log)


async def execute(session: Session, path: Path, notebook: Any, way: Way) -> dict[str, Any]:
    """Run every cell and return the fields of :class:`NotebookResult` that it explains."""
    running = _Running(session, path, notebook, way)
    killed_before = machine.oom_kills()
    try:
        await way.start()
        running.watch = Watch(way.pid, session.limits, path.parent)
        running.watching = asyncio.ensure_future(running.watch.run())
        await _run_cells(running)
        found: dict[str, Any] = {}
    except CellRaised as error:
        await _show_result(running)
        found = _raised(running, error)
    except CellTooLong:
        reason = tr("a cell ran longer than {seconds} s", seconds=session.limits.cell_s)
        found = {"cause": "time-limit", "reason": reason, "place": _place(running)}
    except (Dead, asyncio.CancelledError):
        found = await _dead(running, killed_before)
    except (OSError, NotStarted) as error:
        found = {"cause": "no-kernel", "reason": tr("the kernel did not start: {reason}", reason=error)}
    finally:
        used = await _end(running)
    return {**found, **used}


async def _run_cells(running: _Running) -> None:
    total = code_cells(running.notebook)
    for index, cell in enumerate(running.notebook.cells):
        running.index = index
        if cell.cell_type == "code":
            running.session.on_event(Event("cell", running.path.stem, running.done + 1, total))
        await running.way.run(cell, index)
        running.done += cell.cell_type == "code"


def _raised(running: _Running, error: CellRaised) -> dict[str, Any]:
    lines = plain(str(error)).strip().splitlines()
    return {
        "cause": "error",
        "reason": lines[0],
        "place": _place(running),
        "traceback": _traceback(running.notebook.cells[running.index]),
    }


async def _dead(running: _Running, killed_before: int) -> dict[str, Any]:
    if running.session.stopping.is_set():
        return {"status": "stopped", "cause": "stopped", "reason": tr("stopped while it ran")}
    exceeded = _exceeded(running)
    if exceeded:
        return {"cause": exceeded.kind, "reason": exceeded.reason, "place": _place(running)}
    reason = _death(await running.way.status(), machine.oom_kills() > killed_before)
    return {"cause": "dead-kernel", "reason": reason, "place": _place(running)}


def _exceeded(running: _Running) -> Exceeded | None:
    return running.watch.exceeded if running.watch else None


async def _show_result(running: _Running) -> None:
    """Let the result cell show what was checked before another cell raised."""
    for index, cell in enumerate(running.notebook.cells):
        if index > running.index and RESULT_TAG in cell.metadata.get("tags", []):
            # It raises when a check failed, and that is not news any more; nor is a process that dies now.
            with suppress(CellRaised, CellTooLong, Dead):
                await running.way.run(cell, index)


async def _end(running: _Running) -> dict[str, Any]:
    """End the process, and return how far it came and what it used."""
    if running.watching is not None:
        running.watching.cancel()
        with suppress(asyncio.CancelledError):
            await running.watching
    seconds = await running.way.end()
    watch = running.watch
    return {
        "cells": code_cells(running.notebook),
        "cells_done": running.done,
        "cpu_s": round(max(seconds, watch.cpu_s if watch else 0.0), 2),
        "memory": watch.memory if watch else 0,
    }


def _death(code: int | None, out_of_memory: bool) -> str:
    if code is not None and code < 0:
        name = next((s.name for s in signal.Signals if s.value == -code), str(-code))
        if out_of_memory:
            return tr("the kernel was killed ({signal}): this machine ran out of memory", signal=name)
        if name == "SIGKILL":
            return tr("the kernel was killed ({signal}); often that means out of memory", signal=name)
        return tr("the kernel died of {signal}", signal=name)
    if code is None:
        return tr("the kernel died")
    # Windows gives a crash's NTSTATUS, which is only known in hexadecimal: 0xC0000005.
    return tr("the kernel ended with exit status {code}", code=code if code < 256 else f"0x{code:08X}")


def _place(running: _Running) -> str:
    if running.index < 0:
        return ""
    source = running.notebook.cells[running.index].source
    first = next((line for line in source.splitlines() if line.strip()), "")
    return tr("cell {number}: {line}", number=running.index + 1, line=first[:100])


def _traceback(cell: Any) -> str:
    errors = [output for output in cell.outputs if output.output_type == "error"]
    return plain("\n".join(errors[-1].traceback)) if errors else ""
