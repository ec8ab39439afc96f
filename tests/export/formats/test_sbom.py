"""The SBOM, validated against the official schema and read back with the CycloneDX library."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.model.bom import Bom
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from d2lenv.export.formats import sbom
from d2lenv.export.plan import of_workspace
from d2lenv.export.request import Request
from d2lenv.export.table import CondaPackage, EnvironmentTable, PlatformTable
from d2lenv.workspace import lockfile
from d2lenv.workspace import manifest as workspace
from d2lenv.workspace import pins as pinned
from export import sample_locks
from export.tables import REPOSITORY, tables_of

ALGORITHMS = {"MD5": "md5", "SHA-256": "sha256"}


@pytest.fixture(scope="session")
def validator() -> JsonStrictValidator:
    return JsonStrictValidator(SchemaVersion.V1_6)


def read_back(content: str) -> dict[str, tuple[str, frozenset[tuple[str, str]]]]:
    """Address → (purl, hashes) of each component, by the library."""
    bom = Bom.from_json(json.loads(content))  # type: ignore[attr-defined]
    found: dict[str, tuple[str, frozenset[tuple[str, str]]]] = {}
    for component in bom.components:
        (reference,) = component.external_references
        hashes = frozenset((ALGORITHMS[item.alg.value], item.content) for item in component.hashes)
        found[str(reference.url)] = (str(component.purl), hashes)
    return found


def hashes_of(md5: bytes | None, sha256: bytes | None) -> frozenset[tuple[str, str]]:
    return frozenset((kind, value.hex()) for kind, value in (("md5", md5), ("sha256", sha256)) if value)


@pytest.fixture(scope="session")
def validated() -> set[str]:
    """What was found valid: the formats of a lock give the same components, and the validator is slow."""
    return set()


def test_the_library_reads_the_same_addresses_and_hashes(
    sample: Path, validator: JsonStrictValidator, validated: set[str]
) -> None:
    lock = lockfile.read(sample)
    for one in tables_of(sample):
        for target in one.targets:
            content = sbom.text(one, target)
            document = json.loads(content)
            parts = json.dumps([document["components"], document["dependencies"][1:]])
            assert parts in validated or validator.validate_str(content) is None
            validated.add(parts)
            wanted = {
                r.url: hashes_of(r.md5, r.sha256) for r in lock.records(one.environment, target.platform)
            }
            for w in lock.wheels(one.environment, target.platform):
                hashes = w.hashes
                wanted[w.location] = hashes_of(getattr(hashes, "md5", None), getattr(hashes, "sha256", None))
            assert {url: hashes for url, (_, hashes) in read_back(content).items()} == wanted


def targets_of(tables: list[EnvironmentTable]) -> list[tuple[EnvironmentTable, PlatformTable]]:
    return [(one, target) for one in tables for target in one.targets]


def test_ours_are_valid(own_tables: list[EnvironmentTable], validator: JsonStrictValidator) -> None:
    """One component for each licence and set of fields, and a part of the graph.

    Those are what the schema can object to; a whole document of ours takes the validator 10 s. (All were
    validated whole when this was written.)
    """
    documents = [json.loads(sbom.text(*pair)) for pair in targets_of(own_tables)]
    kinds: dict[str, dict[str, Any]] = {}
    for document in documents:
        for component in document["components"]:
            kind = json.dumps(
                [component.get("licenses"), sorted(component), len(component.get("hashes", []))]
            )
            kinds.setdefault(kind, component)
    assert len(kinds) > 20
    for document in documents:
        document |= {"components": [], "dependencies": []}
        assert validator.validate_str(json.dumps(document)) is None
    graph = json.loads(sbom.text(*targets_of(own_tables)[0]))["dependencies"][:20]
    document = documents[0] | {"components": list(kinds.values()), "dependencies": graph}
    assert validator.validate_str(json.dumps(document)) is None


def test_ours_are_complete(own_tables: list[EnvironmentTable]) -> None:
    for one, target in targets_of(own_tables):
        content = sbom.text(one, target)
        read = read_back(content)
        assert set(read) == {package.url for package in target.packages}
        refs = {c["externalReferences"][0]["url"]: c["bom-ref"] for c in json.loads(content)["components"]}
        for package in target.packages:
            purl = PackageURL.from_string(refs[package.url])
            assert (purl.type, purl.name, purl.version) == ("conda", package.name, package.version)
            seen = PackageURL.from_string(read[package.url][0])
            kind = ("pypi", package.pypi) if package.pypi else ("conda", package.name)
            assert (seen.type, seen.name, seen.version) == (*kind, package.version)
            assert purl.qualifiers == {
                "build": package.build,
                "channel": package.channel.rsplit("/", 1)[1],
                "subdir": package.subdir,
                "type": package.archive,
            }
            assert purl.to_string() == sbom.conda_purl(package)


def reached(start: str, graph: Mapping[str, set[str]]) -> set[str]:
    found, todo = set(), [start]
    while todo:
        if (one := todo.pop()) not in found:
            found.add(one)
            todo += graph[one]
    return found


def test_every_dependency_of_the_graph_is_a_component(own_tables: list[EnvironmentTable]) -> None:
    for one, target in targets_of(own_tables):
        document = json.loads(sbom.text(one, target))
        refs = {component["bom-ref"] for component in document["components"]}
        root = document["metadata"]["component"]["bom-ref"]
        nodes = {node["ref"]: set(node.get("dependsOn", [])) for node in document["dependencies"]}
        assert set(nodes) == refs | {root}
        assert nodes[root] <= refs
        assert reached(root, nodes) == refs | {root}
        assert all(edges <= refs for edges in nodes.values())
        by_name = {component["name"]: component["bom-ref"] for component in document["components"]}
        if "pytorch" in by_name and "numpy" in by_name:
            assert by_name["python"] in nodes[by_name["numpy"]]


def test_without_a_manifest_the_root_needs_what_nothing_else_does(tmp_path: Path) -> None:
    path = tmp_path / "pixi.lock"
    path.write_text(sample_locks.good()["v6-a-circle-of-dependencies"], encoding="utf-8")
    (one,) = tables_of(path)
    root, *_ = json.loads(sbom.text(one, one.targets[0]))["dependencies"]
    assert [ref.split("@")[0] for ref in root["dependsOn"]] == ["pkg:conda/setuptools"]
    path.write_text(sample_locks.good()["v6-pypi"], encoding="utf-8")
    (one,) = tables_of(path)
    root, *_ = json.loads(sbom.text(one, one.targets[0]))["dependencies"]
    assert {ref.split("@")[0] for ref in root["dependsOn"]} == {
        *("pkg:conda/pip", "pkg:pypi/requests", "pkg:pypi/rouge-score")
    }


# -- pixi-sbom, which knows the lock and the manifest as pixi has them --------------------------------


def pixi_sbom(*words: str | Path) -> str:
    program = Path(sys.executable).with_name("pixi-sbom")
    command = [str(program), "--no-config", "--quiet", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def exported() -> Mapping[str, str]:
    return of_workspace(workspace.load(REPOSITORY), Request(formats=("sbom",))).texts


LEARNERS = [
    *(("cpu", "linux-64"), ("cpu", "osx-64"), ("cpu", "osx-arm64"), ("cpu", "win-64")),
    *(("cuda", "linux-64"), ("cuda", "win-64"), ("cuda12", "linux-64")),
]


@pytest.mark.parametrize(("environment", "platform"), LEARNERS)
def test_pixi_sbom_says_the_same(
    exported: Mapping[str, str], environment: str, platform: str, tmp_path: Path
) -> None:
    ours = json.loads(exported[f"envs/{environment}/sbom-{platform}.cdx.json"])
    output = tmp_path / "theirs.json"
    lock = ["--lockfile", REPOSITORY / "pixi.lock", "-e", environment, "-p", platform, "--output", output]
    pixi_sbom(*lock, "--primary-purl", "pypi")
    # packageurl-python, the reference, encodes the mark of an epoch; pixi-sbom 1.15 does not.
    theirs = json.loads(output.read_text(encoding="utf-8").replace("@1!", "@1%21"))
    mine = {component["bom-ref"]: component for component in ours["components"]}
    other = {component["bom-ref"]: component for component in theirs["components"]}
    assert set(mine) == set(other)
    for ref, component in mine.items():
        their = other[ref]
        for key in ("name", "version", "supplier", "externalReferences"):
            assert component[key] == their[key], ref
        assert sorted(map(str, component.get("hashes", []))) == sorted(map(str, their.get("hashes", [])))
        if their["purl"].startswith("pkg:pypi/"):
            assert component["purl"] == their["purl"].partition("?")[0]
            assert component["evidence"]["identity"] == [{"field": "purl", "concludedValue": ref}]
    root = ours["metadata"]["component"]["bom-ref"]
    graph = {node["ref"]: set(node.get("dependsOn", [])) for node in ours["dependencies"]}
    wanted = {node["ref"]: set(node.get("dependsOn", [])) for node in theirs["dependencies"]}
    direct = graph.pop(root)
    assert 12 <= len(direct) <= 24
    theirs_direct = wanted.pop("root")
    assert direct <= theirs_direct
    # not asked for on osx-arm64; pixi-sbom 1.15 takes one platform's tables for all
    elsewhere = {"pkg:conda/libblas", "pkg:conda/libcblas", "pkg:conda/liblapack"}
    assert {ref.split("@")[0] for ref in theirs_direct - direct} <= elsewhere
    assert graph == wanted


def test_a_scanner_sees_the_python_packages(exported: Mapping[str, str]) -> None:
    """Scanners ask by `purl` alone; the record's own name, or the one that facts/names.py has."""
    for path, content in exported.items():
        purls = {component["purl"] for component in json.loads(content)["components"]}
        seen = {purl for purl in purls if purl.startswith("pkg:pypi/")}
        assert len(seen) >= (95 if "/zh/" in path else 125), path
        assert {purl.split("@")[0] for purl in seen} >= {
            *("pkg:pypi/torch", "pkg:pypi/numpy", "pkg:pypi/pillow", "pkg:pypi/jupyterlab")
        }
        assert "pkg:pypi/cpython" not in {purl.split("@")[0] for purl in purls}


