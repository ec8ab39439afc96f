"""``envs/ENV/requirements-PLATFORM.txt``, the wheels engine's lock: versions and sha256, no addresses.

An environment for several Pythons has one ``requirements.txt`` for all of them and every platform: there a
pin has a marker where it is not for all.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.markers import InvalidMarker, Marker
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from d2lenv.base.errors import USAGE, D2lEnvError
from d2lenv.base.messages import tr
from d2lenv.facts import platforms
from d2lenv.facts.names import pypi_name
from d2lenv.facts.pytorch import host as pytorch_host
from d2lenv.workspace import settings
from d2lenv.workspace.lockfile import Lock
from d2lenv.workspace.manifest import Workspace
from d2lenv.workspace.settings import Settings

_PIN = re.compile(r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)==(?P<version>[A-Za-z0-9.+!_-]+)")
_PINS = "Pins: sha256 "
_HASH = re.compile(r"--hash=sha256:(?P<hex>[0-9a-f]{64})")


@dataclass(frozen=True)
class Pin:
    """One pinned wheel.

    Attributes:
        name: normalised as PEP 503 says.
        version: exact.
        sha256: hex digests, sorted; any file of that version that has one of them will do.
        marker: where it is for, as PEP 508 writes it, empty for everywhere.
    """

    name: str
    version: str
    sha256: tuple[str, ...]
    marker: str = ""

    @property
    def requirement(self) -> str:
        """Return it as PEP 508 writes it, without hashes."""
        return f"{self.name}=={self.version}" + (f" ; {self.marker}" if self.marker else "")


@dataclass(frozen=True)
class Variation:
    """The choice of a machine among an environment's wheels, empty where there is no choice.

    Attributes:
        python: ``3.12``.
        build: of PyTorch, from its own host: ``cpu`` or ``cu128``, empty for the index's.
    """

    python: str = ""
    build: str = ""

    def __str__(self) -> str:
        """Return it as the name of a prefix has it: ``py312-cpu``."""
        python = f"py{self.python.replace('.', '')}" if self.python else ""
        return "-".join(filter(None, [python, self.build]))

    @classmethod
    def of(cls, said: Mapping[str, object]) -> Variation:
        """Return the variation that the marker of a prefix states."""
        return cls(str(said.get("python", "")), str(said.get("build", "")))

    def said(self) -> dict[str, str]:
        """Return it as a marker states it."""
        found = {"python": self.python, "build": self.build}
        return {key: value for key, value in found.items() if value}


def variations(own: Settings, platform: str) -> list[Variation]:
    """Return what there is to choose from on a platform, the best Python first."""
    pythons = own.pythons if own.universal else ("",)
    builds = ("", *([own.host[platform].build] if platform in own.host else []))
    return [Variation(python, build) for python in pythons for build in builds]


@dataclass(frozen=True)
class Difference:
    """A package that both worlds have in different versions.

    Attributes:
        conda_name: its name in pixi.lock.
        conda_version: its version there.
        pypi_name: its name on the package index.
        pypi_version: its pinned version there.
    """

    conda_name: str
    conda_version: str
    pypi_name: str
    pypi_version: str


def path_of(workspace: Workspace, environment: str, platform: str) -> Path:
    """Return the path of the requirements of (environment, platform)."""
    universal = settings.get(workspace, environment).universal
    name = "requirements.txt" if universal else f"requirements-{platform}.txt"
    return workspace.root / "envs" / environment / name


def parse(text: str, where: str) -> list[Pin]:
    """Read a requirements file that holds nothing but pins and their hashes.

    Raises:
        D2lEnvError: if a line is anything else (an option, an address, a pin without hash, a pin twice).
    """
    pins: dict[tuple[str, str], Pin] = {}
    # A backslash at a line's end joins it with the next one, as pip reads it.
    for line in re.sub(r"\\\r?\n", " ", text).splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        pin = _pin(line)
        if pin is None or (pin.name, pin.marker) in pins:
            raise _not_a_pin(where, line)
        pins[pin.name, pin.marker] = pin
    return sorted(pins.values(), key=_order)


def _pin(line: str) -> Pin | None:
    requirement, *words = re.split(r"\s+(?=--)", line.strip())
    text, _, marker = requirement.partition(";")
    pin = _PIN.fullmatch(text.strip())
    hashes = [match["hex"] for match in map(_HASH.fullmatch, words) if match]
    if pin is None or not hashes or len(hashes) != len(words):
        return None
    try:
        Version(pin["version"])
        marker = str(Marker(marker.strip())) if marker.strip() else ""
    except (InvalidVersion, InvalidMarker):
        return None
    return Pin(canonicalize_name(pin["name"]), pin["version"], tuple(sorted(hashes)), marker)


def _order(pin: Pin) -> tuple[str, Version, str]:
    return pin.name, Version(pin.version), pin.marker


def _not_a_pin(where: str, line: str) -> D2lEnvError:
    return D2lEnvError(
        tr("{file} holds a line that is not `name==version` with sha256", file=where),
        why=repr(line.strip()[:120]),
        fix=tr("`git checkout {name}` restores it, `d2lenv lock` makes a new one", name=where),
    )


def read(
    workspace: Workspace, environment: str, platform: str, variation: Variation | None = None
) -> list[Pin]:
    """Return the pins of (environment, platform), sorted by name; without markers, which are answered.

    Args:
        variation: what was chosen; the best unless given.

    Raises:
        D2lEnvError: if there is no such file, it is damaged, or it has two versions for one place.
    """
    pins = read_file(path_of(workspace, environment, platform))
    own = settings.get(workspace, environment)
    python = (variation.python if variation else "") or next(iter(own.pythons), "")
    found = applying(pins, platform, python) if own.universal else pins
    return from_host(found, platform, python, variation.build) if variation and variation.build else found


def from_host(pins: Iterable[Pin], platform: str, python: str, build: str) -> list[Pin]:
    """Return the pins with PyTorch's trio in a build of its own host.

    What only the index's build needs is left out, and what the host is not known to have for this Python.
    """
    files = pytorch_host.files(build, platform, python)
    found = []
    for pin in pins:
        file = files.get((pin.name, pin.version))
        if file is not None:
            found.append(Pin(pin.name, file.version, (file.sha256,)))
        elif pin.name not in pytorch_host.TRIO and not pytorch_host.is_needless(pin.name, build):
            found.append(pin)
    return found


def read_file(path: Path) -> list[Pin]:
    """Return all that a requirements file of ours has, sorted by name.

    Raises:
        D2lEnvError: if there is no such file, or it is damaged.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise D2lEnvError(
            tr("{path} cannot be read", path=path),
            why=getattr(error, "strerror", None) or str(error),
            fix=tr("`git checkout {name}` restores it, `d2lenv lock` makes a new one", name=path.name),
        ) from error
    pins = parse(text, str(path))
    said = re.search(rf"^# {_PINS}([0-9a-f]{{64}})$", text, re.MULTILINE)
    if said is None or said[1] != digest(pins):
        raise D2lEnvError(
            tr("{path} was edited by hand: its pins are not those that its head names", path=path),
            fix=tr("`git checkout {name}` restores it, `d2lenv lock` makes a new one", name=path.name),
        )
    return pins


