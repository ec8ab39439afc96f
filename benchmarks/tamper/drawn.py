"""Ways to change any entry of an environment; which entry is drawn at random."""

from __future__ import annotations

import marshal
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass

from sandbox import Sandbox, keep_times, rewrite

EVIL = "raise SystemExit('evil')\n"


@dataclass(frozen=True)
class Tampering:
    """One way to change an environment.

    Attributes:
        apply: changes the entry that it is given; the named ones know their own.
        kind: of the entries that it is for.
        quick: whether `--quick` must find it too.
        harmless: the words of docs/fingerprint.md by which it may stay; empty if it must be found.
    """

    name: str
    apply: Callable[[Sandbox, str], None]
    kind: str = "file"
    quick: bool = True
    harmless: str = ""


def flip(box: Sandbox, path: str) -> None:
    place = box.fresh(path)
    data = bytearray(place.read_bytes() or b"\0")
    data[random.Random(path).randrange(len(data))] ^= 1 << random.Random(path).randrange(8)
    keep_times(place, bytes(data))


def append(box: Sandbox, path: str) -> None:
    place = box.fresh(path)
    rewrite(place, place.read_bytes() + b"\n")


def truncate(box: Sandbox, path: str) -> None:
    place = box.fresh(path)
    rewrite(place, place.read_bytes()[:-1])


def empty(box: Sandbox, path: str) -> None:
    place = box.fresh(path)
    rewrite(place, b"" if place.stat().st_size else b"\n")


def delete(box: Sandbox, path: str) -> None:
    box.take(path)


def to_folder(box: Sandbox, path: str) -> None:
    box.take(path)
    (box.root / path).mkdir()


def to_link(box: Sandbox, path: str) -> None:
    (box.root / path).symlink_to(box.take(path))


def to_pipe(box: Sandbox, path: str) -> None:
    box.take(path)
    os.mkfifo(box.root / path)


def rename(box: Sandbox, path: str) -> None:
    kept = box.take(path)
    copy = box.new(f"{path}2")
    shutil.copytree(kept, copy, symlinks=True) if kept.is_dir() else shutil.copy2(kept, copy)


def touch(box: Sandbox, path: str) -> None:
    os.utime(box.fresh(path))


def retarget(box: Sandbox, path: str) -> None:
    target = os.readlink(box.take(path))  # noqa: PTH115 - its own text
    (box.root / path).symlink_to(f"{target}x")


def link_to_file(box: Sandbox, path: str) -> None:
    box.take(path)
    (box.root / path).write_text("x", encoding="utf-8")


def folder_to_link(box: Sandbox, path: str) -> None:
    (box.root / path).symlink_to(box.take(path))


def add(suffix: str) -> Callable[[Sandbox, str], None]:
    def apply(box: Sandbox, path: str) -> None:
        box.new(f"{path}/added-{random.Random(path).randrange(10**6)}{suffix}").write_text(
            EVIL, encoding="utf-8"
        )

    return apply


def add_folder(box: Sandbox, path: str) -> None:
    box.new(f"{path}/added-folder").mkdir()


def mode(bits: int, *, clear: bool = False) -> Callable[[Sandbox, str], None]:
    return lambda box, path: box.chmod(path, bits, clear=clear)


def poison(box: Sandbox, path: str, *, flags: bytes = b"") -> None:
    """Put other code under the honest header."""
    place = box.fresh(path)
    data = place.read_bytes()
    header = data[:4] + (flags or data[4:8]) + data[8:16]
    keep_times(place, header + marshal.dumps(compile(EVIL, "x.py", "exec")))


def poison_a_little(box: Sandbox, path: str) -> None:
    """Change one constant, by a single bit of the last name or number in the file."""
    place = box.fresh(path)
    data = bytearray(place.read_bytes())
    data[random.Random(path).randrange(16, len(data))] ^= 1
    keep_times(place, bytes(data))


MODES = "the bits of a mode that let group or others read"
GONE = "a `.pyc` or `__pycache__` that is gone"
TIME = "another time of a file with the same content"
RANDOM = (
    Tampering("a bit flipped, size and time kept", flip, quick=False),
    Tampering("a byte appended", append),
    Tampering("the last byte cut off", truncate),
    Tampering("emptied", empty),
    Tampering("deleted", delete),
    Tampering("became an empty folder", to_folder),
    Tampering("became a link to the same content", to_link),
    Tampering("became a pipe", to_pipe),
    Tampering("renamed", rename),
    Tampering("time changed", touch, harmless=TIME),
    Tampering("link points elsewhere", retarget, "link"),
    Tampering("link deleted", delete, "link"),
    Tampering("link became a file", link_to_file, "link"),
    Tampering("folder deleted", delete, "folder"),
    Tampering("folder renamed", rename, "folder"),
    Tampering("folder became a link to itself elsewhere", folder_to_link, "folder"),
    Tampering("folder writable for all", mode(0o002), "folder"),
    Tampering("folder writable for its group", mode(0o020), "folder"),
    Tampering("module added", add(".py"), "folder"),
    Tampering("shared object added", add(".so"), "folder"),
    Tampering("file added", add(""), "folder"),
    Tampering(".pth added", add(".pth"), "folder"),
    Tampering("compiled module added", add(".pyc"), "folder"),
    Tampering("empty folder added", add_folder, "folder"),
    Tampering("setuid", mode(0o4000)),
    Tampering("setgid", mode(0o2000)),
    Tampering("may be executed by all", mode(0o111)),
    Tampering("writable for all", mode(0o002)),
    Tampering("writable for its group", mode(0o020)),
    Tampering("unreadable for its owner", mode(0o400, clear=True)),
    Tampering("unreadable for others", mode(0o044, clear=True), harmless=MODES),
    Tampering("read-only", mode(0o200, clear=True), harmless=MODES),
    Tampering("compiled file has other code", poison, "compiled", quick=False),
    Tampering("compiled file with one bit flipped", poison_a_little, "compiled", quick=False),
    Tampering("compiled file deleted", delete, "compiled", harmless=GONE),
    Tampering("compiled file became a link", to_link, "compiled"),
)
