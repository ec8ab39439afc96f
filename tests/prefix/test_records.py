"""What packages say of their files, when they say it badly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from d2lenv.prefix import records
from d2lenv.prefix.contents.prefix import read_prefix


def wheel(root: Path, record: bytes) -> Path:
    folder = root / "lib" / "python3.10" / "site-packages" / "x-1.dist-info"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "METADATA").write_text("Name: x\nVersion: 1\n", encoding="utf-8")
    (folder / "RECORD").write_bytes(record)
    return root


def conda(root: Path, paths: object, name: str = "a") -> Path:
    (root / "conda-meta").mkdir(exist_ok=True)
    data = {"name": name, "version": "1", "build": "0", "paths_data": {"paths": paths}}
    (root / "conda-meta" / f"{name}-1-0.json").write_text(json.dumps(data), encoding="utf-8")
    return root


SITE = "lib/python3.10/site-packages"


def test_a_record_is_read_with_its_quotes_its_digests_and_its_way_out_of_site_packages(
    tmp_path: Path,
) -> None:
    digest = "sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
    text = (
        f'x.py,{digest},0\n"a, ""b"".py",,\n../../../bin/x,{digest},12\nold.py,md5=x,1\nbad.py,sha256=!,1\n'
    )
    found = records.read(read_prefix(wheel(tmp_path, text.encode())))
    assert found.problems == []
    assert found.of[f"{SITE}/x.py"][0].sha256.startswith("e3b0c44298fc1c14")
    assert found.of[f"{SITE}/x.py"][0].size == 0
    assert found.of[f'{SITE}/a, "b".py'][0].sha256 == ""
    assert found.of["bin/x"][0].size == 12
    assert not found.hashed(f"{SITE}/old.py")
    assert not found.hashed(f"{SITE}/bad.py")
    assert found.owner("bin/x") == "x"
    assert found.owner("nothing") == ""
    assert found.sources == {f"{SITE}/x-1.dist-info/RECORD": "x"}


@pytest.mark.parametrize(
    "line", ["../../../../x,,", "/etc/passwd,,", "x.py", "x.py,,,,", ",,", '"x.py,,', "a\\b,,"]
)
def test_a_line_that_leaves_or_is_damaged_is_a_problem_and_no_claim(tmp_path: Path, line: str) -> None:
    found = records.read(read_prefix(wheel(tmp_path, f"{line}\n".encode())))
    assert len(found.problems) == 1
    assert found.of == {}


def test_conda_says_what_was_packed_and_what_was_written(tmp_path: Path) -> None:
    one, two = "1" * 64, "2" * 64
    rows = [
        {"_path": "a", "path_type": "hardlink", "sha256": one, "size_in_bytes": 5},
        {"_path": "b", "path_type": "hardlink", "sha256": one, "sha256_in_prefix": two, "size_in_bytes": 5},
        {"_path": "c", "path_type": "hardlink", "sha256": one, "sha256_in_prefix": one, "size_in_bytes": 5},
        {"_path": "d", "path_type": "softlink", "sha256": None},
        {"_path": "e", "path_type": "directory"},
        {"_path": "f", "path_type": "unix_python_entry_point", "sha256": two},
        {"_path": "../g", "path_type": "hardlink"},
    ]
    found = records.read(read_prefix(conda(tmp_path, rows)))
    said = {path: (c.sha256[:1], c.size, c.original[:1], c.kind) for path, (c,) in found.of.items()}
    assert said == {
        "a": ("1", 5, "", "file"),
        "b": ("2", None, "1", "file"),
        "c": ("1", 5, "", "file"),
        "d": ("", None, "", "link"),
        "f": ("2", None, "", "entry-point"),
    }
    assert [problem[2] for problem in found.problems] == ["it names a file outside: ../g"]


@pytest.mark.parametrize("paths", [None, 3, "x", [3], [{}], [{"path": "x"}]])
def test_conda_meta_without_a_list_of_files_is_a_problem(tmp_path: Path, paths: object) -> None:
    found = records.read(read_prefix(conda(tmp_path, paths)))
    assert len(found.problems) == 1
    assert "it has no list of files" in found.problems[0][2]


def test_two_wheels_may_share_a_file_and_conflict_only_when_it_differs(tmp_path: Path) -> None:
    site = tmp_path / SITE
    for name, digest in (("one", "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"), ("two", "A" * 43)):
        folder = site / f"{name}-1.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Name: {name}\nVersion: 1\n", encoding="utf-8")
        lines = [
            "same.py,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0",
            f"../../../bin/other,sha256={digest},0",
            "../../../bin/same,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0",
            f"{name}-1.dist-info/RECORD,,",
        ]
        (folder / "RECORD").write_text("\n".join(lines), encoding="utf-8")
    found = records.conflicts(tmp_path)
    assert found == {
        "bin/other": {
            "one": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "two": "0" * 64,
        }
    }
