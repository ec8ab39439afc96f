"""Run notebooks in a prefix's own Python and collect what they prove.

Every notebook gets a kernel of its own, started from the prefix's interpreter (never through a kernelspec,
which may point elsewhere) and cut off from the user's site-packages, IPython profile and Jupyter settings.
Several kernels run at once. A notebook whose kernel dies, hangs or never starts fails with the reason; the
others go on. What the notebooks say of themselves is described in ``notebooks/checks.py``.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

import nbformat
import psutil
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from d2lenv.base import signals
from d2lenv.base.errors import USAGE, D2lEnvError
from d2lenv.base.files import write_atomic
from d2lenv.base.messages import tr

RESULT_MIME = "application/vnd.d2lenv.result+json"
"""The type of the machine-readable result in a notebook's outputs; as in notebooks/checks.py."""

RESULT_TAG = "d2lenv-result"
"""The tag of the cell that shows it."""

CELL_TIMEOUT_S = 600

Status = Literal["passed", "failed", "not-checked", "not-applicable", "stopped"]
CheckStatus = Literal["passed", "failed", "not-checked"]
Cause = Literal[
    "",
    "check",  # a check of the notebook's own failed
    "error",  # a cell raised
    "dead-kernel",
    "time-limit",
    "no-kernel",  # the kernel did not start
    "not-a-notebook",
    "no-result",  # the result cell showed nothing that can be read
    "needs",  # made for other packages, or another language
    "network",  # a download found nobody (books.py)
    "stopped",
]

# What a kernel with PyTorch, torchvision and d2l imported holds, with room for its children: 0.5 GiB
# measured for torch 2.0.1 on Linux without a GPU.
_MEMORY_PER_KERNEL = 1536 * 2**20
_STARTUP_TIMEOUT_S = 120
_LOG_LINES = 40
# What is kept of one notebook's output: a hundred times what a chapter of the book shows.
_MEGABYTES = 16
_OUTPUT_CHARACTERS = _MEGABYTES * 10**6
_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b.?")

# nbclient and jupyter_client also log what they raise; the report has it, the terminal need not.
_quiet = logging.getLogger("d2lenv.smoke.quiet")
_quiet.propagate = False
_quiet.addHandler(logging.NullHandler())


@dataclass(frozen=True)
class Check:
    """One statement of a notebook. ``needs`` says what would allow a check that was not made ("gpu")."""

    name: str
    status: CheckStatus
    detail: str = ""
    needs: str = ""


@dataclass(frozen=True)
class Fingerprint:
    """A seeded number (or several) that another machine reproduces within ``rel_tol`` (relative)."""

    name: str
    value: tuple[float, ...]
    rel_tol: float


@dataclass(frozen=True)
class Measurement:
    """A number about this machine that is neither right nor wrong."""

    name: str
    value: float
    unit: str


