from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

import datakit
from d2lenv.base.errors import D2lEnvError
from d2lenv.data import get, sources, store
from d2lenv.data.fetch import Limits
from d2lenv.data.get import Got, Progress
from d2lenv.data.sources import Origin
from d2lenv.data.table import Table
from d2lenv.facts.datasets import SIZES
from datahost import serving
from diskkit import small_disk

QUICK = Limits(silence_s=1, window_s=2, lowest=1000)


def fetch_all(
    folder: Path, table: Table, origin: Origin | None = None, heard: list[Progress] | None = None
) -> Got:
    files = store.files_of(table.sets)
    on_progress = (lambda _: None) if heard is None else heard.append
    given = origin or Origin()
    return get.get(folder, files, given, say=lambda _: None, on_progress=on_progress, limits=QUICK)


def test_everything_comes_once_is_right_and_cannot_be_written(tmp_path: Path) -> None:
    with serving() as host:
        first = fetch_all(tmp_path, datakit.table(host.url))
        asked = len(host.asked)
        second = fetch_all(tmp_path, datakit.table(host.url))
        assert len(host.asked) == asked == len(datakit.CONTENT)
    assert (len(first.fetched), first.failed) == (len(datakit.CONTENT), {})
    assert (len(second.before), second.fetched) == (len(datakit.CONTENT), ())
    for path, content in datakit.CONTENT.items():
        assert (tmp_path / path).read_bytes() == content
        assert (tmp_path / path).stat().st_mode & 0o777 == 0o444
    assert list(store.partial(tmp_path).iterdir()) == []


def test_a_damaged_file_is_fetched_again(tmp_path: Path) -> None:
    datakit.fill(tmp_path)
    (tmp_path / "words.txt").write_bytes(b"damaged")
    with serving() as host:
        done = fetch_all(tmp_path, datakit.table(host.url))
    assert [file.path for file in done.fetched] == ["words.txt"]
    assert (tmp_path / "words.txt").read_bytes() == datakit.CONTENT["words.txt"]


@pytest.mark.parametrize("manner", ["wrong", "loop", "silent", "trickle", "slow_head", "escapes"])
def test_a_bad_server_gives_no_file_and_each_is_named_with_a_reason(tmp_path: Path, manner: str) -> None:
    with serving(manner) as host:
        begun = time.monotonic()
        done = fetch_all(tmp_path, datakit.table(host.url))
        assert time.monotonic() - begun < 60
    large = {path for path, content in datakit.CONTENT.items() if len(content) > 1000}
    assert {file.path for file in done.failed} >= large
    assert all(done.failed.values())
    assert not any((tmp_path / path).exists() for path in large)


def test_a_resumed_file_of_other_bytes_is_begun_again(tmp_path: Path) -> None:
    words = store.files_of(datakit.table().sets)[0]
    store.partial(tmp_path).mkdir(parents=True)
    (store.partial(tmp_path) / f"{words.digest}.part").write_bytes(b"another file's beginning")
    with serving() as host:
        assert fetch_all(tmp_path, datakit.table(host.url)).failed == {}
    assert [wanted for name, wanted in host.asked if name == "words.txt"] == ["bytes=24-", ""]


def test_the_next_address_is_asked_when_one_fails(tmp_path: Path) -> None:
    with serving("wrong") as bad, serving() as good:
        origin = Origin(mirrors=(bad.url.rstrip("/"), good.url.rstrip("/")), own=False)
        done = fetch_all(tmp_path, datakit.table(), origin)
    assert done.failed == {}


