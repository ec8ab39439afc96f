from __future__ import annotations

import http.client
import io
import urllib.request
from pathlib import Path
from threading import Event

import pytest

import datakit
from d2lenv.data import fetch, store
from d2lenv.data.fetch import Limits, Refused, Stopping
from d2lenv.data.table import DataFile
from d2lenv.facts.datasets import SIZES
from datahost import Host, serving

CONTENT = datakit.CONTENT["words.txt"]


class Impatient(Event):
    """A second attempt follows at once."""

    def wait(self, timeout: float | None = None) -> bool:
        return self.is_set()


QUICK = Limits(silence_s=1, window_s=0.5, lowest=1000)


def words() -> DataFile:
    return store.files_of(datakit.table().sets)[0]


def ask(host: Host, part: Path, limits: Limits = QUICK, stopping: Event | None = None) -> list[int]:
    heard: list[int] = []

    def on_bytes(count: int, size: int | None) -> None:
        assert size in (None, len(CONTENT))
        heard.append(count)

    fetch.fetch(host.url + "words.txt", words(), part, limits, stopping or Impatient(), on_bytes)
    return heard


@pytest.mark.parametrize("manner", ["ranges", "plain", "moved"])
def test_a_file_comes_whole(tmp_path: Path, manner: str) -> None:
    with serving(manner) as host:
        heard = ask(host, tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == CONTENT
    assert heard[-1] == len(CONTENT)


def test_a_break_is_resumed_where_it_was(tmp_path: Path) -> None:
    with serving(breaks=2) as host:
        ask(host, tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == CONTENT
    half = len(CONTENT) // 2
    assert host.asked[:2] == [("words.txt", ""), ("words.txt", f"bytes={half}-")]


def test_a_server_without_ranges_begins_again(tmp_path: Path) -> None:
    with serving("plain", breaks=1) as host:
        ask(host, tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == CONTENT


def test_what_is_all_there_is_not_asked_for_again(tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(CONTENT)
    with serving() as host:
        assert ask(host, tmp_path / "part") == []
    assert (tmp_path / "part").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("manner", "why"),
    [
        ("loop", "redirect|302"),
        ("to_a_file", "not allowed"),
        ("silent", "timed out"),
        ("trickle", "fewer than 1000 bytes a second"),
    ],
)
def test_a_bad_server_is_given_up_with_a_reason(tmp_path: Path, manner: str, why: str) -> None:
    with serving(manner) as host, pytest.raises(Refused, match=why):
        ask(host, tmp_path / "part")


def test_a_file_that_is_not_there_is_refused_at_once(tmp_path: Path) -> None:
    with serving() as host, pytest.raises(Refused, match="404"):
        fetch.fetch(host.url + "gone", words(), tmp_path / "part", QUICK, Event(), lambda *_: None)
    assert len(host.asked) == 1


def test_another_part_than_was_asked_for_is_refused(tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(CONTENT[:1000])
    with serving("other_range") as host, pytest.raises(Refused, match="another part"):
        ask(host, tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == CONTENT[:1000]


def test_more_bytes_than_the_table_allows_are_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("d2lenv.data.table._MOST_BYTES", 2_000_000)
    with serving("endless") as host, pytest.raises(Refused, match="more than 2000000 bytes"):
        ask(host, tmp_path / "part")
    assert (tmp_path / "part").stat().st_size <= 2_000_000


def test_a_stated_length_that_is_not_the_files_is_refused_before_a_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SIZES, "words.txt", 5)
    with serving() as host, pytest.raises(Refused, match=f"{len(CONTENT)} bytes instead of 5"):
        ask(host, tmp_path / "part")
    assert not (tmp_path / "part").exists()


def test_an_address_with_tls_does_not_lead_to_one_without() -> None:
    redirects = fetch._Redirects()
    request = urllib.request.Request("https://a.test/x")
    with pytest.raises(Refused, match="leads from https to http"):
        redirects.redirect_request(
            request, io.BytesIO(), 302, "Found", http.client.HTTPMessage(), "http://a.test/x"
        )


def test_a_told_stop_ends_it_and_keeps_what_came(tmp_path: Path) -> None:
    stopping = Event()
    stopping.set()
    with serving() as host, pytest.raises(Stopping):
        ask(host, tmp_path / "part", stopping=stopping)


def test_a_link_in_the_parts_place_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine", encoding="utf-8")
    (tmp_path / "part").symlink_to(victim)
    with serving() as host, pytest.raises((OSError, Refused)):
        ask(host, tmp_path / "part")
    assert victim.read_text(encoding="utf-8") == "mine"
