"""``environment.yml`` in its several forms: for one platform, for all together, and for services.

- ``environment-PLATFORM.yml``: every package ``=version=build``, for conda and mamba.
- ``environment.yml``: the same for all platforms together, with conda-lock's ``# [linux64]`` selectors. It is
  the source that ``conda-lock.yml`` beside it names, and for conda-lock only: conda knows neither the
  selectors nor `platforms`.
- ``studio-lab.yml``, ``.binder/environment.yml``: linux-64 for those services.

Each package is written with its channel. conda adds the channels of the reader's configuration to those of
the file, and before 25.9 `defaults` too. A package that names its channel is taken from nowhere else. The
line `nodefaults`, which kept them out of `conda env create`, cannot be written any more: since 26.7 conda
takes it for a channel and fails (`tests/looks/real_conda.py` tries it, 2026-11-24).
"""

from __future__ import annotations

from d2lenv.export.formats.text import bytes_text, comment, scalar
from d2lenv.export.table import CondaPackage, EnvironmentTable, PlatformTable, Wheel, channel_name
from d2lenv.facts.platforms import SERVICES, conda_lock, in_conda_lock

BINDER = ".binder/environment.yml"
"""The place where Binder looks, in the root of a repository."""

STUDIO_LAB_DISK = 15_000_000_000
"""Bytes of a Studio Lab project (https://github.com/aws-sagemaker-jp/awesome-studio-lab-jp/discussions/4)."""

UNPACKED_PER_ARCHIVE = 3.5
"""The factor by which an installed package is larger than its archive, with room to spare.

2.9 for the twelve largest libraries (3.5 GB) of torch 2.0.1 for CUDA 11.7, sampled with zstd -16, 2026-11-22.
"""

_NOT_VERIFIED = (
    "conda solves this file again and does not check hashes. What it installs has these versions and builds,",
    "but only conda-PLATFORM.lock and conda-lock.yml install the same bytes.",
)


def _channels_note(table: EnvironmentTable, file: str) -> tuple[str, ...]:
    """Say what else conda asks, and how an old one is kept from asking `defaults`."""
    first = channel_name(table.channels[0]) if table.channels else "conda-forge"
    named = () if "://" in first else ("No package comes from them: each one here names its channel.",)
    return (
        "",
        "conda also reads the index of your own configuration's channels, and before 25.9 (an old Anaconda)",
        "that of `defaults`.",
        *named,
        "An old conda without a configuration leaves `defaults` out when told so (on Windows with `set`):",
        f"  CONDA_CHANNELS={first} conda env create --file {file}",
    )


def every_package(table: EnvironmentTable) -> dict[str, str]:
    """Return ``environment-PLATFORM.yml`` for each platform, and ``environment.yml`` for all of them."""
    found = {f"{table.folder}/environment-{t.platform}.yml": _exact(table, t) for t in table.targets}
    for end, part in table.parts():
        if not end and part.targets and not selector_problem(part):
            found[f"{table.folder}/environment.yml"] = _all_platforms(table, part)
    return found


def studio_lab(table: EnvironmentTable) -> dict[str, str]:
    """Return ``studio-lab.yml`` where the environment has linux-64."""
    target = table.target(SERVICES)
    if target is None:
        return {}
    archives = sum(package.size or 0 for package in target.packages)
    needed = installed_bytes(target)
    fits = "fits" if needed <= STUDIO_LAB_DISK else "DOES NOT FIT"
    unknown = sum(package.size is None for package in target.packages)
    beside = f" and {unknown} of unknown size" if unknown else ""
    notes = (
        table.head(target),
        "",
        "For Amazon SageMaker Studio Lab: right-click this file, `Build Conda Environment`; then choose the",
        f"kernel `{table.title}`. Without the menu entry: `conda env create -f studio-lab.yml`.",
        f"Disk: archives {bytes_text(archives)}{beside}, with what is unpacked about {bytes_text(needed)};",
        f"that {fits} into a project's {bytes_text(STUDIO_LAB_DISK)}. `conda clean --all` frees some.",
        "Checked: not checked on the service.",
        *table.beside_note,
        "",
        *_NOT_VERIFIED,
        *_channels_note(table, "studio-lab.yml"),
    )
    return {f"{table.folder}/studio-lab.yml": _file(table, notes, _specs(table, target), table.title)}


def binder(table: EnvironmentTable) -> dict[str, str]:
    """Return ``.binder/environment.yml`` for the one environment that Binder gets.

    A copy and not a link: Git for Windows checks links out as text files by default, and the file says
    other things about itself than the one in ``envs/``.
    """
    target = table.target(SERVICES)
    if target is None or not table.binder:
        return {}
    notes = (
        table.head(target),
        "",
        "For Binder (mybinder.org, repo2docker), which looks in this folder. It has no GPU.",
        "Checked: not checked on the service.",
        "",
        *_NOT_VERIFIED,
    )
    # repo2docker looks for `python=` at the start of a line (its `buildpacks/conda/__init__.py`).
    lines = [line.replace("conda-forge::python=", "python=") for line in _specs(table, target)]
    return {BINDER: _file(table, notes, lines, table.title)}


