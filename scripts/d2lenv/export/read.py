"""Read an environment of a lock into a table, and let nothing through that is not as it should be.

A lock may come from anybody (``d2lenv export --lock``), and its texts end up in YAML, in shell-like lists,
in Markdown and in file names. Everything is therefore checked here, once: what does not look like a
package's name, version, build string or https address is refused by name, and nothing of it is written.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from urllib.parse import unquote, urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version
from rattler import PackageRecord, RepoDataRecord
from rattler.lock import CondaLockedBinaryPackage, PypiLockedPackage

from d2lenv.base.errors import D2lEnvError
from d2lenv.base.messages import tr
from d2lenv.export.table import CondaPackage, EnvironmentTable, PlatformTable, Wheel
from d2lenv.facts.names import METAPACKAGES, pypi_name_of
from d2lenv.workspace import lockfile, platforms
from d2lenv.workspace.channels import channel_url
from d2lenv.workspace.lockfile import Lock

_FOLDER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?<!\.)")
# Windows keeps these names for devices, with any extension.
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_NAME = re.compile(r"[a-z0-9_][a-z0-9_.-]*")
_VERSION = re.compile(r"[A-Za-z0-9_.+!-]+")
_BUILD = re.compile(r"[A-Za-z0-9_.+]+")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:\d{1,5})?")
_SEGMENT = re.compile(r"[A-Za-z0-9_.+!=@-]+")
# By far the most: nothing in it to decode or to refuse but a segment of dots and a token.
_PLAIN_URL = re.compile(
    r"https://[A-Za-z0-9][A-Za-z0-9.-]*[A-Za-z0-9]/([A-Za-z0-9_.+!=@-]+(?:/[A-Za-z0-9_.+!=@-]+)*)"
)
_PLAIN_ASCII = re.compile(r"[ -~]+")
_VIRTUAL = re.compile(r"(__[a-z0-9_]+)=([A-Za-z0-9_.]+)(?:=([A-Za-z0-9_.]*))?")
_ARCHIVES = (".conda", ".tar.bz2")
# What pip installs from: wheels and source archives.
_DISTRIBUTIONS = (".whl", ".tar.gz", ".tar.bz2", ".tar.xz", ".tgz", ".zip")


def folder_name(name: str) -> str:
    """Return ``name`` when it can safely be a folder's or a part of a file's name.

    Raises:
        D2lEnvError: if it holds a path separator, ``..``, or anything else that a file's name should not.
    """
    if not _FOLDER.fullmatch(name) or ".." in name or _DEVICES.fullmatch(name):
        raise D2lEnvError(
            tr("the lock's name {name} cannot be a file name, and is refused", name=ascii(name)),
            fix=tr("look at where the lock came from; nothing was written"),
        )
    return name


def environment(
    lock: Lock, name: str, *, title: str, folder: str, command: str, seen: dict[str, CondaPackage]
) -> EnvironmentTable:
    """Return the environment's packages, each checked.

    Args:
        seen: address → package, of other environments of this lock: what was checked is not checked again.

    Raises:
        D2lEnvError: if a package is a source or path package, or something about it must not reach a file;
            the message names the package.
    """
    folder_name(name)
    channels = tuple(_channel(url) for url in lock.channels(name))
    targets = tuple(_target(lock, name, platform, seen) for platform in lock.platforms(name))
    text = "".join(f"{target.platform} {target.digest}\n" for target in targets)
    digest = hashlib.sha256(text.encode("utf-8")).hexdigest()
    return EnvironmentTable(name, title, folder, channels, targets, digest, command)


def _target(lock: Lock, name: str, platform: str, seen: dict[str, CondaPackage]) -> PlatformTable:
    place = lock.platform(name, platform)
    assert place is not None  # `platforms` has just named it
    subdir = str(place.subdir)
    records: list[PackageRecord] = []
    packages: dict[str, CondaPackage] = {}
    wheels: dict[str, Wheel] = {}
    for locked in lock.environments[name].packages(place) or []:
        if isinstance(locked, CondaLockedBinaryPackage):
            record = locked.repo_data_record()
            package = _checked(lock, record, subdir, seen)
            records.append(record)
            packages[package.name] = package
        elif isinstance(locked, PypiLockedPackage):
            wheel = _wheel(locked)
            wheels[wheel.name] = wheel
        else:
            raise _built(locked.name, locked.location)
    ordered = PackageRecord.sort_topologically(records)
    _, promised = platforms.identity(place)
    return PlatformTable(
        platform=folder_name(platform),
        subdir=subdir,
        packages=tuple(packages[record.name.normalized] for record in ordered),
        wheels=tuple(wheels[key] for key in sorted(wheels)),
        digest=lockfile.digest(lock, name, platform).digest,
        needs=tuple(_need(platform, text) for text in sorted(promised)),
    )


def _need(platform: str, text: str) -> str:
    """Return ``__cuda >=12.8`` of the lock's ``__cuda=12.8``."""
    found = _VIRTUAL.fullmatch(text)
    if found is None:
        raise D2lEnvError(
            tr("the lock's platform {name} is refused", name=ascii(platform)),
            why=tr("that is no virtual package: {text}", text=ascii(text)),
            fix=tr("look at where the lock came from; nothing was written"),
        )
    return f"{found[1]} {found[3]}" if found[3] else f"{found[1]} >={found[2]}"


