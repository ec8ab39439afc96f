"""What is exported, where to; whether it is there unchanged; and writing it."""

from __future__ import annotations

import difflib
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from d2lenv.base import files
from d2lenv.base.console import note, out, print_json
from d2lenv.base.errors import FAILED, USAGE, D2lEnvError
from d2lenv.base.git import GitError, git
from d2lenv.base.messages import tr
from d2lenv.export import table as bundles
from d2lenv.export.formats import colab, conda_lock, environment_yml, explicit, manifest, requirements, sbom
from d2lenv.export.table import Bundle, Package
from d2lenv.solve import wheels
from d2lenv.workspace import lockfile, settings
from d2lenv.workspace.lockfile import Lock
from d2lenv.workspace.manifest import LOCK, Workspace

ENVS = "envs"
"""The folder of the workspace that the exports go to."""

NOT_EXPORTED = {
    "default": "the same packages as cpu",
    "dev": "the tool's own; who works on the tool has pixi or uv",
}
"""Environments of the workspace that are exported only when named, and why."""

BINDER_ENVIRONMENT = "cpu"
"""What Binder gets: it has no GPU."""

SHOWN_LINES = 60
"""Lines of one file's diff on the terminal: a lock that moved changes thousands."""


@dataclass(frozen=True)
class Format:
    """One kind of exported file.

    Attributes:
        make: a pure function from a bundle to ``{path: text}``.
        names: patterns of its files' names, to find files that nothing makes any more.
        wheels: whether it has a place for PyPI packages.
    """

    make: Callable[[Bundle], dict[str, str]]
    names: tuple[str, ...]
    wheels: bool = True


FORMATS: Mapping[str, Format] = {
    # conda-lock, micromamba
    "conda-lock": Format(conda_lock.files, ("conda-lock.yml",)),
    # conda, mamba, micromamba: the same bytes, without solving
    "explicit": Format(explicit.files, ("conda-*.lock",), wheels=False),
    # conda, mamba: the same versions and builds; conda-lock's source
    "environment": Format(environment_yml.every_package, ("environment.yml", "environment-*.yml")),
    "colab": Format(colab.files, ("colab.ipynb",), wheels=False),
    "studio-lab": Format(environment_yml.studio_lab, ("studio-lab.yml",)),
    # .binder/environment.yml belongs to no environment's folder
    "binder": Format(environment_yml.binder, ()),
    "sbom": Format(sbom.files, ("sbom-*.cdx.json",)),
    "manifest": Format(manifest.files, ("MANIFEST.md",)),
}
"""Every format that is made from the lock."""

REQUIREMENTS = "requirements"
"""The format that ``d2lenv lock`` writes and this module only checks."""


@dataclass(frozen=True)
class Request:
    """What the reader asked for.

    Attributes:
        names: environments; empty for all that are exported.
        formats: keys of :data:`FORMATS` or :data:`REQUIREMENTS`; empty for all.
        conda_only: formats without a place for PyPI packages may leave them out.
        previous: a lock file or git revision to compare the manifest with; None for the one on file.
        write: write, and do not only compare.
    """

    names: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    conda_only: bool = False
    previous: str | None = None
    write: bool = True

    def wants(self, name: str) -> bool:
        """Whether the format is among those asked for."""
        return not self.formats or name in self.formats


@dataclass(frozen=True)
class Plan:
    """What an export consists of.

    Attributes:
        root: the folder that the paths are relative to.
        texts: path → text; paths with ``/``.
        covered: patterns of paths that this plan speaks for; what matches and is not in ``texts`` is stale.
        requirements: path → what is wrong with a requirements file, which ``d2lenv lock`` makes.
        incomplete: findings: what a format left out although ``--conda-only`` was not given.
        notes: what a reader should know about complete exports.
    """

    root: Path
    texts: Mapping[str, str]
    covered: tuple[str, ...]
    requirements: Mapping[str, str]
    incomplete: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Finding:
    """One file that is not as it should be.

    Attributes:
        kind: ``missing``, ``changed``, ``stale`` (nothing makes it) or ``requirements``.
        detail: a unified diff, or the reasons, one a line.
    """

    path: str
    kind: str
    detail: str


