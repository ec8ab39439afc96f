"""Versions that do not fit: PyTorch's own packages, Python, CUDA builds, numpy, mkl, jpeg, setuptools."""

from __future__ import annotations

from collections.abc import Iterator

from packaging.version import Version

from d2lenv.base.messages import tr
from d2lenv.doctor import fixes
from d2lenv.doctor.model import (
    Command,
    Context,
    Expected,
    Found,
    Problem,
    from_distribution,
    joined,
    parsed,
)
from d2lenv.facts import platforms
from d2lenv.facts.pytorch import releases as matrix

_MKL_WITHOUT_SYMBOL = Version("2024.1")
_TORCH_FREE_OF_IT = Version("2.4")
_PKG_RESOURCES_GONE = Version("82")
_NEEDS_NO_PKG_RESOURCES = Version("2.1")
_PACKAGING_AWAY = (Version("70"), Version("71"))


def _torch(context: Context) -> str:
    """torch's version without the local part, empty when it is absent or no version."""
    version = context.version("torch")
    return version if parsed(version) else ""


def _pair(context: Context, name: str, wanted: tuple[str, ...]) -> Iterator[Problem]:
    torch, have = _torch(context), context.version(name)
    if not wanted or not have or not torch or have in wanted:
        return
    distribution = context.prefix.find(name)
    package = context.prefix.conda_package(name)
    file = str(distribution.folder if distribution else package.file if package else "")
    a, b = parsed(have), parsed(wanted[0])
    near = a is not None and b is not None and a.release[:2] == b.release[:2]
    yield Problem(
        "warning" if near else "error",
        tr("{name} {have} does not go with torch {torch}", name=name, have=have, torch=torch),
        name,
        (Found("torch", torch), Found(name, have, file), Found(tr("made for it"), joined(wanted))),
        (_trio_install(context, name, wanted),),
    )


def _trio_install(context: Context, name: str, wanted: tuple[str, ...]) -> Command:
    index = pytorch_index(context, context.builds["torch"].cuda) if "torch" in context.builds else ""
    return fixes.install(context, (f"{name}={wanted[-1]}",), (f"{name}=={wanted[0]}",), index=index)


def pytorch_index(context: Context, cuda: str | None) -> str:
    """PyTorch's own index for builds that the Python package index does not have, empty when it has them."""
    release = matrix.release(_torch(context))
    system = platforms.system_of(context.prefix.platform)
    if cuda is None or release is None or system is None or not system.cuda:
        return ""
    if cuda == (release.index_cuda if platforms.index_cuda(context.prefix.platform) else ""):
        return ""
    return f"https://download.pytorch.org/whl/{'cu' + cuda.replace('.', '') if cuda else 'cpu'}"


def torchvision_pair(context: Context) -> Iterator[Problem]:
    """Each torchvision is compiled against one torch. With another one `import torchvision` stops with
    `operator torchvision::nms does not exist` or an undefined symbol. `pip install torchvision` without a
    version takes the newest and may replace torch to suit it."""
    release = matrix.release(_torch(context))
    yield from _pair(context, "torchvision", release.vision if release else ())


def torchaudio_pair(context: Context) -> Iterator[Problem]:
    """Each torchaudio is compiled against one torch; with another one `import torchaudio` stops with an
    undefined symbol. The two have the same number since 2.1; before, torchaudio 2.0.2 belongs to torch
    2.0.1."""
    release = matrix.release(_torch(context))
    yield from _pair(context, "torchaudio", release.audio if release else ())


def unknown_torch(context: Context) -> Iterator[Problem]:
    """This version of torch is not in the doctor's table, so its partners, its CUDA builds and the GPUs that
    it serves were not checked. A newer d2lenv may know it."""
    version = context.version("torch")
    if version and matrix.release(version) is None:
        yield Problem(
            "not-checked",
            tr(
                "torch {version} is not in the table (1.12.0 to {newest})",
                version=version,
                newest=list(matrix.RELEASES)[-1],
            ),
            "torch",
            (Found("torch", version),),
        )


