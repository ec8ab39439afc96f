"""Drift: what is in the prefix against what the lock says, and d2l's files against the released ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from d2lenv.base.errors import D2lEnvError
from d2lenv.base.messages import tr, trn
from d2lenv.doctor import fixes, managers
from d2lenv.doctor.model import Command, Context, Expected, Found, Locked, Problem, Severity, joined, parsed
from d2lenv.doctor.rules import requires
from d2lenv.facts import d2l as d2l_releases
from d2lenv.facts import engines
from d2lenv.facts.pytorch import host as pytorch_host
from d2lenv.facts.pytorch.host import TRIO
from d2lenv.prefix.contents.model import Prefix, Unreadable
from d2lenv.prefix.contents.text import read_text
from d2lenv.workspace import settings

_REQUIREMENTS_LIMIT = 8 << 20
_SHOWN = 8
_PIN = re.compile(r"([A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?)==([\w.+!]+)", re.ASCII)
# What every installer puts there by itself.
_INSTALLERS = frozenset({"pip", "setuptools", "wheel"})


def expected(prefix: Prefix, root: Path | None) -> Expected | None:
    """What the lock of workspace ``root`` says about ``prefix``; ``None`` when the prefix is not one of its
    environments."""
    if root is None:
        return None
    name = prefix.marker.get("environment")
    engine = prefix.marker.get("engine")
    environment = name if isinstance(name, str) and re.fullmatch(r"[\w-]{1,64}", name) else ""
    if not environment:
        environment, engine = _by_place(prefix.path, root)
    if not environment:
        return None
    stated = prefix.marker.get("platform")
    platform = stated if isinstance(stated, str) and re.fullmatch(r"[\w-]{1,64}", stated) else ""
    if engines.PACKAGES.get(str(engine)) == "wheels":
        platform = platform or prefix.platform
        folder = root / "envs" / environment
        files = [folder / f"requirements-{platform}.txt", folder / "requirements.txt"]
        file = next((file for file in files if file.is_file()), files[0])
        expected = _from_requirements(prefix, environment, platform, file)
    else:
        expected = _from_lock(environment, platform, prefix, root)
    return replace(expected, overrides=_overrides(root, environment))


def _overrides(root: Path, environment: str) -> frozenset[str]:
    """Return the packages of which pixi.toml says that they are meant to be others than d2l asks for."""
    try:
        return frozenset(override.package for override in settings.overrides(root, environment))
    except D2lEnvError:  # `d2lenv check` says what is wrong with it
        return frozenset()


def _by_place(prefix: Path, root: Path) -> tuple[str, str]:
    """(environment, engine) of ``.pixi/envs/NAME`` and ``.d2lenv/NAME-ENGINE``, empty for other places."""
    if prefix.parent == root / ".pixi" / "envs":
        return prefix.name, "pixi"
    if prefix.parent == root / ".d2lenv":
        # The wheels of an environment for several Pythons are in NAME-wheels-py312.
        environment, _, engine = re.sub(
            r"(?<=-wheels)(-py3\d+)?(-(cpu|cu\d+))?$", "", prefix.name
        ).rpartition("-")
        return environment, engine
    return "", ""


def _from_requirements(prefix: Prefix, environment: str, platform: str, file: Path) -> Expected:
    trouble: list[Unreadable] = []
    text = read_text(file, _REQUIREMENTS_LIMIT, trouble)
    if trouble:
        return Expected(environment, platform, file, conda=False, trouble=trouble[0].why)
    packages = []
    place = requires.markers(prefix)
    for line in text.replace("\\\n", " ").splitlines():
        spec = line.partition("#")[0].partition(" --hash")[0].strip()
        if pin := _PIN.fullmatch(spec):  # nearly every line, and 20 times faster than a parser
            packages.append(Locked(canonicalize_name(pin[1]), pin[2]))
            continue
        try:
            requirement = Requirement(spec) if spec and not spec.startswith("-") else None
        except InvalidRequirement as error:
            return Expected(environment, platform, file, conda=False, trouble=str(error))
        if requirement is not None and (not requirement.marker or requirement.marker.evaluate(place)):
            version = next((s.version for s in requirement.specifier if s.operator in ("==", "===")), "")
            packages.append(Locked(canonicalize_name(requirement.name), version))
    if build := prefix.marker.get("build"):
        packages = [*_from_host(packages, str(build), platform, prefix.python_minor)]
    return Expected(environment, platform, file, conda=False, packages=tuple(packages))


def _from_host(packages: Iterable[Locked], build: str, platform: str, python: str) -> Iterator[Locked]:
    """Yield the packages with PyTorch's trio in the build of its own host that the marker names."""
    files = pytorch_host.files(build, platform, python)
    for package in packages:
        file = files.get((package.name, package.version))
        if file is not None:
            yield Locked(package.name, file.version)
        elif package.name not in TRIO and not pytorch_host.is_needless(package.name, build):
            yield package


