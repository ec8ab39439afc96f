"""Compile Python files, in the interpreter that will run them.

:mod:`d2lenv.engines.conda.bytecode` gives this text to the environment's own Python, 3.8 or newer, which has
none of the tool's packages.
"""

import sys

if sys.path[0] == "":
    del sys.path[0]  # the working folder

import json
import os
import py_compile
import threading


def main() -> None:
    """Read (source, name in tracebacks) for each file; write the compiled file of each, null for none."""
    rows = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    done = []
    for source, name in rows:
        try:
            mode = py_compile.PycInvalidationMode.CHECKED_HASH
            done.append(py_compile.compile(source, dfile=name, doraise=True, invalidation_mode=mode))
        except (py_compile.PyCompileError, ValueError, RecursionError, MemoryError):
            done.append(None)  # a template, or a test of what is no Python
    print(json.dumps(done), flush=True)
    os._exit(0)  # not before the other thread has let go of standard input, as the interpreter's end would


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


main()
