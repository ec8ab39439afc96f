"""The engines by name, for stages that build nothing.

Another engine is a row here and one in ``engines/find.py``; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Packages = Literal["conda", "wheels"]
"""``conda``: the records of pixi.lock; ``wheels``: those of a requirements file."""

PACKAGES: Mapping[str, Packages] = {"pixi": "conda", "rattler": "conda", "wheels": "wheels"}
"""Engine → the packages that it installs, in the order in which ``auto`` tries the engines."""
