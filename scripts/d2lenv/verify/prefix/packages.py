"""The installed packages against those of the lock."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping

from d2lenv.base.messages import tr
from d2lenv.facts import d2l as d2l_releases
from d2lenv.prefix import unhashed
from d2lenv.prefix.contents.model import CondaPackage, Distribution, Unreadable
from d2lenv.prefix.contents.text import read_text
from d2lenv.prefix.scan import digests
from d2lenv.verify.prefix.findings import Examination, instead
from d2lenv.verify.prefix.subject import Subject, Wanted

_JSON_LIMIT = 1 << 28


def check(look: Examination, subject: Subject) -> None:
    """Compare names, versions, addresses and hashes, and d2l's modules with the released ones."""
    if subject.kind == "conda":
        _check_conda(look, subject)
    else:
        _check_wheels(look, subject)
    _check_d2l(look)


def _check_conda(look: Examination, subject: Subject) -> None:
    for package in look.prefix.conda:
        path = package.file.relative_to(look.prefix.path).as_posix()
        wanted = subject.packages.get(package.name)
        if wanted is None:
            look.add("package-extra", path, package.version, package.name)
        else:
            _check_record(look, package, path, wanted)
    _count(look, subject.packages, Counter(package.name for package in look.prefix.conda))
    _check_beside(look, subject)


def _check_beside(look: Examination, subject: Subject) -> None:
    """Compare what pip or uv installed with the wheels that belong beside conda's packages."""
    added = [distribution for distribution in look.prefix.distributions if not distribution.conda]
    for distribution in added:
        wanted = subject.beside.get(distribution.key)
        if wanted is not None:
            _check_wheel(look, distribution, wanted, ("pip", "uv"))
        else:
            path = _path(look, distribution)
            look.add("package-extra", path, _installed_by(distribution), distribution.key)
    _count(look, subject.beside, Counter(distribution.key for distribution in added))


def _check_record(look: Examination, package: CondaPackage, path: str, wanted: Wanted) -> None:
    trouble: list[Unreadable] = []
    try:
        found = json.loads(read_text(package.file, _JSON_LIMIT, trouble))
        stated = {key: str(found.get(key) or "") for key in wanted.fields}
    except (ValueError, AttributeError, RecursionError) as error:
        look.add("record-damaged", path, str(error), package.name)
        return
    for key, value in wanted.fields.items():
        if stated[key] != value:
            look.add("package-differs", path, instead(key, value, stated[key]), package.name)
    if not wanted.fields.keys() & {"sha256", "md5"}:
        _check_unhashed(look, package, path)


def _check_unhashed(look: Examination, package: CondaPackage, path: str) -> None:
    """Judge a package of which the lock has no hash by the list of what it may install."""
    if not unhashed.known(package.name, package.version):
        text = tr("{name}: the lock has no hash of it, and what it installs is not known", name=package.name)
        look.not_checked.append(text)
        return
    for why in unhashed.installed_problems(look.prefix.path, package):
        look.add("d2l-not-released", path, why, package.name)


def _check_wheels(look: Examination, subject: Subject) -> None:
    # Whoever installs from the requirements file without d2lenv may take pip as well.
    installers = ("uv",) if subject.ours else ("uv", "pip")
    for distribution in look.prefix.distributions:
        path = _path(look, distribution)
        wanted = subject.packages.get(distribution.key)
        if wanted is None:
            look.add("package-extra", path, _installed_by(distribution), distribution.key)
            continue
        _check_wheel(look, distribution, wanted, installers)
    _count(look, subject.packages, Counter(distribution.key for distribution in look.prefix.distributions))
    for package in look.prefix.conda:
        path = package.file.relative_to(look.prefix.path).as_posix()
        look.add("package-extra", path, package.version, package.name)


def _check_wheel(
    look: Examination, distribution: Distribution, wanted: Wanted, installers: tuple[str, ...]
) -> None:
    differs = []
    if distribution.version != wanted.fields["version"]:
        differs.append(instead("version", wanted.fields["version"], distribution.version))
    if distribution.installer not in installers:
        differs.append(instead("INSTALLER", "/".join(installers), distribution.installer))
    if distribution.origin or (distribution.folder / "direct_url.json").exists():
        differs.append(tr("it was not installed from the index but from {url}", url=distribution.origin))
    for detail in differs:
        look.add("package-differs", _path(look, distribution), detail, distribution.key)


def _count(look: Examination, packages: Mapping[str, Wanted], seen: Mapping[str, int]) -> None:
    for name, wanted in packages.items():
        if not seen.get(name):
            look.add("package-missing", package=name, detail=wanted.fields["version"])
        elif seen[name] > 1:
            look.add("package-extra", package=name, detail=tr("it is there {count} times", count=seen[name]))


def _path(look: Examination, distribution: Distribution) -> str:
    return distribution.folder.relative_to(look.prefix.path).as_posix()


def _installed_by(distribution: Distribution) -> str:
    return tr("{version}, installed by {who}", version=distribution.version, who=distribution.source)


def _check_d2l(look: Examination) -> None:
    installed = look.prefix.find("d2l")
    release = d2l_releases.released(installed.version) if installed else None
    if installed is None or release is None:
        return
    site = installed.site.relative_to(look.prefix.path).as_posix()
    released = {f"{site}/{name}": sha for name, sha in release.files.items()}
    files = [entry for path in released if (entry := look.tree.entries.get(path))]
    found, _unreadable = digests(look.tree.root, files)
    for path, wanted in released.items():
        if found.get(path) != wanted:
            state = tr("changed") if path in found else tr("missing")
            detail = tr("{state}; d2l {version}", state=state, version=installed.version)
            look.add("d2l-not-released", path, detail)
