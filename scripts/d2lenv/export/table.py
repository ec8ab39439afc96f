"""One environment of a lock as plain, checked values: all that a format module ever sees.

A lock may come from anybody (``d2lenv export --lock``), and its texts end up in YAML, in shell-like lists,
in Markdown and in file names. Everything is therefore checked here, once: what does not look like a
package's name, version, build string or https address is refused by name, and nothing of it is written.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version
from rattler import PackageRecord, RepoDataRecord
from rattler.lock import CondaLockedBinaryPackage, PypiLockedPackage

from d2lenv.base.errors import D2lEnvError
from d2lenv.base.messages import tr
from d2lenv.facts.names import METAPACKAGES, pypi_name_of
from d2lenv.workspace import lockfile
from d2lenv.workspace.channels import CHANNEL_HOST, channel_url
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
_ARCHIVES = (".conda", ".tar.bz2")
# What pip installs from: wheels and source archives.
_DISTRIBUTIONS = (".whl", ".tar.gz", ".tar.bz2", ".tar.xz", ".tgz", ".zip")


@dataclass(frozen=True)
class Package:
    """One locked conda package.

    Attributes:
        channel: the channel's address without a closing slash.
        subdir: the folder that the archive lies in: the platform's, or ``noarch``.
        md5, sha256: lower-case hex; empty where the lock has none.
        size: bytes of the archive; None where the lock does not say.
        depends: match specs as in the channel's index.
        pypi: the name on the Python package index of what it installs; empty for what is not Python's.
    """

    name: str
    version: str
    build: str
    url: str
    channel: str
    subdir: str
    file_name: str
    md5: str
    sha256: str
    size: int | None
    license: str
    depends: tuple[str, ...]
    pypi: str = ""

    @property
    def archive(self) -> str:
        """``conda`` or ``tar.bz2``."""
        return "conda" if self.file_name.endswith(".conda") else "tar.bz2"


@dataclass(frozen=True)
class Wheel:
    """One locked PyPI package: a wheel or a source archive at an https address.

    Attributes:
        name: normalised as the packaging standard has it.
        md5, sha256: lower-case hex; empty where the lock has none.
        requires: its requirements (``Requires-Dist``).
    """

    name: str
    version: str
    url: str
    md5: str
    sha256: str
    requires: tuple[str, ...]


@dataclass(frozen=True)
class Target:
    """What the lock has for one platform.

    Attributes:
        platform: the lock's name for it; usually the subdir, but format 7 allows others.
        subdir: the conda subdir.
        packages: conda packages, dependencies first.
        wheels: PyPI packages by name.
        digest: sha256 (hex) of what the lock says of it; for our own lock the one in ``lock-digests.json``.
    """

    platform: str
    subdir: str
    packages: tuple[Package, ...]
    wheels: tuple[Wheel, ...]
    digest: str


@dataclass(frozen=True)
class Bundle:
    """One environment, ready to be exported.

    Attributes:
        environment: its name in the lock.
        title: the name that the exported files give it.
        folder: where its files go, relative to the root of the export.
        channels: addresses without a closing slash, highest priority first.
        targets: by platform name.
        digest: sha256 (hex) over the digests of its platforms.
        command: what makes the files again.
        asked: platform → names of the packages that a person asked for; None where no manifest says it.
        previous: platform → package → version and build of the previous release; None: no such release.
        previous_name: that release's name.
        binder: whether Binder gets this environment.
    """

    environment: str
    title: str
    folder: str
    channels: tuple[str, ...]
    targets: tuple[Target, ...]
    digest: str
    command: str
    asked: Mapping[str, frozenset[str]] | None = None
    previous: Mapping[str, Mapping[str, str]] | None = None
    previous_name: str = ""
    binder: bool = False

    def head(self, target: Target | None = None) -> str:
        """The line that every exported file carries: from what, by which command.

        Args:
            target: the platform that the file is for; None for a file of the whole environment.
        """
        what = f"{self.environment}/{target.platform}" if target else self.environment
        digest = target.digest if target else self.digest
        return f"Made from pixi.lock, {what} (sha256 {digest}), by `{self.command}`. Do not edit."

    @property
    def has_wheels(self) -> bool:
        return any(target.wheels for target in self.targets)

    def target(self, subdir: str) -> Target | None:
        """The target of that conda subdir, if the environment has it."""
        return next((target for target in self.targets if target.subdir == subdir), None)


def channel_name(url: str) -> str:
    """How people and conda write a channel: ``conda-forge``; the whole address on other hosts.

    A bare name follows the reader's own ``channel_alias``, and so their mirror.
    """
    prefix = CHANNEL_HOST + "/"
    return url[len(prefix) :] if url.startswith(prefix) else url


def folder_name(name: str) -> str:
    """``name``, when it can safely be a folder's or a part of a file's name.

    Raises:
        D2lEnvError: it holds a path separator, ``..``, or anything else that a file's name should not.
    """
    if not _FOLDER.fullmatch(name) or ".." in name or _DEVICES.fullmatch(name):
        raise D2lEnvError(
            tr("the lock's name {name} cannot be a file name, and is refused", name=ascii(name)),
            fix=tr("look at where the lock came from; nothing was written"),
        )
    return name


def read(
    lock: Lock,
    environment: str,
    *,
    title: str,
    folder: str,
    command: str,
    seen: dict[str, Package] | None = None,
) -> Bundle:
    """The environment's packages, each checked.

    Args:
        seen: address → package, of other environments of this lock: what was checked is not checked again.

    Raises:
        D2lEnvError: a package is a source or path package, or something about it must not reach a file;
            the message names the package.
    """
    folder_name(environment)
    seen = {} if seen is None else seen
    targets: list[Target] = []
    channels = tuple(_channel(url) for url in lock.channels(environment))
    for name in lock.platforms(environment):
        place = lock.platform(environment, name)
        assert place is not None  # `platforms` has just named it
        packages: dict[str, Package] = {}
        wheels: dict[str, Wheel] = {}
        records: list[PackageRecord] = []
        for locked in lock.environments[environment].packages(place) or []:
            if isinstance(locked, CondaLockedBinaryPackage):
                record = locked.repo_data_record()
                package = _checked(lock, record, str(place.subdir), seen)
                records.append(record)
                packages[package.name] = package
            elif isinstance(locked, PypiLockedPackage):
                wheel = _wheel(locked)
                wheels[wheel.name] = wheel
            else:
                raise _refused(
                    locked.name,
                    tr("it is built from source ({location})", location=ascii(locked.location)),
                )
        ordered = PackageRecord.sort_topologically(records)
        targets.append(
            Target(
                platform=folder_name(name),
                subdir=str(place.subdir),
                packages=tuple(packages[record.name.normalized] for record in ordered),
                wheels=tuple(wheels[key] for key in sorted(wheels)),
                digest=lockfile.digest(lock, environment, name).digest,
            )
        )
    text = "".join(f"{target.platform} {target.digest}\n" for target in targets)
    return Bundle(
        environment=environment,
        title=title,
        folder=folder,
        channels=channels,
        targets=tuple(targets),
        digest=hashlib.sha256(text.encode("utf-8")).hexdigest(),
        command=command,
    )


def _checked(lock: Lock, record: RepoDataRecord, subdir: str, seen: dict[str, Package]) -> Package:
    if record.url not in seen:
        seen[record.url] = _package(lock.record_data(record))
    package = seen[record.url]
    if package.subdir not in (subdir, "noarch"):
        why = tr("its address {url} is not one for {platform}", url=ascii(package.url), platform=subdir)
        raise _refused(package.name, why)
    return package


def _package(data: dict[str, object]) -> Package:
    """One record, from py-rattler's own JSON of it."""
    name = str(data["name"])
    version, build, url = str(data["version"]), str(data.get("build", "")), str(data["url"])
    if not _NAME.fullmatch(name) or ".." in name:
        raise _refused(name, tr("that is not a package name"))
    if not _VERSION.fullmatch(version) or ".." in version:
        raise _refused(name, tr("its {field} is {value}", field="version", value=ascii(version)))
    if not _BUILD.fullmatch(build) or ".." in build:
        raise _refused(name, tr("its {field} is {value}", field="build", value=ascii(build)))
    segments = _segments(name, url)
    file_name = segments[-1]
    if not file_name.endswith(_ARCHIVES):
        raise _refused(name, tr("{url} is not a conda archive", url=ascii(url)))
    if file_name.lower() not in {f"{name}-{version}-{build}{end}".lower() for end in _ARCHIVES}:
        raise _refused(
            name,
            tr(
                "its address {url} is another package's than {package}",
                url=ascii(url),
                package=f"{name} {version} {build}",
            ),
        )
    if len(segments) < 2:
        raise _refused(name, tr("{url} is not a conda archive", url=ascii(url)))
    raw_depends = data.get("depends", [])
    depends = tuple(str(item) for item in raw_depends) if isinstance(raw_depends, list) else ()
    for item in depends:
        if not _PLAIN_ASCII.fullmatch(item):
            raise _refused(name, tr("its {field} is {value}", field="depends", value=ascii(item)))
    licence = str(data.get("license") or "")
    if licence and not licence.isprintable():
        raise _refused(name, tr("its {field} is {value}", field="license", value=ascii(licence)))
    size = data.get("size")
    return Package(
        name=name,
        version=version,
        build=build,
        url=url,
        channel=url.rsplit("/", 2)[0],
        subdir=segments[-2],
        file_name=file_name,
        md5=str(data.get("md5") or ""),
        sha256=str(data.get("sha256") or ""),
        size=size if isinstance(size, int) else None,
        license=licence,
        depends=depends,
        pypi=_pypi(name, build, data),
    )


