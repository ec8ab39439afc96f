"""The pixi engine with a stand-in for pixi: what it is asked, and what its answers lead to."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import condakit
from d2lenv.base.errors import D2lEnvError
from d2lenv.engines import build
from d2lenv.engines import pixi as engine
from d2lenv.engines.build import Built
from d2lenv.prefix import baseline, marker
from d2lenv.workspace import manifest as workspace

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the stand-in is a shell script")


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path / "bin"), os.defpath]))
    monkeypatch.setenv("D2LENV_LANG", "en")
    condakit.write_workspace(tmp_path / "root", "http://127.0.0.1:9/", (condakit.python_package(),))


def write_pixi(tmp_path: Path, *, version: str = "pixi 0.72.0", status: int = 0, installs: str = "") -> None:
    """A ``pixi`` that keeps its arguments in ``asked`` and makes an environment with a Python.

    Args:
        installs: name, version and build of its one package; the locked Python unless given.
    """
    python = condakit.python_package()
    record = f"{installs or '-'.join([python.name, python.version, python.build])}.json"
    prefix = tmp_path / "root" / ".pixi" / "envs" / "tiny"
    (tmp_path / "bin").mkdir(exist_ok=True)
    script = tmp_path / "bin" / "pixi"
    script.write_text(
        f'#!/bin/sh\nif [ "$1" = --version ]; then echo "{version}"; exit 0; fi\n'
        f'echo "$@" >> "{tmp_path}/asked"\necho to stdout\n'
        f'[ {status} = 0 ] || exit {status}\nmkdir -p "{prefix}/bin"\n'
        f'ln -sf "{sys.executable}" "{prefix}/bin/python"\n'
        f'mkdir -p "{prefix}/conda-meta"\n'
        f"""echo '{{"paths_data": {{"paths": []}}}}' > "{prefix}/conda-meta/{record}"\n""",
        encoding="utf-8",
    )
    script.chmod(0o755)


def install(tmp_path: Path, **options: object) -> Built:
    return build.build(
        workspace.load(tmp_path / "root"),
        "tiny",
        check_space=False,
        say=lambda line: None,
        **options,  # type: ignore[arg-type]
    )


def test_pixi_builds_its_own_prefix_from_the_lock(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_pixi(tmp_path)
    built = install(tmp_path)
    assert (built.engine, built.reused) == ("pixi", False)
    assert built.prefix == tmp_path / "root" / ".pixi" / "envs" / "tiny"
    asked = (tmp_path / "asked").read_text(encoding="utf-8")
    toml = tmp_path / "root" / "pixi.toml"
    assert asked == f"install --locked -e tiny --manifest-path {toml}\n"
    assert (built.prefix / "share/jupyter/kernels/d2l-tiny/kernel.json").is_file()
    assert marker.read(built.prefix)["engine"] == "pixi"
    # Standard output is for `--json`.
    assert capfd.readouterr().out == ""


def test_pixi_itself_decides_whether_its_prefix_is_up_to_date(tmp_path: Path) -> None:
    write_pixi(tmp_path)
    install(tmp_path)
    assert install(tmp_path).reused
    assert not install(tmp_path, fresh=True).reused
    verbs = [line.split()[0] for line in (tmp_path / "asked").read_text(encoding="utf-8").splitlines()]
    assert verbs == ["install", "install", "reinstall"]


def test_a_workspace_named_by_a_relative_path_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pixi(tmp_path)
    monkeypatch.chdir(tmp_path)
    built = build.build(
        workspace.load(Path("root")), "tiny", engine="pixi", check_space=False, say=lambda line: None
    )
    assert built.python.is_absolute()


def test_a_pixi_that_fails_is_an_error_with_its_status(tmp_path: Path) -> None:
    write_pixi(tmp_path, status=3)
    with pytest.raises(D2lEnvError, match="pixi ended with status 3"):
        install(tmp_path, engine="pixi")


def test_a_pixi_that_hangs_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pixi(tmp_path)
    script = tmp_path / "bin" / "pixi"
    script.write_text(
        script.read_text(encoding="utf-8").replace("echo to stdout", "exec sleep 30"), encoding="utf-8"
    )
    monkeypatch.setattr(engine, "_TIMEOUT_S", 0.3)
    with pytest.raises(D2lEnvError, match="tiny cannot be built"):
        install(tmp_path, engine="pixi")


@pytest.mark.parametrize(
    ("version", "reason"),
    [("pixi 0.40.3", "pixi 0.40.3 is too old; pixi.toml wants >=0.71"), ("", "does not run")],
)
def test_a_pixi_that_cannot_read_the_lock_is_not_taken(tmp_path: Path, version: str, reason: str) -> None:
    write_pixi(tmp_path, version=version, status=1)
    with pytest.raises(D2lEnvError) as caught:
        install(tmp_path, engine="pixi")
    assert reason in caught.value.why


def test_another_prefix_than_its_own_is_not_pixis(tmp_path: Path) -> None:
    write_pixi(tmp_path)
    with pytest.raises(D2lEnvError, match="builds only its own prefix"):
        install(tmp_path, engine="pixi", prefix=tmp_path / "other")


def test_without_pixi_the_engine_says_so(tmp_path: Path) -> None:
    with pytest.raises(D2lEnvError, match="not on the PATH"):
        install(tmp_path, engine="pixi")


def test_a_pixi_that_lies_in_the_readers_folder_is_not_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pixi(tmp_path)
    monkeypatch.chdir(tmp_path / "bin")
    monkeypatch.setenv("PATH", os.pathsep.join(["", ".", "../bin", os.defpath]))
    with pytest.raises(D2lEnvError, match="not on the PATH"):
        install(tmp_path, engine="pixi")
    assert not (tmp_path / "asked").exists()


def test_a_requirement_in_condas_own_syntax_is_left_to_pixi(tmp_path: Path) -> None:
    manifest = tmp_path / "root" / "pixi.toml"
    text = manifest.read_text(encoding="utf-8").replace(">=0.71", ">=0.71|0.70.*")
    manifest.write_text(text, encoding="utf-8")
    write_pixi(tmp_path, version="pixi 0.70.1")
    assert install(tmp_path).engine == "pixi"


def test_what_was_done_to_the_prefix_since_does_not_become_its_record(tmp_path: Path) -> None:
    write_pixi(tmp_path)
    prefix = install(tmp_path).prefix
    record = baseline.path_of(prefix)
    before = record.read_bytes()
    (prefix / "evil.pth").write_text("", encoding="utf-8")
    install(tmp_path)
    assert record.read_bytes() == before
    install(tmp_path, fresh=True)
    assert b"evil.pth" in record.read_bytes()


def test_what_pixi_installed_is_compared_with_the_lock(tmp_path: Path) -> None:
    write_pixi(tmp_path, installs="python-3.9.1-other_0")
    with pytest.raises(D2lEnvError, match="not what was asked for") as caught:
        install(tmp_path)
    python = condakit.python_package()
    assert caught.value.why.splitlines() == [
        f"python: {python.version} {python.build} expected, 3.9.1 other_0 found",
        "python 3.9.1 other_0: not asked for",
    ]