def python_for_torch(context: Context) -> Iterator[Problem]:
    """PyTorch is published for a few Python versions at a time. For a Python that is newer or older pip
    finds no file (`No matching distribution found for torch`) and an installed copy was made for another
    Python."""
    torch, minor = _torch(context), context.prefix.python_minor
    release = matrix.release(torch)
    distribution = context.prefix.find("torch")
    if release is None or not minor or distribution is None or distribution.source not in ("pip", "uv"):
        return
    first, last = release.pythons
    if not Version(first) <= Version(minor) <= Version(last):
        yield Problem(
            "error",
            tr(
                "torch {torch} is made for Python {first} to {last}, this is {have}",
                torch=torch,
                first=first,
                last=last,
                have=minor,
            ),
            "torch",
            (
                from_distribution(distribution),
                Found("Python", context.prefix.python_version, str(context.prefix.python or "")),
            ),
            (Command(("uv", "venv", "--python", last, f"{context.prefix.path}-{last}")),),
        )


def cpu_build(context: Context) -> Iterator[Problem]:
    """This torch was built without CUDA, so `torch.cuda.is_available()` is False whatever the driver says.
    On Windows and macOS pip installs this build unless it is given PyTorch's own index; in conda
    `pytorch-cuda` alone does not keep the solver from choosing it."""
    build = context.builds.get("torch")
    system = platforms.system_of(context.prefix.platform)
    if build is None or build.cuda != "" or (system is not None and not system.cuda):
        return
    wanted = [p for p in (context.prefix.conda_package("pytorch-cuda"),) if p]
    mutex = context.prefix.conda_package("pytorch-mutex")
    if mutex is not None and mutex.build == "cuda":
        wanted.append(mutex)
    gpu = context.gpu.devices
    if not wanted and (not gpu or _cpu_on_purpose(context)):
        return
    torch = _torch(context)
    asked = wanted[0].version if wanted and wanted[0].name == "pytorch-cuda" else ""
    yield Problem(
        "error" if wanted else "warning",
        tr("torch {version} is a CPU build, but CUDA is wanted", version=build.version),
        "torch",
        (
            Found("torch", build.version, str(build.file)),
            *(Found(p.name, f"{p.version} {p.build}", str(p.file)) for p in wanted),
            *(Found(device.name) for device in gpu[:1]),
        ),
        tuple(_with_cuda(context, torch, asked)),
    )


def _cpu_on_purpose(context: Context) -> bool:
    mutex = context.prefix.conda_package("pytorch-mutex")
    asked = context.prefix.conda_package("cpuonly") or (mutex is not None and mutex.build == "cpu")
    return bool(asked) or (context.expected is not None and _locked_for_cpu(context.expected))


def _locked_for_cpu(expected: Expected) -> bool:
    """Return True if the lock has a CPU build of PyTorch there."""
    for package in expected.packages:
        if package.name == "pytorch":
            return "cuda" not in package.build
        if package.name == "torch":
            return package.version.endswith("+cpu") or not platforms.index_cuda(expected.platform)
    return False


def _with_cuda(context: Context, torch: str, asked: str) -> Iterator[Command]:
    release, platform = matrix.release(torch), context.prefix.platform
    if release is None or not release.vision:
        return
    gpus = context.gpu.devices
    cuda = asked or matrix.cuda_for(torch, gpus[0].capability if gpus else None, platform)
    if not cuda or not matrix.has_build(torch, cuda, platform):
        return
    if context.prefix.kind == "conda":
        conda = matrix.conda_specs(torch, cuda, platform)
        if conda:
            yield fixes.conda_install(context, *conda, channels=fixes.torch_channels(torch))
        return
    tag = "+cu" + cuda.replace(".", "")
    pip = [f"torch=={torch}{tag}", f"torchvision=={release.vision[0]}{tag}"]
    if context.version("torchaudio") and release.audio:
        pip.append(f"torchaudio=={release.audio[0]}{tag}")
    yield fixes.pip_install(context, *pip, index=f"https://download.pytorch.org/whl/{tag[1:]}")


