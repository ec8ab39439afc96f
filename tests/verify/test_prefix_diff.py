"""Two prefixes, file by file: what may differ is undone, everything else is named."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import proofkit
from d2lenv.base.errors import D2lEnvError
from d2lenv.verify import prefix_diff as compare
from d2lenv.verify.prefix_diff import RULES, Side
from proofkit import CONDA_SITE, SITE, Home

posix = pytest.mark.skipif(os.name != "posix", reason="links and modes of POSIX")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        yield proofkit.home(tmp_path_factory.mktemp("compare"), patch, stack)


@pytest.fixture(scope="module")
def pairs(home: Home) -> dict[str, tuple[Path, Path]]:
    """Engine → two builds in places of different length."""
    return {
        engine: (
            home.build(engine, home.caches / f"{engine}-1"),
            home.build(engine, home.caches / "elsewhere" / f"{engine}-two"),
        )
        for engine in ("wheels", "rattler")
    }


@pytest.mark.parametrize("engine", ["wheels", "rattler"])
def test_two_builds_are_the_same_after_the_rules(pairs: dict[str, tuple[Path, Path]], engine: str) -> None:
    found = compare.compare(*pairs[engine])
    assert found.same, found.differences
    assert found.undone["prefix"] >= 2  # kernelspec, marker
    if engine == "rattler":
        assert found.undone["conda-meta"] >= 1


def test_the_prefix_itself_is_the_same_without_any_rule(pairs: dict[str, tuple[Path, Path]]) -> None:
    found = compare.compare(pairs["wheels"][0], pairs["wheels"][0])
    assert found.same
    assert found.undone == {}


CHANGES: dict[str, tuple[Callable[[Path], object], str, str, str]] = {
    "content": (lambda p: proofkit.flip(p / SITE / "greet.py"), f"{SITE}/greet.py", "content", "greet"),
    "size": (lambda p: (p / SITE / "greet.py").write_bytes(b"x"), f"{SITE}/greet.py", "size", "greet"),
    "gone": (lambda p: (p / "etc" / "f.json").unlink(), "etc/f.json", "only-first", "fast"),
    "new": (lambda p: (p / SITE / "evil.pth").write_bytes(b""), f"{SITE}/evil.pth", "only-second", ""),
    "record": (
        lambda p: proofkit.flip(p / SITE / "greet-1.0.dist-info" / "RECORD", 0),
        f"{SITE}/greet-1.0.dist-info/RECORD",
        "content",
        "greet",
    ),
}
if os.name == "posix":
    CHANGES |= {
        "mode": (lambda p: (p / SITE / "greet.py").chmod(0o700), f"{SITE}/greet.py", "mode", "greet"),
        "link": (
            lambda p: ((p / "bin" / "python3").unlink(), (p / "bin" / "python3").symlink_to("sh")),
            "bin/python3",
            "link",
            "",
        ),
        "type": (
            lambda p: ((p / SITE / "greet.py").unlink(), (p / SITE / "greet.py").symlink_to("x")),
            f"{SITE}/greet.py",
            "type",
            "greet",
        ),
    }


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_a_change_is_found_with_its_kind_and_package(
    pairs: dict[str, tuple[Path, Path]], tmp_path: Path, name: str
) -> None:
    change, path, kind, package = CHANGES[name]
    first = pairs["wheels"][0]
    second = proofkit.copied(first, tmp_path)
    change(second)
    (difference,) = (d for d in compare.compare(first, second).differences if "d2lenv.json" not in d.path)
    assert (difference.path, difference.kind, difference.package) == (path, kind, package)


@pytest.mark.parametrize("path", ["etc/settings.conf", "lib/libsettings.so.1", f"{CONDA_SITE}/fast.so"])
def test_a_change_in_a_file_that_holds_the_prefix_is_found(
    pairs: dict[str, tuple[Path, Path]], path: str
) -> None:
    first, second = pairs["rattler"]
    proofkit.flip(second / path)
    try:
        found = compare.compare(first, second).differences
    finally:
        proofkit.flip(second / path)
    assert path in [difference.path for difference in found]


def test_the_zeros_after_a_prefix_in_a_binary_are_no_difference(tmp_path: Path) -> None:
    rule = next(rule for rule in RULES if rule.name == "prefix")
    short, long = Path("/a"), Path("/longer/path")
    one = b"\x7fELF\0/a/lib\0" + b"\0" * 11 + b"end"
    other = b"\x7fELF\0/longer/path/lib\0" + b"end"
    assert rule.undo(one, Side(short, ()), "x") == rule.undo(other, Side(long, ()), "x")
    assert rule.undo(one + b"!", Side(short, ()), "x") != rule.undo(other, Side(long, ()), "x")


def test_bytecode_differs_in_its_header_only(tmp_path: Path) -> None:
    rule = next(rule for rule in RULES if rule.name == "bytecode-time")
    one, other = b"magic" + b"1" * 11 + b"/one/x.py", b"magic" + b"2" * 11 + b"/two/x.py"
    assert rule.undo(one, Side(Path("/one"), ()), "x.pyc") == rule.undo(
        other, Side(Path("/two"), ()), "x.pyc"
    )
    assert rule.undo(one, Side(Path("/one"), ()), "") != rule.undo(other + b"!", Side(Path("/two"), ()), "")


def test_lists_of_files_may_differ_only_about_files_that_differ_by_a_rule() -> None:
    rules = {rule.name: rule for rule in RULES}
    record = b"a.py,sha256=1,1\nb.py,sha256=2,1\n"
    other = b"a.py,sha256=1,1\nb.py,sha256=3,1\n"
    path = "lib/site/x.dist-info/RECORD"
    for undone, same in (((), False), (("lib/site/b.py",), True), (("lib/site/a.py",), False)):
        sides = [rules["record"].undo(data, Side(Path("/"), undone), path) for data in (record, other)]
        assert (sides[0] == sides[1]) is same

    def meta(digest: str, source: str) -> bytes:
        row = {"_path": "b", "path_type": "hardlink", "sha256": "0", "size_in_bytes": 1}
        paths = [{**row, "sha256_in_prefix": digest}]
        return json.dumps({"name": "x", "link": {"source": source}, "paths_data": {"paths": paths}}).encode()

    undo = rules["conda-meta"].undo
    assert undo(meta("1", "/c"), Side(Path("/"), ("b",)), "") == undo(
        meta("2", "/d"), Side(Path("/"), ("b",)), ""
    )
    assert undo(meta("1", "/c"), Side(Path("/"), ()), "") != undo(meta("2", "/c"), Side(Path("/"), ()), "")
    assert undo(b"{", Side(Path("/"), ()), "") == b"{"
    history = rules["history"].undo
    assert history(b"==> 2026-01-01 <==\n+a\n", Side(Path("/"), ()), "") == history(
        b"==> 2027-02-02 <==\n+a\n", Side(Path("/"), ()), ""
    )


def test_every_rule_has_a_name_and_a_reason_and_the_last_fits_everything() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert all(rule.reason() for rule in RULES)
    assert RULES[-1].pattern.fullmatch("any/file")


def test_every_kind_of_difference_has_a_meaning() -> None:
    kinds = compare.Kind.__args__  # type: ignore[attr-defined]
    assert len({compare.meaning(kind) for kind in kinds}) == len(kinds)


@posix
def test_what_cannot_be_read_is_an_error_and_not_the_same(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(D2lEnvError, match="cannot be read"):
        compare.compare(tmp_path / "a", tmp_path / "none")
