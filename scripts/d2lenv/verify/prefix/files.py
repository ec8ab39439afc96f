"""Every entry of a prefix against what vouches for it: the baseline, else the packages' own lists."""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
import stat
from collections.abc import Callable
from pathlib import Path

from d2lenv.base.messages import printable, tr
from d2lenv.prefix import launchers
from d2lenv.prefix.baseline import VENV
from d2lenv.prefix.contents.model import Unreadable
from d2lenv.prefix.contents.text import read_text
from d2lenv.prefix.records import FileRecord
from d2lenv.prefix.scan import Entry, digests, leaves
from d2lenv.verify.prefix import bytecode
from d2lenv.verify.prefix.bytecode import Compiled
from d2lenv.verify.prefix.findings import Examination, Kind, instead
from d2lenv.verify.prefix.tolerances import Surroundings, tolerance

_STARTUP = re.compile(
    r"(.*/)?((site|user)customize\.(py|so|pyd)|[^/]+\.pth|__editable__[^/]*)|(.*/)?python[\d.]*\._pth",
    re.IGNORECASE,
)
# What `d2lenv build` adds to a prefix of pixi's; pixi makes it anew without them.
_OURS = re.compile(r"d2lenv\.json|share(/jupyter(/kernels(/d2l-[^/]+(/kernel\.json)?)?)?)?")
_ENTRY_POINT_LIMIT = 1 << 16
_NOTHING = hashlib.sha256(b"").hexdigest()
# Other bits say who may read, and whether the owner may write: nobody gains anything by them.
_RIGHTS = stat.S_ISUID | stat.S_ISGID | stat.S_IRUSR | stat.S_IWGRP | stat.S_IWOTH | 0o111
_ANYBODY = stat.S_ISUID | stat.S_ISGID | stat.S_IWOTH
# What an interpreter reads that starts with `-I -S` lies in none of these folders.
_NOT_READ_AT_START = re.compile(r"(.*/)?site-packages/.*|(share|etc|include|conda-meta)/.*", re.IGNORECASE)


def compare(look: Examination, progress: Callable[[int, int], None]) -> list[Entry]:
    """Compare everything, each content by its digest, and return the files that were read."""
    judged = _judged(look)
    to_read = [entry for entry in judged if entry.kind == "file" and look.expected(entry.path)]
    total = sum(entry.size for entry in to_read)
    done = 0

    def tell(size: int) -> None:
        nonlocal done
        done += size
        progress(done, total)

    found, failed = digests(look.tree.root, to_read, tell)
    for path, why in failed.items():
        look.add("unreadable", path, why)
    recompiled = []
    for entry in judged:
        if entry.path in found:
            if _compiled(look, entry) and found[entry.path] not in look.expected(entry.path):
                recompiled.append(entry)  # Python may have compiled it again
            else:
                _compare_digest(look, entry.path, found[entry.path])
        elif entry.kind == "file":
            _compare_made(look, entry)
    _missing(look)
    _compare_bytecode(look, recompiled)
    return to_read


def _judged(look: Examination) -> list[Entry]:
    """Judge every entry without reading its content and return those that are not merely tolerated."""
    _judge_root(look)
    around = Surroundings(look.tree.root, look.known, look.baseline is not None)
    judged = []
    for entry in look.tree.entries.values():
        if entry.path not in look.known and (found := tolerance(around, entry)) is not None:
            if entry.kind != "folder":
                look.tolerated[found.name] += 1
            continue
        _judge(look, entry)
        judged.append(entry)
    return judged


def compare_quickly(look: Examination) -> list[Entry]:
    """Compare sizes and, with a baseline, times, and return the files that were compared."""
    compared = [entry for entry in _judged(look) if entry.kind == "file"]
    for entry in compared:
        detail = _written_to(look, entry)
        if detail:
            look.add(_changed(look, entry.path), entry.path, detail)
    _missing(look)
    return compared


