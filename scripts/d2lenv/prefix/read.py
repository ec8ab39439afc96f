"""What is really installed in a prefix, read from its files; no Python is started.

Prefixes are found half-deleted, truncated, or made for another platform: nothing here raises for what
lies in the prefix. What could not be read is listed in :attr:`Prefix.unreadable`, the rest is returned.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from d2lenv.base.messages import tr

Kind = Literal["conda", "venv", "python", "unknown"]

_HEADER_LIMIT = 1 << 20
_JSON_LIMIT = 64 << 20
_CACHE_FOLDERS = frozenset({"__pycache__"})


@dataclass(frozen=True)
class Unreadable:
    """A file or folder of the prefix that could not be read, and why, in the system's words."""

    path: Path
    why: str


@dataclass(frozen=True)
class Distribution:
    """One installed Python distribution (``*.dist-info`` or ``*.egg-info``).

    Attributes:
        name: as its metadata spells it; the folder's name when the metadata does not say.
        key: the normalised name (PEP 503).
        version: empty when unknown.
        folder: the metadata's folder, or file for an old egg-info.
        installer: the content of ``INSTALLER`` (``pip``, ``uv``, ``conda``), empty when absent.
        conda: name of the conda package that owns the metadata, empty when none does.
        requires: the ``Requires-Dist`` lines.
        requested: the user named it on an installer's command line (``REQUESTED``).
        editable: installed from a working tree.
        origin: the address in ``direct_url.json``; empty for an index.
    """

    name: str
    key: str
    version: str
    folder: Path
    installer: str = ""
    conda: str = ""
    requires: tuple[str, ...] = ()
    requires_python: str = ""
    requested: bool = False
    editable: bool = False
    origin: str = ""

    @property
    def site(self) -> Path:
        """The site-packages folder that holds it."""
        return self.folder.parent

    @property
    def source(self) -> str:
        """``conda``, or the installer's name; ``pip`` where the metadata does not say."""
        return "conda" if self.conda else (self.installer or "pip")


@dataclass(frozen=True)
class CondaPackage:
    """One record of ``conda-meta``.

    Attributes:
        file: the record.
        channel: the channel's last part (``conda-forge``), empty when unknown.
        paths: path in the prefix (forward slashes) → sha256 of the installed file, empty where unknown.
    """

    name: str
    version: str
    build: str
    channel: str
    subdir: str
    url: str
    file: Path
    depends: tuple[str, ...] = ()
    paths: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False, hash=False)


@dataclass(frozen=True)
class Kernelspec:
    """One ``kernel.json``: ``argv`` is what Jupyter starts."""

    name: str
    file: Path
    argv: tuple[str, ...]
    display_name: str = ""
    language: str = ""


