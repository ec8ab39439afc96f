"""Packages that do not work together although their metadata allows it: rows of ``facts/clashes.py``."""

from __future__ import annotations

from collections.abc import Iterator

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from d2lenv.base.messages import tr
from d2lenv.doctor import fixes
from d2lenv.doctor.model import Command, Context, Found, Problem, from_distribution, joined, parsed
from d2lenv.facts import clashes
from d2lenv.facts import d2l as d2l_facts

# What `from d2l import torch as d2l` imports besides torch.
_OF_D2L = frozenset({"matplotlib", "pandas", "scipy"})


def numpy_companions(context: Context) -> Iterator[Problem]:
    """numpy 2 changed the layout that compiled code relies on. These packages were compiled for numpy 1 and
    stop with `numpy.dtype size changed` or `numpy.core.multiarray failed to import`. Some other package's
    `pip install` usually brought the new numpy along."""
    numpy = context.prefix.find("numpy")
    version = parsed(numpy.version) if numpy else None
    if numpy is None or version is None or version.major < 2:
        return
    old = [
        item
        for name, first in clashes.NUMPY_2.items()
        if (item := context.prefix.find(name)) is not None
        and not item.conda
        and (have := parsed(item.version)) is not None
        and have < Version(first)
    ]
    if not old:
        return
    stops = context.version("d2l") and any(item.key in _OF_D2L for item in old)
    yield Problem(
        "error" if stops or any(item.key == "matplotlib" for item in old) else "warning",
        tr("numpy {numpy} under packages that were compiled for numpy 1: {names}",
           numpy=version, names=joined(item.name for item in old)),
        "numpy",
        (from_distribution(numpy), *(from_distribution(item) for item in old)),
        (_numpy_1(context),),
    )  # fmt: skip


def _numpy_1(context: Context) -> Command:
    release = d2l_facts.release(context.version("d2l"))
    pin = release.pins.get("numpy", "") if release else ""
    return fixes.install(
        context, (f"numpy={pin}" if pin else "numpy<2",), (f"numpy=={pin}" if pin else "numpy<2",)
    )


def known_clash(context: Context) -> Iterator[Problem]:
    """These two packages are known not to work together in these versions, although what they say of
    themselves allows it; pip installs them side by side without a word."""
    for row in clashes.CLASHES:
        one, other = context.version(row.one), context.version(row.other)
        if not (_within(one, row.one_versions) and _within(other, row.other_versions)):
            continue
        found = [item for name in (row.one, row.other) if (item := context.prefix.find(name)) is not None]
        conda = tuple(spec.replace("==", "=") for spec in row.install)
        yield Problem(
            "error" if row.stops else "warning",
            tr("{one} {one_version} does not work with {other} {other_version}",
               one=row.one, one_version=one, other=row.other, other_version=other),
            row.other,
            (*(from_distribution(item) for item in found), Found(row.says)),
            (fixes.install(context, conda, row.install),) if row.install else (),
        )  # fmt: skip


def _within(version: str, versions: str) -> bool:
    return parsed(version) is not None and SpecifierSet(versions).contains(version, prereleases=True)
