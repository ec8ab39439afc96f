"""The wheels engine: the real uv, wheels that the test makes, a cache of its own."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import condakit
import diskkit
import wheelkit
from d2lenv.base.errors import D2lEnvError
from d2lenv.base.process import python_module
from d2lenv.engines import build, find
from d2lenv.engines import uv as engine
from d2lenv.engines.build import Built
from d2lenv.facts import d2l as d2l_release
from d2lenv.facts import platforms
from d2lenv.facts.d2l import Release, Released
from d2lenv.prefix import marker
from d2lenv.workspace import manifest as workspace
from d2lenv.workspace.pins import Difference, Pin

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX paths of scripts")


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of wheels that uv reaches over http; its requests can be refused by renaming it."""
    folder = tmp_path / "house"
    pin = wheelkit.write_greet(folder)
    wheelkit.write_workspace(tmp_path / "root", [pin])
    with condakit.served(folder) as address:
        for name, value in wheelkit.private_uv(tmp_path, address).items():
            monkeypatch.setenv(name, value)
        yield folder


def install(tmp_path: Path, prefix: Path, *, lines: list[str] | None = None, **options: object) -> Built:
    return build.build(
        workspace.load(tmp_path / "root"),
        "tiny",
        engine="wheels",
        prefix=prefix,
        check_space=False,
        say=(lines if lines is not None else []).append,
        **options,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("name", ["prefix", "a b 环境"])
def test_python_and_scripts_run_from_the_final_place(tmp_path: Path, house: Path, name: str) -> None:
    built = install(tmp_path, tmp_path / name)
    where = wheelkit.run_of(
        built.python, "-c", "import greet, sys; print(greet.__file__, sys.prefix, sep='|')"
    )
    module, prefix = where.split("|")
    assert Path(module).is_relative_to(built.prefix)
    assert Path(prefix) == built.prefix
    script = built.python.with_name("greet.exe" if os.name == "nt" else "greet")
    done = subprocess.run([str(script)], capture_output=True, encoding="utf-8", timeout=60, check=True)
    assert done.stdout.strip() == f"hello 1.0 from {module}"
    for path in built.prefix.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert b".building-" not in path.read_bytes(), path


def test_the_interpreter_and_where_it_was_found_are_printed(tmp_path: Path, house: Path) -> None:
    lines: list[str] = []
    install(tmp_path, tmp_path / "prefix", lines=lines)
    assert lines[0].startswith(f"Python {wheelkit.PYTHON}: ")
    assert lines[0].endswith("(on the PATH)")


def test_the_kernelspec_and_the_marker_say_what_the_prefix_is(tmp_path: Path, house: Path) -> None:
    built = install(tmp_path, tmp_path / "prefix")
    place = built.prefix / "share" / "jupyter" / "kernels" / "d2l-tiny" / "kernel.json"
    spec = json.loads(place.read_text(encoding="utf-8"))
    assert spec["argv"] == python_module(built.python, "ipykernel_launcher", "-f", "{connection_file}")
    assert spec["display_name"] == "Tiny"
    assert marker.read(built.prefix) == {
        "environment": "tiny",
        "engine": "wheels",
        "platform": platforms.current(),
        "prefix": str(built.prefix),
        "digest": built.digest,
    }


def test_where_the_two_worlds_differ_is_told(
    tmp_path: Path, house: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    built = install(tmp_path, tmp_path / "prefix")
    assert built.differences == (Difference("greet", "0.9", "greet", "1.0"),)
    assert json.loads(json.dumps(built.as_json()))["differences"] == [
        {"conda_name": "greet", "conda_version": "0.9", "pypi_name": "greet", "pypi_version": "1.0"}
    ]
    build.show(built)
    shown = capsys.readouterr().out.split()
    assert shown[shown.index("greet") :][:3] == ["greet", "0.9", "1.0"]


def test_the_differences_are_found_again_from_the_prefix_alone(tmp_path: Path, house: Path) -> None:
    built = install(tmp_path, tmp_path / "prefix")
    assert find.differences_in(built.prefix, tmp_path / "root") == built.differences
    assert find.differences_in(tmp_path, tmp_path / "root") == ()
    wheelkit.write_pins(tmp_path / "root", [wheelkit.write_greet(house, "2.0")])
    assert find.differences_in(built.prefix, tmp_path / "root") == ()


@pytest.mark.parametrize("where", ["index", "cache"])
def test_a_wheel_with_the_wrong_hash_is_refused(tmp_path: Path, house: Path, where: str) -> None:
    if where == "cache":
        install(tmp_path, tmp_path / "first")
    wheelkit.write_pins(tmp_path / "root", [Pin("greet", "1.0", ("0" * 64,))])
    with pytest.raises(D2lEnvError) as caught:
        install(tmp_path, tmp_path / "prefix")
    assert "hash mismatch" in caught.value.why.lower()
    assert "greet" in caught.value.why
    assert "another file than the locked one" in caught.value.fix
    assert not (tmp_path / "prefix").exists()
    assert not list(tmp_path.glob(".prefix.building*"))


def test_without_any_network_the_cache_is_enough(
    tmp_path: Path, house: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    install(tmp_path, tmp_path / "prefix", lines=lines)
    assert any("asking the package index" in line for line in lines)
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{condakit.closed_port()}")
    house.rename(tmp_path / "gone")
    lines.clear()
    built = install(tmp_path, tmp_path / "prefix", fresh=True, lines=lines)
    assert not built.reused
    assert not any("asking the package index" in line for line in lines)
    assert wheelkit.run_of(built.python, "-m", "greet") == ""


def test_without_any_network_and_cache_the_error_says_so(
    tmp_path: Path, house: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_FIND_LINKS", f"http://127.0.0.1:{condakit.closed_port()}/")
    with pytest.raises(D2lEnvError) as caught:
        install(tmp_path, tmp_path / "prefix")
    assert "check the network" in caught.value.fix
    assert "127.0.0.1" in caught.value.why
    assert not (tmp_path / "prefix").exists()


def test_an_up_to_date_prefix_is_used_again_and_fresh_builds_anew(tmp_path: Path, house: Path) -> None:
    first = install(tmp_path, tmp_path / "prefix")
    (first.prefix / "mine").touch()
    lines: list[str] = []
    again = install(tmp_path, tmp_path / "prefix", lines=lines)
    assert (first.reused, again.reused) == (False, True)
    assert lines == [f"{first.prefix} is up to date"]
    assert (first.prefix / "mine").exists()
    fresh = install(tmp_path, tmp_path / "prefix", fresh=True)
    assert not fresh.reused
    assert not (first.prefix / "mine").exists()


def test_a_new_lock_builds_anew(tmp_path: Path, house: Path) -> None:
    install(tmp_path, tmp_path / "prefix")
    wheelkit.write_pins(tmp_path / "root", [wheelkit.write_greet(house, "2.0")])
    built = install(tmp_path, tmp_path / "prefix")
    assert not built.reused
    assert wheelkit.run_of(built.python, "-c", "import greet; greet.main()").startswith("hello 2.0")


@posix
def test_a_prefix_that_lost_its_python_is_built_anew(tmp_path: Path, house: Path) -> None:
    built = install(tmp_path, tmp_path / "prefix")
    built.python.unlink()
    assert not install(tmp_path, tmp_path / "prefix").reused
    wheelkit.run_of(built.python, "-c", "pass")


def test_a_prefix_that_was_moved_is_built_anew(tmp_path: Path, house: Path) -> None:
    install(tmp_path, tmp_path / "before").prefix.rename(tmp_path / "after")
    built = install(tmp_path, tmp_path / "after")
    assert not built.reused
    assert marker.read(built.prefix)["prefix"] == str(tmp_path / "after")


def test_requirements_that_were_edited_are_refused(tmp_path: Path, house: Path) -> None:
    path = tmp_path / "root" / "envs" / "tiny" / f"requirements-{platforms.current()}.txt"
    path.write_text(path.read_text(encoding="utf-8").replace("greet==1.0", "greet==2.0"), encoding="utf-8")
    with pytest.raises(D2lEnvError, match="edited by hand"):
        install(tmp_path, tmp_path / "prefix")
    assert not (tmp_path / "prefix").exists()


def write_d2l(tmp_path: Path, house: Path, text: str) -> None:
    files = {"d2l/__init__.py": "", "d2l/torch.py": text}
    wheelkit.write_workspace(tmp_path / "root", [wheelkit.write_wheel(house, "d2l", "1.0.3", files)])


def release(text: str) -> Release:
    released = Released("0" * 64, {"d2l/torch.py": hashlib.sha256(text.encode()).hexdigest()})
    return dataclasses.replace(d2l_release.RELEASES["1.0.3"], released=released)


def test_a_d2l_that_is_not_the_released_one_is_refused(tmp_path: Path, house: Path) -> None:
    write_d2l(tmp_path, house, "x = 1\n")
    with pytest.raises(D2lEnvError) as caught:
        install(tmp_path, tmp_path / "prefix")
    assert "not the released 1.0.3" in caught.value.what
    assert "d2l/torch.py: changed" in caught.value.why
    assert not (tmp_path / "prefix").exists()


def test_a_reader_who_changes_d2l_in_place_does_not_change_the_cache(
    tmp_path: Path, house: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(d2l_release.RELEASES, "1.0.3", release("x = 1\n"))
    monkeypatch.setenv("UV_LINK_MODE", "hardlink")
    write_d2l(tmp_path, house, "x = 1\n")
    built = install(tmp_path, tmp_path / "prefix")
    module = next(built.prefix.rglob("d2l/torch.py"))
    assert module.stat().st_nlink == 1
    with module.open("a", encoding="utf-8") as file:
        file.write("x = 2\n")
    install(tmp_path, tmp_path / "prefix", fresh=True)
    assert module.read_text(encoding="utf-8") == "x = 1\n"


def test_a_full_disk_ends_in_an_error_and_no_prefix(tmp_path: Path, house: Path) -> None:
    big = wheelkit.write_wheel(house, "big", "1.0", {"big.bin": os.urandom(3_000_000)})
    wheelkit.write_workspace(tmp_path / "root", [big])
    disk = tmp_path / "disk"
    with diskkit.small_disk(disk, "1m"):
        with pytest.raises(D2lEnvError) as caught:
            install(tmp_path, disk / "prefix")
        assert "No space left" in caught.value.why
        assert "free some space" in caught.value.fix
        assert {path.name for path in disk.iterdir()} == {".prefix.lock"}
        diskkit.make_read_only(disk)
        with pytest.raises(D2lEnvError, match="cannot be written"):
            install(tmp_path, disk / "prefix")


def test_a_platform_without_wheels_is_named(
    tmp_path: Path, house: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = next(name for name in platforms.ROWS if name != platforms.current())
    monkeypatch.setattr(platforms, "current", lambda: other)
    with pytest.raises(D2lEnvError) as caught:
        install(tmp_path, tmp_path / "prefix")
    assert caught.value.why == f"the package index has no tiny for {other}"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_an_environment_that_is_another_ones_second_name_is_sent_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, language: str
) -> None:
    monkeypatch.setenv("D2LENV_LANG", language)
    space = workspace.load(Path(__file__).parents[2])
    with pytest.raises(D2lEnvError) as caught:
        build.build(space, "default", engine="wheels", prefix=tmp_path / "prefix", say=print)
    assert "`cpu`" in caught.value.why


def test_without_uv_the_engine_says_so(tmp_path: Path, house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise D2lEnvError("uv is not installed")

    monkeypatch.setattr(engine.uv, "program", none)
    with pytest.raises(D2lEnvError, match="uv is not installed"):
        install(tmp_path, tmp_path / "prefix")


@posix
def test_a_uv_that_hangs_or_does_not_start_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.uv, "program", lambda: str(tmp_path / "none"))
    assert "No such file" in engine._run(["venv"], shown=False) or os.name == "nt"
    script = tmp_path / "uv"
    script.write_text("#!/bin/sh\nexec sleep 30\n", encoding="utf-8")
    script.chmod(0o755)
    monkeypatch.setattr(engine.uv, "program", lambda: str(script))
    monkeypatch.setattr(engine, "_TIMEOUT_S", 0.2)
    assert engine._run(["venv"], shown=False) == "no end after 0.2 s"


@pytest.mark.parametrize(
    ("reason", "step"),
    [
        ("failed: No space left on device (os error 28)", "free some space"),
        ("failed to create `x`: Read-only file system (os error 30)", "UV_CACHE_DIR"),
        ("Hash mismatch for `x`", "uv cache clean"),
        ("anything else", "check the network"),
    ],
)
def test_the_next_step_fits_the_reason(reason: str, step: str) -> None:
    assert step in engine._next_step(reason)


def test_a_configuration_beside_the_checkout_does_not_redirect_the_build(
    tmp_path: Path, house: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It put everything elsewhere, and the build said that the prefix is ready."""
    elsewhere = tmp_path / "elsewhere"
    for folder in (tmp_path, tmp_path / "root"):
        (folder / "uv.toml").write_text(f'[pip]\ntarget = "{elsewhere.as_posix()}"\n', encoding="utf-8")
    monkeypatch.chdir(tmp_path / "root")
    monkeypatch.setenv("UV_CONSTRAINT", str(tmp_path / "none.txt"))
    built = install(tmp_path, tmp_path / "prefix")
    assert wheelkit.run_of(built.python, "-c", "import greet") == ""
    assert not elsewhere.exists()


def test_a_workspace_named_by_a_relative_path_is_served(
    tmp_path: Path, house: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    built = build.build(
        workspace.load(Path("root")), "tiny", engine="wheels", check_space=False, say=lambda line: None
    )
    assert wheelkit.run_of(built.python, "-c", "import greet") == ""


# --- downloads that stall ------------------------------------------------------------------------------


def slow_house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    content = {"greet.py": "def main(): pass\n", **{f"greet{n}.txt": "x" * 5000 for n in range(40)}}
    pin = wheelkit.write_wheel(tmp_path / "house", "greet", "1.0", content, "greet = greet:main")
    wheelkit.write_workspace(tmp_path / "root", [pin])
    for name, value in wheelkit.private_uv(tmp_path, address).items():
        monkeypatch.setenv(name, value)


def test_a_download_that_trickles_ends_and_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """uv's own limit begins anew with each byte."""
    (tmp_path / "house").mkdir()
    monkeypatch.setattr(engine, "_STALL_S", 2.0)
    with condakit.served(tmp_path / "house", trickle=".whl") as address:
        slow_house(tmp_path, monkeypatch, address)
        with pytest.raises(D2lEnvError) as caught:
            install(tmp_path, tmp_path / "prefix")
    assert caught.value.why.endswith("nearly nothing came for 2 s; not there yet: greet")
    assert "UV_DEFAULT_INDEX" in caught.value.fix
    assert not list(tmp_path.glob("*prefix*.building*"))


def test_an_honest_slow_line_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes three times the limit, and something comes all the while."""
    (tmp_path / "house").mkdir()
    monkeypatch.setattr(engine, "_STALL_S", 3.0)
    with condakit.served(tmp_path / "house", trickle=".whl", at_once=4500) as address:
        slow_house(tmp_path, monkeypatch, address)
        assert install(tmp_path, tmp_path / "prefix").prefix.exists()
