"""`d2lenv data` as it is typed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from d2lenv.data import store, table
from datahost import serving


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environ = os.environ | {"D2LENV_DATA": str(folder), "no_proxy": "127.0.0.1"}
    return subprocess.run(
        [sys.executable, "-m", "d2lenv", "data", *words],
        capture_output=True, encoding="utf-8", timeout=120, env=environ, check=False,
    )  # fmt: skip


def test_list_says_what_a_chapter_needs(tmp_path: Path) -> None:
    done = run(tmp_path, "list", "--book", "en", "--only", "optimization")
    assert done.returncode == 0, done.stderr
    assert "airfoil" in done.stdout
    assert "hotdog" not in done.stdout
    assert "5 files, 31 MB" in done.stdout


def test_check_of_a_hostile_folder_names_things_without_obeying_them(tmp_path: Path) -> None:
    (tmp_path / "timemachine.txt").write_text("not the time machine", encoding="utf-8")
    (tmp_path / "\x1b]0;title\x07\x1b[2Jname").touch()
    (tmp_path / os.fsdecode(b"\xff\xfe")).touch()
    done = run(tmp_path, "check")
    assert done.returncode == 1
    assert "damaged: timemachine.txt" in done.stdout
    assert "\x1b" not in done.stdout
    assert "\\x1b]0;title" in done.stdout
    told = json.loads(run(tmp_path, "check", "--json").stdout)
    assert (told["ok"], told["damaged"], len(told["unknown"])) == (False, ["timemachine.txt"], 2)


@pytest.mark.parametrize("manner", ["escapes", "wrong", "loop"])
def test_a_bad_teacher_gives_nothing_and_reaches_no_terminal(tmp_path: Path, manner: str) -> None:
    with serving(manner) as host:
        done = run(tmp_path, "get", "time_machine", "--from", host.url)
    assert done.returncode == 1
    assert "timemachine.txt" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    assert not (tmp_path / "timemachine.txt").exists()


def test_names_and_a_book_together_are_refused(tmp_path: Path) -> None:
    done = run(tmp_path, "get", "fra-eng", "--book", "en")
    assert done.returncode == 2
    assert "give names, or --book and --only" in done.stderr


def test_serve_says_where_it_listens_and_ends_by_ctrl_c(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "d2lenv", "data", "serve", str(tmp_path), "--port", "0", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
    )  # fmt: skip
    try:
        assert child.stdout is not None
        told: dict[str, Any] = json.loads("".join(iter(child.stdout.readline, "}\n")) + "}")
        assert told["addresses"] == [f"http://127.0.0.1:{told['port']}"]
        assert set(told) == {"schema", "command", "ok", "folder", "files", "addresses", "port"}
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=60)
        assert child.returncode == 130
    finally:
        child.kill()
        child.communicate()


REAL = Path(__file__).resolve().parents[4] / "shared" / "data" / "d2l"


@pytest.mark.skipif(not REAL.is_dir(), reason="not checked: the six real files are not on this machine")
def test_the_six_real_files_are_those_that_the_books_name(tmp_path: Path) -> None:
    names = ["airfoil", "time_machine", "fra-eng", "ptb", "kaggle_house_train", "kaggle_house_test"]
    done = run(tmp_path, "get", *names, "--from", str(REAL))
    assert done.returncode == 0, done.stdout
    files = store.files_of(table.choose(table.load(), names=names))
    assert [(tmp_path / file.path).stat().st_size for file in files] == [file.size for file in files]
