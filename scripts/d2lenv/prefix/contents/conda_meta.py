"""Read conda-meta, the records that conda's clients keep of what they installed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from d2lenv.base.messages import tr
from d2lenv.prefix.contents.model import CondaPackage, Unreadable
from d2lenv.prefix.contents.text import entries, exists, is_folder, read_object, text_of


def read_conda_packages(prefix: Path, trouble: list[Unreadable]) -> Iterator[CondaPackage]:
    """Yield the packages of a prefix, sorted by the names of their files."""
    folder = prefix / "conda-meta"
    if not is_folder(folder):
        if exists(folder):
            trouble.append(Unreadable(folder, tr("not a folder")))
        return
    for entry in sorted(entries(folder, trouble), key=lambda item: item.name):
        if not entry.name.endswith(".json"):
            continue
        file = folder / entry.name
        before = len(trouble)
        data = read_object(file, trouble)
        # The file's name repeats what is in it: <name>-<version>-<build>.json.
        parts = [*entry.name[:-5].rsplit("-", 2), "", ""][:3]
        name = text_of(data, "name") or (parts[0] if parts[2] else "")
        if not name:
            if len(trouble) == before:
                trouble.append(Unreadable(file, tr("it names no package")))
            continue
        if not text_of(data, "version") and len(trouble) == before:
            trouble.append(Unreadable(file, tr("it has no version")))
        yield CondaPackage(
            name=name,
            version=text_of(data, "version") or parts[1],
            build=text_of(data, "build") or parts[2],
            channel=_channel(data),
            subdir=text_of(data, "subdir"),
            url=text_of(data, "url"),
            file=file,
            depends=_texts(data.get("depends")),
            paths=_conda_paths(data),
        )


def _channel(data: Mapping[str, Any]) -> str:
    """Return ``conda-forge`` from a record's address or channel, which each tool spells in its own way."""
    parts = text_of(data, "url").split("/")
    if len(parts) > 3:
        return parts[-3]
    name = text_of(data, "channel").rstrip("/")
    return re.sub(r"/(noarch|(linux|osx|win)-\w+)$", "", name).rpartition("/")[2]


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def _conda_paths(data: Mapping[str, Any]) -> dict[str, str]:
    paths = dict.fromkeys(_texts(data.get("files")), "")
    table = data.get("paths_data")
    items = table.get("paths") if isinstance(table, dict) else None
    placed = pure_places(data)
    for item in items if isinstance(items, list) else ():
        if isinstance(item, dict) and isinstance(name := item.get("_path"), str):
            # sha256_in_prefix: the hash after conda wrote the prefix's own path into the file.
            value = item.get("sha256_in_prefix") or item.get("sha256")
            paths[placed.get(name, name)] = value if isinstance(value, str) else ""
    return paths


def pure_places(data: Mapping[str, Any]) -> dict[str, str]:
    """Return where the files of a noarch Python package are, by their names in its archive.

    conda's ``paths_data`` has the names in the archive (``site-packages/x``, ``python-scripts/x``), its
    ``files`` those in the prefix. rattler writes the latter in both.
    """
    if data.get("noarch") != "python" and data.get("package_type") != "noarch_python":
        return {}
    found: dict[str, str] = {}
    for path in _texts(data.get("files")):
        folder, _, name = path.rpartition("/")
        if (start := path.find("/site-packages/")) >= 0:
            found[path[start + 1 :]] = path
        elif folder in ("bin", "Scripts"):
            found[f"python-scripts/{name}"] = path
    return found


def metadata_owners(conda: tuple[CondaPackage, ...]) -> dict[str, str]:
    """Return the path of each ``.dist-info`` or ``.egg-info`` → the package that brought it."""
    owners: dict[str, str] = {}
    for package in conda:
        for name in package.paths:
            if ".dist-info/" in name or ".egg-info" in name:
                parts = PurePosixPath(name).parts
                for end, part in enumerate(parts, 1):
                    if part.endswith((".dist-info", ".egg-info")):
                        owners.setdefault("/".join(parts[:end]), package.name)
                        break
    return owners
