"""Requirements: what the packages' own metadata asks for, judged for the prefix's Python and platform."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from d2lenv.base.messages import tr
from d2lenv.doctor import fixes
from d2lenv.doctor.model import TRIO, Context, Found, Problem, from_distribution, joined, parsed
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
            requirement = Requirement(line)
            if "sys_platform" not in environment and _PLATFORM_MARKER.search(str(requirement.marker)):
                continue
            if requirement.marker is None or requirement.marker.evaluate(dict(environment)):
                yield requirement
        except (InvalidRequirement, UndefinedComparison, UndefinedEnvironmentName, ValueError):
            continue


def allows(requirement: Requirement, version: str) -> bool:
    """Whether ``version`` fulfils the requirement; what cannot be compared counts as fulfilled."""
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
    """A package that the notebooks need lacks something that it requires itself, or has it in a version that
    it excludes. The import may fail, or only a part of it."""
    environment = markers(context.prefix)
    if not context.prefix.python_minor:
        return
    for name in _CHECKED:
        distribution = context.prefix.find(name)
        if distribution is None:
            continue
        for requirement in requirements(distribution, environment):
            have = context.prefix.find(requirement.name)
            if have is not None and allows(requirement, have.version):
                continue
            if have is None and _from_conda(context, requirement.name):
                continue
            if requirement.name.lower().startswith(("nvidia", "triton", *TRIO)):
                continue  # the findings above say it better
            spec = f"{requirement.name}{requirement.specifier}"
            # What everybody here accepts, or pip mends one package by breaking another.
            asked = f"{requirement.name}{_accepted(context, requirement, environment)}"
            yield Problem(
                "warning" if have else "error",
                tr(
                    "{name} {version} requires {spec}",
                    name=distribution.name,
                    version=distribution.version,
                    spec=spec,
                )
                + (
                    tr(", which is not installed")
                    if have is None
                    else tr(", {have} is installed", have=have.version)
                ),
                requirement.name,
                (from_distribution(distribution), *((from_distribution(have),) if have else ())),
                (fixes.install(context, (asked.replace("==", "="),), (asked,)),),
            )


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
    """Whether conda has a package of that name whose Python metadata is not there."""
    return any(context.prefix.conda_package(n) for n in (name, name.lower(), name.lower().replace("_", "-")))