def _written_to(look: Examination, entry: Entry) -> str:
    """Return how a file's size or time shows that it was written to, empty when they do not."""
    before = look.baseline.entries.get(entry.path) if look.baseline is not None else None
    if before is not None and before.kind == "file":
        if before.size != entry.size:
            return instead(tr("bytes"), str(before.size), str(entry.size))
        changed = before.mtime_ns != entry.mtime_ns
        return tr("written to after the build; `verify` without --quick reads it") if changed else ""
    sizes = {line.size for line in look.records.of.get(entry.path, ()) if line.size is not None}
    if sizes and entry.size not in sizes:
        return instead(tr("bytes"), ", ".join(map(str, sorted(sizes))), str(entry.size))
    return ""


def _changed(look: Examination, path: str) -> Kind:
    return "record-changed" if path in look.records.sources else "file-changed"


def _compare_digest(look: Examination, path: str, digest: str) -> None:
    expected = look.expected(path)
    if digest not in expected:
        look.add(_changed(look, path), path, instead("sha256", min(expected)[:12], digest[:12]))


# ----------------------------------------------------------------------------------- kinds, links and modes


def _judge_root(look: Examination) -> None:
    mode = stat.S_IMODE(look.tree.root.stat().st_mode)
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        look.add("mode-changed", ".", tr("everybody may write to it: {mode}", mode=f"{mode:o}"))


def _judge(look: Examination, entry: Entry) -> None:
    """Judge all that can be judged without reading the content."""
    path = entry.path
    if entry.kind == "special":
        look.add("special", path, tr("a pipe, socket or device; it was not opened"))
        return
    before = look.baseline.entries.get(path) if look.baseline is not None else None
    if before is not None:
        _judge_recorded(look, before, entry)
    elif path not in look.known and not (look.baseline is None and VENV.fullmatch(path)):
        startup = entry.kind != "folder" and _STARTUP.fullmatch(path)
        detail = tr("Python runs it at every start") if startup else tr("no package of the lock owns it")
        look.add("startup-extra" if startup else "file-extra", path, detail)
    else:
        _judge_listed(look, entry)


def _judge_recorded(look: Examination, before: Entry, entry: Entry) -> None:
    if before.kind != entry.kind:
        look.add("kind-changed", entry.path, instead(tr("kind"), before.kind, entry.kind))
    elif before.target != entry.target:
        detail = instead(tr("target"), printable(before.target), printable(entry.target))
        look.add("link-changed", entry.path, detail)
    elif entry.kind != "link" and before.mode & _RIGHTS != entry.mode & _RIGHTS:
        look.add("mode-changed", entry.path, instead(tr("mode"), f"{before.mode:o}", f"{entry.mode:o}"))


def _judge_listed(look: Examination, entry: Entry) -> None:
    """Judge an entry of which nothing but the packages' own lists is known."""
    lines = look.records.of.get(entry.path, [])
    links = [line for line in lines if line.kind == "link"]
    # Where links need rights that the user has not, a client copies the file instead.
    if lines and entry.kind == "folder":
        look.add("kind-changed", entry.path, instead(tr("kind"), "link" if links else "file", "folder"))
    elif lines and (entry.kind == "link") != bool(links) and (entry.kind == "link" or os.name == "posix"):
        look.add("kind-changed", entry.path, instead(tr("kind"), "link" if links else "file", entry.kind))
    elif entry.kind == "link" and links:
        _judge_link(look, entry, links)
    elif entry.kind == "file" and entry.mode & _ANYBODY:
        look.add("mode-changed", entry.path, tr("the mode {mode} gives rights", mode=f"{entry.mode:o}"))


def _judge_link(look: Examination, entry: Entry, lines: list[FileRecord]) -> None:
    stated = {digest for line in lines for digest in (line.sha256, line.original) if digest}
    if leaves(entry.path, entry.target):
        target = printable(entry.target)
        look.add("link-changed", entry.path, tr("it leaves the prefix: {target}", target=target))
    elif stated and not stated & _link_digests(look, entry):
        target = printable(entry.target)
        look.add("link-changed", entry.path, tr("it points to another file: {path}", path=target))


