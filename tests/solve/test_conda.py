"""The embedded solver on small hand-made channels."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import rattler

from channelkit import HEAD, MANIFEST, record, small_snapshot, write_channel, write_snapshot, write_workspace
from d2lenv.base.errors import D2lEnvError
from d2lenv.solve import again, check, conda
from d2lenv.solve.conda import Snapshot
from d2lenv.workspace import channels, lockfile, manifest
from d2lenv.workspace.manifest import Workspace

KEY = ("default", "linux-64")


@pytest.fixture(autouse=True)
def _english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("D2LENV_LANG", "en")


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    return Snapshot(small_snapshot(tmp_path / "channels"))


def space_of(tmp_path: Path, text: str = MANIFEST) -> Workspace:
    return manifest.load(write_workspace(tmp_path / "workspace", text))


def versions(solution: conda.Solution, key: tuple[str, str] = KEY) -> dict[str, str]:
    return {r.name.normalized: f"{r.url.split('/')[3]} {r.version}" for r in solution[key]}


def locked(space: Workspace, solution: conda.Solution) -> lockfile.Lock:
    space.lock.write_text(conda.lock_text(conda.build_lock(space, solution)), encoding="utf-8")
    return lockfile.read(space.lock)


def test_the_first_channel_that_has_a_name_is_the_only_one_asked(tmp_path: Path, snapshot: Snapshot) -> None:
    solution = conda.solve_workspace(space_of(tmp_path), snapshot)
    assert versions(solution) == {"app": "main 2.0", "lib": "main 1.6", "tool": "main 0.2"}


def test_a_spec_that_names_its_channel_is_served_from_there(tmp_path: Path, snapshot: Snapshot) -> None:
    space = space_of(tmp_path, MANIFEST + 'lib = { version = "*", channel = "extra" }\n')
    assert versions(conda.solve_workspace(space, snapshot))["lib"] == "extra 9.0"


def test_records_keep_the_real_channels_addresses(tmp_path: Path, snapshot: Snapshot) -> None:
    records = conda.solve_workspace(space_of(tmp_path), snapshot)[KEY]
    assert [r.url for r in records][1] == "https://conda.anaconda.org/main/linux-64/lib-1.6-0.conda"
    assert records[1].depends == ["__glibc >=2.17"]
    assert records[1].size == 1000 + len("lib-1.6-0.conda")


def test_constrains_of_a_chosen_record_are_kept(tmp_path: Path) -> None:
    folder = write_snapshot(
        tmp_path / "channels",
        [record("app", depends=("lib",), constrains=("lib <2",)), record("lib", "1.0"), record("lib", "2.0")],
        [],
    )
    assert versions(conda.solve_workspace(space_of(tmp_path), Snapshot(folder)))["lib"] == "main 1.0"


@pytest.mark.parametrize(("wanted", "solves"), [("2.28", True), ("2.29", False)])
def test_the_solver_sees_the_glibc_that_pixi_assumes(tmp_path: Path, wanted: str, solves: bool) -> None:
    folder = write_snapshot(tmp_path / "channels", [record("app", depends=(f"__glibc >={wanted}",))], [])
    space = space_of(tmp_path)
    if solves:
        assert versions(conda.solve_workspace(space, Snapshot(folder))) == {"app": "main 1.0"}
    else:
        with pytest.raises(D2lEnvError, match="__glibc"):
            conda.solve_workspace(space, Snapshot(folder))


def test_a_record_that_wants_a_gpu_driver_does_not_solve(tmp_path: Path) -> None:
    folder = write_snapshot(tmp_path / "channels", [record("app", depends=("__cuda",))], [])
    with pytest.raises(D2lEnvError, match="__cuda"):
        conda.solve_workspace(space_of(tmp_path), Snapshot(folder))


def older(space: Workspace, snapshot: Snapshot) -> lockfile.Lock:
    """A lock of app 1.0, lib 1.5 and tool 0.1, which the manifest still allows."""
    text = MANIFEST.replace('app = "*"', 'app = "==1.0"\nlib = "==1.5"\ntool = "==0.1"')
    write_workspace(space.root, text)
    old = manifest.load(space.root)
    write_workspace(space.root, MANIFEST + 'tool = "*"\n')
    return locked(old, conda.solve_workspace(old, snapshot))


def test_locked_records_stay_where_they_satisfy_the_manifest(tmp_path: Path, snapshot: Snapshot) -> None:
    old = older(space_of(tmp_path), snapshot)
    solution = conda.solve_workspace(manifest.load(old.path.parent), snapshot, preferred=old)
    assert versions(solution) == {"app": "main 1.0", "lib": "main 1.5", "tool": "main 0.1"}


def test_only_a_released_record_moves(tmp_path: Path, snapshot: Snapshot) -> None:
    old = older(space_of(tmp_path), snapshot)
    solution = conda.solve_workspace(
        manifest.load(old.path.parent), snapshot, preferred=old, released=frozenset({"lib"})
    )
    assert versions(solution) == {"app": "main 1.0", "lib": "main 1.6", "tool": "main 0.1"}


@pytest.mark.parametrize("offline", [True, False], ids=["snapshot", "channels"])
def test_a_locked_record_changed_by_hand_is_not_passed_on(
    tmp_path: Path, snapshot: Snapshot, offline: bool, served: Workspace
) -> None:
    space = space_of(tmp_path) if offline else served
    source = snapshot if offline else None
    old = locked(space, conda.solve_workspace(space, source))
    right = old.records(*KEY)[1].sha256
    text = space.lock.read_text(encoding="utf-8").replace(right.hex(), "0" * 64)
    space.lock.write_text(text, encoding="utf-8")
    changed = lockfile.read(space.lock)
    assert changed.records(*KEY)[1].sha256 != right
    solution = conda.solve_workspace(space, source, preferred=changed)
    assert solution[KEY][1].sha256 == right
    (change,) = conda.changes(changed, solution)
    assert (change.package, change.old, change.new) == ("lib", "1.6 0", "1.6 0, described anew")


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The small channels on the loopback address; nothing is kept between two tests."""
    small_snapshot(tmp_path / "http")
    monkeypatch.setenv("RATTLER_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PIXI_HOME", str(tmp_path / "pixi"))
    conda._gateway.cache_clear()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *words: object) -> None:
            super().__init__(*words, directory=str(tmp_path / "http"))  # type: ignore[arg-type]

        def log_message(self, *words: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
    conda._gateway.cache_clear()


@pytest.fixture
def served(tmp_path: Path, host: str) -> Workspace:
    """A workspace whose channels are those of ``host``."""
    text = MANIFEST.replace('["main", "extra"]', f'["{host}/main", "{host}/extra"]')
    return manifest.load(write_workspace(tmp_path / "served", text))


@pytest.mark.skipif(not hasattr(rattler, "Config"), reason="this py-rattler reads no mirrors")
def test_records_that_a_mirror_gave_keep_the_channels_addresses(tmp_path: Path, host: str) -> None:
    (tmp_path / "pixi").mkdir()
    (tmp_path / "pixi" / "config.toml").write_text(
        f'[mirrors]\n"https://conda.anaconda.org" = ["{host}"]\n', encoding="utf-8"
    )
    assert channels.mirrors() == {"https://conda.anaconda.org/": [f"{host}/"]}
    (answer,) = channels.ask(["https://conda.anaconda.org/main/"])
    assert answer.through == f"{host}/main/"
    records = conda.solve_workspace(space_of(tmp_path), None)[KEY]
    assert records[0].url == "https://conda.anaconda.org/main/noarch/app-2.0-0.conda"


def test_records_come_from_the_channels_without_a_snapshot(served: Workspace) -> None:
    solution = conda.solve_workspace(served, None)
    assert versions(solution) == {"app": "main 2.0", "lib": "main 1.6", "tool": "main 0.2"}


def test_a_channel_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    text = MANIFEST.replace('["main", "extra"]', '["http://127.0.0.1:9/none"]')
    with pytest.raises(D2lEnvError) as caught:
        conda.solve_workspace(space_of(tmp_path, text), None)
    assert "`default` for linux-64" in caught.value.what
    assert "--snapshot DIR" in caught.value.fix


def test_a_failed_solve_names_environment_platform_and_blamed_spec_first(
    tmp_path: Path, snapshot: Snapshot
) -> None:
    space = space_of(tmp_path, MANIFEST + 'lib = ">=3"\n')
    with pytest.raises(D2lEnvError) as caught:
        conda.solve_workspace(space, snapshot)
    assert caught.value.what == "`default` for linux-64 has no solution"
    first, *reason = caught.value.why.splitlines()
    assert 'lib[version=">=3"] [dependencies]' in first
    assert "app" not in first.split(": ", 1)[1].split("[")[0]
    assert any("lib" in line for line in reason)


def test_a_failure_that_no_single_spec_explains_says_so(tmp_path: Path, snapshot: Snapshot) -> None:
    space = space_of(tmp_path, MANIFEST + 'lib = ">=3"\ntool = ">=3"\n')
    with pytest.raises(D2lEnvError, match="no single spec is to blame"):
        conda.solve_workspace(space, snapshot)


def test_a_long_reason_is_cut_to_thirty_lines(tmp_path: Path) -> None:
    count = 80
    folder = write_snapshot(
        tmp_path / "channels",
        [
            *(record("app", f"{n}.0", depends=(f"lib{n}", "base <1")) for n in range(count)),
            *(record(f"lib{n}", depends=(f"base >={n + 1}",)) for n in range(count)),
            record("base", "0.5"),
        ],
        [],
    )
    with pytest.raises(D2lEnvError) as caught:
        conda.solve_workspace(space_of(tmp_path), Snapshot(folder))
    blamed, *reason, left_out = caught.value.why.splitlines()
    assert blamed.startswith("without any one of these")
    assert len(reason) == conda.MAX_REASON_LINES
    assert left_out.endswith("more lines")


def test_a_snapshot_without_a_channel_is_refused_with_its_path(tmp_path: Path) -> None:
    folder = tmp_path / "channels"
    write_channel(folder, "main", record("app"))
    with pytest.raises(D2lEnvError) as caught:
        conda.solve_workspace(space_of(tmp_path), Snapshot(folder))
    assert "lacks channel `extra`" in caught.value.what
    assert str(folder / "extra" / "linux-64" / "repodata.json") in caught.value.why


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"not json",
        b"[1]",
        b'{"packages.conda": {"app-1.0-0.conda": {"name": 3}}}',
        b"\xff\xfe\x00",
    ],
    ids=["empty", "cut off", "not JSON", "a list", "a bad record", "not text"],
)
def test_damaged_repodata_is_refused_with_its_path(tmp_path: Path, snapshot: Snapshot, damage: bytes) -> None:
    path = snapshot.folder / "main" / "noarch" / "repodata.json"
    path.write_bytes(damage)
    with pytest.raises(D2lEnvError) as caught:
        conda.solve_workspace(space_of(tmp_path), snapshot)
    assert str(path) in str(caught.value)