@dataclass(frozen=True)
class Site:
    """One folder of installed distributions: a site-packages folder, or an entry of PYTHONPATH.

    Attributes:
        modules: importable top-level names, as far as the folder's listing shows them.
        leftovers: ``~name`` folders that an interrupted pip left behind.
    """

    folder: Path
    distributions: tuple[Distribution, ...] = ()
    modules: frozenset[str] = frozenset()
    leftovers: tuple[Path, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()


@dataclass(frozen=True)
class Prefix:
    """An environment on disk.

    Attributes:
        python: the interpreter's path, ``None`` when the prefix has none.
        python_version: ``3.10.13``, ``3.10`` when only that is known, empty when unknown.
        platform: conda subdir (``linux-64``), empty when unknown.
        config: ``pyvenv.cfg``, keys in lower case.
        marker: ``d2lenv.json``, what the wheels engine wrote about this prefix.
    """

    path: Path
    kind: Kind
    python: Path | None
    python_version: str
    platform: str
    sites: tuple[Site, ...]
    conda: tuple[CondaPackage, ...]
    kernelspecs: tuple[Kernelspec, ...]
    config: Mapping[str, str]
    marker: Mapping[str, Any]
    unreadable: tuple[Unreadable, ...]

    @property
    def distributions(self) -> tuple[Distribution, ...]:
        return tuple(item for site in self.sites for item in site.distributions)

    @property
    def modules(self) -> frozenset[str]:
        return frozenset().union(*(site.modules for site in self.sites))

    @property
    def python_minor(self) -> str:
        """``3.10``; empty when unknown."""
        match = re.match(r"(\d+\.\d+)", self.python_version)
        return match.group(1) if match else ""

    def find(self, name: str) -> Distribution | None:
        """The distribution called ``name`` (any spelling), the first that Python would meet."""
        key = normalized(name)
        return next((item for item in self.distributions if item.key == key), None)

    def conda_package(self, name: str) -> CondaPackage | None:
        return next((item for item in self.conda if item.name == name), None)


def normalized(name: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def absolute(path: Path) -> Path:
    """``path`` from the root, without ``..``; links are not followed, a prefix may be one."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute keeps `..`


def read(path: Path) -> Prefix:
    """Read the prefix at ``path``. Never raises for what lies there."""
    trouble: list[Unreadable] = []
    path = absolute(path)
    if not _is_dir(path):
        trouble.append(Unreadable(path, _why_no_folder(path)))
    conda = tuple(_conda_packages(path, trouble))
    config = _pyvenv(path, trouble)
    folders = tuple(_site_folders(path))
    version = _python_version(path, conda, config, folders, trouble)
    owners = _metadata_owners(conda)
    sites = tuple(read_site(folder, path, owners) for folder in folders)
    for site in sites:
        trouble.extend(site.unreadable)
    python = _python(path)
    return Prefix(
        path=path,
        kind="conda" if _is_dir(path / "conda-meta") else "venv" if config else _bare_kind(python, sites),
        python=python,
        python_version=version,
        platform=_platform(conda, python),
        sites=sites,
        conda=conda,
        kernelspecs=tuple(read_kernelspecs(path / "share" / "jupyter" / "kernels", trouble)),
        config=config,
        marker=_object(path / "d2lenv.json", trouble),
        unreadable=tuple(trouble),
    )


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
    for entry in _entries(folder, trouble):
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


def read_kernelspecs(folder: Path, trouble: list[Unreadable]) -> Iterator[Kernelspec]:
    """The kernelspecs under ``folder`` (``share/jupyter/kernels``), sorted by name."""
    if not _is_dir(folder):
        return
    for entry in sorted(_entries(folder, trouble), key=lambda item: item.name):
        file = folder / entry.name / "kernel.json"
        if not _exists(file):
            continue
        data = _object(file, trouble)
        argv = data.get("argv")
        if not isinstance(argv, list) or not argv or not all(isinstance(part, str) for part in argv):
            if data:
                trouble.append(Unreadable(file, tr("it has no list `argv`")))
            continue
        yield Kernelspec(entry.name, file, tuple(argv), _text(data, "display_name"), _text(data, "language"))


def read_text(path: Path, limit: int, trouble: list[Unreadable]) -> str:
    """The first ``limit`` bytes of a regular file as text; empty, noted in ``trouble``, when unreadable.

    Devices, pipes and folders are refused before they are opened: opening a pipe would wait for ever.
    """
    try:
        with _open(path) as file:
            data: bytes = file.read(limit)
    except (OSError, ValueError) as error:
        trouble.append(Unreadable(path, _why(error)))
        return ""
    return data.decode("utf-8", errors="replace").replace("\r\n", "\n")


def read_optional(path: Path, limit: int, trouble: list[Unreadable]) -> str:
    """As :func:`read_text` for a file that need not be there: its absence is no trouble."""
    return read_text(path, limit, trouble) if _exists(path) else ""


def read_record(distribution: Distribution, trouble: list[Unreadable]) -> tuple[str, ...]:
    """The paths of the distribution's ``RECORD``, relative to its site folder, with forward slashes."""
    text = read_text(distribution.folder / "RECORD", _JSON_LIMIT, trouble)
    return tuple(_record_path(line) for line in text.splitlines() if line.strip())


def _record_path(line: str) -> str:
    if line.startswith('"'):
        end = line.find('",', 1)
        return line[1:end].replace('""', '"') if end > 0 else line.strip('"')
    return line.rsplit(",", 2)[0] if line.count(",") >= 2 else line


def _open(path: Path) -> Any:
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(tr("not a regular file"))
    return open(path, "rb")  # noqa: PTH123 - Path.open costs 15 % of a prefix with 300 distributions


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _is_dir(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def _exists(path: Path) -> bool:
    try:
        return os.path.lexists(path)
    except (OSError, ValueError):
        return False


def _why_no_folder(path: Path) -> str:
    try:
        path.stat()
    except (OSError, ValueError) as error:
        return _why(error)
    return tr("not a folder")


def _entries(folder: Path, trouble: list[Unreadable]) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (OSError, ValueError) as error:
        trouble.append(Unreadable(folder, _why(error)))
        return []


def _object(path: Path, trouble: list[Unreadable]) -> dict[str, Any]:
    """A JSON object; empty when the file does not exist or, with a note, when it is something else."""
    if not _exists(path):
        return {}
    before = len(trouble)
    text = read_text(path, _JSON_LIMIT, trouble)
    if len(trouble) > before:
        return {}
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        trouble.append(Unreadable(path, tr("not JSON: {reason}", reason=error)))
        return {}
    if not isinstance(data, dict):
        trouble.append(Unreadable(path, tr("not a JSON object")))
        return {}
    return data


def _text(data: Mapping[str, Any], key: str) -> str:
    value = data.get(key)
    return value if isinstance(value, str) else ""


def _conda_packages(prefix: Path, trouble: list[Unreadable]) -> Iterator[CondaPackage]:
    folder = prefix / "conda-meta"
    if not _is_dir(folder):
        if _exists(folder):
            trouble.append(Unreadable(folder, tr("not a folder")))
        return
    for entry in sorted(_entries(folder, trouble), key=lambda item: item.name):
        if not entry.name.endswith(".json"):
            continue
        file = folder / entry.name
        before = len(trouble)
        data = _object(file, trouble)
        # The file's name repeats what is in it: <name>-<version>-<build>.json.
        parts = [*entry.name[:-5].rsplit("-", 2), "", ""][:3]
        name = _text(data, "name") or (parts[0] if parts[2] else "")
        if not name:
            if len(trouble) == before:
                trouble.append(Unreadable(file, tr("it names no package")))
            continue
        if not _text(data, "version") and len(trouble) == before:
            trouble.append(Unreadable(file, tr("it has no version")))
        yield CondaPackage(
            name=name,
            version=_text(data, "version") or parts[1],
            build=_text(data, "build") or parts[2],
            channel=_channel(data),
            subdir=_text(data, "subdir"),
            url=_text(data, "url"),
            file=file,
            depends=_texts(data.get("depends")),
            paths=_conda_paths(data),
        )


def _channel(data: Mapping[str, Any]) -> str:
    """``conda-forge``, from a record's address or its channel, which each tool spells in its own way."""
    parts = _text(data, "url").split("/")
    if len(parts) > 3:
        return parts[-3]
    name = _text(data, "channel").rstrip("/")
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


def _metadata_owners(conda: tuple[CondaPackage, ...]) -> dict[str, str]:
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


def _pyvenv(prefix: Path, trouble: list[Unreadable]) -> dict[str, str]:
    file = prefix / "pyvenv.cfg"
    if not _exists(file):
        return {}
    lines = (line.partition("=") for line in read_text(file, _HEADER_LIMIT, trouble).splitlines())
    config = {key.strip().lower(): value.strip() for key, equals, value in lines if equals}
    return config or {"": ""}  # an empty pyvenv.cfg still makes it a venv


def _site_folders(prefix: Path) -> Iterator[Path]:
    """The site-packages folders, the one that Python looks in first before the others."""
    seen: set[tuple[int, int]] = set()
    candidates = [prefix / "Lib" / "site-packages"]
    for lib in ("lib", "lib64", "local/lib"):
        ignored: list[Unreadable] = []  # a missing lib is no finding: a prefix need not have each of them
        names = (entry.name for entry in _entries(prefix / lib, ignored))
        # Newest first: a prefix that was updated in place may keep the old minor version's folder.
        for name in sorted(
            (n for n in names if re.fullmatch(r"(python|pypy)3(\.\d+)?t?", n)), key=_minor, reverse=True
        ):
            candidates += [prefix / lib / name / kind for kind in ("site-packages", "dist-packages")]
    for folder in candidates:
        try:
            status = folder.stat()
        except (OSError, ValueError):
            continue
        if stat.S_ISDIR(status.st_mode) and (status.st_dev, status.st_ino) not in seen:
            seen.add((status.st_dev, status.st_ino))
            yield folder


def _minor(name: str) -> int:
    digits = name.rpartition(".")[2].rstrip("t")
    # Anything longer than a real minor version is not one (and `int` refuses 5,000 digits).
    return int(digits) if digits.isdecimal() and len(digits) < 4 else -1


def _python_version(
    prefix: Path,
    conda: tuple[CondaPackage, ...],
    config: Mapping[str, str],
    sites: tuple[Path, ...],
    trouble: list[Unreadable],
) -> str:
    for package in conda:
        if package.name == "python" and package.version:
            return package.version
    for key in ("version_info", "version"):
        if match := re.match(r"\d{1,3}\.\d{1,3}(\.\d{1,3})?", config.get(key, "")):
            return match.group()
    minor = next(
        (m.group(1) for s in sites if (m := re.match(r"(?:python|pypy)(3\.\d{1,3})", s.parent.name))), ""
    )
    header = prefix / "include" / f"python{minor}" / "patchlevel.h"
    if minor and _exists(header):
        text = read_text(header, _HEADER_LIMIT, trouble)
        if match := re.search(r'PY_VERSION\s+"(\d{1,3}\.\d{1,3}\.\d{1,3})', text):
            return match.group(1)
    return minor


def _python(prefix: Path) -> Path | None:
    for name in ("bin/python", "bin/python3", "python.exe", "Scripts/python.exe"):
        if _exists(prefix / name):
            return prefix / name
    return None


def _bare_kind(python: Path | None, sites: tuple[Site, ...]) -> Kind:
    return "python" if python is not None and sites else "unknown"


def _platform(conda: tuple[CondaPackage, ...], python: Path | None) -> str:
    for package in conda:
        if package.subdir and package.subdir != "noarch":
            return package.subdir
    if python is None:
        return ""
    if python.name.endswith(".exe"):
        return "win-64"
    try:
        with _open(python) as file:
            head: bytes = file.read(20)
    except (OSError, ValueError):
        return ""
    if head[:4] == b"\x7fELF":
        return {0x3E: "linux-64", 0xB7: "linux-aarch64"}.get(int.from_bytes(head[18:20], "little"), "")
    if head[:4] == b"\xcf\xfa\xed\xfe":  # Mach-O, 64 bit
        return {0x01000007: "osx-64", 0x0100000C: "osx-arm64"}.get(int.from_bytes(head[4:8], "little"), "")
    return ""


def _distribution(
    folder: Path, prefix: Path | None, owners: Mapping[str, str], trouble: list[Unreadable]
) -> Distribution:
    base = folder.name.rpartition(".")[0]
    inside = _is_dir(folder)
    names = {entry.name for entry in _entries(folder, trouble)} if inside else set()
    metadata = folder
    if inside:
        metadata = folder / ("METADATA" if folder.name.endswith(".dist-info") else "PKG-INFO")
    headers = _headers(metadata, trouble)
    # <name>-<version>[-py3.9]: what the folder's name says stands in for metadata that is gone.
    match = re.fullmatch(r"(.+?)-([^-]+)(-py[\d.]+)?", base)
    name = _first(headers, "name") or (match.group(1) if match else base)
    if headers and not _first(headers, "version"):
        trouble.append(Unreadable(metadata, tr("it has no version")))
    url = _object(folder / "direct_url.json", trouble) if "direct_url.json" in names else {}
    info = url.get("dir_info")
    requires = headers.get("requires-dist", [])
    return Distribution(
        name=name,
        key=normalized(name),
        version=_first(headers, "version") or (match.group(2) if match else ""),
        folder=folder,
        installer=_installer(folder, trouble) if "INSTALLER" in names else "",
        conda=owners.get(_relative(folder, prefix), "") if prefix else "",
        requires=tuple(requires),
        requires_python=_first(headers, "requires-python"),
        requested="REQUESTED" in names,
        editable=isinstance(info, dict) and info.get("editable") is True,
        origin=_text(url, "url"),
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
    """The header block of METADATA or PKG-INFO, keys in lower case; the description is not read."""
    text = read_text(path, 16 << 10, trouble)
    if "\n\n" not in text and len(text) >= 16 << 10:
        text = read_text(path, _HEADER_LIMIT, trouble)
    headers: dict[str, list[str]] = {}
    for line in text.partition("\n\n")[0].splitlines():
        key, colon, value = line.partition(":")
        if colon and not key[:1].isspace():
            headers.setdefault(key.lower(), []).append(value.strip())
    return headers
