"""``doctor --plan``: what an installation will run into, before anything is installed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from d2lenv.base.errors import USAGE, D2lEnvError
from d2lenv.base.messages import tr
from d2lenv.doctor.forecast import newest
from d2lenv.doctor.model import Command, Found, Problem, joined, parsed
from d2lenv.facts import d2l as releases
from d2lenv.facts import gpus, platforms
from d2lenv.facts.pytorch import releases as matrix
from d2lenv.workspace.toml import keys

if TYPE_CHECKING:
    from d2lenv.doctor.fitting import Fit

_LONGEST = 200


@dataclass(frozen=True)
class Plan:
    """What somebody is about to install.

    Attributes:
        python: ``3.12``; empty when not said.
        platform: conda subdir.
        specs: normalised name → what is asked for.
        gpu: as the person calls it; empty when not said.
        fits: what this project's environments can run on; asked for with a GPU alone.
    """

    python: str
    platform: str
    specs: Mapping[str, SpecifierSet]
    gpu: str = ""
    fits: tuple[Fit, ...] = ()

    def pinned(self, name: str) -> str:
        """The one version that is asked for, empty when there is none."""
        return next(
            (s.version for s in self.specs.get(name, SpecifierSet()) if s.operator in ("==", "===")), ""
        )

    def taken(self, name: str, known: Iterable[str]) -> str:
        """Return the version that pip would take: the one asked for, else the newest known one."""
        if name not in self.specs or self.pinned(name):
            return self.pinned(name)
        allowed = [version for version in known if self.specs[name].contains(version)]
        return max(allowed, key=Version, default="")


def parse(words: tuple[str, ...], platform: str, fits: tuple[Fit, ...] = ()) -> Plan:
    """Read ``python=3.12 d2l==0.17.6 platform=win-64``.

    Raises:
        D2lEnvError: a word is not a requirement.
    """
    python, gpu, specs = "", "", {}
    for word in words:
        if match := re.fullmatch(r"python={1,2}(\d\.\d{1,3})(\.\d+)?", word):
            python = match.group(1)
        elif match := re.fullmatch(r"gpu=(.{1,40})", word):
            gpu = _gpu(match.group(1))
        elif match := re.fullmatch(r"platform=([\w-]+)", word):
            platform = _subdir(match.group(1))
        else:
            try:
                if len(word) > _LONGEST:
                    raise InvalidRequirement(tr("it is too long"))
                requirement = Requirement(re.sub(r"^([\w.-]+)=(?!=)", r"\1==", word))
            except InvalidRequirement as error:
                raise D2lEnvError(
                    tr("`{word}` is not something to install", word=word),
                    why=str(error).splitlines()[0],
                    fix=tr("write it as in `d2lenv doctor --plan python=3.12 d2l==0.17.6`"),
                    status=USAGE,
                ) from error
            specs[str(canonicalize_name(requirement.name))] = requirement.specifier
    # conda's name for it; D2L107 tells who means pip's.
    if "pytorch" in specs:
        specs.setdefault("torch", specs["pytorch"])
    return Plan(python, platform, specs, gpu, fits)


def _gpu(words: str) -> str:
    """Return the words for a GPU if a family is known by them.

    Raises:
        D2lEnvError: if none is.
    """
    if gpus.named(words) is None:
        names = ", ".join(family.title for family in gpus.FAMILIES)
        raise D2lEnvError(
            tr("no GPU is known as {name}", name=repr(words)),
            fix=tr("say it as rtx-4090, sm_89 or 8.9, or take a family: {names}", names=names),
            status=USAGE,
        )
    return words


def _subdir(name: str) -> str:
    """Return ``name`` if conda has a platform of that name.

    Raises:
        D2lEnvError: if it has not.
    """
    if name not in keys.SUBDIRS:
        raise D2lEnvError(
            tr("there is no platform `{name}`", name=name),
            fix=tr("take one of these: {names}", names=", ".join(platforms.ROWS)),
        )
    return name


def pins_without_wheels(release: releases.Release, python: str, platform: str) -> tuple[str, ...]:
    """The pinned distributions of which the index has no wheel for this Python; those not looked up count as
    fine."""
    return tuple(
        name for name, version in release.pins.items() if releases.no_wheel(name, version, python, platform)
    )


def python_for(release: releases.Release, platform: str) -> str:
    """Return the Python, as uv names it, for which all pins of a release have wheels: the book's if it can
    be."""
    # The first releases pin a numpy that is older than the book's own Python.
    candidates = (release.torch[2], "3.8")
    for place in (platform, *(("osx-64",) if platform == "osx-arm64" else ())):
        for python in candidates:
            if not pins_without_wheels(release, python, place):
                # No Python of Apple silicon has some of them; an Intel one, which macOS translates, does.
                return python if place == platform else f"cpython-{python}-macos-x86_64-none"
    return release.torch[2]


def _way_out(release: releases.Release, d2l: str, platform: str) -> tuple[Command, ...]:
    torch, vision, _ = release.torch
    python = python_for(release, platform)
    specs = [f"torch=={torch}", f"torchvision=={vision}", f"d2l=={d2l}"]
    if release.edition == "zh" and "matplotlib-inline" not in release.pins:
        specs.append("matplotlib-inline<0.2")
    return (
        Command(("uv", "venv", "--python", python, "d2l-" + release.edition)),
        Command(("uv", "pip", "install", "--python", "d2l-" + release.edition, *specs)),
    )


def _asked(plan: Plan) -> tuple[str, releases.Release] | None:
    version = plan.taken("d2l", releases.RELEASES)
    release = releases.release(version)
    return (version, release) if release else None


def plan_pins(plan: Plan) -> Iterator[Problem]:
    """d2l asks for exact versions, and the index has no wheels of them for this Python. pip then takes the
    sources and tries to compile them: it fails after minutes with `Failed building wheel for numpy` or
    `metadata-generation-failed`. Take the Python that the book was written with."""
    asked = _asked(plan)
    if asked is None or not plan.python:
        return
    version, release = asked
    lacking = pins_without_wheels(release, plan.python, plan.platform)
    if lacking:
        yield Problem(
            "error",
            tr("d2l {version} cannot be installed with Python {python}", version=version, python=plan.python),
            "python",
            tuple(
                Found(
                    tr(
                        "{spec} has wheels for Python {pythons}",
                        spec=f"{name}=={release.pins[name]}",
                        pythons=pythons or "-",
                    ),
                )
                for name in lacking
                for pythons in (releases.WHEELS[f"{name}=={release.pins[name]}"].get(plan.platform, ""),)
            ),
            _way_out(release, version, plan.platform),
        )


def plan_python(plan: Plan) -> Iterator[Problem]:
    """PyTorch is published for a few Python versions at a time. For another one pip says
    `No matching distribution found for torch`."""
    torch = plan.pinned("torch")
    release = matrix.release(torch)
    if release is None or not plan.python:
        return
    first, last = release.pythons
    if not matrix.made_for(torch, plan.python):
        yield Problem(
            "error",
            tr("torch {torch} is made for Python {first} to {last}", torch=torch, first=first, last=last),
            "torch",
            (Found("Python", plan.python),),
            (Command(("uv", "venv", "--python", last, "d2l")),),
        )


def plan_platform(plan: Plan) -> Iterator[Problem]:
    """PyTorch's wheels are made for some systems and processors: Intel Macs got the last ones with 2.2.2. pip
    says `No matching distribution found for torch`."""
    torch = plan.pinned("torch")
    if matrix.release(torch) is not None and not matrix.made_on(torch, plan.platform):
        yield Problem(
            "error",
            tr("torch {torch} has no wheel for {platform}", torch=torch, platform=plan.platform),
            "torch",
            (Found("torch", torch),),
            tuple(_last_on(plan)),
        )


def _last_on(plan: Plan) -> Iterator[Command]:
    """Yield the newest torch that this platform and Python have; another Python where it has none at all."""
    there = sorted((t for t in matrix.RELEASES if matrix.made_on(t, plan.platform)), key=Version)
    fitting = [torch for torch in there if not plan.python or matrix.made_for(torch, plan.python)]
    if not fitting:
        yield Command(("uv", "venv", "--python", matrix.RELEASES[there[-1]].pythons[1], "d2l"))
    yield Command(text=f"torch=={(fitting or there)[-1]}")


def plan_gpu(plan: Plan) -> Iterator[Problem]:
    """PyTorch holds machine code for certain GPU generations, and each environment of this project has
    another PyTorch. On a GPU without code the first operation fails with `no kernel image is available for
    execution on the device`."""
    meant = gpus.named(plan.gpu) if plan.gpu else None
    if meant is None:
        return
    family, capabilities = meant
    using = [one for one in plan.fits if one.uses(family, capabilities) != "no"]
    if family.maker in ("AMD", "Intel"):
        title = tr(
            "no environment here uses a GPU of {maker}: they compute on the CPU there", maker=family.maker
        )
        yield Problem("warning", title, "gpu")
    elif using:
        title = tr("{gpu}: {names}", gpu=family.title, names=joined(one.name for one in using))
        yield Problem("info", title, "gpu", tuple(_fit_row(one) for one in using))
    else:
        yield Problem("error", tr("{gpu}: no environment here has code for it", gpu=family.title), "gpu")


def _fit_row(one: Fit) -> Found:
    driver = matrix.minimum_driver(one.cuda, False) if one.cuda else ""
    build = f"torch {one.torch}, CUDA {one.cuda}" if one.cuda else f"torch {one.torch}"
    return Found(one.name, f"{build}, {tr('driver')} ≥ {driver}" if driver else build)


def plan_name(plan: Plan) -> Iterator[Problem]:
    """conda calls it `pytorch`. On the Python package index that name belongs to an empty placeholder: pip
    and uv want `torch`."""
    if "pytorch" in plan.specs:
        yield Problem(
            "warning",
            tr("`pytorch` is conda's name; pip and uv want `torch`"),
            "torch",
            (),
            (Command(text=f"torch{plan.specs['pytorch']}"),),
        )


def plan_pair(plan: Plan) -> Iterator[Problem]:
    """Each torchvision and each torchaudio is made for one torch. pip refuses the pair with
    `ResolutionImpossible`, or, one after the other, replaces the torch that was there."""
    release = matrix.release(plan.pinned("torch"))
    for name, fitting in (("torchvision", release.vision), ("torchaudio", release.audio)) if release else ():
        have = plan.pinned(name)
        if have and fitting and have not in fitting:
            yield Problem(
                "error",
                tr(
                    "{name} {have} does not go with torch {torch}",
                    name=name,
                    have=have,
                    torch=plan.pinned("torch"),
                ),
                name,
                (Found(tr("made for it"), joined(fitting)),),
                (Command(text=f"{name}=={fitting[0]}"),),
            )


def plan_conflict(plan: Plan) -> Iterator[Problem]:
    """d2l accepts one exact version of each of these packages. Asking for another one beside it ends with
    `ResolutionImpossible`; installing it afterwards breaks d2l."""
    asked = _asked(plan)
    if asked is None:
        return
    version, release = asked
    for name, pin in release.pins.items():
        spec = plan.specs.get(name)
        if spec is not None and not spec.contains(pin):
            yield Problem(
                "error",
                tr(
                    "d2l {version} wants {name} {wanted}, not {spec}",
                    version=version,
                    name=name,
                    wanted=pin,
                    spec=spec,
                ),
                name,
                (),
                (Command(text=f"{name}=={pin}"),),
            )


def plan_numpy(plan: Plan) -> Iterator[Problem]:
    """torch before 2.3 was compiled for numpy 1 and does not keep pip from installing numpy 2, with which
    `tensor.numpy()` fails. d2l's own pin would keep it away; without d2l say `numpy<2`."""
    torch, asked = parsed(plan.pinned("torch")), _asked(plan)
    if torch is None or torch >= Version("2.3") or (asked and "numpy" in asked[1].pins):
        return
    taken = newest(plan.specs.get("numpy", SpecifierSet()), "")
    if taken and Version(taken) >= Version("2"):
        yield Problem(
            "error" if "numpy" in plan.specs else "warning",
            tr("torch {torch} needs numpy 1", torch=torch),
            "numpy",
            (),
            (Command(text='"numpy<2"'),),
        )


