"""Does ``pixi.lock`` satisfy ``pixi.toml``?  Offline, without pixi, and stricter than pixi.

pixi's own test compares neither channels nor subdirs nor ``constrains`` (docs/lock.md), so a lock that
pixi accepts can still be wrong; each function here is one rule.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from rattler import MatchSpec, PackageRecord, RepoDataRecord
from rattler.exceptions import InvalidMatchSpecError

from d2lenv.base.console import out
from d2lenv.base.errors import D2lEnvError
from d2lenv.base.messages import tr
from d2lenv.facts.platforms import VIRTUAL_PACKAGES
from d2lenv.solve import conda as solve
from d2lenv.workspace.environments import Environment
from d2lenv.workspace.lockfile import Digest, Key, Lock
from d2lenv.workspace.lockfile import digests as lock_digests
from d2lenv.workspace.manifest import Workspace

Level = Literal["error", "note"]

WITHOUT_HASH = frozenset(
    {
        # Published 2024-02-16; its address and dependencies are public, its hash is not known to the
        # channel snapshot. d2l_release.py holds the digests of the files inside, to prove an installation.
        "https://conda.anaconda.org/conda-forge/noarch/d2l-1.0.3-pyhd8ed1ab_0.conda",
    }
)
"""The records that may have neither sha256 nor md5."""

_ARCHIVE = re.compile(r"(?P<name>.+)-(?P<version>[^-]+)-(?P<build>[^-]+)(?:\.conda|\.tar\.bz2)")
# What an environment of conda packages alone consists of, in py-rattler's text.
_PLAIN_LINE = re.compile(r" {4}(channels|packages):.*| {4}- url: .*| {6}[^ -].*:| {6}- conda: .*")
_CUDA_TAG = re.compile(r"cu(?:da)?(\d\d)\.?(\d)")


@dataclass(frozen=True)
class Finding:
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
class Summary:
    """What a lock holds.

    Attributes:
        environments: how many.
        platforms: (environment, platform) pairs.
        packages: distinct addresses.
        download_bytes: sum over distinct addresses whose size is known.
        size_unknown: how many addresses have no known size.
    """

    environments: int
    platforms: int
    packages: int
    download_bytes: int
    size_unknown: int


@dataclass(frozen=True)
class Part:
    """One (environment, platform): what the manifest wants and what the lock has."""

    environment: Environment
    platform: str
    records: tuple[RepoDataRecord, ...]

    def finding(self, rule: str, package: str, message: str, level: Level = "error") -> Finding:
        return Finding(rule, self.environment.name, self.platform, package, message, level)


Rule = Callable[[Part], Iterator[Finding]]


def check(workspace: Workspace, lock: Lock, recorded: Mapping[Key, Digest] | None) -> list[Finding]:
    """Every finding, in the manifest's order of environments.

    Args:
        recorded: the digests written by the last ``lock``; None leaves that comparison out.
    """
    findings = list(_outline(workspace, lock))
    for environment in workspace.environments.values():
        for platform in environment.platforms:
            if platform in lock.platforms(environment.name):
                part = Part(environment, platform, lock.records(environment.name, platform))
                for rule in RULES:
                    findings.extend(rule(part))
    if recorded is not None:
        findings.extend(_changed_since(lock_digests(lock), recorded))
    return findings


def summary(lock: Lock) -> Summary:
    sizes = {record.url: record.size for key in lock.pairs() for record in lock.records(*key)}
    return Summary(
        environments=len(lock.environments),
        platforms=len(list(lock.pairs())),
        packages=len(sizes),
        download_bytes=sum(size for size in sizes.values() if size),
        size_unknown=sum(1 for size in sizes.values() if not size),
    )


def as_json(findings: list[Finding], lock: Lock) -> dict[str, object]:
    return {
        "findings": [asdict(finding) for finding in findings],
        "summary": asdict(summary(lock)),
    }


def show(findings: list[Finding], lock: Lock) -> None:
    """One line for each error, one for each noted package with its places, then what the lock holds."""
    noted: dict[tuple[str, str, str], list[str]] = {}
    for finding in findings:
        if finding.level == "error":
            out().print(f"{tr('error')}: {finding.line()}", markup=False, soft_wrap=True)
        else:
            row = (finding.package, finding.message, finding.rule)
            noted.setdefault(row, []).append(f"{finding.environment}/{finding.platform}")
    for (package, message, rule), places in sorted(noted.items()):
        line = f"{tr('note')}: {package}: {message} [{rule}] ({', '.join(places)})"
        out().print(line, markup=False, soft_wrap=True)
    held = summary(lock)
    out().print(
        tr(
            "{environments} environments, {platforms} (environment, platform) pairs, {packages} packages, "
            "{size} GB to download where the size is known ({unknown} unknown)",
            environments=held.environments,
            platforms=held.platforms,
            packages=held.packages,
            size=f"{held.download_bytes / 1e9:.2f}",
            unknown=held.size_unknown,
        ),
        markup=False,
        soft_wrap=True,
    )
    errors = sum(1 for finding in findings if finding.level == "error")
    verdict = (
        tr("{count} errors: the lock does not stand", count=errors)
        if errors
        else tr("pixi.lock satisfies pixi.toml")
    )
    out().print(verdict, markup=False)


# --- the outline: environments, platforms, channels, options ---


def _outline(workspace: Workspace, lock: Lock) -> Iterator[Finding]:
    for name in lock.environments:
        if name not in workspace.environments:
            yield Finding("environments", name, "", "", tr("pixi.toml has no such environment"))
    for environment in workspace.environments.values():
        name = environment.name
        if name not in lock.environments:
            yield Finding("environments", name, "", "", tr("the lock has no such environment"))
            continue
        locked = lock.platforms(name)
        for platform in environment.platforms:
            if platform not in locked:
                yield Finding("platforms", name, platform, "", tr("the lock lacks this platform"))
        for platform in locked:
            if platform not in environment.platforms:
                yield Finding("platforms", name, platform, "", tr("pixi.toml does not have this platform"))
            else:
                yield from _platform_row(lock, name, platform)
        if lock.channels(name) != environment.channels:
            yield Finding(
                "channels",
                name,
                "",
                "",
                tr(
                    "the lock has channels {locked}, pixi.toml has {wanted}",
                    locked=", ".join(lock.channels(name)) or "-",
                    wanted=", ".join(environment.channels),
                ),
            )
    yield from _nothing_else(lock)


def _platform_row(lock: Lock, environment: str, platform: str) -> Iterator[Finding]:
    row = lock.platform(environment, platform)
    wanted = {package.locked for package in VIRTUAL_PACKAGES[platform]}
    # pixi drops its own defaults on both sides and compares the rest: nothing else may stand here.
    extra = sorted(set(row.virtual_packages) - wanted) if row else []
    if row and str(row.subdir) != platform:
        extra.append(f"subdir={row.subdir}")
    if extra:
        yield Finding(
            "platforms",
            environment,
            platform,
            "",
            tr("the lock's platform row has {values}, which pixi takes for another platform", values=extra),
        )


def _nothing_else(lock: Lock) -> Iterator[Finding]:
    """No solve options, no package indexes, no wheel and no source package.

    py-rattler keeps options and indexes to itself, but writes them: its canonical text has one form,
    whatever the layout of the file.
    """
    text = solve.lock_text(lock.file)
    environment = ""
    for line in text[text.index("\nenvironments:") : text.index("\npackages:")].splitlines()[2:]:
        if line.startswith("  ") and line[2] not in " -":
            environment = line.strip(" :'\"")
        elif not _PLAIN_LINE.fullmatch(line):
            value = line.strip().removesuffix(":")
            yield Finding(
                "options",
                environment,
                "",
                "",
                tr("the lock has `{value}`, which pixi.toml does not ask for", value=value),
            )


# --- rules for one (environment, platform) ---


def _specs(part: Part) -> Iterator[Finding]:
    """Every spec of the manifest is satisfied: name, version, build, channel."""
    by_name = {record.name.normalized: record for record in part.records}
    for spec in part.environment.specs[part.platform]:
        record = by_name.get(spec.name)
        if record is None:
            yield part.finding(
                "spec", spec.name, tr("{where} asks for it; it is not locked", where=spec.where)
            )
            continue
        match = spec.match_spec
        wrong_channel = match.channel is not None and _slash(match.channel.base_url) != _slash(record.channel)
        if wrong_channel or not match.matches(record):
            yield part.finding(
                "spec",
                spec.name,
                tr(
                    "{where} asks for {spec}; locked is {locked}",
                    where=spec.where,
                    spec=spec.text,
                    locked=_identity(record),
                ),
            )


def _closure(part: Part) -> Iterator[Finding]:
    """Every ``depends`` of every record is satisfied by a locked record or a virtual package."""
    have: dict[str, PackageRecord] = {record.name.normalized: record for record in part.records}
    for package in VIRTUAL_PACKAGES[part.platform]:
        have[package.name] = _virtual_record(package.name, part.platform)
    for record in part.records:
        for depend in record.depends:
            spec = _spec(depend)
            if spec is None:
                yield part.finding(
                    "closure", record.name.normalized, tr("`{text}` is not a match spec", text=depend)
                )
                continue
            found = have.get(solve.depend_name(depend))
            if found is None or not spec.matches(found):
                yield part.finding(
                    "closure",
                    record.name.normalized,
                    tr(
                        "depends on `{spec}`; locked is {locked}",
                        spec=depend,
                        locked=_version(found) if found else tr("nothing"),
                    ),
                )


def _constrains(part: Part) -> Iterator[Finding]:
    """No record violates another one's ``constrains``."""
    have: dict[str, PackageRecord] = {record.name.normalized: record for record in part.records}
    for package in VIRTUAL_PACKAGES[part.platform]:
        have[package.name] = _virtual_record(package.name, part.platform)
    for record in part.records:
        for constrain in record.constrains:
            found = have.get(solve.depend_name(constrain))
            spec = _spec(constrain)
            if spec is None:
                yield part.finding(
                    "constrains", record.name.normalized, tr("`{text}` is not a match spec", text=constrain)
                )
            elif found is not None and not spec.matches(found):
                yield part.finding(
                    "constrains",
                    record.name.normalized,
                    tr("allows only `{spec}`; locked is {locked}", spec=constrain, locked=_version(found)),
                )


