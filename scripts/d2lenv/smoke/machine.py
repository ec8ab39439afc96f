"""The cores and the memory that kernels may use, a container's limits counted in."""

from __future__ import annotations

import math
import os
from pathlib import Path

import psutil

# What a kernel with PyTorch, torchvision and d2l imported holds, with room for its children: 0.5 GiB
# measured for torch 2.0.1 on Linux without a GPU.
_MEMORY_PER_KERNEL = 1536 * 2**20


def cores() -> int:
    """Processor cores that this process may use, a container's limit counted in; at least 1."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        count = os.cpu_count() or 1
    quota = _first_words("/sys/fs/cgroup/cpu.max")
    if len(quota) == 2 and quota[0].isdigit() and int(quota[1]) > 0:
        count = min(count, math.ceil(int(quota[0]) / int(quota[1])))
    return max(1, count)


def memory() -> int:
    """Bytes that can be had without swapping, a container's limit counted in."""
    available: int = psutil.virtual_memory().available
    limit, used = _first_words("/sys/fs/cgroup/memory.max"), _first_words("/sys/fs/cgroup/memory.current")
    if limit and used and limit[0].isdigit():
        available = min(available, int(limit[0]) - int(used[0]))
    return available


def choose_jobs(notebooks: int) -> int:
    """Return how many kernels to run at once: one for each core as far as memory goes."""
    return max(1, min(notebooks, cores(), memory() // _MEMORY_PER_KERNEL))


def oom_kills() -> int:
    """How often this Linux has killed a process for want of memory since it started; 0 elsewhere."""
    words = _first_words("/proc/vmstat")
    return int(words[words.index("oom_kill") + 1]) if "oom_kill" in words else 0


def _first_words(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError):
        return []
