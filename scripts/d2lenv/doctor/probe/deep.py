"""``doctor --deep``: start the environment's own Python, import things, run an operation on the GPU."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from d2lenv.base import process
from d2lenv.base.messages import tr

IMPORT_TIMEOUT_S = 120.0

# What is started, in order; each in its own process, so that a crash of one does not hide the others.
PROBES = ("torch", "torchvision", "torchaudio", "d2l.torch", "gpu")

# `-c` puts the working folder first on the path, and -P or -I would hide PYTHONPATH and the user's site,
# which the notebook gets too. `sys` is built in: nothing is looked up before the folder is off the path.
_PROGRAM = """
import sys
sys.path[0] == "" and sys.path.pop(0)
import json
name, answer = sys.argv[1], {}
if name == "gpu":
    import torch
    answer["version"] = torch.__version__
    answer["cuda"] = torch.version.cuda or ""
    answer["architectures"] = list(torch.cuda.get_arch_list())
    answer["available"] = torch.cuda.is_available()
    if answer["available"]:
        a = torch.ones(64, 64, device="cuda")
        answer["result"] = float((a @ a).sum().cpu())
        answer["device"] = torch.cuda.get_device_name(0)
else:
    __import__(name)
    module = sys.modules[name]
    answer["version"] = str(getattr(module, "__version__", ""))
    answer["file"] = str(getattr(module, "__file__", ""))
print("D2LENV" + json.dumps(answer))
"""
# 64 x 64 ones times itself: every entry is 64.
_RIGHT = 64.0**3


@dataclass(frozen=True)
class Probe:
    """What one start of the environment's Python showed.

    Attributes:
        state: ``ok``, ``failed`` or ``not-checked``.
        detail: version and place, or the last line of the error.
    """

    name: str
    state: str
    detail: str


def probe(python: Path, names: tuple[str, ...], timeout_s: float = IMPORT_TIMEOUT_S) -> tuple[Probe, ...]:
    """Start ``python`` once for each of ``names`` (see :data:`PROBES`), and never raise."""
    return tuple(_one(python, name, timeout_s) for name in names)


def _one(python: Path, name: str, timeout_s: float) -> Probe:
    inherited = process.python_environment(os.environ)
    environment = {**inherited, "MPLBACKEND": "agg", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = process.run(
            [python, "-c", _PROGRAM, name], timeout_s=timeout_s, environ=environment, cwd=Path(python.anchor)
        )
    except TimeoutError:
        # A busy machine is no broken package.
        return Probe(name, "not-checked", tr("no answer within {n} s", n=int(timeout_s)))
    except OSError as error:
        return Probe(name, "failed", str(error))
    line = next((line for line in done.stdout.splitlines() if line.startswith("D2LENV")), "")
    if done.returncode or not line:
        last = [text for text in done.stderr.splitlines() if text.strip()]
        return Probe(name, "failed", last[-1] if last else tr("it ended with status {n}", n=done.returncode))
    answer = json.loads(line.removeprefix("D2LENV"))
    return (
        _gpu(answer) if name == "gpu" else Probe(name, "ok", f"{answer['version']} {answer['file']}".strip())
    )


def _gpu(answer: Mapping[str, object]) -> Probe:
    if not answer["available"]:
        detail = tr("torch sees no GPU") if answer["cuda"] else tr("CPU build")
        return Probe("gpu", "not-checked", detail)
    right = answer.get("result") == _RIGHT
    built = answer.get("architectures")
    codes = " ".join(str(code) for code in built) if isinstance(built, list) else ""
    detail = f"{answer.get('device')}: {answer.get('result')} {codes}".strip()
    return Probe("gpu", "ok" if right else "failed", detail)
