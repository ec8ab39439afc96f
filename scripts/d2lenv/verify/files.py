"""``d2lenv verify``: is a prefix exactly what the lock says?

What vouches for what is told in docs/verify.md: the lock for names, versions and addresses; the manifest
beside the prefix for RECORD, conda-meta and everything that no package owns; those for the other files.
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import re
import stat
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from d2lenv.base.console import err, out, print_table
from d2lenv.base.errors import USAGE, D2lEnvError
from d2lenv.base.messages import printable, tr
from d2lenv.doctor.probe.gather import target
from d2lenv.engines import build
from d2lenv.facts import d2l as d2l_release
from d2lenv.prefix import baseline, marker
from d2lenv.prefix import read as prefixes
from d2lenv.prefix import records as claims
from d2lenv.prefix.baseline import VENV, Baseline
from d2lenv.prefix.read import Prefix
from d2lenv.prefix.records import Claims
from d2lenv.prefix.scan import Entry, Tree, digests, leaves, scan
from d2lenv.solve import wheels
from d2lenv.workspace import lockfile
from d2lenv.workspace.manifest import Workspace

_SHOWN = 40
_KERNEL_LIMIT = 1 << 20
_KERNEL_WORDS = ["-m", "ipykernel_launcher", "-f", "{connection_file}"]

Kind = Literal[
    "not-built-from-this-lock",
    "package-missing",
    "package-extra",
    "package-differs",
    "record-changed",
    "record-damaged",
    "file-changed",
    "file-missing",
    "file-extra",
    "startup-extra",
    "link-changed",
    "mode-changed",
    "special",
    "unreadable",
    "d2l-not-released",
]


@dataclass(frozen=True)
class Finding:
    """One way in which the prefix is not what the lock says.

    Attributes:
        kind: see :func:`meaning`.
        path: in the prefix; empty when it is about a package.
        package: who owns the path; empty for none.
        detail: what was expected and what is there.
    """

    kind: Kind
    path: str = ""
    package: str = ""
    detail: str = ""

    def as_json(self) -> dict[str, str]:
        return {
            "kind": self.kind,
            "path": printable(self.path),
            "package": self.package,
            "detail": self.detail,
        }


@dataclass(frozen=True)
class Wanted:
    """What the lock wants of one package.

    Attributes:
        fields: conda-meta's field → value; for a wheel only ``version``.
    """

    name: str
    fields: Mapping[str, str]


@dataclass(frozen=True)
class Question:
    """What the prefix is compared with.

    Attributes:
        engine: ``wheels``, or ``conda`` for those that install the records of pixi.lock.
        digest: of the lock, as ``d2lenv.json`` records it.
        source: the file that says so.
    """

    environment: str
    platform: str
    engine: Literal["wheels", "conda"]
    digest: str
    source: Path
    packages: Mapping[str, Wanted]


@dataclass(frozen=True)
class Verification:
    """What ``verify`` found.

    Attributes:
        quick: sizes and times were compared, no content was read.
        tolerated: name of the :class:`Tolerance` → number of entries.
        not_checked: what nothing vouches for, or could not be looked at, and why.
    """

    question: Question
    prefix: Path
    quick: bool
    findings: tuple[Finding, ...]
    tolerated: Mapping[str, int]
    not_checked: tuple[str, ...]
    packages: int
    files: int
    size: int

    @property
    def clean(self) -> bool:
        return not self.findings

    def as_json(self) -> dict[str, object]:
        return {
            "environment": self.question.environment,
            "platform": self.question.platform,
            "engine": self.question.engine,
            "prefix": str(self.prefix),
            "lock": str(self.question.source),
            "quick": self.quick,
            "packages": self.packages,
            "files": self.files,
            "bytes": self.size,
            "findings": [finding.as_json() for finding in self.findings],
            "tolerated": dict(self.tolerated),
            "not_checked": list(self.not_checked),
        }


# ------------------------------------------------------------------------------------ what use leaves behind


@dataclass(frozen=True)
class Tolerance:
    """Something that use leaves in a prefix without making it another one.

    Attributes:
        name: stable, for JSON.
        reason: why it is no finding.
        pattern: the whole path.
        condition: what must hold besides.
    """

    name: str
    reason: Callable[[], str]
    pattern: re.Pattern[str]
    condition: Callable[[Surroundings, Entry], bool]


@dataclass(frozen=True)
class Surroundings:
    """Where a tolerance looks.

    Attributes:
        root: the prefix.
        known: the paths that were built, not left behind by use.
    """

    root: Path
    known: Container[str]


def _has_source(around: Surroundings, entry: Entry) -> bool:
    """Python reads ``__pycache__/x.cpython-310.pyc`` only beside the ``x.py`` that it was made from."""
    folder, name = posixpath.split(entry.path)
    source = posixpath.join(posixpath.dirname(folder), name.partition(".")[0] + ".py")
    return entry.kind == "file" and source in around.known


def _is_folder(_around: Surroundings, entry: Entry) -> bool:
    return entry.kind == "folder"


def _starts_own_python(around: Surroundings, entry: Entry) -> bool:
    """A kernel as ``ipykernel install`` writes it for this prefix's Python, or the pictures beside one.

    A kernelspec is a command line: one with other words, or with variables, may run anything.
    """
    spec = around.root / posixpath.dirname(entry.path) / "kernel.json"
    trouble: list[prefixes.Unreadable] = []
    try:
        data = json.loads(prefixes.read_text(spec, _KERNEL_LIMIT, trouble))
        python, *words = data["argv"]
        folder = Path(python).parent
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
    return (
        entry.kind == "file"
        and not data.get("env")
        and [word for word in words if word != "-Xfrozen_modules=off"] == _KERNEL_WORDS
        and folder in (around.root / "bin", around.root / "Scripts", around.root)
    )


def _is_file(_around: Surroundings, entry: Entry) -> bool:
    return entry.kind == "file"


TOLERANCES: tuple[Tolerance, ...] = (
    Tolerance(
        "bytecode",
        lambda: tr("Python compiles a module at its first import; it is read only beside its source"),
        re.compile(r"(.*/)?__pycache__/[^/]+\.pyc"),
        _has_source,
    ),
    Tolerance(
        "jupyter-settings",
        lambda: tr("JupyterLab notes which of its own extensions the user switched off"),
        re.compile(r"(etc/jupyter/labconfig|share/jupyter/lab/settings)/[\w./-]+\.json"),
        _is_file,
    ),
    Tolerance(
        "kernelspec",
        lambda: tr("the user added a Jupyter kernel that starts this same Python"),
        re.compile(r"share/jupyter/kernels/[^/]+/(kernel\.json|logo-[\w]+\.(png|svg))"),
        _starts_own_python,
    ),
    Tolerance(
        "installer-notes",
        lambda: tr("installers note their own work there; no program reads it to run"),
        re.compile(r"conda-meta/(history|pixi|pixi_env_prefix)|\.lock|CACHEDIR\.TAG"),
        _is_file,
    ),
    Tolerance(
        "folder",
        lambda: tr("an empty folder runs nothing; what lies in a folder is judged by itself"),
        re.compile(r".*"),
        _is_folder,
    ),
)
"""Everything that may be in a prefix, or differ in it, besides what the lock says."""


def tolerance(around: Surroundings, entry: Entry) -> Tolerance | None:
    """The tolerance for something that was not built, if there is one."""
    return next(
        (item for item in TOLERANCES if item.pattern.fullmatch(entry.path) and item.condition(around, entry)),
        None,
    )


_STARTUP = re.compile(
    r"(.*/)?((site|user)customize\.(py|so|pyd)|[^/]+\.pth|__editable__[^/]*)|(.*/)?python[\d.]*\._pth",
    re.IGNORECASE,
)


# --------------------------------------------------------------------------------------------- the comparison


@dataclass
class _Look:
    """One verification under way."""

    prefix: Prefix
    tree: Tree
    claimed: Claims
    recorded: Baseline | None
    findings: list[Finding] = field(default_factory=list)
    tolerated: Counter[str] = field(default_factory=Counter)

    @cached_property
    def known(self) -> Container[str]:
        """What was there when the prefix was built: by the manifest, else by it and the packages."""
        recorded = self.recorded.entries if self.recorded is not None else {}
        if self.recorded is not None:
            return recorded
        return {*self.claimed.of, *self.claimed.sources, *recorded}

    def add(self, kind: Kind, path: str = "", detail: str = "", package: str = "") -> None:
        self.findings.append(Finding(kind, path, package or self.owner(path), detail))

    def owner(self, path: str) -> str:
        return self.claimed.sources.get(path) or self.claimed.owner(path)


def verify(
    workspace: Workspace,
    name: str | None,
    environ: Mapping[str, str],
    *,
    quick: bool = False,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Verification:
    """Compare a prefix with the lock.

    Args:
        name: a path, or an environment of the workspace; None for the active one.
        environ: where an active environment is named.
        quick: compare sizes and times, read no content.
        progress: is told the bytes read so far and their total.

    Raises:
        D2lEnvError: there is no such prefix, or it belongs to no environment of the workspace.
    """
    place, _ = target(name, environ, workspace.root)
    if not place.is_dir():
        raise D2lEnvError(tr("{path} is not a folder", path=place), status=USAGE)
    content = prefixes.read(place)
    named = name if name is not None and place != prefixes.absolute(Path(name)) else ""
    asked = question(workspace, content, named)
    recorded = baseline.read(place)
    look = _Look(content, scan(place), claims.read(content), recorded)
    _check_marker(look, asked)
    _check_packages(look, asked)
    _check_sources(look)
    files = _compare_quickly(look) if quick else _compare(look, progress)
    _check_d2l(look)
    return Verification(
        question=asked,
        prefix=place,
        quick=quick,
        findings=tuple(
            sorted(dict.fromkeys(look.findings), key=lambda found: (found.package, found.path, found.kind))
        ),
        tolerated=dict(sorted(look.tolerated.items())),
        not_checked=tuple(_not_checked(look, asked, quick)),
        packages=len(asked.packages),
        files=len(files),
        size=sum(entry.size for entry in files),
    )


def question(workspace: Workspace, content: Prefix, named: str = "") -> Question:
    """What the prefix ``content`` must be, by its own marker or by where it lies.

    Args:
        named: the environment that the user asked for; the marker may not name another.

    Raises:
        D2lEnvError: it belongs to no environment of the workspace, or to another one.
    """
    said = {key: value for key, value in content.marker.items() if isinstance(value, str)}
    environment = said.get("environment", "")
    engine = said.get("engine", "")
    if not environment and content.path.parent == workspace.root / ".pixi" / "envs":
        environment, engine = content.path.name, "pixi"
    if not re.fullmatch(r"[\w-]{1,64}", environment) or engine not in build.ENGINES:
        raise D2lEnvError(
            tr("{path} does not say of which environment it is", path=content.path),
            why=tr("it has no {file} and is not below .pixi/envs", file=marker.MARKER),
            fix=tr("`d2lenv doctor PREFIX` examines any environment; `d2lenv build` makes one of ours"),
        )
    if named and named != environment:
        raise D2lEnvError(
            tr("{path} says that it is {found}, not {name}", path=content.path, found=environment, name=named)
        )
    platform = said.get("platform") or content.platform
    if engine == "wheels":
        pins = wheels.read(workspace, environment, platform)
        return Question(
            environment,
            platform,
            "wheels",
            wheels.digest(pins),
            wheels.path_of(workspace, environment, platform),
            {pin.name: Wanted(pin.name, {"version": pin.version}) for pin in pins},
        )
    lock = lockfile.read(workspace.lock)
    return Question(
        environment,
        platform,
        "conda",
        lockfile.digest(lock, environment, platform).digest,
        workspace.lock,
        {
            record.name.normalized: _wanted(json.loads(record.to_json()))
            for record in lock.records(environment, platform)
        },
    )


_CONDA_FIELDS = ("version", "build", "subdir", "url", "sha256", "md5")


def _wanted(record: dict[str, Any]) -> Wanted:
    fields = {key: str(record[key]) for key in _CONDA_FIELDS if record.get(key)}
    return Wanted(str(record["name"]), fields)


def _check_marker(look: _Look, asked: Question) -> None:
    stated = look.prefix.marker.get("digest")
    if stated is not None and stated != asked.digest:
        look.add(
            "not-built-from-this-lock",
            marker.MARKER,
            tr("{file} is another one since; `d2lenv build` brings the prefix up to date", file=asked.source),
        )


def _check_packages(look: _Look, asked: Question) -> None:
    if asked.engine == "conda":
        _check_records(look, asked)
    else:
        _check_wheels(look, asked)


def _check_records(look: _Look, asked: Question) -> None:
    seen: Counter[str] = Counter()
    for package in look.prefix.conda:
        seen[package.name] += 1
        wanted = asked.packages.get(package.name)
        path = package.file.relative_to(look.prefix.path).as_posix()
        if wanted is None:
            look.add("package-extra", path, package.version, package.name)
            continue
        trouble: list[prefixes.Unreadable] = []
        try:
            found = json.loads(prefixes.read_text(package.file, 1 << 28, trouble))
            stated = {key: str(found.get(key) or "") for key in wanted.fields}
        except (ValueError, AttributeError, RecursionError) as error:
            look.add("record-damaged", path, str(error), package.name)
            continue
        for key, value in wanted.fields.items():
            if stated[key] != value:
                look.add("package-differs", path, _instead(key, value, stated[key]), package.name)
    for name in asked.packages:
        if not seen[name]:
            look.add("package-missing", package=name, detail=asked.packages[name].fields["version"])
        elif seen[name] > 1:
            look.add("package-extra", package=name, detail=tr("it is there {count} times", count=seen[name]))
    for distribution in look.prefix.distributions:
        if not distribution.conda:
            path = distribution.folder.relative_to(look.prefix.path).as_posix()
            look.add("package-extra", path, _who(distribution), distribution.key)


def _check_wheels(look: _Look, asked: Question) -> None:
    seen: Counter[str] = Counter()
    for distribution in look.prefix.distributions:
        seen[distribution.key] += 1
        path = distribution.folder.relative_to(look.prefix.path).as_posix()
        wanted = asked.packages.get(distribution.key)
        if wanted is None:
            look.add("package-extra", path, _who(distribution), distribution.key)
            continue
        if distribution.version != wanted.fields["version"]:
            detail = _instead("version", wanted.fields["version"], distribution.version)
            look.add("package-differs", path, detail, distribution.key)
        if distribution.installer != "uv":
            detail = _instead("INSTALLER", "uv", distribution.installer)
            look.add("package-differs", path, detail, distribution.key)
        if distribution.origin or (distribution.folder / "direct_url.json").exists():
            detail = tr("it was not installed from the index but from {url}", url=distribution.origin)
            look.add("package-differs", path, detail, distribution.key)
    for name in asked.packages:
        if not seen[name]:
            look.add("package-missing", package=name, detail=asked.packages[name].fields["version"])
        elif seen[name] > 1:
            look.add("package-extra", package=name, detail=tr("it is there {count} times", count=seen[name]))
    for package in look.prefix.conda:
        look.add("package-extra", package.file.relative_to(look.prefix.path).as_posix(), package.version)


def _who(distribution: prefixes.Distribution) -> str:
    return tr("{version}, installed by {who}", version=distribution.version, who=distribution.source)


def _instead(what: str, wanted: str, found: str) -> str:
    return tr("{what}: {wanted} expected, {found} found", what=what, wanted=wanted, found=found or "–")


def _check_sources(look: _Look) -> None:
    for path, package, why in look.claimed.problems:
        look.add("record-damaged", path, why, package)
    for path, why in look.tree.unreadable.items():
        look.add("unreadable", path, why)


def _compare(look: _Look, progress: Callable[[int, int], None]) -> list[Entry]:
    """Everything against its digest; returns the files that were read."""
    judged = [entry for entry in look.tree.entries.values() if not _tolerate(look, entry)]
    to_read = [entry for entry in judged if entry.kind == "file" and _expected(look, entry.path)]
    total = sum(entry.size for entry in to_read)
    done = 0

    def tell(size: int) -> None:
        nonlocal done
        done += size
        progress(done, total)

    found, failed = digests(look.tree.root, to_read, tell)
    for path, why in failed.items():
        look.add("unreadable", path, why)
    for entry in judged:
        _judge(look, entry)
        if entry.path in found:
            expected = _expected(look, entry.path)
            if found[entry.path] not in expected:
                kind: Kind = "record-changed" if entry.path in look.claimed.sources else "file-changed"
                detail = _instead("sha256", sorted(expected)[0][:12], found[entry.path][:12])
                look.add(kind, entry.path, detail)
    _missing(look)
    return to_read


def _compare_quickly(look: _Look) -> list[Entry]:
    """Everything against its size and, with a manifest, its time; returns the files that were compared."""
    compared = []
    written_to = tr("written to after the build; `verify` without --quick reads it")
    end_ns = look.recorded.end_ns if look.recorded is not None else 0
    for entry in look.tree.entries.values():
        if _tolerate(look, entry):
            continue
        _judge(look, entry)
        if entry.kind != "file":
            continue
        compared.append(entry)
        kind: Kind = "record-changed" if entry.path in look.claimed.sources else "file-changed"
        before = look.recorded.entries.get(entry.path) if look.recorded else None
        if before is not None and before.kind == "file":
            if before.size != entry.size:
                look.add(kind, entry.path, _instead(tr("bytes"), str(before.size), str(entry.size)))
            elif before.mtime_ns != entry.mtime_ns:
                look.add(kind, entry.path, written_to)
        else:
            sizes = {claim.size for claim in look.claimed.of.get(entry.path, ()) if claim.size is not None}
            if sizes and entry.size not in sizes:
                wanted = ", ".join(map(str, sorted(sizes)))
                look.add(kind, entry.path, _instead(tr("bytes"), wanted, str(entry.size)))
            elif look.recorded is not None and entry.mtime_ns > end_ns and entry.path in look.known:
                look.add(kind, entry.path, written_to)
    _missing(look)
    return compared


def _expected(look: _Look, path: str) -> set[str]:
    """The digests that a file may have; empty when nothing vouches for it."""
    if look.recorded is not None and path in look.recorded.sha256:
        return {look.recorded.sha256[path]}
    return {claim.sha256 for claim in look.claimed.of.get(path, ()) if claim.sha256}


def _tolerate(look: _Look, entry: Entry) -> bool:
    if entry.path in look.known:
        return False
    found = tolerance(Surroundings(look.tree.root, look.known), entry)
    if found is not None and entry.kind != "folder":
        look.tolerated[found.name] += 1
    return found is not None


def _judge(look: _Look, entry: Entry) -> None:
    """All that can be said of an entry without reading its content."""
    path = entry.path
    if entry.kind == "special":
        look.add("special", path, tr("a pipe, socket or device; it was not opened"))
        return
    before = look.recorded.entries.get(path) if look.recorded is not None else None
    if before is not None:
        _judge_recorded(look, before, entry)
    elif path not in look.known and not (look.recorded is None and VENV.fullmatch(path)):
        startup = _STARTUP.fullmatch(path)
        detail = tr("Python runs it at every start") if startup else tr("no package of the lock owns it")
        look.add("startup-extra" if startup else "file-extra", path, detail)
    elif entry.kind == "link":
        _judge_unrecorded_link(look, entry)


def _judge_recorded(look: _Look, before: Entry, entry: Entry) -> None:
    if before.kind != entry.kind:
        look.add("link-changed", entry.path, _instead(tr("kind"), before.kind, entry.kind))
    elif before.target != entry.target:
        detail = _instead(tr("target"), printable(before.target), printable(entry.target))
        look.add("link-changed", entry.path, detail)
    elif entry.kind != "link" and _risk(before.mode) != _risk(entry.mode):
        look.add("mode-changed", entry.path, _instead(tr("mode"), f"{before.mode:o}", f"{entry.mode:o}"))


def _risk(mode: int) -> int:
    """The bits that matter: may be executed, gives rights, may be changed by others."""
    runs = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH
    gives = stat.S_ISUID | stat.S_ISGID
    return mode & (runs | gives | stat.S_IWOTH)


def _judge_unrecorded_link(look: _Look, entry: Entry) -> None:
    found = look.claimed.of.get(entry.path, [])
    stated = {digest for claim in found for digest in (claim.sha256, claim.original) if digest}
    if stated and not any(claim.link for claim in found):
        look.add("link-changed", entry.path, _instead(tr("kind"), "file", "link"))
    elif found and leaves(entry.path, entry.target):
        look.add("link-changed", entry.path, tr("it leaves the prefix: {target}", target=entry.target))
    elif stated and not stated & _link_digests(look, entry):
        look.add("link-changed", entry.path, tr("it points to another file: {path}", path=entry.target))


def _link_digests(look: _Look, entry: Entry) -> set[str]:
    """What conda-meta may say of a link: conda the digest of the file that it points to, rattler that of its
    own text (conda/rattler#643)."""
    end = posixpath.normpath(posixpath.join(posixpath.dirname(entry.path), entry.target))
    pointed = {digest for claim in look.claimed.of.get(end, ()) for digest in (claim.sha256, claim.original)}
    return pointed | {hashlib.sha256(os.fsencode(entry.target)).hexdigest()}


def _missing(look: _Look) -> None:
    names = dict.fromkeys([*look.claimed.of, *(look.recorded.entries if look.recorded else ())])
    for path in names:
        # Bytecode may be deleted at any time: Python makes it again.
        if path not in look.tree.entries and not path.endswith(".pyc") and not path.endswith("__pycache__"):
            look.add("file-missing", path)


def _check_d2l(look: _Look) -> None:
    found = look.prefix.find("d2l")
    if found is None or found.version not in d2l_release.RELEASES:
        return
    for name, state in d2l_release.differing(found.site, found.version).items():
        path = (found.site / name).relative_to(look.prefix.path).as_posix()
        look.add("d2l-not-released", path, tr("{state}; d2l {version}", state=state, version=found.version))


def _not_checked(look: _Look, asked: Question, quick: bool) -> Iterator[str]:
    if quick:
        yield tr("no content was read: only sizes and times were compared (--quick)")
    if look.recorded is None:
        yield tr(
            "no baseline lies beside this prefix: nothing outside it vouches for RECORD, conda-meta and what "
            "no package owns, and modes and times were not compared"
        )
    if look.tolerated["bytecode"]:
        yield tr("bytecode was not compared with its source; Python makes deleted bytecode again")
    if asked.engine == "wheels":
        home = look.prefix.config.get("home", "")
        yield tr("the interpreter that the environment starts lies outside: {path}", path=home)
    unvouched = sum(
        1
        for path, entry in look.tree.entries.items()
        if entry.kind == "file" and path in look.known and not _expected(look, path)
    )
    if unvouched and not quick:
        yield tr("{count} files have no recorded digest", count=unvouched)


# ---------------------------------------------------------------------------------------------- what it says


def meaning(kind: Kind) -> str:
    """What a kind of finding means, in the reader's language."""
    texts: dict[Kind, str] = {
        "not-built-from-this-lock": tr("built from another lock"),
        "package-missing": tr("package missing"),
        "package-extra": tr("package that the lock does not have"),
        "package-differs": tr("package differs from the lock"),
        "record-changed": tr("list of files changed"),
        "record-damaged": tr("list of files damaged"),
        "file-changed": tr("file changed"),
        "file-missing": tr("file missing"),
        "file-extra": tr("extra file"),
        "startup-extra": tr("extra file that Python runs at its start"),
        "link-changed": tr("link changed"),
        "mode-changed": tr("mode changed"),
        "special": tr("not a file"),
        "unreadable": tr("unreadable"),
        "d2l-not-released": tr("not the released d2l"),
    }
    return texts[kind]


def show(found: Verification) -> None:
    """The findings as a table, then the verdict, what was tolerated and what was not checked."""
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
            _say(tr("{count} more; --json lists them all", count=hidden))
    for name, count in found.tolerated.items():
        reason = next(item.reason() for item in TOLERANCES if item.name == name)
        _say(tr("tolerated: {count} × {name}: {reason}", count=count, name=name, reason=reason))
    for text in found.not_checked:
        _say(tr("not checked: {text}", text=text))
    counts = {
        "prefix": found.prefix,
        "packages": found.packages,
        "files": found.files,
        "size": f"{found.size / 1e9:.1f}",
    }
    if not found.clean:
        _say(tr("{prefix} is not what the lock says: {count} findings", count=len(found.findings), **counts))
    elif found.quick:
        _say(
            tr(
                "{prefix}: sizes and times of {packages} packages, {files} files are as they were built",
                **counts,
            )
        )
    else:
        _say(tr("{prefix} is what the lock says: {packages} packages, {files} files, {size} GB", **counts))


@contextmanager
def progress_bar() -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error, on a terminal only."""
    if not err().is_terminal:
        yield lambda _done, _all: None
        return
    from rich.progress import Progress

    with Progress(console=err(), transient=True) as bar:
        task = bar.add_task(tr("reading"), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _say(text: str) -> None:
    out().print(text, markup=False, soft_wrap=True)
