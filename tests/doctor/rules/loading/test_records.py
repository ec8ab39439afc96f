"""Files of packages against their RECORD."""

from __future__ import annotations

from pathlib import Path

import pytest

from doctor.environments import Environment, commands, spoil


@pytest.fixture
def env(tmp_path: Path) -> Environment:
    env = Environment(tmp_path / "env").book()
    env.dist("pip", "24.0")
    return env


def test_complete_packages_are_complete(env: Environment) -> None:
    assert not {"D2L018", "D2L019"} & set(env.findings())


def test_a_missing_file_is_an_error_and_its_package_is_put_back(env: Environment) -> None:
    (env.site / "pandas" / "__init__.py").unlink()
    found = env.findings()["D2L018"]
    assert found.severity == "error"
    assert found.title == "pandas 2.0.3 is not complete: 1 files missing, 0 changed"
    assert commands(found)[0].endswith("-m pip install --force-reinstall --no-deps pandas==2.0.3")


def test_a_module_of_another_size_is_a_warning_a_library_an_error(env: Environment) -> None:
    env.module("matplotlib/__init__.py", "half")
    assert env.findings()["D2L018"].severity == "warning"
    record = env.site / "torch-2.0.1.dist-info" / "RECORD"
    record.write_text(record.read_text() + "torch/lib/libtorch_cpu.so,sha256=x,5\n")
    env.module("torch/lib/libtorch_cpu.so", "cut")
    found = env.findings()["D2L018"]
    assert (found.subject, found.severity) == ("torch", "error")


def test_a_build_of_pytorchs_own_index_comes_from_there(tmp_path: Path) -> None:
    env = Environment(tmp_path / "env")
    env.torch("2.0.1", local="+cpu", cuda=None)
    (env.site / "torch" / "__init__.py").unlink()
    (command,) = commands(env.findings()["D2L018"])
    assert "torch==2.0.1+cpu" in command
    assert command.endswith("--index-url https://download.pytorch.org/whl/cpu")


@pytest.mark.parametrize(
    "line",
    [
        "torch/include/x.py,sha256=x,9",
        "pandas/tests/test_x.py,sha256=x,9",
        "../../../bin/f2py.py,sha256=x,9",
        "pandas/__pycache__/x.py,,",
        "pandas/README.md,sha256=x,9",
        '"pandas/a,b.py",sha256=x,9',
        "no record line",
        "pandas/\x00.py,sha256=x,99999999999999999999999",
    ],
)
def test_what_nobody_imports_may_be_gone(env: Environment, line: str) -> None:
    record = env.site / "pandas-2.0.3.dist-info" / "RECORD"
    record.write_text(record.read_text() + line + "\n")
    assert "D2L018" not in env.findings()


def test_a_package_that_the_notebooks_do_not_need_is_not_looked_at(env: Environment) -> None:
    env.dist("something", "1.0")
    (env.site / "something" / "__init__.py").unlink()
    assert "D2L018" not in env.findings()


def test_a_file_that_two_packages_claim_on_purpose_is_not_changed(env: Environment) -> None:
    """`jupyter` and jupyter_core both bring `jupyter.py`."""
    env.dist("jupyter-core", "5.7.2", requires=[], files={"jupyter.py": "core's"})
    metadata = env.site / "ipykernel-6.29.0.dist-info" / "METADATA"
    metadata.write_text("Name: ipykernel\nVersion: 6.29.0\nRequires-Dist: jupyter-core\n\n")
    env.module("jupyter.py", "the other")
    assert env.findings()["D2L018"].subject == "jupyter-core"
    record = env.site / "jupyter-1.0.0.dist-info" / "RECORD"
    record.write_text("jupyter.py,sha256=y,9\n")
    assert "D2L018" not in env.findings()


def test_a_record_that_cannot_be_read_is_said_to_be_unread(env: Environment) -> None:
    spoil(env.site / "pandas-2.0.3.dist-info" / "RECORD")
    found = env.findings()
    assert "D2L018" not in found
    assert "RECORD" in [item.what for item in found["D2L099"].found]


def two(env: Environment, one: str, other: str, path: str = "cv2/cv2.abi3.so") -> None:
    for name, digest in ((one, "a"), (other, "b")):
        folder = env.dist(name, "4.9.0", module=path.partition("/")[0])
        (folder / "RECORD").write_text(f"{path},sha256={digest},7\ncv2/__init__.py,sha256=same,3\n")


def test_two_packages_with_the_same_files_are_found(env: Environment) -> None:
    two(env, "opencv-python", "opencv-python-headless")
    found = env.findings()["D2L019"]
    assert found.title == "opencv-python, opencv-python-headless own the same files"
    remove, install = commands(found)
    assert remove.endswith("uninstall --yes opencv-python opencv-python-headless")
    assert install.endswith("opencv-python-headless==4.9.0")


def test_nvidias_libraries_of_two_cudas_are_found(env: Environment) -> None:
    two(env, "nvidia-nccl-cu11", "nvidia-nccl-cu12", "nvidia/nccl/lib/libnccl.so.2")
    assert env.findings()["D2L019"].subject == "nvidia-nccl-cu11"


def test_the_same_content_does_no_harm(env: Environment) -> None:
    for name in ("opencv-python", "opencv-python-headless"):
        (env.dist(name, "4.9.0", module="cv2") / "RECORD").write_text("cv2/x.py,sha256=same,7\n")
    assert "D2L019" not in env.findings()


def test_an_emptied_module_is_as_good_as_missing(env: Environment) -> None:
    metadata = env.site / "torch-2.0.1.dist-info" / "RECORD"
    metadata.write_text(
        metadata.read_text().replace("torch/__init__.py,sha256=x,0", "torch/__init__.py,sha256=x,9")
    )
    assert env.findings()["D2L018"].severity == "error"
