"""`d2lenv verify`: what was tampered with is found and named, what use leaves behind is not."""

from __future__ import annotations

import base64
import hashlib
import json
import marshal
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import get_args

import pytest
from click.testing import CliRunner

import canarykit
import condakit
import labkit
import proofkit
import wheelkit
from d2lenv.base.errors import D2lEnvError
from d2lenv.cli import app as cli
from d2lenv.prefix import baseline, locations, marker
from d2lenv.prefix.baseline import BaselineError
from d2lenv.solve import uv
from d2lenv.verify.prefix import findings
from d2lenv.verify.prefix import verification as verify
from d2lenv.verify.prefix.findings import Mismatch
from d2lenv.verify.prefix.tolerances import TOLERANCES
from proofkit import CONDA_SITE, SITE, Home

posix = pytest.mark.skipif(os.name != "posix", reason="links, pipes and modes of POSIX")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        yield proofkit.home(tmp_path_factory.mktemp("verify"), patch, stack)


@pytest.fixture(scope="module")
def built(home: Home) -> dict[str, Path]:
    """Engine → a prefix that every test only reads."""
    return {engine: home.build(engine, home.caches / f"{engine}-built") for engine in ("wheels", "rattler")}


@pytest.fixture
def venv(built: dict[str, Path], tmp_path: Path) -> Path:
    return proofkit.copied(built["wheels"], tmp_path)


@pytest.fixture
def conda(built: dict[str, Path], tmp_path: Path) -> Path:
    return proofkit.copied(built["rattler"], tmp_path)


def found(home: Home, prefix: Path, *, quick: bool = False) -> list[tuple[str, str, str]]:
    """(kind, path, package) of every finding."""
    result = home.verify(prefix, quick=quick)
    return [(finding.kind, finding.path, finding.package) for finding in result.findings]


def only(home: Home, prefix: Path) -> Mismatch:
    (finding,) = home.verify(prefix).findings
    return finding


# --- clean ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["wheels", "rattler"])
def test_a_prefix_as_it_was_built_is_clean(home: Home, built: dict[str, Path], engine: str) -> None:
    result = home.verify(built[engine])
    assert result.findings == ()
    assert result.subject.kind == ("conda" if engine == "rattler" else "wheels")
    assert result.files > 5
    assert not any("no recorded digest" in text for text in result.not_checked)
    assert home.verify(built[engine], quick=True).findings == ()