def _from_lock(environment: str, platform: str, prefix: Prefix, root: Path) -> Expected:
    # py-rattler: a tenth of a second that other prefixes do without
    from d2lenv.workspace import beside, lockfile, manifest

    file = root / manifest.LOCK
    try:
        workspace = manifest.load(root)
        lock, added = lockfile.of(workspace), beside.pins(settings.get(workspace, environment))
        installed = {(package.name, package.version, package.build) for package in prefix.conda}
        platform = platform or lock.nearest(environment, prefix.platform, installed)
        records = lock.records(environment, platform)
    except D2lEnvError as error:
        return Expected(environment, platform, file, conda=True, trouble=f"{error.what} {error.why}".strip())
    return Expected(
        environment,
        platform,
        file,
        conda=True,
        packages=tuple(
            Locked(r.name.normalized, str(r.version), str(r.build), _channel(str(r.url))) for r in records
        ),
        beside=tuple(Locked(pin.name, pin.version) for pin in added),
    )


def _channel(url: str) -> str:
    """``conda-forge`` of ``https://conda.anaconda.org/conda-forge/linux-64/…``."""
    parts = url.split("/")
    return parts[-3] if len(parts) > 3 else ""


def _installed(context: Context, conda: bool) -> Mapping[str, Locked]:
    if conda:
        return {p.name: Locked(p.name, p.version, p.build, p.channel) for p in context.prefix.conda}
    return {d.key: Locked(d.key, d.version) for d in context.prefix.distributions}


def lock_unreadable(context: Context) -> Iterator[Problem]:
    """The lock, or the list of wheels that is derived from it, could not be read, so the prefix was not
    compared with it."""
    expected = context.expected
    if expected is not None and expected.trouble:
        yield Problem(
            "not-checked",
            tr("the environment was not compared with the lock"),
            "lock",
            (Found(expected.file.name, expected.trouble, str(expected.file)),),
        )


def missing(context: Context) -> Iterator[Problem]:
    """The lock has these packages, the environment does not. Something removed them, or the installation did
    not finish. Installing the environment again puts them back."""
    expected = context.expected
    if expected is None or expected.trouble:
        return
    installed = _installed(context, expected.conda)
    absent = [p for p in expected.packages if p.name not in installed]
    if absent:
        yield Problem(
            "error",
            tr(
                "{n} packages of the lock are missing: {names}",
                n=len(absent),
                names=_names(p.name for p in absent),
            ),
            "lock",
            tuple(Found(p.name, p.version, str(expected.file)) for p in absent),
            (_mend(context, absent),),
        )


def beside_missing(context: Context) -> Iterator[Problem]:
    """This environment has a wheel beside its conda packages: d2l, whose conda recipe wants the numpy of its
    time. `pixi install` installs what pixi.lock has, and d2l is not among it; a task of pixi adds it, and
    costs nothing where it is there."""
    expected = context.expected
    if expected is None or expected.trouble:
        return
    there = {(item.key, item.version) for item in context.prefix.distributions}
    absent = [p for p in expected.beside if (p.name, p.version) not in there]
    if absent:
        title = tr("{names} is missing beside the conda packages", names=joined(p.name for p in absent))
        found = tuple(Found(p.name, p.version, str(expected.file.with_name("pixi.toml"))) for p in absent)
        yield Problem("error", title, "lock", found, (fixes.beside(context, expected.environment),))


def extra(context: Context) -> Iterator[Problem]:
    """These packages are in the environment but not in the lock: somebody installed them by hand. They do no
    harm by themselves, and another machine will not have them."""
    expected = context.expected
    if expected is None or expected.trouble:
        return
    locked = {p.name for p in expected.packages}
    installed = _installed(context, expected.conda)
    added = [p for name, p in installed.items() if name not in locked and name not in _INSTALLERS]
    if expected.conda:
        conda = {d.key for d in context.prefix.distributions if d.conda or d.installer == "conda"}
        added += [
            Locked(d.key, d.version, channel="pip")
            for d in context.prefix.distributions
            if d.key not in conda and d.key not in _INSTALLERS and d.source in ("pip", "uv")
        ]
    if added:
        yield Problem(
            "info",
            tr(
                "{n} packages are not in the lock: {names}", n=len(added), names=_names(p.name for p in added)
            ),
            "lock",
            tuple(Found(p.name, p.version) for p in added),
        )


