"""What `pixi install --locked` compares (docs/lock.md), done here once more without the tool's own code.

pixi.toml is read with tomllib and pixi.lock with PyYAML; from py-rattler comes only the matching of specs.
The numbers in the names are the rules of the table in docs/lock.md.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from rattler import MatchSpec, NamelessMatchSpec, PackageRecord

try:
    from rattler.package import BuildString
except ImportError:  # py-rattler before 0.28 takes plain text
    BuildString = str

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
MANIFEST: dict[str, Any] = tomllib.loads((ROOT / "pixi.toml").read_text(encoding="utf-8"))
TEXT = (ROOT / "pixi.lock").read_text(encoding="utf-8")
LOCK: dict[str, Any] = yaml.load(TEXT, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
HOST = "https://conda.anaconda.org/"

# pixi 0.77: pixi_manifest/src/platform.rs `subdir_default_virtual_packages`, in the order of its own lock.
ROWS = {
    "linux-64": ["__unix=0=0", "__linux=4.18", "__glibc=2.28", "__archspec=0=x86_64"],
    "osx-64": ["__unix=0=0", "__osx=13.0", "__archspec=0=x86_64"],
    "osx-arm64": ["__unix=0=0", "__osx=13.0", "__archspec=0=m1"],
    "win-64": ["__win=10.0", "__archspec=0=x86_64"],
}
# pixi_core/src/workspace/virtual_packages.rs `get_minimal_virtual_packages`: name → (version, build).
VIRTUAL = {
    "linux-64": {
        "__unix": ("0", "0"),
        "__linux": ("4.18", "0"),
        "__glibc": ("2.28", "0"),
        "__archspec": ("1", "x86_64"),
    },
    "osx-64": {"__unix": ("0", "0"), "__osx": ("13.0", "0"), "__archspec": ("1", "x86_64")},
    "osx-arm64": {"__unix": ("0", "0"), "__osx": ("13.0", "0"), "__archspec": ("1", "m1")},
    "win-64": {"__win": ("10.0", "0"), "__archspec": ("1", "x86_64")},
}
FAMILIES = {"linux": ("linux-64",), "osx": ("osx-64", "osx-arm64"), "win": ("win-64",)}
FAMILIES["unix"] = FAMILIES["linux"] + FAMILIES["osx"]


def promised(platform: str) -> dict[str, tuple[str, str]]:
    """What the solver sees: pixi's defaults, and what a named platform promises."""
    more = {row["name"]: {"__cuda": (row["cuda"], "0")} for row in NAMED}
    return VIRTUAL[SUBDIR[platform]] | more.get(platform, {})


def features(name: str) -> list[dict[str, Any]]:
    """The features of an environment, the default feature last."""
    value = MANIFEST["environments"][name]
    table = {"features": value} if isinstance(value, list) else value
    found = [MANIFEST["feature"][feature] for feature in table["features"]]
    return found if table.get("no-default-feature") else [*found, {"dependencies": MANIFEST["dependencies"]}]


def group(name: str) -> list[str]:
    """The environments that are solved together with ``name``, itself among them."""

    def of(other: str) -> str | None:
        value = MANIFEST["environments"][other]
        return value.get("solve-group") if isinstance(value, dict) else None

    return [name] if of(name) is None else [n for n in MANIFEST["environments"] if of(n) == of(name)]


def channels(name: str) -> list[str]:
    names = [
        channel
        for member in group(name)
        for feature in features(member)
        for channel in feature.get("channels", MANIFEST["workspace"]["channels"])
    ]
    return [f"{HOST}{channel}/" for channel in dict.fromkeys(names)]


# MAN/platform.rs, LF/platform_rename.rs: a named platform has a subdir, a promise, and a number in the lock.
NAMED = [row for row in MANIFEST["workspace"]["platforms"] if isinstance(row, dict)]
LOCKED = {row["name"]: f"p{number}" for number, row in enumerate(NAMED, start=1)}
SUBDIR = {name: name for name in ROWS} | {row["name"]: row["platform"] for row in NAMED}


