"""The commands `lock` and `check` as a person or a program calls them."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from channelkit import HEAD, MANIFEST, ROOT, d2lenv, files, record, small_snapshot, write_workspace
from d2lenv.base import signals
from d2lenv.cli import app, main
from d2lenv.workspace import lockfile


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


Call = Callable[..., Done]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Call]:
    """`main` in this process, which would show a traceback as a failed test."""

    def leave(status: int) -> None:
        raise SystemExit(status)

    def run(root: Path, *words: str, language: str = "en") -> Done:
        monkeypatch.setenv("D2LENV_LANG", language)
        monkeypatch.setattr("sys.argv", ["d2lenv", "--workspace", str(root), *words])
        monkeypatch.setattr("os._exit", leave)
        with pytest.raises(SystemExit) as caught:
            main.main()
        told = capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return Done(caught.value.code, told.out, told.err)

    before = {number: signal.getsignal(number) for number in signals.NUMBERS}
    yield run
    # `main` ends the process, so it leaves the signals ignored.
    for number, handler in before.items():
        signal.signal(number, handler)


def solve(root: Path, *words: str) -> tuple[str, ...]:
    """The words that lock the small workspace."""
    return ("lock", "--no-wheels", "--snapshot", str(root.parent / "channels"), *words)


@pytest.fixture
def root(tmp_path: Path, call: Call) -> Path:
    """A small workspace, locked, with its channels beside it."""
    small_snapshot(tmp_path / "channels")
    root = write_workspace(tmp_path / "w")
    assert call(root, *solve(root)).returncode == 0
    return root


def test_check_on_the_projects_lock_prints_the_summary() -> None:
    done = d2lenv(ROOT, "check")
    assert (done.returncode, done.stderr) == (0, "")
    *_, summary, verdict = done.stdout.splitlines()
    assert summary.startswith("6 environments, 18 (environment, platform) pairs, ")
    assert "GB to download where the size is known" in summary
    assert verdict == "pixi.lock satisfies pixi.toml"


def test_check_says_the_same_to_machines() -> None:
    done = d2lenv(ROOT, "check", "--solve", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["ok"]) == (0, True)
    assert told["summary"]["environments"] == 6
    assert {finding["level"] for finding in told["findings"]} == {"note"}
    assert set(told["findings"][0]) == {"rule", "environment", "platform", "package", "message", "level"}


def test_check_of_an_edited_lock_exits_1_with_a_line_for_each_finding(call: Call, root: Path) -> None:
    path = root / "pixi.lock"
    path.write_text(path.read_text("utf-8").replace("  - lib >=1\n", "  - lib >=2\n"), encoding="utf-8")
    done = call(root, "check")
    assert done.returncode == 1
    assert done.stdout.splitlines()[:2] == [
        "error: default/linux-64: app: depends on `lib >=2`; locked is lib 1.6 0 [closure]",
        "error: changed since the digests were recorded: app (default/linux-64) [digest]",
    ]
    told = json.loads(call(root, "check", "--json").stdout)
    assert told["ok"] is False
    assert [finding["rule"] for finding in told["findings"]] == ["closure", "digest"]


def test_what_changed_is_a_table_for_people_and_json_for_machines(root: Path) -> None:
    write_workspace(root, MANIFEST.replace('"*"', '"<2"'))
    shown = d2lenv(root, *solve(root))
    assert shown.returncode == 0
    rows = [line.split() for line in shown.stdout.splitlines() if "linux-64" in line]
    assert rows == [
        ["app", "2.0", "0", "1.0", "0", "default/linux-64"],
        ["tool", "0.2", "0", "-", "default/linux-64"],
    ]
    write_workspace(root)
    told = json.loads(d2lenv(root, *solve(root, "--update-all", "--json")).stdout)
    assert told["changes"][0] == {
        "package": "app",
        "old": "1.0 0",
        "new": "2.0 0",
        "places": ["default/linux-64"],
    }


def test_record_says_where_the_digests_are(call: Call, root: Path) -> None:
    done = call(root, "lock", "--record")
    assert (done.returncode, done.stdout.strip()) == (
        0,
        f"pixi.lock satisfies pixi.toml; its digests are in {root / lockfile.DIGESTS}",
    )
    told = json.loads(call(root, "lock", "--record", "--json").stdout)
    assert told == {"schema": 1, "command": "lock", "ok": True, "recorded": str(root / lockfile.DIGESTS)}


# name: (file to write, its text; None removes it), exit status, what the message says
BAD: dict[str, tuple[str, str | None, int, str]] = {
    "no lock": ("pixi.lock", None, 1, "pixi.lock cannot be read"),
    "empty lock": ("pixi.lock", "", 1, "the file is empty"),
    "truncated lock": ("pixi.lock", "CUT", 1, "pixi.lock is not a pixi lock"),
    "lock that is not YAML": ("pixi.lock", "[", 1, "pixi.lock is not a pixi lock"),
    "lock of a newer format": ("pixi.lock", "version: 99\n", 1, "newer format than this d2lenv reads"),
    "no digests": (lockfile.DIGESTS, None, 1, "lock-digests.json cannot be read"),
    "damaged digests": (lockfile.DIGESTS, "{", 1, "lock-digests.json cannot be read"),
    "unknown feature": ("pixi.toml", MANIFEST + '[environments]\ngpu = ["cuda"]\n', 2, "[environments] gpu"),
    "unknown platform": ("pixi.toml", HEAD.replace("linux-64", "beos"), 2, "`beos` is not a platform"),
    "unknown target": ("pixi.toml", MANIFEST + "[target.beos.dependencies]\n", 2, "[target.beos]"),
    "spec": ("pixi.toml", HEAD + '[dependencies]\nnumpy = ">=1..2"\n', 2, "[dependencies] numpy"),
    "TOML": ("pixi.toml", HEAD + "[dependencies\n", 2, "line 5"),
    "pypi": ("pixi.toml", HEAD + '[pypi-dependencies]\nd2l = "*"\n', 2, "[pypi-dependencies]"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("command", ["check", "lock"])
def test_bad_input_is_one_message_with_its_place(call: Call, root: Path, name: str, command: str) -> None:
    file, text, status, told = BAD[name]
    path = root / file
    if text is None:
        path.unlink()
    else:
        path.write_text(path.read_text("utf-8")[:400] if text == "CUT" else text, encoding="utf-8")
    before = files(root)
    done = call(root, "check") if command == "check" else call(root, *solve(root))
    if command == "lock" and name in ("no lock", "no digests", "damaged digests"):
        assert done.returncode == 0  # that is what `lock` is for
        return
    assert done.returncode == status
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert path.name in errors[0]
    assert told in done.stderr
    assert "\nnext: " in done.stderr
    assert done.stdout == ""
    assert files(root) == before


TOOL = record("tool", "0.2")
EDITS = {
    "a hash": (TOOL["sha256"], "0" * 64, "digest"),
    "a version": ("tool-0.2-0.conda", "tool-0.3-0.conda", "digest"),
    "an address": ("conda.anaconda.org/main/noarch/tool", "example.org/main/noarch/tool", "address"),
    "a dependency": ("  - lib >=1\n", "  - lib >=9\n", "closure"),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_lock_changed_by_hand_is_refused_and_left_alone(call: Call, root: Path, name: str) -> None:
    old, new, rule = EDITS[name]
    path = root / "pixi.lock"
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    before = files(root)
    done = call(root, "check")
    assert done.returncode == 1
    assert f"[{rule}]" in done.stdout
    assert "default/linux-64" in done.stdout
    assert files(root) == before


def test_a_snapshot_that_lacks_a_channel(call: Call, root: Path) -> None:
    shutil.rmtree(root.parent / "channels" / "extra")
    before = files(root)
    done = call(root, *solve(root, "--update-all"))
    assert (done.returncode, done.stdout) == (1, "")
    assert "lacks channel `extra`" in done.stderr
    assert str(root.parent / "channels" / "extra" / "linux-64" / "repodata.json") in done.stderr
    assert files(root) == before


def test_a_solve_that_fails_explains_itself_in_at_most_thirty_lines_of_reason(call: Call, root: Path) -> None:
    write_workspace(root, MANIFEST + 'lib = ">=3"\n')
    before = files(root)
    done = call(root, *solve(root))
    assert (done.returncode, done.stdout) == (1, "")
    _, error, blame, *reason, following = done.stderr.splitlines()
    assert error == "error: `default` for linux-64 has no solution"
    assert 'lib[version=">=3"] [dependencies]' in blame
    assert 0 < len(reason) <= 30
    assert following.startswith("next: ")
    assert files(root) == before


def test_an_error_is_json_for_machines(call: Call, root: Path) -> None:
    (root / "pixi.lock").unlink()
    done = call(root, "check", "--json")
    told = json.loads(done.stdout)
    assert done.returncode == 1
    assert set(told) == {"schema", "command", "ok", "error", "why", "fix"}
    assert told["ok"] is False
    assert "pixi.lock cannot be read" in told["error"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["chekc"], "No such command"),
        (["check", "--sovle"], "No such option"),
        (["lock", "--snapshot", "no-such-folder"], "does not exist"),
        (["lock", "--record", "--update-all"], "--record solves nothing"),
    ],
)
def test_wrong_words_exit_2(call: Call, root: Path, words: list[str], told: str) -> None:
    done = call(root, *words)
    assert done.returncode == 2
    assert told in done.stderr


def test_outside_a_workspace_it_is_said(tmp_path: Path) -> None:
    done = d2lenv(tmp_path, "check")
    assert done.returncode == 2
    assert str(tmp_path / "pixi.toml") in done.stderr


@pytest.mark.parametrize("command", ["lock", "check"])
def test_help_has_an_example_in_both_languages(tmp_path: Path, command: str) -> None:
    assert f"Example: d2lenv {command}" in d2lenv(tmp_path, command, "--help").stdout
    assert f"示例：d2lenv {command}" in d2lenv(tmp_path, command, "--help", D2LENV_LANG="zh").stdout


def test_the_language_is_chosen_when_a_text_is_shown(call: Call, root: Path) -> None:
    """In one process: nothing that was read at import stays."""
    for language, words in (("zh", "不求解"), ("en", "Solve nothing"), ("zh", "不求解")):
        assert words in call(root, "lock", "--help", language=language).stdout


def commands(group: click.Group) -> Iterator[click.Command]:
    for command in group.commands.values():
        yield command
        if isinstance(command, click.Group):
            yield from commands(command)


def test_every_help_is_translated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("D2LENV_LANG", "zh")
    for command in (app.cli, *commands(app.cli)):
        texts = [
            command.help,
            command.get_short_help_str(),
            *(getattr(p, "help", None) for p in command.params),
        ]
        ours = [text for text in texts if text and text != "Show the version and exit."]  # click's own
        assert ours
        assert not [text for text in ours if text.isascii()], command.name


def test_every_command_speaks_the_language_that_the_group_is_given(call: Call, root: Path) -> None:
    assert "pixi.lock 满足 pixi.toml 的要求" in call(root, "--lang", "zh", "check").stdout
    assert "pixi.lock satisfies pixi.toml" in call(root, "--lang", "en", "check", language="zh").stdout
    (root / "pixi.lock").unlink()
    assert call(root, "--lang", "zh_CN", "check").stderr.startswith("错误：无法读取")
    refused = call(root, "--lang", "xx", "check")
    assert refused.returncode == 2
    assert "one of: en, zh_CN" in refused.stderr


def test_messages_are_in_the_readers_language(call: Call, root: Path) -> None:
    done = call(root, "check", language="zh")
    assert "pixi.lock 满足 pixi.toml 的要求" in done.stdout
    shown = call(root, *solve(root, "--update-all"), language="zh")
    assert "求解" in shown.stderr
    (root / "pixi.lock").unlink()
    failed = call(root, "check", language="zh")
    assert failed.stderr.startswith("错误：无法读取")
    assert "下一步：" in failed.stderr


def test_a_terminal_that_cannot_show_a_character_gets_a_stand_in(root: Path) -> None:
    done = d2lenv(root, "check", D2LENV_LANG="zh", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "pixi.lock" in done.stdout


def test_stopping_is_said_and_exits_130(call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def stop(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(app.cli, "main", stop)
    done = call(tmp_path, "check")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "stopped\n")


def test_ctrl_c_that_became_another_error_on_its_way_is_still_ctrl_c(
    root: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        try:
            raise KeyboardInterrupt
        finally:
            raise OSError(9, "Bad file descriptor")  # as shutil.rmtree does

    monkeypatch.setattr(lockfile, "read", interrupted)
    done = call(root, "check")
    assert done.returncode == 130
    assert done.stderr.splitlines()[-1] == "stopped"


def test_an_error_that_nobody_foresaw_keeps_its_traceback(
    root: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(lockfile, "read", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        call(root, "check")
