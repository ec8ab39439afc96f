"""The CPU and the CUDA edition, with stand-in wheels on the loopback in the place of PyTorch's own host."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import condakit
import wheelkit
from d2lenv.base.errors import USAGE, D2lEnvError
from d2lenv.engines import build
from d2lenv.engines.build import Built
from d2lenv.engines.wheels import editions
from d2lenv.facts import platforms
from d2lenv.facts.pytorch import host as pytorch_host
from d2lenv.facts.pytorch.host import HostFile
from d2lenv.prefix import locations, marker
from d2lenv.verify import fingerprint
from d2lenv.verify.prefix import verification
from d2lenv.workspace import manifest, settings
from d2lenv.workspace.pins import Pin

pytestmark = pytest.mark.skipif(platforms.current() != "linux-64", reason="the stand-ins are Linux wheels")

HOST = 'cuda = "12.8"\npytorch-host = { linux-64 = { build = "cpu", gb = 1.5, index-gb = 8 } }\n'


@pytest.fixture
def whl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """PyTorch's host: a folder with torch and torchvision as CPU builds, and no torchaudio."""
    tag = f"cp{wheelkit.PYTHON.replace('.', '')}"
    rows = []
    for name in ("torch", "torchvision"):
        pin = wheelkit.write_wheel(
            tmp_path / "whl" / "cpu", name, "1.0+cpu", {f"{name}/__init__.py": "cpu = 1\n"}
        )
        (wheel,) = (tmp_path / "whl" / "cpu").glob(f"{name}-*any.whl")
        file = wheel.rename(wheel.with_name(f"{name}-1.0+cpu-{tag}-{tag}-linux_x86_64.whl"))
        rows.append(HostFile(file.name, name, "1.0+cpu", pin.sha256[0], file.stat().st_size))
    monkeypatch.setattr(pytorch_host, "_rows", lambda: tuple(rows))
    return tmp_path / "whl"


@pytest.fixture
def mirror(whl: Path) -> Iterator[str]:
    with condakit.served(whl) as address:
        yield address


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whl: Path) -> Path:
    """A workspace whose index has CUDA builds alone; this machine has no GPU."""
    house = tmp_path / "house"
    pins: list[Pin] = [wheelkit.write_greet(house)]
    for name in ("torch", "torchvision", "torchaudio", "nvidia-cublas-cu12", "triton"):
        module = name.replace("-", "_")
        pin = wheelkit.write_wheel(house, module, "1.0", {f"{module}/__init__.py": "cpu = 0\n"})
        pins.append(Pin(name, "1.0", pin.sha256))
    wheelkit.write_workspace(tmp_path / "root", pins)
    toml = tmp_path / "root" / "pixi.toml"
    toml.write_text(toml.read_text(encoding="utf-8") + HOST, encoding="utf-8")
    for name, value in wheelkit.private_uv(tmp_path, str(house)).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CONDA_OVERRIDE_CUDA", "")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv(editions.MIRROR, raising=False)
    return tmp_path / "root"


def install(root: Path, mirror: str = "", lines: list[str] | None = None, **options: object) -> Built:
    return build.build(
        manifest.load(root),
        "tiny",
        engine="wheels",
        mirror=mirror,
        say=(lines if lines is not None else []).append,
        **options,  # type: ignore[arg-type]
    )


def names(prefix: Path) -> dict[str, str]:
    return dict(locations.distributions(prefix))


CPU = {"greet": "1.0", "torch": "1.0+cpu", "torchvision": "1.0+cpu"}
CUDA = {
    **dict.fromkeys(("greet", "torch", "torchvision", "torchaudio", "nvidia-cublas-cu12", "triton"), "1.0")
}


def test_without_a_gpu_the_cpu_build_comes_from_pytorchs_own_host(root: Path, mirror: str) -> None:
    lines: list[str] = []
    built = install(root, mirror, lines)
    assert built.prefix == root / ".d2lenv" / "tiny-wheels-cpu"
    assert names(built.prefix) == CPU
    assert marker.read(built.prefix)["build"] == "cpu"
    assert any("CPU build of PyTorch" in line and "CPU 1.5 GB, CUDA 8 GB" in line for line in lines)
    assert "no cpu build of torchaudio is known" in built.note
    assert install(root, "http://127.0.0.1:9/").reused


