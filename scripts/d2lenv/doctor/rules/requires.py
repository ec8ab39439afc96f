"""Requirements: what the packages' own metadata asks for, judged for the prefix's Python and platform."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from d2lenv.base.messages import tr
from d2lenv.doctor import fixes
from d2lenv.doctor.model import TRIO, Context, Found, Problem, from_distribution, joined, parsed
from d2lenv.facts import d2l as releases
from d2lenv.facts import platforms
from d2lenv.prefix.contents.model import Distribution, Prefix

_CHECKED = (
    *TRIO,
    "numpy",
    "matplotlib",
    "matplotlib-inline",
    "pandas",
    "scipy",
    "pillow",
    "requests",
    "ipykernel",
    "ipython",
    "jupyterlab",
    "notebook",
    "nbclient",
    "jupyter-client",
    "jupyter-server",
)
_PLATFORM_MARKER = re.compile("platform_system|platform_machine|sys_platform|os_name")


def markers(prefix: Prefix) -> dict[str, str]:
    """Return the environment that requirement markers are judged in: the prefix's Python, not this one.

    It says nothing of a platform that is not in the table.
    """
    row, full = platforms.ROWS.get(prefix.platform), prefix.python_version
    return {
        "python_version": prefix.python_minor,
        "python_full_version": full if full.count(".") == 2 else f"{prefix.python_minor}.0",
        "implementation_name": "cpython",
        "implementation_version": full,
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_version": "",
        "extra": "",
        **(_of_platform(row) if row else {}),
    }


def _of_platform(row: platforms.Subdir) -> dict[str, str]:
    return {
        "platform_system": row.system.name,
        "platform_machine": row.machine,
        "sys_platform": row.system.sys_platform,
        "os_name": row.system.os_name,
    }


def requirements(distribution: Distribution, environment: Mapping[str, str]) -> Iterator[Requirement]:
    """Yield the requirements that count for the prefix's Python.

    Lines that are no requirement are left out, and those that depend on a platform that is not known.
    """
    for line in distribution.requires:
        if "extra ==" in line:
            continue  # most of the lines, and none of them asked for here
        try:
            requirement = _parsed(line)
            if "sys_platform" not in environment and _PLATFORM_MARKER.search(str(requirement.marker)):
                continue
            if requirement.marker is None or requirement.marker.evaluate(dict(environment)):
                yield requirement
        except (InvalidRequirement, UndefinedComparison, UndefinedEnvironmentName, ValueError):
            continue


# Many packages ask for the same, and three findings read what a package asks for.
_parsed = cache(Requirement)


def allows(requirement: Requirement, version: str) -> bool:
    """Return True if ``version`` fulfils the requirement; what cannot be compared counts as fulfilled."""
    try:
        return requirement.specifier.contains(version, prereleases=True) or parsed(version) is None
    except ValueError:  # numbers of more digits than `int` takes
        return True


def cuda_wheels(context: Context) -> Iterator[Problem]:
    """pip's torch for Linux keeps CUDA's libraries in separate `nvidia-…` packages. When one of them is
    missing or of another version `import torch` fails with `libcublas.so.11: cannot open shared object
    file`, or the first GPU operation does."""
    torch = context.prefix.find("torch")
    if torch is None or torch.conda or not context.prefix.python_minor:
        return
    found, specs = [], []
    for requirement in requirements(torch, markers(context.prefix)):
        if not requirement.name.lower().startswith(("nvidia-", "nvidia_", "triton", "cuda-toolkit")):
            continue
        have = context.prefix.find(requirement.name)
        if have is not None and allows(requirement, have.version):
            continue
        found.append(
            Found(requirement.name, have.version if have else tr("missing"), str(have.folder if have else ""))
        )
        specs.append(f"{requirement.name}{requirement.specifier}")
    if found:
        yield Problem(
            "error",
            tr(
                "CUDA libraries of torch are missing or of another version: {names}",
                names=joined(f.what for f in found),
            ),
            "torch",
            (from_distribution(torch), *found),
            (fixes.pip_install(context, *specs),),
        )


def requirements_unmet(context: Context) -> Iterator[Problem]:
    """A package lacks something that it requires itself, or has it in a version that it excludes. The import
    may fail, or only a part of it. `pip install --no-deps`, and a later `pip install` of another package,
    leave this."""
    if not context.prefix.python_minor:
        return
    environment, by_key = markers(context.prefix), _first(context)
    needed = needed_by_notebooks(by_key)
    for distribution in by_key.values():
        if not _answers_for_itself(distribution):
            continue
        for requirement in _unmet(distribution, by_key, environment):
            have = by_key.get(canonicalize_name(requirement.name))
            if (have is None and _from_conda(context, requirement.name)) or _said_better(
                distribution, requirement
            ):
                continue
            yield _problem(context, distribution, requirement, have, stops=distribution.key in needed)


def _first(context: Context) -> dict[str, Distribution]:
    """Return the distribution that Python would meet first, by its normalised name."""
    found: dict[str, Distribution] = {}
    for item in context.prefix.distributions:
        found.setdefault(item.key, item)
    return found


def _answers_for_itself(distribution: Distribution) -> bool:
    """Return False for packages of another manager: conda and Debian know better than their metadata."""
    return distribution.key in _CHECKED or (not distribution.conda and distribution.installer in _INSTALLERS)


def _unmet(
    distribution: Distribution, by_key: Mapping[str, Distribution], environment: Mapping[str, str]
) -> Iterator[Requirement]:
    lines = []
    for line in distribution.requires:
        # Half of a package's lines name what is there in any version: those need no parser.
        name = _NAME.match(line)
        if name is None or name.end() < len(line) or canonicalize_name(name[0]) not in by_key:
            lines.append(line)
    for requirement in requirements(replace(distribution, requires=tuple(lines)), environment):
        have = by_key.get(canonicalize_name(requirement.name))
        if have is None or not allows(requirement, have.version):
            yield requirement


def _said_better(distribution: Distribution, requirement: Requirement) -> bool:
    """Return True for what a finding of its own says with more sense."""
    key = canonicalize_name(requirement.name)
    if distribution.key == "d2l" and releases.release(distribution.version) is not None:
        return True
    return distribution.key in TRIO and key.startswith(("nvidia", "triton", "cuda-toolkit", *TRIO))


def _problem(
    context: Context,
    distribution: Distribution,
    wanted: Requirement,
    have: Distribution | None,
    *,
    stops: bool,
) -> Problem:
    # What everybody here accepts, or pip mends one package by breaking another.
    asked = f"{wanted.name}{_accepted(context, wanted, markers(context.prefix))}"
    spec = f"{wanted.name}{wanted.specifier}"
    title = tr(
        "{name} {version} requires {spec}", name=distribution.name, version=distribution.version, spec=spec
    )
    title += tr(", {have} is installed", have=have.version) if have else tr(", which is not installed")
    return Problem(
        "error" if have is None and stops else "warning",
        title,
        canonicalize_name(wanted.name),
        (from_distribution(distribution), *((from_distribution(have),) if have else ())),
        (fixes.install(context, (asked.replace("==", "="),), (asked,)),),
    )


_NAME = re.compile(r"[A-Za-z0-9._-]+")
_INSTALLERS = frozenset({"pip", "uv", "poetry", "pdm"})
_ROOTS = (*TRIO, "d2l", "ipykernel", "jupyterlab", "matplotlib", "nbclient", "notebook", "pandas")


def needed_by_notebooks(by_key: Mapping[str, Distribution]) -> frozenset[str]:
    """Return the distributions that the notebooks need, with all that those require."""
    todo, seen = [name for name in _ROOTS if name in by_key], set[str]()
    while todo:
        key = todo.pop()
        if key not in seen:
            seen.add(key)
            names = (_NAME.match(line) for line in by_key[key].requires if "extra ==" not in line)
            todo += [name for match in names if match and (name := canonicalize_name(match[0])) in by_key]
    return frozenset(seen)


def _accepted(context: Context, wanted: Requirement, environment: Mapping[str, str]) -> str:
    """The versions of ``wanted`` that every installed package accepts, as far as they say."""
    accepted = {str(wanted.specifier)}
    key = canonicalize_name(wanted.name)
    for other in context.prefix.distributions:
        if any(key in canonicalize_name(line) for line in other.requires):
            for requirement in requirements(other, environment):
                if canonicalize_name(requirement.name) == key:
                    accepted.add(str(requirement.specifier))
    torch = parsed(context.version("torch"))
    if key == "numpy" and torch is not None and torch < Version("2.3"):
        accepted.add("<2")  # it does not say so itself
    return ",".join(sorted({part for text in accepted for part in text.split(",") if part}))


def _from_conda(context: Context, name: str) -> bool:
    """Return True if conda has a package of that name whose Python metadata is not there."""
    return any(context.prefix.conda_package(n) for n in (name, name.lower(), name.lower().replace("_", "-")))
