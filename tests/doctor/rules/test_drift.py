"""What is in the prefix against what the lock says."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from d2lenv.doctor.model import Expected, Locked
from d2lenv.doctor.rules import drift
from d2lenv.facts import d2l as d2l_releases
from d2lenv.prefix.contents.prefix import read_prefix
from doctor.environments import Environment, commands, spoil

ROOT = Path(__file__).parents[3]
FILE = Path("pixi.lock")


def conda_lock(*packages: Locked) -> Expected:
    return Expected("cuda", "linux-64", FILE, conda=True, packages=packages)


@pytest.fixture
def conda(tmp_path: Path) -> Environment:
    env = Environment(tmp_path / ".pixi" / "envs" / "cuda", kind="conda")
    env.conda("numpy", "1.23.5", "py310h53a5b5f_0")
    return env


PYTHON = Locked("python", "3.10.0", "h0_0_cpython", "conda-forge")
NUMPY = Locked("numpy", "1.23.5", "py310h53a5b5f_0", "conda-forge")
CODES = {"D2L081", "D2L082", "D2L083", "D2L084", "D2L085"}


def test_a_prefix_that_is_the_lock_has_no_drift(conda: Environment) -> None:
    assert not CODES & set(conda.findings(expected=conda_lock(PYTHON, NUMPY)))


def test_a_prefix_without_a_lock_has_no_drift(conda: Environment) -> None:
    assert not (CODES | {"D2L080"}) & set(conda.findings())


def test_a_missing_package_is_put_back_by_pixi(conda: Environment) -> None:
    found = conda.findings(
        expected=conda_lock(PYTHON, NUMPY, Locked("scipy", "1.10.1", "py310_0", "conda-forge"))
    )
    assert found["D2L081"].title == "1 packages of the lock are missing: scipy"
    manifest = conda.path.parents[2] / "pyproject.toml"
    assert commands(found["D2L081"]) == [
        f"pixi reinstall --manifest-path {manifest} --environment cuda scipy"
    ]


def test_an_extra_package_is_information(conda: Environment) -> None:
    conda.dist("rich", "13.0")
    found = conda.findings(expected=conda_lock(PYTHON))["D2L082"]
    assert found.severity == "info"
    assert {item.what for item in found.found} == {"numpy", "rich"}


@pytest.mark.parametrize(
    ("locked", "code"),
    [
        (Locked("numpy", "1.24.0", "py310h53a5b5f_0", "conda-forge"), "D2L083"),
        (Locked("numpy", "1.23.5", "py310hother_1", "conda-forge"), "D2L084"),
        (Locked("numpy", "1.23.5", "py310h53a5b5f_0", "pytorch"), "D2L085"),
    ],
)
def test_each_kind_of_difference_has_its_own_finding(conda: Environment, locked: Locked, code: str) -> None:
    found = conda.findings(expected=conda_lock(PYTHON, locked))
    assert CODES & set(found) == {code}
    assert "numpy" in found[code].title


def test_a_record_that_cannot_be_read_still_counts_by_its_name(conda: Environment) -> None:
    spoil(conda.path / "conda-meta" / "numpy-1.23.5-py310h53a5b5f_0.json")
    found = conda.findings(expected=conda_lock(PYTHON, NUMPY))
    assert CODES & set(found) == set()
    assert "D2L099" in found


def test_the_names_are_cut_after_eight(conda: Environment) -> None:
    locked = [Locked(f"p{n}", "1") for n in range(10)]
    assert conda.findings(expected=conda_lock(*locked))["D2L081"].title.endswith("p7 and 2 more")


def test_a_lock_that_cannot_be_read_is_not_checked(conda: Environment) -> None:
    found = conda.findings(expected=Expected("cuda", "linux-64", FILE, conda=True, trouble="cut off"))
    assert found["D2L080"].severity == "not-checked"
    assert not CODES & set(found)


REQUIREMENTS = """\
# zh for linux-64
numpy==1.21.5 \\
    --hash=sha256:aaaa \\
    --hash=sha256:bbbb