def of_workspace(workspace: Workspace, request: Request) -> Plan:
    """The exports of this project's own lock, under ``envs/``.

    Raises:
        D2lEnvError: the lock cannot be read, has not the environments named, or holds what is refused.
    """
    lock = lockfile.read(workspace.lock)
    learners = [n for n in workspace.environments if n in lock.environments and n not in NOT_EXPORTED]
    wheels_alone = {
        n: v for n, v in settings.load(workspace).items() if n not in lock.environments and v.wheels
    }
    chosen = _known(lock, [n for n in request.names or learners if n not in wheels_alone])
    file = f"{ENVS}/{manifest.PREVIOUS}"
    release = _release(workspace, workspace.root / file, request.previous)
    found: list[Bundle] = []
    seen: dict[str, Package] = {}
    for name in chosen:
        title, folder, command = f"d2l-{name}", f"{ENVS}/{name}", f"d2lenv export {name}"
        one = bundles.read(lock, name, title=title, folder=folder, command=command, seen=seen)
        specs = workspace.environments[name].specs if name in workspace.environments else {}
        asked = {platform: frozenset(spec.name for spec in wanted) for platform, wanted in specs.items()}
        found.append(_with_release(replace(one, asked=asked, binder=name == BINDER_ENVIRONMENT), release))
    folders = [one.folder for one in found]
    if not request.names and (workspace.root / ENVS).is_dir():
        # an environment that is gone leaves its folder behind
        folders += [
            f"{ENVS}/{path.name}"
            for path in sorted((workspace.root / ENVS).iterdir())
            if path.is_dir() and path.name not in lock.environments
        ]
    lists = requirements.problems(workspace, lock, request.names) if request.wants(REQUIREMENTS) else {}
    plan = _plan(workspace.root, found, folders, {file: release}, request, lists)
    pinned = [wheels_alone[name] for name in request.names or wheels_alone if name in wheels_alone]
    return replace(plan, texts={**plan.texts, **_of_pins(workspace, pinned, request)})


def _of_pins(workspace: Workspace, variants: Iterable[settings.Variant], request: Request) -> dict[str, str]:
    """The SBOMs of environments that exist as wheels alone, from their requirements files."""
    texts: dict[str, str] = {}
    for variant in variants if request.wants("sbom") else ():
        name = variant.name
        asked = [
            canonicalize_name(Requirement(text).name) for text in (*variant.requirements, *variant.extra)
        ]
        for platform in variant.wheels:
            pins = wheels.read(workspace, name, platform)
            digest = wheels.digest(pins)
            source = wheels.path_of(workspace, name, platform).name
            head = f"Made from {source} (pins: sha256 {digest}), by `d2lenv export {name}`. Do not edit."
            folder = f"{ENVS}/{name}"
            texts |= sbom.of_pins(
                title=f"d2l-{name}",
                folder=folder,
                platform=platform,
                pins=pins,
                asked=asked,
                head=head,
                digest=digest,
            )
    return texts


def of_lock(path: Path, output: Path, request: Request) -> Plan:
    """The exports of anybody's lock, a folder for each environment under ``output``.

    Raises:
        D2lEnvError: as :func:`of_workspace`.
    """
    lock = lockfile.read(path)
    chosen = _known(lock, request.names or list(lock.environments))
    release = _release(None, output / manifest.PREVIOUS, request.previous)
    found = [
        _with_release(
            replace(
                bundles.read(
                    lock, name, title=name, folder=name, command=f"d2lenv export --lock pixi.lock {name}"
                ),
                binder=len(chosen) == 1,
            ),
            release,
        )
        for name in chosen
    ]
    return _plan(output, found, [one.folder for one in found], {manifest.PREVIOUS: release}, request, {})


def _release(workspace: Workspace | None, file: Path, reference: str | None) -> manifest.Release | None:
    """The release to compare with: the one asked for, else the one that ``file`` keeps, else none."""
    if reference is None:
        return manifest.read_previous(file)
    path = Path(reference)
    if path.is_file():
        return _release_of(path.name, lockfile.read(path), NOT_EXPORTED if workspace else ())
    if workspace is None:
        raise D2lEnvError(
            tr("{path} cannot be read", path=reference),
            fix=tr("with --lock, give --previous a lock file"),
            status=USAGE,
        )
    return _release_of(reference, _lock_at(workspace.root, reference), NOT_EXPORTED)


