"""Run uv with a configuration that this tool chooses.

uv looks for ``uv.toml`` and ``[tool.uv]`` in the working folder and above it: a file there with
``[pip] target = …`` put a whole environment elsewhere, with exit status 0. A variable such as UV_PREFIX does
the same. So uv starts in an empty folder, with one configuration file that holds nothing but the reader's
index, mirrors, proxies, certificates and cache (docs/mirrors.md), and without any other ``UV_`` variable.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import platformdirs

from d2lenv.base import process
from d2lenv.base.errors import D2lEnvError
from d2lenv.base.messages import tr

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_INDEX = ("index", "index-url", "extra-index-url", "find-links", "no-index")
_PIP = (*_INDEX[1:], "index-strategy", "keyring-provider", "link-mode")
"""Keys that are also known below ``[pip]``."""
_TOP = (
    *("index", *_PIP, "allow-insecure-host", "native-tls", "system-certs", "http-proxy", "https-proxy"),
    *("no-proxy", "cache-dir", "offline", "python-install-mirror", "python-downloads-json-url"),
    *("concurrent-downloads", "concurrent-installs"),
)
_VARIABLES = re.compile(
    r"UV_(INDEX|DEFAULT_INDEX|INDEX_URL|EXTRA_INDEX_URL|FIND_LINKS|NO_INDEX|INDEX_STRATEGY"
    r"|INDEX_\w+_(USERNAME|PASSWORD)|KEYRING_PROVIDER|CREDENTIALS_DIR|INSECURE_HOST|NATIVE_TLS|SYSTEM_CERTS"
    r"|HTTP_\w+|REQUEST_TIMEOUT|OFFLINE|CACHE_DIR|LOCK_TIMEOUT|LINK_MODE|CONCURRENT_(DOWNLOADS|INSTALLS)"
    r"|ASTRAL_MIRROR_URL|PYTHON_(INSTALL_MIRROR|DOWNLOADS|DOWNLOADS_JSON_URL|INSTALL_DIR|CACHE_DIR))"
)
_INDEX_VARIABLES = ("UV_INDEX", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_NO_INDEX")
_PLACES = ("UV_CACHE_DIR", "UV_FIND_LINKS", "UV_PYTHON_INSTALL_DIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "NETRC")
"""Variables whose relative paths start from the reader's working folder, not from uv's empty one."""
# An active environment is not the one to install into, and none of its modules belongs into uv's queries.
_DROPPED = re.compile(r"UV_.*|VIRTUAL_ENV|CONDA_(PREFIX|DEFAULT_ENV)|PYTHON(PATH|HOME|STARTUP|USERBASE)")


@cache
def program() -> str:
    """Return the uv program: the one installed beside d2lenv, else the one on the PATH.

    Raises:
        D2lEnvError: if there is none.
    """
    try:
        from uv import find_uv_bin

        return str(find_uv_bin())
    except (ImportError, FileNotFoundError):
        found = process.which("uv", os.environ)
        if found is None:
            raise D2lEnvError(
                tr("uv is not installed"), fix=tr("install it: `python -m pip install uv`")
            ) from None
        return str(found)


def run(
    *arguments: str | Path,
    timeout_s: float,
    shown: bool = False,
    pip_index: bool = False,
    watch: process.Watch | None = None,
    **variables: str,
) -> process.Done:
    """Run uv and return its status and outputs; standard error stays empty if it is shown.

    Args:
        arguments: a path may be relative to the working folder.
        shown: uv draws its progress on the terminal.
        pip_index: where uv is told of no index, pip's is used.
        watch: looks whether uv gets on.
        variables: added to uv's environment.

    Raises:
        OSError: if it cannot be started.
        TimeoutError: if it takes longer than ``timeout_s``; it is killed then.
        StalledError: if ``watch`` says that it does not go on; likewise.
    """
    words = [word.absolute() if isinstance(word, Path) else word for word in arguments]
    with tempfile.TemporaryDirectory(prefix="d2lenv-uv-") as folder:
        environ = environment(os.environ)
        settings = configuration(os.environ)
        if pip_index and not asks_for_an_index(settings, environ):
            settings, environ = _with_pip(settings, environ)
        file = Path(folder) / "uv.toml"
        # The folder is 0700: an address may hold a password.
        file.write_text("".join(f"{k} = {_toml(v)}\n" for k, v in settings.items()), encoding="utf-8")
        return process.run(
            [program(), *words, "--config-file", file],
            timeout_s=timeout_s,
            cwd=Path(folder),
            environ={**environ, **({} if shown else {"NO_COLOR": "1"}), **variables},
            shown=shown,
            watch=watch,
        )


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return ``environ`` for uv: no variable that says what to install, into what, or with what."""
    kept = {
        name: value
        for name, value in environ.items()
        if _VARIABLES.fullmatch(name) or not _DROPPED.fullmatch(name)
    }
    if kept.get("UV_LINK_MODE") == "symlink":
        del kept["UV_LINK_MODE"]  # an environment of links into the cache is none
    for name in _PLACES:
        if kept.get(name):
            separator = "," if name == "UV_FIND_LINKS" else "\0"
            kept[name] = separator.join(map(_absolute, kept[name].split(separator)))
    return kept