def test_a_folder_gives_files_under_their_names_and_under_others(tmp_path: Path) -> None:
    stick = datakit.fill(tmp_path / "stick")
    (stick / "words.txt").rename(stick / "\x1b[31mhostile\n.bin")
    (stick / "words.txt").write_bytes(b"not the words")
    (stick / datakit.WEIGHTS).unlink()
    origin = sources.origin([str(stick)])
    heard: list[Progress] = []
    done = fetch_all(tmp_path / "shared", datakit.table(), origin, heard)
    assert [file.path for file in done.failed] == [datakit.WEIGHTS]
    assert (tmp_path / "shared" / "words.txt").read_bytes() == datakit.CONTENT["words.txt"]
    ends = [event for event in heard if event.kind == "done"]
    assert {event.of for event in ends} == {len(datakit.CONTENT) - 1} == {len(ends)}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stop_keeps_what_came_and_the_next_call_goes_on(tmp_path: Path, number: int) -> None:
    code = (
        "import sys, datakit; from pathlib import Path; from d2lenv.data import get, store; "
        "from d2lenv.data.sources import Origin; "
        "t = datakit.table(sys.argv[2]); print('ready', flush=True); "
        "get.get(Path(sys.argv[1]), store.files_of(t.sets)[:1], Origin(), say=print)"
    )
    environ = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "no_proxy": "127.0.0.1"}
    with serving("gated") as host:
        child = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), host.url],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ,
        )  # fmt: skip
        try:
            half = len(datakit.CONTENT["words.txt"]) // 2
            until(lambda: [part.stat().st_size for part in store.partial(tmp_path).glob("*.part")] == [half])
            child.send_signal(number)
            errors = child.communicate(timeout=60)[1]
            assert (b"KeyboardInterrupt" in errors) == (number == signal.SIGINT)
        finally:
            child.kill()
            child.communicate()
        host.manner = "ranges"
        files = store.files_of(datakit.table(host.url).sets)[:1]
        done = get.get(tmp_path, files, Origin(), say=lambda _: None)
    assert done.failed == {}
    assert host.asked[-1] == ("words.txt", f"bytes={half}-")


def until(happened: object, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not happened():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.02)


def test_two_at_once_fetch_nothing_twice(tmp_path: Path) -> None:
    said: list[str] = []
    with serving("gated") as host:
        table = datakit.table(host.url)
        files = store.files_of(table.sets)[:1]
        first = threading.Thread(
            target=get.get, args=(tmp_path, files, Origin()), kwargs={"say": said.append}
        )
        first.start()
        assert host.waiting.wait(60)
        found: list[Got] = []
        second = threading.Thread(
            target=lambda: found.append(get.get(tmp_path, files, Origin(), say=said.append))
        )
        second.start()
        until(lambda: any("waiting for another process" in text for text in said))
        host.gate.set()
        first.join(60)
        second.join(60)
    assert len(host.asked) == 1
    assert [file.path for file in found[0].before] == ["words.txt"]


def test_a_full_disk_is_said_before_and_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with small_disk(tmp_path / "disk", "300k"), serving() as host:
        with pytest.raises(D2lEnvError, match="what has come so far is kept") as failed:
            fetch_all(tmp_path / "disk", datakit.table(host.url))
        assert "--only CHAPTER" in failed.value.fix
        monkeypatch.setitem(SIZES, "unused.zip", 10**7)
        asked = len(host.asked)
        with pytest.raises(D2lEnvError, match="the data need 10 MB"):
            fetch_all(tmp_path / "disk", datakit.table(host.url))
        assert len(host.asked) == asked


def test_a_link_out_of_the_folder_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "shared").mkdir()
    for name in (".d2lenv", "hub"):
        link = tmp_path / "shared" / name
        link.symlink_to(tmp_path / "elsewhere")
        with serving() as host, pytest.raises(D2lEnvError, match="in the way"):
            fetch_all(tmp_path / "shared", datakit.table(host.url))
        link.unlink()
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_without_a_network_each_file_is_named(tmp_path: Path) -> None:
    done = fetch_all(tmp_path, datakit.table("http://127.0.0.1:9/"))
    assert len(done.failed) == len(datakit.CONTENT)
    assert all("127.0.0.1:9" in reason for reason in done.failed.values())


def test_the_plan_is_what_can_come(tmp_path: Path) -> None:
    plans: list[Sequence[object]] = []
    files = store.files_of(datakit.table().sets)
    (tmp_path / "empty").mkdir()
    get.get(
        tmp_path / "shared", files, sources.origin([str(tmp_path / "empty")]),
        say=lambda _: None, on_plan=plans.append,
    )  # fmt: skip
    assert [len(plan) for plan in plans] == [0]
