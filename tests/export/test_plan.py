"""``d2lenv export``: what it writes, what ``--check`` finds, and for whom."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import channelkit
from d2lenv.base.errors import D2lEnvError
from d2lenv.cli.app import cli
from d2lenv.export import plan, report, write
from d2lenv.export.formats import listing
from d2lenv.export.formats.registry import FORMATS
from d2lenv.export.request import Request
from d2lenv.workspace import manifest as workspace
from export import sample_locks
from export.sample_locks import CONDA_FORGE, Env, pick, text
from export.tables import REPOSITORY

MANIFEST = """\
[workspace]
name = "sample"
channels = ["conda-forge"]
platforms = ["linux-64", "win-64"]

[environments]
default = { features = ["a"] }
cpu = { features = ["a"] }
gone = { features = ["a"] }

[feature.a.dependencies]
cycler = "0.12.*"
bzip2 = { version = "1.0.*", channel = "conda-forge" }
tzdata = "*"

[tool.d2lenv.environments.default]
export = false

[tool.d2lenv.environments.cpu]
binder = true
"""


def lock_text(*names: str, **changes: str) -> str:
    (bzip2,) = pick("linux-64", "bzip2")
    records = {
        "linux-64": [*pick("linux-64", "cycler", "tzdata"), bzip2 | changes],
        "win-64": pick("win-64", "cycler", "bzip2"),
    }
    return text(7, {name: Env((CONDA_FORGE,), records) for name in names})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small workspace with a lock for ``default`` and ``cpu``."""
    folder = tmp_path / "workspace"
    folder.mkdir()
    (folder / "pixi.toml").write_text(MANIFEST, encoding="utf-8")
    (folder / "pixi.lock").write_text(lock_text("default", "cpu"), encoding="utf-8")
    return folder


def run(root: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, ["--workspace", str(root), "export", *words], standalone_mode=False)


def code(result: Result) -> int:
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return int(result.return_value)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_an_export_is_followed_by_a_check_that_passes(root: Path) -> None:
    assert code(run(root)) == 0
    before = snapshot(root)
    assert "envs/cpu/conda-lock.yml" in before
    assert ".binder/environment.yml" in before
    assert not any(path.startswith("envs/default/") for path in before)  # the same packages as cpu
    assert code(run(root, "--check")) == 0
    assert snapshot(root) == before


def test_a_second_export_writes_nothing(root: Path) -> None:
    assert code(run(root)) == 0
    result = run(root, "--json")
    assert json.loads(result.stdout)["written"] == []


def test_every_file_names_its_lock_and_command_and_has_unix_line_ends(root: Path) -> None:
    assert code(run(root)) == 0
    made = {path: data for path, data in snapshot(root).items() if path.startswith(("envs/", ".binder/"))}
    assert made
    for path, data in made.items():
        assert b"\r" not in data
        assert data.endswith(b"\n")
        content = data.decode("utf-8")
        assert "Made from pixi.lock, cpu" in content, path
        assert "`d2lenv export cpu`" in content, path


def test_any_touched_file_fails_the_check_with_a_diff(root: Path) -> None:
    assert code(run(root)) == 0
    for path in [path for path in snapshot(root) if path.startswith(("envs/", ".binder/"))]:
        file = root / path
        whole = file.read_bytes()
        file.write_bytes(whole.replace(b"\n", b"\nedited by hand\n", 1))
        result = run(root, "--check")
        assert code(result) == 1
        assert f"changed: {path}" in result.stdout
        assert "-edited by hand" in result.stdout
        file.write_bytes(whole)
    assert code(run(root, "--check")) == 0


