"""Each rule of `check` on small hand-made locks; test_check_mutations.py has the real one."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from channelkit import HEAD, MANIFEST, ROOT, record, small_snapshot, write_snapshot, write_workspace
from d2lenv.solve import again, check, conda
from d2lenv.solve.conda import Snapshot
from d2lenv.solve.rules import Remark
from d2lenv.workspace import lockfile, manifest

MAIN, EXTRA = "https://conda.anaconda.org/main/", "https://conda.anaconda.org/extra/"


@pytest.fixture(autouse=True)
def _english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("D2LENV_LANG", "en")


Check = Callable[..., list[Remark]]


@pytest.fixture
def checked(tmp_path: Path) -> Check:
    """Solve a manifest, edit the lock's text, and check it against a manifest."""

    def run(
        *edits: tuple[str, str], solved: str = MANIFEST, against: str = "", channels: Path | None = None
    ) -> list[Remark]:
        space = manifest.load(write_workspace(tmp_path / "w", solved))
        snapshot = Snapshot(channels or small_snapshot(tmp_path / "channels"))
        text = conda.lock_text(conda.build_lock(space, conda.solve_workspace(space, snapshot)))
        for old, new in edits:
            assert old in text, text
            text = text.replace(old, new)
        space.lock.write_text(text, encoding="utf-8")
        wanted = manifest.load(write_workspace(tmp_path / "w", against)) if against else space
        return check.check(wanted, lockfile.of(space), None)

    return run


def rules(findings: list[Remark]) -> list[tuple[str, str]]:
    return sorted({(f.rule, f.package) for f in findings if f.level == "error"})


def test_a_solved_lock_has_no_finding(checked: Check) -> None:
    assert checked() == []


def test_the_committed_lock_has_only_notes() -> None:
    space = manifest.load(ROOT)
    lock = lockfile.of(space)
    findings = check.check(space, lock, lockfile.read_digests(ROOT / lockfile.DIGESTS))
    assert {finding.level for finding in findings} == {"note"}
    without = {finding.package for finding in findings if finding.message == "no hash is known"}
    assert without == {"d2l"}
    assert again.solve_again(space, lock) == []


@pytest.mark.parametrize(
    ("against", "spec"),
    [
        (HEAD + '[dependencies]\napp = "<2"\n', "`app`"),
        (HEAD + '[dependencies]\napp = {version = "*", build = "py*"}\n', "build"),
        (HEAD + '[dependencies]\napp = {version = "*", channel = "extra"}\n', "channel"),
    ],
)
def test_a_spec_that_the_locked_record_does_not_meet(checked: Check, against: str, spec: str) -> None:
    findings = checked(against=against)
    assert ("spec", "app") in rules(findings), spec
    assert "locked is main::app 2.0 0" in findings[0].message


def test_a_spec_without_a_record(checked: Check) -> None:
    findings = checked(against=MANIFEST + 'more = "*"\n')
    assert [f.line() for f in findings] == [
        "default/linux-64: more: [dependencies] asks for it; it is not locked [spec]"
    ]


def test_a_record_that_nothing_needs(checked: Check) -> None:
    findings = checked(solved=MANIFEST + 'only-extra = "*"\n', against=MANIFEST)
    assert rules(findings) == [("superfluous", "only-extra")]


def test_a_depends_without_a_record(checked: Check) -> None:
    assert rules(checked(("  - lib >=1\n", "  - lib >=2\n"))) == [("closure", "app")]
    assert rules(checked(("  - lib >=1\n", "  - lib >=1\n  - nowhere\n"))) == [("closure", "app")]


@pytest.mark.parametrize("virtual", ["__glibc >=2.29", "__cuda", "__osx", "__archspec 1 zen4"])
def test_a_depends_on_what_a_bare_platform_lacks(checked: Check, virtual: str) -> None:
    assert rules(checked(("__glibc >=2.17", virtual))) == [("closure", "lib")]


@pytest.mark.parametrize("virtual", ["__unix", "__linux >=4", "__archspec 1 x86_64"])
def test_a_depends_on_what_a_bare_platform_has(checked: Check, virtual: str) -> None:
    assert rules(checked(("__glibc >=2.17", virtual))) == []


