"""The families of GPUs as people buy them: names, compute capabilities, and what a person types for one.

Capabilities: developer.nvidia.com/cuda-gpus and its list of older ones. Apple's are PyTorch's MPS backend.
AMD's and Intel's need builds of PyTorch (ROCm, XPU) that no environment here has. Looked at 2026-11-24.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Maker = Literal["NVIDIA", "Apple", "AMD", "Intel", ""]


@dataclass(frozen=True)
class Family:
    """A family of GPUs.

    Attributes:
        name: as its maker calls it, empty for a machine without a GPU.
        maker: empty for a machine without a GPU.
        capabilities: of NVIDIA's, oldest first.
        examples: for tables.
        words: what people type for one of them: a pattern in lower case.
    """

    name: str
    maker: Maker
    capabilities: tuple[tuple[int, int], ...]
    examples: str
    words: str

    @property
    def title(self) -> str:
        """Return its name, with the maker's where that says more."""
        return self.name or "CPU"


_TI = r"( ti)?( super)?"

FAMILIES = (
    Family(
        "Maxwell", "NVIDIA", ((5, 0), (5, 2)), "GTX 750, 9xx, M40", rf"gtx (750|9\d0){_TI}|(tesla )?m[46]0"
    ),
    Family("Pascal", "NVIDIA", ((6, 0), (6, 1)), "GTX 10xx, P100", rf"gtx 10\d0{_TI}|(tesla )?p(4|40|100)"),
    Family("Volta", "NVIDIA", ((7, 0),), "V100, Titan V", r"(tesla )?v100|titan v"),
    Family(
        "Turing", "NVIDIA", ((7, 5),), "RTX 20xx, GTX 16xx, T4", rf"rtx 20\d0{_TI}|gtx 16\d0{_TI}|(tesla )?t4"
    ),
    Family("Ampere", "NVIDIA", ((8, 0), (8, 6)), "RTX 30xx, A100", rf"rtx 30\d0{_TI}|a(2|10|16|30|40|100)"),
    Family("Ada", "NVIDIA", ((8, 9),), "RTX 40xx, L4, L40", rf"rtx 40\d0{_TI}|l(4|40|40s)"),
    Family("Hopper", "NVIDIA", ((9, 0),), "H100, H200", r"g?h(20|100|200|800)"),
    Family("Blackwell", "NVIDIA", ((10, 0), (12, 0)), "RTX 50xx, B200", rf"rtx 50\d0{_TI}|g?b[23]00"),
    Family("Apple", "Apple", (), "M1, M2, …", r"mps|m[1-9]( (pro|max|ultra))?"),
    Family("AMD", "AMD", (), "Radeon", r"radeon.*|rx \d.*|mi\d.*"),
    Family("Intel", "Intel", (), "Arc", r"arc.*|iris.*|xe.*"),
    Family("", "", (), "", r"cpu|none|no"),
)
"""Oldest first for each maker; the last one is a machine without a GPU."""


def family_of(capability: tuple[int, int]) -> str:
    """Return the name of NVIDIA's family that a compute capability belongs to, empty before Maxwell."""
    older = [(known, one.name) for one in FAMILIES for known in one.capabilities if known <= capability]
    return max(older)[1] if older else ""


def named(words: str) -> tuple[Family, tuple[tuple[int, int], ...]] | None:
    """Return the family that a person means and the capabilities that it may have, None for unknown words.

    Args:
        words: ``RTX 4090``, ``rtx-4090``, ``sm_89``, ``8.9``, ``Ada``, ``M2``, ``AMD``, ``cpu``.
    """
    text = re.sub(r"[\s_-]+", " ", re.sub(r"geforce|nvidia", "", words.lower())).strip()
    if found := re.fullmatch(r"(?:sm )?(\d{1,2})\.?(\d)", text):
        capability = (int(found[1]), int(found[2]))
        name = family_of(capability)
        return next(((one, (capability,)) for one in FAMILIES if name and one.name == name), None)
    for family in FAMILIES:
        if text == family.name.lower() != "" or re.fullmatch(family.words, text):
            return family, family.capabilities
    return None