def _checked(lock: Lock, record: RepoDataRecord, subdir: str, seen: dict[str, CondaPackage]) -> CondaPackage:
    if record.url not in seen:
        seen[record.url] = _package(lock.record_data(record))
    package = seen[record.url]
    if package.subdir not in (subdir, "noarch"):
        why = tr("its address {url} is not one for {platform}", url=ascii(package.url), platform=subdir)
        raise _refused(package.name, why)
    return package


def _package(data: Mapping[str, object]) -> CondaPackage:
    """Return one record, from py-rattler's own JSON of it."""
    name, version, build = str(data["name"]), str(data["version"]), str(data.get("build", ""))
    if not _NAME.fullmatch(name) or ".." in name:
        raise _refused(name, tr("that is not a package name"))
    if not _VERSION.fullmatch(version) or ".." in version:
        raise _off(name, "version", version)
    if not _BUILD.fullmatch(build) or ".." in build:
        raise _off(name, "build", build)
    url = str(data["url"])
    *_, subdir, file_name = _archive(url, name, version, build)
    size = data.get("size")
    return CondaPackage(
        name=name,
        version=version,
        build=build,
        url=url,
        channel=url.rsplit("/", 2)[0],
        subdir=subdir,
        file_name=file_name,
        md5=str(data.get("md5") or ""),
        sha256=str(data.get("sha256") or ""),
        size=size if isinstance(size, int) else None,
        license=_licence(name, data),
        depends=_depends(name, data),
        pypi=_pypi(name, build, data),
    )


def _archive(url: str, name: str, version: str, build: str) -> list[str]:
    """Return the parts of the address of a package, which ends in a folder and a file of its name."""
    segments = _segments(name, url)
    if len(segments) < 2 or not segments[-1].endswith(_ARCHIVES):
        raise _refused(name, tr("{url} is not a conda archive", url=ascii(url)))
    if segments[-1].lower() not in {f"{name}-{version}-{build}{end}".lower() for end in _ARCHIVES}:
        package = f"{name} {version} {build}"
        why = tr("its address {url} is another package's than {package}", url=ascii(url), package=package)
        raise _refused(name, why)
    return segments


def _depends(name: str, data: Mapping[str, object]) -> tuple[str, ...]:
    raw = data.get("depends", [])
    found = tuple(str(item) for item in raw) if isinstance(raw, list) else ()
    for item in found:
        if not _PLAIN_ASCII.fullmatch(item):
            raise _off(name, "depends", item)
    return found