def cuda_unwanted(context: Context) -> Iterator[Problem]:
    """`cpuonly` was asked for, but the torch that is installed is a CUDA build: it runs, and takes several
    gigabytes of libraries that nothing here can use."""
    build = context.builds.get("torch")
    asked = context.prefix.conda_package("cpuonly")
    if build is not None and build.cuda and asked is not None:
        yield Problem(
            "warning",
            tr("torch {version} is a CUDA build beside `cpuonly`", version=build.version),
            "torch",
            (
                Found("torch", f"{build.version} CUDA {build.cuda}", str(build.file)),
                Found("cpuonly", asked.version, str(asked.file)),
            ),
            (
                fixes.conda_install(
                    context, f"pytorch={_torch(context)}=*cpu*", "cpuonly", channels=("pytorch",)
                ),
            ),
        )


def builds_differ(context: Context) -> Iterator[Problem]:
    """torch and its companions were built for different CUDA versions, for instance `+cpu` beside `+cu117`.
    torchvision's GPU operators then fail with `Could not run 'torchvision::nms' with arguments from the
    'CUDA' backend`, and newer versions refuse to import."""
    known = {name: build for name, build in context.builds.items() if build.cuda is not None}
    torch = known.get("torch")
    if torch is None:
        return
    other = [name for name, build in known.items() if build.cuda != torch.cuda]
    if not other:
        return
    release = matrix.release(_torch(context))
    wanted = {"torchvision": release.vision, "torchaudio": release.audio} if release else {}
    specs = tuple(
        f"{name}=={wanted[name][0] if wanted.get(name) else context.version(name)}" for name in other
    )
    conda = tuple(
        spec.replace("==", "=") + (f"=*cu{torch.cuda.replace('.', '')}*" if torch.cuda else "=*cpu*")
        for spec in specs
    )
    local = f"+{'cu' + torch.cuda.replace('.', '') if torch.cuda else 'cpu'}"
    index = pytorch_index(context, torch.cuda)
    if context.prefix.kind == "conda":
        fix = fixes.conda_install(context, *conda, channels=("pytorch",))
    else:
        # Without --force-reinstall the same version of another build counts as installed.
        pip = tuple(spec + (local if index else "") for spec in specs)
        fix = fixes.pip_install(context, *pip, index=index, options=("--force-reinstall", "--no-deps"))
    yield Problem(
        "error",
        tr(
            "builds for different CUDA versions: {names}",
            names=joined(f"{n} {_cuda(b.cuda)}" for n, b in known.items()),
        ),
        other[0],
        tuple(Found(name, build.version, str(build.file)) for name, build in known.items()),
        (fix,),
    )


def _cuda(cuda: str | None) -> str:
    return f"CUDA {cuda}" if cuda else "CPU"


def numpy_major(context: Context) -> Iterator[Problem]:
    """numpy 2 changed the layout that compiled code relies on. torch before 2.3 was compiled for numpy 1:
    with numpy 2 it warns `_ARRAY_API not found`, and `tensor.numpy()` fails with `Numpy is not
    available`. Some other package's `pip install` usually brought the new numpy along."""
    torch, numpy = parsed(_torch(context)), parsed(context.version("numpy"))
    if torch is None or numpy is None or numpy.major < 2 or torch >= Version("2.3"):
        return
    pinned = (
        "1.21.5"
        if context.version("d2l").startswith("0.17")
        else "1.23.5"
        if context.version("d2l").startswith("1.")
        else ""
    )
    distribution = context.prefix.find("numpy")
    yield Problem(
        "error",
        tr("numpy {numpy} with torch {torch}, which was built for numpy 1", numpy=numpy, torch=torch),
        "numpy",
        (
            Found("torch", str(torch)),
            from_distribution(distribution) if distribution else Found("numpy", str(numpy)),
        ),
        (
            fixes.install(
                context,
                (f"numpy={pinned}" if pinned else "numpy<2",),
                (f"numpy=={pinned}" if pinned else "numpy<2",),
            ),
        ),
    )


