"""``conda-lock.yml`` read back, judged and rendered by conda-lock itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from conda_lock.conda_lock import render_lockfile_for_platform
from conda_lock.content_hash import backwards_compatible_content_hashes, compute_content_hashes
from conda_lock.lockfile import parse_conda_lock_file
from conda_lock.src_parser import make_lock_spec
from conda_lock.virtual_package import default_virtual_package_repodata

from d2lenv.base.errors import D2lEnvError
from d2lenv.export.formats import conda_lock, environment_yml
from d2lenv.export.table import CondaPackage, EnvironmentTable
from d2lenv.workspace import lockfile
from export import sample_locks
from export.sample_locks import CONDA_FORGE, Env, pick, text
from export.tables import REPOSITORY, tables_of


def write(one: EnvironmentTable, folder: Path) -> Path:
    """``conda-lock.yml`` and ``environment.yml`` of a table, as they lie beside each other."""
    for path, content in (environment_yml.every_package(one) | conda_lock.files(one)).items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(content.encode())
    return folder / one.folder / "conda-lock.yml"


@pytest.fixture
def mapping(tmp_path: Path) -> str:
    """conda-lock's PyPI-to-conda names, empty: it would download them."""
    path = tmp_path / "mapping.json"
    path.write_text("{}")
    return str(path)


def accepted(path: Path, mapping: str) -> bool:
    """What ``conda-lock lock --check-input-hash`` asks, with conda-lock's own functions."""
    lock = parse_conda_lock_file(path)
    sources = [path.parent / source for source in lock.metadata.sources]
    spec = make_lock_spec(src_files=sources, mapping_url=mapping)
    virtual = default_virtual_package_repodata()
    assert sorted(spec.platforms) == sorted(lock.metadata.platforms)
    assert spec.channels == lock.metadata.channels
    newest = compute_content_hashes(spec, virtual)
    for platform in spec.platforms:
        value = lock.metadata.content_hash[platform]
        if value not in backwards_compatible_content_hashes(spec, virtual, platform):
            return False
        assert value == newest[platform]
    return True


def test_conda_lock_reads_the_same_packages_and_hashes(sample: Path, tmp_path: Path) -> None:
    lock = lockfile.read(sample)
    for one in tables_of(sample):
        read = parse_conda_lock_file(write(one, tmp_path))
        found = {
            (p.manager, p.platform, p.name, p.version, p.url, p.hash.md5, p.hash.sha256) for p in read.package
        }
        wanted = set()
        for target in one.targets:
            for r in lock.records(one.environment, target.platform):
                if r.md5:
                    sha256 = r.sha256.hex() if r.sha256 else None
                    row = (r.name.normalized, str(r.version), r.url, r.md5.hex(), sha256)
                    wanted.add(("conda", target.subdir, *row))
            for w in lock.wheels(one.environment, target.platform):
                sha256 = getattr(w.hashes, "sha256", None)
                row = (w.name, str(w.version), w.location, None, sha256.hex() if sha256 else None)
                wanted.add(("pip", target.subdir, *row))
        assert found == wanted
        assert all(p.categories == {"main"} for p in read.package)


def test_conda_lock_takes_the_content_hash_for_up_to_date(sample: Path, tmp_path: Path, mapping: str) -> None:
    for one in tables_of(sample):
        assert accepted(write(one, tmp_path), mapping)


@pytest.mark.parametrize("environment", ["cpu", "cuda", "cuda12"])
def test_conda_lock_takes_our_own_content_hashes_for_up_to_date(
    own_tables: list[EnvironmentTable], environment: str, tmp_path: Path, mapping: str
) -> None:
    (one,) = [one for one in own_tables if one.environment == environment]
    assert accepted(write(one, tmp_path), mapping)


