"""``sbom-PLATFORM.cdx.json``: CycloneDX 1.6, one document for each (environment, platform).

Written as plain JSON and not with cyclonedx-python-lib: the library stamps the time and a random serial
number, and validating needs a dozen more packages than a learner's tool should carry. The tests validate
every document with it, and pixi-sbom judges them.

A package has one line, so that a diff shows what moved. Without indentation the encoder of `json` is the one
in C, which makes the documents in a third of the time (measured 2026-11-24).

A scanner asks for advisories by a component's `purl` alone, and no database knows conda packages. So that is
the project's name on the Python package index where a package has one, and the conda package stands in
`bom-ref` and, as CycloneDX 1.6 has it for further identities, in `evidence.identity`. Trivy reads components
at the top level alone (its `pkg/sbom/cyclonedx/unmarshal.go`, read 2026-11-24), so the other name cannot be a
component within the component.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from urllib.parse import quote, urlsplit

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from d2lenv.export.formats.conda_lock import conda_dependencies, pip_dependencies
from d2lenv.export.table import CondaPackage, EnvironmentTable, PinTable, PlatformTable, Wheel, channel_name
from d2lenv.workspace import pins as pinned
from d2lenv.workspace.pins import Pin, Variation

_SIMPLE_LICENSE = re.compile(r"(?!LicenseRef-)[A-Za-z0-9.-]+")
_NOTHING_TO_QUOTE = re.compile(r"[A-Za-z0-9:/._~-]*")
_encode = json.JSONEncoder(ensure_ascii=False).encode


def files(table: EnvironmentTable) -> dict[str, str]:
    return {f"{table.folder}/sbom-{t.platform}.cdx.json": text(table, t) for t in table.targets}


def text(table: EnvironmentTable, target: PlatformTable) -> str:
    """Return the document of everything that the environment has there."""
    graph = _graph(target)
    asked = table.asked.get(target.platform) if table.asked is not None else None
    names = {package.name: conda_purl(package) for package in target.packages}
    direct = [names[name] for name in sorted(asked) if name in names] if asked is not None else []
    components = [_conda_line(package) for package in target.packages]
    components += [_encode(_wheel(wheel)) for wheel in target.wheels]
    components += [_encode(_pin(pin)) for pin in table.beside]
    return document(
        title=table.title,
        platform=target.platform,
        needs=target.needs,
        head=table.head(target),
        digest=target.digest,
        components=components,
        graph=graph,
        direct=[*(direct or _roots(graph)), *(pypi_purl(pin.name, pin.version) for pin in table.beside)],
    )


def document(
    *,
    title: str,
    platform: str,
    head: str,
    digest: str,
    components: Sequence[str],
    graph: Mapping[str, Collection[str]],
    direct: Iterable[str],
    needs: Iterable[str] = (),
) -> str:
    """Return a CycloneDX document with one line for each component and for each component's dependencies.

    Args:
        digest: of its source; the same digest gives the same serial number.
        components: each as JSON.
        graph: a component's `bom-ref` → those that it needs; one that is left out has unknown dependencies.
        direct: the packages that were asked for.
        needs: what the platform promises of a machine.
    """
    root = f"{title}-{platform}"
    edges = [_edges(root, direct), *(_edges(ref, graph[ref]) for ref in sorted(graph))]
    head_lines = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, f'{digest} {root}')}",
        "version": 1,
        "metadata": {
            "tools": {"components": [{"type": "application", "name": "d2lenv"}]},
            "component": {"type": "application", "bom-ref": root, "name": title},
            "properties": [
                {"name": "d2lenv:head", "value": head},
                {"name": "d2lenv:platform", "value": platform},
                *({"name": "d2lenv:needs", "value": need} for need in needs),
            ],
        },
    }
    top = [f"{_encode(key)}: {_encode(value)}" for key, value in head_lines.items()]
    top += [f'"components": {_array(sorted(components))}', f'"dependencies": {_array(edges)}']
    return "{\n" + ",\n".join(top) + "\n}\n"


@cache
def conda_purl(package: CondaPackage) -> str:
    """Return ``pkg:conda/NAME@VERSION?build=…&channel=…&subdir=…&type=…``, keys in order as purl wants."""
    qualifiers = {
        "build": package.build,
        "channel": channel_name(package.channel),
        "subdir": package.subdir,
        "type": package.archive,
    }
    tail = "&".join(f"{key}={_quoted(value)}" for key, value in qualifiers.items())
    return f"pkg:conda/{_quoted(package.name)}@{_quoted(package.version)}?{tail}"


def pypi_purl(name: str, version: str) -> str:
    return f"pkg:pypi/{_quoted(name)}@{_quoted(version)}"


@cache
def licences(text: str) -> list[dict[str, object]]:
    """Return CycloneDX's ``licenses``: an SPDX id or expression, or else the text as a name."""
    if not text:
        return []
    try:
        expression = str(canonicalize_license_expression(text))
    except InvalidLicenseExpression:
        return [{"license": {"name": text}}]
    # "+" and LicenseRef- are expressions; a bare SPDX id is an id
    if _SIMPLE_LICENSE.fullmatch(expression):
        return [{"license": {"id": expression}}]
    return [{"expression": expression}]