def test_a_violated_constrains(checked: Check) -> None:
    findings = checked(("  - tool\n", "  - tool\n  constrains:\n  - lib <1.6\n  - absent <1\n"))
    assert [f.line() for f in findings] == [
        "default/linux-64: app: allows only `lib <1.6`; locked is lib 1.6 0 [constrains]"
    ]


def test_a_constrains_on_a_virtual_package(checked: Check) -> None:
    edit = "  - tool\n  constrains:\n  - __glibc >={}\n"
    assert rules(checked(("  - tool\n", edit.format("2.17")))) == []
    assert rules(checked(("  - tool\n", edit.format("2.30")))) == [("constrains", "app")]


@pytest.mark.parametrize("text", ["lib >=1..2", "[", "lib >= "])
def test_what_is_no_match_spec(checked: Check, text: str) -> None:
    assert ("closure", "app") in rules(checked(("  - lib >=1\n", f"  - '{text}'\n")))
    constrains = ("  - tool\n", f"  - tool\n  constrains:\n  - '{text}'\n")
    assert ("constrains", "app") in rules(checked(constrains))


def test_two_records_of_one_name(checked: Check) -> None:
    old = f"      - conda: {MAIN}linux-64/lib-1.6-0.conda\n"
    new = f"- conda: {EXTRA}noarch/lib-9.0-0.conda\n"
    findings = checked(
        (old, f"{old}      {new}"), ("\npackages:\n", f"\npackages:\n{new}  md5: {'0' * 32}\n")
    )
    assert ("unique", "lib") in rules(findings)


@pytest.mark.parametrize(
    "address",
    [
        "http://conda.anaconda.org/main/noarch/tool-0.2-0.conda",
        "https://conda.anaconda.org/other/noarch/tool-0.2-0.conda",
        "https://user:word@conda.anaconda.org/main/noarch/tool-0.2-0.conda",
        "https://conda.anaconda.org/main/win-64/tool-0.2-0.conda",
        "https://example.org/main/noarch/tool-0.2-0.conda",
    ],
)
def test_an_address_that_is_not_allowed(checked: Check, address: str) -> None:
    assert ("address", "tool") in rules(checked((f"{MAIN}noarch/tool-0.2-0.conda", address)))


@pytest.mark.parametrize(
    "line", ["version: '0.3'", "build: '1'", "name: tools", "subdir: linux-64", f"channel: {EXTRA}"]
)
def test_a_record_that_says_other_than_its_address(checked: Check, line: str) -> None:
    url = f"- conda: {MAIN}noarch/tool-0.2-0.conda\n"
    findings = checked((f"\n{url}", f"\n{url}  {line}\n"))
    assert "address" in {f.rule for f in findings}


def test_a_record_without_a_hash(checked: Check) -> None:
    tool = record("tool", "0.2")
    sha256, md5 = f"  sha256: {tool['sha256']}\n", f"  md5: {tool['md5']}\n"
    (only_md5,) = checked((sha256, ""))
    assert (only_md5.level, only_md5.message) == ("note", "no sha256 is known, only an md5")
    (neither,) = checked((sha256, ""), (md5, ""))
    assert (neither.level, neither.rule, neither.package) == ("error", "hash", "tool")


def torch(tmp_path: Path, build: str, mutex: str, **others: str) -> tuple[str, Path]:
    records = [
        record("pytorch", "2.0.1", build),
        record("pytorch-mutex", "1.0", mutex),
        *(record(name.replace("_", "-"), *text.split()) for name, text in others.items()),
    ]
    names = [row["name"] for row in records]
    folder = write_snapshot(tmp_path / "torch", records, [])
    return HEAD + "[dependencies]\n" + "".join(f'{name} = "*"\n' for name in names), folder