def plan_inline(plan: Plan) -> Iterator[Problem]:
    """d2l 0.17 pins matplotlib 3.5.1 or older and leaves matplotlib-inline open. pip takes the newest one,
    which does not work with that matplotlib: `'RcParams' object has no attribute '_get'` at the import."""
    asked = _asked(plan)
    if asked is None or asked[1].edition != "zh" or not asked[1].pins:
        return
    if plan.specs.get("matplotlib-inline", SpecifierSet()).contains("0.2.0"):
        yield Problem(
            "warning",
            tr("d2l {version} needs matplotlib-inline below 0.2", version=asked[0]),
            "matplotlib-inline",
            (),
            (Command(text='"matplotlib-inline<0.2"'),),
        )


def plan_unknown(plan: Plan) -> Iterator[Problem]:
    """The doctor knows the releases of torch from 1.12.0 and of d2l from 0.17.0, on four platforms. What was
    asked for otherwise was not judged."""
    if plan.gpu and not plan.specs and not plan.python:
        return  # only the GPU was asked about
    unknown = [
        name
        for name, known in (("d2l", releases.RELEASES), ("torch", matrix.RELEASES))
        if name in plan.specs and plan.taken(name, known if name == "d2l" else ()) not in known
    ]
    if not plan.python:
        unknown.append("python")
    if not matrix.looked_up(plan.platform):
        unknown.append("platform")
    if unknown:
        yield Problem(
            "not-checked",
            tr("no exact, known version of {names} was given", names=joined(unknown)),
            unknown[0],
        )