def of_pins(table: PinTable) -> dict[str, str]:
    """Return a document for each platform of an environment that exists as wheels alone.

    A pin's dependencies are not on record, so only packages that were asked for have a place in the graph.
    """
    found: dict[str, str] = {}
    for platform, pins in table.pins.items():
        digest = pinned.digest(pins, Variation(table.python))
        source = (
            f"requirements.txt, Python {table.python}" if table.python else f"requirements-{platform}.txt"
        )
        found[f"{table.folder}/sbom-{platform}.cdx.json"] = document(
            title=table.title,
            platform=platform,
            head=f"Made from {source} (pins: sha256 {digest}), by `{table.command}`. Do not edit.",
            digest=digest,
            components=[_encode(_pin(pin)) for pin in pins],
            graph={},
            direct=[pypi_purl(pin.name, pin.version) for pin in pins if pin.name in table.asked],
        )
    return found


def _quoted(value: str) -> str:
    # what the reference implementation (packageurl-python) leaves as it is in a qualifier
    return value if _NOTHING_TO_QUOTE.fullmatch(value) else quote(value, safe=":/-._~")


def _graph(target: PlatformTable) -> dict[str, set[str]]:
    """Return bom-ref → the bom-refs that it needs and the environment has."""
    refs = {package.name: conda_purl(package) for package in target.packages}
    wheel_refs = {wheel.name: pypi_purl(wheel.name, wheel.version) for wheel in target.wheels}
    graph: dict[str, set[str]] = {}
    for package in target.packages:
        graph[refs[package.name]] = {refs[name] for name in conda_dependencies(package) if name in refs}
    for wheel in target.wheels:
        found = (wheel_refs.get(name) or refs.get(name) for name in pip_dependencies(wheel, target))
        graph[wheel_refs[wheel.name]] = {ref for ref in found if ref}
    return graph


def _roots(graph: dict[str, set[str]]) -> list[str]:
    """Return the refs that nothing else needs, and one of each circle that nothing else reaches."""
    needed = {ref for source, refs in graph.items() for ref in refs if ref != source}
    roots = [ref for ref in sorted(graph) if ref not in needed]
    reached: set[str] = set()
    # What needs others stands after them, so the first of a circle to be met from the end reaches the most.
    for ref in [*roots, *reversed(graph)]:
        if ref in reached:
            continue
        if ref in needed:
            roots.append(ref)
        todo = [ref]
        while todo:
            one = todo.pop()
            if one not in reached:
                reached.add(one)
                todo += graph.get(one, ())
    return roots


def _edges(ref: str, found: Iterable[str]) -> str:
    depends = sorted({other for other in found if other != ref})
    return _encode({"ref": ref, "dependsOn": depends} if depends else {"ref": ref})


@cache
def _conda_line(package: CondaPackage) -> str:
    conda = conda_purl(package)
    component: dict[str, object] = {
        "type": "library",
        "bom-ref": conda,
        "name": package.name,
        "version": package.version,
        "supplier": {"name": channel_name(package.channel), "url": [f"{package.channel}/"]},
        "hashes": _hashes(package),
        "licenses": licences(package.license),
        "purl": pypi_purl(package.pypi, package.version) if package.pypi else conda,
        "externalReferences": [{"type": "distribution", "url": package.url}],
    }
    if package.pypi:
        component["evidence"] = {"identity": [{"field": "purl", "concludedValue": conda}]}
    return _encode({key: value for key, value in component.items() if value})


def _wheel(wheel: Wheel) -> dict[str, object]:
    purl = pypi_purl(wheel.name, wheel.version)
    component: dict[str, object] = {
        "type": "library",
        "bom-ref": purl,
        "name": wheel.name,
        "version": wheel.version,
        "supplier": {"name": urlsplit(wheel.url).netloc},
        "hashes": _hashes(wheel),
        "purl": purl,
        "externalReferences": [{"type": "distribution", "url": wheel.url}],
    }
    return {key: value for key, value in component.items() if value}


def _pin(pin: Pin) -> dict[str, object]:
    purl = pypi_purl(pin.name, pin.version)
    component: dict[str, object] = {
        "type": "library",
        "bom-ref": purl,
        "name": pin.name,
        "version": pin.version,
        "supplier": {"name": "Python CondaPackage Index"},
        "hashes": [{"alg": "SHA-256", "content": value} for value in pin.sha256],
        "purl": purl,
    }
    if len(pin.sha256) > 1:
        note = "of the files of this release, one of which is installed"
        component["properties"] = [{"name": "d2lenv:hashes", "value": note}]
    return component


def _array(lines: Sequence[str]) -> str:
    return "[\n" + ",\n".join(lines) + "\n]" if lines else "[]"


def _hashes(package: CondaPackage | Wheel) -> list[dict[str, object]]:
    found = (("MD5", package.md5), ("SHA-256", package.sha256))
    return [{"alg": algorithm, "content": value} for algorithm, value in found if value]