def _absolute(place: str) -> str:
    return place if "://" in place else str(Path(place).absolute())


def configuration(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return what is taken from the reader's own ``uv.toml`` and the system's, as uv would merge them.

    Raises:
        D2lEnvError: if one of them is damaged.
    """
    if environ.get("UV_NO_CONFIG", "").lower() in ("1", "true", "yes"):
        return {}
    stated = environ.get("UV_CONFIG_FILE")
    files = [Path(stated)] if stated else [_user_file(environ), *_system_file(environ)]
    merged: dict[str, Any] = {}
    for file in files:
        for key, value in _allowed(file).items():
            if isinstance(value, list) and isinstance(merged.get(key), list):
                merged[key] = [*merged[key], *value]
            else:
                merged.setdefault(key, value)
    return merged


def _allowed(file: Path) -> dict[str, Any]:
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise D2lEnvError(tr("{path} cannot be read", path=file), why=str(error)) from error
    pip = data.get("pip")
    found = {key: data[key] for key in _TOP if key in data}
    if isinstance(pip, dict):
        found |= {key: pip[key] for key in _PIP if key in pip}
    return {key: value for key, value in found.items() if (key, value) != ("link-mode", "symlink")}


def _user_file(environ: Mapping[str, str]) -> Path:
    if sys.platform == "win32":
        return Path(environ.get("APPDATA", "")) / "uv" / "uv.toml"
    # On macOS too: https://docs.astral.sh/uv/concepts/configuration-files/
    home = environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(home) / "uv" / "uv.toml"


def _system_file(environ: Mapping[str, str]) -> list[Path]:
    """Return the first system-level file that exists, as uv does."""
    if sys.platform == "win32":
        places = [Path(environ.get("PROGRAMDATA", r"C:\ProgramData"))]
    else:
        places = [Path(p) for p in (environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep)]
        places.append(Path("/etc"))
    return [file for file in (place / "uv" / "uv.toml" for place in places) if file.is_file()][:1]


def asks_for_an_index(settings: Mapping[str, Any], environ: Mapping[str, str]) -> bool:
    """Return True if uv was told where packages come from."""
    return any(settings.get(key) for key in _INDEX) or any(environ.get(name) for name in _INDEX_VARIABLES)


def _with_pip(
    settings: Mapping[str, Any], environ: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return both with pip's index, its trusted hosts and its certificates."""
    pip = pip_settings(os.environ)
    settings, environ = dict(settings), dict(environ)
    if index := pip.get("index-url", "").strip():
        settings["index-url"] = index
        if more := pip.get("extra-index-url", "").split():
            settings["extra-index-url"] = more
    if hosts := pip.get("trusted-host", "").split():
        settings.setdefault("allow-insecure-host", hosts)
    certificates = pip.get("cert", "").strip()
    if Path(certificates).is_file():
        environ.setdefault("SSL_CERT_FILE", _absolute(certificates))
    return settings, environ


def pip_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Return pip's settings from its files and variables, the strongest of each; a damaged file has none.

    https://pip.pypa.io/en/stable/topics/configuration/
    """
    found: dict[str, str] = {}
    for file in _pip_files(environ):
        parser = configparser.RawConfigParser()
        try:
            parser.read(file, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError):
            continue
        for section in ("global", "install"):
            if parser.has_section(section):
                found |= {key.replace("_", "-"): value for key, value in parser.items(section)}
    names = ("index-url", "extra-index-url", "trusted-host", "cert")
    variables = {name: environ.get("PIP_" + name.upper().replace("-", "_")) for name in names}
    return found | {name: value for name, value in variables.items() if value}


def _pip_files(environ: Mapping[str, str]) -> list[Path]:
    """Return pip's files, weakest first."""
    stated = environ.get("PIP_CONFIG_FILE")
    if stated == os.devnull:
        return []
    name = "pip.ini" if sys.platform == "win32" else "pip.conf"
    dirs = platformdirs.PlatformDirs("pip", appauthor=False, roaming=True, multipath=True)
    files = [Path(place) / name for place in reversed(dirs.site_config_dir.split(os.pathsep))]
    if sys.platform != "win32":
        files.append(Path("/etc") / name)
    files += [
        Path.home() / ("pip" if sys.platform == "win32" else ".pip") / name,
        Path(environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "pip" / name,
        Path(dirs.user_config_dir) / name,
        Path(sys.prefix) / name,
    ]
    return [*files, *([Path(stated)] if stated else [])]


def _toml(value: object) -> str:
    """Return ``value``, which came from a TOML file, as one line of TOML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
