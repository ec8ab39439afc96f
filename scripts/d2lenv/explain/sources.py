"""Get the text to explain: words, a file, standard input, the outputs of a notebook."""

from __future__ import annotations

import codecs
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from d2lenv.base.errors import D2lEnvError
from d2lenv.base.messages import tr
from d2lenv.explain.match import HEAD, TAIL
from d2lenv.prefix.contents.text import open_file, reason

MOST = 64 << 20
"""More bytes of one input are not read."""

NOTEBOOK = ".ipynb"

# UTF-8 has at most four bytes a character.
_HEAD, _TAIL = HEAD * 4, TAIL * 4
_OUTPUT = re.compile(rb'"output_type"[ \t]{0,8}:[ \t]{0,8}"(?:error|stream)"')
_MOST_OUTPUTS = 200
_MOST_BRACES = 20
_LONGEST_OUTPUT = 1 << 20


def read(words: Sequence[str], stream: BinaryIO | None) -> str:
    """Return the text that the words of the command name.

    Args:
        words: a file, or the text itself; ``-`` or nothing for standard input.
        stream: standard input.

    Raises:
        D2lEnvError: if the file cannot be read, or the notebook shows no error.
    """
    if list(words) in ([], ["-"]):
        assert stream is not None
        return decoded(stream.read(MOST))
    text = " ".join(words)
    return _file(Path(text)) if len(words) == 1 and _is_file(text) else text


def _is_file(text: str) -> bool:
    # A text with line ends or of the length of a paragraph is no name, and some systems refuse to look.
    if "\n" in text or len(text) > 1024:
        return False
    try:
        return Path(text).is_file()
    except (OSError, ValueError):
        return False


def _file(path: Path) -> str:
    try:
        with open_file(path) as file:
            data: bytes = file.read(MOST)
    except (OSError, ValueError) as error:
        raise D2lEnvError(tr("{path} cannot be read", path=path), why=reason(error)) from error
    if path.suffix != NOTEBOOK:
        return decoded(data)
    if text := "\n".join(outputs(data)):
        return text
    raise D2lEnvError(
        tr("no cell of {path} shows an error", path=path),
        fix=tr("run the cell that fails, save the notebook, and ask again"),
    )


def decoded(data: bytes) -> str:
    """Return the beginning and the end of ``data`` as text.

    PowerShell writes UTF-16 into files, and a Chinese Windows GBK.
    """
    end = len(data) - _TAIL
    if end > _HEAD:
        data = data[:_HEAD] + b"\n\n" + data[end + end % 2 :]
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace")
    text = data.decode("utf-8-sig", "replace")
    lost = text.count("�")
    if lost > 2:  # a cut can lose two
        chinese = data.decode("gb18030", "replace")
        return chinese if chinese.count("�") < lost else text
    return text


def outputs(notebook: bytes) -> Iterator[str]:
    """Yield the error outputs of a notebook, and what its cells wrote to standard error.

    A notebook may be huge, cut off, or no JSON at all: only the outputs themselves are parsed.
    """
    places = [match.start() for match in _OUTPUT.finditer(notebook)][-_MOST_OUTPUTS:]
    for place in places:
        output = _object(notebook, place)
        kind = output.get("output_type")
        if kind == "error":
            yield _joined(output.get("traceback"), "\n")
            yield f"{output.get('ename')}: {output.get('evalue')}"
        elif kind == "stream" and output.get("name") == "stderr":
            yield _joined(output.get("text"), "")


def _object(data: bytes, place: int) -> Mapping[str, Any]:
    """Return the JSON object around ``place``, empty if there is none."""
    start = place
    for _ in range(_MOST_BRACES):
        start = data.rfind(b"{", max(0, place - _LONGEST_OUTPUT), start)
        if start < 0:
            break
        text = data[start : place + _LONGEST_OUTPUT].decode("utf-8", "replace")
        try:
            found, length = json.JSONDecoder().raw_decode(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict) and "output_type" in found and start + length > place:
            return found
    return {}


def _joined(value: Any, between: str) -> str:
    parts = value if isinstance(value, list) else [value]
    return between.join(part for part in parts if isinstance(part, str))


def standard_input() -> BinaryIO | None:
    """Return standard input, or nothing if somebody sits at it."""
    if sys.stdin is None or sys.stdin.isatty():
        return None
    return sys.stdin.buffer