def platforms(name: str) -> list[str]:
    found = {row if isinstance(row, str) else row["name"] for row in MANIFEST["workspace"]["platforms"]}
    for feature in features(name):
        # Every feature here that has a list names each of its platforms, so no subdir stands for a named one.
        found &= set(feature.get("platforms", found))
    return sorted(found)


def dependencies(name: str, platform: str) -> Iterator[tuple[str, Any]]:
    """(package, spec) of every feature: a target's overrides the feature's own, features add up."""
    for feature in features(name):
        merged = dict(feature.get("dependencies", {}))
        for target, table in feature.get("target", {}).items():
            if target == platform or SUBDIR[platform] in FAMILIES.get(target, (target,)):
                merged |= table.get("dependencies", {})
        yield from merged.items()


PAIRS = [(name, platform) for name in MANIFEST["environments"] for platform in platforms(name)]


def key(url: str) -> tuple[str, str, str, str]:
    """(name, version, build, subdir) of an address."""
    head, _, file = url.rpartition("/")
    stem = file.removesuffix(".conda").removesuffix(".tar.bz2")
    name, version, build = stem.rsplit("-", 2)
    return name.lower(), version, build, head.rsplit("/", 1)[1]


BY_URL: dict[str, dict[str, Any]] = {entry["conda"]: entry for entry in LOCK["packages"]}


def urls(name: str, platform: str) -> list[str]:
    return [
        entry["conda"] for entry in LOCK["environments"][name]["packages"][LOCKED.get(platform, platform)]
    ]


def as_record(url: str) -> PackageRecord:
    name, version, build, subdir = key(url)
    number = BY_URL[url].get("build_number", 0)
    return PackageRecord(name, version, BuildString(build), number, subdir)


def matches(spec: str, record: PackageRecord) -> bool:
    return NamelessMatchSpec(spec).matches(record) if spec else True


def test_01_02_every_environment_of_the_manifest_is_locked_and_no_other() -> None:
    assert set(LOCK["environments"]) == set(MANIFEST["environments"])
    assert "default" in LOCK["environments"]


@pytest.mark.parametrize("name", MANIFEST["environments"])
def test_03_the_channels_are_the_same_list_in_pixis_spelling(name: str) -> None:
    assert [row["url"] for row in LOCK["environments"][name]["channels"]] == channels(name)


@pytest.mark.parametrize("name", MANIFEST["environments"])
def test_04_no_environment_has_another_platform(name: str) -> None:
    locked = [LOCKED.get(platform, platform) for platform in platforms(name)]
    assert sorted(LOCK["environments"][name]["packages"]) == sorted(locked)


def test_05_11_the_platform_rows_are_pixis_own() -> None:
    rows: list[dict[str, Any]] = [{"name": name, "virtual-packages": row} for name, row in ROWS.items()]
    rows += [
        {
            "name": LOCKED[row["name"]],
            "subdir": row["platform"],
            "virtual-packages": [f"__cuda={row['cuda']}", *ROWS[row["platform"]]],
        }
        for row in NAMED
    ]
    assert LOCK["platforms"] == sorted(rows, key=lambda row: str(row["name"]))


@pytest.mark.parametrize("name", MANIFEST["environments"])
def test_06_07_08_10_no_options_and_no_indexes_where_the_manifest_asks_for_pixis_defaults(name: str) -> None:
    assert set(LOCK["environments"][name]) == {"channels", "packages"}
    assert MANIFEST["workspace"].get("channel-priority", "strict") == "strict"
    for table in (MANIFEST, MANIFEST["workspace"], *MANIFEST["feature"].values()):
        assert not {"solve-strategy", "pypi-options", "exclude-newer", "system-requirements"} & set(table)
        assert table is MANIFEST["workspace"] or "channel-priority" not in table


def test_09_nothing_is_excluded_by_date() -> None:
    assert "exclude-newer" not in MANIFEST["workspace"]


def test_12_an_address_is_a_readable_binary_package() -> None:
    for url in BY_URL:
        assert url.startswith(HOST)
        assert url.endswith((".conda", ".tar.bz2"))
        assert all(key(url)), url
        assert key(url)[3] in (*ROWS, "noarch")


