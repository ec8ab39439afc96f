"""What may come out of a lock, and what is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from d2lenv.base.errors import D2lEnvError
from d2lenv.export.read import folder_name
from d2lenv.export.table import EnvironmentTable, channel_name
from d2lenv.workspace import lockfile
from export import sample_locks
from export.sample_locks import CONDA_FORGE, Env, Wheel, pick, text
from export.tables import tables_of


def lock_with(tmp_path: Path, lock_format: int = 6, **changes: Any) -> Path:
    """A lock whose bzip2 record has these fields."""
    record = pick("linux-64", "bzip2")[0] | changes
    path = tmp_path / "pixi.lock"
    path.write_text(
        text(lock_format, {"default": Env((CONDA_FORGE,), {"linux-64": [record]})}), encoding="utf-8"
    )
    return path


def address(file: str, folder: str = "conda-forge/linux-64", host: str = "https://conda.anaconda.org") -> str:
    return f"{host}/{folder}/{file}"


def test_every_record_and_wheel_of_a_lock_is_in_the_bundle(sample: Path) -> None:
    lock = lockfile.read(sample)
    for one in tables_of(sample):
        for target in one.targets:
            records = lock.records(one.environment, target.platform)
            assert {(p.name, p.url, p.md5, p.sha256) for p in target.packages} == {
                (
                    record.name.normalized,
                    record.url,
                    record.md5.hex() if record.md5 else "",
                    record.sha256.hex() if record.sha256 else "",
                )
                for record in records
            }
            wheels = lock.wheels(one.environment, target.platform)
            assert [(w.name, w.url) for w in target.wheels] == [(w.name, w.location) for w in wheels]


def test_dependencies_stand_before_what_needs_them(sample: Path, own_tables: list[EnvironmentTable]) -> None:
    for one in [*tables_of(sample), *own_tables]:
        for target in one.targets:
            place = {package.name: index for index, package in enumerate(target.packages)}
            needs = {
                package.name: {item.split()[0] for item in package.depends} & set(place)
                for package in target.packages
            }
            for name, wanted in needs.items():
                late = {other for other in wanted if place[other] > place[name]}
                assert not {other for other in late if not reaches(needs, other, name)}, (name, late)


def reaches(needs: dict[str, set[str]], start: str, goal: str) -> bool:
    """Whether ``goal`` is needed by ``start``: then the two are in a circle and have no order."""
    seen, queue = {start}, [start]
    while queue:
        for other in needs[queue.pop()] - seen:
            if other == goal:
                return True
            seen.add(other)
            queue.append(other)
    return False


def test_the_digest_depends_on_what_the_lock_says_and_not_on_its_format(tmp_path: Path) -> None:
    digests = {tables_of(lock_with(tmp_path, version))[0].digest for version in (4, 5, 6, 7)}
    # formats 4 to 6 do not say the same of virtual packages and noarch; each is stable
    assert digests == {tables_of(lock_with(tmp_path, version))[0].digest for version in (4, 5, 6, 7)}
    assert tables_of(lock_with(tmp_path, md5="0" * 32))[0].digest not in digests


@pytest.mark.parametrize("name", sorted(sample_locks.refused()))
def test_source_and_path_packages_are_named_and_refused(tmp_path: Path, name: str) -> None:
    lock, package = sample_locks.refused()[name]
    path = tmp_path / "pixi.lock"
    path.write_text(lock, encoding="utf-8")
    with pytest.raises(D2lEnvError, match=f"(?s)package '{package}' is refused.*source"):
        tables_of(path)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"url": "ftp://conda.example/linux-64/bzip2-1.0.8-hda65f42_10.conda"}, "is not https"),
        ({"url": "http://conda.example/linux-64/bzip2-1.0.8-hda65f42_10.conda"}, "is not https"),
        ({"url": "file:///srv/linux-64/bzip2-1.0.8-hda65f42_10.conda"}, "is not https"),
        ({"url": address("..%2fbzip2-1.0.8-hda65f42_10.conda")}, "plain names"),
        # py-rattler resolves this one, to a folder that is not the platform's
        ({"url": address("%2e%2e/bzip2-1.0.8-hda65f42_10.conda")}, "not one for linux-64"),
        (
            {"url": address("bzip2-1.0.8-hda65f42_10.conda", host="https://me:secret@conda.example")},
            "plain names",
        ),
        ({"url": address("bzip2-1.0.8-hda65f42_10.conda", "t/a-token/chan/linux-64")}, "plain names"),
        ({"url": address("bzip2-1.0.8-hda65f42_10.conda?x=1")}, "."),
        ({"url": address("bzip2-1.0.8-hda65f42_10.conda#md5")}, "."),
        ({"url": address("bzip2-1.0.8-hda65f42_10.conda", "$HOME/linux-64")}, "plain names"),
        ({"url": address("bzip2-1.0.8-hda65f42_10.conda", "~/linux-64")}, "plain names"),
        ({"url": address("bzip2-1.0.8-hda65f42_10.conda", "a b/linux-64")}, "plain names"),
        ({"url": address("bzip2-1.0.8-hda65f42_10.conda", "a%0Ab/linux-64")}, "plain names"),
        ({"url": address("bzip2-1.0.8-hda65f42_10.conda", "conda-forge/win-64")}, "not one for linux-64"),
        (
            {"url": address("bzip2-1.0.8-hda65f42_10.conda", "linux-64", "https://conda.example:99999999")},
            ".",
        ),
        ({"license": "MIT\n- pip: evil"}, "license"),
        ({"license": "MIT\u202e"}, "license"),
        ({"depends": ["libgcc >=14\n@EXPLICIT"]}, "."),
        ({"depends": ["libgcc \u00e9"]}, "."),
    ],
)
def test_what_must_not_reach_a_file_is_refused(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    with pytest.raises(D2lEnvError, match=f"(?s){why}") as caught:
        tables_of(lock_with(tmp_path, **changes, **{"spell-out": True}))
    assert "\n@" not in str(caught.value)
    assert "\n-" not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "../evil"},
        {"name": "bzip2\nevil"},
        {"name": "bzip2/evil"},
        {"version": "1.0.8/../.."},
        {"version": "1.0.8\n"},
        {"build": "h/0"},
        {"build": "..\\0"},
        {"build": "h_0\n- evil"},
        {"name": "another"},
        {"version": "9.9.9"},
        {"build": "h0_0"},
    ],
)
@pytest.mark.parametrize("lock_format", [4, 6])
def test_a_record_that_is_not_what_its_address_says_is_refused(
    tmp_path: Path, lock_format: int, changes: dict[str, Any]
) -> None:
    with pytest.raises(D2lEnvError):
        tables_of(lock_with(tmp_path, lock_format, **changes, **{"spell-out": True}))


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (Wheel("ours", "1.0", "https://wheels.example/ours-1.0.exe", "0" * 64), "source"),
        (Wheel("ours", "1.0", "http://wheels.example/ours-1.0-py3-none-any.whl", "0" * 64), "source"),
        (Wheel("ours", "1.0", "https://me:pw@wheels.example/ours-1.0-py3-none-any.whl", "0" * 64), "plain"),
        (Wheel("ours", "1.0", "https://wheels.example/..%2fours-1.0-py3-none-any.whl", "0" * 64), "plain"),
        (Wheel("ours", "1.0", "https://wheels.example/a%0d/ours-1.0-py3-none-any.whl", "0" * 64), "plain"),
        (Wheel("ours", "1.0", "https://wheels.example/ours-1.0-py3-none-any.whl", "", ("a b c",)), "."),
        (Wheel("ours", "1.0", "https://wheels.example/ours-1.0-py3-none-any.whl", "", ("a\n-r b",)), "."),
    ],
)
def test_a_wheel_that_must_not_reach_a_file_is_refused(tmp_path: Path, one: Wheel, why: str) -> None:
    path = tmp_path / "pixi.lock"
    env = Env((CONDA_FORGE,), {"linux-64": pick("linux-64", "bzip2")}, {"linux-64": [one]})
    path.write_text(text(6, {"default": env}), encoding="utf-8")
    with pytest.raises(D2lEnvError, match=f"(?s){why}"):
        tables_of(path)


@pytest.mark.parametrize(
    "name", ["..", ".", "a/b", "a\\b", "../x", "a..b", "-x", "nul", "COM1.txt", "a\nb", "é", ""]
)
def test_a_name_that_is_no_folder_is_refused(name: str) -> None:
    with pytest.raises(D2lEnvError, match="file name"):
        folder_name(name)


@pytest.mark.parametrize("name", ["../out", "a/b", "x\ny"])
def test_an_environment_cannot_name_a_folder_elsewhere(tmp_path: Path, name: str) -> None:
    path = tmp_path / "pixi.lock"
    path.write_text(
        text(6, {name: Env((CONDA_FORGE,), {"linux-64": pick("linux-64", "bzip2")})}), encoding="utf-8"
    )
    with pytest.raises(D2lEnvError, match="file name"):
        tables_of(path)


@pytest.mark.parametrize(
    "channel", ["http://c.example/x/", "https://u:p@c.example/x/", "https://c.example/a b/"]
)
def test_a_channel_that_must_not_reach_a_file_is_refused(tmp_path: Path, channel: str) -> None:
    path = tmp_path / "pixi.lock"
    path.write_text(
        text(6, {"default": Env((channel,), {"linux-64": pick("linux-64", "bzip2")})}), encoding="utf-8"
    )
    with pytest.raises(D2lEnvError):
        tables_of(path)


def test_a_channel_is_written_as_people_write_it() -> None:
    assert channel_name("https://conda.anaconda.org/conda-forge") == "conda-forge"
    assert channel_name("https://conda.anaconda.org/conda-forge/label/rc") == "conda-forge/label/rc"
    assert channel_name("https://prefix.dev/conda-forge") == "https://prefix.dev/conda-forge"


def test_the_head_names_environment_digest_and_command(own_tables: list[EnvironmentTable]) -> None:
    for one in own_tables:
        assert one.digest in one.head()
        for target in one.targets:
            assert f"{one.environment}/{target.platform}" in one.head(target)
            assert target.digest in one.head(target)
