"""``conda-PLATFORM.lock`` read back by py-rattler, and line by line as CEP 23 has it."""

from __future__ import annotations

import re
from pathlib import Path

from rattler.explicit_environment import ExplicitEnvironmentSpec

from d2lenv.export.formats import explicit
from d2lenv.export.table import EnvironmentTable, PlatformTable
from d2lenv.workspace import lockfile
from export.sample_locks import CONDA_FORGE, Env, pick, text, without
from export.tables import tables_of

# The line of an explicit file, from CEP 23.
CEP_23 = re.compile(
    r"(?:(?P<url_p>.+)(?:[/\\]))?(?P<fn>[^/\\#]+(?:\.tar\.bz2|\.conda))"
    r"(?:#((?P<md5>[0-9a-f]{32})|((sha256:)?(?P<sha256>[0-9a-f]{64}))))?$"
)


def read_back(target: PlatformTable, content: str, tmp_path: Path) -> set[tuple[str, str]]:
    """(address, hash) of each package, by py-rattler's reader; the regular expression agrees with it."""
    path = tmp_path / "explicit.lock"
    path.write_bytes(content.encode())
    spec = ExplicitEnvironmentSpec.from_path(path)
    assert spec.platform is not None
    assert str(spec.platform) == target.subdir
    found: set[tuple[str, str]] = set()
    for entry in spec.packages:
        address, _, digest = entry.url.partition("#")
        match = CEP_23.fullmatch(entry.url)
        assert match, entry.url
        assert digest.removeprefix("sha256:") == (match["sha256"] or match["md5"] or "")
        found.add((address, digest))
    return found


def best_hash(md5: bytes | None, sha256: bytes | None) -> str:
    if sha256:
        return f"sha256:{sha256.hex()}"
    return md5.hex() if md5 else ""


def test_the_list_has_every_record_with_its_best_hash(sample: Path, tmp_path: Path) -> None:
    lock = lockfile.read(sample)
    for one in tables_of(sample):
        for target in one.targets:
            records = lock.records(one.environment, target.platform)
            wanted = {(record.url, best_hash(record.md5, record.sha256)) for record in records}
            assert read_back(target, explicit.text(one, target), tmp_path) == wanted


def test_our_own_lists_read_back_exactly(own_tables: list[EnvironmentTable], tmp_path: Path) -> None:
    for one in own_tables:
        for target in one.targets:
            found = read_back(target, explicit.text(one, target), tmp_path)
            assert len(found) == len(target.packages)
            assert {address for address, _ in found} == {package.url for package in target.packages}


def test_the_order_of_the_file_is_the_order_of_linking(own_tables: list[EnvironmentTable]) -> None:
    for one in own_tables:
        for target in one.targets:
            urls = [line.partition("#")[0] for line in explicit.text(one, target).splitlines()]
            assert [url for url in urls if url.startswith("https://")] == [p.url for p in target.packages]


def test_a_package_without_hash_stands_there_bare_and_is_named_in_the_head(tmp_path: Path) -> None:
    bare = without(pick("linux-64", "d2l")[0], "md5", "sha256")
    weak = without(pick("linux-64", "bzip2")[0], "sha256")
    path = tmp_path / "pixi.lock"
    path.write_text(text(6, {"default": Env((CONDA_FORGE,), {"linux-64": [bare, weak]})}), encoding="utf-8")
    (one,) = tables_of(path)
    lines = explicit.text(one, one.targets[0]).splitlines()
    assert bare["url"] in lines
    assert f"{weak['url']}#{weak['md5']}" in lines
    head = " ".join(line for line in lines if line.startswith("#"))
    assert "not verified: d2l-1.0.3-pyhd8ed1ab_0.conda" in head
    assert "Only an md5 is known of: bzip2" in head
