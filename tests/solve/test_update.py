"""The command `lock`: who solves, what is written, what is left alone."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from channelkit import (
    HEAD,
    MANIFEST,
    ROOT,
    d2lenv,
    environ,
    files,
    record,
    small_snapshot,
    write_channel,
    write_workspace,
)
from d2lenv.base.errors import D2lEnvError
from d2lenv.solve import update
from d2lenv.workspace import channels, lockfile, manifest
from d2lenv.workspace.channels import Answer

SNAPSHOT = Path(os.environ.get("D2LENV_SNAPSHOT", ROOT / ".." / "shared" / "channels"))


@pytest.fixture(autouse=True)
def _english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("D2LENV_LANG", "en")


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    return small_snapshot(tmp_path / "channels")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_workspace(tmp_path / "w")


def lock(
    root: Path, snapshot: Path | None, *names: str, update_all: bool = False
) -> list[tuple[str, str, str]]:
    found = update.lock(manifest.load(root), snapshot, frozenset(names), update_all, say=lambda _: None)
    return [(change.package, change.old, change.new) for change in found]


def older(root: Path, snapshot: Path) -> None:
    """A lock of app 1.0, lib 1.5 and tool 0.1 under a manifest that allows newer ones."""
    write_workspace(root, MANIFEST.replace('"*"', '"==1.0"') + 'lib = "==1.5"\ntool = "==0.1"\n')
    lock(root, snapshot)
    write_workspace(root, MANIFEST + 'tool = "*"\n')


@pytest.mark.skipif(not SNAPSHOT.is_dir(), reason=f"no channel snapshot at {SNAPSHOT} (D2LENV_SNAPSHOT)")
def test_the_committed_lock_is_what_the_snapshot_gives_from_nothing_and_again(tmp_path: Path) -> None:
    write_workspace(tmp_path, (ROOT / "pixi.toml").read_text(encoding="utf-8"))
    recorded = lockfile.read_digests(ROOT / lockfile.DIGESTS).snapshot
    for _ in ("from nothing", "again"):
        done = d2lenv(tmp_path, "lock", "--no-wheels", "--snapshot", str(SNAPSHOT))
        assert done.returncode == 0, done.stderr
        present = lockfile.read_digests(tmp_path / lockfile.DIGESTS).snapshot
        assert present == recorded, (
            f"not checked: {SNAPSHOT} is not the snapshot that pixi.lock was solved from. Solve it again: "
            f"`d2lenv lock --snapshot {SNAPSHOT} --update-all && d2lenv export`"
        )
        for name in ("pixi.lock", lockfile.DIGESTS):
            assert (tmp_path / name).read_bytes() == (ROOT / name).read_bytes(), name
    assert done.stdout == "no package changed; pixi.lock is up to date\n"


def test_a_first_lock_is_written_with_its_digests(root: Path, snapshot: Path) -> None:
    assert lock(root, snapshot) == [("app", "", "2.0 0"), ("lib", "", "1.6 0"), ("tool", "", "0.2 0")]
    new = lockfile.read(root / "pixi.lock")
    recorded = lockfile.read_digests(root / lockfile.DIGESTS)
    assert recorded.digests == lockfile.digests(new)
    assert re.fullmatch(r"[0-9a-f]{64}", recorded.snapshot)


def test_the_second_lock_changes_no_byte_and_does_not_touch_the_file(root: Path, snapshot: Path) -> None:
    lock(root, snapshot)
    before, when = files(root), (root / "pixi.lock").stat().st_mtime_ns
    assert lock(root, snapshot) == []
    assert files(root) == before
    assert (root / "pixi.lock").stat().st_mtime_ns == when


def test_update_moves_that_package_alone(root: Path, snapshot: Path) -> None:
    older(root, snapshot)
    assert lock(root, snapshot) == []
    assert lock(root, snapshot, "lib") == [("lib", "1.5 0", "1.6 0")]
    assert lock(root, snapshot, "tool") == [("tool", "0.1 0", "0.2 0")]


def test_update_all_moves_everything(root: Path, snapshot: Path) -> None:
    older(root, snapshot)
    assert lock(root, snapshot, update_all=True) == [
        ("app", "1.0 0", "2.0 0"),
        ("lib", "1.5 0", "1.6 0"),
        ("tool", "0.1 0", "0.2 0"),
    ]


def test_updating_what_is_not_locked_is_refused(root: Path, snapshot: Path) -> None:
    lock(root, snapshot)
    before = files(root)
    with pytest.raises(D2lEnvError, match=r"no package called nunpy") as caught:
        lock(root, snapshot, "nunpy", "lib")
    assert caught.value.status == 2
    assert files(root) == before


def test_a_spec_that_changed_moves_only_what_it_must(root: Path, snapshot: Path) -> None:
    older(root, snapshot)
    write_workspace(root, MANIFEST + 'tool = ">=0.2"\n')
    assert lock(root, snapshot) == [("tool", "0.1 0", "0.2 0")]


def test_a_failed_solve_leaves_every_file(root: Path, snapshot: Path) -> None:
    lock(root, snapshot)
    write_workspace(root, MANIFEST + 'lib = ">=5"\n')
    before = files(root)
    with pytest.raises(D2lEnvError, match="no solution"):
        lock(root, snapshot)
    assert files(root) == before


def test_a_missing_channel_leaves_every_file(root: Path, snapshot: Path) -> None:
    lock(root, snapshot)
    before = files(root)
    (snapshot / "extra" / "noarch" / "repodata.json").unlink()
    with pytest.raises(D2lEnvError, match="lacks channel `extra`"):
        lock(root, snapshot)
    assert files(root) == before


def test_a_solution_that_check_refuses_is_not_written(root: Path, snapshot: Path) -> None:
    """The channel gives a record without any hash."""
    lock(root, snapshot)
    before = files(root)
    bare = record("tool", "0.3")
    del bare["sha256"], bare["md5"]
    write_channel(snapshot, "extra", bare)
    write_workspace(root, MANIFEST + 'tool = { version = ">=0.3", channel = "extra" }\n')
    before["pixi.toml"] = (root / "pixi.toml").read_bytes()
    with pytest.raises(D2lEnvError, match="does not satisfy") as caught:
        lock(root, snapshot)
    assert "tool: it has neither sha256 nor md5 [hash]" in caught.value.why
    assert files(root) == before


def test_a_workspace_whose_default_environment_is_empty_is_locked_and_exported(
    root: Path, snapshot: Path
) -> None:
    text = '\n[feature.a.dependencies]\napp = "*"\n[environments]\ndefault = []\nmore = ["a"]\n'
    write_workspace(root, HEAD + text)
    for words in (("lock", "--snapshot", str(snapshot)), ("check",), ("export",), ("export", "--check")):
        done = d2lenv(root, *words)
        assert done.returncode == 0, (words, done.stderr)


def test_wheels_for_an_environment_without_a_python_are_refused_with_what_to_write(
    root: Path, snapshot: Path
) -> None:
    text = (
        '[tool.d2lenv.environments.default]\nwheels = ["linux-64"]\nexclude-newer = "2026-11-20T00:00:00Z"\n'
    )
    write_workspace(root, HEAD + "[environments]\ndefault = []\n" + text)
    done = d2lenv(root, "lock", "--snapshot", str(snapshot))
    assert done.returncode == 2
    assert "no Python is known for the wheels of default for linux-64" in done.stderr
    assert "give [tool.d2lenv.environments.default] a `python`, or no `wheels`" in done.stderr


def test_a_damaged_lock_stands_in_the_way_unless_nothing_of_it_is_kept(root: Path, snapshot: Path) -> None:
    lock(root, snapshot)
    good = files(root)
    (root / "pixi.lock").write_bytes(good["pixi.lock"][:200])
    damaged = files(root)
    with pytest.raises(lockfile.DamagedLock) as caught:
        lock(root, snapshot)
    assert "lock --update-all" in caught.value.fix
    assert files(root) == damaged
    lock(root, snapshot, update_all=True)
    assert files(root) == good


def test_a_lock_of_a_newer_format_is_never_overwritten(root: Path, snapshot: Path) -> None:
    lock(root, snapshot)
    path = root / "pixi.lock"
    path.write_bytes(path.read_bytes().replace(b"version: 7", b"version: 8"))
    before = files(root)
    with pytest.raises(D2lEnvError, match="newer format"):
        lock(root, snapshot, update_all=True)
    assert files(root) == before


def test_a_full_disk_leaves_the_old_lock(root: Path, snapshot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    older(root, snapshot)
    before = files(root)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(D2lEnvError, match="cannot be written") as caught:
        lock(root, snapshot, update_all=True)
    assert caught.value.why == "No space left on device"
    assert files(root) == before


def test_silent_channels_are_named_with_what_to_do(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "ask", lambda urls: [Answer(url, f"{url}: no route") for url in urls])
    with pytest.raises(D2lEnvError, match="cannot be reached") as caught:
        lock(root, None)
    assert "https://conda.anaconda.org/main/: no route" in caught.value.why
    assert "--snapshot DIR" in caught.value.fix


def test_record_accepts_a_lock_that_satisfies_the_manifest(root: Path, snapshot: Path) -> None:
    lock(root, snapshot)
    good = lockfile.read_digests(root / lockfile.DIGESTS)
    (root / lockfile.DIGESTS).unlink()
    assert update.record(manifest.load(root)) == root / lockfile.DIGESTS
    assert lockfile.read_digests(root / lockfile.DIGESTS) == lockfile.Recorded(good.digests)


def test_record_keeps_the_snapshot_of_a_lock_that_did_not_change(root: Path, snapshot: Path) -> None:
    lock(root, snapshot)
    before = files(root)
    update.record(manifest.load(root))
    assert files(root) == before


def test_the_snapshots_digest_does_not_depend_on_its_folder(
    root: Path, snapshot: Path, tmp_path: Path
) -> None:
    lock(root, snapshot)
    before = files(root)
    lock(root, small_snapshot(tmp_path / "elsewhere"), update_all=True)
    assert files(root) == before


def test_another_snapshot_is_said_with_what_to_type(root: Path, snapshot: Path) -> None:
    lock(root, snapshot)
    first = lockfile.read_digests(root / lockfile.DIGESTS).snapshot
    write_channel(snapshot, "extra", record("only-extra", "2.0"))
    said: list[str] = []
    update.lock(manifest.load(root), snapshot, frozenset(), False, say=said.append)
    told = [line for line in said if "solved from another snapshot" in line]
    assert len(told) == 1
    assert "`--update-all`" in told[0]
    assert lockfile.read_digests(root / lockfile.DIGESTS).snapshot != first
    said.clear()
    update.lock(manifest.load(root), snapshot, frozenset(), False, say=said.append)
    assert not any("another snapshot" in line for line in said)


def test_record_refuses_a_lock_that_does_not(root: Path, snapshot: Path) -> None:
    lock(root, snapshot)
    write_workspace(root, MANIFEST + 'lib = ">=5"\n')
    before = files(root)
    with pytest.raises(D2lEnvError, match="nothing was recorded"):
        update.record(manifest.load(root))
    assert files(root) == before


# --- pixi on the PATH: a stand-in that writes down its words and does what the test says ---

FAKE_PIXI = """\
#!{python}
import os, pathlib, sys
here = pathlib.Path(__file__).parent
(here / "words").write_text("\\n".join(sys.argv[1:]))
print("pixi's own output")
source = here / "pixi.lock"
if source.exists():
    pathlib.Path(sys.argv[-1]).with_name("pixi.lock").write_bytes(source.read_bytes())
