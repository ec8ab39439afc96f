"""Reading pixi.lock, and the digests of what it says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from rattler import LockFile

from channelkit import ROOT
from d2lenv.base.errors import D2lEnvError
from d2lenv.workspace import lockfile, manifest

LOCK = ROOT / "pixi.lock"
TEXT = LOCK.read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def _english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("D2LENV_LANG", "en")


@pytest.fixture(scope="module")
def lock() -> lockfile.Lock:
    return lockfile.of(manifest.load(ROOT))


def held(environment: str, platform: str) -> dict[str, tuple[str, str]]:
    """Name → (version, build) as py-rattler alone reads the committed lock."""
    found = dict(LockFile.from_path(LOCK).environments())[environment]
    place = next(place for place in found.platforms() if place.name == platform)
    records = found.conda_repodata_records_for_platform(place)
    assert records
    return {r.name.normalized: (str(r.version), str(r.build)) for r in records}


def test_the_cuda_environment_holds_what_the_readers_of_d2l_install() -> None:
    have = held("cuda", "linux-64")
    assert have["pytorch"] == ("2.0.1", "py3.10_cuda11.7_cudnn8.5.0_0")
    versions = {name: version for name, (version, _) in have.items()}
    assert versions["pytorch-cuda"] == "11.7"
    assert versions["d2l"] == "1.0.3"
    assert versions["numpy"] == "1.23.5"
    assert versions["pandas"] == "2.0.3"
    assert versions["scipy"] == "1.10.1"
    assert versions["matplotlib-base"] == "3.7.2"
    assert versions["jupyterlab"].startswith("4.")
    assert versions["python"].startswith("3.10.")
    assert have["pytorch-mutex"] == ("1.0", "cuda")


def test_the_cpu_environment_holds_the_cpu_build() -> None:
    assert held("cpu", "linux-64")["pytorch"] == ("2.0.1", "py3.10_cpu_0")
    assert held("default", "linux-64") == held("cpu", "linux-64")


def test_the_cuda12_environment_stays_with_cuda_12_1() -> None:
    have = held("cuda12", "linux-64")
    assert have["pytorch"] == ("2.3.0", "py3.10_cuda12.1_cudnn8.9.2_0")
    assert have["torchvision"] == ("0.18.0", "py310_cu121")
    assert have["torchaudio"] == ("2.3.0", "py310_cu121")
    assert have["pytorch-cuda"][0] == "12.1"
    assert "cuda-version" not in have


def wants_driver(lock: lockfile.Lock, environment: str, what: str) -> set[str]:
    return {
        record.name.normalized
        for platform in lock.platforms(environment)
        for record in lock.records(environment, platform)
        if any(text.startswith("__cuda") for text in getattr(record, what))
    }


@pytest.mark.parametrize("environment", ["cpu", "cuda", "cuda12", "default"])
def test_no_learners_environment_needs_a_driver_to_be_installed(
    lock: lockfile.Lock, environment: str
) -> None:
    assert wants_driver(lock, environment, "depends") == set()


def test_the_cuda_environment_refuses_no_driver(lock: lockfile.Lock) -> None:
    assert wants_driver(lock, "cuda", "constrains") == set()


def test_records_are_sorted_by_name(lock: lockfile.Lock) -> None:
    names = [record.name.normalized for record in lock.records("cuda", "linux-64")]
    assert names == sorted(names)
    assert len(names) > 200


def test_an_unknown_place_is_refused(lock: lockfile.Lock) -> None:
    with pytest.raises(D2lEnvError, match=r"no environment `cuda` for osx-64"):
        lock.records("cuda", "osx-64")
    assert lock.platforms("nothing") == ()
    assert lock.channels("nothing") == ()
    assert lock.wheels("nothing", "linux-64") == ()


def read(tmp_path: Path, data: bytes) -> lockfile.Lock:
    path = tmp_path / "pixi.lock"
    path.write_bytes(data)
    return lockfile.read(path, manifest.load(ROOT).platforms)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n \n",
        b"[not: yaml",
        b"\xff\xfe\x00binary",
        b"version: 7\n",
        TEXT[:200_000].encode(),
        TEXT[:300].encode(),
        b"<<<<<<< HEAD\n" + TEXT[:500].encode(),
        b"- a list\n",
        TEXT.replace("version: 7", "version: x", 1).encode(),
    ],
    ids=["empty", "blank", "not YAML", "not text", "header only", "cut in the records", "cut early", "merge",
         "list", "version"],
)  # fmt: skip
def test_what_is_no_lock_is_refused_with_its_name(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(lockfile.DamagedLock) as caught:
        read(tmp_path, data)
    assert caught.value.what == f"{tmp_path / 'pixi.lock'} is not a pixi lock"
    assert caught.value.why
    assert "git checkout pixi.lock" in caught.value.fix


def test_a_newer_format_is_refused_with_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(D2lEnvError, match="newer format") as caught:
        read(tmp_path, TEXT.replace("version: 7", "version: 8", 1).encode())
    assert not isinstance(caught.value, lockfile.DamagedLock)
    assert "py-rattler" in caught.value.fix


def test_a_missing_lock_is_refused(tmp_path: Path) -> None:
    with pytest.raises(D2lEnvError, match=r"pixi\.lock cannot be read"):
        lockfile.read(tmp_path / "pixi.lock")


def test_the_committed_digests_are_those_of_the_lock(lock: lockfile.Lock, tmp_path: Path) -> None:
    found = lockfile.read_digests(ROOT / lockfile.DIGESTS)
    assert found.digests == lockfile.digests(lock)
    assert re.fullmatch(r"[0-9a-f]{64}", found.snapshot)
    lockfile.write_digests(tmp_path / "digests.json", found)
    assert (tmp_path / "digests.json").read_bytes() == (ROOT / lockfile.DIGESTS).read_bytes()


@pytest.mark.parametrize(("head", "number"), [("version: 7", 7), ("# x\nversion: 7", 7)])
def test_the_format_is_the_one_in_the_file(tmp_path: Path, head: str, number: int) -> None:
    assert read(tmp_path, TEXT.replace("version: 7", head, 1).encode()).format == number


def test_a_digest_does_not_depend_on_the_layout(lock: lockfile.Lock, tmp_path: Path) -> None:
    spread = read(tmp_path, TEXT.replace("depends:\n", "depends: # why\n\n").encode())
    assert lockfile.digests(spread) == lockfile.digests(lock)


def test_a_changed_record_changes_its_digest_and_its_environments(
    lock: lockfile.Lock, tmp_path: Path
) -> None:
    before = lock.records("cuda12", "linux-64")
    changed = next(r for r in before if r.name.normalized == "torchvision")
    assert changed.size
    other = read(tmp_path, TEXT.replace(f"size: {changed.size}\n", f"size: {changed.size + 1}\n").encode())
    then, now = lockfile.digests(lock), lockfile.digests(other)
    assert {key for key in then if then[key] != now[key]} == {("cuda12", "linux-64")}
    was, is_now = then["cuda12", "linux-64"].packages, now["cuda12", "linux-64"].packages
    assert [name for name in was if was[name] != is_now[name]] == ["torchvision"]


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", '{"snapshot": ""}', '{"digests": {}}', '{"snapshot": "", "digests": []}'),
        *(
            f'{{"snapshot": "", "digests": {rows}}}'
            for rows in (
                '{"cuda": 1}',
                '{"cuda/linux-64": {"digest": "x"}}',
                '{"a/b/c": {}}',
                '{"a/b": null}',
            )
        ),
    ],
)
def test_damaged_digests_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "lock-digests.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(D2lEnvError, match=r"lock-digests\.json cannot be read") as caught:
        lockfile.read_digests(path)
    assert "lock --record" in caught.value.fix


def test_the_digests_are_one_line_for_each_place() -> None:
    lines = (ROOT / lockfile.DIGESTS).read_text(encoding="utf-8").splitlines()
    rows = [json.loads("{" + line.rstrip(",") + "}") for line in lines[3:-2]]
    assert (lines[0], lines[1][:13], lines[2], lines[-2:]) == (
        "{",
        '"snapshot": "',
        '"digests": {',
        ["}", "}"],
    )
    assert [next(iter(row)) for row in rows] == sorted(next(iter(row)) for row in rows)
