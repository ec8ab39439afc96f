"""Compare compiled Python files with their sources, in the interpreter whose bytecode is judged.

The module ``bytecode`` starts this file by its path, with Python 3.8 or newer and without the tool. No
compiled file is unmarshalled: a hostile one could crash the interpreter or do worse
(docs.python.org/3/library/marshal.html). Both sides are read as trees of constants instead.
"""

from __future__ import annotations

import json
import marshal
import sys
from importlib.util import MAGIC_NUMBER

_HEADER = 16
_FLAG_REF = 0x80
# Of a code object: numbers, objects and the file name's place before the line number, objects after it.
_CODE = (5, 8, 5, 2) if sys.version_info >= (3, 11) else (6, 8, 6, 1)
_SINGLE = "NTFS.0"
_FIXED = {"i": 4, "I": 8, "g": 8, "y": 16}
# Strings that are one kind of value; how they are stored depends on what else the process holds.
_TEXT = {"z": 1, "Z": 1, "a": 4, "A": 4, "u": 4, "t": 4}
_SEQUENCES = {")": 1, "(": 4, "[": 4, "<": 4, ">": 4}


class _Reader:
    """Read marshalled data into numbers: equal trees have equal numbers in one table."""

    def __init__(self, data: bytes, table: dict[object, int]) -> None:
        self.data = data
        self.table = table
        self.at = 0
        self.refs: list[int | None] = []

    def read(self) -> int:
        """Return the number of the only object in the data."""
        found = self._object()
        if self.at != len(self.data):
            raise ValueError("data after the end")
        return found

    def _take(self, count: int) -> bytes:
        if count < 0 or self.at + count > len(self.data):
            raise ValueError("no such length")
        self.at += count
        return self.data[self.at - count : self.at]

    def _number(self, size: int = 4) -> int:
        self.at += size
        return int.from_bytes(self.data[self.at - size : self.at], "little", signed=size > 1)

    def _id(self, *key: object) -> int:
        return self.table.setdefault(key, len(self.table))

    def _object(self) -> int:
        byte = self.data[self.at]
        self.at += 1
        kind = chr(byte & ~_FLAG_REF)
        if kind == "r":
            found = self.refs[self._number()]
            if found is None:
                raise ValueError("an object that holds itself")
            return found
        place = len(self.refs)
        if byte & _FLAG_REF:
            self.refs.append(None)
        found = self._value(kind)
        if byte & _FLAG_REF:
            self.refs[place] = found
        return found

    def _value(self, kind: str) -> int:
        if kind in _TEXT:
            return self._id("text", self._take(self._number(_TEXT[kind])))
        if kind in _SEQUENCES:
            items = [self._object() for _ in range(self._number(_SEQUENCES[kind]))]
            if kind in "<>":  # in the order of this process's hashes
                items.sort()
            return self._id("(" if kind == ")" else kind, *items)
        if kind in _SINGLE:
            return self._id(kind)
        if kind in _FIXED:
            return self._id(kind, self._take(_FIXED[kind]))
        if kind == "s":
            return self._id(kind, self._take(self._number()))
        if kind == "l":
            digits = self._number()
            return self._id(kind, digits, self._take(2 * abs(digits)))
        if kind == "c":
            return self._code()
        if kind == ":":  # a slice, since Python 3.14
            return self._id(kind, self._object(), self._object(), self._object())
        raise ValueError("unknown kind")

    def _code(self) -> int:
        numbers, before, file_name, after = _CODE
        head = self._take(4 * numbers)
        objects = [self._object() for _ in range(before)]
        line = self._take(4)
        objects += [self._object() for _ in range(after)]
        del objects[file_name]  # Python puts the right one in when it loads the file
        return self._id("c", head, line, *objects)


def verdict(compiled: str, source: str, optimize: int) -> str:
    """Return ``same``, ``differs`` or ``other`` (made by another Python)."""
    with open(compiled, "rb") as file:  # noqa: PTH123 - pathlib takes longer to compile than most files
        data = file.read()
    if data[:4] != MAGIC_NUMBER:
        return "other"
    with open(source, "rb") as file:  # noqa: PTH123
        text = file.read()
    try:
        code = compile(text, source, "exec", dont_inherit=True, optimize=optimize)
        table: dict[object, int] = {}
        wanted = _Reader(marshal.dumps(code), table).read()
        return "same" if _Reader(data[_HEADER:], table).read() == wanted else "differs"
    except (SyntaxError, ValueError, IndexError, RecursionError, OverflowError, MemoryError):
        return "differs"


def main() -> None:
    """Read a list of (compiled, source, optimisation level) and write a list of verdicts, both as JSON."""
    sys.setrecursionlimit(4000)
    answers = []
    for compiled, source, optimize in json.load(sys.stdin):
        try:
            answers.append(verdict(compiled, source, optimize))
        except OSError as error:
            answers.append(error.strerror or "unreadable")
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
