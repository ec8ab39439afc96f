"""The rattler engine on a channel that the test builds and serves on the loopback."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from rattler import PrefixRecord

import condakit
import diskkit
from d2lenv.base.errors import D2lEnvError
from d2lenv.engines import build, rattler
from d2lenv.engines.build import Built
from d2lenv.workspace import manifest as workspace

PACKAGES = condakit.everyday_packages()


def set_apart(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Neither the shared cache nor the reader's configuration is touched."""
    patch.setenv("RATTLER_CACHE_DIR", str(folder / "cache"))
    for name in ("HOME", "XDG_CONFIG_HOME", "PIXI_HOME", "RATTLER_HOME"):
        patch.setenv(name, str(folder / "home"))
    patch.setenv("D2LENV_LANG", "en")
    patch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    set_apart(monkeypatch, tmp_path)


@pytest.fixture
def channel(tmp_path: Path) -> Iterator[Path]:
    """The folder of a served channel; the workspace ``root`` beside it is locked to it."""
    folder = tmp_path / "channel"
    condakit.write_channel(folder, PACKAGES)
    with condakit.served(folder) as address:
        condakit.write_workspace(tmp_path / "root", address, PACKAGES)
        yield folder


def install(tmp_path: Path, prefix: Path, **options: bool) -> Built:
    return build.build(
        workspace.load(tmp_path / "root"),
        "tiny",
        engine="rattler",
        prefix=prefix,
        say=lambda line: None,
        **options,  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module", params=["prefix", "a b 环境"])
def prefix(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prefix that every test only reads."""
    folder = tmp_path_factory.mktemp("read")
    condakit.write_channel(folder / "channel", PACKAGES)
    with condakit.served(folder / "channel") as address, pytest.MonkeyPatch.context() as patch:
        set_apart(patch, folder)
        condakit.write_workspace(folder / "root", address, PACKAGES)
        return install(folder, folder / str(request.param)).prefix


def test_files_name_the_final_prefix_and_not_the_temporary_one(prefix: Path) -> None:
    assert (prefix / "etc" / "settings.conf").read_text(encoding="utf-8") == f"home = {prefix}/share\n"
    binary = (prefix / "lib" / "libsettings.so.1").read_bytes()
    original = next(p for p in PACKAGES if p.name == "settings").files["lib/libsettings.so.1"]
    assert isinstance(original, bytes)
    assert len(binary) == len(original)
    assert binary.startswith(b"\x7fELF\0" + os.fsencode(prefix) + b"/lib\0")
    for path in prefix.rglob("*"):
        if path.is_file():
            assert b".building-" not in path.read_bytes(), path
    assert not list(prefix.parent.glob("*.building*"))


def test_symlinks_modes_and_both_archive_formats_are_right(prefix: Path) -> None:
    link = prefix / "lib" / "libsettings.so"
    assert link.is_symlink()
    assert link.readlink() == Path("libsettings.so.1")
    assert (prefix / "share" / "oldstyle.txt").read_text(encoding="utf-8") == "bzip2\n"
    assert os.access(prefix / "bin" / "where", os.X_OK)
    assert not os.access(prefix / "etc" / "settings.conf", os.X_OK)


def test_scripts_and_the_entry_point_of_a_noarch_package_run(prefix: Path) -> None:
    def said(name: str) -> str:
        done = subprocess.run(
            [str(prefix / "bin" / name)], capture_output=True, encoding="utf-8", timeout=60, check=True
        )
        return done.stdout.strip()

    place = prefix / "lib" / "python3.10" / "site-packages" / "greet" / "__init__.py"
    assert said("greet") == f"hello from {place}"
    assert said("where") == str(prefix / "bin" / "where")


def test_conda_meta_says_what_was_installed(prefix: Path) -> None:
    records = {}
    for path in (prefix / "conda-meta").glob("*.json"):
        record = PrefixRecord.from_path(path)
        records[record.name.normalized] = record
    assert set(records) == {package.name for package in PACKAGES}
    for package in PACKAGES:
        record = records[package.name]
        assert (str(record.version), str(record.build)) == (package.version, package.build)
        assert record.sha256 is not None
        assert record.sha256.hex() == hashlib.sha256(package.data()).hexdigest()
        for entry in record.paths_data.paths:
            path = prefix / entry.relative_path
            assert path.exists(), path
            if entry.sha256_in_prefix is not None and not path.is_symlink():
                assert hashlib.sha256(path.read_bytes()).hexdigest() == entry.sha256_in_prefix.hex()


def test_the_kernelspec_starts_the_python_of_the_prefix(prefix: Path) -> None:
    spec = json.loads((prefix / "share/jupyter/kernels/d2l-tiny/kernel.json").read_text(encoding="utf-8"))
    assert spec["argv"][0] == str(prefix / "bin" / "python")
    assert spec["display_name"] == "d2l (tiny)"


def test_link_scripts_run_only_when_asked_for(tmp_path: Path, channel: Path) -> None:
    assert not (install(tmp_path, tmp_path / "quiet").prefix / "post-link-ran").exists()
    assert (install(tmp_path, tmp_path / "asked", link_scripts=True).prefix / "post-link-ran").exists()


def test_what_is_built_is_used_again_without_the_channel(tmp_path: Path, channel: Path) -> None:
    built = install(tmp_path, tmp_path / "prefix")
    for path in channel.rglob("*.conda"):
        path.unlink()
    job_lines: list[str] = []
    again = build.build(workspace.load(tmp_path / "root"), "tiny", prefix=built.prefix, say=job_lines.append)
    assert (again.reused, again.engine) == (True, "rattler")


def spoil(archive: Path, how: str) -> None:
    if how == "missing":
        archive.unlink()
        return
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 1
    archive.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "how", "said"),
    [
        ("settings", "flipped", "another file than the locked one"),
        ("oldstyle", "flipped", "failed to fetch"),  # bzip2 or tar stumble over it before its hash is known
        ("settings", "missing", "404"),
        ("oldstyle", "missing", "404"),
    ],
)
def test_a_spoilt_package_ends_in_an_error_and_no_prefix(
    tmp_path: Path, channel: Path, name: str, how: str, said: str
) -> None:
    package = next(p for p in PACKAGES if p.name == name)
    spoil(channel / package.place, how)
    with pytest.raises(D2lEnvError) as caught:
        install(tmp_path, tmp_path / "new")
    text = str(caught.value)
    assert package.stem in text
    assert said in text
    assert len(text.splitlines()) < 10
    assert not (tmp_path / "new").exists()
    assert not list(tmp_path.glob(".new.building*"))


def test_after_a_failure_the_old_prefix_is_still_usable(
    tmp_path: Path, channel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = install(tmp_path, tmp_path / "prefix")
    before = sorted(path.relative_to(built.prefix) for path in built.prefix.rglob("*"))
    monkeypatch.setenv("RATTLER_CACHE_DIR", str(tmp_path / "cold"))
    spoil(channel / PACKAGES[1].place, "missing")
    with pytest.raises(D2lEnvError):
        install(tmp_path, tmp_path / "prefix", fresh=True)
    assert sorted(path.relative_to(built.prefix) for path in built.prefix.rglob("*")) == before
    subprocess.run([str(built.prefix / "bin" / "greet")], check=True, timeout=60, capture_output=True)


def test_a_full_disk_ends_in_an_error_and_no_prefix(tmp_path: Path, channel: Path) -> None:
    disk = tmp_path / "disk"
    with diskkit.small_disk(disk, "16k"):
        with pytest.raises(D2lEnvError) as caught:
            install(tmp_path, disk / "prefix", check_space=False)
        assert "No space left" in caught.value.why
        assert "free some space" in caught.value.fix
        assert {path.name for path in disk.iterdir()} == {".prefix.lock"}
        with pytest.raises(D2lEnvError, match="GB free"):
            install(tmp_path, disk / "prefix")


def test_a_record_without_any_hash_is_refused(tmp_path: Path, channel: Path) -> None:
    with condakit.served(channel) as address:
        condakit.write_workspace(tmp_path / "root", address, PACKAGES, hashes={"settings": ""})
        with pytest.raises(D2lEnvError, match=r"no hash for settings-1\.0-0\.conda"):
            install(tmp_path, tmp_path / "prefix")
    assert not (tmp_path / "prefix").exists()


def test_an_installer_that_dies_is_an_error_and_leaves_no_prefix(
    tmp_path: Path, channel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rattler.sys, "executable", "/bin/false")
    with pytest.raises(D2lEnvError, match="ended with status 1"):
        install(tmp_path, tmp_path / "prefix")
    monkeypatch.setattr(rattler.sys, "executable", str(tmp_path / "none"))
    with pytest.raises(D2lEnvError, match="No such file"):
        install(tmp_path, tmp_path / "prefix")
    assert not (tmp_path / "prefix").exists()


def test_what_the_cache_has_is_built_without_the_channel(tmp_path: Path) -> None:
    condakit.write_channel(tmp_path / "channel", PACKAGES)
    with condakit.served(tmp_path / "channel") as address:
        condakit.write_workspace(tmp_path / "root", address, PACKAGES)
        install(tmp_path, tmp_path / "first")
    assert install(tmp_path, tmp_path / "second").engine == "rattler"
    (package,) = (tmp_path / "cache" / "pkgs").glob("oldstyle-*-0")
    (package / "info").rename(package / "gone")
    with pytest.raises(D2lEnvError) as caught:
        install(tmp_path, tmp_path / "third")
    assert "do not answer" in caught.value.why


def test_a_channel_that_does_not_answer_is_named(tmp_path: Path) -> None:
    address = f"http://127.0.0.1:{condakit.closed_port()}/"
    condakit.write_workspace(tmp_path / "root", address, PACKAGES)
    with pytest.raises(D2lEnvError) as caught:
        install(tmp_path, tmp_path / "prefix")
    assert address in caught.value.why


def test_an_environment_that_the_lock_does_not_have_is_not_served(tmp_path: Path, channel: Path) -> None:
    manifest = tmp_path / "root" / "pixi.toml"
    manifest.write_text(
        manifest.read_text(encoding="utf-8") + "[tool.d2lenv.environments.other]\n", encoding="utf-8"
    )
    with pytest.raises(D2lEnvError, match=r"pixi\.lock does not have other"):
        build.build(workspace.load(tmp_path / "root"), "other", engine="rattler", say=lambda line: None)


def test_the_readers_mirror_serves_the_packages(
    tmp_path: Path, channel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = f"http://127.0.0.1:{condakit.closed_port()}/"
    condakit.write_workspace(tmp_path / "root", closed, PACKAGES)
    with condakit.served(channel) as mirror:
        config = tmp_path / "home" / "pixi" / "config.toml"
        config.parent.mkdir(parents=True)
        config.write_text(f'[mirrors]\n"{closed}" = ["{mirror}"]\n', encoding="utf-8")
        assert (install(tmp_path, tmp_path / "prefix").prefix / "bin" / "greet").exists()


def test_a_relative_name_of_the_cache_means_the_readers_folder(
    tmp_path: Path, channel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RATTLER_CACHE_DIR", "near")
    install(tmp_path, tmp_path / "prefix")
    assert (tmp_path / "near" / "pkgs" / "settings-1.0-0").is_dir()


@pytest.mark.parametrize("name", ["settings", "oldstyle"])
def test_a_download_that_trickles_ends_and_is_named(
    tmp_path: Path, channel: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    package = next(p for p in PACKAGES if p.name == name)
    monkeypatch.setattr(rattler, "_STALL_S", 2.0)
    with condakit.served(channel, trickle=f"{package.stem}.{package.archive}") as address:
        condakit.write_workspace(tmp_path / "root", address, PACKAGES)
        with pytest.raises(D2lEnvError) as caught:
            install(tmp_path, tmp_path / "prefix")
    assert f"the download of {name} has stalled" in caught.value.why
    assert address + package.place in caught.value.why
    assert "mirror" in caught.value.fix
    assert not list(tmp_path.glob("*prefix*.building*"))
    assert not (tmp_path / "prefix").exists()


def test_a_server_that_never_answers_a_download_is_named(
    tmp_path: Path, channel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rattler, "_STALL_S", 1.0)
    with condakit.served(channel, delay_s=60.0) as address:
        condakit.write_workspace(tmp_path / "root", address, PACKAGES)
        with pytest.raises(D2lEnvError, match="the download of settings has stalled: 0 of"):
            install(tmp_path, tmp_path / "prefix")
