"""Give the exports to conda itself, from its source, and to conda-lock: a look for before a release.

    python tests/looks/real_conda.py PATH-OF-A-CONDA-CHECKOUT

The suite cannot have conda: no package index carries it. Here a virtual environment gets the checkout and
conda's own dependencies, a channel of small packages is served on the loopback, and each file that
`d2lenv export` writes for them is installed by conda (with its classic solver, and the rattler one where that
fits) and, for `conda-lock.yml`, by conda-lock too. Every installed file is compared with the package.
A second channel with packages of the same names plays `defaults`: nothing of it may be installed.

Then conda's own parsers read this repository's exports, without a network.
"""

from __future__ import annotations

import argparse
import hashlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
ROOT = HERE.parents[2]
sys.path[:0] = [str(HERE.parents[1])]

from condakit import PLACEHOLDER, Link, Package, everyday_packages, write_channel  # noqa: E402
from export.sample_locks import Env, text  # noqa: E402

NOT_CHECKED = 2
UV = Path(sys.executable).parent / "uv"
HOST = "https://conda.anaconda.org/"
"""The host that the toy lock names. The loopback takes its place as a mirror does, as `channel_alias`;
in files that hold whole addresses it is written over it."""

REQUIREMENTS = (
    *(
        "archspec",
        "boltons",
        "charset-normalizer",
        "conda-package-handling",
        "distro",
        "frozendict",
        "msgpack",
    ),
    *(
        "packaging",
        "platformdirs",
        "pluggy",
        "pycosat",
        "requests",
        "ruamel.yaml<0.19",
        "setuptools<81",
        "tqdm",
    ),
    *("truststore", "zstandard", "backports.zstd", "conda-rattler-solver", "conda-index", "conda-lockfiles"),
)
"""conda's dependencies (its pyproject.toml) but menuinst, which the index lacks and Linux does not need."""

PARSE = """
import json, sys
from conda.base.context import context
from conda.misc import _match_specs_from_explicit
found = {}
for path in sys.argv[1:]:
    name = path.rsplit("/", 1)[1]
    if name.endswith(".lock"):
        lines = [line.strip() for line in open(path, encoding="utf-8") if not line.startswith("#")]
        specs = list(_match_specs_from_explicit([line for line in lines if line]))
        hashed = sum(bool(spec.get_raw_value("sha256") or spec.get_raw_value("md5")) for spec in specs)
        found[path] = f"{len(specs)} packages, {hashed} of them with a hash"
    elif name == "conda-lock.yml":
        from conda_lockfiles.conda_lock.v1 import CondaLockV1, load_yaml
        from pathlib import Path
        lock = CondaLockV1.model_validate(load_yaml(Path(path)))
        found[path] = f"{len(lock.package)} packages, made by {lock.metadata.custom_metadata.created_by}"
    else:
        manager = context.plugin_manager
        environment = manager.get_environment_specifier(path).environment_spec(path).env
        wanted = environment.requested_packages
        exact = sum(all(spec.get(part) for part in ("version", "build", "channel")) for spec in wanted)
        found[path] = f"{len(wanted)} packages, {exact} exact with their channel"
print(json.dumps(found))
"""


