"""uv runs with a configuration of ours: nothing redirects it, and the reader's own settings reach it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import condakit
import wheelkit
from d2lenv.base.errors import D2lEnvError
from d2lenv.solve import uv

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

posix = pytest.mark.skipif(os.name != "posix", reason="places of configuration on POSIX")


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration but what a test writes, and the folder ``here`` to work in."""
    for name in os.environ:
        if name.startswith(("UV_", "PIP_")):
            monkeypatch.delenv(name)
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", "APPDATA", "PROGRAMDATA"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("D2LENV_LANG", "en")
    (tmp_path / "above" / "here").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "above" / "here")


@pytest.fixture
def user(tmp_path: Path) -> Path:
    path = tmp_path / ("APPDATA" if os.name == "nt" else "XDG_CONFIG_HOME") / "uv" / "uv.toml"
    path.parent.mkdir(parents=True)
    return path


@pytest.fixture
def house(tmp_path: Path) -> Iterator[str]:
    """The address of an index that has greet 1.0."""
    wheelkit.write_greet(tmp_path / "web" / "simple" / "greet")
    with condakit.served(tmp_path / "web") as address:
        yield address + "simple"


def installed(tmp_path: Path, *options: str, **how: bool) -> list[str]:
    """What an installation of greet into a new environment leaves there."""
    made = uv.run("venv", "--python", sys.executable, tmp_path / "venv", timeout_s=60)
    assert made.returncode == 0, made.stderr
    words = ("pip", "install", "--python", tmp_path / "venv", "greet", *options)
    done = uv.run(*words, timeout_s=60, **how)  # type: ignore[arg-type]
    assert done.returncode == 0, done.stderr
    return [path.name for path in (tmp_path / "venv").rglob("greet*")]


# --- nothing redirects it ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["uv.toml", "pyproject.toml"])
@pytest.mark.parametrize("folder", ["above/here", "above"])
def test_a_configuration_in_the_working_folder_or_above_has_no_effect(
    tmp_path: Path, house: str, name: str, folder: str
) -> None:
    table = "[pip]" if name == "uv.toml" else "[tool.uv.pip]"
    text = f'{table}\ntarget = "{(tmp_path / "elsewhere").as_posix()}"\n'
    (tmp_path / folder / name).write_text(text, encoding="utf-8")
    assert "greet.py" in installed(tmp_path, "--default-index", house)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("key", ["target", "prefix"])
