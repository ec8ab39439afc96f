"""What lies outside of the environment and is loaded instead of it: files of the reader's, variables."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from d2lenv.base.messages import tr
from d2lenv.doctor import fixes
from d2lenv.doctor.model import Command, Context, Found, Problem
from d2lenv.facts.names import LOADED_BY_NOTEBOOKS
from d2lenv.prefix.contents.text import open_file

# What the first cell of every notebook imports.
_IMPORTED = frozenset(
    {"d2l", "torch", "torchvision", "numpy", "matplotlib", "pandas", "PIL", "IPython", "requests"}
)
# The libraries that several places bring, and that must be the ones torch was linked with.
_LIBRARY = re.compile(
    r"lib(nvJitLink|cublas|cublasLt|cudnn\w*|cusparse|cusolver|cufft|curand|cudart|nccl|nvrtc|stdc\+\+"
    r"|torch\w*|c10\w*)"
    r"\.so(\.\d+)*"
)
_PLACES = ("nvidia/*/lib", "torch/lib")
_SYMBOLS_LIMIT = 8 << 20


def own_files(context: Context) -> Iterator[Problem]:
    """Python looks into the notebook's folder before everything else. A file of the reader's own there that
    is called like a module (`random.py`, `torch.py`, `d2l.py`) is imported instead of it: the kernel does not
    start, or the import says `partially initialized module` or `is not a package`."""
    found = [path for path in context.beside if _hides(path)]
    for path in found:
        name = path.name.removesuffix(".py")
        yield Problem(
            "error",
            tr(
                "`{file}` beside the notebooks is imported instead of the module {name}",
                file=path.name,
                name=name,
            ),
            "beside",
            (Found(path.name, "", str(path)),),
            (Command(text=tr("rename {file}, for instance to {other}", file=path, other=f"my_{path.name}")),),
        )


def _hides(path: Path) -> bool:
    name = path.name.removesuffix(".py")
    # The books' own repositories hold their d2l as a folder: that one is meant to be imported.
    package = not path.name.endswith(".py")
    if package and name == "d2l":
        return False
    return name in _IMPORTED or name in LOADED_BY_NOTEBOOKS


def library_path(context: Context) -> Iterator[Problem]:
    """LD_LIBRARY_PATH and LD_PRELOAD make the system load libraries from other folders before the ones that
    this environment brought. An older CUDA or C++ library there stops `import torch` with `undefined symbol:
    __nvJitLinkAddData`, `undefined symbol: cublasLt…` or `version GLIBCXX_3.4.… not found`."""
    if context.machine.system != "Linux":
        return
    for variable in ("LD_LIBRARY_PATH", "LD_PRELOAD"):
        shadows = list(_shadowing(context, variable))
        older = [pair for pair in shadows if _older(*pair)]
        if shadows:
            yield Problem(
                "error" if older else "warning",
                tr("{variable} puts other libraries before this environment's: {names}",
                   variable=variable, names=", ".join(sorted({path.name for path, _ in older or shadows}))),
                "libraries",
                tuple(Found(theirs.name, tr("instead of {file}", file=ours), str(theirs))
                      for theirs, ours in (older or shadows)[:6]),
                (fixes.unset(variable),),
            )  # fmt: skip


def _shadowing(context: Context, variable: str) -> Iterator[tuple[Path, Path]]:
    """Yield (their library, ours) for each library that ``variable`` puts before ours, unless it is newer."""
    prefix = context.prefix.path
    own = _own_libraries(context) if context.environ.get(variable) else {}
    for entry in re.split(r"[:; ]", context.environ.get(variable, "")) if own else ():
        place = Path(entry)
        if not entry or not place.is_absolute() or place.is_relative_to(prefix):
            continue
        try:
            theirs = [place] if variable == "LD_PRELOAD" else sorted(place.iterdir())
        except (OSError, ValueError):
            continue
        for path in theirs:
            ours = own.get(path.name)
            if ours is not None and path.exists() and not _same_or_newer(path, ours):
                yield path, ours


def _own_libraries(context: Context) -> dict[str, Path]:
    folders = [context.prefix.path / "lib"]
    for site in context.prefix.sites:
        folders += [folder for pattern in _PLACES for folder in sorted(site.folder.glob(pattern))]
    found: dict[str, Path] = {}
    for folder in folders:
        try:
            names = [entry.name for entry in os.scandir(folder)]
        except OSError:
            continue
        for name in names:
            if _LIBRARY.fullmatch(name):
                found.setdefault(name, folder / name)
    return found


def _same_or_newer(theirs: Path, ours: Path) -> bool:
    try:
        if theirs.samefile(ours):
            return True
    except OSError:
        return False
    a, b = _number(theirs), _number(ours)
    return bool(a and b and a >= b)


def _older(theirs: Path, ours: Path) -> bool:
    a, b = _number(theirs), _number(ours)
    return bool(a and b and a < b)


def _number(library: Path) -> tuple[int, ...]:
    """Return the version of a library, as its full name or, for libstdc++, its symbols tell, empty if
    unknown."""
    if library.name.startswith("libstdc++"):
        return _newest_symbol(library)
    parts = re.findall(r"\d{1,9}", library.resolve().name.partition(".so")[2])
    if len(parts) > 1:
        return tuple(map(int, parts))
    # A wheel's file has its major number only: the wheel has the rest.
    site = library.parents[min(3, len(library.parents) - 1)]
    wheel = library.parent.parent.name
    for folder in site.glob(f"nvidia_{wheel}_cu*.dist-info"):
        version = folder.name.removesuffix(".dist-info").rpartition("-")[2]
        return tuple(int(number) for number in re.findall(r"\d{1,9}", version))
    return ()


def _newest_symbol(library: Path) -> tuple[int, ...]:
    try:
        with open_file(library) as file:
            data: bytes = file.read(_SYMBOLS_LIMIT)
    except (OSError, ValueError):
        return ()
    found = re.findall(rb"GLIBCXX_3\.4\.(\d{1,3})\b", data)
    return (max(map(int, found)),) if found else ()


def plot_backend(context: Context) -> Iterator[Problem]:
    """MPLBACKEND names the program that draws matplotlib's figures, and that one is not here. PyCharm sets it
    to its own `backend_interagg` for whatever it starts: the first plot stops with `No module named
    'backend_interagg'`."""
    backend = context.environ.get("MPLBACKEND", "")
    module = backend.removeprefix("module://").partition(".")[0]
    if (
        not backend.startswith("module://")
        or not context.version("matplotlib")
        or module in _modules(context)
    ):
        return
    yield Problem(
        "warning",
        tr("MPLBACKEND names {module}, which this environment does not have", module=module),
        "backend",
        (Found("MPLBACKEND", backend),),
        (fixes.unset("MPLBACKEND"),),
    )


def _modules(context: Context) -> frozenset[str]:
    """Return what can be imported: the environment's modules and those of PYTHONPATH."""
    names = set(context.prefix.modules)
    for entry in context.environ.get("PYTHONPATH", "").split(os.pathsep):
        try:
            names.update(item.name.removesuffix(".py") for item in (os.scandir(entry) if entry else ()))
        except OSError:
            continue
    return frozenset(names)


