"""Facts about the machine, from its files and its libraries. Tests replace :func:`look`."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from d2lenv.prefix.contents import stack
from d2lenv.prefix.contents.model import Unreadable
from d2lenv.prefix.contents.text import read_optional

System = Literal["Linux", "Darwin", "Windows", "other"]

_CONFIG_LIMIT = 1 << 20
_PROXY_NAMES = ("http_proxy", "https_proxy", "all_proxy")


@dataclass(frozen=True)
class Mirror:
    """An address that some tool is told to download from, and the file or variable that tells it."""

    tool: str
    url: str
    where: str


@dataclass(frozen=True)
class Machine:
    """What matters of the operating system.

    Attributes:
        glibc: (2, 36); ``None`` off Linux or when unknown.
        macos: (14, 2); ``None`` elsewhere.
        rosetta: an Intel program is being translated on Apple silicon.
        free_disk: bytes free where the prefix lies; -1 when unknown.
        now: seconds since 1970.
        driver_module: the kernel has an NVIDIA driver loaded (Linux).
        device_files: ``/dev/nvidia*`` is there (Linux), or ``/dev/dxg`` in WSL.
    """

    system: System
    arch: str
    glibc: tuple[int, int] | None = None
    macos: tuple[int, int] | None = None
    rosetta: bool = False
    container: bool = False
    wsl: bool = False
    driver_module: bool = False
    device_files: bool = False
    free_disk: int = -1
    now: float = 0.0
    mirrors: tuple[Mirror, ...] = ()
    proxies: Mapping[str, str] = field(default_factory=dict)
    jupyter: str = ""


def look(prefix: Path, environ: Mapping[str, str], home: Path) -> Machine:
    """Gather the facts, and never raise."""
    system = platform.system()
    release = platform.release().lower()
    return Machine(
        system=system if system in ("Linux", "Darwin", "Windows") else "other",  # type: ignore[arg-type]
        arch=platform.machine(),
        glibc=stack.glibc(),
        macos=_macos() if system == "Darwin" else None,
        rosetta=system == "Darwin" and _translated(),
        container=_container(environ),
        wsl="microsoft" in release,
        driver_module=Path("/proc/driver/nvidia/version").exists(),
        device_files=Path("/dev/nvidiactl").exists() or Path("/dev/dxg").exists(),
        free_disk=free_disk(prefix),
        now=time.time(),
        mirrors=tuple(mirrors(environ, home)),
        proxies=proxies(environ),
        jupyter=shutil.which("jupyter", path=environ.get("PATH")) or "",
    )


def _macos() -> tuple[int, int] | None:
    match = re.match(r"(\d+)\.(\d+)", platform.mac_ver()[0])
    return (int(match.group(1)), int(match.group(2))) if match else None


def _translated() -> bool:
    """Return True if this process runs under Rosetta: sysctl.proc_translated is 1."""
    import ctypes

    value, size = ctypes.c_int(0), ctypes.c_size_t(ctypes.sizeof(ctypes.c_int))
    try:
        call = ctypes.CDLL(None).sysctlbyname
    except (OSError, AttributeError):
        return False
    failed = call(
        b"sysctl.proc_translated", ctypes.byref(value), ctypes.byref(size), None, ctypes.c_size_t(0)
    )
    return not failed and value.value == 1


def _container(environ: Mapping[str, str]) -> bool:
    return "container" in environ or any(
        Path(file).exists() for file in ("/.dockerenv", "/run/.containerenv", "/.singularity.d")
    )


def free_disk(path: Path) -> int:
    """Bytes free at the nearest existing folder at or above ``path``; -1 when unknown."""
    for folder in (path, *path.parents):
        try:
            return shutil.disk_usage(folder).free
        except (OSError, ValueError):
            continue
    return -1


def proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """The proxy variables that are set, names in lower case; the lower-case spelling wins, as in curl."""
    found = {name: environ.get(name.upper(), "") for name in _PROXY_NAMES}
    found.update({name: environ[name] for name in _PROXY_NAMES if environ.get(name)})
    return {name: value for name, value in found.items() if value}


def mirrors(environ: Mapping[str, str], home: Path) -> Iterator[Mirror]:
    """Addresses in the configuration of pip, uv, conda, rattler and pixi; passwords are left out."""
    for variable, tool in (("PIP_INDEX_URL", "pip"), ("UV_INDEX_URL", "uv"), ("UV_DEFAULT_INDEX", "uv")):
        if environ.get(variable):
            yield Mirror(tool, without_password(environ[variable]), variable)
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    appdata = Path(environ.get("APPDATA") or home / "AppData" / "Roaming")
    support = home / "Library" / "Application Support"
    for file in (
        home / ".pip/pip.conf",
        config / "pip/pip.conf",
        appdata / "pip/pip.ini",
        support / "pip/pip.conf",
    ):
        yield from _pip_mirrors(file)
    for file in (home / ".condarc", config / "conda/.condarc", home / ".conda/.condarc"):
        yield from _listed_mirrors("conda", file)
    for file in (
        home / ".pixi/config.toml",
        config / "pixi/config.toml",
        support / "pixi/config.toml",
        appdata / "pixi/config.toml",
        home / ".rattler/config.toml",
        config / "rattler/config.toml",
    ):
        yield from _listed_mirrors("rattler" if "rattler" in file.parts[-2] else "pixi", file)


def _config_text(file: Path) -> str:
    ignored: list[Unreadable] = []  # the reader's own configuration is not the environment's fault
    return read_optional(file, _CONFIG_LIMIT, ignored)


def _pip_mirrors(file: Path) -> Iterator[Mirror]:
    text = _config_text(file)
    if not text:
        return
    import configparser  # 7 ms, for those who have such a file

    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(text)
    except configparser.Error:
        return
    for section in parser.sections():
        for key in ("index-url", "extra-index-url"):
            for url in parser.get(section, key, fallback="").split():
                yield Mirror("pip", without_password(url), str(file))


def _listed_mirrors(tool: str, file: Path) -> Iterator[Mirror]:
    # Every address of the file: YAML and TOML both, without a parser for either. Comments do not count.
    lines = (line.partition("#")[0] for line in _config_text(file).splitlines())
    for url in dict.fromkeys(m for line in lines for m in re.findall(r"https?://[^\s\"',\]]+", line)):
        if "conda.anaconda.org" not in url:
            yield Mirror(tool, without_password(url), str(file))


def without_password(url: str) -> str:
    return re.sub(r"(://)[^/@\s]+@", r"\1***@", url)


def as_json(machine: Machine) -> dict[str, object]:
    """The facts as plain data, for ``--json``."""
    data: dict[str, object] = json.loads(json.dumps(machine.__dict__, default=lambda item: item.__dict__))
    data["proxies"] = {name: without_password(url) for name, url in machine.proxies.items()}
    return data


def home(environ: Mapping[str, str]) -> Path:
    """The reader's home folder; the current one when the system knows none."""
    try:
        return Path(environ.get("HOME") or environ.get("USERPROFILE") or os.path.expanduser("~"))  # noqa: PTH111
    except (OSError, RuntimeError):
        return Path.cwd()