def _licence(name: str, data: Mapping[str, object]) -> str:
    found = str(data.get("license") or "")
    if found and not found.isprintable():
        raise _off(name, "license", found)
    return found


def _pypi(name: str, build: str, data: Mapping[str, object]) -> str:
    if name in METAPACKAGES:
        return ""
    raw = data.get("purls")
    found = pypi_name_of(name, build, map(str, raw) if isinstance(raw, list) else ())
    if found and not _NAME.fullmatch(found):
        raise _off(name, "purls", found)
    return found or ""


def _wheel(locked: PypiLockedPackage) -> Wheel:
    name, version, location = locked.name, str(locked.version), locked.location
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", name) or ".." in name:
        raise _refused(name, tr("that is not a package name"))
    url = location.removeprefix("direct+")
    if not url.startswith("https://"):
        # a folder, a file, or a repository that pip would build from
        raise _built(name, location)
    if not _segments(name, url)[-1].endswith(_DISTRIBUTIONS):
        raise _built(name, location)
    try:
        Version(version)
    except InvalidVersion as error:
        raise _off(name, "version", version) from error
    # py-rattler 0.28 returns hashes whose properties raise AttributeError when the lock has none
    # (seen 2026-11-22). `getattr` turns that into None.
    hashes = locked.hashes
    md5, sha256 = getattr(hashes, "md5", None), getattr(hashes, "sha256", None)
    return Wheel(
        name=canonicalize_name(name),
        version=version,
        url=url,
        md5=md5.hex() if md5 else "",
        sha256=sha256.hex() if sha256 else "",
        requires=_requires(name, locked.requires_dist),
    )


def _requires(name: str, texts: Iterable[str]) -> tuple[str, ...]:
    found = tuple(texts)
    for text in found:
        try:
            Requirement(text)
            plain = bool(_PLAIN_ASCII.fullmatch(text))
        except InvalidRequirement:
            plain = False
        if not plain:
            raise _off(name, "requires_dist", text)
    return found


def _channel(text: str) -> str:
    try:
        url = channel_url(text.rstrip("/")).rstrip("/")
    except ValueError:
        url = text  # refused below, with what is wrong about it
    _segments(text, url)
    return url


def _segments(name: str, url: str) -> list[str]:
    """Return the parts of an https address's path, each checked as it stands after decoding.

    Raises:
        D2lEnvError: if there is another scheme, a user or token, a query, ``..``, or a character that some
            reader of the exported files would take for something else (``$`` and ``~`` are expanded in
            explicit files: CEP 23).
    """
    if plain := _PLAIN_URL.fullmatch(url):
        segments = plain[1].split("/")
        if segments[0] != "t" and all(part.strip(".") for part in segments):
            return segments
    fine = bool(_PLAIN_ASCII.fullmatch(url))
    parts = urlsplit(url) if fine else None
    if parts is None or parts.scheme != "https" or not url.startswith("https://"):
        raise _refused(name, tr("its address {url} is not https", url=ascii(url)))
    segments = [unquote(part) for part in parts.path.strip("/").split("/")]
    if (
        not _HOST.fullmatch(parts.netloc)
        or parts.query
        or parts.fragment
        or any(not _SEGMENT.fullmatch(part) or part.strip(".") == "" for part in segments)
        or (segments[0] == "t" and len(segments) > 2)  # https://host/t/<token>/channel
    ):
        raise _refused(name, tr("its address {url} holds more than a path of plain names", url=ascii(url)))
    return segments


def _off(name: str, field: str, value: str) -> D2lEnvError:
    return _refused(name, tr("its {field} is {value}", field=field, value=ascii(value)))


def _built(name: str, location: str) -> D2lEnvError:
    return _refused(name, tr("it is built from source ({location})", location=ascii(location)))


def _refused(name: str, why: str) -> D2lEnvError:
    return D2lEnvError(
        tr("package {name} is refused", name=ascii(name)),
        why=why,
        fix=tr("look at where the lock came from; nothing was written"),
    )