def test_a_long_diff_is_cut_for_people_and_whole_for_machines(root: Path) -> None:
    assert code(run(root)) == 0
    file = root / "envs" / "cpu" / "PACKAGES.md"
    file.write_text("edited\n" * 500 + file.read_text(encoding="utf-8"), encoding="utf-8")
    shown = run(root, "--check").stdout
    assert shown.count("-edited") < report.SHOWN_LINES
    assert "more lines" in shown
    (finding,) = json.loads(run(root, "--check", "--json").stdout)["findings"]
    assert finding["detail"].count("-edited") == 500


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda data: data.replace(b"\n", b"\r\n"), "only the line ends differ"),
        (lambda data: b"\xff" + data, "not UTF-8"),
        (lambda data: data[:-1], "changed"),
    ],
)
def test_other_ways_to_spoil_a_file_are_found_too(root: Path, spoil: object, says: str) -> None:
    assert code(run(root)) == 0
    file = root / "envs" / "cpu" / "environment.yml"
    file.write_bytes(spoil(file.read_bytes()))  # type: ignore[operator]
    result = run(root, "--check")
    assert code(result) == 1
    assert says in result.stdout
    assert code(run(root)) == 0
    assert code(run(root, "--check")) == 0


def test_a_missing_file_and_one_that_nothing_makes_fail_the_check(root: Path) -> None:
    assert code(run(root)) == 0
    (root / "envs/cpu/PACKAGES.md").unlink()
    (root / "envs/cpu/conda-osx-64.lock").write_text("@EXPLICIT\n", encoding="utf-8")
    (root / "envs/cpu/notes.txt").write_text("mine\n", encoding="utf-8")
    (root / "envs/old").mkdir()
    (root / "envs/old/conda-lock.yml").write_text("version: 1\n", encoding="utf-8")
    data = json.loads(run(root, "--check", "--json").stdout)
    assert data["ok"] is False
    assert {(finding["kind"], finding["path"]) for finding in data["findings"]} == {
        ("missing", "envs/cpu/PACKAGES.md"),
        ("stale", "envs/cpu/conda-osx-64.lock"),
        ("stale", "envs/old/conda-lock.yml"),
    }
    assert code(run(root)) == 0
    assert not (root / "envs/cpu/conda-osx-64.lock").exists()
    assert not (root / "envs/old/conda-lock.yml").exists()
    assert (root / "envs/cpu/notes.txt").exists()


def test_one_format_does_not_speak_for_the_others_files(root: Path) -> None:
    assert code(run(root)) == 0
    for name in [*FORMATS, plan.REQUIREMENTS]:
        data = json.loads(run(root, "--check", "--format", name, "--json").stdout)
        assert data["ok"], (name, data)


def test_a_changed_lock_makes_its_exports_stale(root: Path) -> None:
    assert code(run(root)) == 0
    (root / "pixi.lock").write_text(lock_text("default", "cpu", md5="0" * 32), encoding="utf-8")
    data = json.loads(run(root, "--check", "--json").stdout)
    changed = {finding["path"] for finding in data["findings"]}
    assert "envs/cpu/conda-lock.yml" in changed
    assert "envs/cpu/conda-linux-64.lock" in changed
    assert "envs/cpu/conda-win-64.lock" not in changed  # its platform is as it was


def test_an_environment_can_be_named(root: Path) -> None:
    assert code(run(root, "default", "--format", "explicit")) == 0
    assert set(snapshot(root / "envs")) == {"default/conda-linux-64.lock", "default/conda-win-64.lock"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nonsense",), "no environment `nonsense`"),
        (("--format", "nonsense"), "there is no format nonsense"),
        (("--lock", "pixi.lock"), "--lock and --output go together"),
        (("--previous", "no-such-tag"), "no-such-tag has no pixi.lock"),
    ],
)
def test_wrong_words_are_a_usage_error(root: Path, words: tuple[str, ...], message: str) -> None:
    result = run(root, *words)
    assert message in str(result.exception)
    assert getattr(result.exception, "status", getattr(result.exception, "exit_code", None)) == 2


