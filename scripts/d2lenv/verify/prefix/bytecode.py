"""Compare compiled Python with its source, by the interpreter that would run it.

Only the same release of Python compiles to the same code. The interpreter that is started imports nothing
from the prefix: `-I -S` leaves site-packages out, and with `pycache_prefix` no compiled file of its own
library is read either.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from d2lenv.base import process
from d2lenv.base.messages import tr

_CHILD = Path(__file__).with_name("compile_child.py")
_TIMEOUT_S = 900.0
_START_TIMEOUT_S = 15.0
# Below that a second interpreter takes longer to start than it saves.
_ENOUGH = 100
_COMPILED = re.compile(
    r"(?P<above>(?:.*/)?)__pycache__/(?P<stem>[^/.]+)\.[\w-]+(?:\.opt-(?P<level>[12]))?\.pyc"
)


class Compiled(NamedTuple):
    """A path like ``a/__pycache__/x.cpython-310.opt-1.pyc``.

    Attributes:
        source: ``a/x.py``, the only file beside which Python reads it.
        level: of optimisation, 0 to 2.
    """

    path: str
    source: str
    level: int


def compiled(path: str) -> Compiled | None:
    """Return the parts of a compiled file's path, None for another path."""
    found = _COMPILED.fullmatch(path)
    return found and Compiled(path, f"{found['above']}{found['stem']}.py", int(found["level"] or 0))


def interpreter(version: str, environ: Mapping[str, str], outside: Path) -> Path | None:
    """Return the first Python ``version`` (``3.10.13``): the tool's, or one on the PATH outside a folder."""
    minor = version.rpartition(".")[0]
    found = (process.which(name, environ, outside=[outside]) for name in (f"python{minor}", "python3"))
    for python in (Path(sys.executable), *filter(None, found)):
        if _version(python) == version:
            return python
    return None


def _version(python: Path) -> str:
    code = "import sys; print('.'.join(map(str, sys.version_info[:3])))"
    try:
        return process.run([python, "-I", "-S", "-c", code], timeout_s=_START_TIMEOUT_S).stdout.strip()
    except OSError:
        return ""


def differing(python: Path, root: Path, files: Sequence[Compiled]) -> dict[str, str]:
    """Compile the sources again and return path → reason for each of ``files`` that is other code.

    Args:
        python: the interpreter that would run them.
        root: the prefix that the paths are relative to.

    Raises:
        OSError: if the interpreter does not start or does not answer.
    """
    workers = min(process.cores(), 1 + len(files) // _ENOUGH)
    slices = [files[start::workers] for start in range(workers)]
    with tempfile.TemporaryDirectory() as empty, ThreadPoolExecutor(workers) as pool:
        answers = pool.map(lambda some: _ask(python, root, some, empty), slices)
        return {path: why for answer in answers for path, why in answer}


def _ask(python: Path, root: Path, files: Sequence[Compiled], empty: str) -> Iterable[tuple[str, str]]:
    question = [(f"{root}/{file.path}", f"{root}/{file.source}", file.level) for file in files]
    options = ["-I", "-S", "-B", "-W", "ignore", "-X", f"pycache_prefix={empty}"]
    try:
        done = process.run(
            [python, *options, _CHILD], timeout_s=_TIMEOUT_S, cwd=Path(empty), text=json.dumps(question)
        )
        answers = [str(answer) for answer in json.loads(done.stdout)]
    except TimeoutError as error:
        raise OSError(0, tr("no end after {seconds} s", seconds=f"{_TIMEOUT_S:g}")) from error
    except (ValueError, TypeError) as error:
        why = done.stderr.strip()[-500:] or tr("status {status}", status=done.returncode)
        raise OSError(0, f"{python}: {why}") from error
    if len(answers) != len(files):
        raise OSError(0, tr("its answer is incomplete"))
    reasons = {"differs": tr("its source compiles to other code"), "other": tr("another Python made it")}
    return [
        (file.path, reasons.get(answer, answer))
        for file, answer in zip(files, answers, strict=True)
        if answer != "same"
    ]
