"""Downloads that stall are told from those that are slow."""

from __future__ import annotations

from d2lenv.engines.conda.downloads import LEAST_BYTES_PER_S, Downloads


def two() -> Downloads:
    downloads = Downloads(
        {"big": "https://example.org/big.conda", "small": "https://example.org/small.conda"}
    )
    downloads.wait(0, "big")
    downloads.wait(1, "small")
    assert downloads.stalled(0.0, 60.0) == []
    return downloads


def test_a_byte_a_second_is_a_stall_and_each_download_is_named() -> None:
    downloads = two()
    for second in range(1, 60):
        downloads.receive(0, second, 1000)
        assert downloads.stalled(float(second), 60.0) == []
    big, small = downloads.stalled(60.0, 60.0)
    assert big == (
        "the download of big has stalled: 59 of 1000 bytes, and nearly nothing for 60 s: "
        "https://example.org/big.conda"
    )
    assert "small has stalled: 0 of ? bytes" in small


def test_many_slow_downloads_together_are_no_stall() -> None:
    downloads = Downloads({})
    for number in range(50):
        downloads.wait(number, str(number))
    assert downloads.stalled(0.0, 60.0) == []
    each = LEAST_BYTES_PER_S * 60 // 50 + 1
    for round_number in range(1, 5):
        for number in range(50):
            downloads.receive(number, each * round_number, None)
        assert downloads.stalled(60.0 * round_number, 60.0) == []


def test_one_that_stalls_is_found_when_the_others_have_ended() -> None:
    downloads = two()
    downloads.receive(1, 10_000_000, 10_000_000)
    assert downloads.stalled(60.0, 60.0) == []
    downloads.end(1)
    assert downloads.stalled(61.0, 60.0) == []
    (line,) = downloads.stalled(121.0, 60.0)
    assert line.startswith("the download of big has stalled")


def test_while_nothing_is_awaited_nothing_stalls() -> None:
    downloads = two()
    downloads.end(0)
    downloads.end(1)
    assert downloads.stalled(1000.0, 60.0) == []
    downloads.wait(2, "late")
    assert downloads.stalled(1001.0, 60.0) == []
    assert len(downloads.stalled(1061.0, 60.0)) == 1


def test_a_download_that_begins_anew_counts_what_comes_then() -> None:
    downloads = two()
    downloads.receive(0, 10_000, None)
    downloads.receive(0, 0, None)
    downloads.receive(0, LEAST_BYTES_PER_S * 60, None)
    assert downloads.stalled(60.0, 60.0) == []
    downloads.receive(7, 1, None)  # of no package that is awaited
