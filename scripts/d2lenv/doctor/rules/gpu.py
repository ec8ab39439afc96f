"""The NVIDIA GPU and its driver against what the installed torch holds; the Apple GPU."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from d2lenv.base.messages import tr
from d2lenv.doctor import fixes
from d2lenv.doctor.model import Command, Context, Found, Problem, joined, parsed
from d2lenv.doctor.probe.hardware import Device
from d2lenv.facts import gpus, platforms
from d2lenv.facts.pytorch import releases as matrix

_WANTED_MEMORY = 8 * 10**9
_DRIVERS = "https://www.nvidia.com/drivers"


def _foreign(context: Context) -> bool:
    """Return True if the prefix was made for another kind of machine than this one."""
    system = platforms.system_of(context.prefix.platform)
    return system is not None and system.name != context.machine.system


def _cuda_build(context: Context) -> str:
    """CUDA version of the installed torch, empty for a CPU build, an unknown one, or no torch."""
    build = context.builds.get("torch")
    return (build.cuda or "") if build else ""


def no_gpu(context: Context) -> Iterator[Problem]:
    """No NVIDIA driver answers, so what the installed torch could do on a GPU was not checked. On a machine
    without an NVIDIA GPU this is as it should be: `torch.cuda.is_available()` is False, and everything
    runs on the CPU."""
    gpu = context.gpu
    if gpu.state == "no-driver" and _cuda_build(context) and not _foreign(context):
        yield Problem("not-checked", tr("no NVIDIA GPU seen"), "gpu", (Found(gpu.via, gpu.why),))


def driver_failed(context: Context) -> Iterator[Problem]:
    """An NVIDIA driver is there but does not answer properly. After a driver update that was not followed by
    a restart, the loaded kernel module and the new library have different versions: a restart cures it."""
    gpu = context.gpu
    if gpu.state in ("mismatch", "failed"):
        cure = (
            tr("restart the machine")
            if gpu.state == "mismatch"
            else tr("run `nvidia-smi` and follow what it says")
        )
        yield Problem(
            "error" if _cuda_build(context) else "warning",
            tr("the NVIDIA driver does not answer"),
            "driver",
            (Found(gpu.via, gpu.why),),
            (Command(text=cure),),
        )


def driver_too_old(context: Context) -> Iterator[Problem]:
    """torch brings its own CUDA libraries, but the driver must be new enough for them, or
    `torch.cuda.is_available()` is False with `The NVIDIA driver on your system is too old`. Within one major
    version of CUDA any driver of that major version works (minor-version compatibility)."""
    cuda, driver = _cuda_build(context), context.gpu.driver
    windows = context.machine.system == "Windows"
    needed = matrix.minimum_driver(cuda, windows)
    have, least = parsed(driver), parsed(needed) if needed else None
    if not cuda or have is None or least is None or have >= least:
        return
    yield Problem(
        "error",
        tr("the driver {driver} is too old for CUDA {cuda}", driver=driver, cuda=cuda),
        "driver",
        (
            Found(tr("driver"), driver),
            Found(
                "torch", f"{context.builds['torch'].version}, CUDA {cuda}", str(context.builds["torch"].file)
            ),
            Found(tr("needed at least"), needed),
            *((Found(tr("released with"), r),) if (r := matrix.release_driver(cuda, windows)) else ()),
        ),
        (Command(text=tr("install a newer driver: {url}", url=_DRIVERS)),),
    )


def architecture_missing(context: Context) -> Iterator[Problem]:
    """torch holds machine code for certain GPU generations. A GPU that is newer (or much older) than the
    build gets `no kernel image is available for execution on the device` at the first operation, although
    `torch.cuda.is_available()` is True. A build for another CUDA version serves it."""
    cuda, torch = _cuda_build(context), context.version("torch")
    known = matrix.code_of(torch, cuda) if cuda and parsed(torch) else None
    if known is None:
        return
    for device in context.gpu.devices:
        if device.capability is None or matrix.runs_on(device.capability, known):
            continue
        yield Problem(
            "error",
            tr(
                "torch {version} has no code for {gpu} (sm_{number})",
                version=context.builds["torch"].version,
                gpu=device.name,
                number=_number(device),
            ),
            "gpu",
            (
                Found(
                    device.name,
                    f"sm_{_number(device)} {gpus.family_of(device.capability)}".strip(),
                ),
                Found("torch", joined(f"sm_{n}" for n in known.numbers), str(context.builds["torch"].file)),
            ),
            tuple(_serving(context, torch, device.capability)),
        )


def _number(device: Device) -> str:
    return "{}{}".format(*device.capability) if device.capability else "?"


def _serving(context: Context, installed: str, capability: tuple[int, int]) -> Iterator[Command]:
    if capability[0] == 9:
        yield Command(text=tr("build the environment `cuda12` (CUDA 12.1, torch 2.3), which serves Hopper"))
    if capability[0] >= 10:
        yield Command(
            text=tr("build the environment `modern` (CUDA 12.8, torch 2.10), which serves Blackwell")
        )
    prefix = context.prefix
    serving = matrix.serving(capability, installed, prefix.python_minor, prefix.platform)
    if serving is None:
        yield Command(text=tr("no build in the doctor's table serves this GPU"))
        return
    torch, cuda = serving
    release = matrix.RELEASES[torch]
    specs = (f"torch=={torch}", f"torchvision=={release.vision[0]}")
    index = f"https://download.pytorch.org/whl/cu{cuda.replace('.', '')}"
    if prefix.kind == "conda" and context.prefix.conda_package("pytorch"):
        # conda's torch and pip's do not mix.
        conda = matrix.conda_specs(torch, cuda, prefix.platform)
        yield (
            fixes.conda_install(context, *conda, channels=fixes.torch_channels(torch))
            if conda
            else Command(
                (
                    "uv",
                    "venv",
                    "--python",
                    prefix.python_minor or "3.10",
                    f"{prefix.path}-cu{cuda.replace('.', '')}",
                )
            )
        )
        return
    # Another torch than the book's is for the reader to decide.
    yield dataclasses.replace(fixes.pip_install(context, *specs, index=index), safe=False)


def architecture_unknown(context: Context) -> Iterator[Problem]:
    """Which GPU generations this build of torch holds code for is not in the doctor's table. `d2lenv doctor
    --deep` asks torch itself."""
    cuda, torch = _cuda_build(context), context.version("torch")
    unknown = cuda and parsed(torch) and matrix.code_of(torch, cuda) is None
    silent = [device for device in context.gpu.devices if device.capability is None]
    if context.gpu.devices and (unknown or (cuda and silent)):
        yield Problem(
            "not-checked",
            tr("whether torch {version} has code for this GPU", version=context.builds["torch"].version),
            "gpu",
            tuple(Found(device.name, f"sm_{_number(device)}") for device in context.gpu.devices),
        )


def container_without_gpu(context: Context) -> Iterator[Problem]:
    """The host has an NVIDIA driver, but this container was not given the GPU: the device files are missing.
    With Docker, `--gpus all` passes it through (the NVIDIA Container Toolkit must be installed on the
    host)."""
    machine = context.machine
    if machine.container and machine.driver_module and not machine.device_files and not context.gpu.devices:
        yield Problem(
            "error" if _cuda_build(context) else "warning",
            tr("the host's GPU is not passed into this container"),
            "gpu",
            (
                Found(tr("host driver"), "", "/proc/driver/nvidia/version"),
                Found(tr("missing"), "", "/dev/nvidiactl"),
            ),
            (Command(text="docker run --gpus all …"),),
        )


def hidden_by_variable(context: Context) -> Iterator[Problem]:
    """CUDA_VISIBLE_DEVICES lists the GPUs that programs may see. Set to nothing, to -1 or to a number that
    does not exist, it hides every GPU, and `torch.cuda.is_available()` is False."""
    value = context.environ.get("CUDA_VISIBLE_DEVICES")
    if value is None or not context.gpu.devices:
        return
    first = value.split(",")[0].strip()
    numbers = {str(device.index) for device in context.gpu.devices}
    # GPU-<uuid> and MIG-<uuid> are as good as numbers; everything from the first bad entry on is ignored.
    if first in numbers or first.startswith(("GPU-", "MIG-")):
        return
    yield Problem(
        "warning",
        tr("CUDA_VISIBLE_DEVICES hides every GPU"),
        "gpu",
        (
            Found("CUDA_VISIBLE_DEVICES", repr(value)),
            *(Found(d.name, str(d.index)) for d in context.gpu.devices),
        ),
        (
            Command(
                text="set CUDA_VISIBLE_DEVICES=0"
                if context.machine.system == "Windows"
                else "unset CUDA_VISIBLE_DEVICES"
            ),
        ),
    )


def little_memory(context: Context) -> Iterator[Problem]:
    """Part 2 of Deep Learning with PyTorch assumes a GPU with 8 GB of memory. With less, `CUDA out of
    memory` is likely there: make the batch size smaller. Part 1 and d2l's notebooks need less."""
    small = [d for d in context.gpu.devices if 0 < d.memory < _WANTED_MEMORY]
    if small and len(small) == len(context.gpu.devices):
        yield Problem(
            "info",
            tr(
                "the GPU has {n} GB of memory, part 2 of the book assumes 8",
                n=f"{small[0].memory / 10**9:.1f}",
            ),
            "gpu",
            tuple(Found(d.name, f"{d.memory / 10**9:.1f} GB") for d in small),
        )


def apple_gpu(context: Context) -> Iterator[Problem]:
    """A Mac with Apple silicon has no CUDA. torch 1.12 and newer reach its GPU under the name `mps`:
    `torch.device("mps")`. d2l's `try_gpu()` only asks for CUDA and falls back to the CPU without a word."""
    if (
        context.prefix.platform == "osx-arm64"
        and context.machine.system == "Darwin"
        and context.version("torch")
    ):
        yield Problem(
            "info",
            tr("this Mac's GPU is called `mps`, not `cuda`"),
            "gpu",
            (Found("torch", context.version("torch")),),
        )
