"""Read the Python distributions of a site-packages folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from packaging.utils import canonicalize_name

from d2lenv.base.messages import tr
from d2lenv.prefix.contents.model import Distribution, Site, Unreadable
from d2lenv.prefix.contents.text import JSON_LIMIT, entries, is_folder, read_object, read_text, text_of

_HEADER_LIMIT = 1 << 20
_HEADER = re.compile(r"^(name|version|requires-dist|requires-python):(.*)", re.IGNORECASE | re.MULTILINE)
_CACHE_FOLDERS = frozenset({"__pycache__"})


def read_site(folder: Path, prefix: Path | None = None, owners: Mapping[str, str] | None = None) -> Site:
    """Read one folder of distributions.

    Args:
        prefix: the prefix it belongs to.
        owners: path of a metadata file in the prefix → the conda package that brought it.
    """
    trouble: list[Unreadable] = []
    found: list[Distribution] = []
    modules: set[str] = set()
    leftovers: list[Path] = []
    for entry in entries(folder, trouble):
        name = entry.name
        if name.startswith("~"):
            leftovers.append(folder / name)
        elif name.endswith((".dist-info", ".egg-info")):
            found.append(_distribution(folder / name, prefix, owners or {}, trouble))
        elif name.endswith(".py"):
            modules.add(name[:-3])
        elif name.endswith((".so", ".pyd")):
            modules.add(name.partition(".")[0])
        elif name not in _CACHE_FOLDERS and "." not in name:
            modules.add(name)
    found.sort(key=lambda item: (item.key, item.folder.name))
    return Site(folder, tuple(found), frozenset(modules), tuple(sorted(leftovers)), tuple(trouble))


def read_record(distribution: Distribution, trouble: list[Unreadable]) -> tuple[str, ...]:
    """Return the paths in the distribution's ``RECORD``, below its site folder, with forward slashes."""
    text = read_text(distribution.folder / "RECORD", JSON_LIMIT, trouble)
    return tuple(_record_path(line) for line in text.splitlines() if line.strip())


def _record_path(line: str) -> str:
    if line.startswith('"'):
        end = line.find('",', 1)
        return line[1:end].replace('""', '"') if end > 0 else line.strip('"')
    return line.rsplit(",", 2)[0] if line.count(",") >= 2 else line


def _distribution(
    folder: Path, prefix: Path | None, owners: Mapping[str, str], trouble: list[Unreadable]
) -> Distribution:
    base = folder.name.rpartition(".")[0]
    inside = is_folder(folder)
    names = {entry.name for entry in entries(folder, trouble)} if inside else set()
    metadata = folder
    if inside:
        metadata = folder / ("METADATA" if folder.name.endswith(".dist-info") else "PKG-INFO")
    headers = _headers(metadata, trouble)
    # <name>-<version>[-py3.9]: the folder's name stands in for metadata that is gone.
    match = re.fullmatch(r"(.+?)-([^-]+)(-py[\d.]+)?", base)
    name = _first(headers, "name") or (match.group(1) if match else base)
    if headers and not _first(headers, "version"):
        trouble.append(Unreadable(metadata, tr("it has no version")))
    url = read_object(folder / "direct_url.json", trouble) if "direct_url.json" in names else {}
    info = url.get("dir_info")
    requires = headers.get("requires-dist", [])
    return Distribution(
        name=name,
        key=canonicalize_name(name),
        version=_first(headers, "version") or (match.group(2) if match else ""),
        folder=folder,
        installer=_installer(folder, trouble) if "INSTALLER" in names else "",
        conda=owners.get(_relative(folder, prefix), "") if prefix and owners else "",
        requires=tuple(requires),
        requires_python=_first(headers, "requires-python"),
        requested="REQUESTED" in names,
        editable=isinstance(info, dict) and info.get("editable") is True,
        origin=text_of(url, "url"),
    )


def _installer(folder: Path, trouble: list[Unreadable]) -> str:
    lines = read_text(folder / "INSTALLER", 256, trouble).split()
    return lines[0] if lines else ""


def _relative(folder: Path, prefix: Path) -> str:
    try:
        return folder.relative_to(prefix).as_posix()
    except ValueError:
        return ""


def _first(headers: Mapping[str, list[str]], key: str) -> str:
    values = headers.get(key)
    return values[0] if values else ""


def _headers(path: Path, trouble: list[Unreadable]) -> dict[str, list[str]]:
    """Return the header block of METADATA or PKG-INFO, keys in lower case: those that are used."""
    text = read_text(path, 16 << 10, trouble)
    if "\n\n" not in text and len(text) >= 16 << 10:
        text = read_text(path, _HEADER_LIMIT, trouble)
    headers: dict[str, list[str]] = {}
    for key, value in _HEADER.findall(text.partition("\n\n")[0]):
        headers.setdefault(key.lower(), []).append(value.strip())
    return headers