def other_version(context: Context) -> Iterator[Problem]:
    """The environment has another version of these packages than the lock: it is no longer the environment
    that was tested, and not the one that others have."""
    yield from _compare(
        context,
        "error",
        tr("another version than the lock's: {names}"),
        lambda a, b: _differ(a.version, b.version),
    )


def _differ(a: str, b: str) -> bool:
    x, y = parsed(a), parsed(b)
    return x != y if x is not None and y is not None else a != b


def other_build(context: Context) -> Iterator[Problem]:
    """The version is the lock's, the build is not: for PyTorch that is the difference between CPU and CUDA,
    for others between the libraries that they were linked with."""
    yield from _compare(
        context,
        "error",
        tr("another build than the lock's: {names}"),
        lambda a, b: bool(b.build) and not _differ(a.version, b.version) and a.build != b.build,
    )


def other_source(context: Context) -> Iterator[Problem]:
    """The version and the build are the lock's, but the package came from another channel. conda-forge,
    pytorch and nvidia use the same names for packages that do not go together."""
    yield from _compare(
        context,
        "warning",
        tr("from another channel than the lock's: {names}"),
        lambda a, b: (
            bool(a.channel and b.channel)
            and not _differ(a.version, b.version)
            and a.build == b.build
            and a.channel != b.channel
        ),
    )


def _compare(
    context: Context, severity: Severity, title: str, differs: Callable[[Locked, Locked], bool]
) -> Iterator[Problem]:
    """One problem for all packages of which ``differs(installed, locked)`` is true; ``title`` has
    ``{names}``."""
    expected = context.expected
    if expected is None or expected.trouble:
        return
    installed = _installed(context, expected.conda)
    pairs = [(installed[p.name], p) for p in expected.packages if p.name in installed and p.version]
    moved = [(have, locked) for have, locked in pairs if differs(have, locked)]
    if moved:
        yield Problem(
            severity,
            title.format(names=_names(f"{have.name} {_shown(have, locked)}" for have, locked in moved)),
            "lock",
            tuple(
                Found(
                    have.name,
                    tr("{have}, locked is {locked}", have=_full(have), locked=_full(locked)),
                    str(expected.file),
                )
                for have, locked in moved
            ),
            (_mend(context, [locked for _, locked in moved]),),
        )


def _shown(have: Locked, locked: Locked) -> str:
    if have.version != locked.version:
        return have.version
    return have.build if have.build != locked.build else have.channel


def _full(package: Locked) -> str:
    return " ".join(part for part in (package.version, package.build, package.channel) if part)


def _names(names: Iterable[str]) -> str:
    """The first names, and how many more there are."""
    shown = list(names)
    more = tr(" and {n} more", n=len(shown) - _SHOWN) if len(shown) > _SHOWN else ""
    return joined(shown[:_SHOWN]) + more


def _mend(context: Context, packages: Sequence[Locked]) -> Command:
    expected = context.expected
    if expected is not None and expected.conda:
        made_by = managers.manager(context)
        if made_by.kind == "pixi":
            # Not `pixi install`: its fingerprint says that the environment is as it left it.
            return managers.pixi_reinstall(made_by, (p.name for p in packages))
        return fixes.conda_install(context, *(f"{p.name}={p.version}" for p in packages))
    return fixes.pip_install(context, *(f"{p.name}=={p.version}" for p in packages), options=("--no-deps",))


def d2l_files(context: Context) -> Iterator[Problem]:
    """Files of the installed d2l are not the released ones. Somebody edited them, or an interrupted copy cut
    them off: the notebooks may behave differently from the book. `#@save` in the book does not write into
    these files; it only marks code that d2l already contains."""
    d2l = context.prefix.find("d2l")
    released = d2l_releases.released(d2l.version) if d2l else None
    if d2l is None or released is None or d2l.editable:
        return
    differing = d2l_releases.differing(d2l.site, released)
    if differing:
        yield Problem(
            "warning",
            trn(
                "{count} file of d2l {version} is not the released one",
                "{count} files of d2l {version} are not the released ones",
                count=len(differing),
                version=d2l.version,
            ),
            "d2l",
            tuple(Found(name, what, str(d2l.site / name)) for name, what in differing.items()),
            (
                fixes.reinstall(context, "d2l")
                if d2l.conda
                else fixes.pip_install(
                    context, f"d2l=={d2l.version}", options=("--force-reinstall", "--no-deps")
                ),
            ),
        )