def python_home(context: Context) -> Iterator[Problem]:
    """PYTHONHOME tells every Python where its own library is. It is right for one Python at most: another one
    that is started with it stops with `No module named 'encodings'` or takes the modules of another
    version."""
    home = context.environ.get("PYTHONHOME", "")
    if home:
        yield Problem(
            "error",
            tr("PYTHONHOME is set"),
            "python",
            (Found("PYTHONHOME", "", home),),
            (fixes.unset("PYTHONHOME"),),
        )


_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT")


def certificates(context: Context) -> Iterator[Problem]:
    """A variable names a file of certificates that does not exist, for instance one of an environment that
    was removed. Every download then fails (`Could not find a suitable TLS CA certificate bundle`,
    `FileNotFoundError`), in pip and in the notebooks."""
    for variable in _CERTIFICATES:
        value = context.environ.get(variable, "")
        if value and not os.path.lexists(value):
            yield Problem(
                "warning",
                tr("{name} names a file that does not exist", name=variable),
                "certificates",
                (Found(variable, "", value),),
                (fixes.unset(variable),),
            )


# Microsoft's C++ runtime, and PyTorch's forgotten library (pytorch/pytorch#131662, #169429).
_VC = "https://aka.ms/vs/17/release/vc_redist.x64.exe"
_RUNTIME = ("vcruntime140.dll", "vcruntime140_1.dll", "msvcp140.dll")


def windows_libraries(context: Context) -> Iterator[Problem]:
    """torch for Windows needs libraries that Windows does not have by itself: Microsoft's C++ runtime, and
    for 2.4.0 also `libomp140.x86_64.dll`, which PyTorch forgot to pack. `import torch` stops with `WinError
    126`, naming `fbgemm.dll`, `c10.dll` or `shm.dll`. Which version of the runtime is there was not looked
    at: torch 2.9 and newer stop with `WinError 1114` where it is too old, and the same installer mends
    that."""
    torch, prefix = context.prefix.find("torch"), context.prefix
    if (
        context.machine.system != "Windows"
        or torch is None
        or torch.conda
        or not prefix.platform.startswith("win")
    ):
        return
    system = Path(context.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32"
    folders = (system, prefix.path, prefix.path / "Scripts", torch.site / "torch" / "lib")
    wanted = (*_RUNTIME, *(("libomp140.x86_64.dll",) if context.version("torch") == "2.4.0" else ()))
    absent = [name for name in wanted if not any((folder / name).exists() for folder in folders)]
    if not absent:
        return
    omp = absent == ["libomp140.x86_64.dll"]
    yield Problem(
        "error",
        tr("torch {version} needs {names}, which this Windows does not have",
           version=torch.version, names=", ".join(absent)),
        "torch",
        tuple(Found(name, "", str(system / name)) for name in absent),
        (fixes.pip_install(context, "torch==2.4.1", "torchvision==0.19.1"),) if omp
        else (Command(text=tr("install Microsoft's C++ runtime and restart: {url}", url=_VC)),),
    )  # fmt: skip