@dataclass(frozen=True)
class NotebookResult:
    """What became of one notebook.

    Attributes:
        name: the file's name without ``.ipynb``.
        seconds: wall time from the kernel's start to its end; 0 when it was not started.
        device: what the notebook says that it computed on; empty when it says nothing.
        cause, reason: why it did not pass, for machines and for the reader; both empty when it passed.
        place: the failing cell, counted from 1 over all cells, with its first line; empty elsewhere.
        traceback: of the failing cell, without colour codes.
        kernel_log: the last lines that the kernel process itself wrote, outside of any cell.
        executed: the notebook with its outputs; None when it did not run.
    """

    name: str
    path: Path
    status: Status
    seconds: float = 0.0
    device: str = ""
    cause: Cause = ""
    reason: str = ""
    place: str = ""
    traceback: str = ""
    kernel_log: str = ""
    checks: tuple[Check, ...] = ()
    fingerprints: tuple[Fingerprint, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    executed: Path | None = None


@dataclass(frozen=True)
class PrefixPython:
    """A prefix's Python, as it describes itself.

    Attributes:
        folders: what activation would put at the front of PATH.
        packages: canonical name → version, of everything installed, and ``python`` itself.
    """

    executable: Path
    prefix: Path
    version: str
    platform: str
    folders: tuple[str, ...] = ()
    packages: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SmokeRun:
    """All notebooks of one run, in the order in which they were given."""

    interpreter: PrefixPython
    started: datetime
    seconds: float
    jobs: int
    threads: int
    require_gpu: bool
    notebooks: tuple[NotebookResult, ...]

    @property
    def failed(self) -> bool:
        """Did anything fail, or was anything stopped before it could pass?"""
        return any(notebook.status in ("failed", "stopped") for notebook in self.notebooks)

    @property
    def interrupted(self) -> bool:
        """Was the run stopped by a signal?"""
        return any(notebook.status == "stopped" for notebook in self.notebooks)

    def as_dict(self) -> dict[str, Any]:
        """For ``--json`` and ``result.json``."""
        return {
            "interrupted": self.interrupted,
            "started": self.started.isoformat(timespec="seconds"),
            "seconds": round(self.seconds, 3),
            "jobs": self.jobs,
            "threads": self.threads,
            "require_gpu": self.require_gpu,
            "python": {
                "executable": str(self.interpreter.executable),
                "prefix": str(self.interpreter.prefix),
                "version": self.interpreter.version,
                "platform": self.interpreter.platform,
                "packages": dict(self.interpreter.packages),
            },
            "notebooks": [
                asdict(notebook)
                | {
                    "path": str(notebook.path),
                    "seconds": round(notebook.seconds, 3),
                    "executed": str(notebook.executed) if notebook.executed else None,
                }
                for notebook in self.notebooks
            ],
        }


@dataclass(frozen=True)
class Event:
    """A step of the run, for whoever shows progress. ``cell`` counts code cells begun, of ``cells``."""

    kind: Literal["started", "cell", "finished"]
    name: str
    cell: int = 0
    cells: int = 0
    result: NotebookResult | None = None


def checked_name(environment: str) -> str:
    """``environment``, which is about to become the name of a folder.

    Raises:
        D2lEnvError: it is not fit for that.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", environment):
        raise D2lEnvError(tr("`{name}` cannot be the name of an environment", name=environment), status=USAGE)
    return environment


def interpreter_of(prefix: Path) -> Path:
    """The Python of a conda prefix or a virtual environment.

    Raises:
        D2lEnvError: there is none.
    """
    for name in ("bin/python", "python.exe", "Scripts/python.exe"):
        if (prefix / name).is_file():
            return prefix.absolute() / name
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


def describe(python: Path) -> PrefixPython:
    """Ask ``python`` for its version and packages.

    Raises:
        D2lEnvError: it does not run.
    """
    why = ""
    try:
        answer = subprocess.run(
            [python, "-I", "-c", _DESCRIBE],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=120,
        )
        if answer.returncode == 0:
            said = json.loads(answer.stdout)
            windows = [
                Path(said["prefix"]) / "Library" / part for part in ("mingw-w64/bin", "usr/bin", "bin")
            ]
            folders = [*said["folders"], *(str(folder) for folder in windows if folder.is_dir())]
            packages: dict[str, str] = {"python": said["version"]}
            for name, version in sorted(said["packages"].items()):
                packages[canonicalize_name(name)] = version
            return PrefixPython(
                executable=python,
                prefix=Path(said["prefix"]),
                version=said["version"],
                platform=said["platform"],
                folders=tuple(dict.fromkeys(folders)),
                packages=packages,
            )
        why = answer.stderr.strip()[-500:]
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError) as error:
        why = str(error)
    raise D2lEnvError(
        tr("the Python of this environment does not run: {path}", path=python),
        why=why,
        fix=tr("build the environment again"),
    )


def find(folder: Path, names: Sequence[str] = ()) -> tuple[Path, ...]:
    """The notebooks in ``folder`` (not below it), sorted; only those in ``names`` when there are any.

    Raises:
        D2lEnvError: there are none, or a name is not among them.
    """
    every = {path.stem: path for path in sorted(folder.glob("*.ipynb"), key=lambda path: path.stem)}
    if not every:
        raise D2lEnvError(tr("no notebooks in {folder}", folder=folder), status=USAGE)
    wanted = [name.removesuffix(".ipynb") for name in names]
    for name in wanted:
        if name not in every:
            raise D2lEnvError(
                tr("{folder} has no notebook `{name}`", folder=folder, name=name),
                fix=tr("choose one of: {names}", names=", ".join(every)),
                status=USAGE,
            )
    return tuple(path for stem, path in every.items() if not wanted or stem in wanted)


def cores() -> int:
    """Processor cores that this process may use, a container's limit counted in; at least 1."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        count = os.cpu_count() or 1
    quota = _first_words("/sys/fs/cgroup/cpu.max")
    if len(quota) == 2 and quota[0].isdigit() and int(quota[1]) > 0:
        count = min(count, math.ceil(int(quota[0]) / int(quota[1])))
    return max(1, count)


def memory() -> int:
    """Bytes that can be had without swapping, a container's limit counted in."""
    available: int = psutil.virtual_memory().available
    limit, used = _first_words("/sys/fs/cgroup/memory.max"), _first_words("/sys/fs/cgroup/memory.current")
    if limit and used and limit[0].isdigit():
        available = min(available, int(limit[0]) - int(used[0]))
    return available


def _first_words(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError):
        return []


def choose_jobs(notebooks: int, cores: int, memory: int) -> int:
    """How many kernels to run at once: one for each core as far as memory goes."""
    return max(1, min(notebooks, cores, memory // _MEMORY_PER_KERNEL))


def run(
    python: Path,
    notebooks: Sequence[Path],
    executed: Path,
    *,
    require_gpu: bool = False,
    cell_timeout_s: int = CELL_TIMEOUT_S,
    jobs: int | None = None,
    revise: Callable[[NotebookResult], NotebookResult] = lambda result: result,
    on_event: Callable[[Event], None] = lambda event: None,
) -> SmokeRun:
    """Run ``notebooks`` with the prefix's ``python``; never raises for what a notebook does.

    Ctrl-C (or another of :mod:`d2lenv.base.signals`) ends the kernels and their children. The result has
    everything that had finished by then; the rest has the status ``stopped``.

    Args:
        executed: folder for the notebooks with their outputs, each written when it ends.
        require_gpu: a check that was not made for want of a GPU is a failure.
        cell_timeout_s: the most seconds for one cell.
        jobs: kernels at once; None chooses from cores and memory.
        revise: has the last word on each result.

    Raises:
        D2lEnvError: ``python`` does not run, or ``executed`` cannot be written or is where the notebooks
            are, which would be overwritten.
    """
    if any(path.parent.resolve() == executed.resolve() for path in notebooks):
        raise D2lEnvError(
            tr("the executed notebooks would overwrite those in {folder}", folder=executed),
            fix=tr("choose another folder for the report"),
            status=USAGE,
        )
    interpreter = describe(python)
    count = jobs or choose_jobs(len(notebooks), cores(), memory())
    threads = max(1, cores() // count)
    started, clock = datetime.now(timezone.utc), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="d2lenv-smoke-", ignore_cleanup_errors=True) as scratch:
        session = _Session(
            interpreter=interpreter,
            variables=variables(interpreter, threads, Path(scratch)),
            scratch=Path(scratch),
            executed=executed,
            require_gpu=require_gpu,
            cell_timeout_s=cell_timeout_s,
            revise=revise,
            on_event=on_event,
        )
        results = _in_a_loop(session, notebooks, count)
    return SmokeRun(
        interpreter=interpreter,
        started=started,
        seconds=time.monotonic() - clock,
        jobs=count,
        threads=threads,
        require_gpu=require_gpu,
        notebooks=results,
    )


def variables(interpreter: PrefixPython, threads: int, scratch: Path) -> dict[str, str]:
    """The kernel's environment variables: the caller's, without what would let other packages in.

    As activation does, the prefix comes first on PATH. (conda's ``activate.d`` scripts are not run: no
    package of these environments needs one to compute.)
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith(
            ("PYTHON", "JUPYTER", "IPYTHON", "CONDA_", "VIRTUAL_ENV", "JPY_", "MPLBACKEND")
        )
    }
    kept["PATH"] = os.pathsep.join([*interpreter.folders, kept.get("PATH", "")])
    kept["CONDA_PREFIX" if (interpreter.prefix / "conda-meta").is_dir() else "VIRTUAL_ENV"] = str(
        interpreter.prefix
    )
    kept["PYTHONNOUSERSITE"] = "1"
    kept["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"  # debugpy's warning about frozen modules, in every kernel
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        folder = scratch / name.lower()
        folder.mkdir(exist_ok=True)
        kept[name] = str(folder)
    # Kernels side by side share the cores; a number that the user has set is the user's.
    kept.setdefault("OMP_NUM_THREADS", str(threads))
    return kept


@dataclass(frozen=True)
class _Session:
    """What every notebook of a run shares."""

    interpreter: PrefixPython
    variables: Mapping[str, str]
    scratch: Path
    executed: Path
    require_gpu: bool
    cell_timeout_s: int
    revise: Callable[[NotebookResult], NotebookResult]
    on_event: Callable[[Event], None]
    stopping: threading.Event = field(default_factory=threading.Event)


def _in_a_loop(session: _Session, notebooks: Sequence[Path], jobs: int) -> tuple[NotebookResult, ...]:
    # On Windows the default loop cannot watch ZeroMQ's sockets without a helper thread; this one can.
    loop = asyncio.SelectorEventLoop() if sys.platform == "win32" else asyncio.new_event_loop()
    try:
        everything = loop.create_task(_run_all(session, notebooks, jobs))

        def stop() -> None:
            if not session.stopping.is_set():  # a second Ctrl-C must not stop the cleaning up
                session.stopping.set()
                everything.cancel()

        with signals.answered_by(lambda _: loop.call_soon_threadsafe(stop)):
            return loop.run_until_complete(everything)
    finally:
        # nbclient leaves a task behind that watches a kernel which has been stopped.
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


async def _run_all(session: _Session, notebooks: Sequence[Path], jobs: int) -> tuple[NotebookResult, ...]:
    slots = asyncio.Semaphore(jobs)

    async def one(path: Path) -> NotebookResult:
        result = NotebookResult(path.stem, path, "stopped", cause="stopped", reason=tr("not started"))
        with suppress(asyncio.CancelledError):  # Ctrl-C: what has finished is still wanted
            async with slots:
                result = await _run_one(session, path)
        session.on_event(Event("finished", path.stem, result=result))
        return result

    tasks = [asyncio.ensure_future(one(path)) for path in notebooks]
    try:
        # Cancelling this cancels the tasks and waits: each ends its kernel and says how far it came.
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks)
    finally:  # one of them raised, for instance because the disk is full: no kernel stays behind
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
    return tuple(task.result() for task in tasks)


async def _run_one(session: _Session, path: Path) -> NotebookResult:
    result = NotebookResult(path.stem, path, "failed")
    try:
        notebook = read(path)
    except D2lEnvError as error:
        return replace(result, cause="not-a-notebook", reason=error.why)
    unfit = needs(notebook, session.interpreter)
    if unfit:
        return replace(result, status="not-applicable", cause="needs", reason=unfit)

    clock = time.monotonic()
    session.on_event(Event("started", path.stem, cells=_code_cells(notebook)))
    files = Path(tempfile.mkdtemp(dir=session.scratch, prefix=""))
    log_path = files / "kernel.log"
    outcome = await _execute(session, path, notebook, log_path)
    result = session.revise(judge(replace(result, **outcome), notebook, require_gpu=session.require_gpu))
    target = session.executed / path.name
    write_atomic(target, nbformat.writes(notebook) + "\n")
    return replace(result, seconds=time.monotonic() - clock, kernel_log=_tail(log_path), executed=target)


def read(path: Path) -> Any:
    """A notebook, brought to format 4.

    Raises:
        D2lEnvError: the file cannot be read or is not a notebook; ``why`` says it in one sentence.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a cell without an id: older than the rule
            notebook = nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)
            nbformat.validate(notebook)
    except OSError as error:
        why = tr("the file cannot be read: {reason}", reason=error.strerror or error)
    except (ValueError, KeyError, AttributeError, TypeError, nbformat.ValidationError) as error:
        lines = str(error).strip().splitlines()
        why = tr(
            "the file is not a notebook: {reason}", reason=lines[0][:200] if lines else type(error).__name__
        )
    else:
        return notebook
    raise D2lEnvError(tr("{path} cannot be read", path=path), why=why)


def needs(notebook: Any, interpreter: PrefixPython) -> str:
    """Why the notebook is not for this prefix, in one sentence; empty when it is.

    Notebooks say so in their metadata: ``"d2lenv": {"requires": ["d2l>=1.0"]}`` (PEP 508).
    """
    language = (notebook.metadata.get("kernelspec") or {}).get("language") or "python"
    if str(language).lower() != "python":
        return tr("needs a kernel for {language}", language=language)
    wanted = (notebook.metadata.get("d2lenv") or {}).get("requires") or []
    for text in wanted:
        try:
            requirement = Requirement(str(text))
        except InvalidRequirement:
            return tr("its metadata asks for `{requirement}`, which cannot be read", requirement=text)
        if requirement.marker and not requirement.marker.evaluate(
            {"python_version": _short(interpreter.version)}
        ):
            continue
        here = interpreter.packages.get(canonicalize_name(requirement.name))
        if here is None:
            return tr("needs {requirement}, which is not installed here", requirement=text)
        if not requirement.specifier.contains(here, prereleases=True):
            return tr("needs {requirement}, here {version}", requirement=text, version=here)
    return ""


def _short(version: str) -> str:
    return ".".join(version.split(".")[:2])


class _OwnKernel(KernelSpecManager):
    """Answers every question for a kernel with the prefix's own Python."""

    def __init__(self, spec: KernelSpec) -> None:
        super().__init__(log=_quiet)
        self.spec = spec

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        return self.spec


class _Client(NotebookClient):
    """A client that does not keep everything that a runaway loop prints."""

    left = _OUTPUT_CHARACTERS

    def process_message(self, msg: dict[str, Any], cell: Any, cell_index: int) -> Any:
        content = msg["content"]
        size = len(str(content.get("text") or content.get("data") or ""))
        if size > self.left and RESULT_MIME not in content.get("data", {}):
            if not self.left:
                return None
            notice = tr(
                "d2lenv: the notebook prints more than {size} MB, the rest is left out", size=_MEGABYTES
            )
            msg["content"] = {
                "name": "stdout",
                "text": content.get("text", "")[: self.left] + f"\n{notice}\n",
            }
            msg["msg_type"] = msg["header"]["msg_type"] = "stream"
            self.left = 0
        else:
            self.left -= min(size, self.left)
        return super().process_message(msg, cell, cell_index)


# A Unix socket's address ends at 104 bytes on macOS and 108 on Linux; "-1" to "-5" are appended to ours.
_SOCKET_BYTES = 100


def _kernel_manager(session: _Session, files: Path) -> Any:
    spec = KernelSpec(
        argv=[str(session.interpreter.executable), "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        display_name="d2lenv",
        language="python",
    )
    manager = AsyncKernelManager(
        kernel_name="python3",
        kernel_spec_manager=_OwnKernel(spec),
        connection_file=str(files / "connection.json"),
        log=_quiet,
    )
    # Sockets in our own private folder where there are such; else 127.0.0.1, jupyter_client's default.
    socket = str(files / "s")
    if sys.platform != "win32" and len(os.fsencode(socket)) <= _SOCKET_BYTES:
        manager.transport, manager.ip = "ipc", socket
    return manager


async def _execute(session: _Session, path: Path, notebook: Any, log_path: Path) -> dict[str, Any]:
    """Run every cell; the fields of :class:`NotebookResult` that say what went wrong, none if nothing did."""
    manager = _kernel_manager(session, log_path.parent)
    client = _Client(notebook, km=manager, timeout=session.cell_timeout_s, log=_quiet)
    client.startup_timeout = _STARTUP_TIMEOUT_S
    out_of_memory = _oom_kills()
    index = -1
    pid = 0
    with log_path.open("wb") as log:
        try:
            await client.async_start_new_kernel(
                env=dict(session.variables), cwd=str(path.parent), stdout=log, stderr=log
            )
            pid = getattr(manager.provisioner, "pid", None) or 0
            try:
                await client.async_start_new_kernel_client()
            except RuntimeError as error:
                last = next((line for line in reversed(_tail(log_path).splitlines()) if line.strip()), "")
                reason = tr(
                    "the kernel did not start: {reason}", reason=f"{error}: {last}" if last else error
                )
                return {"cause": "no-kernel", "reason": reason}
            begun = 0
            for index, cell in enumerate(notebook.cells):
                if cell.cell_type == "code":
                    begun += 1
                    session.on_event(Event("cell", path.stem, begun, _code_cells(notebook)))
                await client.async_execute_cell(cell, index, execution_count=client.code_cells_executed + 1)
        except CellExecutionError as error:
            await _show_result(client, notebook, after=index)
            return {
                "cause": "error",
                "reason": plain(f"{error.ename}: {error.evalue}").strip().splitlines()[0],
                "place": _place(notebook, index),
                "traceback": _traceback(notebook.cells[index]),
            }
        except CellTimeoutError:
            reason = tr("a cell ran longer than {seconds} s", seconds=session.cell_timeout_s)
            return {"cause": "time-limit", "reason": reason, "place": _place(notebook, index)}
        except (DeadKernelError, asyncio.CancelledError):
            # nbclient takes a cancelled task for a dead kernel; only the flag tells the two apart.
            if session.stopping.is_set():
                return {"status": "stopped", "cause": "stopped", "reason": tr("stopped while it ran")}
            reason = _death(await manager.provisioner.poll(), _oom_kills() > out_of_memory)
            return {"cause": "dead-kernel", "reason": reason, "place": _place(notebook, index)}
        except OSError as error:
            return {"cause": "no-kernel", "reason": tr("the kernel did not start: {reason}", reason=error)}
        finally:
            await _end(client, manager, pid)
    return {}


async def _show_result(client: Any, notebook: Any, after: int) -> None:
    """Let the result cell show what was checked before cell ``after`` raised."""
    for index, cell in enumerate(notebook.cells):
        if index > after and RESULT_TAG in cell.metadata.get("tags", []):
            # It raises when a check failed, and that is not news any more; nor is a kernel that dies now.
            with suppress(CellExecutionError, CellTimeoutError, DeadKernelError):
                await client.async_execute_cell(cell, index, execution_count=client.code_cells_executed + 1)


async def _end(client: Any, manager: Any, pid: int) -> None:
    """End the kernel, and every process that it has left behind."""
    family: list[psutil.Process] = []
    if pid:
        with suppress(psutil.Error):
            family = psutil.Process(pid).children(recursive=True)
    if client.kc is not None:
        client.kc.stop_channels()
    if manager.has_kernel:
        with suppress(RuntimeError):
            await manager.shutdown_kernel(now=True)
    await manager.cleanup_resources()
    if pid and hasattr(os, "killpg"):  # jupyter_client starts a kernel as the leader of its own group
        with suppress(OSError):
            os.killpg(pid, signal.SIGKILL)
    for process in family:
        with suppress(psutil.Error):
            process.kill()


def _oom_kills() -> int:
    """How often this Linux has killed a process for want of memory since it started; 0 elsewhere."""
    words = _first_words("/proc/vmstat")
    return int(words[words.index("oom_kill") + 1]) if "oom_kill" in words else 0


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


def _place(notebook: Any, index: int) -> str:
    if index < 0:
        return ""
    lines = [line for line in notebook.cells[index].source.splitlines() if line.strip()]
    return tr("cell {number}: {line}", number=index + 1, line=lines[0][:100] if lines else "")


def _traceback(cell: Any) -> str:
    errors = [output for output in cell.outputs if output.output_type == "error"]
    return plain("\n".join(errors[-1].traceback)) if errors else ""


def _tail(path: Path) -> str:
    with suppress(OSError):
        lines = plain(path.read_bytes()[-65536:].decode("utf-8", "replace")).splitlines()
        return "\n".join(lines[-_LOG_LINES:])
    return ""


def _code_cells(notebook: Any) -> int:
    return sum(cell.cell_type == "code" for cell in notebook.cells)


def plain(text: str) -> str:
    """``text`` without the codes that colour a terminal."""
    return _ANSI.sub("", text)


def judge(result: NotebookResult, notebook: Any, *, require_gpu: bool) -> NotebookResult:
    """Add what the notebook says of itself, and decide whether it passed.

    ``result`` comes with the status "failed"; without a cause, every cell ran to its end.
    """
    said = _bundle(notebook)
    if said is not None:
        try:
            result = replace(
                result,
                device=plain(str(said["device"])),
                checks=tuple(_check(entry) for entry in said["checks"]),
                fingerprints=tuple(_fingerprint(entry) for entry in said["fingerprints"]),
                measurements=tuple(
                    Measurement(str(entry["name"]), float(entry["value"]), str(entry["unit"]))
                    for entry in said["measurements"]
                ),
            )
        except (KeyError, TypeError, ValueError) as error:
            reason = tr("its result cannot be read: {reason}", reason=repr(error))
            return result if result.cause else replace(result, cause="no-result", reason=reason)
    if result.status == "stopped" or (result.cause and result.cause != "error"):
        return result
    if require_gpu:
        result = replace(result, checks=tuple(_required(check) for check in result.checks))
    failed = [check for check in result.checks if check.status == "failed"]
    # The result cell raises when a check failed: then the checks are the reason, not the exception.
    if failed and (not result.cause or result.reason.startswith("ChecksFailed")):
        first = failed[0]
        reason = f"{first.name} ({first.detail})" if first.detail else first.name
        if len(failed) > 1:
            reason = tr("{first}, and {count} more", first=reason, count=len(failed) - 1)
        return replace(result, cause="check", reason=reason, traceback="", place="")
    if result.cause:
        return result
    if said is None and any(RESULT_TAG in cell.metadata.get("tags", []) for cell in notebook.cells):
        return replace(result, cause="no-result", reason=tr("its last cell showed no result"))
    return replace(result, status="passed")


def _bundle(notebook: Any) -> Any:
    """The last machine-readable result among the outputs; None without one."""
    found = None
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            found = output.get("data", {}).get(RESULT_MIME, found)
    return found


def _check(entry: Any) -> Check:
    status = entry["status"]
    if status not in ("passed", "failed", "not-checked"):
        raise ValueError(status)
    return Check(str(entry["name"]), status, plain(str(entry.get("detail", ""))), str(entry.get("needs", "")))


def _fingerprint(entry: Any) -> Fingerprint:
    value = entry["value"]
    numbers = value if isinstance(value, list) else [value]
    return Fingerprint(str(entry["name"]), tuple(float(v) for v in numbers), float(entry["rel_tol"]))


def _required(check: Check) -> Check:
    if check.status == "not-checked" and check.needs == "gpu":
        return replace(check, status="failed", detail=tr("a GPU is required: {reason}", reason=check.detail))
    return check
