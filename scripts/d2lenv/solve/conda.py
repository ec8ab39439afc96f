"""``pixi.toml`` → ``pixi.lock`` with the embedded solver (py-rattler, the same Rust core as pixi's).

Records come from the channels, or offline from a snapshot folder ``<channel>/<subdir>/repodata.json``;
their addresses are the real channels' either way.
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from rattler import (
    Channel,
    ChannelPriority,
    Client,
    Gateway,
    LockChannel,
    LockFile,
    RepoDataRecord,
    SparseRepoData,
    solve,
    solve_with_sparse_repodata,
)
from rattler.exceptions import FetchRepoDataError, GatewayError, SolverError

from d2lenv.base.errors import D2lEnvError
from d2lenv.base.messages import tr, trn
from d2lenv.workspace.environments import Environment, Spec
from d2lenv.workspace.lockfile import Key, Lock, record_digest
from d2lenv.workspace.manifest import Workspace
from d2lenv.workspace.platforms import Platform

Solution = Mapping[Key, tuple[RepoDataRecord, ...]]
"""(environment, platform) → its records, sorted by name."""

MAX_REASON_LINES = 30
"""As much of a solver's reason as a person reads."""


@dataclass
class Snapshot:
    """Repodata in a folder; each file is opened once.

    Attributes:
        folder: holds ``<channel>/<subdir>/repodata.json``.
    """

    folder: Path
    _open: dict[tuple[str, str], SparseRepoData] = field(default_factory=dict, repr=False)

    def repodata(self, channels: Sequence[str], platform: str) -> list[SparseRepoData]:
        """Return the repodata of ``platform`` and ``noarch`` in each channel, highest priority first.

        Raises:
            D2lEnvError: if the folder lacks a channel or a subdir, or a file in it is not repodata.
        """
        return [self._subdir(channel, subdir) for channel in channels for subdir in (platform, "noarch")]

    def _subdir(self, channel: str, subdir: str) -> SparseRepoData:
        key = (channel, subdir)
        if key not in self._open:
            path = self._path(*key)
            if not path.is_file():
                name = path.parents[1].name
                raise D2lEnvError(
                    tr("the snapshot {folder} lacks channel `{name}`", folder=self.folder, name=name),
                    why=tr("{path} does not exist", path=path),
                    fix=tr("give a folder with <channel>/<subdir>/repodata.json for every channel"),
                )
            try:
                self._open[key] = SparseRepoData(Channel(channel), subdir, path)
            except Exception as error:  # py-rattler raises bare OSError or ValueError for a damaged file
                raise D2lEnvError(tr("{path} is not repodata", path=path), why=str(error)) from error
        return self._open[key]

    def digest(self) -> str:
        """Return a sha256 (hex) over the files that were read, whatever folder they stand in."""
        lines = []
        for channel, subdir in sorted(self._open):
            with self._path(channel, subdir).open("rb") as file:
                lines.append(f"{channel}{subdir} {hashlib.sha256(file.read()).hexdigest()}")
        return hashlib.sha256("\n".join(lines).encode("utf-8")).hexdigest()

    def _path(self, channel: str, subdir: str) -> Path:
        return self.folder / channel.rstrip("/").rsplit("/", 1)[-1] / subdir / "repodata.json"

    def damaged(self, error: OSError) -> D2lEnvError:
        """Return ``error`` with its file, which py-rattler does not name when it parses a record."""
        for key, source in self._open.items():
            for name in source.package_names():
                try:
                    source.load_records(name)
                except OSError as found:
                    return D2lEnvError(
                        tr("{path} is not repodata", path=self._path(*key)), why=f"{name}: {found}"
                    )
        return D2lEnvError(tr("{path} is not repodata", path=self.folder), why=str(error))


@dataclass(frozen=True)
class Change:
    """What a new lock has where the old one had something else.

    Attributes:
        package: conda name.
        old: ``version build`` or empty.
        new: ``version build`` or empty.
        places: ``environment/platform``, sorted.
    """

    package: str
    old: str
    new: str
    places: tuple[str, ...]


