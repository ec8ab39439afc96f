"""Small data sets in the shape of the books', and a table that names them."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

from d2lenv.data.table import Table, read


def _packed() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo("batches/one")
        member.size = 3
        archive.addfile(member, io.BytesIO(b"one"))
    return packed.getvalue()


CONTENT = {
    "words.txt": b"time machine\n" * 40_000,
    "Numbers/raw/images.gz": b"\x1f\x8b" + bytes(range(256)) * 2_000,
    "hub/checkpoints/net-0.pth": b"weights" * 30_000,
    "batches.tar.gz": _packed(),
    "unused.zip": b"PK nobody opens it",
}
"""Path of a file → what is in it; weights are renamed after their digest."""

WEIGHTS = (
    "hub/checkpoints/net-" + hashlib.sha256(CONTENT["hub/checkpoints/net-0.pth"]).hexdigest()[:8] + ".pth"
)
CONTENT[WEIGHTS] = CONTENT.pop("hub/checkpoints/net-0.pth")

NEEDS = {
    "en": {
        "chapter_words/words.ipynb": [["words", "../data"]],
        "chapter_vision/both.ipynb": [["numbers", "./temp"], ["net", ""]],
    },
    "zh": {"chapter_words/words.ipynb": [["words", "../data"]]},
    "dlwpt": {"p1ch7/later.ipynb": [["batches", "../unversioned/p1ch7", "unpacked"]]},
}


def table(url: str = "http://127.0.0.1:9/") -> Table:
    """The table of :data:`CONTENT`, all of it to be had below ``url``."""

    def file(path: str) -> dict[str, object]:
        content = CONTENT[path]
        known = {"urls": [url + path.rpartition("/")[2]]}
        if path == WEIGHTS:
            return {"path": path, "sha256-prefix": hashlib.sha256(content).hexdigest()[:8], **known}
        if path.endswith("gz"):
            return {"path": path, "md5": hashlib.md5(content).hexdigest(), **known}
        return {"path": path, "sha1": hashlib.sha1(content).hexdigest(), **known}

    names = dict(zip(("words", "numbers", "batches", "unused", "net"), CONTENT, strict=True))
    sets = [{"name": name, "sources": ["test"], "files": [file(path)]} for name, path in names.items()]
    return read(json.dumps({"sets": sets, "needs": NEEDS}))


def fill(folder: Path) -> Path:
    """Put all of :data:`CONTENT` into ``folder``."""
    for path, content in CONTENT.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder
