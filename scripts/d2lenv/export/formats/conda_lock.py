"""``conda-lock.yml``: all platforms of an environment in conda-lock's format 1.

conda-lock requires an md5 of every conda package, and micromamba an md5 or sha256: one package without
makes the whole file unreadable. Such packages are left out, and the file's head, its metadata and the
command say which and how to add them (:func:`left_out`).

``content_hash`` is what conda-lock computes for ``environment.yml`` beside the file: sha256 over the
channels, the specs and the virtual packages that it assumes. It is computed here as in conda-lock 2 to 4
(``conda_lock/content_hash.py``, read 2026-11-22); ``tests/export/test_conda_lock.py`` asks conda-lock itself.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from functools import cache

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from d2lenv.base.errors import D2lEnvError
from d2lenv.base.messages import tr
from d2lenv.export.formats.environment_yml import selector_problem
from d2lenv.export.formats.text import comment, scalar
from d2lenv.export.table import CondaPackage, EnvironmentTable, PlatformTable, Wheel, channel_name

# conda-lock's default-virtual-packages.yaml: (name, version, build string).
_UNIX, _ARCHSPEC = ("__unix", "0", ""), ("__archspec", "1", "x86_64")
_LINUX = (_UNIX, ("__linux", "5.10", ""), ("__glibc", "2.28", ""), ("__cuda", "11.4", ""))
_VIRTUAL: dict[str, tuple[tuple[str, str, str], ...]] = {
    "linux-64": (*_LINUX, _ARCHSPEC),
    "linux-aarch64": (*_LINUX, ("__archspec", "1", "aarch64")),
    "linux-ppc64le": (*_LINUX, ("__archspec", "1", "ppc64le")),
    # conda-lock adds the second __osx for the sake of its older versions' hashes
    "osx-64": (_UNIX, _ARCHSPEC, ("__osx", "11.0", ""), ("__osx", "10.15", "")),
    "osx-arm64": (_UNIX, ("__archspec", "1", "arm64"), ("__osx", "11.0", "")),
    "win-64": (("__win", "0", ""), _ARCHSPEC, ("__cuda", "11.4", "")),
}
_VIRTUAL_TIMESTAMP = 1577854800000
_MATCH_SPEC_NAME = re.compile(r"(?:[^\s:]*::)?([^\s=<>!~\[]+)(.*)")


def files(table: EnvironmentTable) -> dict[str, str]:
    """``conda-lock.yml``; none for an environment without packages, whose list of platforms no reader takes.

    Raises:
        D2lEnvError: the environment's platforms are not ones that conda-lock knows.
    """
    if not table.targets:
        return {}
    if problem := selector_problem(table):
        raise D2lEnvError(
            tr("environment {name} cannot be a conda-lock file", name=table.environment),
            why=problem,
            fix=tr("choose other formats with --format"),
        )
    return {f"{table.folder}/conda-lock.yml": _text(table)}


def left_out(table: EnvironmentTable) -> tuple[CondaPackage, ...]:
    """Packages without md5, each once, by address."""
    found = {p.url: p for target in table.targets for p in target.packages if not p.md5}
    return tuple(found[url] for url in sorted(found))


def left_out_note(table: EnvironmentTable) -> str:
    """Say which packages the file is without; empty for none."""
    missing = left_out(table)
    if not missing:
        return ""
    return tr(
        "{name}/conda-lock.yml is without {packages}: its format wants an md5, none is known; its head says "
        "how to add them",
        name=table.environment,
        packages=", ".join(package.file_name for package in missing),
    )


def content_hashes(table: EnvironmentTable) -> dict[str, str]:
    """subdir → sha256 (hex) of what ``environment.yml`` asks for there, as conda-lock computes it."""
    return {target.subdir: _content_hash(table, target) for target in table.targets}


def _text(table: EnvironmentTable) -> str:
    missing = left_out(table)
    notes = [
        table.head(),
        "",
        f"  conda-lock install --name {table.title} conda-lock.yml",
        f"  micromamba create --name {table.title} --file conda-lock.yml",
    ]
    if missing:
        notes += ["", "LEFT OUT, no md5 is known and this format requires it; add after the installation:"]
        notes += [f"  conda install --name {table.title} --no-deps {package.url}" for package in missing]
    pipless = [t for t in table.targets if t.wheels and not any(p.name == "pip" for p in t.packages)]
    if pipless:
        notes += [
            "",
            "There is no pip among the packages: conda-lock needs one to install the PyPI packages.",
        ]
    targets = sorted(table.targets, key=lambda target: target.subdir)
    hashes = content_hashes(table)
    out = ["version: 1\n", "metadata:\n", "  content_hash:\n"]
    out += [f'    {target.subdir}: "{hashes[target.subdir]}"\n' for target in targets]
    out.append("  channels:\n")
    for url in table.channels:
        out.append(f"  - url: {scalar(channel_name(url))}\n    used_env_vars: []\n")
    out.append("  platforms:\n")
    out += [f"  - {target.subdir}\n" for target in targets]
    out.append("  sources:\n  - environment.yml\n")
    # conda-lockfiles 0.2.2 reads no file whose `custom_metadata` does not say `created_by`.
    out.append(f'  custom_metadata:\n    created_by: d2lenv\n    pixi-lock-sha256: "{table.digest}"\n')
    if missing:
        out.append(f"    left-out: {scalar(' '.join(package.url for package in missing))}\n")
    entries: list[str] = []
    for target in targets:
        entries += [
            _entry(package, "conda", target.subdir, conda_dependencies(package))
            for package in sorted(target.packages, key=lambda p: p.name)
            if package.md5
        ]
        entries += [_entry(w, "pip", target.subdir, pip_dependencies(w, target)) for w in target.wheels]
    out += ["package:\n", *entries] if entries else ["package: []\n"]
    return comment(*notes) + "".join(out)


def _entry(package: CondaPackage | Wheel, manager: str, subdir: str, depends: dict[str, str]) -> str:
    lines = [
        f"- name: {scalar(package.name)}\n",
        f"  version: {json.dumps(package.version)}\n",
        f"  manager: {manager}\n",
        f"  platform: {subdir}\n",
    ]
    if depends:
        lines.append("  dependencies:\n")
        lines += [f"    {scalar(name)}: {json.dumps(depends[name])}\n" for name in sorted(depends)]
    else:
        lines.append("  dependencies: {}\n")
    lines.append(f"  url: {scalar(package.url)}\n")
    hashes = [(kind, value) for kind, value in (("md5", package.md5), ("sha256", package.sha256)) if value]
    if hashes:
        lines.append("  hash:\n")
        lines += [f'    {kind}: "{value}"\n' for kind, value in hashes]
    else:
        lines.append("  hash: {}\n")
    lines.append("  category: main\n  optional: false\n")
    return "".join(lines)


@cache
def conda_dependencies(package: CondaPackage) -> dict[str, str]:
    """name → constraint, as conda-lock writes them; ``python >=3.10`` → ``{"python": ">=3.10"}``.

    Packages name a dependency twice (``_openmp_mutex >=4.5``, ``_openmp_mutex * *_llvm``); all of it counts,
    so that is ``>=4.5 *_llvm``.
    """
    versions: dict[str, list[str]] = {}
    builds: dict[str, str] = {}
    for item in package.depends:
        match = _MATCH_SPEC_NAME.fullmatch(item)
        if match is None:
            continue
        name, (version, _, build) = match.group(1), match.group(2).strip().partition(" ")
        known = versions.setdefault(name, [])
        if version and version not in known:
            known.append(version)
        if build:
            builds[name] = build.strip()
    found: dict[str, str] = {}
    for name, parts in versions.items():
        bounds = [part for part in parts if part != "*"] or parts[:1]
        found[name] = f"{','.join(bounds) or '*'} {builds[name]}" if name in builds else ",".join(bounds)
    return found


def pip_dependencies(wheel: Wheel, target: PlatformTable) -> dict[str, str]:
    """The requirements that the environment fulfils; extras and other platforms' are not in it."""
    present = {other.name for other in target.wheels} | {package.name for package in target.packages}
    found: dict[str, str] = {}
    for text in wheel.requires:
        requirement = Requirement(text)
        name = canonicalize_name(requirement.name)
        if name in present and name != wheel.name:
            found.setdefault(name, str(requirement.specifier) or "*")
    return found