def _superfluous(part: Part) -> Iterator[Finding]:
    """Every record is needed by the manifest, directly or through others."""
    names = {spec.name for spec in part.environment.specs[part.platform]}
    needed = {record.url for record in solve.reachable(part.records, names)}
    for record in part.records:
        if record.url not in needed:
            yield part.finding("superfluous", record.name.normalized, tr("nothing needs it"))


def _one_of_each_name(part: Part) -> Iterator[Finding]:
    """No two records of one name."""
    for name, count in Counter(record.name.normalized for record in part.records).items():
        if count > 1:
            yield part.finding("unique", name, tr("locked {count} times", count=count))


def _location(part: Part) -> Iterator[Finding]:
    """The address is https, of an allowed channel, and says the same as the record."""
    for record in part.records:
        name = record.name.normalized
        channel = next((c for c in part.environment.channels if record.url.startswith(c)), None)
        if not re.fullmatch(r"https://[^@?#]+", record.url):
            yield part.finding("address", name, tr("{url} is not a plain https address", url=record.url))
            continue
        if channel is None:
            yield part.finding(
                "address", name, tr("{url} is of no channel of this environment", url=record.url)
            )
            continue
        if _slash(record.channel) != channel:
            yield part.finding(
                "address",
                name,
                tr("the record says channel {said}, its address {url}", said=record.channel, url=record.url),
            )
        rest = record.url[len(channel) :].split("/")
        match = _ARCHIVE.fullmatch(unquote(rest[-1])) if len(rest) == 2 else None
        if match is None or rest[0] not in (part.platform, "noarch") or rest[0] != record.subdir:
            yield part.finding(
                "address",
                name,
                tr("{url} is not a package for {platform}", url=record.url, platform=part.platform),
            )
            continue
        said = (name, str(record.version), str(record.build))
        if (match["name"].lower(), match["version"], match["build"]) != said:
            yield part.finding(
                "address",
                name,
                tr("the record says {said}, its address {url}", said=" ".join(said), url=record.url),
            )