def applying(pins: Iterable[Pin], platform: str, python: str) -> list[Pin]:
    """Return the pins for Python ``python`` on ``platform``, without their markers.

    Raises:
        D2lEnvError: if a package has two versions, or a patch release of Python makes a difference.
    """
    found: dict[str, Pin] = {}
    for pin in pins:
        # The first and any later patch release.
        answers = {_applies(pin, platform, f"{python}.{patch}") for patch in (0, 99)}
        if len(answers) > 1 or (True in answers and pin.name in found):
            raise D2lEnvError(
                tr("{package} is not decided for Python {version}", package=pin.requirement, version=python),
                fix=tr("`d2lenv lock` makes a new one"),
            )
        if True in answers:
            found[pin.name] = replace(pin, marker="")
    return list(found.values())


def _applies(pin: Pin, platform: str, python: str) -> bool:
    if not pin.marker:
        return True
    row = platforms.row(platform)
    place = {
        "os_name": row.system.os_name,
        "platform_machine": row.machine,
        "platform_system": row.system.name,
        "sys_platform": row.system.sys_platform,
        # Kernels' versions: nothing may hang on this machine's.
        "platform_release": "",
        "platform_version": "",
        "implementation_name": "cpython",
        "implementation_version": python,
        "platform_python_implementation": "CPython",
        "python_full_version": python,
        "python_version": ".".join(python.split(".")[:2]),
    }
    return Marker(pin.marker).evaluate(place)