def test_a_named_platform_is_a_lock_of_its_own(tmp_path: Path, mapping: str) -> None:
    (one,) = tables_of(sample_locks.write_named(tmp_path))
    plain = write(one, tmp_path)
    named = plain.with_name("conda-lock-linux-cuda.yml")
    assert accepted(plain, mapping)
    names = {
        file.name: sorted((p.platform, p.name) for p in parse_conda_lock_file(file).package)
        for file in (plain, named)
    }
    assert names == {
        "conda-lock.yml": [("linux-64", "bzip2"), ("osx-64", "bzip2")],
        "conda-lock-linux-cuda.yml": [("linux-64", "bzip2"), ("linux-64", "libzlib")],
    }
    assert "# Only for a machine that has __cuda >=12.8.\n" in named.read_text(encoding="utf-8")
    assert parse_conda_lock_file(named).metadata.sources == ["environment-linux-cuda.yml"]
    assert (named.parent / "environment-linux-cuda.yml").is_file()


def test_conda_lock_notices_a_changed_environment_yml(tmp_path: Path, mapping: str) -> None:
    path = tmp_path / "pixi.lock"
    path.write_text(sample_locks.good()["v6-four-platforms"], encoding="utf-8")
    (one,) = tables_of(path)
    written = write(one, tmp_path)
    source = written.with_name("environment.yml")
    source.write_text(
        source.read_text(encoding="utf-8").replace("bzip2=1.0.8", "bzip2=1.0.7"), encoding="utf-8"
    )
    assert not accepted(written, mapping)


def test_conda_lock_renders_every_package_for_conda(
    own_tables: list[EnvironmentTable], tmp_path: Path
) -> None:
    (one,) = [one for one in own_tables if one.environment == "cuda"]
    read = parse_conda_lock_file(write(one, tmp_path))
    for target in one.targets:
        lines = render_lockfile_for_platform(
            lockfile=read.model_copy(deep=True),
            include_dev_dependencies=False,
            extras=None,
            kind="explicit",
            platform=target.subdir,
        )
        assert {line for line in lines if line.startswith("https://")} == {
            f"{package.url}#{package.md5}" for package in target.packages if package.md5
        }


def test_d2l_is_the_only_package_of_ours_that_the_format_cannot_carry(
    own_tables: list[EnvironmentTable],
) -> None:
    # `modern` has d2l beside its conda packages.
    learners = [one for one in own_tables if one.environment not in ("dev", "modern")]
    for one in learners:
        assert [package.file_name for package in conda_lock.left_out(one)] == ["d2l-1.0.3-pyhd8ed1ab_0.conda"]
        content = conda_lock.files(one)[f"{one.folder}/conda-lock.yml"]
        (address,) = [package.url for package in conda_lock.left_out(one)]
        head = content.partition("package:\n")[0]
        assert f"--no-deps {address}" in head
        assert yaml.safe_load(head)["metadata"]["custom_metadata"]["left-out"] == address


def test_the_metadata_has_what_conda_lockfiles_requires(sample: Path) -> None:
    """conda-lockfiles 0.2.2 needs conda itself: `tests/looks/real_conda.py` gives it this file."""
    for one in tables_of(sample):
        document = yaml.safe_load(conda_lock.files(one)[f"{one.folder}/conda-lock.yml"])
        metadata = document["metadata"]["custom_metadata"]
        assert metadata["created_by"] == "d2lenv"
        assert all(isinstance(value, str) for value in metadata.values())


def test_conda_lock_would_refuse_a_package_without_md5(tmp_path: Path) -> None:
    """The reason for leaving it out; when this fails, it can go in."""
    lock = tmp_path / "pixi.lock"
    lock.write_text(sample_locks.good()["v6-one-environment"], encoding="utf-8")
    (one,) = tables_of(lock)
    path = write(one, tmp_path)
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    document["package"][0]["hash"] = {}
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(ValueError, match="must use MD5"):
        parse_conda_lock_file(path)


def test_dependencies_are_written_as_conda_lock_writes_them() -> None:
    package = CondaPackage(
        "x", "1", "0", "", "", "", "", "", "", None, "",
        (
            "python >=3.10",
            "python",
            "python_abi 3.10.* *_cp310",
            "_openmp_mutex * *_llvm",
            "_openmp_mutex >=4.5",
            "nettle >=3.4.1",
            "nettle >=3.6,<3.7.0a0",
            "conda-forge::tzdata",
            "numpy>=1.22",
            "bare",
        ),
    )  # fmt: skip
    assert conda_lock.conda_dependencies(package) == {
        "python": ">=3.10",
        "python_abi": "3.10.* *_cp310",
        "_openmp_mutex": ">=4.5 *_llvm",
        "nettle": ">=3.4.1,>=3.6,<3.7.0a0",
        "tzdata": "",
        "numpy": ">=1.22",
        "bare": "",
    }