@pytest.mark.parametrize(("name", "platform"), PAIRS)
def test_13_one_record_of_each_name(name: str, platform: str) -> None:
    names = [key(url)[0] for url in urls(name, platform)]
    assert len(names) == len(set(names))


def test_14_15_28_no_wheel_and_no_source_package() -> None:
    rows = [
        row for e in LOCK["environments"].values() for rows in e["packages"].values() for row in rows
    ] + LOCK["packages"]
    assert {next(iter(row)) for row in rows} == {"conda"}
    for table in (MANIFEST, *MANIFEST["feature"].values()):
        assert "pypi-dependencies" not in table


def test_16_there_are_no_constraints_that_the_solver_would_have_to_know() -> None:
    assert not any("constraints" in table for table in (MANIFEST, *MANIFEST["feature"].values()))


@pytest.mark.parametrize(("name", "platform"), PAIRS)
def test_18_19_every_spec_is_met_and_by_its_own_channel(name: str, platform: str) -> None:
    locked = {key(url)[0]: url for url in urls(name, platform)}
    count = 0
    for package, value in dependencies(name, platform):
        fields = {"version": value} if isinstance(value, str) else dict(value)
        channel = fields.pop("channel", None)
        url = locked[package]
        brackets = ",".join(f'{field}="{text}"' for field, text in fields.items())
        assert MatchSpec(f"{package}[{brackets}]").matches(as_record(url)), (package, value, url)
        assert channel is None or url.startswith(f"{HOST}{channel}/"), (package, value, url)
        count += 1
    assert count >= 5


@pytest.mark.parametrize(("name", "platform"), PAIRS)
def test_20_21_23_the_closure_is_the_locked_set(name: str, platform: str) -> None:
    locked = {key(url)[0]: url for url in urls(name, platform)}
    virtual = {
        name: PackageRecord(name, version, BuildString(build), 0, SUBDIR[platform])
        for name, (version, build) in promised(platform).items()
    }
    queue = [package for package, _ in dependencies(name, platform)]
    visited: set[str] = set()
    while queue:
        package = queue.pop()
        if package in visited:
            continue
        visited.add(package)
        for depend in BY_URL[locked[package]].get("depends", []):
            wanted, _, rest = depend.partition(" ")
            if wanted in locked:
                assert matches(rest, as_record(locked[wanted])), (package, depend)
                queue.append(wanted)
            else:
                assert wanted in virtual, (package, depend)
                assert matches(rest, virtual[wanted]), (package, depend)
    assert visited == set(locked)


@pytest.mark.parametrize(("name", "platform"), PAIRS)
def test_24_a_solve_group_has_one_address_for_a_name(name: str, platform: str) -> None:
    for other in group(name):
        if platform in platforms(other):
            mine = {key(url)[0]: url for url in urls(name, platform)}
            theirs = {key(url)[0]: url for url in urls(other, platform)}
            assert {n: mine[n] for n in mine.keys() & theirs} == {n: theirs[n] for n in mine.keys() & theirs}


def test_26_the_format_is_the_newest_and_the_manifest_asks_for_a_pixi_that_reads_it() -> None:
    assert LOCK["version"] == 7
    assert TEXT.startswith("version: 7\n")
    assert MANIFEST["workspace"]["requires-pixi"] == ">=0.71"


def test_27_a_record_has_a_hash_or_is_d2ls() -> None:
    bare = [url for url, entry in BY_URL.items() if not ("sha256" in entry or "md5" in entry)]
    assert bare == [f"{HOST}conda-forge/noarch/d2l-1.0.3-pyhd8ed1ab_0.conda"]


def test_29_no_mapping_is_downloaded() -> None:
    assert MANIFEST["workspace"]["conda-pypi-map"] is False


def test_every_record_of_the_lock_is_used_and_listed_once() -> None:
    used = {url for name, platform in PAIRS for url in urls(name, platform)}
    assert used == set(BY_URL)
    assert len(BY_URL) == len(LOCK["packages"])
    assert list(BY_URL) == sorted(BY_URL)
