"""Which environments use which GPU, and which of them fits this machine."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from packaging.requirements import Requirement
from packaging.version import Version

from d2lenv.base.errors import D2lEnvError
from d2lenv.base.messages import tr
from d2lenv.doctor.probe import hardware
from d2lenv.doctor.probe.hardware import Gpu
from d2lenv.facts import platforms
from d2lenv.facts.gpus import Family
from d2lenv.facts.pytorch import releases as matrix
from d2lenv.workspace import lockfile, settings
from d2lenv.workspace.manifest import Workspace

Use = Literal["yes", "no", "in part"]
Capability = tuple[int, int]


@dataclass(frozen=True)
class Fit:
    """What an environment can run on.

    Attributes:
        torch: its PyTorch, of the wheels where it has a choice of its own there.
        cuda: that this PyTorch is built for, as the build of PyTorch's own, empty for CPU.
        edition: the major of its d2l: ``0`` for the Chinese edition, ``1`` for the English one.
        platforms: subdirs on which it can be built at all.
        cuda_on: subdirs on which its PyTorch is a CUDA build.
    """

    name: str
    torch: str
    cuda: str
    edition: str
    platforms: frozenset[str]
    cuda_on: frozenset[str]

    def uses(self, family: Family, capabilities: Iterable[Capability]) -> Use:
        """Return whether it computes on GPUs of these capabilities; without a GPU it always does."""
        if family.maker == "":
            return "yes"
        if family.maker == "Apple":
            return "yes" if "osx-arm64" in self.platforms else "no"
        code = matrix.code_of(self.torch, self.cuda) if family.maker == "NVIDIA" and self.cuda else None
        found = {code is not None and matrix.runs_on(one, code) for one in capabilities}
        return "in part" if len(found) > 1 else "yes" if found == {True} else "no"


def fits(workspace: Workspace) -> tuple[Fit, ...]:
    """Return what each environment of a learner can run on, in pixi.toml's order.

    Raises:
        D2lEnvError: if pixi.toml or pixi.lock cannot be read.
    """
    lock = lockfile.of(workspace)
    return tuple(_fit(workspace, lock, own) for own in settings.load(workspace).values() if own.exported)


def _fit(workspace: Workspace, lock: lockfile.Lock, own: settings.Settings) -> Fit:
    asked = dict(_pinned(own.requirements))
    locked: dict[str, str] = {}
    cuda_on = {"linux-64"} if own.cuda and "linux-64" in own.wheels else set()
    cuda_on |= {subdir for subdir, other in own.host.items() if other.build.startswith("cu")}
    known = workspace.environments.get(own.name)
    targets = known.targets.values() if known else ()
    for target in targets:
        for record in lock.records(own.name, target.name):
            if record.name.normalized == "pytorch":
                locked[target.subdir] = str(record.version)
                cuda_on |= {target.subdir} if "cuda" in str(record.build) else set()
            if record.name.normalized == "d2l":
                asked.setdefault("d2l", str(record.version))
    torch = asked.get("torch") or locked.get("linux-64", "")
    platforms = {target.subdir for target in targets} | set(own.wheels)
    edition = asked.get("d2l", "1").partition(".")[0]
    return Fit(own.name, torch, own.cuda, edition, frozenset(platforms), frozenset(cuda_on))


def _pinned(requirements: Iterable[str]) -> Iterator[tuple[str, str]]:
    for text in requirements:
        wanted = Requirement(text)
        yield from ((wanted.name, one.version) for one in wanted.specifier if one.operator == "==")


@dataclass(frozen=True)
class Advice:
    """The environment that fits a machine, and why.

    Attributes:
        reason: what was seen of the machine, in the reader's language.
    """

    environment: str
    reason: str

    def __str__(self) -> str:
        return tr("{reason}: `{name}` fits this machine", reason=self.reason, name=self.environment)


def recommend(found: Iterable[Fit], gpu: Gpu, platform: str, edition: str = "1") -> Advice:
    """Return the environment of an edition that fits: the book's own before newer ones, a GPU before none.

    Args:
        platform: the machine's subdir.

    Raises:
        D2lEnvError: if no environment can be built there.
    """
    here = [one for one in found if one.edition == edition and platform in one.platforms]
    if not here:
        raise D2lEnvError(tr("no environment can be built on {platform}", platform=platform))
    devices = [device for device in gpu.devices if device.capability is not None]
    seen = ", ".join(f"{d.name} (sm_{d.capability[0]}{d.capability[1]})" for d in devices if d.capability)
    if devices:
        capabilities = [device.capability for device in devices if device.capability]
        for one in here:
            if platform in one.cuda_on and _runs(one, capabilities) and _driver(one, gpu, platform):
                return Advice(one.name, seen)
        seen = tr("{gpu}, driver {driver}: no environment uses it", gpu=seen, driver=gpu.driver or "?")
    if platform == "osx-arm64":
        return Advice(max(here, key=lambda one: Version(one.torch or "0")).name, tr("Apple silicon"))
    plain = next((one for one in here if not one.cuda), here[-1])
    return Advice(plain.name, seen or tr("no NVIDIA GPU was seen"))


def for_this_machine(workspace: Workspace) -> Advice:
    """Return the environment of the English edition that fits this machine.

    Raises:
        D2lEnvError: as :func:`fits` and :func:`recommend`.
    """
    return recommend(fits(workspace), hardware.look(os.environ, workspace.root), platforms.current())


def _runs(one: Fit, capabilities: Iterable[Capability]) -> bool:
    code = matrix.code_of(one.torch, one.cuda)
    return code is not None and any(matrix.runs_on(capability, code) for capability in capabilities)


def _driver(one: Fit, gpu: Gpu, platform: str) -> bool:
    """Return False if the driver is known to be too old for the CUDA of the environment."""
    needed = matrix.minimum_driver(one.cuda, platform.startswith("win"))
    return not (needed and gpu.driver) or Version(gpu.driver) >= Version(needed)


def drivers(one: Fit) -> Mapping[str, str]:
    """Return system → the oldest driver for the environment, empty for a CPU environment."""
    if not one.cuda:
        return {}
    return {"Linux": matrix.minimum_driver(one.cuda, False), "Windows": matrix.minimum_driver(one.cuda, True)}
