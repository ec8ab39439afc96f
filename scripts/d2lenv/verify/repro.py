"""``d2lenv repro``: build an environment twice, independently, and compare every file."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import jinja2
from filelock import FileLock, Timeout

from d2lenv.base import process
from d2lenv.base.console import document, print_table, say
from d2lenv.base.errors import D2lEnvError
from d2lenv.base.files import exclusive_lock, write_atomic
from d2lenv.base.messages import language, printable, tr
from d2lenv.engines import find, place
from d2lenv.engines.conda import answers
from d2lenv.prefix import marker
from d2lenv.verify.prefix_diff import RULES, Comparison, compare, meaning
from d2lenv.workspace import host, lockfile, settings
from d2lenv.workspace.manifest import LOCK, MANIFEST, Workspace

_TIMEOUT_S = 6 * 3600.0
_SHOWN = 40
_WORK = "repro-"
# Of one length, so that bytecode, which counts the letters of its path, can be compared too.
_PLACES = ("first", "other")
_CACHES = ("UV_CACHE_DIR", "RATTLER_CACHE_DIR", "PIXI_CACHE_DIR")


@dataclass(frozen=True)
class Reproduction:
    """Two builds and their comparison.

    Attributes:
        against: the prefix that stood in for the first build, empty when there were two builds.
        cold: the second build had an empty cache: every byte was downloaded again.
        seconds: of the first build, the second build, and the comparison.
    """

    environment: str
    engine: str
    platform: str
    against: str
    cold: bool
    seconds: tuple[float, ...]
    comparison: Comparison

    def as_json(self) -> dict[str, object]:
        return {
            "environment": self.environment,
            "engine": self.engine,
            "platform": self.platform,
            "against": self.against,
            "cold": self.cold,
            "seconds": [round(value, 1) for value in self.seconds],
            **self.comparison.as_json(),
        }


def repro(
    workspace: Workspace,
    name: str,
    *,
    engine: str = "auto",
    against: Path | None = None,
    warm: bool = False,
    keep: bool = False,
    say: Callable[[str], None],
) -> Reproduction:
    """Build environment ``name`` twice from copies of one lock, and compare.

    Args:
        against: an existing prefix instead of the first build.
        warm: let the second build use the caches that are there.
        keep: leave both prefixes for inspection.
        say: receives lines of progress.

    Raises:
        D2lEnvError: if a build failed, or the disk is too small.
    """
    asked = settings.get(workspace, name)
    base = workspace.root / ".d2lenv"
    _check_space(workspace, asked, base, builds=1 if against else 2)
    with _workplace(base, keep, say) as work:
        started = time.monotonic()
        if against is None:
            first, engine = _build(workspace, work, _PLACES[0], name, engine, {}, say)
        else:
            first, engine = against, _engine_of(against, engine)
        between = time.monotonic()
        # Another time zone, language and order of hashes: none of them may matter.
        changed = {"TZ": "Pacific/Auckland", "LC_ALL": "C", "PYTHONHASHSEED": "1"}
        if not warm:
            changed |= {cache: str(work / "cache") for cache in _CACHES}
        second, _ = _build(workspace, work, _PLACES[1], name, engine, changed, say)
        built = time.monotonic()
        say(tr("comparing {first} with {second}", first=first, second=second))
        comparison = compare(first, second)
        ended = time.monotonic()
        return Reproduction(
            name,
            engine,
            find.ENGINES[engine].platform(workspace, name),
            str(against or ""),
            not warm,
            (between - started, built - between, ended - built),
            comparison,
        )


def _engine_of(prefix: Path, asked: str) -> str:
    try:
        stated = json.loads((prefix / marker.MARKER).read_text(encoding="utf-8"))["engine"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise D2lEnvError(
            tr("{path} does not say of which environment it is", path=prefix),
            why=str(error),
            fix=tr("give a prefix that `d2lenv build` made"),
        ) from error
    return str(stated) if asked == "auto" else asked


def _check_space(workspace: Workspace, asked: settings.Settings, base: Path, *, builds: int) -> None:
    """Refuse a disk without room for the builds; the files of a prefix are those of its own cache."""
    platform = host.platform_for(workspace, asked.name)
    lock = lockfile.of(workspace)
    unpacked = asked.disk_gb * 1e9
    if platform in lock.platforms(asked.name):
        unpacked = max(unpacked, answers.unpacked_size(lock.records(asked.name, platform)))
    needed = unpacked * builds
    base.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(base).free
    if free < needed:
        raise D2lEnvError(
            tr(
                "{folder} has {free} GB free; {name} needs about {needed} GB",
                folder=base,
                free=f"{free / 1e9:.1f}",
                name=asked.name,
                needed=f"{needed / 1e9:.1f}",
            ),
            fix=tr("free some space, then run the command again"),
        )


@contextmanager
def _workplace(base: Path, keep: bool, say: Callable[[str], None]) -> Iterator[Path]:
    """Make a folder for this run alone; first remove those that killed runs left."""
    # Held only while folders are made and removed: two runs at once do not wait for each other.
    with exclusive_lock(base / ".repro.lock", "d2lenv repro", say):
        for lock in base.glob(f".{_WORK}*.lock"):
            _remove_left(base / lock.name[1:].removesuffix(".lock"), lock)
        work = Path(tempfile.mkdtemp(prefix=_WORK, dir=base))
        own = FileLock(base / f".{work.name}.lock")
        own.acquire()
    try:
        yield work
    finally:
        if keep:
            say(tr("kept: {path}", path=work))
        else:
            place.remove(work)
        own.release()
        Path(own.lock_file).unlink(missing_ok=True)
        if keep:
            (work / "keep").touch()


def _remove_left(work: Path, lock: Path) -> None:
    """Remove the folder of a run unless that is still under way."""
    guard = FileLock(lock)
    try:
        guard.acquire(timeout=0)
    except Timeout:
        return
    try:
        if not (work / "keep").exists():
            place.remove(work)
    finally:
        guard.release()
    lock.unlink(missing_ok=True)


def _build(
    workspace: Workspace,
    work: Path,
    place: str,
    name: str,
    engine: str,
    changed: Mapping[str, str],
    say: Callable[[str], None],
) -> tuple[Path, str]:
    """Build in a copy of the workspace with the command that users have and return (prefix, engine)."""
    root = work / place
    root.mkdir()
    for file in (MANIFEST, LOCK):
        shutil.copy2(workspace.root / file, root / file)
    shutil.copytree(workspace.root / "envs", root / "envs")
    say(tr("building {name} in {path}", name=name, path=root))
    words = ["--workspace", str(root), "build", name, "--engine", engine, "--no-space-check", "--json"]
    environ = process.python_environment({**os.environ, **changed, "D2LENV_LANG": language()})
    try:
        done = process.run(
            process.python_module(sys.executable, "d2lenv", *words),
            timeout_s=_TIMEOUT_S,
            environ=environ,
            shown=True,
        )
        answer = json.loads(done.stdout)
    except TimeoutError as error:
        raise D2lEnvError(
            tr("the build of {name} failed", name=name),
            why=tr("no end after {seconds} s", seconds=f"{_TIMEOUT_S:g}"),
        ) from error
    except ValueError as error:
        raise D2lEnvError(
            tr("the build of {name} failed", name=name), why=tr("its messages stand above")
        ) from error
    if done.returncode != 0:
        fix = tr("without a network `--warm` compares two builds from the caches") if changed else ""
        raise D2lEnvError(
            tr("the build of {name} failed", name=name),
            why="\n".join(filter(None, [answer.get("error"), answer.get("why")])),
            fix=answer.get("fix") or fix,
        )
    return Path(answer["prefix"]), str(answer["engine"])


def show(found: Reproduction) -> None:
    """Print the differences, grouped by package and kind, then the verdict."""
    comparison = found.comparison
    if comparison.differences:
        print_table(
            [tr("package"), tr("what"), tr("file"), tr("detail")],
            [
                [item.package or "–", meaning(item.kind), printable(item.path), item.detail]
                for item in comparison.differences[:_SHOWN]
            ],
        )
        hidden = len(comparison.differences) - _SHOWN
        if hidden > 0:
            say(tr("{count} more; --json lists them all", count=hidden))
    for rule in RULES:
        if rule.name in comparison.undone:
            count = comparison.undone[rule.name]
            say(tr("undone: {count} × {name}: {reason}", count=count, name=rule.name, reason=rule.reason()))
    say(verdict(found))


def verdict(found: Reproduction) -> str:
    """Return one line: the same or not, and of how much."""
    comparison = found.comparison
    values = {
        "name": found.environment,
        "engine": found.engine,
        "entries": comparison.entries,
        "size": f"{comparison.size / 1e9:.1f}",
    }
    if not comparison.same:
        return tr(
            "{name} ({engine}): {count} differences in {entries} entries, {size} GB",
            count=len(comparison.differences),
            **values,
        )
    if found.cold:
        return tr(
            "{name} ({engine}): the same, {entries} entries, {size} GB; second build downloaded anew",
            **values,
        )
    return tr("{name} ({engine}): the same, {entries} entries, {size} GB; both from one cache", **values)


def write_reports(found: Reproduction, folder: Path) -> Path:
    """Write ``result.json`` and the page, and return the page's path.

    Raises:
        D2lEnvError: if the folder is not writable or the disk is full.
    """
    data = document("repro", found.comparison.same, found.as_json())
    write_atomic(folder / "result.json", json.dumps(data, indent=2, ensure_ascii=False) + "\n")
    write_atomic(folder / "report.html", page(found))
    return folder / "report.html"


def page(found: Reproduction) -> str:
    """Return the comparison as one self-contained page."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    source = resources.files("d2lenv") / "templates" / "repro.html.j2"
    rules = [(rule, found.comparison.undone.get(rule.name, 0)) for rule in RULES]
    return environment.from_string(source.read_text(encoding="utf-8")).render(
        found=found,
        verdict=verdict(found),
        facts=_facts(found),
        rules=rules,
        meaning=meaning,
        printable=printable,
        language=language().replace("_", "-"),
        t=tr,
    )


def _facts(found: Reproduction) -> str:
    first, second, third = (f"{value:.1f}" for value in found.seconds)
    if found.against:
        return tr("one build {second} s, comparison {third} s", second=second, third=third)
    return tr(
        "first build {first} s, second build {second} s, comparison {third} s",
        first=first,
        second=second,
        third=third,
    )
