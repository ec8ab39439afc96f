"""`d2lenv build`: which engine, which place, and that no fault leaves a half-made prefix."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

import condakit
import diskkit
import wheelkit
from d2lenv.base import signals
from d2lenv.base.errors import FAILED, USAGE, D2lEnvError
from d2lenv.engines import build, find, place
from d2lenv.engines.build import Built
from d2lenv.engines.job import Job
from d2lenv.facts import platforms
from d2lenv.prefix import locations, marker
from d2lenv.workspace import manifest as workspace

posix = pytest.mark.skipif(os.name != "posix", reason="signals and links of POSIX")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace whose environment the wheels engine can build at once, from a folder of wheels."""
    pin = wheelkit.write_greet(tmp_path / "house")
    wheelkit.write_workspace(tmp_path / "root", [pin])
    set_apart(monkeypatch, tmp_path, str(tmp_path / "house"))
    return tmp_path / "root"


def set_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, links: str) -> None:
    """Neither the shared caches nor the reader's configuration is touched."""
    for name, value in wheelkit.private_uv(tmp_path, links).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RATTLER_CACHE_DIR", str(tmp_path / "rattler-cache"))
    for name in ("HOME", "XDG_CONFIG_HOME", "PIXI_HOME", "RATTLER_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))


def install(root: Path, *, lines: list[str] | None = None, **options: object) -> Built:
    return build.build(
        workspace.load(root),
        "tiny",
        say=(lines if lines is not None else []).append,
        **options,  # type: ignore[arg-type]
    )


def greeting(prefix: Path) -> str:
    return wheelkit.run_of(locations.interpreter(prefix), "-c", "import greet; greet.main()").split(" from")[
        0
    ]


# --- which engine -----------------------------------------------------------------------------------


def test_auto_says_in_one_line_each_what_was_chosen_and_why_not_the_others(root: Path) -> None:
    lines: list[str] = []
    built = install(root, lines=lines)
    assert built.engine == "wheels"
    assert lines[0] == "not pixi: pixi is not on the PATH"
    assert lines[1].startswith("not rattler: 1 of its channels do not answer: http://127.0.0.1:")
    assert "\n" not in lines[1]
    assert lines[2] == "engine: wheels"


def test_auto_takes_rattler_when_every_channel_answers(root: Path, tmp_path: Path) -> None:
    packages = condakit.everyday_packages()
    condakit.write_channel(tmp_path / "channel", packages)
    with condakit.served(tmp_path / "channel") as address:
        condakit.write_workspace(root, address, packages, tool=wheelkit.TOOL)
        lines: list[str] = []
        assert install(root, lines=lines).engine == "rattler"
        assert lines[:2] == ["not pixi: pixi is not on the PATH", "engine: rattler"]


def test_auto_counts_a_configured_mirror(root: Path, tmp_path: Path) -> None:
    packages = condakit.everyday_packages()
    condakit.write_channel(tmp_path / "channel", packages)
    closed = f"http://127.0.0.1:{condakit.closed_port()}/"
    condakit.write_workspace(root, closed, packages, tool=wheelkit.TOOL)
    config = tmp_path / "home" / "pixi" / "config.toml"
    config.parent.mkdir(parents=True)
    with condakit.served(tmp_path / "channel") as mirror:
        config.write_text(f'[mirrors]\n"{closed}" = ["{mirror}"]\n', encoding="utf-8")
        assert install(root).engine == "rattler"


def test_what_is_built_is_used_again_without_asking_the_channels(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(root)

    def asked(_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(find.rattler.channels, "ask", asked)
    lines: list[str] = []
    built = install(root, lines=lines)
    assert (built.engine, built.reused) == ("wheels", True)
    assert lines == [
        "not pixi: pixi is not on the PATH",
        "engine: wheels",
        f"{built.prefix} is up to date",
    ]


def test_an_engine_that_cannot_says_why(root: Path) -> None:
    with pytest.raises(D2lEnvError) as caught:
        install(root, engine="rattler")
    assert caught.value.what == "engine rattler cannot build this"
    assert "do not answer" in caught.value.why


def test_when_no_engine_can_every_reason_is_told(root: Path) -> None:
    manifest = root / "pixi.toml"
    manifest.write_text(manifest.read_text(encoding="utf-8").replace("wheels = [", "wheels = [] #"), "utf-8")
    with pytest.raises(D2lEnvError) as caught:
        install(root)
    assert [line.split(":")[0] for line in caught.value.why.splitlines()] == [
        "not pixi",
        "not rattler",
        "not wheels",
    ]


@pytest.mark.parametrize(("engine", "name"), [("conda", "tiny"), ("auto", "none")])
def test_unknown_words_end_with_status_2_and_the_known_ones(root: Path, engine: str, name: str) -> None:
    with pytest.raises(D2lEnvError) as caught:
        build.build(workspace.load(root), name, engine=engine, say=lambda line: None)
    assert caught.value.status == USAGE
    assert ("wheels" if engine == "conda" else "tiny") in caught.value.fix


def test_for_linux_the_cpu_environment_says_that_it_is_the_cuda_build(root: Path) -> None:
    job = job_at(root, root / "prefix")
    cpu = replace(job, settings=replace(job.settings, name="cpu"), platform="linux-64")
    assert "CUDA build" in find.ENGINES["wheels"].note(cpu)
    assert find.ENGINES["wheels"].note(replace(cpu, platform="osx-64")) == ""
    assert find.ENGINES["rattler"].note(cpu) == ""


# --- which place ------------------------------------------------------------------------------------


def test_the_default_prefix_is_below_the_workspace(root: Path) -> None:
    assert install(root).prefix == root / ".d2lenv" / "tiny-wheels"


@pytest.fixture
def several(root: Path) -> Path:
    """The wheels are for two Pythons, one of which nobody has."""
    toml = root / "pixi.toml"
    one = f'python = "{wheelkit.PYTHON}"\n'
    both = f'python = ["3.2", "{wheelkit.PYTHON}"]\nrequirements = ["greet"]\n'
    toml.write_text(toml.read_text(encoding="utf-8").replace(one, both), encoding="utf-8")
    (root / "envs" / "tiny" / f"requirements-{platforms.current()}.txt").rename(
        root / "envs" / "tiny" / "requirements.txt"
    )
    return root


def test_where_wheels_are_for_several_pythons_the_best_one_here_names_the_prefix(several: Path) -> None:
    built = install(several, engine="wheels")
    short = wheelkit.PYTHON.replace(".", "")
    assert built.prefix == several / ".d2lenv" / f"tiny-wheels-py{short}"
    assert marker.read(built.prefix)["python"] == wheelkit.PYTHON
    assert greeting(built.prefix) == "hello 1.0"


def test_what_is_built_for_one_of_several_pythons_is_used_again_without_a_search(
    several: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = install(several, engine="wheels", prefix=tmp_path / "other")
    assert install(several, engine="wheels").prefix != first.prefix
    monkeypatch.setattr(find.uv.interpreters, "search", None)
    assert install(several, engine="wheels").reused
    assert install(several, engine="wheels", prefix=tmp_path / "other").reused


def test_a_python_that_the_wheels_are_not_for_is_refused(several: Path) -> None:
    toml = several / "pixi.toml"
    text = toml.read_text(encoding="utf-8").replace(f'"{wheelkit.PYTHON}"', '"3.3"')
    toml.write_text(text, encoding="utf-8")
    with pytest.raises(D2lEnvError, match=r"is not a Python 3\.2, 3\.3"):
        install(several, engine="wheels", python=Path(sys.executable))
    with pytest.raises(D2lEnvError, match=r"no Python 3\.2 / 3\.3 was found"):
        install(several, engine="wheels")


def test_a_folder_of_somebody_else_is_refused(root: Path, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "file").touch()
    (tmp_path / "file").touch()
    for theirs in (tmp_path / "theirs", tmp_path / "file", Path("/")):
        with pytest.raises(D2lEnvError, match="was not built by d2lenv"):
            install(root, prefix=theirs)
    assert (tmp_path / "theirs" / "file").exists()


def test_the_prefix_of_another_environment_is_refused(root: Path, tmp_path: Path) -> None:
    built = install(root, prefix=tmp_path / "prefix")
    said = built.prefix / marker.MARKER
    said.write_text(said.read_text(encoding="utf-8").replace('"tiny"', '"other"'), encoding="utf-8")
    with pytest.raises(D2lEnvError, match="holds the environment other"):
        install(root, prefix=tmp_path / "prefix")
    assert greeting(built.prefix) == "hello 1.0"


def test_an_empty_folder_is_taken(root: Path, tmp_path: Path) -> None:
    (tmp_path / "prefix").mkdir()
    assert greeting(install(root, prefix=tmp_path / "prefix").prefix) == "hello 1.0"


@posix
def test_behind_a_link_the_folder_is_replaced_and_the_link_stays(root: Path, tmp_path: Path) -> None:
    install(root, prefix=tmp_path / "disk")
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    assert install(root, prefix=tmp_path / "link").reused
    built = install(root, prefix=tmp_path / "link", fresh=True)
    assert (tmp_path / "link").is_symlink()
    assert built.prefix == tmp_path / "disk"
    assert greeting(built.prefix) == "hello 1.0"


def test_a_prefix_below_a_file_cannot_be_written(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(D2lEnvError) as caught:
        install(root, prefix=tmp_path / "file" / "prefix")
    assert str(tmp_path / "file") in caught.value.what


@pytest.mark.parametrize(
    "text", ["", "no json", "[]", "{}", '{"digest": ""}', '{"digest": 0}', '"digest"', "\xff"]
)
def test_a_damaged_marker_makes_a_folder_a_strangers(root: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "prefix").mkdir()
    (tmp_path / "prefix" / marker.MARKER).write_bytes(text.encode("latin-1"))
    assert marker.read(tmp_path / "prefix") == {}
    with pytest.raises(D2lEnvError, match="was not built by d2lenv"):
        install(root, prefix=tmp_path / "prefix")


def test_on_windows_both_kinds_of_prefix_have_their_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locations.sys, "platform", "win32")
    assert locations.interpreter(tmp_path) == tmp_path / "Scripts" / "python.exe"
    (tmp_path / "python.exe").touch()
    assert locations.interpreter(tmp_path) == tmp_path / "python.exe"


# --- free space -------------------------------------------------------------------------------------


def test_too_little_space_is_said_before_anything_is_built(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = root / "pixi.toml"
    manifest.write_text(manifest.read_text(encoding="utf-8") + "disk-gb = 5\n", encoding="utf-8")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(place.shutil, "disk_usage", lambda folder: usage(9, 5, int(4.2e9)))
    with pytest.raises(D2lEnvError) as caught:
        install(root, prefix=tmp_path / "deep" / "er" / "prefix")
    assert "4.2 GB free; tiny needs about 5.0 GB" in caught.value.what
    assert "--no-space-check" in caught.value.fix
    assert not (tmp_path / "deep" / "er" / "prefix").exists()
    assert install(root, prefix=tmp_path / "deep" / "er" / "prefix", check_space=False).prefix.exists()


# --- faults -----------------------------------------------------------------------------------------


@pytest.fixture
def slow(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """An old prefix, and a lock whose packages come after half a minute.

    Call it with the engine: the prefix ``ENGINE-prefix`` is built, then the caches are emptied.
    """
    packages = condakit.everyday_packages()
    condakit.write_channel(tmp_path / "channel", packages)
    with (
        condakit.served(tmp_path / "channel") as fast,
        condakit.served(tmp_path / "channel", delay_s=30) as channel,
        condakit.served(tmp_path / "house", delay_s=30) as house,
    ):

        def prepare(engine: str) -> None:
            condakit.write_workspace(root, fast, packages, tool=wheelkit.TOOL)
            install(root, prefix=tmp_path / f"{engine}-prefix", engine=engine)
            condakit.write_workspace(root, channel, packages, tool=wheelkit.TOOL)
            monkeypatch.setenv("UV_FIND_LINKS", house)
            for name in ("UV_CACHE_DIR", "RATTLER_CACHE_DIR"):
                monkeypatch.setenv(name, str(tmp_path / "cold" / name))

        yield prepare


def wait_for(condition: Callable[[], object], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)


def working(prefix: Path, process: subprocess.Popen[str]) -> bool:
    """Whether ``process`` has begun to build into its own folder."""
    assert process.poll() is None, process.communicate()
    return prefix.with_name(f".{prefix.name}.building-{process.pid}").exists()


def is_whole(prefix: Path) -> bool:
    """Whether the old prefix still works."""
    script = prefix / "bin" / "greet"
    return subprocess.run([str(script)], capture_output=True, timeout=60, check=False).returncode == 0


def leftovers(prefix: Path) -> set[str]:
    names = {path.name for path in prefix.parent.glob(f".{prefix.name}.*")}
    return names - {f".{prefix.name}.lock", f".{prefix.name}.baseline.json"}


@posix
@pytest.mark.parametrize("engine", ["wheels", "rattler"])
@pytest.mark.parametrize(
    ("number", "to_group"),
    [(signal.SIGINT, True), (signal.SIGHUP, True), *((number, False) for number in signals.NUMBERS)],
)
def test_ctrl_c_in_the_middle_leaves_the_old_prefix_and_nothing_else(
    root: Path,
    tmp_path: Path,
    slow: Callable[[str], None],
    engine: str,
    number: signal.Signals,
    to_group: bool,
) -> None:
    slow(engine)
    prefix = tmp_path / f"{engine}-prefix"
    process = wheelkit.start(root, "build", "tiny", "--engine", engine, "--prefix", str(prefix), "--fresh")
    wait_for(lambda: working(prefix, process))
    time.sleep(0.3)  # some way into the download
    if to_group:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 128 + number, err
    assert "Traceback" not in err
    assert err.strip().splitlines()[-1] == "stopped"
    assert out == ""
    assert leftovers(prefix) == set()
    assert is_whole(prefix)


@posix
@pytest.mark.parametrize("delay_s", [0.15, 0.4, 0.7, 1.0])
def test_ctrl_c_at_any_moment_leaves_a_whole_prefix(root: Path, tmp_path: Path, delay_s: float) -> None:
    prefix = tmp_path / "prefix"
    install(root, prefix=prefix, engine="wheels")
    process = wheelkit.start(root, "build", "tiny", "--engine", "wheels", "--prefix", str(prefix), "--fresh")
    time.sleep(delay_s)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert leftovers(prefix) == set()
    assert is_whole(prefix)
    assert install(root, prefix=prefix, engine="wheels").prefix == prefix


@posix
@pytest.mark.parametrize("engine", ["wheels", "rattler"])
def test_after_kill_9_the_old_prefix_works_and_the_next_build_succeeds(
    root: Path, tmp_path: Path, slow: Callable[[str], None], engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow(engine)
    prefix = tmp_path / f"{engine}-prefix"
    process = wheelkit.start(root, "build", "tiny", "--engine", engine, "--prefix", str(prefix), "--fresh")
    wait_for(lambda: working(prefix, process))
    helpers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    assert is_whole(prefix)
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "house"))
    packages = condakit.everyday_packages()
    with condakit.served(tmp_path / "channel") as address:
        condakit.write_workspace(root, address, packages, tool=wheelkit.TOOL)
        built = install(root, prefix=prefix, engine=engine, fresh=True)
    # py-rattler's process saw the end of its parent; uv still waits for its answer.
    _, waiting = psutil.wait_procs(helpers, timeout=10 if engine == "rattler" else 0)
    for helper in waiting:
        helper.kill()
    assert engine == "wheels" or not waiting
    assert not built.reused
    assert leftovers(prefix) == set()
    assert is_whole(prefix)


@posix
def test_of_two_builds_at_once_the_second_waits_and_uses_the_firsts(root: Path, tmp_path: Path) -> None:
    pin = wheelkit.write_greet(tmp_path / "house", "2.0")
    wheelkit.write_pins(root, [pin])
    prefix = tmp_path / "prefix"
    words = ("build", "tiny", "--engine", "wheels", "--prefix", str(prefix), "--json")
    with condakit.served(tmp_path / "house", delay_s=2) as house:
        first = wheelkit.start(root, *words, UV_FIND_LINKS=house)
        wait_for(lambda: working(prefix, first))
        second = wheelkit.start(root, *words, UV_FIND_LINKS=house)
        results = [process.communicate(timeout=60) for process in (first, second)]
    assert [process.returncode for process in (first, second)] == [0, 0], results
    assert [json.loads(out)["reused"] for out, _ in results] == [False, True]
    assert f"waiting for another process ({first.pid}: d2lenv build tiny) to finish" in results[1][1]
    assert "asking the package index" not in results[1][1]


def job_at(root: Path, prefix: Path) -> Job:
    from d2lenv.workspace import lockfile, settings
    from d2lenv.workspace.pins import Variation

    space = workspace.load(root)
    return Job(
        workspace=space,
        lock=lockfile.read(space.lock),
        settings=settings.get(space, "tiny"),
        platform=platforms.current(),
        prefix=prefix,
        building=prefix.with_name(f".{prefix.name}.building-1"),
        fresh=False,
        python=None,
        variation=Variation(),
        pytorch="auto",
        mirror="",
        link_mode=None,
        wheels=None,
        link_scripts=False,
        say=lambda line: None,
    )


@pytest.mark.parametrize("present", ["", "b", "o", "bo", "p", "bp", "op", "bop"])
def test_from_every_point_at_which_a_build_can_die_the_next_one_recovers(
    root: Path, tmp_path: Path, present: str
) -> None:
    """``b``: the half-made folder, ``o``: the old prefix moved aside, ``p``: a prefix in its place."""
    prefix = tmp_path / "prefix"
    built = install(root, prefix=prefix)
    places = {
        "b": prefix.with_name(".prefix.building-1"),
        "o": prefix.with_name(".prefix.old"),
        "p": prefix,
    }
    for letter in "bo":
        if letter in present:
            shutil.copytree(prefix, places[letter], symlinks=True)
    if "p" not in present:
        shutil.rmtree(prefix)
    place.recover(job_at(root, prefix))
    assert not places["b"].exists()
    assert not places["o"].exists()
    assert prefix.exists() == ("o" in present or "p" in present)
    again = install(root, prefix=prefix)
    assert again.reused == ("o" in present or "p" in present)
    assert greeting(again.prefix) == "hello 1.0"
    assert again.digest == built.digest
    assert leftovers(prefix) == set()


def test_a_rename_that_fails_keeps_the_old_prefix(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = tmp_path / "prefix"
    install(root, prefix=prefix)
    (prefix / "old").touch()
    real = Path.rename

    def rename(path: Path, target: Path) -> Path:
        if ".building-" in path.name:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(D2lEnvError, match="Permission denied"):
        install(root, prefix=prefix, fresh=True)
    assert (prefix / "old").exists()
    assert leftovers(prefix) == set()


@posix
def test_a_python_that_does_not_run_is_found_before_the_old_prefix_goes(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = tmp_path / "prefix"
    install(root, prefix=prefix)

    real = find.uv.build

    def broken(job: Job) -> Mapping[str, str]:
        known = real(job)
        (job.building / "bin" / "python").unlink()
        (job.building / "bin" / "python").write_text("#!/bin/sh\nexit 127\n", encoding="utf-8")
        (job.building / "bin" / "python").chmod(0o755)
        return known

    monkeypatch.setattr(find.uv, "build", broken)
    with pytest.raises(D2lEnvError, match="its Python does not run"):
        install(root, prefix=prefix, fresh=True)
    assert greeting(prefix) == "hello 1.0"


@posix
def test_read_only_folders_of_a_package_do_not_keep_a_prefix_from_going(tmp_path: Path) -> None:
    folder = tmp_path / "prefix" / "inner"
    folder.mkdir(parents=True)
    (folder / "file").touch()
    folder.chmod(0o500)
    place.remove(tmp_path / "prefix")
    assert not (tmp_path / "prefix").exists()
    place._make_writable_and_retry(os.unlink, str(tmp_path / "gone"), None)


# --- is it what was asked for, is it still ----------------------------------------------------------


def test_a_build_that_is_not_what_was_asked_for_fails_and_names_the_difference(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = find.uv.build

    def wrong(job: Job) -> Mapping[str, str]:
        known = real(job)
        (site,) = locations.site_packages(job.building)
        (site / "greet-1.0.dist-info").rename(site / "greet-1.1.dist-info")
        (site / "more-2.0.dist-info").mkdir()
        return known

    install(root, prefix=tmp_path / "prefix")
    monkeypatch.setattr(find.uv, "build", wrong)
    with pytest.raises(D2lEnvError, match="not what was asked for") as caught:
        install(root, prefix=tmp_path / "prefix", fresh=True)
    assert caught.value.why.splitlines() == [
        "greet: 1.0 expected, 1.1 found",
        "greet 1.1: not asked for",
        "more 2.0: not asked for",
    ]
    assert greeting(tmp_path / "prefix") == "hello 1.0"
    assert leftovers(tmp_path / "prefix") == set()


@pytest.mark.parametrize("what", ["module", "metadata", "python", "kind", "baseline"])
def test_a_damaged_prefix_is_said_and_built_anew(root: Path, tmp_path: Path, what: str) -> None:
    built = install(root, prefix=tmp_path / "prefix")
    (site,) = locations.site_packages(built.prefix)
    if what == "module":
        (site / "greet.py").unlink()
    elif what == "metadata":
        shutil.rmtree(site / "greet-1.0.dist-info")
    elif what == "python":
        built.python.unlink()
    elif what == "kind":
        (site / "greet.py").unlink()
        (site / "greet.py").mkdir()
    else:
        (tmp_path / ".prefix.baseline.json").unlink()
    lines: list[str] = []
    again = install(root, prefix=tmp_path / "prefix", lines=lines)
    assert not again.reused
    assert sum("is damaged, so it is built anew" in line for line in lines) == 1
    assert greeting(again.prefix) == "hello 1.0"
    assert install(root, prefix=tmp_path / "prefix").reused


def test_a_readers_change_is_neither_called_ready_nor_thrown_away(root: Path, tmp_path: Path) -> None:
    built = install(root, prefix=tmp_path / "prefix")
    (site,) = locations.site_packages(built.prefix)
    (site / "greet.py").unlink()  # not the cache's file
    (site / "greet.py").write_text("mine = 1\n", encoding="utf-8")
    with pytest.raises(D2lEnvError, match="files were changed") as caught:
        install(root, prefix=tmp_path / "prefix")
    assert caught.value.why.endswith("greet.py")
    assert "--fresh" in caught.value.fix
    assert (site / "greet.py").read_text(encoding="utf-8") == "mine = 1\n"
    assert not install(root, prefix=tmp_path / "prefix", fresh=True).reused
    assert greeting(built.prefix) == "hello 1.0"


def test_a_package_that_the_reader_added_is_said_and_kept(root: Path, tmp_path: Path) -> None:
    built = install(root, prefix=tmp_path / "prefix")
    (site,) = locations.site_packages(built.prefix)
    (site / "mine-2.0.dist-info").mkdir()
    lines: list[str] = []
    assert install(root, prefix=tmp_path / "prefix", lines=lines).reused
    assert any("has more than the lock: mine 2.0" in line for line in lines)


@posix
def test_in_a_read_only_checkout_what_is_up_to_date_is_used_and_what_is_damaged_is_said(
    root: Path, tmp_path: Path
) -> None:
    """An administrator built it: no lock file can be written there."""
    disk = tmp_path / "disk"
    with diskkit.small_disk(disk, "64m"):
        built = install(root, prefix=disk / "prefix")
        (disk / ".prefix.lock").unlink()
        diskkit.make_read_only(disk)
        assert install(root, prefix=disk / "prefix").reused
    disk = tmp_path / "another"
    with diskkit.small_disk(disk, "64m"):
        built = install(root, prefix=disk / "prefix")
        next(built.prefix.rglob("greet.py")).unlink()
        diskkit.make_read_only(disk)
        lines: list[str] = []
        with pytest.raises(D2lEnvError, match="cannot be written"):
            install(root, prefix=disk / "prefix", lines=lines)
        assert any("is damaged" in line for line in lines)


# --- the command ------------------------------------------------------------------------------------


@posix
def test_the_command_prints_the_place_for_people_and_json_for_machines(root: Path) -> None:
    process = wheelkit.start(root, "build", "tiny")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    prefix = root / ".d2lenv" / "tiny-wheels"
    assert f"tiny is ready: {prefix}" in out
    assert "engine: wheels" in err
    process = wheelkit.start(root, "build", "tiny", "--json")
    out, err = process.communicate(timeout=60)
    data = json.loads(out)
    assert (data["prefix"], data["reused"], data["engine"]) == (str(prefix), True, "wheels")


@posix
def test_the_command_tells_machines_why_it_failed(root: Path) -> None:
    process = wheelkit.start(root, "build", "tiny", "--engine", "pixi", "--json")
    out, err = process.communicate(timeout=60)
    assert process.returncode == FAILED
    assert json.loads(out)["why"] == "pixi is not on the PATH"
    assert "Traceback" not in err


@posix
def test_python_is_asked_for_by_name(root: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    built = install(root, prefix=tmp_path / "prefix", python=Path(sys.executable), lines=lines)
    assert any("(--python)" in line for line in lines)
    assert greeting(built.prefix) == "hello 1.0"