def _hashes(part: Part) -> Iterator[Finding]:
    """Every record has a sha256; those with only an md5 are listed; only d2l's may have neither."""
    for record in part.records:
        name = record.name.normalized
        if record.sha256:
            continue
        if record.md5:
            yield part.finding("hash", name, tr("no sha256 is known, only an md5"), "note")
        elif record.url in WITHOUT_HASH:
            yield part.finding("hash", name, tr("no hash is known"), "note")
        else:
            yield part.finding("hash", name, tr("it has neither sha256 nor md5"))


def _one_pytorch(part: Part) -> Iterator[Finding]:
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
        yield part.finding("pytorch-kind", "pytorch", tr("CPU and CUDA builds are mixed: {told}", told=told))


RULES: tuple[Rule, ...] = (
    _specs,
    _closure,
    _constrains,
    _superfluous,
    _one_of_each_name,
    _location,
    _hashes,
    _one_pytorch,
)


# --- against the recorded digests ---


def _changed_since(found: Mapping[Key, Digest], recorded: Mapping[Key, Digest]) -> Iterator[Finding]:
    for key in sorted(set(found) | set(recorded)):
        now, then = found.get(key), recorded.get(key)
        if now is None or then is None:
            yield Finding("digest", *key, "", tr("added or removed since the digests were recorded"))
            continue
        if now.digest == then.digest:
            continue
        names = sorted(set(now.packages) | set(then.packages))
        changed = [name for name in names if now.packages.get(name) != then.packages.get(name)]
        for name in changed:
            yield Finding("digest", *key, name, tr("changed since the digests were recorded"))
        if not changed:
            yield Finding(
                "digest", *key, "", tr("channels or platform changed since the digests were recorded")
            )


