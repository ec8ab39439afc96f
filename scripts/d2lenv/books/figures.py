"""The last figure of an executed notebook, as a file that a page shows small."""

from __future__ import annotations

import json
from base64 import b64decode
from contextlib import suppress
from pathlib import Path
from typing import Any

from d2lenv.base.files import write_atomic

_KINDS = {"image/svg+xml": "svg", "image/png": "png", "image/jpeg": "jpg"}
# A larger one is left to the notebook: two hundred of them are on one page.
_MOST_BYTES = 1 << 20


def last_figure(notebook: bytes, folder: Path, name: str) -> str:
    """Write the last figure that is small enough into ``folder``; return its file's name, empty for none."""
    for data in reversed(_outputs(notebook)):
        for kind, ending in _KINDS.items():
            if kind not in data:
                continue
            text = data[kind] if isinstance(data[kind], str) else "".join(data[kind])
            raw = text.encode("utf-8", "replace") if ending == "svg" else b""
            with suppress(ValueError):
                raw = raw or b64decode(text)
            if raw and len(raw) <= _MOST_BYTES:
                write_atomic(folder / f"{name}.{ending}", raw)
                return f"{name}.{ending}"
    return ""


def _outputs(notebook: bytes) -> list[dict[str, Any]]:
    cells = json.loads(notebook)["cells"]
    return [output["data"] for cell in cells for output in cell.get("outputs", []) if "data" in output]