def solve_workspace(
    workspace: Workspace,
    snapshot: Snapshot | None,
    *,
    preferred: Lock | None = None,
    released: frozenset[str] = frozenset(),
    say: Callable[[str], None] = lambda text: None,
) -> Solution:
    """Solve every environment for every platform.

    Args:
        snapshot: where records come from. None asks the channels themselves.
        preferred: records of this lock stay where they still satisfy the manifest.
        released: names whose locked records are not preferred (``lock --update NAME``).
        say: receives one line for each solve.

    Raises:
        D2lEnvError: if a solve failed; environment, platform and the spec to blame come first.
    """
    solution: dict[Key, tuple[RepoDataRecord, ...]] = {}
    # Environments of one solve group, and environments with equal questions, share one answer.
    answers: dict[object, list[RepoDataRecord]] = {}
    for environment in workspace.environments.values():
        for platform in environment.platforms:
            members = group_members(workspace, environment, platform)
            asked = _question(environment.name, environment.targets[platform], members, snapshot)
            kept = _kept(preferred, members, platform, released)
            same = (platform, asked.channels, tuple(s.text for s in asked.specs), tuple(r.url for r in kept))
            if same not in answers:
                say(tr("solving {name} for {platform}", name=environment.name, platform=platform))
                answers[same] = asyncio.run(_solve_one(asked, kept))
            records = answers[same]
            if len(members) > 1:
                records = reachable(records, {spec.name for spec in environment.specs[platform]})
            solution[environment.name, platform] = tuple(sorted(records, key=lambda r: r.name.normalized))
    return solution


def _question(
    name: str, platform: Platform, members: list[Environment], snapshot: Snapshot | None
) -> _Question:
    specs = sorted({spec for member in members for spec in member.specs[platform.name]}, key=_order)
    channels = tuple(dict.fromkeys(channel for member in members for channel in member.channels))
    return _Question(name, platform, channels, tuple(specs), snapshot)


def group_members(workspace: Workspace, environment: Environment, platform: str) -> list[Environment]:
    """Return the environments that pixi solves together with ``environment`` on ``platform``."""
    if not environment.solve_group:
        return [environment]
    return [
        other
        for other in workspace.environments.values()
        if other.solve_group == environment.solve_group and platform in other.platforms
    ]


def reachable(records: Iterable[RepoDataRecord], names: set[str]) -> list[RepoDataRecord]:
    """Return the records that ``names`` need, directly or through ``depends``."""
    by_name = {record.name.normalized: record for record in records}
    found: dict[str, RepoDataRecord] = {}
    queue = sorted(names)
    while queue:
        name = queue.pop()
        if name in found or name not in by_name:
            continue
        found[name] = by_name[name]
        queue.extend(depend_name(depend) for depend in by_name[name].depends)
    return list(found.values())


@cache
def depend_name(depend: str) -> str:
    """Return ``libblas`` of ``libblas >=3.9.0,<4.0a0``."""
    name = depend.split("::")[-1].strip()
    for index, char in enumerate(name):
        if char in " =<>!~[;":
            return name[:index].lower()
    return name.lower()


def _order(spec: Spec) -> tuple[str, str]:
    return spec.name, spec.text


def _kept(
    lock: Lock | None, members: Iterable[Environment], platform: str, released: frozenset[str]
) -> list[RepoDataRecord]:
    """Return the locked records that are preferred: of a name that two environments lock, the first one's."""
    kept: dict[str, RepoDataRecord] = {}
    for member in members:
        if lock is not None and platform in lock.platforms(member.name):
            for record in lock.records(member.name, platform):
                kept.setdefault(record.name.normalized, record)
    return [record for name, record in sorted(kept.items()) if name not in released]


@dataclass(frozen=True)
class _Question:
    """What is asked of the solver for one (environment, platform), and of whom."""

    environment: str
    platform: Platform
    channels: tuple[str, ...]
    specs: tuple[Spec, ...]
    snapshot: Snapshot | None


async def _solve_one(asked: _Question, kept: list[RepoDataRecord]) -> list[RepoDataRecord]:
    name, platform = asked.environment, asked.platform.name
    try:
        kept = await _as_in_channel(kept, asked)
        return await _attempt(asked, asked.specs, kept)
    except (FetchRepoDataError, GatewayError) as error:
        raise D2lEnvError(
            tr("the channels of `{name}` for {platform} cannot be read", name=name, platform=platform),
            why=_short(str(error)),
            fix=tr("check the network or a mirror, or solve offline with --snapshot DIR"),
        ) from error
    except OSError as error:
        if asked.snapshot is None:
            raise
        raise asked.snapshot.damaged(error) from error
    except SolverError as error:
        raise D2lEnvError(
            tr("`{name}` for {platform} has no solution", name=name, platform=platform),
            why=f"{await _blamed(asked, kept)}\n{_short(str(error))}",
            fix=tr("change the spec in pixi.toml; pixi.lock was left as it is"),
        ) from error