@pytest.mark.parametrize(
    ("build", "mutex", "others", "stands"),
    [
        ("py3.10_cuda11.7_cudnn8.5.0_0", "cuda", {"pytorch_cuda": "11.7 h0"}, True),
        ("py3.10_cpu_0", "cpu", {"torchvision": "0.15.2 py310_cpu"}, True),
        ("py3.10_0", "cpu", {}, True),
        ("py3.10_cpu_0", "cuda", {"pytorch_cuda": "11.7 h0"}, False),
        ("py3.10_cpu_0", "cuda", {}, False),
        ("py3.10_cuda11.7_cudnn8.5.0_0", "cpu", {}, False),
        ("py3.10_cuda11.8_cudnn8.7.0_0", "cuda", {"pytorch_cuda": "11.7 h0"}, False),
        ("py3.10_cuda11.7_cudnn8.5.0_0", "cuda", {"torchvision": "0.15.2 py310_cpu"}, False),
        ("py3.10_cuda11.7_cudnn8.5.0_0", "cuda", {"torchaudio": "2.0.2 py310_cu118"}, False),
        ("py3.10_cuda11.7_cudnn8.5.0_0", "cuda", {"cpuonly": "2.0 0"}, False),
    ],
)
def test_pytorch_is_of_one_kind(
    checked: Check, tmp_path: Path, build: str, mutex: str, others: dict[str, str], stands: bool
) -> None:
    text, folder = torch(tmp_path, build, mutex, **others)
    findings = checked(solved=text, channels=folder)
    assert rules(findings) == ([] if stands else [("pytorch-kind", "pytorch")])


def packages(tmp_path: Path, *rows: str) -> tuple[str, Path]:
    """A manifest that asks for these packages, ``name version build``, and a channel that has them."""
    records = [record(*row.split()) for row in rows]
    folder = write_snapshot(tmp_path / "packages", records, [])
    return HEAD + "[dependencies]\n" + "".join(f'{row["name"]} = "*"\n' for row in records), folder


@pytest.mark.parametrize(
    ("rows", "rule"),
    [
        (["blas 1.0 mkl", "libblas 3.9.0 21_win64_mkl", "mkl 2024.0.0 h66d3029_49657"], ""),
        (["libblas 3.11.0 5_h51639a9_openblas", "libopenblas 0.3.30 openmp_hf332438_0"], ""),
        (["libblas 3.9.0 20_osxarm64_accelerate", "liblapack 3.9.0 20_osxarm64_accelerate"], ""),
        # The lock of 2026-11-24 had this on win-64: MKL's metapackage and the reference libraries.
        (["blas 1.0 mkl", "libblas 3.9.0 1_h8933c1f_netlib", "mkl 2024.0.0 h66d3029_49658"], "blas"),
        (["libblas 3.9.0 1_h8933c1f_netlib", "libcblas 3.9.0 8_h719fc58_netlib"], "blas"),
        (["libblas 3.9.0 21_linux64_mkl", "liblapack 3.9.0 21_linux64_openblas"], "blas"),
        (["libblas 3.9.0 21_linux64_mkl", "libopenblas 0.3.30 pthreads_h94d23a6_0"], "blas"),
        (["llvm-openmp 22.1.8 h4922eb0_0", "_openmp_mutex 4.5 7_kmp_llvm"], ""),
        (["llvm-openmp 22.1.8 h4922eb0_0", "libgomp 16.1.0 he0feb66_1"], "openmp"),
        (["llvm-openmp 22.1.8 h4922eb0_0", "intel-openmp 2024.0.0 h57928b3_49841"], "openmp"),
    ],
)
def test_an_environment_has_one_blas_that_is_fast_and_one_openmp_runtime(
    checked: Check, tmp_path: Path, rows: list[str], rule: str
) -> None:
    text, folder = packages(tmp_path, *rows)
    assert [name for name, _ in rules(checked(solved=text, channels=folder))] == ([rule] if rule else [])


def test_environments_and_platforms_that_the_manifest_does_not_have(checked: Check) -> None:
    more = MANIFEST.replace('["linux-64"]', '["linux-64", "win-64"]') + "[environments]\nmore = []\n"
    findings = checked(against=more)
    assert {(f.rule, f.environment, f.platform) for f in findings} == {
        ("environments", "more", ""),
        ("platforms", "default", "win-64"),
    }