def _pypi(name: str, build: str, data: dict[str, object]) -> str:
    if name in METAPACKAGES:
        return ""
    raw = data.get("purls")
    found = pypi_name_of(name, build, map(str, raw) if isinstance(raw, list) else ())
    if found and not _NAME.fullmatch(found):
        raise _refused(name, tr("its {field} is {value}", field="purls", value=ascii(found)))
    return found or ""


def _wheel(locked: PypiLockedPackage) -> Wheel:
    name, version, location = locked.name, str(locked.version), locked.location
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", name) or ".." in name:
        raise _refused(name, tr("that is not a package name"))
    url = location.removeprefix("direct+")
    if not url.startswith("https://"):
        # a folder, a file, or a repository that pip would build from
        raise _refused(name, tr("it is built from source ({location})", location=ascii(location)))
    if not _segments(name, url)[-1].endswith(_DISTRIBUTIONS):
        raise _refused(name, tr("it is built from source ({location})", location=ascii(location)))
    try:
        Version(version)
    except InvalidVersion as error:
        raise _refused(name, tr("its {field} is {value}", field="version", value=ascii(version))) from error
    for text in locked.requires_dist:
        try:
            Requirement(text)
            plain = bool(_PLAIN_ASCII.fullmatch(text))
        except InvalidRequirement:
            plain = False
        if not plain:
            raise _refused(name, tr("its {field} is {value}", field="requires_dist", value=ascii(text)))
    # py-rattler 0.28 returns hashes whose properties raise AttributeError when the lock has none
    # (seen 2026-11-22); `getattr` turns that into None.
    hashes = locked.hashes
    md5, sha256 = getattr(hashes, "md5", None), getattr(hashes, "sha256", None)
    return Wheel(
        name=canonicalize_name(name),
        version=version,
        url=url,
        md5=md5.hex() if md5 else "",
        sha256=sha256.hex() if sha256 else "",
        requires=tuple(locked.requires_dist),
    )


def _channel(text: str) -> str:
    try:
        url = channel_url(text.rstrip("/")).rstrip("/")
    except ValueError:
        url = text  # refused below, with what is wrong about it
    _segments(text, url)
    return url


def _segments(name: str, url: str) -> list[str]:
    """The parts of an https address's path, each checked as it stands after decoding.

    Raises:
        D2lEnvError: another scheme, a user or token in the address, a query, ``..``, or a character that
            some reader of the exported files would take for something else (``$`` and ``~`` are expanded
            in explicit files: CEP 23).
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


def _refused(name: str, why: str) -> D2lEnvError:
    return D2lEnvError(
        tr("package {name} is refused", name=ascii(name)),
        why=why,
        fix=tr("look at where the lock came from; nothing was written"),
    )