def test_a_prefix_that_was_used_is_clean_and_says_what_it_tolerates(home: Home, venv: Path) -> None:
    python = locations.interpreter(venv)
    writing = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([python, "-c", "import greet, fast"], check=True, timeout=60, env=writing)
    settings = venv / "etc" / "jupyter" / "labconfig"
    settings.mkdir(parents=True)
    (settings / "page_config.json").write_text("{}", encoding="utf-8")
    kernel = venv / "share" / "jupyter" / "kernels" / "mine"
    kernel.mkdir(parents=True)
    argv = [str(python), "-Xfrozen_modules=off", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": argv}), encoding="utf-8")
    (kernel / "logo-64x64.png").write_bytes(b"png")
    result = home.verify(venv)
    assert result.findings == ()
    assert result.tolerated["jupyter-settings"] == 1
    assert result.tolerated["kernelspec"] == 2
    assert result.tolerated["bytecode"] >= 2
    assert not any("compiled files" in text for text in result.not_checked)


# --- compiled files -----------------------------------------------------------------------------------


def use(prefix: Path, code: str = "import greet, fast") -> list[str]:
    """Run ``code`` in the prefix; the compiled files that it left."""
    writing = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([locations.interpreter(prefix), "-c", code], check=True, timeout=60, env=writing)
    return sorted(path.relative_to(prefix).as_posix() for path in prefix.rglob("*.pyc"))


def poison(compiled: Path) -> None:
    """Put other code under the header that says that it was made from today's source."""
    code = compile("def main():\n    print('evil')\n", "greet.py", "exec")
    compiled.write_bytes(compiled.read_bytes()[:16] + marshal.dumps(code))


def test_a_compiled_file_with_other_code_than_its_source_is_found(home: Home, venv: Path) -> None:
    paths = use(venv)
    target = next(path for path in paths if "/greet." in path)
    poison(venv / target)
    done = subprocess.run(
        [locations.interpreter(venv), "-c", "import greet; greet.main()"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "evil\n"  # Python runs it
    assert found(home, venv) == [("bytecode-differs", target, "")]
    assert home.verify(venv).tolerated["bytecode"] == len(paths) - 1


def test_a_compiled_file_that_was_built_and_made_again_is_judged_by_its_source(
    home: Home, tmp_path: Path, built: dict[str, Path]
) -> None:
    prefix = proofkit.copied(built["wheels"], tmp_path)
    paths = use(prefix)
    baseline.record(prefix)  # as an engine that compiles leaves it
    assert found(home, prefix) == []
    target = prefix / paths[0]
    target.write_bytes(target.read_bytes()[:8] + bytes(8) + target.read_bytes()[16:])  # another time
    assert found(home, prefix) == []
    poison(target)
    assert [kind for kind, _, _ in found(home, prefix)] == ["bytecode-differs"]
    target.unlink()
    assert found(home, prefix) == []


def test_the_interpreter_is_not_started_if_the_file_that_names_it_was_changed(
    home: Home, venv: Path, tmp_path: Path
) -> None:
    use(venv)
    evil = tmp_path / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    evil.parent.mkdir()
    evil.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n", encoding="utf-8")
    evil.chmod(0o755)
    config = venv / "pyvenv.cfg"
    text = re.sub("(?m)^home = .*$", f"home = {evil.parent}", config.read_text(encoding="utf-8"))
    config.write_text(text, encoding="utf-8")
    result = home.verify(venv)
    assert [(finding.kind, finding.path) for finding in result.findings] == [("file-changed", "pyvenv.cfg")]
    assert any("not as it was built, so it was not started" in text for text in result.not_checked)
    assert "bytecode" not in result.tolerated
    assert not (tmp_path / "ran").exists()


def test_a_compiled_file_of_another_python_is_found(home: Home, venv: Path) -> None:
    path = f"{SITE}/__pycache__/greet.cpython-27.pyc"
    (venv / path).parent.mkdir(exist_ok=True)
    (venv / path).write_bytes(b"\x03\xf3\r\n" + bytes(30))
    assert found(home, venv) == [("bytecode-differs", path, "")]


def test_every_tolerance_has_a_reason_and_a_name_of_its_own() -> None:
    names = [tolerance.name for tolerance in TOLERANCES]
    assert len(set(names)) == len(names)
    assert all(tolerance.reason() for tolerance in TOLERANCES)


# --- tampering --------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["wheels", "rattler"])
def test_a_flipped_byte_of_a_shared_object_is_found(
    home: Home, built: dict[str, Path], tmp_path: Path, engine: str
) -> None:
    prefix = proofkit.copied(built[engine], tmp_path)
    path = f"{SITE}/fast/_c.so" if engine == "wheels" else f"{CONDA_SITE}/fast.so"
    proofkit.flip(prefix / path)
    assert found(home, prefix) == [("file-changed", path, "fast")]


@pytest.mark.parametrize("engine", ["wheels", "rattler"])
def test_a_flipped_byte_of_a_module_is_found(
    home: Home, built: dict[str, Path], tmp_path: Path, engine: str
) -> None:
    prefix = proofkit.copied(built[engine], tmp_path)
    path = f"{SITE}/greet.py" if engine == "wheels" else f"{CONDA_SITE}/greet/__init__.py"
    proofkit.flip(prefix / path, at=0)
    assert found(home, prefix) == [("file-changed", path, "greet")]


def test_a_record_that_was_changed_together_with_its_file_is_found(home: Home, venv: Path) -> None:
    module, record = venv / SITE / "greet.py", venv / SITE / "greet-1.0.dist-info" / "RECORD"
    module.write_bytes(b"evil = 1\n")
    text = record.read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if line.startswith("greet.py,"))
    digest = base64.urlsafe_b64encode(hashlib.sha256(b"evil = 1\n").digest()).rstrip(b"=").decode()
    new = f"greet.py,sha256={digest},9"
    record.write_text(text.replace(line, new), encoding="utf-8")
    assert ("record-changed", f"{SITE}/greet-1.0.dist-info/RECORD", "greet") in found(home, venv)


def test_a_record_without_its_line_about_a_changed_file_is_found(home: Home, venv: Path) -> None:
    record = venv / SITE / "greet-1.0.dist-info" / "RECORD"
    lines = record.read_text(encoding="utf-8").splitlines(keepends=True)
    record.write_text("".join(line for line in lines if not line.startswith("greet.py")), encoding="utf-8")
    (venv / SITE / "greet.py").write_text("evil = 1\n", encoding="utf-8")
    assert ("record-changed", f"{SITE}/greet-1.0.dist-info/RECORD", "greet") in found(home, venv)


def test_a_record_that_is_gone_is_found(home: Home, venv: Path) -> None:
    (venv / SITE / "greet-1.0.dist-info" / "RECORD").unlink()
    kinds = {kind for kind, _, _ in found(home, venv)}
    assert {"record-damaged", "file-missing"} <= kinds


def test_conda_meta_that_was_changed_together_with_its_file_is_found(home: Home, conda: Path) -> None:
    path = conda / "conda-meta" / "fast-1.0-0.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    (row,) = data["paths_data"]["paths"]
    (conda / row["_path"]).write_bytes(b"evil")
    row["sha256"] = row["sha256_in_prefix"] = hashlib.sha256(b"evil").hexdigest()
    row["size_in_bytes"] = 4
    path.write_text(json.dumps(data), encoding="utf-8")
    assert ("record-changed", "conda-meta/fast-1.0-0.json", "fast") in found(home, conda)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", "9.9"),
        ("build", "evil_0"),
        ("url", "https://evil.example/fast-1.0-0.conda"),
        ("sha256", "0" * 64),
    ],
)
def test_conda_meta_that_says_another_package_than_the_lock_is_found(
    home: Home, conda: Path, field: str, value: str
) -> None:
    path = conda / "conda-meta" / "fast-1.0-0.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**data, field: value}), encoding="utf-8")
    finding = next(item for item in home.verify(conda).findings if item.kind != "record-changed")
    assert (finding.kind, finding.package) == ("package-differs", "fast")
    assert field in finding.detail
    assert value in finding.detail


