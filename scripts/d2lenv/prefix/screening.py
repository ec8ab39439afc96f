"""A lock, and every package that it names, is untrusted input: what must never get into a prefix.

What the installers do by themselves was tried on 2026-11-22 (tests/test_untrusted.py repeats it). py-rattler
0.28 unpacks safely (pipes and devices become empty files), but links what ``info/paths.json`` says: ``..``
makes folders outside, an absolute name aborts the process, links that leave the prefix are linked. uv 0.13
leaves out names that leave its folder without a word, and never makes links or devices. So conda packages
are looked at in the cache before they are linked, and a finished prefix of theirs before it gets its name.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from d2lenv.base.errors import D2lEnvError
from d2lenv.base.messages import printable, tr
from d2lenv.prefix.records import Records
from d2lenv.prefix.scan import Entry, Tree, collisions, inside, leaves

_SET_ID = stat.S_ISUID | stat.S_ISGID


def reasons(
    entries: Mapping[str, Entry], named: Iterable[str] = (), *, ignores_case: bool = False
) -> list[str]:
    """Return why a package with these entries must not be installed, empty when it may.

    Args:
        entries: path → entry of the unpacked package.
        named: the paths that its own metadata names.
        ignores_case: whether the file system of the prefix takes ``A`` and ``a`` for one.
    """
    found = [
        tr("it names a file outside: {path}", path=printable(path)) for path in named if not inside(path)
    ]
    for path, entry in entries.items():
        if entry.kind == "special":
            found.append(tr("it holds a pipe, socket or device: {path}", path=printable(path)))
        elif entry.kind == "link" and leaves(path, entry.target):
            found.append(
                tr(
                    "it holds a link that leaves the prefix: {path} to {target}",
                    path=printable(path),
                    target=printable(entry.target),
                )
            )
    for one, other in collisions(entries):
        kinds = {entries[one].kind, entries[other].kind}
        # ncurses has hundreds of names that differ in case only: harmless where the file system tells
        # them apart. A link and a folder of one name are how a file gets written through the link.
        if kinds == {"link", "folder"} or (ignores_case and kinds != {"folder"}):
            found.append(
                tr("{one} and {other} are one name on some disks", one=printable(one), other=printable(other))
            )
    return found


def package_reasons(tree: Tree, *, ignores_case: bool = False) -> list[str]:
    """The same for an unpacked conda package."""
    folder = tree.root
    named: list[str] = []
    try:
        # Both files name paths, and which one an installer believes differs.
        named += [
            str(item["_path"])
            for item in json.loads((folder / "info" / "paths.json").read_text(encoding="utf-8"))["paths"]
        ]
    except FileNotFoundError:
        pass  # packages older than 2017 have none
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [tr("its list of files cannot be read: {reason}", reason=error)]
    try:
        named += (folder / "info" / "files").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        return [tr("its list of files cannot be read: {reason}", reason=error)]
    unreadable = [
        tr("{path} cannot be read", path=printable(path)) + f": {why}"
        for path, why in tree.unreadable.items()
    ]
    return unreadable + reasons(tree.entries, filter(None, named), ignores_case=ignores_case)


def refuse_prefix(tree: Tree, claimed: Records) -> None:
    """A finished prefix that holds what no package should bring, or whose packages name files outside.

    The last look, whatever installed it: a file that is setuid in an installer's cache is so in the prefix.

    Raises:
        D2lEnvError: it does.
    """
    suspects = {path: entry for path, entry in tree.entries.items() if entry.kind in ("special", "link")}
    found = [f"{package}: {why}" for _, package, why in claimed.problems]
    found += [
        f"{claimed.owner(path) or path}: {reason}"
        for path, entry in suspects.items()
        if not _is_interpreter(path)  # the one link that must leave: a virtual environment's
        for reason in reasons({path: entry})
    ]
    found += [
        f"{claimed.owner(path) or path}: "
        + tr("whoever starts it gets the rights of another: {path}", path=printable(path))
        for path, entry in tree.entries.items()
        if entry.mode & _SET_ID and entry.kind == "file"
    ]
    if found:
        raise refused(found[:10])


def _is_interpreter(path: str) -> bool:
    folder, _, name = path.rpartition("/")
    return folder in ("bin", "Scripts") and name.startswith("python")


def refused(reasons: Iterable[str]) -> D2lEnvError:
    """Return the error that says why packages are refused."""
    return D2lEnvError(
        tr("a package holds what must not be installed"),
        why="\n".join(reasons),
        fix=tr("do not use this lock; `git diff pixi.lock envs` shows where it comes from"),
    )


def ignores_case(folder: Path) -> bool:
    """Return True if the file system of ``folder``, which exists, takes ``A`` and ``a`` for one."""
    swapped = folder.parent / folder.name.swapcase()
    return swapped != folder and swapped.exists() and swapped.samefile(folder)
