"""The rules for one (environment, platform) of the lock; each function is one rule.

pixi's own test compares neither channels nor subdirs nor ``constrains`` (docs/lock.md), so a lock that
pixi accepts can still be wrong.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal
from urllib.parse import unquote

from rattler import MatchSpec, PackageRecord, RepoDataRecord
from rattler.exceptions import InvalidMatchSpecError

from d2lenv.base.messages import tr
from d2lenv.facts import numerics
from d2lenv.facts.platforms import VirtualPackage
from d2lenv.solve import conda
from d2lenv.workspace.environments import Environment
from d2lenv.workspace.platforms import Platform

Level = Literal["error", "note"]

WITHOUT_HASH = frozenset(
    {
        # Published 2024-02-16; its address and dependencies are public, its hash is not known to the
        # channel snapshot. facts/d2l.py holds the digests of the files inside, to prove an installation.
        "https://conda.anaconda.org/conda-forge/noarch/d2l-1.0.3-pyhd8ed1ab_0.conda",
    }
)
"""The records that may have neither sha256 nor md5."""

_ARCHIVE = re.compile(r"(?P<name>.+)-(?P<version>[^-]+)-(?P<build>[^-]+)(?:\.conda|\.tar\.bz2)")
_CUDA_TAG = re.compile(r"cu(?:da)?(\d\d)\.?(\d)")


@dataclass(frozen=True)
class Remark:
    """One line of `check`.

    Attributes:
        rule: stable short name, such as ``closure``.
        environment: or empty when the finding is about the whole lock.
        platform: or empty.
        package: or empty.
        message: what is wrong, in the reader's language.
        level: ``error`` fails the check; ``note`` is only listed.
    """

    rule: str
    environment: str
    platform: str
    package: str
    message: str
    level: Level = "error"

    def line(self) -> str:
        place = "/".join(part for part in (self.environment, self.platform) if part) or "pixi.lock"
        return f"{place}: {self.package + ': ' if self.package else ''}{self.message} [{self.rule}]"


@dataclass(frozen=True)
class Part:
    """One (environment, platform): what the manifest wants and what the lock has."""

    environment: Environment
    platform: str
    records: tuple[RepoDataRecord, ...]

    @property
    def target(self) -> Platform:
        return self.environment.targets[self.platform]

    @property
    def virtual(self) -> dict[str, PackageRecord]:
        """Return the virtual packages of its platform as records, by name."""
        return {
            package.name: _virtual_record(package, self.target.subdir)
            for package in self.target.virtual_packages
        }

    def remark(self, rule: str, package: str, message: str, level: Level = "error") -> Remark:
        return Remark(rule, self.environment.name, self.platform, package, message, level)


Rule = Callable[[Part], Iterator[Remark]]


def _specs(part: Part) -> Iterator[Remark]:
    """Every spec of the manifest is satisfied: name, version, build, channel."""
    by_name = {record.name.normalized: record for record in part.records}
    for spec in part.environment.specs[part.platform]:
        record = by_name.get(spec.name)
        if record is None:
            yield part.remark(
                "spec", spec.name, tr("{where} asks for it; it is not locked", where=spec.where)
            )
            continue
        match = spec.match_spec
        wrong_channel = match.channel is not None and _slash(match.channel.base_url) != _slash(record.channel)
        if wrong_channel or not match.matches(record):
            yield part.remark(
                "spec",
                spec.name,
                tr(
                    "{where} asks for {spec}; locked is {locked}",
                    where=spec.where,
                    spec=spec.text,
                    locked=_identity(record),
                ),
            )


def _closure(part: Part) -> Iterator[Remark]:
    """Every ``depends`` of every record is satisfied by a locked record or a virtual package."""
    have: dict[str, PackageRecord] = {record.name.normalized: record for record in part.records}
    have.update(part.virtual)
    for record in part.records:
        for depend in record.depends:
            spec = _spec(depend)
            if spec is None:
                yield part.remark(
                    "closure", record.name.normalized, tr("`{text}` is not a match spec", text=depend)
                )
                continue
            found = have.get(conda.depend_name(depend))
            if found is None or not spec.matches(found):
                yield part.remark(
                    "closure",
                    record.name.normalized,
                    tr(
                        "depends on `{spec}`; locked is {locked}",
                        spec=depend,
                        locked=_version(found) if found else tr("nothing"),
                    ),
                )


def _constrains(part: Part) -> Iterator[Remark]:
    """No record violates another one's ``constrains``."""
    have: dict[str, PackageRecord] = {record.name.normalized: record for record in part.records}
    have.update(part.virtual)
    for record in part.records:
        for constrain in record.constrains:
            found = have.get(conda.depend_name(constrain))
            spec = _spec(constrain)
            if spec is None:
                yield part.remark(
                    "constrains", record.name.normalized, tr("`{text}` is not a match spec", text=constrain)
                )
            elif found is not None and not spec.matches(found):
                yield part.remark(
                    "constrains",
                    record.name.normalized,
                    tr("allows only `{spec}`; locked is {locked}", spec=constrain, locked=_version(found)),
                )


def _superfluous(part: Part) -> Iterator[Remark]:
    """Every record is needed by the manifest, directly or through others."""
    names = {spec.name for spec in part.environment.specs[part.platform]}
    needed = {record.url for record in conda.reachable(part.records, names)}
    for record in part.records:
        if record.url not in needed:
            yield part.remark("superfluous", record.name.normalized, tr("nothing needs it"))