@pytest.mark.parametrize("text", ["", "[]", '{"paths_data": 3}', "{", '{"name": "fast"}'])
def test_damaged_conda_meta_is_found(home: Home, conda: Path, text: str) -> None:
    (conda / "conda-meta" / "fast-1.0-0.json").write_text(text, encoding="utf-8")
    assert any(path == "conda-meta/fast-1.0-0.json" for _, path, _ in found(home, conda))


@posix
def test_a_replaced_link_is_found(home: Home, conda: Path) -> None:
    link = conda / "lib" / "libsettings.so"
    link.unlink()
    link.symlink_to("/etc/hostname")
    assert found(home, conda) == [("link-changed", "lib/libsettings.so", "settings")]


@posix
def test_a_file_that_became_a_link_to_the_same_content_is_found(
    home: Home, venv: Path, tmp_path: Path
) -> None:
    module = venv / SITE / "greet.py"
    shutil.copy(module, tmp_path / "elsewhere.py")
    module.unlink()
    module.symlink_to(tmp_path / "elsewhere.py")
    assert found(home, venv) == [("kind-changed", f"{SITE}/greet.py", "greet")]


@posix
def test_a_folder_that_became_a_link_is_found_and_not_walked(home: Home, venv: Path, tmp_path: Path) -> None:
    shutil.move(venv / SITE / "fast", tmp_path / "fast")
    (venv / SITE / "fast").symlink_to(tmp_path / "fast")
    result = found(home, venv)
    assert ("kind-changed", f"{SITE}/fast", "") in result
    assert ("file-missing", f"{SITE}/fast/_c.so", "fast") in result


