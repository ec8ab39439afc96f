"""``sbom-PLATFORM.cdx.json``: CycloneDX 1.6, one document for each (environment, platform).

Written as plain JSON and not with cyclonedx-python-lib: the library stamps the time and a random serial
number, and validating needs a dozen more packages than a learner's tool should carry. The tests validate
every document with it, against the official schema.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from urllib.parse import quote

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from d2lenv.export.formats.conda_lock import conda_dependencies, pip_dependencies
from d2lenv.export.table import Bundle, Package, Target, Wheel, channel_name

_SIMPLE_LICENSE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-+")


def files(bundle: Bundle) -> dict[str, str]:
    return {f"{bundle.folder}/sbom-{t.platform}.cdx.json": text(bundle, t) for t in bundle.targets}


def text(bundle: Bundle, target: Target) -> str:
    root = f"{bundle.title}-{target.platform}"
    refs = {package.name: conda_purl(package) for package in target.packages}
    wheel_refs = {wheel.name: pypi_purl(wheel) for wheel in target.wheels}
    everything = sorted([*refs.values(), *wheel_refs.values()])
    graph: list[dict[str, object]] = [{"ref": root, "dependsOn": everything}]
    graph += [
        _edges(refs[package.name], [refs.get(name) for name in conda_dependencies(package)])
        for package in target.packages
    ]
    for wheel in target.wheels:
        names = pip_dependencies(wheel, target)
        graph.append(_edges(wheel_refs[wheel.name], [wheel_refs.get(n) or refs.get(n) for n in names]))
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        # the same lock gives the same number
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, f'{target.digest} {root}')}",
        "version": 1,
        "metadata": {
            "tools": {"components": [{"type": "application", "name": "d2lenv"}]},
            "component": {"type": "application", "bom-ref": root, "name": bundle.title},
            "properties": [
                {"name": "d2lenv:head", "value": bundle.head(target)},
                {"name": "d2lenv:platform", "value": target.platform},
            ],
        },
        "components": sorted(
            [_conda(package) for package in target.packages] + [_pypi(wheel) for wheel in target.wheels],
            key=lambda component: str(component["bom-ref"]),
        ),
        "dependencies": sorted(graph, key=lambda node: str(node["ref"])),
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def conda_purl(package: Package) -> str:
    """``pkg:conda/NAME@VERSION?build=…&channel=…&subdir=…&type=…``, keys in order as the purl spec wants."""
    qualifiers = {
        "build": package.build,
        "channel": channel_name(package.channel),
        "subdir": package.subdir,
        "type": package.archive,
    }
    tail = "&".join(f"{key}={_quoted(value)}" for key, value in qualifiers.items())
    return f"pkg:conda/{_quoted(package.name)}@{_quoted(package.version)}?{tail}"


def pypi_purl(wheel: Wheel) -> str:
    return f"pkg:pypi/{_quoted(wheel.name)}@{_quoted(wheel.version)}"


def licences(text: str) -> list[dict[str, object]]:
    """CycloneDX's ``licenses``: an SPDX id or expression where the text is one, else the text as a name."""
    if not text:
        return []
    try:
        expression = str(canonicalize_license_expression(text))
    except InvalidLicenseExpression:
        return [{"license": {"name": text}}]
    # "+" and LicenseRef- are expressions; a bare SPDX id is an id
    if (
        set(expression) <= _SIMPLE_LICENSE
        and "+" not in expression
        and not expression.startswith("LicenseRef-")
    ):
        return [{"license": {"id": expression}}]
    return [{"expression": expression}]


def _quoted(value: str) -> str:
    # what the reference implementation (packageurl-python) leaves as it is in a qualifier
    return quote(value, safe=":/-._~")


def _edges(ref: str, found: Iterable[str | None]) -> dict[str, object]:
    depends = sorted({other for other in found if other is not None and other != ref})
    return {"ref": ref, "dependsOn": depends} if depends else {"ref": ref}


def _conda(package: Package) -> dict[str, object]:
    component = _component(package, conda_purl(package))
    if package.license:
        component["licenses"] = licences(package.license)
    return component


def _pypi(wheel: Wheel) -> dict[str, object]:
    return _component(wheel, pypi_purl(wheel))


def _component(package: Package | Wheel, purl: str) -> dict[str, object]:
    hashes = [
        {"alg": algorithm, "content": value}
        for algorithm, value in (("MD5", package.md5), ("SHA-256", package.sha256))
        if value
    ]
    component: dict[str, object] = {
        "type": "library",
        "bom-ref": purl,
        "name": package.name,
        "version": package.version,
    }
    if hashes:
        component["hashes"] = hashes
    component["purl"] = purl
    component["externalReferences"] = [{"type": "distribution", "url": package.url}]
    return component