# --- solving again ---


def solve_again(workspace: Workspace, lock: Lock) -> list[Finding]:
    """Solve with the locked records as the only candidates: the answer must be the same set."""
    findings: list[Finding] = []
    for environment in workspace.environments.values():
        for platform in environment.platforms:
            if platform not in lock.platforms(environment.name):
                continue
            records = lock.records(environment.name, platform)
            part = Part(environment, platform, records)
            with tempfile.TemporaryDirectory() as folder:
                _write_repodata(Path(folder), part)
                only = Workspace(workspace.root, {environment.name: _alone(environment, platform)})
                try:
                    answer = solve.solve_workspace(only, solve.Snapshot(Path(folder)))
                except D2lEnvError as error:
                    findings.append(part.finding("solve", "", error.why or error.what))
                    continue
            got = {record.url for record in answer[environment.name, platform]}
            findings.extend(
                part.finding("solve", record.name.normalized, tr("solving again does not take it"))
                for record in records
                if record.url not in got
            )
    return findings


def _alone(environment: Environment, platform: str) -> Environment:
    specs = {platform: environment.specs[platform]}
    return Environment(environment.name, environment.channels, (platform,), specs)


def _write_repodata(folder: Path, part: Part) -> None:
    for channel in part.environment.channels:
        name = channel.rstrip("/").rsplit("/", 1)[-1]
        for subdir in (part.platform, "noarch"):
            rows: dict[str, dict[str, object]] = {"packages": {}, "packages.conda": {}}
            for record in part.records:
                if _slash(record.channel) == channel and record.subdir == subdir:
                    data = json.loads(record.to_json())
                    file_name = data.pop("fn")
                    data.pop("url")
                    data.pop("channel")
                    section = "packages.conda" if file_name.endswith(".conda") else "packages"
                    rows[section][file_name] = data
            path = folder / name / subdir / "repodata.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"info": {"subdir": subdir}, **rows}), encoding="utf-8")


# --- small things ---


@cache
def _spec(text: str) -> MatchSpec | None:
    try:
        return MatchSpec(text)
    except InvalidMatchSpecError:
        return None


@cache
def _virtual_record(name: str, platform: str) -> PackageRecord:
    package = next(package for package in VIRTUAL_PACKAGES[platform] if package.name == name)
    return package.as_record(platform)


def _slash(address: str | None) -> str:
    return (address or "").rstrip("/") + "/"


def _version(record: PackageRecord) -> str:
    return f"{record.name.normalized} {record.version} {record.build}"


def _identity(record: RepoDataRecord) -> str:
    return f"{record.channel.rstrip('/').rsplit('/', 1)[-1]}::{_version(record)}"
