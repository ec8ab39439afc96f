"""d2l: its edition, its pins, what its modules import, and the notebooks that are used with it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from packaging.version import Version

from d2lenv.base.messages import tr, trn
from d2lenv.doctor import fixes
from d2lenv.doctor.model import Command, Context, Found, Problem, from_distribution, joined, parsed
from d2lenv.doctor.rules import requires
from d2lenv.facts import d2l as releases
from d2lenv.prefix.contents.model import Distribution
from d2lenv.prefix.contents.text import read_text

_SOURCE_LIMIT = 4 << 20
# Import name → distribution name, where d2l's own imports differ.
_DISTRIBUTIONS = {
    "PIL": "pillow",
    "IPython": "ipython",
    "matplotlib_inline": "matplotlib-inline",
    "paddle": "paddlepaddle",
}
_RCPARAMS_GET = Version("3.5.2")


def _d2l(context: Context) -> Distribution | None:
    return context.prefix.find("d2l")


def edition(context: Context) -> Iterator[Problem]:
    """d2l 0.17 belongs to the Chinese book (zh.d2l.ai) and 1.0 to the English one (d2l.ai). The two
    libraries have different functions: a notebook of one book does not run with the library of the other,
    so each needs an environment of its own."""
    found = _d2l(context)
    if found is None:
        return
    release = releases.release(found.version)
    zh = releases.edition(found.version) == "zh"
    book = tr("the Chinese edition, zh.d2l.ai") if zh else tr("the English edition, d2l.ai")
    yield Problem(
        "info",
        tr("d2l {version}: {book}", version=found.version, book=book),
        "d2l",
        (from_distribution(found),),
    )
    if release is None:
        yield Problem(
            "not-checked",
            tr("d2l {version} is not in the table, its pins were not checked", version=found.version),
            "d2l",
            (from_distribution(found),),
        )


def pins(context: Context) -> Iterator[Problem]:
    """d2l asks for one exact version of each of these packages, because its functions were written for them:
    a newer matplotlib, pandas or numpy changes what the notebooks show or stops them. Whatever is
    installed after d2l may replace them; install d2l last, or its pins again."""
    found = _d2l(context)
    release = releases.release(found.version) if found else None
    if found is None or release is None:
        return
    for name, wanted in release.pins.items():
        have = context.prefix.find(name)
        if have is None and context.version(name if name != "matplotlib" else "matplotlib-base"):
            continue
        if name == "jupyter" and have is None:
            continue  # a metapackage without code; what it stands for is checked by itself
        if have is not None and (context.is_meant(name) or _same(have.version, wanted)):
            continue
        yield Problem(
            "error" if name != "jupyter" else "info",
            tr(
                "d2l {version} wants {name} {wanted}, {have} is installed",
                version=found.version,
                name=name,
                wanted=wanted,
                have=have.version,
            )
            if have
            else tr(
                "d2l {version} wants {name} {wanted}, which is not installed",
                version=found.version,
                name=name,
                wanted=wanted,
            ),
            name,
            (
                from_distribution(found),
                *((from_distribution(have), *_culprits(context, have, wanted)) if have else ()),
            ),
            (fixes.install(context, (f"{name}={wanted}",), (f"{name}=={wanted}",)),),
        )


def _same(have: str, wanted: str) -> bool:
    return parsed(have.partition("+")[0]) == parsed(wanted)


def _culprits(context: Context, have: Distribution, wanted: str) -> Iterator[Found]:
    """Who broke the pin: packages that refuse the pinned version, and the reader's own command line."""
    environment = requires.markers(context.prefix)
    for other in context.prefix.distributions:
        if other.key in ("d2l", have.key) or not context.prefix.python_minor:
            continue
        if not any(have.key in line.lower().replace("_", "-") for line in other.requires):
            continue
        for requirement in requires.requirements(other, environment):
            if requirement.name.lower().replace("_", "-") == have.key and not requires.allows(
                requirement, wanted
            ):
                yield Found(
                    tr("{name} asks for {spec}", name=other.name, spec=f"{have.key}{requirement.specifier}"),
                    other.version,
                    str(other.folder),
                )
    if have.requested:
        yield Found(
            tr("asked for by name (`{tool} install {name}`)", tool=have.source, name=have.name),
            have.version,
            str(have.folder),
        )


