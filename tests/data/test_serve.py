from __future__ import annotations

import asyncio
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from queue import Queue

import pytest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

import datakit
from d2lenv.base.errors import D2lEnvError
from d2lenv.data import get, serve, sources, store


@pytest.fixture
def teacher(tmp_path: Path) -> Iterator[str]:
    """The address of a server whose folder holds the files under other names."""
    folder = datakit.fill(tmp_path / "teacher")
    (folder / "words.txt").rename(folder / "w")
    (folder / "secret.txt").write_text("secret", encoding="utf-8")
    found = sources.find_in(folder, store.files_of(datakit.table().sets))
    ready: Queue[tuple[int, asyncio.AbstractEventLoop, asyncio.Event]] = Queue()

    async def run() -> None:
        server, done = HTTPServer(serve.application(found)), asyncio.Event()
        server.add_sockets(sockets := bind_sockets(0, "127.0.0.1"))
        ready.put((sockets[0].getsockname()[1], asyncio.get_running_loop(), done))
        await done.wait()
        server.stop()

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    port, loop, done = ready.get(timeout=30)
    yield f"http://127.0.0.1:{port}"
    loop.call_soon_threadsafe(done.set)
    thread.join(30)


def test_a_student_gets_everything_from_a_teacher(tmp_path: Path, teacher: str) -> None:
    files = store.files_of(datakit.table().sets)
    done = get.get(tmp_path / "student", files, sources.origin([teacher]), say=lambda _: None)
    assert done.failed == {}
    assert store.states(tmp_path / "student", files) == dict.fromkeys(files, "present")


def test_a_range_and_a_name_without_its_folder_are_answered(teacher: str) -> None:
    content = datakit.CONTENT["Numbers/raw/images.gz"]
    request = urllib.request.Request(teacher + "/images.gz", headers={"Range": "bytes=100-"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 206
        assert answer.headers["Content-Range"] == f"bytes 100-{len(content) - 1}/{len(content)}"
        assert answer.read() == content[100:]


@pytest.mark.parametrize(
    "path",
    [
        "secret.txt",
        "w",
        "../teacher/secret.txt",
        "..%2f..%2fetc/passwd",
        "%2e%2e/secret.txt",
        "/etc/passwd",
        "hub",
    ],
)
def test_only_files_of_the_table_can_be_had(teacher: str, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{teacher}/{path}", timeout=30)
    refused.value.close()
    assert refused.value.code == 404


def test_the_list_names_what_there_is(teacher: str) -> None:
    with urllib.request.urlopen(teacher, timeout=30) as answer:
        assert set(datakit.CONTENT) <= set(answer.read().decode().splitlines())


def test_a_taken_port_and_a_foreign_address_are_refused() -> None:
    taken = bind_sockets(0, "127.0.0.1")
    port = taken[0].getsockname()[1]
    try:
        with pytest.raises(D2lEnvError, match=f"127.0.0.1:{port} cannot be listened on"):
            serve.serve({}, "127.0.0.1", port, lambda _: None)
        with pytest.raises(D2lEnvError, match="cannot be listened on"):
            serve.serve({}, "192.0.2.1", 0, lambda _: None)
    finally:
        taken[0].close()


def test_addresses_are_those_that_others_can_reach() -> None:
    assert serve.addresses("127.0.0.1", 80) == ("http://127.0.0.1:80",)
    assert serve.addresses("::1", 80) == ("http://[::1]:80",)
    assert not any("127.0.0.1" in url or "0.0.0.0" in url for url in serve.addresses("0.0.0.0", 80))