def test_environments_and_platforms_that_only_the_lock_has(checked: Check, tmp_path: Path) -> None:
    wide = HEAD.replace('["linux-64"]', '["linux-64", "osx-64"]')
    for platform in ("osx-64",):
        small_snapshot(tmp_path / "channels")
        for channel in ("main", "extra"):
            source = tmp_path / "channels" / channel
            (source / platform).mkdir()
            (source / platform / "repodata.json").write_bytes(
                b'{"info": {"subdir": "osx-64"}, "packages": {}, "packages.conda": {}}'
            )
    text = wide + '[dependencies]\ntool = "*"\n[environments]\nmore = []\n'
    findings = checked(
        solved=text, channels=tmp_path / "channels", against=HEAD + '[dependencies]\ntool = "*"\n'
    )
    assert {(f.rule, f.environment, f.platform) for f in findings} == {
        ("environments", "more", ""),
        ("platforms", "default", "osx-64"),
    }


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (f"    - url: {MAIN}\n    - url: {EXTRA}\n", f"    - url: {EXTRA}\n    - url: {MAIN}\n"),
        (f"    - url: {EXTRA}\n", ""),
        (f"    - url: {MAIN}\n", "    - url: https://mirror.example.org/main/\n"),
    ],
)
def test_other_channels(checked: Check, old: str, new: str) -> None:
    assert ("channels", "") in rules(checked((old, new)))


def test_a_platform_row_that_pixi_takes_for_another(checked: Check) -> None:
    assert rules(checked(("  - __glibc=2.28\n", "  - __glibc=2.17\n"))) == [("platforms", "")]
    assert rules(checked(("  - __glibc=2.28\n", ""))) == []
    assert rules(checked(("- name: linux-64\n", "- name: linux-64\n  subdir: linux-aarch64\n"))) != []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("    options:\n      channel-priority: disabled\n", "options"),
        ("    options: {strategy: lowest-version}\n", "options"),
        ("    indexes:\n    - https://example.org/simple\n", "indexes"),
    ],
)
def test_options_and_indexes_in_any_layout(checked: Check, text: str, told: str) -> None:
    findings = checked(("    packages:\n", f"{text}    packages:\n"))
    assert {f.rule for f in findings} == {"options"}
    assert {f.environment for f in findings} == {"default"}
    assert told in findings[0].message


def test_a_wheel_in_the_lock(checked: Check) -> None:
    wheel = "https://example.org/x-1.0-py3-none-any.whl"
    last = f"      - conda: {MAIN}noarch/tool-0.2-0.conda\n"
    entry = f"- pypi: {wheel}\n  name: x\n  version: '1.0'\n  sha256: {'0' * 64}\n"
    findings = checked((last, f"{last}      - pypi: {wheel}\n"), ("\npackages:\n", f"\npackages:\n{entry}"))
    assert [(f.rule, f.message) for f in findings] == [
        ("options", f"the lock has `- pypi: {wheel}`, which pixi.toml does not ask for")
    ]


def test_changes_since_the_digests_are_named(tmp_path: Path) -> None:
    space = manifest.load(ROOT)
    recorded = lockfile.read_digests(ROOT / lockfile.DIGESTS)
    text = space.lock.read_text(encoding="utf-8")
    path = tmp_path / "pixi.lock"
    path.write_text(text.replace("license: BSD-3-Clause\n", "license: BSD\n", 1), encoding="utf-8")
    findings = check.errors(check.check(space, lockfile.read(path, space.platforms), recorded))
    assert {f.rule for f in findings} == {"digest"}
    assert {f.package for f in findings} == {"_openmp_mutex"}
    fewer = {key: value for key, value in recorded.digests.items() if key != ("cuda", "linux-64")}
    gone = check.errors(check.check(space, lockfile.of(space), lockfile.Recorded(fewer)))
    assert [f.line() for f in gone] == [
        "cuda/linux-64: added or removed since the digests were recorded [digest]"
    ]


def test_a_changed_platform_row_is_told_apart_from_a_changed_package(tmp_path: Path) -> None:
    space = manifest.load(ROOT)
    text = space.lock.read_text(encoding="utf-8")
    path = tmp_path / "pixi.lock"
    path.write_text(text.replace("  - __win=10.0\n", ""), encoding="utf-8")
    recorded = lockfile.read_digests(ROOT / lockfile.DIGESTS)
    findings = check.errors(check.check(space, lockfile.read(path, space.platforms), recorded))
    assert {(f.platform, f.package) for f in findings} == {("win-64", "")}
    assert "channels or platform changed" in findings[0].message


