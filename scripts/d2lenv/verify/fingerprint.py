"""Digests that two machines can compare: of what is locked, and of what is installed.

docs/fingerprint.md says exactly what is hashed, in what order; tests/verify/test_fingerprint.py computes it a
second time from that page alone, and tests/data/fingerprint.json fixes digests. Change none of them without a
new number in the first line of the text. That is why nothing here follows the tolerances of `verify`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from rattler import RepoDataRecord

from d2lenv.base.errors import D2lEnvError
from d2lenv.base.messages import printable, tr
from d2lenv.prefix import launchers, records
from d2lenv.prefix.contents.model import Unreadable
from d2lenv.prefix.contents.prefix import read_prefix
from d2lenv.prefix.contents.text import read_text
from d2lenv.prefix.records import Records
from d2lenv.prefix.scan import Entry, digests, scan
from d2lenv.verify.prefix.subject import subject
from d2lenv.workspace import beside, lockfile, settings
from d2lenv.workspace import pins as pinned
from d2lenv.workspace.manifest import Workspace
from d2lenv.workspace.pins import Pin, Variation

Kind = Literal["lock", "wheels", "installed"]

HEADS: dict[Kind, str] = {
    "lock": "d2lenv lock 1",
    "wheels": "d2lenv wheels 1",
    "installed": "d2lenv installed 2",
}
"""The first line of each text that is hashed: what it is and the number of its format."""

SEVERAL_PYTHONS = "d2lenv wheels 2"
"""The first line of ``wheels`` for an environment with one file for several Pythons."""

# Written by the installer about itself: other words for the same files.
_NOTES = re.compile(r"conda-meta/.*|(.*/)?[^/]+\.dist-info/(RECORD|INSTALLER|REQUESTED)")
_COMPILED = re.compile(r"(?P<folder>(?:.*/)?)__pycache__/(?P<stem>[^/.]+)[^/]*\.pyc")
# Made by an engine where no package owns it.
_MACHINERY = re.compile(
    r"pyvenv\.cfg|\.gitignore|lib64|d2lenv\.json|\.lock|CACHEDIR\.TAG"
    r"|share/jupyter/kernels/d2l-[^/]+/kernel\.json"
    r"|(bin|Scripts)/((python|activate|deactivate)[^/]*|pydoc\.bat)"
    r"|(lib/python3\.\d+|Lib)/site-packages/_virtualenv\.(py|pth)"
)
_SETTINGS = re.compile(r"(etc/jupyter/labconfig|share/jupyter/lab/settings)/page_config\.json")
_KERNEL = re.compile(r"(?P<folder>share/jupyter/kernels/[^/]+)/(kernel\.json|logo-\w+\.(png|svg))")
_KERNEL_WORDS = ["-m", "ipykernel_launcher", "-f", "{connection_file}"]
_JSON_LIMIT = 1 << 20


@dataclass(frozen=True)
class Fingerprint:
    """One digest and the text that it was made of.

    Attributes:
        kind: ``lock`` (pixi.lock), ``wheels`` (the requirements file), ``installed`` (a prefix).
        digest: sha256 (hex) of the text.
        lines: the text's lines after the first, sorted.
        variation: what was chosen of the wheels.
    """

    environment: str
    platform: str
    kind: Kind
    digest: str
    lines: tuple[str, ...]
    variation: Variation = field(default_factory=Variation)

    @property
    def head(self) -> str:
        """Return the first line of the text."""
        several = self.kind == "wheels" and self.variation.python
        return SEVERAL_PYTHONS if several else HEADS[self.kind]

    def __str__(self) -> str:
        place = filter(None, [self.environment, self.platform, str(self.variation)])
        return f"{' '.join(place)} {self.kind}:{self.digest}"

    def as_json(self) -> dict[str, object]:
        return {
            "environment": self.environment,
            "platform": self.platform,
            "python": self.variation.python,
            "build": self.variation.build,
            "kind": self.kind,
            "digest": self.digest,
            "lines": [self.head, *self.lines],
        }


def of_lock(workspace: Workspace, environment: str, platform: str) -> Fingerprint:
    """Return the fingerprint of pixi.lock for (environment, platform).

    Raises:
        D2lEnvError: if it has not that environment.
    """
    locked = lockfile.of(workspace).records(environment, platform)
    added = beside.pins(settings.get(workspace, environment))
    lines = [*(_record_line(record) for record in locked), *map(_pin_line, added)]
    return _made("lock", environment, platform, lines)


def of_wheels(
    workspace: Workspace, environment: str, platform: str, variation: Variation | None = None
) -> Fingerprint:
    """Return the fingerprint of the requirements file of (environment, platform).

    Args:
        variation: what was chosen of the wheels, empty where there is no choice.

    Raises:
        D2lEnvError: if there is none.
    """
    pins = pinned.read(workspace, environment, platform, variation)
    chosen = variation or Variation()
    lines = [*map(_pin_line, pins), *([f"python {chosen.python}"] if chosen.python else [])]
    return _made("wheels", environment, platform, lines, chosen)


def of_environment(workspace: Workspace, environment: str, platform: str) -> list[Fingerprint]:
    """Return the fingerprint of pixi.lock where it has the environment, else of the wheels for each Python.

    Raises:
        D2lEnvError: if there is no such environment, or neither has it for this platform.
    """
    own = settings.get(workspace, environment)
    if platform in lockfile.of(workspace).platforms(environment):
        return [of_lock(workspace, environment, platform)]
    if platform in own.wheels:
        return [of_wheels(workspace, environment, platform, one) for one in pinned.variations(own, platform)]
    raise D2lEnvError(
        tr("nothing is locked for {name} on {platform}", name=environment, platform=platform),
        fix=tr("choose one of: {names}", names=", ".join(workspace.environments)),
    )


def of_prefix(
    workspace: Workspace,
    place: Path,
    environment: str = "",
    progress: Callable[[int], None] = lambda _bytes: None,
) -> tuple[Fingerprint, Fingerprint]:
    """Return the fingerprints of the lock that a prefix was built from and of its content.

    Args:
        environment: the name, for a prefix that another client made from our exports.

    Raises:
        D2lEnvError: if it is of no environment of the workspace, or a file of it cannot be read.
    """
    content = read_prefix(place)
    asked = subject(workspace, content, environment)
    section = asked.environment, asked.platform
    if asked.kind == "wheels":
        locked = of_wheels(workspace, *section, asked.variation)
    else:
        locked = of_lock(workspace, *section)
    lines = installed_lines(place, records.read(content), progress)
    return locked, _made("installed", *section, lines, asked.variation)


def installed_lines(
    place: Path, listed: Records, progress: Callable[[int], None] = lambda _bytes: None
) -> Iterator[str]:
    """Return a line for each file and link that counts, in no order.

    Raises:
        D2lEnvError: if one of them cannot be read.
    """
    tree = scan(place)
    counted = [entry for entry in tree.entries.values() if _counts(place, entry, listed)]
    found, failed = digests(place, counted, progress)
    for path, why in (failed | dict(tree.unreadable)).items():
        raise D2lEnvError(tr("{path} cannot be read", path=printable(str(place / path))), why=why)
    for entry in counted:
        if entry.kind == "link":
            yield f"link {_quoted(entry.path)} {_quoted(entry.target)}"
        elif entry.kind == "special":
            yield f"special {_quoted(entry.path)}"
        else:
            runs = "x" if entry.mode & 0o100 else "-"
            digest = _digest(place, entry.path, found[entry.path], listed)
            yield f"file {_quoted(entry.path)} {runs} {digest}"


def _counts(place: Path, entry: Entry, listed: Records) -> bool:
    path = entry.path
    if entry.kind == "folder" or _NOTES.fullmatch(path):
        return False
    compiled = _COMPILED.fullmatch(path)
    if compiled and (path in listed.of or f"{compiled['folder']}{compiled['stem']}.py" in listed.of):
        return False
    if path in listed.of or entry.kind == "special":
        return True
    if _MACHINERY.fullmatch(path):
        return False
    kernel = _KERNEL.fullmatch(path)
    if kernel and entry.kind == "file":
        return not _starts_own_python(place, kernel["folder"])
    return not (_SETTINGS.fullmatch(path) and entry.kind == "file" and _only_switches(place / path))


def _only_switches(path: Path) -> bool:
    data = _json(path)
    return isinstance(data, dict) and data.keys() <= {"disabledExtensions", "lockedExtensions"}


def _starts_own_python(place: Path, folder: str) -> bool:
    data = _json(place / folder / "kernel.json")
    argv = data.get("argv") if isinstance(data, dict) and not data.get("env") else None
    if not isinstance(argv, list) or not argv or not isinstance(argv[0], str):
        return False
    words = [word for word in argv[1:] if word != "-Xfrozen_modules=off"]
    python = re.fullmatch(r"(?P<prefix>.*)[/\\](bin|Scripts)[/\\]python[\d.]*(\.exe)?", argv[0])
    # The prefix may have been named through a link.
    return words == _KERNEL_WORDS and python is not None and _same(Path(python["prefix"]), place)


def _same(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _json(path: Path) -> object:
    trouble: list[Unreadable] = []
    try:
        return json.loads(read_text(path, _JSON_LIMIT, trouble))
    except (ValueError, RecursionError):
        return None


def _digest(place: Path, path: str, digest: str, listed: Records) -> str:
    """Return what stands for the content: its digest, or what is the same in every prefix."""
    for line in listed.of.get(path, ()):
        if line.kind == "entry-point":
            trouble: list[Unreadable] = []
            starts = launchers.entry_point(read_text(place / path, _JSON_LIMIT, trouble), place)
            if starts:
                return f"entry-point:{starts}"
        elif line.original and line.sha256 == digest:
            return line.original
    return digest


def _quoted(path: str) -> str:
    return quote(os.fsencode(path), safe="/")


def _record_line(record: RepoDataRecord) -> str:
    if record.sha256:
        return f"{record.url} sha256:{record.sha256.hex()}"
    return f"{record.url} md5:{record.md5.hex()}" if record.md5 else f"{record.url} -"


def _pin_line(pin: Pin) -> str:
    return f"{pin.name}=={pin.version} {','.join(f'sha256:{digest}' for digest in sorted(pin.sha256))}"


def _made(
    kind: Kind, environment: str, platform: str, lines: Iterable[str], variation: Variation | None = None
) -> Fingerprint:
    ordered = tuple(sorted(lines, key=lambda line: line.encode("utf-8")))
    made = Fingerprint(environment, platform, kind, "", ordered, variation or Variation())
    text = "".join(f"{line}\n" for line in (made.head, *ordered))
    return replace(made, digest=hashlib.sha256(text.encode("utf-8")).hexdigest())