def test_environments_of_one_solve_group_share_every_record(tmp_path: Path, snapshot: Snapshot) -> None:
    text = (
        HEAD
        + """
[environments]
default = { features = ["one"], solve-group = "g" }
more = { features = ["two"], solve-group = "g" }
alone = ["one"]
[feature.one.dependencies]
lib = "*"
[feature.two.dependencies]
app = "*"
lib = "<1.6"
"""
    )
    solution = conda.solve_workspace(space_of(tmp_path, text), snapshot)
    assert versions(solution, KEY) == {"lib": "main 1.5"}
    assert versions(solution, ("more", "linux-64")) == {
        "app": "main 2.0",
        "lib": "main 1.5",
        "tool": "main 0.2",
    }
    assert versions(solution, ("alone", "linux-64")) == {"lib": "main 1.6"}


def test_what_any_environment_of_a_group_has_locked_is_preferred(tmp_path: Path, snapshot: Snapshot) -> None:
    group = """
[environments]
default = { features = ["one"], solve-group = "g" }
more = { features = ["two"], solve-group = "g" }
[feature.one.dependencies]
lib = "*"
[feature.two.dependencies]
tool = "{tool}"
"""
    before = space_of(tmp_path, HEAD + group.replace("{tool}", "==0.1"))
    old = locked(before, conda.solve_workspace(before, snapshot))
    after = space_of(tmp_path, HEAD + group.replace("{tool}", "*"))
    solution = conda.solve_workspace(after, snapshot, preferred=old)
    assert versions(solution, ("more", "linux-64")) == {"tool": "main 0.1"}


