"""Get the wheels of a bundle with pip: uv does not download for another platform, pip does.

pip takes the index, mirror, proxy and certificates of its own configuration, and of uv's variables where pip
has none. Every wheel is compared with the sha256 of its pin before it gets its place.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.tags import mac_platforms

from d2lenv.base import process
from d2lenv.base.errors import D2lEnvError
from d2lenv.base.messages import tr
from d2lenv.facts import platforms
from d2lenv.prefix import scan
from d2lenv.prefix.scan import Entry
from d2lenv.workspace.pins import Pin

_TIMEOUT_S = 4 * 3600.0
# A run that is stopped loses at most so many wheels, and each start of pip takes half a second.
_AT_ONCE = 12
_LAST_LINES = 15
# The newest glibc that a wheel may ask for is that of the locks; PEP 600 and its ancestors.
_MANYLINUX = (
    *(f"manylinux_2_{minor}" for minor in range(28, 4, -1)),
    "manylinux2014",
    "manylinux2010",
    "manylinux1",
)
_MACOS = (13, 0)
# From uv's variables to pip's, where pip has none of its own.
_UV = {
    "PIP_INDEX_URL": ("UV_DEFAULT_INDEX", "UV_INDEX_URL"),
    "PIP_EXTRA_INDEX_URL": ("UV_EXTRA_INDEX_URL",),
    "PIP_FIND_LINKS": ("UV_FIND_LINKS",),
    "PIP_NO_INDEX": ("UV_NO_INDEX",),
    "PIP_CERT": ("SSL_CERT_FILE",),
}
# Everything else that starts with PIP_ could say what to download, and where to.
_KEPT = re.compile(
    r"PIP_(INDEX_URL|EXTRA_INDEX_URL|FIND_LINKS|NO_INDEX|TRUSTED_HOST|CERT|CLIENT_CERT|PROXY|CACHE_DIR"
    r"|NO_CACHE_DIR|CONFIG_FILE|RETRIES|TIMEOUT|DEFAULT_TIMEOUT|KEYRING_PROVIDER)"
)


@dataclass(frozen=True)
class Target:
    """For which machine wheels are wanted: a platform, and a Python as ``3.10``."""

    platform: str
    python: str


def tags(platform: str) -> list[str]:
    """Return the platform tags of wheels, best first, as pip's ``--platform`` takes them."""
    row = platforms.row(platform)
    if row.system is platforms.LINUX:
        return [f"{tag}_{row.machine}" for tag in _MANYLINUX] + [f"linux_{row.machine}"]
    if row.system is platforms.MACOS:
        return [*mac_platforms(_MACOS, row.machine)]
    return [f"win_{row.machine.lower()}"]


def present(folder: Path) -> dict[str, Path]:
    """Return sha256 → path of the wheels in ``folder``."""
    files = [path for path in folder.glob("*.whl") if path.is_file() and not path.is_symlink()]
    digests, _unreadable = scan.digests(
        folder, [Entry(path.name, "file", 0, path.stat().st_size) for path in files]
    )
    return {digest: folder / name for name, digest in digests.items()}


def collect(
    pins: Sequence[Pin], target: Target, folder: Path, there: dict[str, Path], say: Callable[[str], None]
) -> dict[str, Path]:
    """Bring the wheel of every pin into ``folder``, and return sha256 → path of each.

    Args:
        there: sha256 → path of the wheels that are in it; those that come are added.

    Raises:
        D2lEnvError: if pip cannot get one, or it is not what its pin says.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = [pin for pin in pins if there.keys().isdisjoint(pin.sha256)]
    for number, batch in enumerate(_batches(missing)):
        done = number * _AT_ONCE
        say(tr("downloading wheels: {done} of {total}", total=len(missing), done=done))
        _download(batch, target, folder, there)
    return {digest: there[digest] for pin in pins for digest in pin.sha256 if digest in there}


def _batches(pins: Sequence[Pin]) -> Iterator[Sequence[Pin]]:
    for start in range(0, len(pins), _AT_ONCE):
        yield pins[start : start + _AT_ONCE]


def _download(pins: Sequence[Pin], target: Target, folder: Path, there: dict[str, Path]) -> None:
    with tempfile.TemporaryDirectory(prefix=".downloading-", dir=folder) as name:
        scratch = Path(name)
        asked = scratch / "requirements.txt"
        asked.write_text("".join(_line(pin) for pin in pins), encoding="utf-8")
        words = [
            *("--requirement", str(asked), "--dest", str(scratch), "--require-hashes", "--no-deps"),
            *("--only-binary", ":all:", "--implementation", "cp", "--python-version", target.python),
            *(word for tag in tags(target.platform) for word in ("--platform", tag)),
        ]
        _pip(words, scratch)
        wanted = {digest for pin in pins for digest in pin.sha256}
        for digest, path in present(scratch).items():
            if digest in wanted:  # pip has compared it, this is for the name that it gets
                there[digest] = path.replace(folder / path.name)


def _line(pin: Pin) -> str:
    return (
        " ".join([f"{pin.name}=={pin.version}", *(f"--hash=sha256:{digest}" for digest in pin.sha256)]) + "\n"
    )


def _pip(words: Sequence[str], folder: Path) -> None:
    command = process.python_module(
        sys.executable, "pip", "download", "--disable-pip-version-check", "--no-input", *words
    )
    try:
        done = process.run(command, timeout_s=_TIMEOUT_S, cwd=folder, environ=environment(os.environ))
    except OSError as error:
        raise _failed(str(error)) from error
    if done.returncode != 0:
        lines = [line for line in done.stderr.strip().splitlines() if line.strip()]
        raise _failed("\n".join(lines[-_LAST_LINES:]))


def _failed(why: str) -> D2lEnvError:
    return D2lEnvError(
        tr("the wheels of the bundle cannot be downloaded"),
        why=why,
        fix=tr("check the network or name an index that answers in PIP_INDEX_URL; what is there is kept"),
    )


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return ``environ`` for pip: its index and network settings, uv's where it has none."""
    kept = {
        name: value
        for name, value in process.python_environment(environ).items()
        if not name.startswith("PIP_") or _KEPT.fullmatch(name)
    }
    for name, sources in _UV.items():
        found = next((environ[source] for source in sources if environ.get(source)), "")
        if found and not kept.get(name):
            kept[name] = found.replace(",", " ") if name == "PIP_FIND_LINKS" else found
    return kept