def _lock_at(root: Path, revision: str) -> Lock:
    """The lock as a git revision has it.

    Raises:
        D2lEnvError: there is no such revision, or it has no pixi.lock.
    """
    try:
        text = git(root, "show", "--end-of-options", f"{revision}:./{LOCK}")
    except GitError as error:
        raise _no_release(revision, str(error)) from error
    with tempfile.TemporaryDirectory() as folder:
        old = Path(folder) / LOCK
        old.write_text(text, encoding="utf-8")
        return lockfile.read(old)


def _no_release(revision: str, why: str) -> D2lEnvError:
    return D2lEnvError(
        tr("{name} has no {file}", name=revision, file=LOCK),
        why=why,
        fix=tr("give a lock file, or a git tag or commit that has one"),
        status=USAGE,
    )


def _release_of(name: str, lock: Lock, without: Collection[str]) -> manifest.Release:
    if not name.isprintable():
        raise _no_release(ascii(name), "")
    found = [
        bundles.read(lock, environment, title=environment, folder=environment, command="")
        for environment in lock.environments
        if environment not in without
    ]
    versions = {one.environment: {t.platform: manifest.versions(t) for t in one.targets} for one in found}
    return manifest.Release(name, versions)


@dataclass(frozen=True)
class Outcome:
    """What was written and removed, and what is still not as it should be."""

    written: tuple[str, ...]
    removed: tuple[str, ...]
    findings: tuple[Finding, ...]


def compare(plan: Plan) -> list[Finding]:
    """Every file that differs from the plan, and requirements files that are not well-formed."""
    found: list[Finding] = []
    for path, text in sorted(plan.texts.items()):
        try:
            present = (plan.root / path).read_bytes()
        except OSError:
            found.append(Finding(path, "missing", ""))
            continue
        if present != text.encode("utf-8"):
            found.append(Finding(path, "changed", _diff(path, present, text)))
    found += [Finding(path, "stale", tr("nothing makes this file any more")) for path in stale(plan)]
    found += [Finding(path, REQUIREMENTS, detail) for path, detail in sorted(plan.requirements.items())]
    return found


def stale(plan: Plan) -> list[str]:
    """Exported files that lie there although the plan has no such file."""
    found: set[str] = set()
    for pattern in plan.covered:
        for path in plan.root.glob(pattern):
            relative = path.relative_to(plan.root).as_posix()
            if path.is_file() and relative not in plan.texts:
                found.add(relative)
    return sorted(found)


def write(plan: Plan) -> tuple[list[str], list[str]]:
    """Write what differs and remove what is stale; returns (written, removed).

    Raises:
        D2lEnvError: a file cannot be written.
    """
    written: list[str] = []
    for path, text in sorted(plan.texts.items()):
        file = plan.root / path
        if not file.is_file() or file.read_bytes() != text.encode("utf-8"):
            files.write_atomic(file, text)
            written.append(path)
    removed = stale(plan)
    for path in removed:
        (plan.root / path).unlink()
    return written, removed


def run(plan: Plan, request: Request) -> Outcome:
    """Write, or compare.

    Raises:
        D2lEnvError: a file cannot be written.
    """
    written, removed = write(plan) if request.write else ([], [])
    return Outcome(tuple(written), tuple(removed), tuple(compare(plan)))


def report(plan: Plan, outcome: Outcome, as_json: bool) -> int:
    """Print the outcome; returns the exit status."""
    failed = bool(outcome.findings or plan.incomplete)
    if as_json:
        data = {
            "files": sorted(plan.texts),
            "written": list(outcome.written),
            "removed": list(outcome.removed),
            "findings": [asdict(finding) for finding in outcome.findings],
            "incomplete": list(plan.incomplete),
            "notes": list(plan.notes),
        }
        print_json("export", not failed, data)
        return FAILED if failed else 0
    for text in plan.notes:
        note(tr("note: {text}", text=text))
    for path in outcome.written:
        _say(tr("written: {path}", path=path))
    for path in outcome.removed:
        _say(tr("removed: {path}", path=path))
    kinds = {
        "missing": tr("missing"),
        "changed": tr("changed"),
        "stale": tr("stale"),
        REQUIREMENTS: tr("not the lock's"),
    }
    for finding in outcome.findings:
        _say(tr("{kind}: {path}", kind=kinds[finding.kind], path=finding.path))
        lines = finding.detail.splitlines()
        for line in lines[:SHOWN_LINES]:
            _say(line)
        if len(lines) > SHOWN_LINES:
            _say(tr("… {count} more lines; --json has them all", count=len(lines) - SHOWN_LINES))
    for text in plan.incomplete:
        _say(tr("left out: {text}; --conda-only writes it without them", text=text))
    if ours := [finding for finding in outcome.findings if finding.kind != REQUIREMENTS]:
        _say(
            tr(
                "{count} of {total} files are not what the lock gives; `d2lenv export` writes them again",
                count=len(ours),
                total=len(plan.texts),
            )
        )
    elif not failed:
        _say(tr("{count} exported files are what the lock gives", count=len(plan.texts)))
    return FAILED if failed else 0