def test_with_a_gpu_the_indexs_cuda_build_is_taken(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONDA_OVERRIDE_CUDA", "12.8")
    built = install(root)
    assert built.prefix == root / ".d2lenv" / "tiny-wheels"
    assert names(built.prefix) == CUDA


def test_an_option_takes_the_other_one(root: Path, mirror: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert names(install(root, pytorch="cuda").prefix) == CUDA
    monkeypatch.setenv("CONDA_OVERRIDE_CUDA", "12.8")
    assert names(install(root, mirror, pytorch="cpu").prefix) == CPU


def test_an_old_driver_is_no_gpu(root: Path, mirror: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONDA_OVERRIDE_CUDA", "11.8")
    assert names(install(root, mirror).prefix) == CPU


def test_the_two_are_told_apart_and_each_is_what_it_says(root: Path, mirror: str) -> None:
    cpu, cuda = install(root, mirror), install(root, pytorch="cuda")
    assert cpu.digest != cuda.digest
    assert not list(cpu.prefix.rglob("direct_url.json"))
    space = manifest.load(root)
    for built in (cpu, cuda):
        assert verification.verify(space, str(built.prefix), {}).findings == ()
    first, second = (fingerprint.of_prefix(space, built.prefix)[0] for built in (cpu, cuda))
    assert first.digest != second.digest
    assert str(first).startswith("tiny linux-64 cpu wheels:")
    assert str(second).startswith("tiny linux-64 wheels:")


def test_two_mirrors_give_the_same_environment(root: Path, whl: Path, tmp_path: Path) -> None:
    space, found = manifest.load(root), []
    for number in (1, 2):
        with condakit.served(whl) as address:
            built = install(root, address, prefix=tmp_path / str(number))
            found.append(fingerprint.of_prefix(space, built.prefix)[1].digest)
        shutil.rmtree(tmp_path / "uv-cache")
    assert found[0] == found[1]


def test_where_the_host_does_not_answer_the_indexs_build_is_taken_and_its_size_said(root: Path) -> None:
    lines: list[str] = []
    built = install(root, f"http://127.0.0.1:{condakit.closed_port()}/", lines)
    assert built.prefix == root / ".d2lenv" / "tiny-wheels"
    assert names(built.prefix) == CUDA
    (said,) = (line for line in lines if "does not answer" in line)
    assert "the index's CUDA build is taken, 8 GB on disk" in said
    lines.clear()
    assert install(root, lines=lines).reused
    assert not any("does not answer" in line for line in lines)


def test_a_build_that_was_asked_for_is_not_replaced_by_another(root: Path) -> None:
    with pytest.raises(D2lEnvError, match="does not answer") as caught:
        install(root, f"http://127.0.0.1:{condakit.closed_port()}/", pytorch="cpu")
    assert "--mirror" in caught.value.fix


def test_a_mirror_without_the_file_does_not_serve(root: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    lines: list[str] = []
    with condakit.served(tmp_path / "empty") as address:
        assert names(install(root, address, lines).prefix) == CUDA
    assert any("HTTP 404" in line for line in lines)


def test_a_mirror_that_serves_other_bytes_is_refused(root: Path, whl: Path, mirror: str) -> None:
    (torch,) = (whl / "cpu").glob("torch-*.whl")
    wheelkit.write_wheel(whl / "other", "torch", "1.0+cpu", {"torch/__init__.py": "evil = 1\n"})
    (other,) = (whl / "other").glob("*.whl")
    torch.write_bytes(other.read_bytes())
    with pytest.raises(D2lEnvError) as caught:
        install(root, mirror)
    assert "hash mismatch" in caught.value.why.lower()
    assert not (root / ".d2lenv" / "tiny-wheels-cpu").exists()


def test_the_mirror_may_stand_in_a_variable(root: Path, mirror: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(editions.MIRROR, mirror)
    assert names(install(root).prefix) == CPU


def test_an_environment_without_two_editions_refuses_the_option(root: Path) -> None:
    toml = root / "pixi.toml"
    toml.write_text(toml.read_text(encoding="utf-8").replace("pytorch-host", "# "), encoding="utf-8")
    with pytest.raises(D2lEnvError) as caught:
        install(root, pytorch="cpu")
    assert caught.value.status == USAGE
    assert "has no cpu edition" in caught.value.what


@pytest.mark.parametrize(
    ("platform", "gpu", "wanted"),
    [
        ("linux-64", False, ["cpu", ""]),
        ("linux-64", True, ["", "cpu"]),
        ("win-64", False, ["", "cu128"]),
        ("win-64", True, ["cu128", ""]),
        ("osx-arm64", True, [""]),
        ("linux-aarch64", False, [""]),
    ],
)
def test_the_editions_of_modern_by_platform_and_gpu(
    monkeypatch: pytest.MonkeyPatch, platform: str, gpu: bool, wanted: list[str]
) -> None:
    modern = settings.get(manifest.load(Path(__file__).parents[3]), "modern")
    monkeypatch.setattr(editions, "has_gpu", lambda: gpu)
    assert editions.builds(modern, platform, "auto") == wanted


def test_the_cpu_environment_wants_the_cpu_build_even_where_there_is_a_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cpu = settings.get(manifest.load(Path(__file__).parents[3]), "cpu")
    monkeypatch.setattr(editions, "has_gpu", lambda: True)
    assert editions.builds(cpu, "linux-64", "auto") == ["cpu", ""]