@posix
def test_the_interpreter_replaced_by_another_link_is_found(home: Home, venv: Path) -> None:
    python = venv / "bin" / "python"
    python.unlink()
    python.symlink_to("/bin/sh")
    assert ("link-changed", "bin/python", "") in found(home, venv)


@pytest.mark.parametrize("name", ["evil.pth", "sitecustomize.py", "usercustomize.py"])
def test_what_python_would_run_at_its_start_is_found(home: Home, venv: Path, name: str) -> None:
    (venv / SITE / name).write_text("import os\n", encoding="utf-8")
    assert found(home, venv) == [("startup-extra", f"{SITE}/{name}", "")]
    assert found(home, venv, quick=True) == [("startup-extra", f"{SITE}/{name}", "")]


@pytest.mark.parametrize(
    "path",
    [
        f"{SITE}/extra.py",
        f"{SITE}/greet/__init__.py",
        "bin/pip",
        "lib/libevil.so",
        "etc/jupyter/jupyter_server_config.py",
        "etc/jupyter/jupyter_server_config.d/evil.json",
        f"{SITE}/__pycache__/nosource.cpython-310.pyc",
        f"{SITE}/greet.pyc",
        "conda-meta/state",
    ],
)
def test_an_extra_file_is_found(home: Home, venv: Path, path: str) -> None:
    (venv / path).parent.mkdir(parents=True, exist_ok=True)
    (venv / path).write_bytes(b"x")
    assert ("file-extra", path, "") in found(home, venv)