@pytest.mark.parametrize("path", ["envs/cuda/sbom-linux-64.cdx.json", "envs/zh/sbom-linux-64.cdx.json"])
def test_pixi_sbom_finds_nothing_missing_that_we_know(
    exported: Mapping[str, str], path: str, tmp_path: Path
) -> None:
    file = tmp_path / "sbom.cdx.json"
    file.write_text(exported[path], encoding="utf-8")
    report = json.loads(pixi_sbom("--from-sbom", file, "--report", "quality", "--report-format", "json"))
    scores = {element["element"]: element["score"] for element in report["quality"]}
    complete = {"supplier", "name", "version", "unique identifier"}
    if "/zh/" not in path:  # pins do not say what they need
        complete.add("dependency relationships")
    assert {name for name in complete if scores[name] < 100} == set()


def test_the_environment_of_wheels_alone_has_a_document(
    exported: Mapping[str, str], validator: JsonStrictValidator
) -> None:
    content = exported["envs/zh/sbom-linux-64.cdx.json"]
    assert validator.validate_str(content) is None
    document = json.loads(content)
    ours = workspace.load(REPOSITORY)
    pins = {pin.name: pin for pin in pinned.read(ours, "zh", "linux-64")}
    assert {component["name"] for component in document["components"]} == set(pins)
    for component in document["components"]:
        pin = pins[component["name"]]
        assert component["purl"] == f"pkg:pypi/{pin.name}@{pin.version}"
        assert {item["content"] for item in component["hashes"]} == set(pin.sha256)
    (root,) = document["dependencies"]
    assert {ref.split("@")[0] for ref in root["dependsOn"]} >= {"pkg:pypi/d2l", "pkg:pypi/torch"}
    assert len(root["dependsOn"]) == 10


