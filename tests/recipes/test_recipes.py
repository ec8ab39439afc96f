"""The usual changes of CONTRIBUTING.md: a row, a folder, a table of pixi.toml, and nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from channelkit import record, write_channel, write_workspace
from d2lenv import doctor
from d2lenv.base import messages
from d2lenv.doctor.model import Context, Problem
from d2lenv.export import plan
from d2lenv.export.formats import registry
from d2lenv.export.request import Request
from d2lenv.facts import platforms
from d2lenv.solve import check, update
from d2lenv.workspace import lockfile, manifest, settings
from doctor.environments import Environment

NEW = "linux-riscv64"
MANIFEST = f"""\
[workspace]
name = "small"
channels = ["main"]
platforms = ["linux-64", "{NEW}"]

[dependencies]
app = "*"

[target.{NEW}.dependencies]
only-there = "*"

[target.linux.dependencies]
of-the-family = "*"
"""
PLAIN = MANIFEST.replace(f', "{NEW}"', "").partition("[target")[0]


@pytest.fixture(autouse=True)
def _english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("D2LENV_LANG", "en")


@pytest.fixture
def riscv(monkeypatch: pytest.MonkeyPatch) -> None:
    """A platform that the distribution has not, as one row."""
    row = dataclasses.replace(
        platforms.row("linux-aarch64"),
        machine="riscv64",
        uv="riscv64-unknown-linux",
        program=("ELF", 0xF3),
        conda_lock=platforms.CondaLock("riscv64", (("__unix", "0", ""),)),
    )
    monkeypatch.setitem(platforms.ROWS, NEW, row)


def test_a_platform_is_a_row_and_its_name_in_pixi_toml(tmp_path: Path, riscv: None) -> None:
    channels = tmp_path / "channels"
    noarch = [record(name) for name in ("app", "only-there", "of-the-family")]
    for platform in ("linux-64", NEW):
        own = record("lib", subdir=platform, depends=("__glibc >=2.17",))
        write_channel(channels, "main", *noarch, own, platform=platform)
    space = manifest.load(write_workspace(tmp_path / "w", MANIFEST + 'lib = "*"\n'))
    update.lock(space, channels, frozenset(), False, say=lambda _: None)
    lock = lockfile.read(space.lock)
    names = {record.name.normalized for record in lock.records("default", NEW)}
    assert names == {"app", "lib", "of-the-family", "only-there"}
    recorded = lockfile.read_digests(space.root / lockfile.DIGESTS)
    assert check.errors(check.check(space, lock, recorded)) == []
    texts = plan.of_workspace(space, Request()).texts
    assert any(NEW in name for name in texts)
    assert "# [riscv64]" in "".join(texts.values())


def test_a_platform_without_a_row_is_named(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=NEW):
        manifest.load(write_workspace(tmp_path, MANIFEST))


def test_an_environment_of_wheels_is_a_table_in_pixi_toml(tmp_path: Path) -> None:
    text = f"""
[tool.d2lenv]
exclude-newer = "2026-11-20T00:00:00Z"

[tool.d2lenv.environments.made-up]
display-name = "Made up"
python = "3.12"
wheels = ["{platforms.current()}"]
requirements = ["d2l==1.0.3"]
"""
    space = manifest.load(write_workspace(tmp_path, PLAIN + text))
    assert settings.get(space, "made-up").display_name == "Made up"


def test_a_language_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "d2lenv" / "locale" / "de_DE"
    folder.mkdir(parents=True)
    (folder / "core.po").write_text(
        'msgid ""\nmsgstr ""\n"Language: de_DE\\n"\n"Plural-Forms: nplurals=2; plural=(n != 1);\\n"\n\n'
        'msgid "stopped"\nmsgstr "angehalten"\n\n'
        'msgid "{count} file"\nmsgid_plural "{count} files"\n'
        'msgstr[0] "{count} Datei"\nmsgstr[1] "{count} Dateien"\n',
        encoding="utf-8",
    )
    monkeypatch.setattr(messages, "_FOLDER", folder.parent)
    messages.languages.cache_clear()
    messages.translations.cache_clear()
    try:
        monkeypatch.setenv("D2LENV_LANG", "de")
        text, form = messages.tr, messages.trn  # under other names: the texts are not asked of Chinese
        assert messages.languages() == ("en", "de_DE")
        assert text("stopped") == "angehalten"
        assert [form("{count} file", "{count} files", count=n) for n in (1, 2)] == ["1 Datei", "2 Dateien"]
        assert text("no such text") == "no such text"
        assert messages.each_language("stopped") == {"en": "stopped", "de_DE": "angehalten"}
    finally:
        messages.languages.cache_clear()
        messages.translations.cache_clear()


def test_a_format_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = registry.Format(
        lambda table: {f"{table.folder}/made-up.txt": table.title},
        ("made-up.txt",),
        lambda: registry.About("nobody", "no"),
    )
    monkeypatch.setitem(registry.FORMATS, "made-up", made)  # type: ignore[arg-type]  # a dict for all but its users
    channels = tmp_path / "channels"
    write_channel(channels, "main", record("app"))
    space = manifest.load(write_workspace(tmp_path / "w", PLAIN))
    update.lock(space, channels, frozenset(), False, say=lambda _: None)
    texts = plan.of_workspace(space, Request(formats=("made-up",))).texts
    assert list(texts) == ["envs/default/made-up.txt"]
    assert "envs/default/made-up.txt" in plan.of_workspace(space, Request()).texts


def test_a_rule_of_the_doctor_is_a_function_and_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made_up(context: Context) -> Iterator[Problem]:
        """The docstring is the explanation."""
        yield Problem("info", "title", context.prefix.path.name)

    monkeypatch.setattr(doctor, "FINDINGS", (*doctor.FINDINGS, ("D2L998", made_up)))
    found = {finding.code: finding for finding in Environment(tmp_path / "env").context_findings()}
    assert (found["D2L998"].why, found["D2L998"].subject) == ("The docstring is the explanation.", "env")