def _content_hash(table: EnvironmentTable, target: PlatformTable) -> str:
    # The keys and their order of nesting are pydantic's dump of conda-lock's models.
    content = {
        "channels": [
            json.dumps({"url": channel_name(url), "used_env_vars": []}, separators=(",", ":"))
            for url in table.channels
        ],
        "specs": sorted(
            [*_conda_specs(table, target), *_pip_specs(target.wheels)],
            key=lambda item: (str(item["manager"]), str(item["name"])),
        ),
        "virtual_package_hash": {
            "noarch": {"info": {"subdir": "noarch"}, "packages": {}},
            target.subdir: {"info": {"subdir": target.subdir}, "packages": _virtual(target.subdir)},
        },
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode("utf-8")).hexdigest()


def _conda_specs(table: EnvironmentTable, target: PlatformTable) -> Iterable[dict[str, object]]:
    first = table.channels[0] if table.channels else ""
    for package in target.packages:
        named = not ("://" in channel_name(package.channel) and package.channel == first)
        exact = not (package.name == "pip" and target.wheels)
        yield {
            "name": package.name,
            "manager": "conda",
            "category": "main",
            "extras": [],
            # A `pip:` section makes conda-lock ask for pip itself, after and instead of the exact one.
            "version": package.version if exact else "*",
            "build": package.build if exact else None,
            "conda_channel": channel_name(package.channel) if exact and named else None,
            "hash": None,
        }
    if target.wheels and not any(package.name == "pip" for package in target.packages):
        yield {
            "name": "pip",
            "manager": "conda",
            "category": "main",
            "extras": [],
            "version": "*",
            "build": None,
            "conda_channel": None,
            "hash": None,
        }


def _pip_specs(wheels: Iterable[Wheel]) -> Iterable[dict[str, object]]:
    for wheel in wheels:
        yield {
            "name": wheel.name,
            "manager": "pip",
            "category": "main",
            "extras": [],
            "url": wheel.url,
            "hashes": [f"sha256:{wheel.sha256}" if wheel.sha256 else ""],
        }


def _virtual(subdir: str) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = {}
    for name, version, build_string in _VIRTUAL[subdir]:
        # conda-lock repeats a build number in the build string, as its version 2 did by mistake.
        build = f"{build_string}_0" if build_string else "0"
        found[f"{name}-{version}-{build}.tar.bz2"] = {
            "name": name,
            "version": version,
            "build_string": build_string,
            "build_number": 0,
            "noarch": "",
            "depends": [],
            "timestamp": _VIRTUAL_TIMESTAMP,
            "package_type": "virtual_system",
            "build": build,
            "subdir": subdir,
        }
    return found
