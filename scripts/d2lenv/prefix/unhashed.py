"""The files that a locked package without a hash may install: exactly those of a release that is known.

No channel states a hash of conda-forge's d2l, so its content is decided here. The modules and the files
that every build copies have the digests of the release (:mod:`d2lenv.facts.d2l`). The rest of its
``.dist-info`` is written by the build: those files are allowed by name, each with a limit on its content, and
none of them is ever run. Anything else is refused: a ``.pth``, a console script, an activation script, a
link, a file whose text the installer would rewrite.
"""

from __future__ import annotations

import csv
import hashlib
import json
import posixpath
import re
import stat
from collections.abc import Callable, Mapping
from email.parser import Parser
from pathlib import Path
from typing import Any

from d2lenv.base.messages import printable, tr
from d2lenv.facts import d2l
from d2lenv.prefix.contents.model import CondaPackage
from d2lenv.prefix.scan import Tree

_LIMIT = 64 << 10
_SITE = re.compile(r"(?:(?:lib/python\d+\.\d+|Lib)/)?site-packages/(.+)")
_BYTECODE = re.compile(r"(.*/)?__pycache__/([^/]+)\.cpython-\d+(?:\.opt-[12])?\.pyc")
_DISTRIBUTION = "d2l"


def known(name: str, version: str) -> bool:
    """Return True if it is known what ``name`` in ``version`` installs."""
    return name == _DISTRIBUTION and d2l.released(version) is not None


def package_problems(tree: Tree, version: str) -> list[str]:
    """Return why an unpacked conda package must not be installed as the release ``version`` of d2l."""
    found: list[str] = []
    paths: dict[str, Path] = {}
    for path, entry in tree.entries.items():
        place = _SITE.fullmatch(path)
        if path == "info" or path.startswith("info/"):
            continue
        if entry.kind == "folder":
            continue
        if place is None or entry.kind != "file" or not path.startswith("site-packages/"):
            found.append(_extra(path))
        else:
            paths[place[1]] = tree.root / path
    return found + _problems(paths, version) + _instructions(tree.root, paths, version)


def installed_problems(prefix: Path, package: CondaPackage) -> list[str]:
    """Return why the installed ``package`` is not what its release may install.

    The bytecode of a module is allowed; that it belongs to its source is for the caller to check.
    """
    found: list[str] = []
    paths: dict[str, Path] = {}
    bytecode: list[tuple[str, str]] = []
    for path in package.paths:
        place, compiled = _SITE.fullmatch(path), _BYTECODE.fullmatch(path)
        if place is None:
            found.append(_extra(path))
        elif compiled is not None:
            source = _SITE.fullmatch(f"{compiled[1] or ''}{compiled[2]}.py")
            bytecode.append((path, source[1] if source else ""))
        else:
            paths[place[1]] = prefix / path
    found += [_extra(path) for path, source in bytecode if source not in paths]
    return found + _problems(paths, package.version)


def _problems(paths: Mapping[str, Path], version: str) -> list[str]:
    """Compare the files at ``paths`` (path below site-packages → file) with the release."""
    release = d2l.released(version)
    assert release is not None  # `known` was asked before
    info = f"{_DISTRIBUTION}-{version}.dist-info/"
    digests = {**release.files, **{info + name: digest for name, digest in release.metadata.items()}}
    limits = {info + name: limit for name, limit in _WRITTEN.items()}
    found = [tr("{path} is missing", path=path) for path in release.files if path not in paths]
    found += [_extra(path) for path in paths if path not in digests and path not in limits]
    for path, place in paths.items():
        try:
            if path in digests and _sha256(place) != digests[path]:
                found.append(tr("{path} is not the released one", path=path))
            elif path in limits and not limits[path](_text(place), version):
                found.append(tr("{path} is not what a build writes there", path=path))
        except (OSError, ValueError) as error:
            found.append(tr("{path} cannot be read", path=path) + f": {error}")
    return found


def _instructions(folder: Path, paths: Mapping[str, Path], version: str) -> list[str]:
    """Return what the package tells an installer to do besides putting ``paths`` into place."""
    try:
        index = _object(folder / "info" / "index.json")
        rows = _object(folder / "info" / "paths.json")["paths"]
        listed = {str(row["_path"]) for row in rows}
        rewritten = [row for row in rows if row.get("path_type") != "hardlink" or "prefix_placeholder" in row]
        noarch = _object(folder / "info" / "link.json")["noarch"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return [tr("its list of files cannot be read: {reason}", reason=repr(error))]
    found: list[str] = []
    if (index.get("name"), index.get("version"), index.get("noarch")) != (_DISTRIBUTION, version, "python"):
        found.append(
            tr("it says that it is {name} {version}", name=index.get("name"), version=index.get("version"))
        )
    if listed != {f"site-packages/{path}" for path in paths}:
        found.append(tr("its list of files names others than it holds"))
    found += [tr("{path} would be rewritten", path=printable(str(row["_path"]))) for row in rewritten]
    if noarch.get("type") != "python" or noarch.get("entry_points"):
        found.append(tr("it makes programs: {names}", names=printable(str(noarch.get("entry_points")))))
    return found


def _extra(path: str) -> str:
    return tr("{path} does not belong to it", path=printable(path))


def _object(path: Path) -> dict[str, Any]:
    data = json.loads(_text(path, 16 << 20))
    if not isinstance(data, dict):
        raise TypeError(str(path.name))
    return data


def _read(place: Path, limit: int) -> bytes:
    """Return the content of a regular file that is no link.

    Raises:
        OSError: if it is something else or cannot be read.
        ValueError: if it is longer than ``limit`` bytes.
    """
    status = place.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(tr("not a regular file"))
    if status.st_size > limit:
        raise ValueError(f"{status.st_size} > {limit}")
    return place.read_bytes()


def _sha256(place: Path) -> str:
    return hashlib.sha256(_read(place, 16 << 20)).hexdigest()


def _text(place: Path, limit: int = _LIMIT) -> str:
    return _read(place, limit).decode("utf-8")


# ----------------------------------------------------------------------- what a build writes into .dist-info


def _names_itself(text: str, version: str) -> bool:
    headers = Parser().parsestr(text, headersonly=True)
    return (headers["Name"], headers["Version"]) == (_DISTRIBUTION, version)


def _lists_own_files(text: str, version: str) -> bool:
    """Return True if RECORD names nothing that an uninstaller would have to look for elsewhere."""
    own = (f"{_DISTRIBUTION}/", f"{_DISTRIBUTION}-{version}.dist-info/")
    rows = list(csv.reader(text.splitlines(), strict=True))
    return all(len(row) == 3 and posixpath.normpath(row[0]).startswith(own) for row in rows)


def _was_built_from_a_folder(text: str, _version: str) -> bool:
    data = json.loads(text)
    editable = data.get("dir_info", {}).get("editable", False)
    return bool(re.match(r"file://|https://", data["url"])) and not editable


_WRITTEN: dict[str, Callable[[str, str], bool]] = {
    "METADATA": _names_itself,
    "RECORD": _lists_own_files,
    "INSTALLER": lambda text, _version: text.strip() in ("conda", "pip", "uv", ""),
    "REQUESTED": lambda text, _version: not text.strip(),
    "WHEEL": lambda text, _version: text.startswith("Wheel-Version: ") and "Root-Is-Purelib: true" in text,
    "direct_url.json": _was_built_from_a_folder,
}
"""Name in ``.dist-info`` → (its text, the version) → may it be installed?"""