def test_the_readers_own_configuration_cannot_redirect_it_either(
    tmp_path: Path, house: str, user: Path, key: str
) -> None:
    place = (tmp_path / "elsewhere").as_posix()
    user.write_text(f'[pip]\n{key} = "{place}"\nindex-url = "{house}"\n', encoding="utf-8")
    assert "greet.py" in installed(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


def test_variables_that_choose_what_goes_where_are_not_passed_on() -> None:
    names = [
        "UV_TARGET",
        "UV_PREFIX",
        "UV_PYTHON",
        "UV_SYSTEM_PYTHON",
        "UV_BREAK_SYSTEM_PACKAGES",
        "UV_PROJECT",
        "UV_PROJECT_ENVIRONMENT",
        "UV_WORKING_DIR",
        "UV_CONSTRAINT",
        "UV_OVERRIDE",
        "UV_EXCLUDE",
        "UV_NO_VERIFY_HASHES",
        "UV_TORCH_BACKEND",
        "UV_COMPILE_BYTECODE",
        "UV_CONFIG_FILE",
        "UV_NO_CONFIG",
        "UV_NO_INSTALLER_METADATA",
        "UV_PREVIEW",
        "UV_ENV_FILE",
        "UV_NO_CACHE",
        "VIRTUAL_ENV",
        "CONDA_PREFIX",
        "PYTHONPATH",
        "PYTHONHOME",
    ]
    assert uv.environment(dict.fromkeys(names, "/x")) == {}


def test_the_variables_that_are_passed_on_are_uvs_own() -> None:
    data = Path(uv.program()).read_bytes()
    known = {name for name in _PASSED if name.encode() in data}
    assert known == set(_PASSED)
    assert set(uv.environment(dict.fromkeys(_PASSED, "/x"))) == set(_PASSED)


_PASSED = [
    *("UV_INDEX", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_FIND_LINKS", "UV_INDEX_STRATEGY"),
    *("UV_KEYRING_PROVIDER", "UV_CREDENTIALS_DIR", "UV_INSECURE_HOST", "UV_NATIVE_TLS", "UV_SYSTEM_CERTS"),
    *("UV_HTTP_TIMEOUT", "UV_HTTP_CONNECT_TIMEOUT", "UV_HTTP_RETRIES", "UV_REQUEST_TIMEOUT", "UV_OFFLINE"),
    *("UV_CACHE_DIR", "UV_LOCK_TIMEOUT", "UV_LINK_MODE", "UV_CONCURRENT_DOWNLOADS"),
    *("UV_CONCURRENT_INSTALLS", "UV_ASTRAL_MIRROR_URL", "UV_PYTHON_INSTALL_MIRROR", "UV_PYTHON_DOWNLOADS"),
    *("UV_PYTHON_DOWNLOADS_JSON_URL", "UV_PYTHON_INSTALL_DIR", "UV_PYTHON_CACHE_DIR"),
]


# --- the reader's settings reach it -----------------------------------------------------------------


def test_the_readers_index_in_uv_toml_is_used(tmp_path: Path, house: str, user: Path) -> None:
    user.write_text(f'[[index]]\nname = "house"\nurl = "{house}"\ndefault = true\n', encoding="utf-8")
    assert "greet.py" in installed(tmp_path)


@pytest.mark.parametrize("variable", ["UV_INDEX_URL", "UV_DEFAULT_INDEX"])
def test_the_readers_index_in_a_variable_is_used(
    tmp_path: Path, house: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, house)
    assert "greet.py" in installed(tmp_path)


def test_a_relative_folder_in_a_variable_is_that_of_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheelkit.write_greet(tmp_path / "above" / "here" / "wheels")
    monkeypatch.setenv("UV_FIND_LINKS", "wheels")
    monkeypatch.setenv("UV_CACHE_DIR", "own-cache")
    monkeypatch.setenv("UV_NO_INDEX", "1")
    assert "greet.py" in installed(tmp_path)
    assert (tmp_path / "above" / "here" / "own-cache").is_dir()


@posix
def test_the_users_file_is_stronger_than_the_systems_and_lists_are_joined(tmp_path: Path, user: Path) -> None:
    user.write_text('index-url = "https://one/"\nfind-links = ["a"]\noffline = true\n', encoding="utf-8")
    system = tmp_path / "XDG_CONFIG_DIRS" / "uv" / "uv.toml"
    system.parent.mkdir(parents=True)
    system.write_text(
        'index-url = "https://two/"\nfind-links = ["b"]\ncache-dir = "/c"\n[pip]\ntarget = "/x"\n'
        'index-strategy = "first-index"\n',
        encoding="utf-8",
    )
    assert uv.configuration(os.environ) == {
        "index-url": "https://one/",
        "find-links": ["a", "b"],
        "offline": True,
        "cache-dir": "/c",
        "index-strategy": "first-index",
    }
    assert uv.configuration({**os.environ, "UV_NO_CONFIG": "1"}) == {}
    assert uv.configuration({**os.environ, "UV_CONFIG_FILE": str(system)})["index-url"] == "https://two/"


def test_a_damaged_file_of_the_reader_is_named(user: Path) -> None:
    user.write_text("index-url = \n", encoding="utf-8")
    with pytest.raises(D2lEnvError, match=r"uv\.toml cannot be read"):
        uv.configuration(os.environ)


def test_what_is_written_for_uv_says_what_was_read() -> None:
    settings = {
        "index": [{"name": 'a"b', "url": "https://例/\t", "default": True}],
        "concurrent-downloads": 3,
        "no-proxy": ["a", "b\\c"],
    }
    text = "".join(f"{key} = {uv._toml(value)}\n" for key, value in settings.items())
    assert tomllib.loads(text) == settings


# --- pip's ------------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("where", ["file", "variable"])
def test_pips_index_is_used_where_uv_was_told_of_none(
    tmp_path: Path, house: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if where == "variable":
        monkeypatch.setenv("PIP_INDEX_URL", house)
    else:
        file = tmp_path / "XDG_CONFIG_HOME" / "pip" / "pip.conf"
        file.parent.mkdir(parents=True)
        file.write_text(f"[global]\nindex-url = {house}\n", encoding="utf-8")
    assert "greet.py" in installed(tmp_path, pip_index=True)


@posix
def test_uvs_index_is_stronger_than_pips(tmp_path: Path, house: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{condakit.closed_port()}/")
    monkeypatch.setenv("UV_DEFAULT_INDEX", house)
    assert "greet.py" in installed(tmp_path, pip_index=True)


@posix
def test_of_pips_settings_the_strongest_counts_and_a_damaged_file_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pip.conf").write_text(
        "[global]\nindex_url = https://one/\ntrusted-host = a b\n[install]\nindex-url = https://two/\n",
        encoding="utf-8",
    )
    environ = {**os.environ, "PIP_CONFIG_FILE": str(tmp_path / "pip.conf")}
    found = uv.pip_settings(environ)
    assert (found["index-url"], found["trusted-host"]) == ("https://two/", "a b")
    assert uv.pip_settings({**environ, "PIP_INDEX_URL": "https://three/"})["index-url"] == "https://three/"
    assert uv.pip_settings({"PIP_CONFIG_FILE": os.devnull}) == {}
    (tmp_path / "pip.conf").write_text("no section\n", encoding="utf-8")
    assert "index-url" not in uv.pip_settings(environ)


# --- the program ------------------------------------------------------------------------------------


def test_uv_is_found_beside_the_tool_then_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import uv as package

    def nowhere() -> str:
        raise FileNotFoundError

    find = uv.program.__wrapped__  # type: ignore[attr-defined]
    assert Path(find()).name.startswith("uv")
    monkeypatch.setattr(package, "find_uv_bin", nowhere)
    program = tmp_path / ("uv.exe" if os.name == "nt" else "uv")
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Path(find()) == program
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", ".")
    with pytest.raises(D2lEnvError, match="uv is not installed"):
        find()