def test_a_lock_that_is_refused_writes_nothing(root: Path) -> None:
    lock = text(6, {"cpu": Env((CONDA_FORGE,), {"linux-64": pick("linux-64", "bzip2")})})
    (root / "pixi.lock").write_text(lock.replace('"https://conda', '"https://me:pw@conda'), encoding="utf-8")
    with pytest.raises(D2lEnvError):
        code(run(root))
    assert not (root / "envs").exists()


# -- other people's locks --------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(sample_locks.good()))
def test_anybodys_lock_is_exported_and_checked(tmp_path: Path, name: str) -> None:
    path, output = tmp_path / "pixi.lock", tmp_path / "out"
    path.write_text(sample_locks.good()[name], encoding="utf-8")
    words = ["export", "--lock", str(path), "--output", str(output)]
    first = CliRunner().invoke(cli, words, standalone_mode=False)
    wheels = "pypi" in name or "wheels" in name
    assert code(first) == (1 if wheels else 0)
    lists = list(output.rglob("conda-*.lock"))
    if wheels:
        assert "has no place for PyPI packages" in first.stdout
        assert "--conda-only" in first.stdout
        with_wheels = output / "default"
        assert not list(with_wheels.glob("conda-*.lock"))
        assert "manager: pip" in (with_wheels / "conda-lock.yml").read_text(encoding="utf-8")
    else:
        assert lists
    assert code(CliRunner().invoke(cli, [*words, "--conda-only"], standalone_mode=False)) == 0
    assert code(CliRunner().invoke(cli, [*words, "--conda-only", "--check"], standalone_mode=False)) == 0
    for file in output.rglob("conda-*.lock"):
        content = file.read_text(encoding="utf-8")
        assert ("LEFT OUT" in content) == (wheels and file.parent.name == "default"), file


@pytest.mark.parametrize("name", sorted(sample_locks.refused()))
def test_a_lock_with_sources_is_refused_and_nothing_written(tmp_path: Path, name: str) -> None:
    path, output = tmp_path / "pixi.lock", tmp_path / "out"
    path.write_text(sample_locks.refused()[name][0], encoding="utf-8")
    result = CliRunner().invoke(
        cli, ["export", "--lock", str(path), "--output", str(output)], standalone_mode=False
    )
    assert isinstance(result.exception, D2lEnvError)
    assert result.exception.status == 1
    assert not output.exists()


# -- the previous release --------------------------------------------------------------------------


def test_a_lock_file_can_be_the_previous_release(root: Path, tmp_path: Path) -> None:
    old = tmp_path / "v0.1.0.lock"
    old.write_text(lock_text("default", "cpu").replace("0.12.1", "0.11.0"), encoding="utf-8")
    assert code(run(root, "--previous", str(old))) == 0
    content = (root / "envs/cpu/PACKAGES.md").read_text(encoding="utf-8")
    assert "Since v0.1.0.lock:" in content
    assert "| linux-64 | cycler | 0.11.0 " in content
    # kept from now on, and checked
    assert code(run(root, "--check")) == 0
    kept = listing.read_previous(root / "envs" / listing.PREVIOUS)
    assert kept is not None
    assert kept.name == "v0.1.0.lock"
    assert set(kept.environments) == {"cpu"}


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_git_tag_can_be_the_previous_release(root: Path) -> None:
    def git(*words: str) -> None:
        name = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run(["git", "-C", str(root), *name, *words], check=True, capture_output=True, timeout=60)

    git("init", "--quiet")
    git("add", "pixi.lock", "pixi.toml")
    git("commit", "--quiet", "-m", "one")
    git("tag", "v1")
    assert code(run(root, "--previous", "v1")) == 0
    assert "Nothing changed." in (root / "envs/cpu/PACKAGES.md").read_text(encoding="utf-8")
    for words in (("--previous", "--output=x"), ("--previous", "v2"), ("--previous", "v1:pixi.toml")):
        result = run(root, *words)
        assert isinstance(result.exception, D2lEnvError)
        assert not (root / "x").exists()