def test_the_same_lock_gives_the_same_document(own_tables: list[EnvironmentTable]) -> None:
    numbers = set()
    for one, target in targets_of(own_tables):
        content = sbom.text(one, target)
        assert content == sbom.text(one, target)
        document = json.loads(content)
        assert "timestamp" not in document["metadata"]
        numbers.add(document["serialNumber"])
    assert len(numbers) == len(targets_of(own_tables))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("MIT", [{"license": {"id": "MIT"}}]),
        ("mit", [{"license": {"id": "MIT"}}]),
        ("Apache-2.0 AND MIT", [{"expression": "Apache-2.0 AND MIT"}]),
        ("Apache-2.0 WITH LLVM-exception", [{"expression": "Apache-2.0 WITH LLVM-exception"}]),
        ("LicenseRef-Public-Domain", [{"expression": "LicenseRef-Public-Domain"}]),
        ("BSD 3-clause", [{"license": {"name": "BSD 3-clause"}}]),
        ("LicenseRef-NVIDIA End User", [{"license": {"name": "LicenseRef-NVIDIA End User"}}]),
        ("GPL-2.0+", [{"expression": "GPL-2.0+"}]),
    ],
)
def test_a_licence_is_an_spdx_id_only_where_it_is_one(text: str, expected: list[object]) -> None:
    assert sbom.licences(text) == expected


def test_every_form_of_licence_is_valid(validator: JsonStrictValidator) -> None:
    texts = ["", "MIT", "GPL-2.0+", "Apache-2.0 AND MIT", "LicenseRef-X", "BSD 3-clause", "(MIT OR Zlib)"]
    packages = tuple(
        CondaPackage(
            f"p{i}", "1", "0", f"https://c.example/x/noarch/p{i}-1-0.conda", "https://c.example/x", "noarch",
            f"p{i}-1-0.conda", "", "", None, licence, (),
        )
        for i, licence in enumerate(texts)
    )  # fmt: skip
    target = PlatformTable("linux-64", "linux-64", packages, (), "0" * 64)
    one = EnvironmentTable("e", "e", "e", (), (target,), "0" * 64, "d2lenv export")
    content = sbom.text(one, target)
    assert validator.validate_str(content) is None
    assert len(read_back(content)) == len(texts)


def test_the_purl_of_another_host_is_encoded() -> None:
    package = CondaPackage(
        "x", "1!2.0+local", "h_0", "https://prefix.dev/chan/noarch/x-1!2.0+local-h_0.tar.bz2",
        "https://prefix.dev/chan", "noarch", "x-1!2.0+local-h_0.tar.bz2", "", "", None, "", (),
    )  # fmt: skip
    purl = PackageURL.from_string(sbom.conda_purl(package))
    assert purl.version == "1!2.0+local"
    assert purl.qualifiers["channel"] == "https://prefix.dev/chan"
    assert purl.qualifiers["type"] == "tar.bz2"
    assert purl.to_string() == sbom.conda_purl(package)
