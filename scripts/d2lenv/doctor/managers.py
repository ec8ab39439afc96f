"""Who made the examined environment: what another program changes there, its maker undoes.

So a command is printed for the maker: this tool, pixi or uv. conda and pip are everybody else's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from d2lenv.doctor.model import Command, Context, parsed
from d2lenv.facts.engines import PACKAGES
from d2lenv.prefix.contents.model import Prefix, Unreadable
from d2lenv.prefix.contents.text import exists, read_object, read_optional, text_of

_FILE_LIMIT = 4 << 20
_NAME = re.compile(r"[\w.-]{1,64}")


@dataclass(frozen=True)
class Manager:
    """The maker of an environment.

    Attributes:
        kind: empty for conda's own environments and plain virtual ones.
        environment: its name there.
        place: this tool's workspace, pixi's manifest, uv's project.
        engine: what built it, for this tool's own.
    """

    kind: Literal["", "d2lenv", "pixi", "uv"] = ""
    environment: str = ""
    place: Path = Path()
    engine: str = ""


_NOBODY = Manager()


def manager(context: Context) -> Manager:
    """Return the maker of the examined environment."""
    own = _own(context)
    return next((m for m in (own, pixi(context.prefix), _uv_project(context.prefix)) if m.kind), _NOBODY)


def _own(context: Context) -> Manager:
    """Return this tool, for an environment of a workspace whose lock is at hand."""
    marker, path = context.prefix.marker, context.prefix.path
    name, engine = text_of(marker, "environment"), text_of(marker, "engine")
    if context.expected is None or not _NAME.fullmatch(name) or text_of(marker, "prefix") != str(path):
        return _NOBODY
    if path.parent.name != ".d2lenv" and path.parent.parts[-2:] != (".pixi", "envs"):
        return _NOBODY  # built elsewhere with --prefix: which words built it is not written down
    root = path.parents[1] if path.parent.name == ".d2lenv" else path.parents[2]
    return Manager("d2lenv", name, root, engine)


def pixi(prefix: Prefix) -> Manager:
    """Return pixi, if ``conda-meta/pixi`` or the place says so."""
    ignored: list[Unreadable] = []
    said = read_object(prefix.path / "conda-meta" / "pixi", ignored)
    name, manifest = text_of(said, "environment_name"), text_of(said, "manifest_path")
    if _NAME.fullmatch(name) and Path(manifest).is_absolute():
        return Manager("pixi", name, Path(manifest))
    parts = prefix.path.parts
    if parts[-3:-1] != (".pixi", "envs"):
        return _NOBODY
    root = prefix.path.parents[2]
    manifest_file = root / "pixi.toml" if exists(root / "pixi.toml") else root / "pyproject.toml"
    return Manager("pixi", parts[-1], manifest_file)


def _uv_project(prefix: Prefix) -> Manager:
    project = prefix.path.parent
    marks = prefix.path.name == ".venv" and exists(project / "uv.lock")
    return Manager("uv", "", project) if marks and exists(project / "pyproject.toml") else _NOBODY


def again(made_by: Manager) -> Command:
    """Make the whole environment anew, or what is missing of it, as its lock says."""
    if made_by.kind == "d2lenv":
        engine = ("--engine", made_by.engine) if made_by.engine in PACKAGES else ()
        here = made_by.place in (Path.cwd(), *Path.cwd().parents)
        workspace = () if here else ("--workspace", str(made_by.place))
        return Command(("d2lenv", *workspace, "build", made_by.environment, *engine, "--fresh"))
    if made_by.kind == "pixi":
        return Command(("pixi", "reinstall", *_manifest(made_by), "--environment", made_by.environment))
    return Command(("uv", "sync", "--project", str(made_by.place), "--reinstall"))


def pixi_task(made_by: Manager, task: str) -> Command:
    """Run a task of the workspace in the environment."""
    return Command(("pixi", "run", *_manifest(made_by), "--environment", made_by.environment, task))


def pixi_reinstall(made_by: Manager, names: Iterable[str]) -> Command:
    """Let pixi put the files of packages back that its lock has."""
    specs = tuple(names)
    return Command((*again(made_by).argv, *specs), specs=specs)


def pixi_add(
    made_by: Manager, prefix: Prefix, specs: tuple[str, ...], channels: tuple[str, ...] = ()
) -> Command:
    """Let pixi add conda packages to the workspace; what it has in that version it only puts back."""
    if specs and all(_recorded(prefix, spec) for spec in specs):
        return pixi_reinstall(made_by, (re.split(r"[=<>!~ ]", spec)[0] for spec in specs))
    add = Command(("pixi", "add", *_manifest(made_by), *_feature(made_by), *specs), specs=specs)
    lacking = [channel for channel in channels if channel not in _text(made_by.place)]
    if not lacking:
        return add
    first = Command(("pixi", "workspace", "channel", "add", *_manifest(made_by), *lacking))
    return Command(text=f"{first}\n{add}")


def pixi_add_wheels(made_by: Manager, specs: tuple[str, ...]) -> Command:
    """Let pixi add packages of the Python package index to the workspace."""
    argv = ("pixi", "add", "--pypi", *_manifest(made_by), *_feature(made_by), *specs)
    return Command(argv, installs=specs, specs=specs)


def uv_add(made_by: Manager, specs: tuple[str, ...], index: str, *, force: bool) -> Command:
    """Let uv add packages to its project; what its lock has in that version it only puts back."""
    project = ("--project", str(made_by.place))
    if specs and all(_locked_by_uv(made_by, spec) for spec in specs):
        names = [Requirement(spec).name for spec in specs] if force else []
        words = tuple(word for name in names for word in ("--reinstall-package", name))
        return Command(("uv", "sync", *project, *words), installs=specs, index=index)
    given = ("--index", index) if index else ()
    return Command(("uv", "add", *project, *given, *specs), installs=specs, index=index, specs=specs)


def uv_remove(made_by: Manager, names: tuple[str, ...]) -> Command:
    """Let uv remove packages: from its project, or only from the environment if the project has none."""
    text = _text(made_by.place / "uv.lock")
    project = ("--project", str(made_by.place))
    asked = all(f'name = "{canonicalize_name(name)}"' in text for name in names)
    return Command(("uv", "remove" if asked else "sync", *project, *(names if asked else ())), removes=names)


def _manifest(made_by: Manager) -> tuple[str, ...]:
    inside = made_by.place.parent in (Path.cwd(), *Path.cwd().parents)
    return () if inside else ("--manifest-path", str(made_by.place))


def _feature(made_by: Manager) -> tuple[str, ...]:
    """Name the feature that is called as the environment is, if there is one; else the default one is
    meant."""
    name = made_by.environment
    has = re.search(rf"^\[(tool\.pixi\.)?feature\.{re.escape(name)}\b", _text(made_by.place), re.MULTILINE)
    return ("--feature", name) if has else ()


def _text(file: Path) -> str:
    ignored: list[Unreadable] = []  # the project's own files are not the environment's
    return read_optional(file, _FILE_LIMIT, ignored)


def _recorded(prefix: Prefix, spec: str) -> bool:
    """Return True if conda-meta has the package that ``spec`` asks for, in that version."""
    name, _, version = spec.partition("=")
    package = prefix.conda_package(name)
    if package is None or re.search(r"[<>!~*]", spec):
        return False
    wanted = version.lstrip("=").partition("=")[0]
    return not wanted or package.version == wanted


def _locked_by_uv(made_by: Manager, spec: str) -> bool:
    try:
        requirement = Requirement(spec)
    except InvalidRequirement:
        return False
    name = re.escape(canonicalize_name(requirement.name))
    found = re.search(
        rf'^name = "{name}"\nversion = "([^"\n]+)"', _text(made_by.place / "uv.lock"), re.MULTILINE
    )
    if found is None or parsed(found[1]) is None:
        return False
    return requirement.specifier.contains(found[1], prereleases=True)