def test_with_another_lock_the_previous_release_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "pixi.lock"
    path.write_text(sample_locks.good()["v6-one-environment"], encoding="utf-8")
    words = ["export", "--lock", str(path), "--output", str(tmp_path / "out"), "--previous"]
    assert code(CliRunner().invoke(cli, [*words, str(path)], standalone_mode=False)) == 0
    assert "Nothing changed." in (tmp_path / "out/default/PACKAGES.md").read_text(encoding="utf-8")
    result = CliRunner().invoke(cli, [*words, "v1"], standalone_mode=False)
    assert isinstance(result.exception, D2lEnvError)


# -- manifests as pixi 0.73 and later take them ----------------------------------------------------------

INLINE = """\
[workspace]
name = "small"
channels = ["main", "extra"]
platforms = ["linux-64"]

[environments]
default = []
bare = { no-default-feature = true }
inline = { no-default-feature = true, dependencies = {
    app = "*",  # a table over several lines with a comma at its end is TOML 1.1
}, }
"""


def test_a_manifest_with_empty_and_inline_environments_is_exported(tmp_path: Path) -> None:
    snapshot_folder = channelkit.small_snapshot(tmp_path / "channels")
    root = channelkit.write_workspace(tmp_path / "workspace", INLINE)
    assert channelkit.d2lenv(root, "lock", "--snapshot", str(snapshot_folder)).returncode == 0
    assert code(run(root)) == 0
    made = {path for path in snapshot(root) if path.startswith("envs/") and path.count("/") > 1}
    assert made == {
        *("envs/bare/PACKAGES.md", "envs/default/PACKAGES.md"),
        *(
            f"envs/inline/{name}"
            for name in ("PACKAGES.md", "colab.ipynb", "conda-linux-64.lock", "conda-lock.yml")
        ),
        *(f"envs/inline/environment{end}.yml" for end in ("", "-linux-64")),
        *("envs/inline/sbom-linux-64.cdx.json", "envs/inline/studio-lab.yml"),
    }
    explicit = (root / "envs/inline/conda-linux-64.lock").read_text(encoding="utf-8")
    assert {line.rsplit("/", 1)[1].split("-")[0] for line in explicit.splitlines() if "https" in line} == {
        *("app", "lib", "tool")
    }
    sbom = json.loads((root / "envs/inline/sbom-linux-64.cdx.json").read_text(encoding="utf-8"))
    assert [ref.split("@")[0] for ref in sbom["dependencies"][0]["dependsOn"]] == ["pkg:conda/app"]
    assert code(run(root, "--check")) == 0


def test_the_empty_environment_of_another_lock_is_no_conda_lock_file(tmp_path: Path) -> None:
    path = tmp_path / "pixi.lock"
    content = sample_locks.good()["v7-one-environment"].replace(
        "environments:\n", "environments:\n  bare:\n    channels: []\n    packages: {}\n"
    )
    path.write_text(content, encoding="utf-8")
    output = tmp_path / "out"
    words = ["export", "--lock", str(path), "--output", str(output)]
    assert code(CliRunner().invoke(cli, words, standalone_mode=False)) == 0
    assert sorted(file.name for file in (output / "bare").iterdir()) == ["PACKAGES.md"]
    assert (output / "default" / "conda-lock.yml").is_file()


# -- this repository -------------------------------------------------------------------------------


def test_the_exports_of_this_repository_are_what_its_lock_gives() -> None:
    found = plan.of_workspace(workspace.load(REPOSITORY), Request())
    assert {path.split("/")[1] for path in found.texts if path.startswith("envs/")} >= {
        "cpu",
        "cuda",
        "cuda12",
    }
    assert write.compare(found) == []
    assert found.incomplete == ()


def test_no_export_names_a_place_of_this_machine() -> None:
    found = plan.of_workspace(workspace.load(REPOSITORY), Request())
    for path, content in found.texts.items():
        assert str(REPOSITORY) not in content, path
