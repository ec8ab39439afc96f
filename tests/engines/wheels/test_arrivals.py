"""What comes of uv's downloads, as its folders show it."""

from __future__ import annotations

from pathlib import Path

from d2lenv.engines.wheels.arrivals import Arrivals


def test_what_arrives_is_seen_in_the_cache_and_in_the_prefix(tmp_path: Path) -> None:
    cache, site = tmp_path / "cache", tmp_path / "prefix" / "lib" / "python3.10" / "site-packages"
    for folder in (cache / ".tmpA", cache / "archive-v0" / "done", site):
        folder.mkdir(parents=True)
    arrivals = Arrivals(cache, tmp_path / "prefix", 10.0)
    steps = {
        0.0: (lambda: None, True),
        9.0: (lambda: (cache / ".tmpA" / "file").write_bytes(bytes(5000)), True),
        10.0: (lambda: None, False),  # 500 bytes a second are nearly nothing
        11.0: (lambda: (cache / ".tmpA" / "file").write_bytes(bytes(6000)), True),
        20.0: (lambda: (site / "package").mkdir(), True),
        29.0: (lambda: (cache / "archive-v0" / "next").mkdir(), True),
        38.0: (lambda: None, True),
        39.0: (lambda: None, False),
    }
    for now, (change, goes_on) in steps.items():
        change()
        assert arrivals.go_on(now) is goes_on, now
