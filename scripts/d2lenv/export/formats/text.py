"""Text for YAML and Markdown, without a library, which would reorder and refold our lines."""

from __future__ import annotations

import json
import re

# Colons only between other characters: "::" in specs and "://" in addresses, never "name: value".
_PLAIN = re.compile(r"[A-Za-z_]([A-Za-z0-9_./+%=@!<>,:-]*[A-Za-z0-9_*])?")
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"})


def scalar(text: str) -> str:
    """Return ``text`` as a YAML scalar on one line, quoted where a reader could take it for something else.

    JSON's double-quoted strings are YAML's.
    """
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return json.dumps(text)


def comment(*paragraphs: str) -> str:
    """Return ``paragraphs`` as ``# `` lines; line breaks in them stay."""
    lines = "\n".join(paragraphs).split("\n")
    return "".join(f"# {line}".rstrip() + "\n" for line in lines)


def bytes_text(size: int) -> str:
    """Return ``1.2 MB`` for ``1234567`` (powers of ten, as download pages have it)."""
    value = float(size)
    for unit in ("B", "kB", "MB"):
        if value < 999.5:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 99.5 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.2f} GB"


def escaped(text: str) -> str:
    """Return ``text`` so that Markdown shows it as it is: no markup, no HTML, no end of a table's cell."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~&@:-])", lambda m: f"&#{ord(m.group(1))};", " ".join(text.split()))