def test_equal_questions_are_solved_once(tmp_path: Path, snapshot: Snapshot) -> None:
    said: list[str] = []
    space = space_of(tmp_path, MANIFEST + '\n[environments]\nsame = { solve-group = "g" }\n')
    conda.solve_workspace(space, snapshot, say=said.append)
    assert said == ["solving default for linux-64"]


def test_the_lock_has_pixis_platform_rows_and_channel_addresses(tmp_path: Path, snapshot: Snapshot) -> None:
    space = space_of(tmp_path)
    text = conda.lock_text(conda.build_lock(space, conda.solve_workspace(space, snapshot)))
    assert text.startswith(
        "version: 7\nplatforms:\n- name: linux-64\n  virtual-packages:\n  - __unix=0=0\n  - __linux=4.18\n"
        "  - __glibc=2.28\n  - __archspec=0=x86_64\nenvironments:\n  default:\n    channels:\n"
        "    - url: https://conda.anaconda.org/main/\n    - url: https://conda.anaconda.org/extra/\n"
    )


def test_an_environment_without_dependencies_is_locked_empty(tmp_path: Path, snapshot: Snapshot) -> None:
    space = space_of(tmp_path, HEAD)
    lock = locked(space, conda.solve_workspace(space, snapshot))
    assert list(lock.environments) == ["default"]