def _link_digests(look: Examination, entry: Entry) -> set[str]:
    """Return the digests that conda-meta may have of a link.

    conda-build writes the digest of the file that it points to, and that of nothing for a link to a folder or
    to nowhere; rattler that of the link's own text (conda/rattler#643).
    """
    end = posixpath.normpath(posixpath.join(posixpath.dirname(entry.path), entry.target))
    pointed = {digest for line in look.records.of.get(end, ()) for digest in (line.sha256, line.original)}
    there = look.tree.entries.get(end)
    if there is None or there.kind != "file":
        pointed.add(_NOTHING)
    return pointed | {hashlib.sha256(os.fsencode(entry.target)).hexdigest()}


# ------------------------------------------------------------------------- made by an installer or by Python


def _compare_made(look: Examination, entry: Entry) -> None:
    """Judge a file that no digest vouches for: a starter that the installer wrote, by its text."""
    kinds = {line.kind for line in look.records.of.get(entry.path, ())}
    if "entry-point" in kinds and not entry.path.endswith(".exe"):
        trouble: list[Unreadable] = []
        text = read_text(look.tree.root / entry.path, _ENTRY_POINT_LIMIT, trouble)
        if not launchers.entry_point(text, look.tree.root):
            look.add("file-changed", entry.path, tr("it is not what a conda client writes"))
    elif entry.path in look.known and entry.path not in look.records.sources and not _compiled(look, entry):
        look.unvouched += 1


def _compiled(look: Examination, entry: Entry) -> Compiled | None:
    """Return the parts of a compiled file's path, None if its source is gone or was not built."""
    found = bytecode.compiled(entry.path) if entry.kind == "file" else None
    if found is None or found.source not in look.known:
        return None
    source = look.tree.entries.get(found.source)
    return found if source is not None and source.kind == "file" else None


def _compare_bytecode(look: Examination, recompiled: list[Entry]) -> None:
    """Compare with their sources the compiled files that no digest vouches for."""
    unvouched = [entry for entry in look.tree.entries.values() if not look.expected(entry.path)]
    files = [found for entry in [*recompiled, *unvouched] if (found := _compiled(look, entry))]
    if not files:
        return
    try:
        differing = bytecode.differing(_python(look), look.tree.root, files)
    except OSError as error:
        look.tolerated["bytecode"] = 0
        why = error.strerror or str(error)
        look.not_checked.append(
            tr(
                "{count} compiled files were not compared with their sources: {why}",
                count=len(files),
                why=why,
            )
        )
        return
    look.tolerated["bytecode"] = len(files) - len(differing)
    for path, why in differing.items():
        look.add("bytecode-differs", path, why)


def _python(look: Examination) -> Path:
    """Return the interpreter that would run the compiled files, or one of the same release.

    Only the baseline, which lies outside the prefix, can vouch for the interpreter that a prefix has or
    names: without it, that one is not started.

    Raises:
        OSError: if there is none.
    """
    version = look.prefix.python_version
    if look.baseline is None:
        found = bytecode.interpreter(version, os.environ, outside=look.tree.root)
        if found is None:
            raise OSError(0, tr("no Python {version} was found outside the environment", version=version))
        return found
    if any(found.path and not _NOT_READ_AT_START.fullmatch(found.path) for found in look.findings):
        raise OSError(0, tr("the environment's Python is not as it was built, so it was not started"))
    home = look.prefix.config.get("home")
    names = (f"python{look.prefix.python_minor}", "python3", "python.exe")
    places = [Path(home) / name for name in names] if home else [look.prefix.python]
    python = next((path for path in places if path is not None and path.is_file()), None)
    if python is None:
        raise OSError(0, tr("the environment has no Python"))
    return python


def _missing(look: Examination) -> None:
    names = dict.fromkeys([*look.records.of, *(look.baseline.entries if look.baseline else ())])
    anew = not look.prefix.marker and look.prefix.path.parent.parts[-2:] == (".pixi", "envs")
    for path in names:
        if path in look.tree.entries or _made_again(look, path) or (anew and _OURS.fullmatch(path)):
            continue
        look.add("file-missing", path)
    if anew and look.baseline is not None:
        text = tr("pixi made this prefix anew since `d2lenv build`: what only the latter adds is not in it")
        look.not_checked.append(text)


def _made_again(look: Examination, path: str) -> bool:
    """Return True for what Python makes again from its source."""
    found = bytecode.compiled(path)
    return (found is not None and found.source in look.known) or posixpath.basename(path) == "__pycache__"
