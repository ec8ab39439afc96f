"""The machine: system libraries, architecture, disk, mirrors, proxies, clock."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from d2lenv.base.messages import tr
from d2lenv.doctor import fixes
from d2lenv.doctor.model import Command, Context, Found, Problem, from_distribution
from d2lenv.facts import platforms
from d2lenv.prefix.contents.text import read_optional

_PART_2_DISK = 200 * 10**9
# A cuda environment of torch 2.0.1 and its CUDA libraries is about 5 GB, and pip needs the wheels beside it.
_ENVIRONMENT_DISK = 8 * 10**9
_WHEEL_LIMIT = 64 << 10
_DAY = 86400.0
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
# Mirrors that carry conda-forge and pytorch, but not the nvidia channel.
_WITHOUT_NVIDIA = ("mirrors.tuna.tsinghua.edu.cn",)
_NVIDIA_MIRROR = "https://mirrors.sustech.edu.cn/anaconda-extra/cloud/nvidia"


def other_platform(context: Context) -> Iterator[Problem]:
    """This environment was made for another operating system or processor. It cannot run here, and what
    depends on the machine was not checked."""
    prefix, machine = context.prefix, context.machine
    system, row = platforms.system_of(prefix.platform), platforms.ROWS.get(prefix.platform)
    if system is None or machine.system == "other":
        return
    # Intel programs run on Apple silicon; that is the next finding's.
    processor = row is not None and machine.arch and row.machine.lower() != machine.arch.lower()
    if system.name != machine.system or (processor and system is not platforms.MACOS):
        yield Problem(
            "warning",
            tr(
                "made for {platform}, this machine is {system} {arch}",
                platform=prefix.platform,
                system=machine.system,
                arch=machine.arch,
            ),
            "platform",
            (Found(prefix.platform, "", str(prefix.path)),),
        )


def rosetta(context: Context) -> Iterator[Problem]:
    """This Python is an Intel program that macOS translates (Rosetta). It is slow, it does not reach the
    Apple GPU, and PyTorch has published nothing for Intel Macs since 2.2.2. Install a Python and conda
    for arm64."""
    machine = context.machine
    if (
        machine.system == "Darwin"
        and context.prefix.platform == "osx-64"
        and (machine.rosetta or machine.arch == "arm64")
    ):
        yield Problem(
            "warning",
            tr("an Intel Python on Apple silicon"),
            "platform",
            (Found("osx-64", "", str(context.prefix.python or "")),),
            (Command(text=tr("install Miniforge for arm64, or uv, and make the environment anew")),),
        )


def system_too_old(context: Context) -> Iterator[Problem]:
    """The installed torch was built for a newer system library than this machine has: `import torch` stops
    with `version GLIBC_2.28 not found` on Linux, or with a dyld error on macOS. A newer operating system
    or an older torch is the way out."""
    torch = context.prefix.find("torch")
    if torch is None or torch.conda or not torch.folder.name.endswith(".dist-info"):
        return
    wheel = torch.folder / "WHEEL"
    text = read_optional(wheel, _WHEEL_LIMIT, context.trouble)
    have, kind = (
        (context.machine.glibc, "manylinux")
        if context.machine.system == "Linux"
        else (context.machine.macos, "macosx")
    )
    needed = [(int(a), int(b)) for a, b in re.findall(rf"{kind}_(\d{{1,3}})_(\d{{1,3}})_", text)]
    if have is None or not needed or have >= min(needed):
        return
    name = "glibc" if kind == "manylinux" else "macOS"
    yield Problem(
        "error",
        tr(
            "torch needs {name} {needed}, this machine has {have}",
            name=name,
            needed=_dotted(min(needed)),
            have=_dotted(have),
        ),
        "platform",
        (from_distribution(torch), Found(name, _dotted(have)), Found("WHEEL", "", str(wheel))),
    )


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def disk(context: Context) -> Iterator[Problem]:
    """An environment with CUDA takes about 8 GB while it is installed. Part 2 of Deep Learning with PyTorch
    (the CT scans) needs 200 GB: 60 for the download, 120 unpacked, 80 for the cache, of which the
    download can be deleted. Part 1 and d2l need a few GB."""
    free = context.machine.free_disk
    if free < 0 or free >= _PART_2_DISK:
        return
    little = free < _ENVIRONMENT_DISK
    yield Problem(
        "warning" if little else "info",
        tr("{n} GB free: not enough to install an environment", n=f"{free / 10**9:.1f}")
        if little
        else tr("{n} GB free, part 2 of the book needs 200", n=f"{free / 10**9:.0f}"),
        "disk",
        (Found(tr("free"), f"{free / 10**9:.1f} GB", str(context.prefix.path)),),
    )


def mirror_without_nvidia(context: Context) -> Iterator[Problem]:
    """Conda is told to download from a mirror that has conda-forge and pytorch but no nvidia channel.
    Whoever asks for `pytorch-cuda` with `-c nvidia` gets a 404, or a CPU build. SUSTech's mirror carries
    nvidia."""
    own = [m for m in context.machine.mirrors if m.tool in ("conda", "pixi", "rattler")]
    poor = [m for m in own if urlsplit(m.url).hostname in _WITHOUT_NVIDIA]
    if not poor or any(m.url.rstrip("/").endswith("/nvidia") and m not in poor for m in own):
        return
    tool, name = poor[0].tool, "custom_channels.nvidia"
    command = (
        Command(("conda", "config", "--set", name, _NVIDIA_MIRROR.rpartition("/")[0]))
        if tool == "conda"
        else Command(text=f'[mirrors]\n"https://conda.anaconda.org/nvidia" = ["{_NVIDIA_MIRROR}"]')
    )
    yield Problem(
        "warning",
        tr("the mirror {host} has no nvidia channel", host=urlsplit(poor[0].url).hostname),
        "mirror",
        tuple(Found(m.tool, m.url, m.where) for m in poor[:3]),
        (command,),
    )


def proxy(context: Context) -> Iterator[Problem]:
    """A proxy variable is set to something that is no address with a scheme, to `https` where the proxy
    itself speaks http, or to a SOCKS proxy, for which pip and requests need the package PySocks. Downloads
    then fail with `Missing dependencies for SOCKS support`, `ProxyError`, `check_hostname requires
    server_hostname` or `Proxy URL had no scheme`, although the browser works."""
    for name, value in context.machine.proxies.items():
        try:
            parts = urlsplit(value)
            scheme, host = parts.scheme.lower(), parts.hostname
        except ValueError:
            scheme, host = "", None
        socks = scheme.startswith("socks")
        if host and scheme == "https" and host in _LOOPBACK:
            yield Problem(
                "warning",
                tr("{name} says https, a proxy on this computer speaks http", name=name),
                "proxy",
                (Found(name, _hidden(value)),),
                (fixes.export(name, re.sub("(?i)^https", "http", _hidden(value))),),
            )
            continue
        if host and scheme in ("http", "https"):
            continue
        if host and socks and context.prefix.find("pysocks"):
            continue
        yield Problem(
            "warning",
            tr("{name} is a SOCKS proxy", name=name)
            if host and socks
            else tr("{name} is no proxy address", name=name),
            "proxy",
            (Found(name, _hidden(value)),),
            (
                Command(
                    text=tr("set {name} to the address of an HTTP proxy: scheme, host and port", name=name)
                ),
            ),
        )


def _hidden(value: str) -> str:
    return re.sub(r"[^/@\s]+@", "***@", value)


def clock(context: Context) -> Iterator[Problem]:
    """The clock is behind the files of this environment. With a wrong date every download fails with
    `certificate is not yet valid`. Set the clock, or let the system do it."""
    newest = 0.0
    for distribution in context.prefix.distributions[:50]:
        try:
            newest = max(newest, distribution.folder.stat().st_mtime)
        except (OSError, ValueError):
            continue
    if context.machine.now and context.machine.now < newest - _DAY:
        yield Problem(
            "warning",
            tr("the clock is {n} days behind", n=int((newest - context.machine.now) / _DAY)),
            "clock",
        )
