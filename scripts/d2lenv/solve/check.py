"""Does ``pixi.lock`` satisfy ``pixi.toml``?  Offline, without pixi, and stricter than pixi (docs/lock.md)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from d2lenv.base.console import say
from d2lenv.base.messages import tr, trn
from d2lenv.solve import conda
from d2lenv.solve.rules import RULES, Part, Remark
from d2lenv.workspace import platforms
from d2lenv.workspace.environments import Environment
from d2lenv.workspace.lockfile import FORMAT, Digest, Key, Lock, Recorded
from d2lenv.workspace.lockfile import digests as lock_digests
from d2lenv.workspace.manifest import Workspace

# As many names as a person reads in one line.
_NAMES_SHOWN = 8

# What an environment of conda packages alone consists of, in py-rattler's text.
_PLAIN_LINE = re.compile(r" {4}(channels|packages):.*| {4}- url: .*| {6}[^ -].*:| {6}- conda: .*")


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


def check(workspace: Workspace, lock: Lock, recorded: Recorded | None) -> list[Remark]:
    """Return every remark, in the manifest's order of environments.

    Args:
        recorded: what the last ``lock`` wrote beside the lock. None leaves that comparison out.
    """
    remarks = list(_outline(workspace, lock))
    for environment in workspace.environments.values():
        for platform in environment.platforms:
            if platform in lock.platforms(environment.name):
                part = Part(environment, platform, lock.records(environment.name, platform))
                for rule in RULES:
                    remarks.extend(rule(part))
    if recorded is not None:
        remarks.extend(_changed_since(lock_digests(lock), recorded.digests))
    return remarks


def errors(remarks: Sequence[Remark]) -> list[Remark]:
    """Return those that fail the check."""
    return [remark for remark in remarks if remark.level == "error"]


def summary(lock: Lock) -> Summary:
    sizes = {record.url: record.size for key in lock.pairs() for record in lock.records(*key)}
    return Summary(
        environments=len(lock.environments),
        platforms=len(list(lock.pairs())),
        packages=len(sizes),
        download_bytes=sum(size for size in sizes.values() if size),
        size_unknown=sum(1 for size in sizes.values() if not size),
    )


def as_json(remarks: list[Remark], lock: Lock) -> dict[str, object]:
    return {
        "findings": [asdict(remark) for remark in remarks],
        "summary": asdict(summary(lock)),
    }


def show(remarks: list[Remark], lock: Lock) -> None:
    """Print a line for each error, one for each kind of change and of note, then what the lock holds."""
    wrong = errors(remarks)
    changed = [remark for remark in wrong if remark.rule == "digest"]
    for remark in wrong:
        if remark not in changed:
            say(f"{tr('error')}: {remark.line()}")
    _show_changed(changed)
    _show_notes([remark for remark in remarks if remark.level == "note"])
    held = summary(lock)
    say(
        tr(
            "{environments} environments, {platforms} (environment, platform) pairs, {packages} packages, "
            "{size} GB to download where the size is known ({unknown} unknown)",
            environments=held.environments,
            platforms=held.platforms,
            packages=held.packages,
            size=f"{held.download_bytes / 1e9:.2f}",
            unknown=held.size_unknown,
        )
    )
    if wrong:
        say(
            trn(
                "{count} error: the lock does not stand",
                "{count} errors: the lock does not stand",
                count=len(wrong),
            )
        )
    else:
        say(tr("pixi.lock satisfies pixi.toml"))


def _show_changed(changed: Sequence[Remark]) -> None:
    """Print one line for each kind of change since the digests were recorded, and what to type."""
    for message in dict.fromkeys(remark.message for remark in changed):
        alike = [remark for remark in changed if remark.message == message]
        places = list(dict.fromkeys(f"{remark.environment}/{remark.platform}" for remark in alike))
        names = list(dict.fromkeys(remark.package for remark in alike if remark.package))
        told = f"{message}: {_some(names)} ({_some(places)})" if names else f"{message}: {_some(places)}"
        say(f"{tr('error')}: {told} [digest]")
    if changed:
        say(
            tr(
                "next: {step}",
                step=tr("where that is meant, type `d2lenv lock --record`, then `d2lenv export`"),
            )
        )


def _some(names: Sequence[str]) -> str:
    left_out = len(names) - _NAMES_SHOWN
    shown = ", ".join(names[:_NAMES_SHOWN])
    return tr("{names} and {count} more", names=shown, count=left_out) if left_out > 0 else shown


def _show_notes(notes: Sequence[Remark]) -> None:
    noted: dict[tuple[str, str, str], list[str]] = {}
    for remark in notes:
        row = (remark.package, remark.message, remark.rule)
        noted.setdefault(row, []).append(f"{remark.environment}/{remark.platform}")
    for (package, message, rule), places in sorted(noted.items()):
        say(f"{tr('note')}: {package}: {message} [{rule}] ({', '.join(places)})")


# --- the outline: environments, platforms, channels, options ---


def _outline(workspace: Workspace, lock: Lock) -> Iterator[Remark]:
    if lock.format != FORMAT:
        message = tr("it has format {found}, pixi writes {wanted}", found=lock.format, wanted=FORMAT)
        yield Remark("format", "", "", "", message)
    for name in lock.environments:
        if name not in workspace.environments:
            yield Remark("environments", name, "", "", tr("pixi.toml has no such environment"))
    for environment in workspace.environments.values():
        if environment.name not in lock.environments:
            yield Remark("environments", environment.name, "", "", tr("the lock has no such environment"))
            continue
        yield from _platforms(lock, environment)
        yield from _channels(lock, environment)
    yield from _nothing_else(lock)


def _platforms(lock: Lock, environment: Environment) -> Iterator[Remark]:
    name = environment.name
    locked = lock.platforms(name)
    for platform in environment.platforms:
        # pixi and py-rattler write no row for a platform on which the environment is empty.
        if platform not in locked and environment.specs[platform]:
            yield Remark("platforms", name, platform, "", tr("the lock lacks this platform"))
    for platform in locked:
        if platform not in environment.platforms:
            yield Remark("platforms", name, platform, "", tr("pixi.toml does not have this platform"))
        else:
            yield from _platform_row(lock, environment, platform)


def _channels(lock: Lock, environment: Environment) -> Iterator[Remark]:
    locked = lock.channels(environment.name)
    if locked != environment.channels:
        message = tr(
            "the lock has channels {locked}, pixi.toml has {wanted}",
            locked=", ".join(locked) or "-",
            wanted=", ".join(environment.channels),
        )
        yield Remark("channels", environment.name, "", "", message)


def _platform_row(lock: Lock, environment: Environment, platform: str) -> Iterator[Remark]:
    row, wanted = lock.platform(environment.name, platform), environment.targets[platform]
    assert row is not None  # `platforms` has just named it
    # pixi drops its own defaults on both sides and compares the rest: nothing else may stand here.
    (subdir, found), (_, asked) = platforms.identity(row), platforms.identity(wanted.row)
    values = [*sorted(found - asked), *(f"-{value}" for value in sorted(asked - found))]
    if subdir != wanted.subdir:
        values.append(f"subdir={row.subdir}")
    if values:
        message = tr(
            "the lock's platform row has {values}, which pixi takes for another platform", values=values
        )
        yield Remark("platforms", environment.name, platform, "", message)


def _nothing_else(lock: Lock) -> Iterator[Remark]:
    """Refuse solve options, package indexes, wheels and source packages.

    py-rattler keeps options and indexes to itself, but writes them: its canonical text has one form,
    whatever the layout of the file.
    """
    text = conda.lock_text(lock.file)
    environment = ""
    for line in text[text.index("\nenvironments:") : text.index("\npackages:")].splitlines()[2:]:
        if line.startswith("  ") and line[2] not in " -":
            environment = line.strip(" :'\"")
        elif not _PLAIN_LINE.fullmatch(line):
            value = line.strip().removesuffix(":")
            yield Remark(
                "options",
                environment,
                "",
                "",
                tr("the lock has `{value}`, which pixi.toml does not ask for", value=value),
            )


# --- against the recorded digests ---


def _changed_since(found: Mapping[Key, Digest], recorded: Mapping[Key, Digest]) -> Iterator[Remark]:
    for key in sorted(set(found) | set(recorded)):
        now, then = found.get(key), recorded.get(key)
        if now is None or then is None:
            yield Remark("digest", *key, "", tr("added or removed since the digests were recorded"))
            continue
        if now.digest == then.digest:
            continue
        names = sorted(set(now.packages) | set(then.packages))
        changed = [name for name in names if now.packages.get(name) != then.packages.get(name)]
        for name in changed:
            yield Remark("digest", *key, name, tr("changed since the digests were recorded"))
        if not changed:
            yield Remark(
                "digest", *key, "", tr("channels or platform changed since the digests were recorded")
            )
