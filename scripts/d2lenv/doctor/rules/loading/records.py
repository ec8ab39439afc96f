"""The files of packages against the lists that their installers left: RECORD."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from d2lenv.base.messages import tr
from d2lenv.doctor import fixes
from d2lenv.doctor.model import CONDA_NAMES, Command, Context, Found, Problem, from_distribution, joined
from d2lenv.doctor.rules import requires, versions
from d2lenv.prefix.contents.model import Distribution
from d2lenv.prefix.contents.text import JSON_LIMIT, read_optional

# Nobody imports these: headers, tests, and what Python makes by itself.
_NEEDLESS = re.compile(r"^\.\.|\b(?:include|tests?|testing/_internal|testdata|__pycache__)/")
# No csv: torch's has 11,000 lines, and a name with a comma or quote is nobody's module.
_ROW = re.compile(
    r'^([^",\n]*\.(?:py|pyd|dll|dylib|so(?:\.[^",\n]*)?)),([^,\n]*),([0-9]{0,15})$', re.MULTILINE
)
_SHOWN = 3


@dataclass
class Damage:
    """What is not as a distribution's RECORD says."""

    missing: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)


def half_replaced(context: Context) -> Iterator[Problem]:
    """Files that the installer listed are gone or have another size. An interrupted installation, a full
    disk, a virus scanner, or a second package with the same files does that; Python then finds half of one
    version and half of another (`cannot import name`, `partially initialized module`, `DLL load failed`).
    Only packages that the notebooks need are looked at."""
    keys = requires.needed_by_notebooks({item.key: item for item in context.prefix.distributions})
    read: dict[Path, str] = {}
    for distribution in context.prefix.distributions:
        if distribution.key not in keys or distribution.editable or distribution.conda:
            continue
        damage = _damage(context, distribution, read)
        if not damage.missing and not damage.changed:
            continue
        broken = bool(damage.missing) or any(not name.endswith(".py") for name in damage.changed)
        files = [
            *((tr("missing"), name) for name in damage.missing),
            *((tr("changed"), n) for n in damage.changed),
        ]
        yield Problem(
            "error" if broken else "warning",
            tr("{name} {version} is not complete: {missing} files missing, {changed} changed",
               name=distribution.name, version=distribution.version,
               missing=len(damage.missing), changed=len(damage.changed)),
            distribution.key,
            (from_distribution(distribution),
             *(Found(what, "", str(distribution.site / name)) for what, name in files[:_SHOWN])),
            (again(context, distribution),),
        )  # fmt: skip


def again(context: Context, distribution: Distribution) -> Command:
    """Put all files of a distribution back, from where it came."""
    if distribution.conda:
        return fixes.reinstall(context, CONDA_NAMES.get(distribution.key, distribution.key))
    build = context.builds.get(distribution.key)
    index = versions.pytorch_index(context, build.cuda) if build else ""
    version = (build.version if index and build else "") or distribution.version
    spec = f"{distribution.name}=={version}" if version else distribution.name
    return fixes.pip_install(context, spec, index=index, options=("--force-reinstall", "--no-deps"))


def _damage(context: Context, distribution: Distribution, read: dict[Path, str]) -> Damage:
    found = Damage()
    site = str(distribution.site)
    for name, _, size in _rows(_record_once(context, distribution, read)):
        try:
            have = os.stat(f"{site}/{name}").st_size  # noqa: PTH116 - a Path for each of 20,000 files takes 0.1 s
        except OSError:
            found.missing.append(name)
            continue
        except ValueError:
            continue
        if size and have != int(size):
            # Nobody empties a module on purpose.
            (found.changed if have else found.missing).append(name)
    if found.changed:
        shared = _claimed_by_others(context, distribution, found.changed, read)
        found.changed = [name for name in found.changed if name not in shared]
    return found


def _claimed_by_others(
    context: Context, owner: Distribution, names: list[str], read: dict[Path, str]
) -> frozenset[str]:
    """Return those of ``names`` that another distribution claims too, as `jupyter` does jupyter_core's
    module.

    Args:
        read: the files RECORD that were read already.
    """
    found = set[str]()
    for other in context.prefix.distributions:
        if other is not owner and other.site == owner.site:
            text = _record_once(context, other, read)
            found |= {name for name in names if text.startswith(f"{name},") or f"\n{name}," in text}
    return frozenset(found)


def _record(context: Context, distribution: Distribution) -> str:
    """Return RECORD; one without it says nothing: conda's packages, old eggs."""
    return read_optional(distribution.folder / "RECORD", JSON_LIMIT, context.trouble)


def _record_once(context: Context, distribution: Distribution, read: dict[Path, str]) -> str:
    if distribution.folder not in read:
        read[distribution.folder] = _record(context, distribution)
    return read[distribution.folder]


def _rows(record: str) -> Iterator[tuple[str, str, str]]:
    """Yield RECORD's rows of what Python and the system load: name, hash, size."""
    for name, digest, size in _ROW.findall(record):
        if not _NEEDLESS.search(name):
            yield name, digest, size


def two_owners(context: Context) -> Iterator[Problem]:
    """Two packages claim the same files with different contents: the one that was installed last has won, and
    removing one takes the other's files away. opencv-python and opencv-python-headless do that, and NVIDIA's
    libraries for two versions of CUDA."""
    owners: dict[str, list[tuple[Distribution, str]]] = defaultdict(list)
    for family in _families(context):
        for distribution in family:
            for name, digest, size in _rows(_record(context, distribution)):
                if digest and size != "0":
                    owners[name].append((distribution, digest))
    pairs: Mapping[tuple[str, ...], list[str]] = defaultdict(list)
    for name, claims in owners.items():
        if len({digest for _, digest in claims}) > 1:
            pairs[tuple(dict.fromkeys(d.key for d, _ in claims))].append(name)
    for keys, names in pairs.items():
        items = [item for key in keys if (item := context.prefix.find(key)) is not None]
        yield Problem(
            "warning",
            tr("{names} own the same files", names=joined(item.name for item in items)),
            items[0].key,
            (
                *(from_distribution(item) for item in items),
                Found(names[0], "", str(items[0].site / names[0])),
            ),
            (fixes.pip_uninstall(context, *keys), again(context, items[-1])),
        )


# Distributions of different names that install into one folder.
_OWNERS = (
    tuple(
        f"opencv-{kind}"
        for kind in ("python", "python-headless", "contrib-python", "contrib-python-headless")
    ),
    ("pillow", "pillow-simd"),
    ("tensorflow", "tensorflow-cpu", "tensorflow-intel", "tensorflow-gpu"),
    ("pytorch-triton", "triton"),
)


def _families(context: Context) -> Iterator[list[Distribution]]:
    find = context.prefix.find
    yield from ([item for name in names if (item := find(name)) is not None] for names in _OWNERS)
    nvidia: dict[str, list[Distribution]] = defaultdict(list)
    for item in context.prefix.distributions:
        if item.key.startswith("nvidia-"):
            nvidia[item.key.rpartition("-cu")[0] or item.key].append(item)
    yield from (items for items in nvidia.values() if len(items) > 1)