class Look:
    """One conda, its virtual environment and a folder for everything it makes."""

    def __init__(self, checkout: Path, folder: Path) -> None:
        self.folder = folder
        self.failed = 0
        self.alias = HOST
        git = ["git", "-C", str(checkout), "describe", "--tags", "--match", "[0-9]*"]
        done = subprocess.run(git, capture_output=True, text=True, check=False)
        self.described = done.stdout.strip() or "0.0.0"
        self.version = self.described.split("-")[0]
        self.python = folder / "venv" / "bin" / "python"
        self.run(UV, "venv", "--quiet", "--python", sys.executable, folder / "venv")
        self.run(UV, "pip", "install", "--quiet", "--python", self.python, *REQUIREMENTS)
        source = folder / "source"
        # Only what a build needs: a clone of conda may lack the large files of its tests.
        shutil.copytree(checkout / "conda", source / "conda", ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("conda_env", "setup.py", "pyproject.toml", "README.md", "LICENSE", "AUTHORS.md"):
            if (checkout / name).is_dir():
                shutil.copytree(checkout / name, source / name)
            elif (checkout / name).is_file():
                shutil.copy(checkout / name, source / name)
        version = {"SETUPTOOLS_SCM_PRETEND_VERSION": self.version}
        self.run(UV, "pip", "install", "--quiet", "--no-deps", "--python", self.python, source, **version)
        # What tells conda that a prefix is its own.
        (folder / "venv" / "conda-meta").mkdir()
        (folder / "venv" / "conda-meta" / "history").touch()
        release = tuple(int(part) for part in self.version.split(".")[:2])
        # conda-lockfiles and conda-rattler-solver want a conda of their time.
        self.plugins = release >= (25, 9)
        self.adds_defaults = release < (25, 9)
        self.refuses_nodefaults = release >= (26, 7)

    def run(self, *words: str | Path, **environ: str) -> str:
        """Run a command that has to succeed; return both its outputs."""
        done = self.attempt(*words, **environ)
        if done.returncode:
            raise SystemExit(f"{' '.join(map(str, words))}\n{done.stdout}")
        return str(done.stdout)

    def attempt(self, *words: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
        # A HOME of its own: the reader's configuration of conda must not take part.
        base = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "LANG": "C.UTF-8"}
        if words[0] == UV:
            base = dict(os.environ)
        return subprocess.run(
            [str(word) for word in words],
            env={**base, **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
            check=False,
            cwd=self.folder,
        )

    def conda(self, *words: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
        return self.attempt(self.python, "-m", "conda", *words, **{**self.settings(), **environ})

    def settings(self) -> dict[str, str]:
        """A conda of its own, with an empty cache."""
        return {
            "CONDA_SOLVER": "classic",
            "CONDA_PKGS_DIRS": tempfile.mkdtemp(dir=self.folder, prefix="packages-"),
            "CONDA_ENVS_DIRS": str(self.folder),
            "CONDA_CHANNEL_ALIAS": self.alias,
            # The toys have no pip.
            "CONDA_ADD_PIP_AS_PYTHON_DEPENDENCY": "false",
        }

    def say(self, what: str, problems: Sequence[str], detail: str = "") -> None:
        self.failed += bool(problems)
        print(f"{'FAILED' if problems else 'ok':7} {what}" + (f": {detail}" if detail else ""))
        for problem in problems:
            print(f"        {problem}")


class _Handler(http.server.SimpleHTTPRequestHandler):
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, *words: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Serve ``folder`` on the loopback; yield its address and the list of what is asked for."""
    requests: list[str] = []

    class Handler(_Handler):
        asked = requests

        def __init__(self, *words: Any) -> None:
            super().__init__(*words, directory=str(folder))

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/", requests
    finally:
        server.shutdown()
        server.server_close()


def record(package: Package, channel: str, hashed: bool = True) -> dict[str, Any]:
    data = package.data()
    found: dict[str, Any] = {**package.index(), "url": f"{channel}{package.place}", "size": len(data)}
    if hashed:
        found |= {"sha256": hashlib.sha256(data).hexdigest(), "md5": hashlib.md5(data).hexdigest()}
    return found


def export(folder: Path, packages: Mapping[str, Sequence[Package]], bare: str) -> Path:
    """The exports of a lock of ``packages`` (channel → packages), ``bare`` of them without a hash."""
    records = [
        record(package, f"{HOST}{channel}/", package.name != bare)
        for channel, found in packages.items()
        for package in found
    ]
    environment = Env(tuple(f"{HOST}{channel}/" for channel in packages), {"linux-64": records})
    lock = folder / "pixi.lock"
    lock.write_text(text(7, {"toy": environment}), encoding="utf-8")
    words = ["--lock", str(lock), "--output", str(folder)]
    subprocess.run([sys.executable, "-m", "d2lenv", "export", *words], check=True, stdout=subprocess.DEVNULL)
    return folder / "toy"


def differences(prefix: Path, packages: Sequence[Package]) -> list[str]:
    """What is not in ``prefix`` as the packages have it, or is there too much."""
    found: list[str] = []
    meta = {
        (data["name"], data["version"], data["build"])
        for path in prefix.glob("conda-meta/*.json")
        for data in [json.loads(path.read_text(encoding="utf-8"))]
    }
    wanted = {(package.name, package.version, package.build) for package in packages}
    found += [f"missing: {one}" for one in sorted(wanted - meta)]
    found += [f"too many: {one}" for one in sorted(meta - wanted)]
    for package in packages:
        for name, content in package.files.items():
            place = prefix / name.replace("site-packages/", "lib/python3.10/site-packages/")
            if isinstance(content, Link):
                same = place.is_symlink() and str(place.readlink()) == content.target
            else:
                raw = content.encode() if isinstance(content, str) else content
                padded = str(prefix).encode()
                if PLACEHOLDER.encode() in raw and isinstance(content, str):
                    raw = raw.replace(PLACEHOLDER.encode(), padded)
                elif PLACEHOLDER.encode() in raw:
                    end = raw.index(b"\0", raw.index(PLACEHOLDER.encode()))
                    shorter = raw[:end].replace(PLACEHOLDER.encode(), padded)
                    raw = shorter + b"\0" * (end - len(shorter)) + raw[end:]
                same = place.is_file() and place.read_bytes() == raw
            if not same:
                found.append(f"{package.name}: {name} is not what the package has")
    if decoys := [str(path.relative_to(prefix)) for path in prefix.rglob("decoy.txt")]:
        found.append(f"from the channel that plays defaults: {decoys}")
    return found


def toys(look: Look) -> None:
    """Install each file of a toy lock."""
    first, second = everyday_packages()[:3], everyday_packages()[3:]
    bare = second[-1].name
    decoys = [replace(one, files={**one.files, "share/decoy.txt": "x\n"}) for one in (*first, *second)]
    channels = {"first": first, "second": second}
    folder = look.folder / "channels"
    for name, packages in {**channels, "decoy": tuple(decoys)}.items():
        write_channel(folder / name, tuple(packages))
        look.run(look.python, "-m", "conda_index", folder / name)
    with served(folder) as (address, asked):
        look.alias = address.rstrip("/")
        files = export(look.folder, channels, bare)
        for file in files.iterdir():
            content = file.read_text(encoding="utf-8").replace(HOST, address)
            file.write_text(content, encoding="utf-8")
        everything = (*first, *second)
        explicit(look, files / "conda-linux-64.lock", everything)
        for name in ("environment-linux-64.yml", "studio-lab.yml"):
            solved(look, files / name, everything, address, asked)
        hashed = tuple(package for package in everything if package.name != bare)
        by_conda_lockfiles(look, files / "conda-lock.yml", hashed)
        by_conda_lock(look, files, hashed, everything)


def explicit(look: Look, file: Path, packages: Sequence[Package]) -> None:
    for command in (("create",), ("env", "create")):
        prefix = Path(tempfile.mkdtemp(dir=look.folder)) / "p"
        yes = ("--yes",) if command == ("create",) else ()
        done = look.conda(*command, *yes, "--prefix", prefix, "--file", file)
        name = f"conda {' '.join(command)} --file {file.name}"
        if done.returncode and command[0] == "env":
            print(f"        not taken by this conda: {name}: {done.stdout.strip().splitlines()[-1]}")
            continue
        look.say(name, [done.stdout] if done.returncode else differences(prefix, packages))


def solved(look: Look, file: Path, packages: Sequence[Package], address: str, asked: list[str]) -> None:
    """With `defaults` in the configuration (an old conda adds it by itself), and as the file's head says."""
    decoy = {"CONDA_DEFAULT_CHANNELS": f"{address}decoy"}
    configured = {**decoy, "CONDA_CHANNELS": "defaults"}
    for what, environ, may_ask in (
        ("with defaults", decoy if look.adds_defaults else configured, True),
        ("CONDA_CHANNELS=FIRST", {**decoy, "CONDA_CHANNELS": "first"}, False),
    ):
        asked.clear()
        prefix, done = create(look, file, **environ)
        problems = [done.stdout] if done.returncode else differences(prefix, packages)
        index = sum(path.startswith("/decoy/") for path in asked)
        if bool(index) != may_ask:
            problems.append(f"defaults was asked {index} times")
        name = f"conda env create --file {file.name}, {what}"
        look.say(name, problems, f"defaults asked {index} times")
    text = file.read_text(encoding="utf-8")
    if look.refuses_nodefaults:
        # Its rattler solver (0.2.0) does not know `channel_alias`, and an older conda no addresses here.
        spelled = text
        for name in ("first", "second"):
            spelled = spelled.replace(f"{name}::", f"{address}{name}::")
            spelled = spelled.replace(f"- {name}\n", f"- {address}{name}\n")
        prefix, done = create(look, written(file, spelled), CONDA_SOLVER="rattler", CONDA_CHANNEL_ALIAS=HOST)
        problems = [done.stdout] if done.returncode else differences(prefix, packages)
        look.say(f"conda env create --file {file.name}, rattler solver, addresses for names", problems)
    prefix, done = create(look, written(file, text.replace("- second\n", "- second\n- nodefaults\n")))
    expected = bool(done.returncode) == look.refuses_nodefaults
    verb = "refuses" if done.returncode else "takes"
    look.say(f"{verb} the line `nodefaults` in {file.name}", [] if expected else [done.stdout])


def create(look: Look, file: Path, **environ: str) -> tuple[Path, subprocess.CompletedProcess[str]]:
    prefix = Path(tempfile.mkdtemp(dir=look.folder)) / "p"
    return prefix, look.conda("env", "create", "--prefix", prefix, "--file", file, **environ)


def written(file: Path, content: str) -> Path:
    other = file.with_name(f"other-{file.name}")
    other.write_text(content, encoding="utf-8")
    return other


def by_conda_lockfiles(look: Look, file: Path, packages: Sequence[Package]) -> None:
    if not look.plugins:
        print("        not checked with conda-lockfiles: it wants a newer conda")
        return
    prefix, done = create(look, file)
    problems = [done.stdout] if done.returncode else differences(prefix, packages)
    look.say("conda env create --file conda-lock.yml (conda-lockfiles)", problems)


def by_conda_lock(
    look: Look, files: Path, packages: Sequence[Package], everything: Sequence[Package]
) -> None:
    """conda-lock with this conda: each kind of file, and what a head says of the package without an md5."""
    program = look.folder / "conda"
    program.write_text(f'#!/bin/sh\nexec {look.python} -m conda "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    conda_lock = Path(sys.executable).parent / "conda-lock"
    version = look.run(conda_lock, "--version").strip()

    def install(file: Path, wanted: Sequence[Package]) -> Path:
        prefix = Path(tempfile.mkdtemp(dir=look.folder)) / "p"
        words = ("install", "--no-validate-platform", "--conda", program, "--prefix", prefix, file)
        done = look.attempt(conda_lock, *words, **look.settings())
        problems = [done.stdout] if done.returncode else differences(prefix, wanted)
        look.say(f"{version}: conda-lock install {file.name}", problems)
        return prefix

    install(files / "conda-linux-64.lock", everything)
    prefix = install(files / "conda-lock.yml", packages)
    (line,) = [line for line in (files / "conda-lock.yml").read_text().splitlines() if "--no-deps" in line]
    url = line.split()[-1]
    done = look.conda("install", "--yes", "--prefix", prefix, "--no-deps", url)
    problems = [done.stdout] if done.returncode else differences(prefix, everything)
    look.say("conda install --no-deps URL, as its head says", problems)
    for name in ("environment.yml", "environment-linux-64.yml"):
        locked = look.folder / f"from-{name}"
        words = ("lock", "--conda", program, "--file", files / name, "--platform", "linux-64")
        done = look.attempt(conda_lock, *words, "--lockfile", locked, **look.settings())
        if done.returncode:
            look.say(f"{version}: conda-lock lock --file {name}", [done.stdout])
        else:
            install(locked, everything)


def real(look: Look) -> None:
    """conda's own parsers read what lies in envs/ and .binder/."""
    if not look.plugins:
        print("        not checked with the parsers of a conda that is so old")
        return
    patterns = (
        *(
            "envs/*/conda-*.lock",
            "envs/*/conda-lock.yml",
            "envs/*/environment-*.yml",
            "envs/*/studio-lab.yml",
        ),
        ".binder/*.yml",
    )
    paths = [path for pattern in patterns for path in sorted(ROOT.glob(pattern))]
    done = look.attempt(look.python, "-c", PARSE, *paths)
    found = json.loads(done.stdout.splitlines()[-1]) if not done.returncode else {}
    look.say(f"conda's parsers read {len(paths)} exports of this repository", [] if found else [done.stdout])
    for path, what in found.items():
        print(f"        {Path(path).relative_to(ROOT)}: {what}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "checkout", type=Path, nargs="?", default=Path("conda"), help="a clone of conda/conda"
    )
    checkout = parser.parse_args().checkout.resolve()
    if not (checkout / "conda" / "__init__.py").is_file() or sys.platform != "linux":
        print(f"not checked: {checkout} is no checkout of conda, or this is not Linux")
        return NOT_CHECKED
    with tempfile.TemporaryDirectory(prefix="look-") as folder:
        look = Look(checkout, Path(folder))
        print(f"conda {look.described} on Python {sys.version.split()[0]}")
        toys(look)
        real(look)
    return 1 if look.failed else 0


if __name__ == "__main__":
    sys.exit(main())