def _say(text: str) -> None:
    out().print(text, markup=False, soft_wrap=True)


def _plan(
    root: Path,
    found: Sequence[Bundle],
    folders: Sequence[str],
    release: Mapping[str, manifest.Release | None],
    request: Request,
    lists: Mapping[str, str],
) -> Plan:
    unknown = sorted(set(request.formats) - {*FORMATS, REQUIREMENTS})
    if unknown:
        raise D2lEnvError(
            tr("there is no format {names}", names=", ".join(unknown)),
            fix=tr("choose one of: {names}", names=", ".join([*FORMATS, REQUIREMENTS])),
            status=USAGE,
        )
    texts: dict[str, str] = {}
    covered: list[str] = []
    incomplete: list[str] = []
    notes: list[str] = []
    for name, one_format in FORMATS.items():
        if not request.wants(name):
            continue
        covered += [f"{folder}/{pattern}" for folder in folders for pattern in one_format.names]
        for one in found:
            if one.has_wheels and not one_format.wheels:
                message = _wheels_left_out(name, one)
                if not request.conda_only:
                    incomplete.append(message)
                    continue
                notes.append(message)
            for path, text in one_format.make(one).items():
                texts[_inside(path)] = text
            if name == "conda-lock" and (missing := conda_lock.left_out(one)):
                notes.append(
                    tr(
                        "{name}/conda-lock.yml is without {packages}: its format wants an md5, none is "
                        "known; its head says how to add them",
                        name=one.environment,
                        packages=", ".join(package.file_name for package in missing),
                    )
                )
    for path, one_release in release.items():
        if one_release is not None and request.wants("manifest"):
            texts[path] = manifest.previous_text(one_release)
    return Plan(
        root=root,
        texts=texts,
        covered=tuple(dict.fromkeys(covered)),
        requirements=lists,
        incomplete=tuple(incomplete),
        notes=tuple(notes),
    )


def _wheels_left_out(name: str, bundle: Bundle) -> str:
    wheels = sorted({wheel.name for target in bundle.targets for wheel in target.wheels})
    return tr(
        "{format} of {name} has no place for PyPI packages: {packages}",
        format=name,
        name=bundle.environment,
        packages=", ".join(wheels),
    )


def _inside(path: str) -> str:
    """``path``, which the formats build from checked names: a last guard against leaving the root."""
    parts = PurePosixPath(path).parts
    if PurePosixPath(path).is_absolute() or ".." in parts:
        raise ValueError(path)
    return path


def _known(lock: Lock, names: Iterable[str]) -> list[str]:
    for name in names:
        if name not in lock.environments:
            raise D2lEnvError(
                tr("{file} has no environment `{name}`", file=lock.path, name=name),
                fix=tr("choose one of: {names}", names=", ".join(lock.environments)),
                status=USAGE,
            )
    return list(names)


def _with_release(bundle: Bundle, release: manifest.Release | None) -> Bundle:
    if release is None:
        return bundle
    return replace(bundle, previous_name=release.name, previous=release.environments.get(bundle.environment))


def _diff(path: str, present: bytes, wanted: str) -> str:
    try:
        old = present.decode("utf-8")
    except UnicodeDecodeError:
        return tr("it is not UTF-8 text")
    if old.replace("\r\n", "\n") == wanted:
        return tr("only the line ends differ")
    there, made = old.splitlines(keepends=True), wanted.splitlines(keepends=True)
    lines = difflib.unified_diff(there, made, f"{path} (there)", f"{path} (from the lock)")
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)
