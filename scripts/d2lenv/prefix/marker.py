"""``d2lenv.json``, the file with which a prefix says what it was built from."""

from __future__ import annotations

import json
from pathlib import Path

MARKER = "d2lenv.json"
"""In each prefix that this tool built: environment, engine, platform, place and the lock's digest."""


def read(prefix: Path) -> dict[str, str]:
    """Return the marker of ``prefix``, empty for a prefix that this tool did not build."""
    try:
        said = json.loads((prefix / MARKER).read_text(encoding="utf-8"))
        return {str(key): str(value) for key, value in said.items()} if said["digest"] else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