sys.exit(int((here / "status").read_text()))
"""


@pytest.fixture
def pixi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if os.name != "posix":
        pytest.skip("the stand-in for pixi is a POSIX script")
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "pixi").write_text(FAKE_PIXI.format(python=sys.executable), encoding="utf-8")
    (folder / "pixi").chmod(0o755)
    (folder / "status").write_text("0", encoding="utf-8")
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(channels, "ask", lambda urls: [Answer(url, "", url) for url in urls])
    return folder


def test_pixi_solves_where_it_is_there_and_the_channels_answer(
    root: Path, snapshot: Path, pixi: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    lock(root, snapshot)
    (pixi / "pixi.lock").write_bytes((root / "pixi.lock").read_bytes())
    older(root, snapshot)
    capfd.readouterr()
    assert [name for name, *_ in lock(root, None)] == ["app", "lib", "tool"]
    assert (pixi / "words").read_text().splitlines() == ["lock", "--manifest-path", str(root / "pixi.toml")]
    recorded = lockfile.read_digests(root / lockfile.DIGESTS)
    assert recorded == lockfile.Recorded(lockfile.digests(lockfile.read(root / "pixi.lock")))
    told = capfd.readouterr()
    assert (told.out, "pixi's own output" in told.err) == ("", True)


def test_pixi_is_told_what_may_move(root: Path, snapshot: Path, pixi: Path) -> None:
    lock(root, snapshot)
    lock(root, None, "tool", "lib")
    manifest = ["--manifest-path", str(root / "pixi.toml")]
    assert (pixi / "words").read_text().splitlines() == ["update", "lib", "tool", *manifest]
    lock(root, None, update_all=True)
    assert (pixi / "words").read_text().splitlines() == ["update", *manifest]


def test_a_snapshot_is_solved_without_pixi(root: Path, snapshot: Path, pixi: Path) -> None:
    lock(root, snapshot)
    assert not (pixi / "words").exists()


def test_pixi_that_fails_is_said_and_nothing_is_recorded(root: Path, snapshot: Path, pixi: Path) -> None:
    lock(root, snapshot)
    before = files(root)
    (pixi / "status").write_text("3", encoding="utf-8")
    with pytest.raises(D2lEnvError, match="pixi ended with status 3"):
        lock(root, None)
    assert files(root) == before


@pytest.mark.parametrize("problem", ["hangs", "cannot be started"])
def test_pixi_that_does_not_end_is_said(
    root: Path, pixi: Path, monkeypatch: pytest.MonkeyPatch, problem: str
) -> None:
    if problem == "hangs":
        (pixi / "pixi").write_text(f"#!{sys.executable}\nimport time; time.sleep(60)\n", encoding="utf-8")
        monkeypatch.setattr(update, "_PIXI_TIMEOUT_S", 0.3)
    else:
        (pixi / "pixi").write_text("#!/no/such/interpreter\n", encoding="utf-8")
    with pytest.raises(D2lEnvError, match="pixi did not run to its end"):
        lock(root, None)


def test_a_wrong_lock_from_pixi_is_not_recorded(root: Path, snapshot: Path, pixi: Path) -> None:
    lock(root, snapshot)
    digests = (root / lockfile.DIGESTS).read_bytes()
    text = (root / "pixi.lock").read_text(encoding="utf-8").replace("  - lib >=1\n", "  - lib >=7\n")
    (pixi / "pixi.lock").write_text(text, encoding="utf-8")
    with pytest.raises(D2lEnvError, match="nothing was recorded"):
        lock(root, None)
    assert (root / lockfile.DIGESTS).read_bytes() == digests


# --- Ctrl-C ---


def many(folder: Path) -> Path:
    """Channels whose solve takes long enough to be interrupted."""
    small_snapshot(folder)
    rows = [record("app", f"{n}.0", depends=("lib >=1", *(f"p{m}" for m in range(60)))) for n in range(3, 30)]
    rows += [record(f"p{m}", f"{n}.0", depends=("lib >=1",)) for m in range(60) for n in range(40)]
    write_channel(folder, "main", *rows, record("lib", "1.6", subdir="linux-64"), record("lib", "1.7"))
    return folder


@pytest.mark.skipif(os.name != "posix", reason="SIGINT to another process is POSIX's")
def test_ctrl_c_leaves_the_old_lock_or_the_whole_new_one(tmp_path: Path) -> None:
    snapshot = many(tmp_path / "channels")
    root = write_workspace(tmp_path / "w")
    lock(root, snapshot)
    new = (root / "pixi.lock").read_bytes()
    old = new + b"# the old one\n"
    statuses: list[int] = []
    for step in range(10):
        (root / "pixi.lock").write_bytes(old)
        process = subprocess.Popen(
            [sys.executable, "-m", "d2lenv", "--workspace", str(root), "lock", "--no-wheels", "--update-all",
             "--snapshot", str(snapshot)],
            env=environ(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stderr is not None
        # From the first line on the command is past Python's own start; then a little later each time.
        first = process.stderr.readline()
        assert first == "solving default for linux-64\n"
        time.sleep(step * 0.02)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
        assert "Traceback" not in told
        assert process.returncode in (0, 130), told
        assert (process.returncode == 130) == told.endswith("stopped\n")
        assert (root / "pixi.lock").read_bytes() in (old, new)
        statuses.append(process.returncode)
    assert statuses[0] == 130
    assert not list(root.glob(".pixi.lock*"))


def test_the_process_ends_with_its_own_status_after_a_failed_solve(root: Path, snapshot: Path) -> None:
    """py-rattler's threads must not turn it into an abort (see `cli._leave`)."""
    write_workspace(root, HEAD + '[dependencies]\nnothing = "*"\n')
    for _ in range(12):
        done = d2lenv(root, "lock", "--no-wheels", "--snapshot", str(snapshot))
        assert done.returncode == 1
        assert done.stderr.splitlines()[1] == "error: `default` for linux-64 has no solution"
