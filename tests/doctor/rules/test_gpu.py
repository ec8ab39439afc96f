"""The GPU against what torch holds."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from d2lenv.doctor.probe import hardware
from d2lenv.doctor.probe.hardware import Device, Gpu
from d2lenv.facts.pytorch import releases as matrix
from d2lenv.facts.pytorch.releases import Code
from doctor.environments import LINUX, NO_GPU, Environment, commands, spoil

PREFIX = Path("/no/environment")


def look() -> Gpu:
    return hardware.look(os.environ, PREFIX)


def gpu(
    name: str, capability: tuple[int, int] | None, driver: str = "535.104.05", memory: int = 24 << 30
) -> Gpu:
    return Gpu("ok", driver=driver, devices=(Device(0, name, capability, memory),), via="NVML")


RTX3060 = gpu("NVIDIA GeForce RTX 3060", (8, 6))
RTX4090 = gpu("NVIDIA GeForce RTX 4090", (8, 9))
H100 = gpu("NVIDIA H100", (9, 0))
RTX5090 = gpu("NVIDIA GeForce RTX 5090", (12, 0))


@pytest.fixture
def env(tmp_path: Path) -> Environment:
    env = Environment(tmp_path / "env")
    env.torch()
    return env


def unreadable(env: Environment) -> Environment:
    spoil(env.site / "torch" / "version.py")
    return env


def test_no_gpu_is_not_checked_instead_of_wrong(env: Environment) -> None:
    assert env.findings()["D2L060"].severity == "not-checked"
    assert "D2L060" not in env.findings(gpu=RTX3060)
    assert "D2L060" not in unreadable(env).findings()


@pytest.mark.parametrize("state", ["mismatch", "failed"])
def test_a_driver_that_does_not_answer_is_an_error_for_a_cuda_build(
    env: Environment, state: hardware.State
) -> None:
    broken = Gpu(state, via="NVML", why="Driver/library version mismatch")
    assert env.findings(gpu=broken)["D2L061"].severity == "error"
    assert unreadable(env).findings(gpu=broken)["D2L061"].severity == "warning"


def test_a_driver_that_answers_is_fine(env: Environment) -> None:
    assert "D2L061" not in env.findings(gpu=RTX3060)


@pytest.mark.parametrize(
    ("driver", "windows", "old"),
    [
        ("440.33", False, True),
        ("450.80.02", False, False),
        ("515.43.04", False, False),
        ("451.0", True, True),
        ("452.39", True, False),
    ],
)
def test_the_driver_is_judged_with_minor_version_compatibility(
    env: Environment, driver: str, windows: bool, old: bool
) -> None:
    machine = dataclasses.replace(LINUX, system="Windows") if windows else LINUX
    found = env.findings(gpu=gpu("x", (8, 6), driver), machine=machine)
    assert ("D2L062" in found) is old


def test_an_unknown_build_or_driver_accuses_no_driver(env: Environment) -> None:
    assert "D2L062" not in env.findings(gpu=gpu("x", (8, 6), "unknown"))
    assert "D2L062" not in unreadable(env).findings(gpu=gpu("x", (8, 6), "300.1"))


@pytest.mark.parametrize(
    ("card", "runs"), [(RTX3060, True), (RTX4090, True), (H100, False), (RTX5090, False)]
)
def test_cu117_has_no_code_for_hopper_and_blackwell(env: Environment, card: Gpu, runs: bool) -> None:
    assert ("D2L063" not in env.findings(gpu=card)) is runs


def test_hopper_is_sent_to_the_cuda12_environment(env: Environment) -> None:
    found = env.findings(gpu=H100)["D2L063"]
    assert "`cuda12`" in commands(found)[0]
    assert not found.safe


def test_blackwell_is_sent_to_modern_and_cuda_12_8(env: Environment) -> None:
    ours, theirs = commands(env.findings(gpu=RTX5090)["D2L063"])
    assert "`modern`" in ours
    assert "torch==2.7.0 torchvision==0.22.0 --index-url https://download.pytorch.org/whl/cu128" in theirs


def test_an_architecture_is_not_judged_where_the_build_is_unknown(env: Environment) -> None:
    assert "D2L063" not in unreadable(env).findings(gpu=H100)


def test_a_kepler_card_is_served_by_cuda_11_8(tmp_path: Path) -> None:
    env = Environment(tmp_path / "env")
    env.torch("2.5.1", local="+cu124", cuda="12.4")
    (command,) = commands(env.findings(gpu=gpu("Tesla K80", (3, 7)))["D2L063"])
    assert "torch==2.5.1" in command
    assert command.endswith("/cu118")
    assert "no build" in commands(env.findings(gpu=gpu("Quadro", (2, 0)))["D2L063"])[0]


def test_a_build_outside_the_table_is_not_checked(tmp_path: Path) -> None:
    env = Environment(tmp_path / "env")
    env.torch("2.15.0", local="+cu132", cuda="13.2")
    assert env.findings(gpu=RTX3060)["D2L064"].severity == "not-checked"
    assert "D2L064" not in unreadable(env).findings(gpu=RTX3060)


def test_a_card_that_does_not_say_its_capability_is_not_checked(env: Environment) -> None:
    assert "D2L064" in env.findings(gpu=gpu("NVIDIA old", None))
    assert "D2L064" not in env.findings(gpu=RTX3060)


BOXED = dataclasses.replace(LINUX, container=True, driver_module=True)


def test_a_container_without_the_gpu_is_told_about_the_flag(env: Environment) -> None:
    assert commands(env.findings(machine=BOXED)["D2L065"]) == ["docker run --gpus all …"]
    assert unreadable(env).findings(machine=BOXED)["D2L065"].severity == "warning"


@pytest.mark.parametrize(
    "machine",
    [LINUX, dataclasses.replace(LINUX, container=True), dataclasses.replace(BOXED, device_files=True)],
)
def test_other_machines_are_not_told_about_the_flag(env: Environment, machine: object) -> None:
    assert "D2L065" not in env.findings(machine=machine)


@pytest.mark.parametrize(
    ("value", "hidden"), [("", True), ("-1", True), ("7", True), ("0", False), ("GPU-ab", False)]
)
def test_a_variable_that_hides_every_gpu_is_found(env: Environment, value: str, hidden: bool) -> None:
    assert ("D2L066" in env.findings(gpu=RTX3060, environ={"CUDA_VISIBLE_DEVICES": value})) is hidden


def test_without_the_variable_or_a_gpu_nothing_is_hidden(env: Environment) -> None:
    assert "D2L066" not in env.findings(gpu=RTX3060)
    assert "D2L066" not in unreadable(env).findings(environ={"CUDA_VISIBLE_DEVICES": ""})


@pytest.mark.parametrize(("memory", "little"), [(6 << 30, True), (8 << 30, False), (0, False)])
def test_less_than_8_gb_is_mentioned(env: Environment, memory: int, little: bool) -> None:
    assert ("D2L067" in env.findings(gpu=gpu("x", (8, 6), memory=memory))) is little


def test_a_mac_is_told_about_mps(tmp_path: Path) -> None:
    mac = dataclasses.replace(LINUX, system="Darwin", arch="arm64", glibc=None, macos=(14, 0))
    env = Environment(tmp_path / "env", kind="conda", platform="osx-arm64")
    record = env.conda("pytorch", "1.13.1", "py3.10_0", channel="pytorch")
    assert "D2L068" in env.findings(machine=mac)
    assert "D2L068" not in env.findings()
    spoil(record)
    assert "D2L099" in env.findings(machine=mac)


def test_code_runs_on_the_same_major_version_and_ptx_on_anything_newer() -> None:
    assert matrix.runs_on((8, 9), Code((80, 86)))
    assert not matrix.runs_on((8, 0), Code((86,)))
    assert not matrix.runs_on((9, 0), Code((80, 86)))
    assert matrix.runs_on((12, 1), Code((90,), 120))
    assert not matrix.runs_on((9, 0), Code((86,), 120))


def test_what_nvidia_smi_says_is_read() -> None:
    found = hardware.parse_smi(
        "0, NVIDIA H100, 81559, 550.54.15, 9.0\n1, NVIDIA T4, [N/A], 550.54.15, [N/A]\n"
    )
    assert found.driver == "550.54.15"
    assert found.devices == (
        Device(0, "NVIDIA H100", (9, 0), 81559 << 20),
        Device(1, "NVIDIA T4", None, 0),
    )


@pytest.mark.parametrize("text", ["", "No devices were found\n", "a, b\n"])
def test_what_is_no_answer_of_nvidia_smi_is_a_failure(text: str) -> None:
    assert hardware.parse_smi(text).state == "failed"


def test_the_hardware_is_asked_without_raising() -> None:
    assert look().state in ("ok", "no-driver", "mismatch", "failed")


def program(folder: Path, body: str) -> None:
    (folder / "nvidia-smi").write_text("#!/bin/sh\n" + body)
    (folder / "nvidia-smi").chmod(0o755)


def test_an_old_nvidia_smi_is_asked_again_without_the_capability(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path, 'case "$1" in *compute_cap*) exit 2;; esac\necho "0, NVIDIA K80, 11441, 418.39"\n')
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setattr(hardware, "_nvml", lambda: NO_GPU)
    assert look() == Gpu("ok", "418.39", (Device(0, "NVIDIA K80", None, 11441 << 20),), "nvidia-smi")


def test_a_mismatch_that_nvidia_smi_reports_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, 'echo "Failed to initialize NVML: Driver/library version mismatch"; exit 18\n')
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setattr(hardware, "_nvml", lambda: NO_GPU)
    assert look().state == "mismatch"


def test_a_driver_that_never_answers_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    program(tmp_path, "exit 1\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    never = threading.Event()
    monkeypatch.setattr(hardware, "_nvml", lambda: never.wait(30) or NO_GPU)
    monkeypatch.setattr(hardware, "_NVML_TIMEOUT_S", 0.05)
    assert look().state == "failed"
    never.set()


def test_without_any_sign_of_a_driver_nvml_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "driver_signs", lambda *_: False)
    monkeypatch.setattr(hardware, "_nvml", lambda: pytest.fail("asked"))
    assert look().state == "no-driver"


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """nvidia-ml-py as with one card, older versions of which answer in bytes."""
    import types

    import pynvml

    monkeypatch.setattr(hardware, "driver_signs", lambda *_: True)
    for name, answer in {
        "nvmlInit": None,
        "nvmlShutdown": None,
        "nvmlSystemGetDriverVersion": b"550.54.15",
        "nvmlDeviceGetCount": 1,
        "nvmlDeviceGetHandleByIndex": object(),
        "nvmlDeviceGetCudaComputeCapability": (9, 0),
        "nvmlDeviceGetName": "NVIDIA H100",
        "nvmlDeviceGetMemoryInfo": types.SimpleNamespace(total=80 << 30),
    }.items():
        monkeypatch.setattr(pynvml, name, lambda *_, answer=answer: answer)
    return monkeypatch


def test_nvml_is_asked_first(nvml: pytest.MonkeyPatch) -> None:
    assert look() == Gpu("ok", "550.54.15", (Device(0, "NVIDIA H100", (9, 0), 80 << 30),), "NVML")


@pytest.mark.parametrize(
    ("code", "state"),
    [
        ("NVML_ERROR_LIB_RM_VERSION_MISMATCH", "mismatch"),
        ("NVML_ERROR_DRIVER_NOT_LOADED", "no-driver"),
        ("NVML_ERROR_LIBRARY_NOT_FOUND", "no-driver"),
        ("NVML_ERROR_UNKNOWN", "failed"),
    ],
)
def test_what_nvml_refuses_with_is_told_apart(
    nvml: pytest.MonkeyPatch, code: str, state: hardware.State, tmp_path: Path
) -> None:
    import pynvml

    def refuse() -> None:
        raise pynvml.NVMLError(getattr(pynvml, code))

    nvml.setattr(pynvml, "nvmlInit", refuse)
    nvml.setenv("PATH", str(tmp_path))
    assert look().state == state


def test_a_card_that_fails_in_the_middle_is_a_failure(nvml: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import pynvml

    def refuse(*_: object) -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)

    nvml.setattr(pynvml, "nvmlDeviceGetHandleByIndex", refuse)
    nvml.setenv("PATH", str(tmp_path))
    assert look().state == "failed"


def test_an_nvidia_smi_that_cannot_be_started_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nvidia-smi").write_bytes(b"\x7fELF nothing")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(hardware, "_nvml", lambda: NO_GPU)
    assert look().state == "failed"


@pytest.mark.parametrize(("system", "signs"), [("darwin", False), ("win32", False)])
def test_a_driver_is_looked_for_where_the_system_keeps_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, system: str, signs: bool
) -> None:
    monkeypatch.setattr(hardware.sys, "platform", system)
    monkeypatch.setenv("SYSTEMROOT", str(tmp_path))
    assert hardware.driver_signs(os.environ, PREFIX) is signs
    (tmp_path / "System32").mkdir()
    (tmp_path / "System32" / "nvml.dll").write_bytes(b"MZ")
    assert hardware.driver_signs(os.environ, PREFIX) is (system == "win32")