Torch_Vision==0.13.0 ; sys_platform == "linux" --hash=sha256:cccc
"""


def wheels(tmp_path: Path, text: str = REQUIREMENTS) -> tuple[Environment, Path]:
    env = Environment(tmp_path / "anywhere")
    env.file("d2lenv.json", json.dumps({"environment": "zh", "engine": "wheels", "platform": "linux-64"}))
    file = tmp_path / "root" / "envs" / "zh" / "requirements-linux-64.txt"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    return env, tmp_path / "root"


def test_a_wheels_prefix_is_compared_with_its_requirements(tmp_path: Path) -> None:
    env, root = wheels(tmp_path)
    env.dist("numpy", "1.23.5")
    expected = drift.expected(read_prefix(env.path), root)
    assert expected is not None
    assert expected.packages == (Locked("numpy", "1.21.5"), Locked("torch-vision", "0.13.0"))
    found = env.findings(expected=expected)
    assert found["D2L081"].found[0].what == "torch-vision"
    assert commands(found["D2L083"])[0].endswith("--no-deps numpy==1.21.5")


@pytest.mark.parametrize("text", ["numpy=1\n", "what is this ?\n"])
def test_requirements_that_are_none_are_trouble(tmp_path: Path, text: str) -> None:
    env, root = wheels(tmp_path, text)
    expected = drift.expected(read_prefix(env.path), root)
    assert expected is not None
    assert expected.trouble


def test_requirements_that_are_gone_are_trouble(tmp_path: Path) -> None:
    env, root = wheels(tmp_path)
    (root / "envs" / "zh" / "requirements-linux-64.txt").unlink()
    expected = drift.expected(read_prefix(env.path), root)
    assert expected is not None
    assert "D2L080" in env.findings(expected=expected)


@pytest.mark.parametrize(
    ("place", "environment"),
    [(".pixi/envs/cuda", "cuda"), (".d2lenv/cuda-rattler", "cuda"), ("elsewhere/cuda", None)],
)
def test_the_environment_is_known_by_its_place(tmp_path: Path, place: str, environment: str | None) -> None:
    env = Environment(tmp_path / place, kind="conda")
    expected = drift.expected(read_prefix(env.path), tmp_path)
    assert (expected.environment if expected else None) == environment


def test_a_marker_that_names_a_path_is_not_followed(tmp_path: Path) -> None:
    env = Environment(tmp_path / "x")
    env.file("d2lenv.json", json.dumps({"environment": "../../etc", "engine": "wheels", "platform": 7}))
    assert drift.expected(read_prefix(env.path), tmp_path) is None


def test_the_projects_own_lock_is_compared_with(tmp_path: Path) -> None:
    env = Environment(tmp_path / "cuda", kind="conda")
    env.file("d2lenv.json", json.dumps({"environment": "cuda", "engine": "rattler", "platform": "linux-64"}))
    expected = drift.expected(read_prefix(env.path), ROOT)
    assert expected is not None
    assert not expected.trouble
    torch = next(p for p in expected.packages if p.name == "pytorch")
    assert torch.channel == "pytorch"
    assert "D2L081" in env.findings(expected=expected)


def test_d2ls_files_are_compared_with_the_released_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hashlib

    digest = hashlib.sha256(b"released\n").hexdigest()
    released = d2l_releases.Released("", {"d2l/torch.py": digest})
    release = dataclasses.replace(d2l_releases.RELEASES["1.0.3"], released=released)
    monkeypatch.setitem(d2l_releases.RELEASES, "1.0.3", release)
    env = Environment(tmp_path / "env")
    env.dist("d2l", "1.0.3", files={"d2l/torch.py": "released\n"})
    assert "D2L086" not in env.findings()
    file = env.module("d2l/torch.py", "edited\n")
    found = env.findings()["D2L086"]
    assert [(item.what, item.version) for item in found.found] == [("d2l/torch.py", "changed")]
    assert "--force-reinstall --no-deps d2l==1.0.3" in commands(found)[0]
    spoil(file)
    assert env.findings()["D2L086"].found[0].version == "unreadable"


@pytest.mark.parametrize(
    ("name", "file", "marked", "wanted"),
    [
        # by its place alone
        ("modern-wheels-py310", "requirements.txt", {}, {"torch": "2.10.0", "numpy": "1"}),
        ("modern-wheels-py312", "requirements.txt", {"python": "3.12"}, {"torch": "2.10.0", "numpy": "2"}),
        (
            "modern-wheels-py312-cpu",
            "requirements.txt",
            {"python": "3.12", "build": "cpu"},
            {"torch": "2.10.0+cpu", "numpy": "2"},
        ),
    ],
)
def test_of_one_file_for_several_pythons_what_is_for_this_one_counts(
    tmp_path: Path, name: str, file: str, marked: dict[str, str], wanted: dict[str, str]
) -> None:
    python = "3.10" if name.endswith("py310") else "3.12"
    env = Environment(tmp_path / ".d2lenv" / name, python=f"{python}.0")
    if marked:
        said = {"environment": "modern", "engine": "wheels", "platform": "linux-64", **marked}
        env.file("d2lenv.json", json.dumps(said))
    path = tmp_path / "envs" / "modern" / file
    path.parent.mkdir(parents=True)
    lines = [
        "torch==2.10.0",
        "numpy==1 ; python_full_version < '3.12'",
        "numpy==2 ; python_full_version >= '3.12'",
    ]
    lines += ["nvidia-cublas-cu12==1 ; sys_platform == 'linux'"]
    path.write_text("".join(f"{line} --hash=sha256:{'a' * 64}\n" for line in lines), encoding="utf-8")
    found = drift.expected(dataclasses.replace(read_prefix(env.path), platform="linux-64"), tmp_path)
    assert found is not None
    assert found.trouble == ""
    have = {package.name: package.version for package in found.packages}
    assert have == (wanted if "build" in marked else {**wanted, "nvidia-cublas-cu12": "1"})


def test_overrides_are_those_of_pixi_toml() -> None:
    assert drift._overrides(ROOT, "modern") >= {"numpy", "pandas", "matplotlib", "scipy"}
    assert drift._overrides(ROOT, "cuda") == frozenset()
    assert drift._overrides(ROOT / "nowhere", "modern") == frozenset()