def test_the_order_of_a_solution_does_not_show_in_the_lock(tmp_path: Path, snapshot: Snapshot) -> None:
    space = space_of(tmp_path)
    solution = conda.solve_workspace(space, snapshot)
    turned = {key: tuple(reversed(records)) for key, records in solution.items()}
    assert conda.lock_text(conda.build_lock(space, turned)) == conda.lock_text(
        conda.build_lock(space, solution)
    )


def test_changes_name_package_old_new_and_places(tmp_path: Path, snapshot: Snapshot) -> None:
    old = older(space_of(tmp_path), snapshot)
    space = manifest.load(old.path.parent)
    found = conda.changes(old, conda.solve_workspace(space, snapshot))
    place = ("default/linux-64",)
    assert [(c.package, c.old, c.new, c.places) for c in found] == [
        ("app", "1.0 0", "2.0 0", place),
        ("lib", "1.5 0", "1.6 0", place),
        ("tool", "0.1 0", "0.2 0", place),
    ]


def test_a_dropped_environment_and_a_first_lock_are_changes(tmp_path: Path, snapshot: Snapshot) -> None:
    space = space_of(tmp_path)
    solution = conda.solve_workspace(space, snapshot)
    assert next((c.package, c.old, c.new) for c in conda.changes(None, solution)) == ("app", "", "2.0 0")
    gone = conda.changes(locked(space, solution), {})
    assert next((c.package, c.old, c.new) for c in gone) == ("app", "2.0 0", "")


