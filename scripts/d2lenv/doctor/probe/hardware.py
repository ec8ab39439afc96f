"""The only place that touches NVIDIA hardware: NVML, else ``nvidia-smi``. Tests replace :func:`look`."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from d2lenv.base import process
from d2lenv.base.messages import tr

State = Literal["ok", "no-driver", "mismatch", "failed"]

_NVML_TIMEOUT_S = 5.0
_SMI_TIMEOUT_S = 10.0
_WSL_SMI = "/usr/lib/wsl/lib/nvidia-smi"
_LIBRARY = "libnvidia-ml.so.1"
_SIGNS = ("/dev/nvidiactl", "/proc/driver/nvidia/version", "/dev/dxg", _WSL_SMI)


@dataclass(frozen=True)
class Device:
    """One GPU.

    Attributes:
        capability: (8, 6) for sm_86; ``None`` when the driver does not say.
        memory: bytes, 0 when unknown.
    """

    index: int
    name: str
    capability: tuple[int, int] | None
    memory: int


@dataclass(frozen=True)
class Gpu:
    """What the driver says.

    Attributes:
        state: ``mismatch``: the loaded kernel module and the installed library differ (a reboot is due).
        driver: the driver's version, empty when unknown.
        via: ``NVML`` or ``nvidia-smi``.
        why: why nothing is known, for every state but ``ok``.
    """

    state: State
    driver: str = ""
    devices: tuple[Device, ...] = ()
    via: str = ""
    why: str = ""


def look(environ: Mapping[str, str], prefix: Path) -> Gpu:
    """Ask NVML, then ``nvidia-smi``; never raises, never waits longer than 15 seconds.

    Args:
        prefix: the examined environment. Neither a program nor a library in it is started or loaded.
    """
    if not driver_signs(environ, prefix):
        return Gpu("no-driver", why=_left_out(environ) or tr("there is no sign of an NVIDIA driver"))
    if library := _planted(environ, prefix):
        return Gpu(
            "failed", via="NVML", why=tr("{file} was not loaded: LD_LIBRARY_PATH names it", file=library)
        )
    answer: list[Gpu] = []
    # A GPU that fell off the bus makes NVML wait for ever in the driver: only a thread can be left behind.
    worker = threading.Thread(target=lambda: answer.append(_nvml()), daemon=True)
    worker.start()
    worker.join(_NVML_TIMEOUT_S)
    if not answer:
        return Gpu(
            "failed", via="NVML", why=tr("the driver did not answer within {n} s", n=int(_NVML_TIMEOUT_S))
        )
    return answer[0] if answer[0].state in ("ok", "mismatch") else _smi(answer[0], environ, prefix)


def driver_signs(environ: Mapping[str, str], prefix: Path) -> bool:
    """Whether anything of an NVIDIA driver is there: asking NVML costs 60 ms that others do without."""
    if sys.platform == "darwin":
        return False
    if sys.platform == "win32":
        return (Path(environ.get("SYSTEMROOT", r"C:\Windows")) / "System32" / "nvml.dll").exists()
    return any(Path(name).exists() for name in _SIGNS) or _smi_program(environ, prefix) is not None


def _smi_program(environ: Mapping[str, str], prefix: Path) -> Path | None:
    wsl = Path(_WSL_SMI)
    return process.which("nvidia-smi", environ, outside=[prefix]) or (wsl if wsl.exists() else None)


def _left_out(environ: Mapping[str, str]) -> str:
    """Say which ``nvidia-smi`` was not started because it lies in the examined environment; else empty."""
    program = process.which("nvidia-smi", environ)
    return tr("{file} was not started: it lies in the examined environment", file=program) if program else ""


def _planted(environ: Mapping[str, str], prefix: Path) -> Path | None:
    """Return the driver's library that ``LD_LIBRARY_PATH`` makes the loader take from the environment."""
    closed = prefix.resolve()
    for entry in environ.get("LD_LIBRARY_PATH", "").replace(";", ":").split(":"):
        library = Path(entry) / _LIBRARY
        if library.exists():
            # The loader takes the first one.
            inside = library.absolute().is_relative_to(prefix) or library.resolve().is_relative_to(closed)
            return library if inside else None
    return None


def _nvml() -> Gpu:
    try:
        import pynvml
    except ImportError as error:
        return Gpu("no-driver", via="NVML", why=str(error))
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        code = getattr(error, "value", None)
        if code == pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH:
            return Gpu("mismatch", via="NVML", why=str(error))
        absent = code in (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, pynvml.NVML_ERROR_DRIVER_NOT_LOADED)
        return Gpu("no-driver" if absent else "failed", via="NVML", why=str(error))
    try:
        driver = _decoded(pynvml.nvmlSystemGetDriverVersion())
        devices = tuple(_nvml_device(index) for index in range(pynvml.nvmlDeviceGetCount()))
        return Gpu("ok", driver=driver, devices=devices, via="NVML")
    except pynvml.NVMLError as error:
        return Gpu("failed", via="NVML", why=str(error))
    finally:
        pynvml.nvmlShutdown()


def _nvml_device(index: int) -> Device:
    import pynvml as nvml

    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
    name = _decoded(nvml.nvmlDeviceGetName(handle))
    return Device(index, name, (int(major), int(minor)), int(nvml.nvmlDeviceGetMemoryInfo(handle).total))


def _decoded(value: str | bytes) -> str:
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else value


def _smi(nvml: Gpu, environ: Mapping[str, str], prefix: Path) -> Gpu:
    """Ask ``nvidia-smi``; return ``nvml``'s answer when there is no such program or it fails too."""
    program = _smi_program(environ, prefix)
    if program is None:
        return nvml
    # `compute_cap` is known to nvidia-smi since driver 510 or so; an older one refuses the whole query.
    for fields in (
        "index,name,memory.total,driver_version,compute_cap",
        "index,name,memory.total,driver_version",
    ):
        try:
            done = process.run(
                [program, f"--query-gpu={fields}", "--format=csv,noheader,nounits"],
                timeout_s=_SMI_TIMEOUT_S,
                environ=environ,
            )
        except OSError as error:
            return Gpu("failed", via="nvidia-smi", why=str(error))
        if done.returncode == 0:
            return parse_smi(done.stdout)
    text = (done.stdout + done.stderr).strip()
    state: State = "mismatch" if "version mismatch" in text.lower() else nvml.state
    return Gpu(state, via="nvidia-smi", why=text.splitlines()[0] if text else nvml.why)


def parse_smi(text: str) -> Gpu:
    """The answer of ``nvidia-smi --query-gpu=index,name,memory.total,driver_version[,compute_cap]``."""
    devices, driver = [], ""
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) < 4 or not cells[0].isdecimal():
            continue
        driver = cells[3]
        memory = int(cells[2]) << 20 if cells[2].isdecimal() else 0  # MiB, as `nounits` has it
        devices.append(
            Device(int(cells[0]), cells[1], _capability(cells[4] if len(cells) > 4 else ""), memory)
        )
    if not devices:
        return Gpu("failed", via="nvidia-smi", why=tr("nvidia-smi lists no GPU"))
    return Gpu("ok", driver=driver, devices=tuple(devices), via="nvidia-smi")


def _capability(text: str) -> tuple[int, int] | None:
    major, dot, minor = text.partition(".")
    return (int(major), int(minor)) if dot and major.isdecimal() and minor.isdecimal() else None
