"""Compiled files against their sources, with every Python that this machine has."""

from __future__ import annotations

import marshal
import py_compile
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from d2lenv.base.errors import D2lEnvError
from d2lenv.engines import interpreters
from d2lenv.verify.prefix import bytecode, compile_child
from d2lenv.verify.prefix.bytecode import Compiled

VERSIONS = [f"3.{minor}" for minor in range(9, 15)]
SOURCE = '''
"""A module with every kind of constant."""
import os
X = 1 if os.name in {"posix", "nt", "java"} else 2.5
BIG, IMAGINARY, RAW = 1 << 90, 3j, b"bytes"
def outer(a, *, b=("x", None, ..., True), ümlaut="ä"):
    def inner(c, /, d=-1):
        return a, c, d, ümlaut
    return [inner(i) for i in range(3)][0:2:1]
class C:
    y: int = 5
    async def m(self):
        yield lambda: self.y
'''


@pytest.fixture(scope="module", params=VERSIONS)
def python(request: pytest.FixtureRequest) -> Path:
    try:
        found = interpreters.find(request.param, None, lambda _line: None, download=False)
    except D2lEnvError:
        pytest.skip(f"not checked: there is no Python {request.param} here")
    return found.path


def compiled_by(python: Path, folder: Path, source: str = SOURCE) -> list[Compiled]:
    """Compile ``m.py`` at all levels, as an import does."""
    (folder / "m.py").write_text(source, encoding="utf-8")
    for options in ([], ["-O"], ["-OO"]):
        command = [str(python), *options, "-m", "compileall", "-q", "-f", str(folder / "m.py")]
        subprocess.run(command, check=True, timeout=60, env={"PYTHONHASHSEED": str(len(options))})
    found = [bytecode.compiled(path.relative_to(folder).as_posix()) for path in folder.rglob("*.pyc")]
    assert sorted(file.level for file in found if file) == [0, 1, 2]
    return [file for file in found if file]


def test_what_python_compiled_is_what_its_source_gives(python: Path, tmp_path: Path) -> None:
    assert bytecode.differing(python, tmp_path, compiled_by(python, tmp_path)) == {}


def test_compiled_files_that_moved_with_their_source_are_the_same(python: Path, tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    files = compiled_by(python, tmp_path / "first")
    (tmp_path / "first").rename(tmp_path / "second")
    assert bytecode.differing(python, tmp_path / "second", files) == {}


@pytest.mark.parametrize(
    "change",
    [
        ('("x", None', '("X", None'),
        ("range(3)", "range(4)"),
        ("y: int = 5", "y: int = 6"),
        ("import os", "import io as os"),
        ('"nt", "java"', '"nt", "javb"'),
        ("1 << 90", "1 << 91"),
        ("\nclass C", "\n\nclass C"),
    ],
)
def test_other_code_under_the_same_header_differs(
    python: Path, tmp_path: Path, change: tuple[str, str]
) -> None:
    honest = compiled_by(python, tmp_path)
    headers = {file.path: (tmp_path / file.path).read_bytes()[:16] for file in honest}
    compiled_by(python, tmp_path, SOURCE.replace(*change))
    (tmp_path / "m.py").write_text(SOURCE, encoding="utf-8")
    for path, header in headers.items():
        (tmp_path / path).write_bytes(header + (tmp_path / path).read_bytes()[16:])
    found = bytecode.differing(python, tmp_path, honest)
    assert set(found) == set(headers)
    assert set(found.values()) == {"its source compiles to other code"}


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"e",
        b"\xff" * 40,
        b"(\xff\xff\xff\x7f" + b"(\xff\xff\xff\x7f" * 9,
        b"\xa9\x01r\x00\x00\x00\x00",
        b"\xa9\x01" * 5000,
        b"s\xff\xff\xff\xff",
        b"?" * 30,
    ],
)
def test_damage_is_a_difference_and_no_crash(tmp_path: Path, damage: bytes) -> None:
    source, target = tmp_path / "m.py", tmp_path / "m.pyc"
    source.write_text("x = 1\n", encoding="utf-8")
    py_compile.compile(str(source), str(target))
    header = target.read_bytes()[:16]
    target.write_bytes(header + damage)
    assert compile_child.verdict(str(target), str(source), 0) == "differs"
    target.write_bytes(header + marshal.dumps(compile("x = 1\n", "m", "exec")) + b"N")
    assert compile_child.verdict(str(target), str(source), 0) == "differs"