def installed_bytes(target: PlatformTable) -> int:
    """Estimate, from above, the bytes on disk of an installation with its archives kept."""
    archives = sum(package.size or 0 for package in target.packages)
    return int(archives * (1 + UNPACKED_PER_ARCHIVE))


def spec(table: EnvironmentTable, package: CondaPackage) -> str:
    """Return ``channel::name=version=build``."""
    exact = f"{package.name}={package.version}={package.build}"
    return f"{channel_name(package.channel)}::{exact}" if names_channel(table, package) else exact


def names_channel(table: EnvironmentTable, package: CondaPackage) -> bool:
    """Return False for a package of the first channel where that is an address on another host.

    conda before 26.7 takes the address's last part for the name of a channel on the usual host
    (`tests/looks/real_conda.py`, 2026-11-24).
    """
    return table.channels[:1] != (package.channel,) or "://" not in channel_name(package.channel)


def pip_line(wheel: Wheel) -> str:
    """Return the one file that the lock names: ``==`` could fetch another one, or another index's package."""
    return f"{wheel.name} @ {wheel.url}" + (f"#sha256={wheel.sha256}" if wheel.sha256 else "")


def selector_problem(table: EnvironmentTable) -> str:
    """Say why conda-lock cannot describe these platforms together, empty when it can."""
    subdirs = {target.subdir for target in table.targets}
    unknown = sorted(subdir for subdir in subdirs if not in_conda_lock(subdir))
    return f"conda-lock does not know {', '.join(unknown)}" if unknown else ""


def _exact(table: EnvironmentTable, target: PlatformTable) -> str:
    notes = (
        table.head(target),
        "",
        f"For {target.subdir}, with conda or mamba.",
        *target.needs_note[1:],
        *_NOT_VERIFIED,
        *table.beside_note,
        *_channels_note(table, f"environment-{target.platform}.yml"),
    )
    return _file(table, notes, _specs(table, target), table.title)


def _specs(table: EnvironmentTable, target: PlatformTable) -> list[str]:
    lines = [f"- {scalar(spec(table, p))}\n" for p in sorted(target.packages, key=lambda p: p.name)]
    if target.wheels:
        lines.append("- pip:\n")
        lines += [f"  - {scalar(pip_line(wheel))}\n" for wheel in target.wheels]
    return lines


def _all_platforms(whole: EnvironmentTable, table: EnvironmentTable) -> str:
    subdirs = sorted(target.subdir for target in table.targets)
    notes = (
        whole.head(),
        "",
        "For conda-lock: the source that conda-lock.yml beside it names. With conda and mamba take",
        "environment-PLATFORM.yml: they know neither the `# [linux64]` marks nor `platforms`.",
    )
    conda: dict[tuple[str, str], list[str]] = {}
    pip: dict[tuple[str, str], list[str]] = {}
    for target in table.targets:
        for package in target.packages:
            conda.setdefault((package.name, spec(table, package)), []).append(target.subdir)
        for wheel in target.wheels:
            pip.setdefault((wheel.name, pip_line(wheel)), []).append(target.subdir)
    lines = _with_selectors(conda, "", subdirs)
    if pip:
        lines += ["- pip:\n", *_with_selectors(pip, "  ", subdirs)]
    return _file(table, notes, lines, table.title, platforms=subdirs)


def _with_selectors(found: dict[tuple[str, str], list[str]], indent: str, subdirs: list[str]) -> list[str]:
    lines: list[str] = []
    for (_, text), where in sorted(found.items()):
        item = f"{indent}- {scalar(text)}"
        if len(where) == len(subdirs):
            lines.append(f"{item}\n")
        else:
            lines += [f"{item}  # [{conda_lock(subdir).selector}]\n" for subdir in sorted(where)]
    return lines


def _file(
    table: EnvironmentTable,
    notes: tuple[str, ...] | list[str],
    lines: list[str],
    name: str,
    platforms: list[str] | None = None,
) -> str:
    channels = [channel_name(url) for url in table.channels]
    head = f"name: {scalar(name)}\nchannels:\n" + "".join(f"- {scalar(item)}\n" for item in channels)
    if platforms is not None:
        head += "platforms:\n" + "".join(f"- {scalar(item)}\n" for item in platforms)
    dependencies = "dependencies:\n" + "".join(lines) if lines else "dependencies: []\n"
    return comment(*notes) + head + dependencies