async def _attempt(
    asked: _Question, specs: Iterable[Spec], kept: list[RepoDataRecord]
) -> list[RepoDataRecord]:
    texts = [spec.text for spec in specs]
    virtual = [package.for_solver() for package in asked.platform.virtual_packages]
    if asked.snapshot is not None:
        return await solve_with_sparse_repodata(
            texts,
            asked.snapshot.repodata(asked.channels, asked.platform.subdir),
            locked_packages=kept,
            virtual_packages=virtual,
            channel_priority=ChannelPriority.Strict,
        )
    return await solve(
        [Channel(channel) for channel in asked.channels],
        texts,
        gateway=_gateway(),
        platforms=[asked.platform.subdir, "noarch"],  # type: ignore[list-item]  # its own literal type
        locked_packages=kept,
        virtual_packages=virtual,
        channel_priority=ChannelPriority.Strict,
    )


async def _blamed(asked: _Question, kept: list[RepoDataRecord]) -> str:
    """Name the specs without any one of which there is a solution."""
    found = []
    for spec in asked.specs:
        with suppress(SolverError):
            await _attempt(asked, (other for other in asked.specs if other is not spec), kept)
            found.append(f"{spec.text} {spec.where}")
    if not found:
        return tr("no single spec is to blame")
    return tr("without any one of these it has: {specs}", specs="; ".join(found))


def _short(reason: str) -> str:
    lines = reason.strip().splitlines()
    if len(lines) <= MAX_REASON_LINES:
        return "\n".join(lines)
    left_out = len(lines) - MAX_REASON_LINES
    return "\n".join(
        [
            *lines[:MAX_REASON_LINES],
            trn("… and {count} more line", "… and {count} more lines", count=left_out),
        ]
    )


@cache
def _gateway() -> Gateway:
    """Return the client that asks the channels, through pixi's mirrors, proxies and certificates."""
    try:
        from rattler import Config
    except ImportError:  # py-rattler before 0.28
        return Gateway()
    return Gateway(client=Client.from_config(Config.load_from_default_locations("pixi")))


async def _as_in_channel(kept: list[RepoDataRecord], asked: _Question) -> list[RepoDataRecord]:
    """Return the channel's own version of each locked record: a lock changed by hand is not passed on.

    A record that the channel no longer has stays as it was locked, as pixi does.
    """
    names = [record.name.normalized for record in kept]
    found: Iterable[Iterable[RepoDataRecord]]
    if asked.snapshot is not None:
        sources = asked.snapshot.repodata(asked.channels, asked.platform.subdir)
        found = [source.load_records(name) for source in sources for name in names]
    else:
        channels = [Channel(channel) for channel in asked.channels]
        places = [asked.platform.subdir, "noarch"]
        found = await _gateway().query(channels, places, names, recursive=False)  # type: ignore[arg-type]
    fresh = {record.url: record for records in found for record in records}
    return [fresh.get(record.url, record) for record in kept]


def build_lock(workspace: Workspace, solution: Solution) -> LockFile:
    """Return the lock that pixi would write: channels with a closing slash, pixi's own platform rows."""
    used = {platform for _, platform in solution}
    rows = {platform.name: platform.row for platform in workspace.platforms if platform.name in used}
    lock = LockFile(sorted(rows.values(), key=lambda row: row.name))
    for environment in workspace.environments.values():
        lock.set_channels(environment.name, [LockChannel(channel) for channel in environment.channels])
    for (environment_name, platform), records in solution.items():
        for record in records:
            lock.add_conda_package(environment_name, rows[platform], record)
    return lock


def lock_text(lock: LockFile) -> str:
    """Return the canonical text of ``lock``."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pixi.lock"
        lock.to_path(path)
        return path.read_text(encoding="utf-8")


def changes(old: Lock | None, new: Solution) -> list[Change]:
    """Return the differences of two locks, sorted by package, equal changes of several places in one row."""
    rows: dict[tuple[str, str, str], list[str]] = {}
    keys = set(new) | (set(old.pairs()) if old else set())
    for environment, platform in sorted(keys):
        place = f"{environment}/{platform}"
        before = (
            {r.name.normalized: r for r in old.records(environment, platform)}
            if old and platform in old.platforms(environment)
            else {}
        )
        after = {r.name.normalized: r for r in new.get((environment, platform), ())}
        for name in sorted(set(before) | set(after)):
            was, now = before.get(name), after.get(name)
            if was is None or now is None or was.url != now.url:
                rows.setdefault((name, _label(was), _label(now)), []).append(place)
            elif record_digest(was) != record_digest(now):
                told = tr("{build}, described anew", build=_label(now))
                rows.setdefault((name, _label(was), told), []).append(place)
    return [Change(*key, places=tuple(places)) for key, places in sorted(rows.items())]


def _label(record: RepoDataRecord | None) -> str:
    return f"{record.version} {record.build}" if record else ""
