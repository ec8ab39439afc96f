"""``conda-lock.yml``: all platforms of an environment in conda-lock's format 1.

conda-lock requires an md5 of every conda package, and micromamba an md5 or sha256: one package without
makes the whole file unreadable. Such packages are left out, and the file's head, its metadata and the
command say which and how to add them (:func:`left_out`).

``content_hash`` is conda-lock's digest of ``environment.yml`` beside the file: sha256 over the channels, the
specs and the virtual packages that it assumes. It is computed here as in conda-lock 2 to 4
(``conda_lock/content_hash.py``, read 2026-11-22), and the tests ask conda-lock itself.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from functools import cache

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from d2lenv.base.errors import D2lEnvError
from d2lenv.base.messages import tr
from d2lenv.export.formats.environment_yml import names_channel, selector_problem
from d2lenv.export.formats.text import comment, scalar
from d2lenv.export.table import CondaPackage, EnvironmentTable, PlatformTable, Wheel, channel_name
from d2lenv.facts.platforms import conda_lock

_VIRTUAL_TIMESTAMP = 1577854800000
_MATCH_SPEC_NAME = re.compile(r"(?:[^\s:]*::)?([^\s=<>!~\[]+)(.*)")


def files(table: EnvironmentTable) -> dict[str, str]:
    """Return ``conda-lock.yml``, nothing for an environment without platforms, which no reader takes.

    Raises:
        D2lEnvError: if conda-lock does not know the environment's platforms.
    """
    if not table.targets:
        return {}
    if problem := selector_problem(table):
        raise D2lEnvError(
            tr("environment {name} cannot be a conda-lock file", name=table.environment),
            why=problem,
            fix=tr("choose other formats with --format"),
        )
    return {f"{table.folder}/conda-lock{end}.yml": _text(part, end) for end, part in table.parts()}


def left_out(table: EnvironmentTable) -> tuple[CondaPackage, ...]:
    """Return the packages without md5, each once, by address."""
    found = {p.url: p for target in table.targets for p in target.packages if not p.md5}
    return tuple(found[url] for url in sorted(found))


def left_out_note(table: EnvironmentTable) -> str:
    """Say which packages the file is without, empty for none."""
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
    """Return subdir → sha256 (hex) of the specs of ``environment.yml`` there, as conda-lock computes it."""
    return {target.subdir: _content_hash(table, target) for target in table.targets}


def _text(table: EnvironmentTable, end: str) -> str:
    entries = [entry for target in _targets(table) for entry in _entries(target)]
    packages = ["package:\n", *entries] if entries else ["package: []\n"]
    return comment(*_notes(table, end)) + "".join(["version: 1\n", *_metadata(table, end), *packages])


def _targets(table: EnvironmentTable) -> list[PlatformTable]:
    return sorted(table.targets, key=lambda target: target.subdir)


def _notes(table: EnvironmentTable, end: str) -> list[str]:
    alone = table.targets[0] if end else None
    notes = [
        table.head(alone),
        *(alone.needs_note if alone else ()),
        "",
        f"  conda-lock install --name {table.title} conda-lock{end}.yml",
        f"  micromamba create --name {table.title} --file conda-lock{end}.yml",
    ]
    notes += table.beside_note
    if missing := left_out(table):
        notes += ["", "LEFT OUT, no md5 is known and this format requires it; add after the installation:"]
        notes += [f"  conda install --name {table.title} --no-deps {package.url}" for package in missing]
    if table.has_wheels:
        # Its model knows `pypi` for a manager; conda-lock writes and reads `pip` (0.2.2, 2026-11-24).
        notes += ["", "conda itself, with conda-lockfiles, reads no such file that has PyPI packages."]
    if any(_lacks_pip(target) for target in table.targets):
        notes += [
            "",
            "There is no pip among the packages: conda-lock needs one for the PyPI packages.",
        ]
    return notes


def _lacks_pip(target: PlatformTable) -> bool:
    return bool(target.wheels) and all(package.name != "pip" for package in target.packages)


def _metadata(table: EnvironmentTable, end: str) -> list[str]:
    hashes = content_hashes(table)
    subdirs = [target.subdir for target in _targets(table)]
    lines = ["metadata:\n", "  content_hash:\n"]
    lines += [f'    {subdir}: "{hashes[subdir]}"\n' for subdir in subdirs]
    lines.append("  channels:\n")
    for url in table.channels:
        lines.append(f"  - url: {scalar(channel_name(url))}\n    used_env_vars: []\n")
    lines += ["  platforms:\n", *(f"  - {subdir}\n" for subdir in subdirs)]
    lines += ["  sources:\n", f"  - environment{end}.yml\n", "  custom_metadata:\n"]
    # conda-lockfiles 0.2.2 reads no file whose `custom_metadata` does not say `created_by`.
    digest = table.targets[0].digest if end else table.digest
    lines += ["    created_by: d2lenv\n", f'    pixi-lock-sha256: "{digest}"\n']
    if missing := left_out(table):
        lines.append(f"    left-out: {scalar(' '.join(package.url for package in missing))}\n")
    return lines


def _entries(target: PlatformTable) -> Iterator[str]:
    for package in sorted(target.packages, key=lambda p: p.name):
        if package.md5:
            yield _entry(package, "conda", target.subdir, conda_dependencies(package))
    for wheel in target.wheels:
        yield _entry(wheel, "pip", target.subdir, pip_dependencies(wheel, target))


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
    """Return name → constraint, as conda-lock writes them: ``python >=3.10`` → ``{"python": ">=3.10"}``.

    Packages name a dependency twice (``_openmp_mutex >=4.5``, ``_openmp_mutex * *_llvm``). All of it counts,
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
    """Return the requirements that the environment fulfils, without extras and those of other platforms."""
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


def _conda_specs(table: EnvironmentTable, target: PlatformTable) -> Iterator[dict[str, object]]:
    for package in target.packages:
        # A `pip:` section makes conda-lock ask for pip itself, after and instead of the exact one.
        if package.name != "pip" or not target.wheels:
            channel = channel_name(package.channel) if names_channel(table, package) else None
            yield _spec(package.name, package.version, package.build, channel)
    if target.wheels:
        yield _spec("pip", "*", None, None)


def _spec(name: str, version: str, build: str | None, channel: str | None) -> dict[str, object]:
    return {
        "name": name,
        "manager": "conda",
        "category": "main",
        "extras": [],
        "version": version,
        "build": build,
        "conda_channel": channel,
        "hash": None,
    }


def _pip_specs(wheels: Iterable[Wheel]) -> Iterator[dict[str, object]]:
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
    for name, version, build_string in conda_lock(subdir).virtual:
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