@pytest.mark.parametrize(
    ("depend", "name"),
    [
        ("libblas >=3.9.0,<4.0a0", "libblas"),
        ("conda-forge::Numpy", "numpy"),
        ("python_abi 3.10.* *_cp310", "python_abi"),
        ("x[version='>=1']", "x"),
        ("x>=1", "x"),
        ("x=1=b", "x"),
        ("x; if python >=3", "x"),
    ],
)
def test_the_name_of_a_dependency(depend: str, name: str) -> None:
    assert conda.depend_name(depend) == name


def test_a_record_that_the_channel_no_longer_has_stays_locked(tmp_path: Path, snapshot: Snapshot) -> None:
    space = space_of(tmp_path)
    old = locked(space, conda.solve_workspace(space, snapshot))
    path = snapshot.folder / "main" / "noarch" / "repodata.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    del data["packages.conda"]["app-2.0-0.conda"]
    path.write_text(json.dumps(data), encoding="utf-8")
    solution = conda.solve_workspace(space, Snapshot(snapshot.folder), preferred=old)
    assert versions(solution)["app"] == "main 2.0"


NAMED = """\
[workspace]
name = "small"
channels = ["main", "extra"]
platforms = [{ name = "linux-64-cuda", platform = "linux-64", cuda = "12.8" }, "linux-64"]

[dependencies]
app = "*"
"""


def named_snapshot(folder: Path) -> Snapshot:
    gpu = record("app", build="gpu_1", depends=("__cuda >=12.6",), subdir="linux-64") | {"build_number": 1}
    return Snapshot(write_snapshot(folder, [record("app"), gpu], []))


def test_a_named_platform_is_solved_with_what_it_promises(tmp_path: Path) -> None:
    space = space_of(tmp_path, NAMED)
    solution = conda.solve_workspace(space, named_snapshot(tmp_path / "channels"))
    builds = {platform: str(records[0].build) for (_, platform), records in solution.items()}
    assert builds == {"linux-64": "0", "linux-64-cuda": "gpu_1"}
    # As pixi 0.77.0 writes it (2026-11-24).
    assert conda.lock_text(conda.build_lock(space, solution)).startswith(
        """\
version: 7
platforms:
- name: linux-64
  virtual-packages:
  - __unix=0=0
  - __linux=4.18
  - __glibc=2.28
  - __archspec=0=x86_64
- name: p1
  subdir: linux-64
  virtual-packages:
  - __cuda=12.8
  - __unix=0=0
  - __linux=4.18
  - __glibc=2.28
  - __archspec=0=x86_64
environments:
  default:
    channels:
    - url: https://conda.anaconda.org/main/
    - url: https://conda.anaconda.org/extra/
    packages:
      linux-64:
      - conda: https://conda.anaconda.org/main/noarch/app-1.0-0.conda
      p1:
      - conda: https://conda.anaconda.org/main/linux-64/app-1.0-gpu_1.conda
"""
    )


def test_a_lock_with_a_named_platform_satisfies_its_manifest_alone(tmp_path: Path) -> None:
    space = space_of(tmp_path, NAMED)
    locked(space, conda.solve_workspace(space, named_snapshot(tmp_path / "channels")))
    assert not check.check(space, lockfile.of(space), None)
    assert not again.solve_again(space, lockfile.of(space))
    stricter = space_of(tmp_path, NAMED.replace("12.8", "12.9"))
    told = [remark.message for remark in check.check(stricter, lockfile.of(stricter), None)]
    assert told == ["the lock lacks this platform", "pixi.toml does not have this platform"]


def test_the_wrong_promise_of_a_named_platform_is_found(tmp_path: Path) -> None:
    space = space_of(tmp_path, NAMED)
    locked(space, conda.solve_workspace(space, named_snapshot(tmp_path / "channels")))
    text = space.lock.read_text(encoding="utf-8").replace("p1", "linux-64-cuda")
    space.lock.write_text(text.replace("__cuda=12.8", "__cuda=12.0"), encoding="utf-8")
    (told,) = check.check(space, lockfile.of(space), None)
    assert "['__cuda=12.0', '-__cuda=12.8']" in told.message
