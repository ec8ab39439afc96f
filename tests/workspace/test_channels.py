"""Whether channels answer, asked on the loopback address."""

from __future__ import annotations

import http.server
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from d2lenv.workspace import channels


class Handler(http.server.BaseHTTPRequestHandler):
    """``/good`` answers, ``/other`` compresses otherwise, ``/closed`` refuses, ``/slow`` does not end.

    What is anything else is not found.
    """

    def do_HEAD(self) -> None:
        kind = self.path.split("/")[1]
        if kind == "slow":
            time.sleep(1.5)
        other = 200 if self.path.endswith("/repodata.json") else 404
        self.send_response({"good": 200, "slow": 200, "other": other, "closed": 403}.get(kind, 404))
        self.end_headers()

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(autouse=True)
def _no_mirrors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("D2LENV_LANG", "en")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(channels, "mirrors", dict)


def test_a_channel_that_answers_serves(host: str) -> None:
    (answer,) = channels.ask([f"{host}/good/"])
    assert answer == channels.Answer(f"{host}/good/", "", f"{host}/good/")


def test_a_channel_that_compresses_otherwise_serves(host: str) -> None:
    (answer,) = channels.ask([f"{host}/other/"])
    assert answer.reason == ""


def test_a_channel_that_refuses_does_not_serve(host: str) -> None:
    good, closed = channels.ask([f"{host}/good/", f"{host}/closed/"])
    assert good.reason == ""
    assert closed.reason == f"{host}/closed/: HTTP 403"


def test_a_server_without_a_channels_files_does_not_serve(host: str) -> None:
    (answer,) = channels.ask([f"{host}/nothing/"])
    assert answer.reason == f"{host}/nothing/: HTTP 404"


def test_a_folder_is_a_channel_when_it_has_an_index(tmp_path: Path) -> None:
    (tmp_path / "noarch").mkdir()
    (answer,) = channels.ask([tmp_path.as_uri() + "/"])
    assert "noarch" in answer.reason
    (tmp_path / "noarch" / "repodata.json").write_text("{}", encoding="utf-8")
    (answer,) = channels.ask([tmp_path.as_uri() + "/"])
    assert answer.reason == ""


def test_a_password_in_an_address_is_not_told() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://name:secret@127.0.0.1:{free.getsockname()[1]}/x/"
    (answer,) = channels.ask([address])
    assert answer.reason.startswith("http://127.0.0.1:")
    assert "secret" not in answer.reason


def test_a_channel_that_nobody_listens_for_does_not_serve() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/x/"
    (answer,) = channels.ask([address])
    assert answer.reason.startswith(address)
    assert answer.through == ""


def test_a_slow_channel_is_not_waited_for(host: str) -> None:
    (answer,) = channels.ask([f"{host}/slow/"], timeout_s=0.2)
    assert answer.reason in (f"{host}/slow/: no answer within 0.2 s", f"{host}/slow/: timed out")


def test_a_mirror_is_asked_instead_and_the_next_one_when_it_fails(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    forge = "https://conda.anaconda.org/conda-forge/"
    table = {forge.rstrip("/"): [f"{host}/closed", f"{host}/good"]}
    monkeypatch.setattr(channels, "mirrors", lambda: table)
    (answer,) = channels.ask([forge])
    assert answer == channels.Answer(forge, "", f"{host}/good/")


def test_a_mirror_of_the_whole_host_keeps_the_channels_name(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "mirrors", lambda: {"https://conda.anaconda.org": [f"{host}/good"]})
    (answer,) = channels.ask(["https://conda.anaconda.org/pytorch/"])
    assert answer.through == f"{host}/good/pytorch/"


def test_a_mirror_of_another_channel_is_not_asked(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "mirrors", lambda: {f"{host}/go": [f"{host}/closed"]})
    (answer,) = channels.ask([f"{host}/good/"])
    assert answer.through == f"{host}/good/"


def test_an_empty_list_of_mirrors_serves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "mirrors", lambda: {"https://conda.anaconda.org": []})
    (answer,) = channels.ask(["https://conda.anaconda.org/pytorch/"])
    assert answer.reason == "its mirror list is empty"


def test_no_channels_are_no_answers() -> None:
    assert channels.ask([]) == []


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """pixi's configuration file of a reader who has none yet."""
    monkeypatch.undo()
    for name in ("HOME", "XDG_CONFIG_HOME", "PIXI_HOME", "RATTLER_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    path = tmp_path / "pixi" / "config.toml"
    path.parent.mkdir()
    return path


def test_the_readers_mirrors_are_those_of_pixis_configuration(config: Path) -> None:
    assert channels.mirrors() == {}
    config.write_text('[mirrors]\n"https://conda.anaconda.org" = ["https://mirror.example"]\n', "utf-8")
    ((prefix, others),) = channels.mirrors().items()
    assert prefix.rstrip("/") == "https://conda.anaconda.org"
    assert [other.rstrip("/") for other in others] == ["https://mirror.example"]


def test_a_damaged_configuration_has_no_mirrors(config: Path) -> None:
    config.write_text("[mirrors\n", encoding="utf-8")
    assert channels.mirrors() == {}


@pytest.mark.parametrize(
    ("channel", "address"),
    [
        ("pytorch", "https://conda.anaconda.org/pytorch/"),
        ("conda-forge/label/dev", "https://conda.anaconda.org/conda-forge/label/dev/"),
        ("https://example.org/c", "https://example.org/c/"),
        ("https://example.org/c/", "https://example.org/c/"),
        ("file:///srv/c", "file:///srv/c/"),
    ],
)
def test_a_channel_is_an_address_with_a_closing_slash(channel: str, address: str) -> None:
    assert channels.channel_url(channel) == address


@pytest.mark.parametrize("channel", ["", "a b", "ftp://example.org/c", "https://", "../c"])
def test_what_is_no_channel_is_refused(channel: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        channels.channel_url(channel)