def mkl_symbol(context: Context) -> Iterator[Problem]:
    """mkl 2024.1 dropped a function that conda's PyTorch before 2.4 is linked with: `import torch` stops with
    `undefined symbol: iJIT_NotifyEvent` (pytorch/pytorch#123097). mkl 2024.0 still has it."""
    mkl, pytorch = context.prefix.conda_package("mkl"), context.prefix.conda_package("pytorch")
    if mkl is None or pytorch is None or pytorch.channel == "conda-forge":
        return
    have, torch = parsed(mkl.version), parsed(pytorch.version)
    if have is not None and torch is not None and have >= _MKL_WITHOUT_SYMBOL and torch < _TORCH_FREE_OF_IT:
        yield Problem(
            "error",
            tr("mkl {mkl} is too new for conda's PyTorch {torch}", mkl=mkl.version, torch=pytorch.version),
            "mkl",
            (Found("mkl", mkl.version, str(mkl.file)), Found("pytorch", pytorch.version, str(pytorch.file))),
            (fixes.conda_install(context, "mkl<2024.1"),),
        )


def jpeg_libraries(context: Context) -> Iterator[Problem]:
    """`jpeg` and `libjpeg-turbo` are two builds of the same library and write the same files. torchvision
    0.15 from the pytorch channel wants the first, pillow 9.5 and newer the second; with both, or without
    the one that it wants, `import torchvision` or `from PIL import Image` fails. pillow before 9.5 goes
    with `jpeg`."""
    jpeg, turbo = context.prefix.conda_package("jpeg"), context.prefix.conda_package("libjpeg-turbo")
    vision = context.prefix.conda_package("torchvision")
    wants = vision is not None and any(item.split(" ")[0] == "jpeg" for item in vision.depends)
    if (jpeg is None or turbo is None or turbo.channel == "pytorch") and not (wants and jpeg is None):
        return
    found = [p for p in (vision, jpeg, turbo) if p is not None]
    yield Problem(
        "error" if wants and jpeg is None else "warning",
        tr("torchvision and pillow want different JPEG libraries"),
        "jpeg",
        tuple(Found(p.name, f"{p.version} {p.build}", str(p.file)) for p in found),
        (fixes.conda_install(context, "jpeg", "pillow<9.5"),),
    )


def pkg_resources(context: Context) -> Iterator[Problem]:
    """setuptools 82 removed the module `pkg_resources`, and setuptools 70 left out the part of it that torch
    before 2.1 imports when it compiles something (`torch.compile`, `torch.utils.cpp_extension`). The
    notebooks of the books compile nothing. 71 to 81 have it."""
    setuptools = context.prefix.find("setuptools")
    have = parsed(setuptools.version) if setuptools else None
    away = have is not None and _PACKAGING_AWAY[0] <= have < _PACKAGING_AWAY[1]
    if setuptools is None or have is None or (have < _PKG_RESOURCES_GONE and not away):
        return
    torch = parsed(_torch(context))
    if torch is not None and torch < _NEEDS_NO_PKG_RESOURCES:
        yield Problem(
            "info",
            tr(
                "setuptools {version} lacks pkg_resources, which torch before 2.1 needs to compile",
                version=have,
            ),
            "setuptools",
            (from_distribution(setuptools), Found("torch", str(torch))),
            (fixes.install(context, ("setuptools>=71,<82",), ("setuptools>=71,<82",)),),
        )


def compile_on_311(context: Context) -> Iterator[Problem]:
    """torch 2.0 has no `torch.compile` for Python 3.11: it raises `Python 3.11+ not yet supported for
    torch.compile`. Everything else works; torch 2.1 or Python 3.10 has it."""
    if _torch(context).startswith("2.0.") and context.prefix.python_minor == "3.11":
        yield Problem(
            "info",
            tr("torch.compile does not work with torch 2.0 on Python 3.11"),
            "torch",
            (Found("torch", _torch(context)), Found("Python", context.prefix.python_version)),
        )
