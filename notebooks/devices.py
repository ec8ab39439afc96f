"""The GPU functions of d2l on the devices that are there: NVIDIA's, else Apple's (MPS), else the CPU.

The book's `d2l.try_gpu`, `gpu`, `num_gpus` and `try_all_gpus` know `cuda:0`, `cuda:1` … only. In d2l 1.0.3
`try_all_gpus()` is an empty list without a GPU, though its description promises the CPU. Copy this file
anywhere:

    import devices
    devices.use()

Nothing of d2l's files is changed, only the functions in this process. With an NVIDIA GPU they answer as
before. `d2lenv lab`, `smoke` and `books run` do the same with `--devices any`.

让 d2l 的 GPU 函数使用现有的设备：先找 NVIDIA GPU，再找苹果 GPU（MPS），都没有就用 CPU。
只替换本进程里的函数，不改动 d2l 的文件；有 NVIDIA GPU 时结果与原来相同。只需要 Python 3.9 以上。
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import FunctionType, ModuleType
from typing import Any

_MODULE = "d2l.torch"
_MARK = "device_fallbacks"


def use() -> None:
    """Replace the functions in `d2l.torch`: now if it is imported, else as soon as it is."""
    if _MODULE in sys.modules:
        _replace(sys.modules[_MODULE])
    else:
        sys.meta_path.insert(0, _WhenImported())


def on() -> bool:
    """Return True if the functions in `d2l.torch` are those of this file."""
    return hasattr(sys.modules.get(_MODULE), _MARK)


def cpu() -> Any:
    """Return the CPU."""
    import torch  # imported late: this file is loaded before a notebook's first cell

    return torch.device("cpu")


def num_gpus() -> int:
    """Return how many GPUs there are: NVIDIA's, else one if PyTorch computes on Apple's."""
    import torch

    mps = getattr(torch.backends, "mps", None)
    return int(torch.cuda.device_count()) or int(mps is not None and mps.is_available())


def gpu(i: int = 0) -> Any:
    """Return GPU `i`; without any NVIDIA GPU, Apple's for 0 and the CPU for others."""
    import torch

    if torch.cuda.device_count() > 0:
        return torch.device(f"cuda:{i}")
    return torch.device(f"mps:{i}") if i < num_gpus() else cpu()


def try_gpu(i: int = 0) -> Any:
    """Return GPU `i` if it exists, otherwise the CPU."""
    return gpu(i) if i < num_gpus() else cpu()


def try_all_gpus() -> list[Any]:
    """Return every GPU, or a list with the CPU if there is none."""
    return [gpu(i) for i in range(num_gpus())] or [cpu()]


def _replace(module: ModuleType) -> None:
    """Replace the functions that this release of d2l has, and what it has computed with them already."""
    for function in (num_gpus, gpu, try_gpu, try_all_gpus):
        if hasattr(module, function.__name__):
            setattr(module, function.__name__, function)
    # `train_ch13(…, devices=d2l.try_all_gpus())`: Python has called it when d2l was imported.
    for function in [value for value in vars(module).values() if isinstance(value, FunctionType)]:
        if function.__module__ == _MODULE and "devices" in (names := _names_of_defaults(function)):
            values = dict(zip(names, function.__defaults__ or ()))
            function.__defaults__ = tuple({**values, "devices": try_all_gpus()}.values())
    setattr(module, _MARK, True)


def _names_of_defaults(function: FunctionType) -> list[str]:
    """Return the parameters to which `function.__defaults__` belong."""
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind in positional and parameter.default is not inspect.Parameter.empty
    ]


class _WhenImported(MetaPathFinder):
    """Finds `d2l.torch` where Python would, and replaces its functions after it has been executed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target) if fullname == _MODULE else None
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_replace(module: ModuleType) -> None:
                execute(module)
                _replace(module)

            spec.loader.exec_module = execute_and_replace  # type: ignore[method-assign]
        return spec