def python_without_wheels(context: Context) -> Iterator[Problem]:
    """d2l's pinned versions have no wheels for this Python: pip tries to compile old sources and fails after
    minutes, or d2l stays without them. The book's own Python is the way out."""
    found, minor = _d2l(context), context.prefix.python_minor
    release = releases.release(found.version) if found else None
    if found is None or release is None or not minor:
        return
    from d2lenv.doctor.rules import plan

    lacking = plan.pins_without_wheels(release, minor, context.prefix.platform)
    absent = [
        name
        for name in lacking
        if not (d := context.prefix.find(name))
        or not (context.is_meant(name) or _same(d.version, release.pins[name]))
    ]
    if absent:
        yield Problem(
            "error",
            tr(
                "the pins of d2l {version} have no wheels for Python {python}",
                version=found.version,
                python=minor,
            ),
            "python",
            (
                Found("Python", context.prefix.python_version),
                *(Found(name, release.pins[name]) for name in absent),
            ),
            (fixes.other_python(context, plan.python_for(release, context.prefix.platform)),),
        )


def import_torch(context: Context) -> Iterator[Problem]:
    """`from d2l import torch as d2l` runs the imports at the top of d2l's `torch.py`. d2l does not declare
    all of them: torch, torchvision and pillow have to be installed by hand. One that is missing stops the
    first cell of every notebook."""
    yield from _imports(context, ("torch",))


def other_frameworks(context: Context) -> Iterator[Problem]:
    """d2l ships the book's functions for several frameworks, one module each. The module of a framework that
    is not installed cannot be imported; for the PyTorch notebooks that does not matter."""
    found = _d2l(context)
    if found is None:
        return
    shipped = _shipped(found)
    missing = {m: names for m in shipped if m != "torch" and (names := _missing(context, found, m))}
    release = releases.release(found.version)
    absent = [m for m in ("mxnet", "tensorflow", "paddle", "jax") if release and m not in release.modules]
    if missing or absent:
        yield Problem(
            "info",
            tr(
                "of d2l's modules {usable} can be imported",
                usable=joined(m for m in shipped if m not in missing) or "-",
            ),
            "d2l",
            (
                *(
                    Found(
                        tr(
                            "from d2l import {module}: {names} is not installed",
                            module=m,
                            names=joined(names),
                        ),
                        "",
                        str(_module(found, m)),
                    )
                    for m, names in missing.items()
                ),
                *(
                    Found(tr("d2l {version} has no module {module}", version=found.version, module=m))
                    for m in absent
                ),
            ),
        )


def _imports(context: Context, modules: tuple[str, ...]) -> Iterator[Problem]:
    found = _d2l(context)
    if found is None or "d2l" not in context.prefix.modules:
        return
    for module in modules:
        file = _module(found, module)
        if not file.exists():
            yield Problem(
                "error",
                tr("d2l {version} lacks its module {module}", version=found.version, module=module),
                "d2l",
                (from_distribution(found), Found(tr("missing"), "", str(file))),
                (
                    fixes.pip_install(
                        context, f"d2l=={found.version}", options=("--force-reinstall", "--no-deps")
                    ),
                ),
            )
            continue
        # A missing torch is reported by its own finding, with the versions that fit.
        missing = [name for name in _missing(context, found, module) if name != "torch"]
        if missing:
            names = [_DISTRIBUTIONS.get(name, name) for name in missing]
            yield Problem(
                "error",
                tr(
                    "`from d2l import {module}` fails: {names} is not installed",
                    module=module,
                    names=joined(missing),
                ),
                "d2l",
                (from_distribution(found), Found(f"d2l/{module}.py", "", str(file))),
                tuple(_bring(context, found, names)),
            )