def text_of(pins: Iterable[Pin], head: Sequence[str]) -> str:
    """Return the file's text: ``head`` as comments, then the pins sorted by name."""
    pins = list(pins)
    lines = [f"# {line}".rstrip() for line in [*head, _PINS + digest(pins)]]
    for pin in sorted(pins, key=_order):
        lines.append(f"{pin.requirement} \\")
        lines.extend(f"    --hash=sha256:{digest} \\" for digest in pin.sha256)
        lines[-1] = lines[-1].removesuffix(" \\")
    return "\n".join(lines) + "\n"


def digest(pins: Iterable[Pin], variation: Variation | None = None) -> str:
    """Return sha256 (hex) over the pins, whatever the file's layout, and what was chosen."""
    lines = [f"{pin.requirement} {' '.join(pin.sha256)}" for pin in pins]
    lines += [f"python {variation.python}"] if variation and variation.python else []
    return hashlib.sha256("\n".join(sorted(lines)).encode("utf-8")).hexdigest()


def python_version(own: Settings, lock: Lock, platform: str) -> str:
    """Return ``3.10``: the environment's own, the best if it has several, else the one in pixi.lock.

    Raises:
        D2lEnvError: if pixi.lock has no Python for it either.
    """
    if own.pythons:
        return own.pythons[0]
    like = locked_platform(lock, own.name, platform)
    records = lock.records(own.name, like) if like in lock.platforms(own.name) else ()
    for record in records:
        if record.name.normalized == "python":
            return ".".join(str(record.version).split(".")[:2])
    raise D2lEnvError(
        tr(
            "no Python is known for the wheels of {name} for {platform}",
            name=own.name,
            platform=platform,
        ),
        fix=tr("give [tool.d2lenv.environments.{name}] a `python`, or no `wheels`", name=own.name),
        status=USAGE,
    )


def locked_platform(lock: Lock, environment: str, platform: str) -> str:
    """Return the platform whose versions in pixi.lock the wheels for ``platform`` follow.

    It is the same one; for one that only wheels serve (Linux on Arm) the first with the same system.
    """
    locked = lock.platforms(environment)
    system = platforms.system_of(platform)
    same = (other for other in locked if platforms.system_of(other) is system)
    return platform if platform in locked else next(same, platform)


def locked_versions(lock: Lock, environment: str, platform: str) -> dict[str, tuple[str, str]]:
    """Return index name → (conda name, version) of what is locked for (environment, platform)."""
    found: dict[str, tuple[str, str]] = {}
    if platform in lock.platforms(environment):
        for record in lock.records(environment, platform):
            name = pypi_name(record)
            if name is not None:
                found[name] = (record.name.normalized, str(record.version))
    return found


def differences(lock: Lock, environment: str, platform: str, pins: Iterable[Pin]) -> list[Difference]:
    """Return the packages that pixi.lock and the pins have in different versions, sorted by name."""
    conda = locked_versions(lock, environment, platform)
    return [
        Difference(conda[pin.name][0], conda[pin.name][1], pin.name, pin.version)
        for pin in pins
        # Without the build: 2.0.1+cpu is 2.0.1.
        if pin.name in conda and Version(conda[pin.name][1]).public != Version(pin.version).public
    ]
