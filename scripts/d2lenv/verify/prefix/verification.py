"""``d2lenv verify``: is a prefix exactly what the lock says?

docs/fingerprint.md tells what vouches for what: the lock for names, versions and addresses; the baseline
beside the prefix for everything in it; the packages' own lists where another client left no baseline.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from d2lenv.base.console import err, print_table, say
from d2lenv.base.errors import USAGE, D2lEnvError
from d2lenv.base.files import absolute
from d2lenv.base.messages import printable, tr, trn
from d2lenv.prefix import baseline, lookup, marker, records
from d2lenv.prefix.contents.prefix import read_prefix
from d2lenv.prefix.scan import scan
from d2lenv.verify.prefix import files, packages
from d2lenv.verify.prefix.findings import Examination, Mismatch, meaning
from d2lenv.verify.prefix.subject import Subject, subject
from d2lenv.verify.prefix.tolerances import TOLERANCES
from d2lenv.workspace.manifest import Workspace

_SHOWN = 40


@dataclass(frozen=True)
class Verification:
    """The result of :func:`verify`.

    Attributes:
        quick: sizes and times were compared, no content was read.
        tolerated: name of the tolerance → number of entries.
        not_checked: what nothing vouches for, or could not be looked at, and why.
    """

    subject: Subject
    prefix: Path
    quick: bool
    findings: tuple[Mismatch, ...]
    tolerated: Mapping[str, int]
    not_checked: tuple[str, ...]
    packages: int
    files: int
    size: int

    @property
    def ok(self) -> bool:
        return not self.findings

    def as_json(self) -> dict[str, object]:
        return {
            "environment": self.subject.environment,
            "platform": self.subject.platform,
            "engine": self.subject.kind,
            "prefix": printable(str(self.prefix)),
            "lock": printable(str(self.subject.source)),
            "quick": self.quick,
            "packages": self.packages,
            "files": self.files,
            "bytes": self.size,
            "findings": [finding.as_json() for finding in self.findings],
            "tolerated": dict(self.tolerated),
            "not_checked": list(map(printable, self.not_checked)),
        }


def verify(
    workspace: Workspace,
    name: str | None,
    environ: Mapping[str, str],
    *,
    environment: str = "",
    quick: bool = False,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Verification:
    """Compare a prefix with the lock.

    Args:
        name: a path, or an environment of the workspace, None for the active one.
        environ: where an active environment is named.
        environment: what the prefix must be; for one that another client made from our exports.
        quick: compare sizes and times, read no content.
        progress: is told the bytes read so far and their total.

    Raises:
        D2lEnvError: if there is no such prefix, or it belongs to no environment of the workspace.
    """
    place, _ = lookup.target(name, environ, workspace.root)
    if not place.is_dir():
        raise D2lEnvError(tr("{path} is not a folder", path=place), status=USAGE)
    content = read_prefix(place)
    named = name if name is not None and place != absolute(Path(name)) else ""
    asked = subject(workspace, content, environment or named)
    look = Examination(content, scan(place), records.read(content), baseline.read(place))
    _check_origin(look, asked)
    packages.check(look, asked)
    _check_sources(look)
    compared = files.compare_quickly(look) if quick else files.compare(look, progress)
    return Verification(
        subject=asked,
        prefix=place,
        quick=quick,
        findings=tuple(
            sorted(dict.fromkeys(look.findings), key=lambda found: (found.package, found.path, found.kind))
        ),
        tolerated={name: count for name, count in sorted(look.tolerated.items()) if count},
        not_checked=(*_not_checked(look, asked, quick), *look.not_checked),
        packages=len(asked.packages),
        files=len(compared),
        size=sum(entry.size for entry in compared),
    )


def _check_origin(look: Examination, asked: Subject) -> None:
    """The marker names the lock, and every build leaves a baseline."""
    stated = look.prefix.marker.get("digest")
    if stated is not None and stated != asked.digest:
        look.add(
            "not-built-from-this-lock",
            marker.MARKER,
            tr("{file} is another one since; `d2lenv build` brings the prefix up to date", file=asked.source),
        )
    if asked.ours and look.baseline is None:
        path = baseline.path_of(look.prefix.path).name
        detail = tr("{file} is gone, which every build leaves beside the prefix; build it anew", file=path)
        look.add("baseline-missing", f"../{path}", detail)


def _check_sources(look: Examination) -> None:
    for path, package, why in look.records.problems:
        look.add("record-damaged", path, why, package)
    for path, why in look.tree.unreadable.items():
        look.add("unreadable", path, why)


def _not_checked(look: Examination, asked: Subject, quick: bool) -> Iterator[str]:
    if quick:
        yield tr("no content was read: only sizes and times were compared (--quick)")
    if look.baseline is None:
        yield tr(
            "no baseline lies beside this prefix: nothing outside it vouches for RECORD, conda-meta and what "
            "no package owns, and modes and times were not compared"
        )
    if look.tolerated["bytecode"] and quick:
        yield tr("compiled files were not compared with their sources (--quick)")
    if home := look.prefix.config.get("home", ""):
        yield tr("the interpreter that the environment starts lies outside: {path}", path=home)
    if look.unvouched:
        yield trn(
            "{count} file has no recorded digest",
            "{count} files have no recorded digest",
            count=look.unvouched,
        )


# ---------------------------------------------------------------------------------------------- what it says


def show(found: Verification) -> None:
    """Print the findings as a table, then the verdict, what was tolerated and what was not checked."""
    if found.findings:
        print_table(
            [tr("what"), tr("package"), tr("file"), tr("detail")],
            [
                [meaning(finding.kind), finding.package or "–", printable(finding.path), finding.detail]
                for finding in found.findings[:_SHOWN]
            ],
        )
        hidden = len(found.findings) - _SHOWN
        if hidden > 0:
            say(tr("{count} more; --json lists them all", count=hidden))
    for name, count in found.tolerated.items():
        reason = next(item.reason() for item in TOLERANCES if item.name == name)
        say(tr("tolerated: {count} × {name}: {reason}", count=count, name=name, reason=reason))
    for text in found.not_checked:
        say(tr("not checked: {text}", text=text))
    say(_verdict(found))


def _verdict(found: Verification) -> str:
    counts = {
        "prefix": found.prefix,
        "packages": found.packages,
        "files": found.files,
        "size": f"{found.size / 1e9:.1f}",
    }
    if not found.ok:
        return trn(
            "{prefix} is not what the lock says: {count} finding",
            "{prefix} is not what the lock says: {count} findings",
            count=len(found.findings),
            **counts,
        )
    if found.quick:
        return tr(
            "{prefix}: sizes and times of {packages} packages, {files} files are as they were built", **counts
        )
    return tr("{prefix} is what the lock says: {packages} packages, {files} files, {size} GB", **counts)


@contextmanager
def progress_bar() -> Iterator[Callable[[int, int], None]]:
    """Show a bar on standard error, on a terminal only."""
    if not err().is_terminal:
        yield lambda _done, _all: None
        return
    from rich.progress import Progress

    with Progress(console=err(), transient=True) as bar:
        task = bar.add_task(tr("reading"), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
