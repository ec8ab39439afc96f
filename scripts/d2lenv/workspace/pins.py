"""``envs/ENV/requirements-PLATFORM.txt``, the wheels engine's lock: versions and sha256, no addresses."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from d2lenv.base.errors import USAGE, D2lEnvError
from d2lenv.base.messages import tr
from d2lenv.facts.names import pypi_name
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
    """

    name: str
    version: str
    sha256: tuple[str, ...]


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
    return workspace.root / "envs" / environment / f"requirements-{platform}.txt"


def parse(text: str, where: str) -> list[Pin]:
    """Read a requirements file that holds nothing but pins and their hashes.

    Raises:
        D2lEnvError: if a line is anything else (an option, an address, a pin without hash, a name twice).
    """
    pins: dict[str, Pin] = {}
    # A backslash at a line's end joins it with the next one, as pip reads it.
    for line in re.sub(r"\\\r?\n", " ", text).splitlines():
        words = line.split("#", 1)[0].split() if line.lstrip().startswith("#") else line.split()
        if not words:
            continue
        pin = _PIN.fullmatch(words[0])
        hashes = [_HASH.fullmatch(word) for word in words[1:]]
        if pin is None or not hashes or not all(hashes):
            raise _not_a_pin(where, line)
        name = canonicalize_name(pin["name"])
        try:
            Version(pin["version"])
        except InvalidVersion as error:
            raise _not_a_pin(where, line) from error
        if name in pins:
            raise _not_a_pin(where, line)
        pins[name] = Pin(name, pin["version"], tuple(sorted(match["hex"] for match in hashes if match)))
    return sorted(pins.values(), key=lambda item: item.name)


def _not_a_pin(where: str, line: str) -> D2lEnvError:
    return D2lEnvError(
        tr("{file} holds a line that is not `name==version` with sha256", file=where),
        why=repr(line.strip()[:120]),
        fix=tr("`git checkout {name}` restores it, `d2lenv lock` makes a new one", name=where),
    )


def read(workspace: Workspace, environment: str, platform: str) -> list[Pin]:
    """Return the pins of (environment, platform), sorted by name.

    Raises:
        D2lEnvError: if there is no such file, or it is damaged.
    """
    path = path_of(workspace, environment, platform)
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


def text_of(pins: Iterable[Pin], head: Sequence[str]) -> str:
    """Return the file's text: ``head`` as comments, then the pins sorted by name."""
    pins = list(pins)
    lines = [f"# {line}".rstrip() for line in [*head, _PINS + digest(pins)]]
    for pin in sorted(pins, key=lambda item: item.name):
        lines.append(f"{pin.name}=={pin.version} \\")
        lines.extend(f"    --hash=sha256:{digest} \\" for digest in pin.sha256)
        lines[-1] = lines[-1].removesuffix(" \\")
    return "\n".join(lines) + "\n"


def digest(pins: Iterable[Pin]) -> str:
    """Return sha256 (hex) over the pins, whatever the file's layout."""
    lines = [f"{pin.name}=={pin.version} {' '.join(pin.sha256)}" for pin in pins]
    return hashlib.sha256("\n".join(sorted(lines)).encode("utf-8")).hexdigest()


def python_version(settings: Settings, lock: Lock, platform: str) -> str:
    """Return ``3.10``: the environment's own, else the one in pixi.lock.

    Raises:
        D2lEnvError: if pixi.lock has no Python for it either.
    """
    if settings.python:
        return settings.python
    records = lock.records(settings.name, platform) if platform in lock.platforms(settings.name) else ()
    for record in records:
        if record.name.normalized == "python":
            return ".".join(str(record.version).split(".")[:2])
    raise D2lEnvError(
        tr(
            "no Python is known for the wheels of {name} for {platform}",
            name=settings.name,
            platform=platform,
        ),
        fix=tr("give [tool.d2lenv.environments.{name}] a `python`, or no `wheels`", name=settings.name),
        status=USAGE,
    )


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
        if pin.name in conda and Version(conda[pin.name][1]) != Version(pin.version)
    ]
