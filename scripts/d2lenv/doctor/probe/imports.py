"""``doctor --imports``: start the environment's Python once and let it import what d2l and Jupyter need.

Each import has a process of its own, several at a time, so that a crash, a wait or a half-loaded module of
one says nothing about the others. The processes are started by the environment's Python itself.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from d2lenv.base import process
from d2lenv.base.messages import tr
from d2lenv.doctor.model import Context
from d2lenv.doctor.probe.deep import Probe

IMPORT_TIMEOUT_S = 60.0
_START_S = 30.0

# Module → the distribution that brings it.
NEEDED = {
    "numpy": "numpy",
    "pandas": "pandas",
    "scipy.linalg": "scipy",
    "matplotlib.pyplot": "matplotlib",
    "matplotlib_inline.backend_inline": "matplotlib-inline",
    "PIL.Image": "pillow",
    "requests": "requests",
    "torch": "torch",
    "torchvision": "torchvision",
    "torchaudio": "torchaudio",
    "d2l.torch": "d2l",
    "IPython": "ipython",
    "ipykernel.kernelapp": "ipykernel",
    "zmq": "pyzmq",
    "jupyter_client": "jupyter-client",
    "jupyter_server": "jupyter-server",
    "nbconvert": "nbconvert",
    "jupyterlab.labapp": "jupyterlab",
    "notebook": "notebook",
}

# Both take the working folder off the path before they import anything: see base/process.py.
_ONE = """
import sys
sys.path[:1] == [""] and sys.path.pop(0)
import json
answer = {}
try:
    __import__(sys.argv[1])
    module = sys.modules[sys.argv[1].partition(".")[0]]
    answer = {"version": str(getattr(module, "__version__", ""))}
except BaseException as error:
    trace, last = error.__traceback__, ""
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        last = last if name.startswith("<") else name
        trace = trace.tb_next
    answer = {"error": "%s: %s" % (type(error).__name__, error), "file": last}
sys.stdout.flush()
sys.__stdout__.write("\\nD2LENV" + json.dumps(answer) + "\\n")
sys.__stdout__.flush()
"""
_ALL = """
import sys
sys.path[:1] == [""] and sys.path.pop(0)
import json, subprocess, tempfile, time
names, timeout, most, one = json.loads(sys.argv[1])
waiting, running = list(names), {}
while waiting or running:
    while waiting and len(running) < most:
        name, out = waiting.pop(0), tempfile.TemporaryFile()
        child = subprocess.Popen([sys.executable, "-c", one, name], stdin=subprocess.DEVNULL, stdout=out,
                                 stderr=subprocess.STDOUT)
        running[name] = child, out, time.monotonic()
    for name, (child, out, since) in list(running.items()):
        late = time.monotonic() - since > timeout
        if child.poll() is None and not late:
            continue
        if late and child.poll() is None:
            child.kill()
        status = child.wait()
        out.seek(0)
        lines = out.read().decode("utf-8", "replace").splitlines()
        said = [line[6:] for line in lines if line.startswith("D2LENV")]
        print("D2LENV" + json.dumps([name, status, late, said[-1] if said else "", lines[-1:]]), flush=True)
        del running[name]
    time.sleep(0.02)
"""


def imports(context: Context, timeout_s: float = IMPORT_TIMEOUT_S) -> tuple[Probe, ...]:
    """Import what is installed of :data:`NEEDED`, and never raise."""
    names = tuple(name for name, distribution in NEEDED.items() if context.version(distribution))
    python = context.prefix.python
    if python is None or not names:
        return ()
    most = max(1, process.cores())
    asked = json.dumps([names, timeout_s, most, _ONE])
    inherited = process.python_environment(os.environ)
    try:
        done = process.run(
            [python, "-c", _ALL, asked],
            timeout_s=_START_S + timeout_s * (len(names) / most + 1),
            environ={**inherited, "MPLBACKEND": "agg", "PYTHONDONTWRITEBYTECODE": "1"},
            cwd=Path(python.anchor),
        )
    except OSError as error:
        return (Probe("python", "failed", str(error)),)
    found = dict(_answers(done.stdout, str(context.prefix.path) + os.sep))
    lost = tr("the environment's Python said nothing about it")
    return tuple(found.get(name, Probe(name, "failed", lost)) for name in names)


def _answers(text: str, prefix: str) -> Iterator[tuple[str, Probe]]:
    for line in text.splitlines():
        if not line.startswith("D2LENV"):
            continue
        name, status, late, said, last = json.loads(line.removeprefix("D2LENV"))
        yield name, _judged(name, status, late, _object(said), "".join(last), prefix)


def _object(text: str) -> dict[str, Any]:
    try:
        data = json.loads(text) if text else {}
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def _judged(name: str, status: int, late: bool, said: dict[str, Any], last: str, prefix: str) -> Probe:
    if said.get("error"):
        where = str(said.get("file", "")).removeprefix(prefix)
        return Probe(name, "failed", tr("{error}, in {file}", error=said["error"], file=where or "?"))
    if "version" in said:
        return Probe(name, "ok", said["version"])
    if late:
        # A busy machine is no broken package.
        return Probe(name, "not-checked", tr("no answer in time; run it again when the computer is idle"))
    if status < 0:
        return Probe(name, "failed", tr("the process crashed (signal {n})", n=-status))
    return Probe(name, "failed", last or tr("it ended with status {n}", n=status))
