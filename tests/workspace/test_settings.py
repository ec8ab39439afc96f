"""`[tool.d2lenv]` of pixi.toml."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from d2lenv.base.errors import USAGE, D2lEnvError
from d2lenv.workspace import manifest, settings

HEAD = """\
[workspace]
name = "w"
channels = ["conda-forge"]
platforms = ["linux-64"]
[environments]
cuda = []
"""


@pytest.fixture(autouse=True)
def _english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("D2LENV_LANG", "en")


def load(tmp_path: Path, text: str) -> manifest.Workspace:
    (tmp_path / "pixi.toml").write_text(HEAD + text, encoding="utf-8")
    return manifest.load(tmp_path)


def test_condas_environments_come_first_then_those_of_wheels_alone(tmp_path: Path) -> None:
    space = load(tmp_path, "[tool.d2lenv.environments.zh]\n[tool.d2lenv.environments.cuda]\n")
    assert list(settings.load(space)) == ["default", "cuda", "zh"]


def test_what_is_not_said_has_a_default(tmp_path: Path) -> None:
    found = settings.get(load(tmp_path, ""), "cuda")
    assert found == settings.Settings("cuda", "d2l (cuda)", (), (), 0.0, (), (), (), "")


def test_what_is_said_is_read_and_what_all_share_is_inherited(tmp_path: Path) -> None:
    space = load(
        tmp_path,
        '[tool.d2lenv]\nexclude-newer = "2026-11-20T00:00:00Z"\nextra-requirements = ["menus"]\n'
        '[tool.d2lenv.environments.zh]\ndisplay-name = "中文"\npython = "3.9"\nwheels = ["win-64"]\n'
        'disk-gb = 3\nrequirements = ["d2l==0.17.6"]\n',
    )
    assert settings.get(space, "zh") == settings.Settings(
        "zh", "中文", ("3.9",), ("win-64",), 3.0, ("d2l==0.17.6",), (), ("menus",), "2026-11-20T00:00:00Z"
    )


def test_one_file_serves_several_pythons_with_overrides_that_have_a_reason(tmp_path: Path) -> None:
    space = load(
        tmp_path,
        '[tool.d2lenv.environments.modern]\npython = ["3.12", "3.10"]\nrequirements = ["d2l==1.0.3"]\n'
        "[[tool.d2lenv.environments.modern.overrides]]\n"
        "requirements = [\"NumPy==2 ; python_version < '3.12'\"]\n"
        'reason = "newer"\nsince = "2026-11-24"\n',
    )
    found = settings.get(space, "modern")
    assert found.universal
    assert not settings.get(space, "cuda").universal
    (override,) = found.overrides
    assert (override.package, override.since) == ("numpy", date(2026, 11, 24))


def test_an_unknown_environment_is_refused_with_those_that_exist(tmp_path: Path) -> None:
    with pytest.raises(D2lEnvError) as caught:
        settings.get(load(tmp_path, ""), "none")
    assert caught.value.status == USAGE
    assert "default, cuda" in caught.value.fix


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ('requirements = ["d2l="]', "requirements"),
        ('wheels = ["linux-32"]', "wheels"),
        ('wheels = ["linux-64"]\nexclude-newer = "yesterday"', "exclude-newer"),
        ('wheels = ["linux-64"]', "exclude-newer"),
        ('cuda = "cu117"', "cuda"),
        ("cuda = 12", "cuda"),
        ('python = "python3"', "python"),
        ('python = ["3.11", "3.12"]', "python"),
        (
            'overrides = [{ requirements = ["a==1", "b==1"], reason = "r", since = "2026-11-24" }]',
            "overrides",
        ),
        ('overrides = [{ requirements = [], reason = "r", since = "2026-11-24" }]', "overrides"),
        ('overrides = [{ requirements = ["a==1"], reason = "", since = "2026-11-24" }]', "overrides"),
        ('overrides = [{ requirements = ["a==1"], reason = "r", since = 2026-11-24 }]', "overrides"),
        ('overrides = [{ requirements = ["a==1"], reason = "r", since = "soon" }]', "overrides"),
        ('overrides = [{ requirements = ["a==1"], reason = "r" }]', "overrides"),
    ],
)
def test_a_wrong_value_is_named_with_its_table(tmp_path: Path, line: str, key: str) -> None:
    with pytest.raises(D2lEnvError) as caught:
        settings.load(load(tmp_path, f"[tool.d2lenv.environments.zh]\n{line}\n"))
    assert f"[tool.d2lenv.environments.zh] {key}" in caught.value.what
    assert caught.value.status == USAGE


def test_this_repositorys_own_table_is_right() -> None:
    found = settings.load(manifest.load(Path(__file__).parents[2]))
    assert found["cuda"].wheels == ("linux-64",)
    assert found["zh"].pythons == ("3.9",)
    for variant in found.values():
        assert (variant.disk_gb > 0) == bool(variant.wheels), variant.name


def test_what_has_a_cuda_build_says_which() -> None:
    found = settings.load(manifest.load(Path(__file__).parents[2]))
    assert {name: one.cuda for name, one in found.items() if one.cuda} == {
        "cuda": "11.7",
        "cuda12": "12.1",
        "zh": "10.2",
        "modern": "12.8",
        "zh-modern": "12.8",
    }


def test_the_overrides_alone_are_read_where_pixis_own_tables_are_wrong(tmp_path: Path) -> None:
    (tmp_path / "pixi.toml").write_text(
        "[dependencies]\nnumpy = 7\n\n"
        '[[tool.d2lenv.environments.zh.overrides]]\nrequirements = ["Num_Py==1"]\nreason = "r"\n'
        'since = "2026-11-24"\n[tool.d2lenv.environments.wrong]\noverrides = [{ requirements = ["a"] }]\n'
    )
    assert [override.package for override in settings.overrides(tmp_path, "zh")] == ["num-py"]
    assert settings.overrides(tmp_path, "other") == ()
    with pytest.raises(D2lEnvError, match=r"\[tool.d2lenv.environments.wrong\] overrides"):
        settings.overrides(tmp_path, "wrong")