@pytest.mark.parametrize(
    "kernel",
    [
        {"argv": ["/bin/sh", "-c", "evil"]},
        {"argv": ["PYTHON", "-c", "evil"]},
        {
            "argv": ["PYTHON", "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            "env": {"PYTHONPATH": "/x"},
        },
        {"argv": []},
        [],
    ],
)
def test_a_kernel_that_runs_something_else_is_not_tolerated(home: Home, venv: Path, kernel: object) -> None:
    text = json.dumps(kernel).replace("PYTHON", str(locations.interpreter(venv)).replace("\\", "\\\\"))
    path = "share/jupyter/kernels/evil/kernel.json"
    (venv / path).parent.mkdir(parents=True)
    (venv / path).write_text(text, encoding="utf-8")
    assert found(home, venv) == [("file-extra", path, "")]


def test_a_swapped_wheel_with_the_right_name_and_version_is_found(
    home: Home, venv: Path, tmp_path: Path
) -> None:
    """The lock's hash is of the archive: installed by force, its RECORD is not the one that was built."""
    wheelkit.write_wheel(tmp_path / "evil", "greet", "1.0", {"greet.py": "evil = 1\n"})
    wheel = tmp_path / "evil" / "greet-1.0-py3-none-any.whl"
    command = ["uv", "pip", "install", "--offline", "--reinstall", "--python", str(venv), str(wheel)]
    subprocess.run([uv.program(), *command[1:]], check=True, timeout=60, capture_output=True)
    result = found(home, venv)
    assert ("record-changed", f"{SITE}/greet-1.0.dist-info/RECORD", "greet") in result
    # It names its archive, which a wheel from the index does not.
    assert ("package-differs", f"{SITE}/greet-1.0.dist-info", "greet") in result


def test_a_swapped_wheel_in_the_wheelhouse_is_refused_by_its_hash(home: Home, tmp_path: Path) -> None:
    house = tmp_path / "house"
    shutil.copytree(home.house, house)
    wheelkit.write_wheel(house, "greet", "1.0", {"greet.py": "evil = 1\n"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UV_FIND_LINKS", str(house))
        patch.setenv("UV_CACHE_DIR", str(tmp_path / "cold"))
        with pytest.raises(D2lEnvError, match="cannot be installed") as caught:
            home.build("wheels", tmp_path / "prefix")
    assert "hash mismatch" in caught.value.why.lower()
    assert not (tmp_path / "prefix").exists()


def test_a_wheel_changed_in_uvs_cache_never_reaches_the_next_prefix(home: Home, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
        home.build("wheels", tmp_path / "first")
        for path in (tmp_path / "cache").rglob("_c.so"):
            proofkit.flip(path)
        prefix = home.build("wheels", tmp_path / "second")
    assert (prefix / SITE / "fast" / "_c.so").read_bytes() == proofkit.SHARED_OBJECT
    assert found(home, prefix) == []


def test_a_conda_package_changed_in_the_cache_is_downloaded_again_before_it_is_linked(
    home: Home, tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RATTLER_CACHE_DIR", str(tmp_path / "cache"))
        home.build("rattler", tmp_path / "first")
        cached = tmp_path / "cache" / "pkgs" / "fast-1.0-0" / CONDA_SITE / "fast.so"
        assert cached.read_bytes() == proofkit.SHARED_OBJECT
        proofkit.flip(cached)
        prefix = home.build("rattler", tmp_path / "second")
        assert cached.read_bytes() == proofkit.SHARED_OBJECT
    assert (prefix / CONDA_SITE / "fast.so").read_bytes() == proofkit.SHARED_OBJECT
    assert found(home, prefix) == []


# --- another user -------------------------------------------------------------------------------------


# The interpreter's own files may be out of reach for another user: what it needs is imported before.
AS_ANOTHER_USER = f"""
import os, sys
from pathlib import Path
from d2lenv.verify import fingerprint
from d2lenv.verify.prefix import verification
from d2lenv.workspace import manifest

root, prefix = map(Path, sys.argv[1:])
def all_of_it():
    workspace = manifest.load(root)
    for quick in (False, True):
        found = verification.verify(workspace, str(prefix), os.environ, quick=quick)
        assert found.ok, found.findings
        print(os.geteuid(), found.not_checked)
    print(*map(str, fingerprint.of_prefix(workspace, prefix)))

all_of_it()
os.setgroups([])
os.setgid({labkit.SECOND_USER})
os.setuid({labkit.SECOND_USER})
all_of_it()
"""


@labkit.as_root
def test_another_user_can_verify_what_an_administrator_built(home: Home) -> None:
    """Nothing below the shared folder can be written, and no home folder is there."""
    with tempfile.TemporaryDirectory() as shared:
        folder = Path(shared)
        folder.chmod(0o755)
        shutil.copytree(home.root, folder / "checkout", ignore=shutil.ignore_patterns(".d2lenv"))
        prefix = home.build("wheels", folder / "environments" / "tiny")
        for place in [folder, *folder.rglob("*")]:
            if not place.is_symlink():
                place.chmod(place.stat().st_mode | (0o055 if place.is_dir() else 0o044))
        use(prefix)
        baseline.path_of(prefix).chmod(0o644)
        command = [sys.executable, "-c", AS_ANOTHER_USER, f"{folder}/checkout", str(prefix)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert len(done.stdout.splitlines()) == 6


def test_nothing_is_imported_from_the_working_folder(
    home: Home, venv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(venv)
    canarykit.plant(tmp_path, {*sys.stdlib_module_names, "compile_child"})
    monkeypatch.chdir(tmp_path)
    assert home.verify(venv).tolerated["bytecode"] >= 2
    assert canarykit.heard(tmp_path) == []


# --- packages ---------------------------------------------------------------------------------------


def test_a_package_more_and_a_package_less_are_found(home: Home, venv: Path, tmp_path: Path) -> None:
    wheelkit.write_wheel(tmp_path / "more", "more", "2.0", {"more.py": "x = 1\n"})
    wheel = tmp_path / "more" / "more-2.0-py3-none-any.whl"
    for words in (["install", "--offline", str(wheel)], ["uninstall", "fast"]):
        subprocess.run(
            [uv.program(), "pip", *words, "--python", str(venv)], check=True, timeout=60, capture_output=True
        )
    result = found(home, venv)
    assert ("package-extra", f"{SITE}/more-2.0.dist-info", "more") in result
    assert ("package-missing", "", "fast") in result


def test_another_version_than_the_locks_is_found(home: Home, venv: Path) -> None:
    metadata = venv / SITE / "greet-1.0.dist-info" / "METADATA"
    metadata.write_text("Metadata-Version: 2.1\nName: greet\nVersion: 1.1\n", encoding="utf-8")
    kinds = found(home, venv)
    assert ("package-differs", f"{SITE}/greet-1.0.dist-info", "greet") in kinds


def test_another_installer_is_found(home: Home, venv: Path) -> None:
    (venv / SITE / "greet-1.0.dist-info" / "INSTALLER").write_text("pip\n", encoding="utf-8")
    details = [finding.detail for finding in home.verify(venv).findings]
    assert "INSTALLER: uv expected, pip found" in details


def test_a_pip_package_in_a_conda_prefix_is_found(home: Home, conda: Path) -> None:
    folder = conda / CONDA_SITE / "more-2.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Name: more\nVersion: 2.0\n", encoding="utf-8")
    (folder / "INSTALLER").write_text("pip\n", encoding="utf-8")
    (folder / "RECORD").write_text("", encoding="utf-8")
    result = home.verify(conda)
    extra = next(finding for finding in result.findings if finding.kind == "package-extra")
    assert (extra.package, extra.detail) == ("more", "2.0, installed by pip")


def test_a_lock_that_moved_since_the_build_is_said(home: Home, conda: Path, tmp_path: Path) -> None:
    shutil.copytree(home.root, tmp_path / "root", ignore=shutil.ignore_patterns(".d2lenv"))
    newer = tuple(p for p in proofkit.packages() if p.name != "fast")
    newer += (condakit.Package("fast", "2.0"),)
    condakit.write_workspace(tmp_path / "root", "http://127.0.0.1:1/", newer, tool=wheelkit.TOOL)
    moved = Home(tmp_path / "root", home.house, home.channel, home.caches)
    result = found(moved, conda)
    assert ("not-built-from-this-lock", "d2lenv.json", "") in result
    assert ("package-differs", "conda-meta/fast-1.0-0.json", "fast") in result


def test_d2l_that_is_not_the_released_one_is_found(home: Home, venv: Path) -> None:
    site = venv / SITE
    (site / "d2l-1.0.3.dist-info").mkdir()
    (site / "d2l-1.0.3.dist-info" / "METADATA").write_text("Name: d2l\nVersion: 1.0.3\n", encoding="utf-8")
    (site / "d2l").mkdir()
    (site / "d2l" / "torch.py").write_text("x = 1\n", encoding="utf-8")
    assert ("d2l-not-released", f"{SITE}/d2l/torch.py", "") in found(home, venv)


# --- what must not hurt -----------------------------------------------------------------------------


@posix
def test_pipes_and_devices_are_named_and_never_opened(home: Home, venv: Path) -> None:
    (venv / SITE / "greet.py").unlink()
    os.mkfifo(venv / SITE / "greet.py")  # opening it would wait for ever
    os.mkfifo(venv / "lib" / "new")
    assert set(found(home, venv)) == {("special", f"{SITE}/greet.py", "greet"), ("special", "lib/new", "")}


def test_a_record_that_names_a_file_outside_is_refused_and_the_file_not_read(home: Home, venv: Path) -> None:
    record = venv / SITE / "greet-1.0.dist-info" / "RECORD"
    with record.open("a", encoding="utf-8") as file:
        file.write("../../../../../../../../etc/passwd,sha256=x,1\n/etc/hostname,,\n")
    problems = [finding for finding in home.verify(venv).findings if finding.kind == "record-damaged"]
    assert len(problems) == 2
    assert all("names a file outside" in problem.detail for problem in problems)


@pytest.mark.parametrize("engine", ["wheels", "rattler"])
def test_a_file_that_became_an_empty_folder_is_found(
    home: Home, built: dict[str, Path], tmp_path: Path, engine: str
) -> None:
    prefix = proofkit.copied(built[engine], tmp_path)
    path = f"{SITE}/greet.py" if engine == "wheels" else f"{CONDA_SITE}/greet/__init__.py"
    (prefix / path).unlink()
    (prefix / path).mkdir()
    for quick in (False, True):
        assert found(home, prefix, quick=quick) == [("kind-changed", path, "greet")]


def test_an_extra_empty_folder_is_found(home: Home, venv: Path) -> None:
    """`import tensorflow` succeeds where a folder of that name lies, empty or not."""
    (venv / SITE / "tensorflow").mkdir()
    (venv / "etc" / "jupyter" / "labconfig").mkdir(parents=True)
    assert found(home, venv) == [("file-extra", f"{SITE}/tensorflow", "")]


@pytest.mark.parametrize("text", ['{"fullMathjaxUrl": "https://evil.example/x.js"}', "[]", "{", ""])
def test_jupyter_settings_that_are_more_than_switches_are_found(home: Home, venv: Path, text: str) -> None:
    path = venv / "etc" / "jupyter" / "labconfig" / "page_config.json"
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    assert [kind for kind, _, _ in found(home, venv)] == ["file-extra"]
    path.write_text('{"disabledExtensions": {"a": true}, "lockedExtensions": {}}', encoding="utf-8")
    assert found(home, venv) == []


@posix
def test_a_prefix_that_everybody_may_write_to_is_found(home: Home, venv: Path) -> None:
    venv.chmod(0o777)
    assert found(home, venv) == [("mode-changed", ".", "")]


@posix
@pytest.mark.parametrize("mode", [0o6755, 0o664, 0o646, 0o654, 0o745, 0o244])
def test_every_mode_that_gives_rights_or_takes_the_file_away_is_found(
    home: Home, venv: Path, mode: int
) -> None:
    path = f"{SITE}/greet.py"
    (venv / path).chmod(mode)
    assert ("mode-changed", path, "greet") in found(home, venv)
    assert ("mode-changed", path, "greet") in found(home, venv, quick=True)


def test_without_marker_and_baseline_a_prefix_in_our_folder_is_no_other_clients(
    home: Home, built: dict[str, Path]
) -> None:
    place = home.root / ".d2lenv" / "tiny-bare"
    place.parent.mkdir(exist_ok=True)
    shutil.copytree(built["wheels"], place, symlinks=True)
    (place / marker.MARKER).unlink()
    try:
        result = verify.verify(home.workspace, str(place), os.environ, environment="tiny")
        assert "baseline-missing" in {finding.kind for finding in result.findings}
    finally:
        shutil.rmtree(place)


@posix
def test_d2l_replaced_by_a_pipe_is_found_and_not_waited_for(home: Home, venv: Path) -> None:
    site = venv / SITE
    (site / "d2l-1.0.3.dist-info").mkdir()
    (site / "d2l-1.0.3.dist-info" / "METADATA").write_text("Name: d2l\nVersion: 1.0.3\n", encoding="utf-8")
    (site / "d2l").mkdir()
    os.mkfifo(site / "d2l" / "torch.py")
    assert ("d2l-not-released", f"{SITE}/d2l/torch.py", "") in found(home, venv)


@posix
def test_a_mode_that_gives_rights_is_found_and_the_umask_is_not(home: Home, venv: Path) -> None:
    (venv / SITE / "greet.py").chmod(0o600)
    (venv / "bin" / "greet").chmod(0o4755)
    (venv / SITE / "fast" / "_c.so").chmod(0o666)
    (venv / "pyvenv.cfg").chmod(0o666)
    assert {(kind, path) for kind, path, _ in found(home, venv)} == {
        ("mode-changed", path) for path in ("pyvenv.cfg", "bin/greet", f"{SITE}/fast/_c.so")
    }


def test_a_missing_file_is_found(home: Home, venv: Path) -> None:
    (venv / "etc" / "f.json").unlink()
    assert found(home, venv) == [("file-missing", "etc/f.json", "fast")]
    assert found(home, venv, quick=True) == [("file-missing", "etc/f.json", "fast")]


def test_quick_sees_sizes_and_times_and_says_that_it_read_nothing(home: Home, venv: Path) -> None:
    proofkit.flip(venv / SITE / "greet.py")  # size and time stay
    result = home.verify(venv, quick=True)
    assert result.findings == ()
    assert "no content was read" in result.not_checked[0]
    (venv / SITE / "greet.py").write_text("longer " * 100, encoding="utf-8")
    os.utime(venv / SITE / "fast" / "_c.so", ns=(1, 1))
    assert {(kind, path) for kind, path, _ in found(home, venv, quick=True)} == {
        ("file-changed", f"{SITE}/greet.py"),
        ("file-changed", f"{SITE}/fast/_c.so"),
    }


@pytest.mark.parametrize("engine", ["wheels", "rattler"])
def test_a_prefix_of_ours_without_its_baseline_is_an_error(
    home: Home, built: dict[str, Path], tmp_path: Path, engine: str
) -> None:
    prefix = proofkit.copied(built[engine], tmp_path)
    baseline.path_of(prefix).unlink()
    with pytest.raises(BaselineError, match="is missing"):
        home.verify(prefix)


def test_a_damaged_baseline_is_an_error_and_not_a_clean_prefix(home: Home, venv: Path) -> None:
    for text in (
        "",
        "{}",
        '{"format": 99, "entries": []}',
        '{"format": 3, "entries": [["a", "q", 1, 1, 1, ""]]}',
    ):
        baseline.path_of(venv).write_text(text, encoding="utf-8")
        with pytest.raises(D2lEnvError, match=r"baseline\.json cannot be read"):
            home.verify(venv)


def test_a_prefix_of_another_environment_is_not_verified_as_this_one(home: Home, tmp_path: Path) -> None:
    prefix = home.build("wheels", home.root / ".d2lenv" / "tiny-wheels")
    said = prefix / marker.MARKER
    data = json.loads(said.read_text(encoding="utf-8"))
    try:
        said.write_text(json.dumps({**data, "environment": "cuda"}), encoding="utf-8")
        with pytest.raises(D2lEnvError, match="says that it is cuda, not tiny"):
            verify.verify(home.workspace, "tiny", os.environ)
    finally:
        said.write_text(json.dumps(data), encoding="utf-8")


def test_a_folder_that_no_engine_built_is_refused(home: Home, tmp_path: Path) -> None:
    with pytest.raises(D2lEnvError, match="does not say of which environment"):
        home.verify(tmp_path)
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(D2lEnvError, match="is not a folder"):
        home.verify(tmp_path / "file")


# --- the command ------------------------------------------------------------------------------------


def run(home: Home, *words: str) -> tuple[int, str]:
    result = CliRunner().invoke(
        cli.cli, ["--workspace", str(home.root), "verify", *words], standalone_mode=False
    )
    assert result.exception is None, result.exception
    return int(result.return_value), result.output


def test_the_command_tables_what_it_found_and_ends_with_1(
    home: Home, venv: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(home, str(venv))[0] == 0
    (venv / SITE / "evil.pth").write_text("import os\n", encoding="utf-8")
    for number in range(50):
        (venv / SITE / f"extra{number}\x1b[2J.py").write_text("", encoding="utf-8")
    status, _ = run(home, str(venv))
    assert status == 1
    result = home.verify(venv)
    verify.show(result)
    text = capsys.readouterr().out
    assert "11 more; --json lists them all" in text
    assert "is not what the lock says: 51 findings" in text
    assert "\x1b" not in text


def test_the_command_in_json_has_every_finding(home: Home, venv: Path) -> None:
    (venv / SITE / "evil\x1b.pth").write_text("import os\n", encoding="utf-8")
    status, text = run(home, str(venv), "--json", "--quick")
    answer = json.loads(text)
    assert status == 1
    assert (answer["ok"], answer["quick"], answer["environment"]) == (False, True, "tiny")
    (finding,) = answer["findings"]
    assert (finding["kind"], finding["path"]) == ("startup-extra", f"{SITE}/evil\\x1b.pth")


def test_every_kind_of_finding_has_a_meaning() -> None:
    kinds = get_args(findings.Kind)
    assert len({findings.meaning(kind) for kind in kinds}) == len(kinds)