def test_solving_again_finds_what_the_rules_let_pass(checked: Check, tmp_path: Path) -> None:
    """A constraint that no candidate meets, and a record that another channel's name shadows."""
    assert checked(("  - tool\n", "  - tool\n  constrains:\n  - python <3\n")) == []
    root = tmp_path / "w"
    lock = lockfile.read(root / "pixi.lock")
    assert again.solve_again(manifest.load(root), lock) == []
    text = (root / "pixi.lock").read_text(encoding="utf-8")
    (root / "pixi.lock").write_text(text.replace("  - lib >=1\n", "  - lib >=2\n"), encoding="utf-8")
    (found,) = again.solve_again(manifest.load(root), lockfile.read(root / "pixi.lock"))
    assert (found.rule, found.environment, found.platform) == ("solve", "default", "linux-64")
    assert "app" in found.message


def test_solving_again_drops_what_nothing_needs(checked: Check, tmp_path: Path) -> None:
    checked(solved=MANIFEST + 'only-extra = "*"\n', against=MANIFEST)
    root = tmp_path / "w"
    (found,) = again.solve_again(manifest.load(root), lockfile.read(root / "pixi.lock"))
    assert (found.rule, found.package) == ("solve", "only-extra")


def test_an_older_format_is_refused_by_its_number(checked: Check) -> None:
    (found,) = checked(("version: 7\n", "version: 6\n"))
    assert found.line() == "pixi.lock: it has format 6, pixi writes 7 [format]"


def test_an_environment_without_packages_stands(checked: Check) -> None:
    text = HEAD + '[feature.a.dependencies]\napp = "*"\n[environments]\ndefault = []\nmore = ["a"]\n'
    assert checked(solved=text) == []


def test_what_changed_since_the_digests_is_a_line_for_each_kind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A maintainer's own `pixi update` moves many packages in many places."""
    space = manifest.load(ROOT)
    recorded = lockfile.read_digests(ROOT / lockfile.DIGESTS)
    text = space.lock.read_text(encoding="utf-8")
    path = tmp_path / "pixi.lock"
    path.write_text(text.replace("license: BSD-3-Clause\n", "license: BSD\n"), encoding="utf-8")
    lock = lockfile.read(path, space.platforms)
    remarks = check.check(space, lock, recorded)
    assert len(check.errors(remarks)) > 100
    check.show(remarks, lock)
    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("note: ")]
    assert len(lines) == 4
    some = r"\S+(, \S+){7} and \d+ more"
    assert re.fullmatch(
        rf"error: changed since the digests were recorded: {some} \({some}\) \[digest\]", lines[0]
    )
    assert lines[1] == "next: where that is meant, type `d2lenv lock --record`, then `d2lenv export`"


def test_the_summary_counts_what_the_lock_holds(checked: Check, tmp_path: Path) -> None:
    sizes = [1000 + len(f"{name}-0.conda") for name in ("app-2.0", "lib-1.6", "tool-0.2")]
    checked((f"  size: {sizes[2]}\n", ""))
    held = check.summary(lockfile.read(tmp_path / "w" / "pixi.lock"))
    # Two of the three file names are equally long; the edit took the size of both that share it.
    known = [size for size in sizes if size != sizes[2]]
    assert (held.environments, held.platforms, held.packages) == (1, 1, 3)
    assert (held.download_bytes, held.size_unknown) == (sum(known), 3 - len(known))


def test_findings_are_shown_one_a_line_and_notes_together(
    checked: Check, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tool = record("tool", "0.2")
    findings = checked((f"  sha256: {tool['sha256']}\n", ""), ("  - lib >=1\n", "  - lib >=2\n"))
    check.show(findings, lockfile.read(tmp_path / "w" / "pixi.lock"))
    assert capsys.readouterr().out.splitlines() == [
        "error: default/linux-64: app: depends on `lib >=2`; locked is lib 1.6 0 [closure]",
        "note: tool: no sha256 is known, only an md5 [hash] (default/linux-64)",
        "1 environments, 1 (environment, platform) pairs, 3 packages, 0.00 GB to download where the size is "
        "known (0 unknown)",
        "1 error: the lock does not stand",
    ]
    told = check.as_json(findings, lockfile.read(tmp_path / "w" / "pixi.lock"))
    assert len(told["findings"]) == 2
