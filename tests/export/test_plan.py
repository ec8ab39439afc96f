"""What ``d2lenv export`` makes, of which lock and environment."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import channelkit
from d2lenv.base.errors import D2lEnvError
from d2lenv.cli.main import cli
from d2lenv.export import plan, write
from d2lenv.export.request import Request
from d2lenv.workspace import manifest as workspace
from export import sample_locks
from export.command import code, run, snapshot
from export.sample_locks import CONDA_FORGE, Env, pick, text
from export.tables import REPOSITORY


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