def test_pip_dependencies_are_those_that_the_environment_has(tmp_path: Path) -> None:
    path = tmp_path / "pixi.lock"
    path.write_text(sample_locks.good()["v6-pypi"], encoding="utf-8")
    (one,) = tables_of(path)
    (requests,) = [wheel for wheel in one.targets[0].wheels if wheel.name == "requests"]
    assert conda_lock.pip_dependencies(requests, one.targets[0]) == {
        "charset-normalizer": "<4,>=2",
        "cycler": "*",
    }


def test_an_environment_without_pip_says_what_its_wheels_need(tmp_path: Path) -> None:
    path = tmp_path / "pixi.lock"
    path.write_text(sample_locks.good()["v6-wheels-without-pip-or-hash"], encoding="utf-8")
    (one,) = tables_of(path)
    assert "There is no pip among the packages" in conda_lock.files(one)["default/conda-lock.yml"]


def test_a_platform_that_conda_lock_does_not_know_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pixi.lock"
    env = Env((CONDA_FORGE,), {"win-arm64": pick("linux-64", "tzdata")})
    path.write_text(text(6, {"default": env}), encoding="utf-8")
    (one,) = tables_of(path)
    with pytest.raises(D2lEnvError, match="win-arm64"):
        conda_lock.files(one)


# -- pixi-to-conda-lock ------------------------------------------------------------------------------
# It pins a py-rattler that does not read lock format 7, so no dependency group can have both:
#   pip install --no-deps pixi-to-conda-lock
# runs it with ours.


def theirs(path: Path, environment: str, tmp_path: Path) -> dict[tuple[str, str, str], dict[str, object]]:
    convert = pytest.importorskip(
        "pixi_to_conda_lock", reason="not checked: pixi-to-conda-lock is not installed (see above)"
    ).convert
    out = tmp_path / "theirs.yml"
    convert(path, environment, out)
    document = yaml.safe_load(out.read_text(encoding="utf-8"))
    return {(p["manager"], p["platform"], p["name"]): p for p in document["package"]}


def test_pixi_to_conda_lock_cannot_convert_our_lock_and_ours_can(tmp_path: Path) -> None:
    """It takes for granted that each record has an md5; d2l has none."""
    with pytest.raises(AttributeError, match="hex"):
        theirs(REPOSITORY / "pixi.lock", "cuda", tmp_path)


@pytest.mark.parametrize("environment", ["cpu", "cuda", "cuda12"])
def test_pixi_to_conda_lock_gives_the_same_packages_but_for_what_is_explained(
    tmp_path: Path, environment: str
) -> None:
    lock = tmp_path / "pixi.lock"
    lines = (REPOSITORY / "pixi.lock").read_text(encoding="utf-8")
    # d2l with a made-up md5, so that the tool gets past it
    entry = "- conda: https://conda.anaconda.org/conda-forge/noarch/d2l-1.0.3-pyhd8ed1ab_0.conda\n"
    before, after = lines.split(f"\n{entry}  ", 1)
    lock.write_text(f"{before}\n{entry}  md5: {'0' * 32}\n  {after}", encoding="utf-8")
    other = theirs(lock, environment, tmp_path)
    (one,) = [one for one in tables_of(lock) if one.environment == environment]
    document = yaml.safe_load(conda_lock.files(one)[f"{environment}/conda-lock.yml"])
    ours = {(p["manager"], p["platform"], p["name"]): p for p in document["package"]}
    assert set(ours) == set(other)
    explained = {"dependencies"}
    for key, mine in ours.items():
        their = other[key]
        assert {field for field in mine if mine[field] != their[field]} <= explained, key
        # Its expression stops at the first of <>=!~, so "python_abi 3.10.* *_cp310" becomes a package of
        # that name, and of two lines for one package the later counts.
        for name, constraint in their["dependencies"].items():
            real = str(name).split()[0]
            assert real in mine["dependencies"]
            if real == name and constraint != "*":
                assert constraint in mine["dependencies"][real]