def _one_of_each_name(part: Part) -> Iterator[Remark]:
    """No two records of one name."""
    for name, count in Counter(record.name.normalized for record in part.records).items():
        if count > 1:
            yield part.remark("unique", name, tr("locked {count} times", count=count))


def _location(part: Part) -> Iterator[Remark]:
    """The address is https, of an allowed channel, and says the same as the record."""
    for record in part.records:
        for message in _wrong_address(record, part):
            yield part.remark("address", record.name.normalized, message)


def _wrong_address(record: RepoDataRecord, part: Part) -> Iterator[str]:
    url = record.url
    channel = next((c for c in part.environment.channels if url.startswith(c)), None)
    if not re.fullmatch(r"https://[^@?#]+", url):
        yield tr("{url} is not a plain https address", url=url)
    elif channel is None:
        yield tr("{url} is of no channel of this environment", url=url)
    else:
        if _slash(record.channel) != channel:
            yield tr("the record says channel {said}, its address {url}", said=record.channel, url=url)
        yield from _wrong_file(record, url[len(channel) :].split("/"), part.target.subdir)


def _wrong_file(record: RepoDataRecord, place: list[str], platform: str) -> Iterator[str]:
    """Compare the subdir and the file name at the end of an address with the record."""
    match = _ARCHIVE.fullmatch(unquote(place[-1])) if len(place) == 2 else None
    if match is None or place[0] not in (platform, "noarch") or place[0] != record.subdir:
        yield tr("{url} is not a package for {platform}", url=record.url, platform=platform)
        return
    said = (record.name.normalized, str(record.version), str(record.build))
    if (match["name"].lower(), match["version"], match["build"]) != said:
        yield tr("the record says {said}, its address {url}", said=" ".join(said), url=record.url)


def _hashes(part: Part) -> Iterator[Remark]:
    """Every record has a sha256; those with only an md5 are listed; only d2l's may have neither."""
    for record in part.records:
        name = record.name.normalized
        if record.sha256:
            continue
        if record.md5:
            yield part.remark("hash", name, tr("no sha256 is known, only an md5"), "note")
        elif record.url in WITHOUT_HASH:
            yield part.remark("hash", name, tr("no hash is known"), "note")
        else:
            yield part.remark("hash", name, tr("it has neither sha256 nor md5"))


def _one_pytorch(part: Part) -> Iterator[Remark]:
    """PyTorch, its companions, the mutex and ``pytorch-cuda`` are of one kind: CPU, or one CUDA."""
    kinds: dict[str, str] = {}
    mutex = ""
    for record in part.records:
        name, build = record.name.normalized, str(record.build)
        if name == "pytorch-mutex":
            mutex = build
        elif name == "pytorch-cuda":
            kinds[name] = f"cuda {record.version}"
        elif name == "cpuonly":
            kinds[name] = "cpu"
        elif name in ("pytorch", "torchvision", "torchaudio"):
            tag = _CUDA_TAG.search(build)
            # `cuda11.7` and `cu117` are the same; macOS builds (`py3.10_0`) have no tag and are CPU builds.
            kinds[name] = f"cuda {tag[1]}.{tag[2]}" if tag else "cpu"
    wanted_mutex = {kind.split()[0] for kind in kinds.values()}
    if len(set(kinds.values())) > 1 or (mutex and wanted_mutex != {mutex}):
        if mutex:
            kinds["pytorch-mutex"] = mutex
        told = ", ".join(f"{name} {kind}" for name, kind in sorted(kinds.items()))
        yield part.remark("pytorch-kind", "pytorch", tr("CPU and CUDA builds are mixed: {told}", told=told))


def _one_blas(part: Part) -> Iterator[Remark]:
    """One BLAS, and not the reference one."""
    kinds = {
        record.name.normalized: kind
        for record in part.records
        if (kind := numerics.blas(record.name.normalized, str(record.build)))
    }
    told = ", ".join(f"{name} {kind}" for name, kind in sorted(kinds.items()))
    if len(set(kinds.values())) > 1:
        yield part.remark("blas", "libblas", tr("more than one BLAS: {told}", told=told))
    elif numerics.REFERENCE_BLAS.intersection(kinds.values()):
        message = tr("the reference BLAS, many times slower than any other: {told}", told=told)
        yield part.remark("blas", "libblas", message)


def _one_openmp(part: Part) -> Iterator[Remark]:
    """One OpenMP runtime."""
    names = sorted({record.name.normalized for record in part.records} & numerics.OPENMP_RUNTIMES)
    if len(names) > 1:
        yield part.remark(
            "openmp", names[0], tr("more than one OpenMP runtime: {names}", names=", ".join(names))
        )


RULES: tuple[Rule, ...] = (
    _specs,
    _closure,
    _constrains,
    _superfluous,
    _one_of_each_name,
    _location,
    _hashes,
    _one_pytorch,
    _one_blas,
    _one_openmp,
)


@cache
def _spec(text: str) -> MatchSpec | None:
    try:
        return MatchSpec(text)
    except InvalidMatchSpecError:
        return None


@cache
def _virtual_record(package: VirtualPackage, subdir: str) -> PackageRecord:
    return package.as_record(subdir)


def _slash(address: str | None) -> str:
    return (address or "").rstrip("/") + "/"


def _version(record: PackageRecord) -> str:
    return f"{record.name.normalized} {record.version} {record.build}"


def _identity(record: RepoDataRecord) -> str:
    return f"{record.channel.rstrip('/').rsplit('/', 1)[-1]}::{_version(record)}"