def test_the_header_of_another_python_is_named_so(tmp_path: Path) -> None:
    files = compiled_by(Path(sys.executable), tmp_path)
    (tmp_path / files[0].path).write_bytes(b"\x00\x00\r\n" + b"x" * 30)
    assert bytecode.differing(Path(sys.executable), tmp_path, files) == {
        files[0].path: "another Python made it"
    }


def test_a_source_that_does_not_compile_is_a_difference(tmp_path: Path) -> None:
    files = compiled_by(Path(sys.executable), tmp_path)
    (tmp_path / "m.py").write_text("x = (\n", encoding="utf-8")
    assert len(bytecode.differing(Path(sys.executable), tmp_path, files)) == 3


def test_nothing_of_the_examined_folder_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = compiled_by(Path(sys.executable), tmp_path)
    code = f"from pathlib import Path\nPath({str(tmp_path / 'ran')!r}).touch()\n"
    for name in ("json", "marshal", "sitecustomize", "codecs", "importlib", "m"):
        (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONSTARTUP", str(tmp_path / "json.py"))
    bytecode.differing(Path(sys.executable), tmp_path, files)
    assert not (tmp_path / "ran").exists()


def test_many_files_are_shared_among_processes(tmp_path: Path) -> None:
    files = []
    for number in range(250):
        source = tmp_path / f"m{number}.py"
        source.write_text(f"x = {number}\n", encoding="utf-8")
        made = Path(py_compile.compile(str(source)) or "").relative_to(tmp_path).as_posix()
        found = bytecode.compiled(made)
        assert found is not None
        files.append(found)
    (tmp_path / "m77.py").write_text("x = 78\n", encoding="utf-8")
    assert list(bytecode.differing(Path(sys.executable), tmp_path, files)) == [files[77].path]


def test_an_interpreter_that_does_not_answer_is_an_error(tmp_path: Path) -> None:
    liar = tmp_path / "python"
    liar.write_text("#!/bin/sh\necho '[]'\n", encoding="utf-8")
    liar.chmod(0o755)
    files = compiled_by(Path(sys.executable), tmp_path)
    with pytest.raises(OSError, match="incomplete"):
        bytecode.differing(liar, tmp_path, files)
    liar.write_text("#!/bin/sh\necho no >&2; exit 3\n", encoding="utf-8")
    with pytest.raises(OSError, match=r"python: no"):
        bytecode.differing(liar, tmp_path, files)
    with pytest.raises(OSError, match="No such file"):
        bytecode.differing(tmp_path / "none", tmp_path, files)


def test_an_interpreter_of_the_right_release_is_found_outside_only(tmp_path: Path) -> None:
    inside = tmp_path / "bin" / "python3"
    inside.parent.mkdir()
    inside.write_text(
        textwrap.dedent(f"""\
            #!/bin/sh
            touch {tmp_path}/ran
            echo 3.99.1
            """),
        encoding="utf-8",
    )
    inside.chmod(0o755)
    environ = {"PATH": str(inside.parent)}
    own = ".".join(map(str, sys.version_info[:3]))
    assert bytecode.interpreter(own, environ, outside=tmp_path) == Path(sys.executable)
    assert bytecode.interpreter("3.99.1", environ, outside=tmp_path) is None
    assert not (tmp_path / "ran").exists()
    assert bytecode.interpreter("3.99.1", environ, outside=tmp_path / "lib") == inside


@pytest.mark.parametrize(
    ("path", "source", "level"),
    [
        ("__pycache__/x.cpython-310.pyc", "x.py", 0),
        ("a/b/__pycache__/x.cpython-313t.opt-2.pyc", "a/b/x.py", 2),
    ],
)
def test_a_compiled_files_path_names_its_source(path: str, source: str, level: int) -> None:
    assert bytecode.compiled(path) == (path, source, level)


@pytest.mark.parametrize("path", ["x.pyc", "__pycache__/x.py", "__pycache__/x.pyc", "__pycache__/a/x.c.pyc"])
def test_other_paths_are_no_compiled_files(path: str) -> None:
    assert bytecode.compiled(path) is None