def _bring(context: Context, d2l: Distribution, names: list[str]) -> Iterator[Command]:
    """Install what is missing; what is recorded as installed but cannot be imported is put there again."""
    recorded = [item for name in names if (item := context.prefix.find(name)) is not None]
    absent = [name for name in names if context.prefix.find(name) is None]
    if recorded and context.prefix.kind == "conda":
        yield fixes.reinstall(context, *(item.name for item in recorded))
    elif recorded:
        specs = (f"{item.name}=={item.version}" if item.version else item.name for item in recorded)
        yield fixes.pip_install(context, *specs, options=("--force-reinstall", "--no-deps"))
    if absent:
        yield fixes.install(context, tuple(absent), tuple(_pinned(context, d2l, absent)))


def _pinned(context: Context, d2l: Distribution, names: list[str]) -> Iterator[str]:
    from d2lenv.facts.pytorch import releases as matrix

    release = releases.release(d2l.version)
    torch = matrix.release(context.version("torch"))
    for name in names:
        if release and name in release.pins:
            yield f"{name}=={release.pins[name]}"
        elif name == "torchvision" and torch:
            yield f"torchvision=={torch.vision[0]}"
        else:
            yield name


def _module(d2l: Distribution, module: str) -> Path:
    return d2l.site / "d2l" / f"{module}.py"


def _shipped(d2l: Distribution) -> tuple[str, ...]:
    return tuple(m for m in ("torch", "mxnet", "tensorflow", "paddle", "jax") if _module(d2l, m).exists())


def _missing(context: Context, d2l: Distribution, module: str) -> tuple[str, ...]:
    """Top-level modules that ``d2l/<module>.py`` imports at its top and that are not there, in its order."""
    text = read_text(_module(d2l, module), _SOURCE_LIMIT, context.trouble)
    names = re.findall(r"^(?:import|from) +([A-Za-z_]\w*)", text, re.MULTILINE)
    there = context.prefix.modules | sys.stdlib_module_names
    return tuple(name for name in dict.fromkeys(names) if name not in there)


def inline_and_matplotlib(context: Context) -> Iterator[Problem]:
    """matplotlib-inline 0.2 uses a function that matplotlib has since 3.5.2 (ipython/matplotlib-inline#54).
    d2l 0.17 pins matplotlib 3.5.1 and leaves matplotlib-inline open, so following the Chinese book today
    ends with `'RcParams' object has no attribute '_get'` at the import."""
    inline, plt = parsed(context.version("matplotlib-inline")), parsed(context.version("matplotlib"))
    if inline is None or plt is None or inline < Version("0.2") or plt >= _RCPARAMS_GET:
        return
    distribution = context.prefix.find("matplotlib-inline")
    yield Problem(
        "error",
        tr("matplotlib-inline {inline} does not work with matplotlib {plt}", inline=inline, plt=plt),
        "matplotlib-inline",
        (Found("matplotlib", str(plt)), *((from_distribution(distribution),) if distribution else ())),
        (fixes.install(context, ("matplotlib-inline<0.2",), ("matplotlib-inline<0.2",)),),
    )


def notebooks_of_the_other_edition(context: Context) -> Iterator[Problem]:
    """These notebooks use functions that only the other edition's d2l has. They stop with
    `module 'd2l.torch' has no attribute …`: open them in an environment of their own edition."""
    found = _d2l(context)
    if found is None:
        return
    other: releases.Edition = "en" if releases.edition(found.version) == "zh" else "zh"
    seen = [
        (n, sorted(n.names & releases.ONLY[other]))
        for n in context.notebooks
        if n.names & releases.ONLY[other]
    ]
    if seen:
        version = releases.newest(other)
        yield Problem(
            # A folder where few of them do holds both editions on purpose, as this project's does.
            "warning" if 2 * len(seen) >= len(context.notebooks) else "info",
            trn(
                "{count} notebook belongs to the other edition, d2l {version}",
                "{count} notebooks belong to the other edition, d2l {version}",
                count=len(seen),
                version=version,
            ),
            "d2l",
            (
                from_distribution(found),
                *(Found("d2l." + ", d2l.".join(names[:3]), "", str(n.file)) for n, names in seen[:5]),
            ),
            (Command(text=tr("make an environment with d2l {version} for them", version=version)),),
        )
