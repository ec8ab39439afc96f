"""A lock, and every package that it names, is untrusted input: what must never get into a prefix.

What the installers do by themselves was tried on 2026-11-22 (tests/test_untrusted.py repeats it). py-rattler
0.28 unpacks safely (pipes and devices become empty files), but links what ``info/paths.json`` says: ``..``
makes folders outside, an absolute name aborts the process, links that leave the prefix are linked. uv 0.13
leaves out names that leave its folder without a word, and never makes links or devices. So conda packages
are looked at in the cache before they are linked, and a finished prefix of theirs before it gets its name.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

import platformdirs
from rattler import RepoDataRecord

from d2lenv.base.errors import D2lEnvError
from d2lenv.base.messages import printable, tr
from d2lenv.prefix import unhashed
from d2lenv.prefix.records import Claims
from d2lenv.prefix.scan import Entry, Tree, collisions, inside, leaves, scan


def reasons(
    entries: Mapping[str, Entry], named: Iterable[str] = (), *, ignores_case: bool = False
) -> list[str]:
    """Why a package with these entries must not be installed; empty when it may.

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


def refuse_prefix(tree: Tree, claimed: Claims) -> None:
    """A finished prefix that holds what no package should bring, or whose packages name files outside.

    Raises:
        D2lEnvError: it does.
    """
    # The one link that must leave is a virtual environment's interpreter.
    entries = {path: entry for path, entry in tree.entries.items() if not _is_interpreter(path)}
    found = [f"{package}: {why}" for _, package, why in claimed.problems]
    found += [
        f"{claimed.owner(path) or path}: {reason}"
        for path, entry in entries.items()
        if entry.kind in ("special", "link")
        for reason in reasons({path: entry})
    ]
    if found:
        raise _refused("\n".join(found[:10]))


def _is_interpreter(path: str) -> bool:
    folder, _, name = path.rpartition("/")
    return folder in ("bin", "Scripts") and name.startswith("python")


def _refused(why: str) -> D2lEnvError:
    return D2lEnvError(
        tr("a package holds what must not be installed"),
        why=why,
        fix=tr("do not use this lock; `git diff pixi.lock envs` shows where it comes from"),
    )


def package_cache() -> Path:
    """Where rattler and pixi keep unpacked conda packages (rattler_cache's own default)."""
    stated = os.environ.get("RATTLER_CACHE_DIR")
    base = Path(stated) if stated else platformdirs.user_cache_path("rattler", appauthor=False) / "cache"
    return base / "pkgs"


def ignores_case(folder: Path) -> bool:
    """Whether the file system of ``folder``, which exists, takes ``A`` and ``a`` for one."""
    swapped = folder.parent / folder.name.swapcase()
    return swapped != folder and swapped.exists() and swapped.samefile(folder)


class Gate:
    """Looks at every package between the cache and the prefix.

    py-rattler ignores exceptions that a reporter raises, so a package is stopped by taking it out of the
    cache: linking it then fails. py-rattler 0.28 reports the start of linking before it reads the package's
    ``paths.json``.
    """

    def __init__(self, cache: Path, records: Iterable[RepoDataRecord], *, ignores_case: bool) -> None:
        """
        Args:
            cache: the package cache.
            records: what is to be installed.
        """
        self._cache = cache
        self._records = {record.name.normalized: record for record in records}
        self._ignores_case = ignores_case
        self.refused: list[str] = []

    def pass_or_take_out(self, name: str) -> None:
        """Look at the unpacked package ``name``; take it out of the cache if it must not be installed."""
        try:
            found = self._look(name)
        except Exception as error:  # noqa: BLE001 - py-rattler would swallow it and link the package
            found = [repr(error)]
        self.refused += [f"{name}: {reason}" for reason in found]
        if found and name in self._records:
            shutil.rmtree(self._folder(name), ignore_errors=True)

    def raise_refused(self) -> None:
        """
        Raises:
            D2lEnvError: if a package was refused.
        """
        if self.refused:
            raise _refused("\n".join(self.refused[:10]))

    def _look(self, name: str) -> list[str]:
        folder, record = self._folder(name), self._records[name]
        if not folder.is_dir():
            return [tr("it is not at its place in the cache: {path}", path=folder)]
        tree = scan(folder)
        found = package_reasons(tree, ignores_case=self._ignores_case)
        if not found and not (record.sha256 or record.md5):
            found = unhashed.package_problems(tree, str(record.version))
        return found

    def _folder(self, name: str) -> Path:
        """Return where rattler unpacks the package."""
        record = self._records[name]
        return self._cache / f"{name}-{record.version}-{record.build}"
