"""Every entry of ``d2l.torch`` that needs no network, in two environments: a look for before a release.

    python tests/looks/d2l_entries/compare.py .d2lenv/cuda-wheels .d2lenv/modern-wheels-py313

Exit status 1 when an entry works in one of them alone, or gives other numbers. An entry that fails in both
with the same error is no difference, and is named. Numbers may differ by 1e-4, relative, as libraries do.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

from d2lenv.base.process import run

CHILD = Path(__file__).with_name("child.py")
TOLERANCE = 1e-4


def answers(prefix: Path) -> dict[str, Any]:
    done = run([prefix.absolute() / "bin" / "python", "-s", CHILD], timeout_s=600, cwd=Path("/"))
    if done.returncode != 0:
        sys.exit(f"{prefix}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def same(one: list[float], other: list[float]) -> bool:
    return len(one) == len(other) and all(
        math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE) or (math.isnan(a) and math.isnan(b))
        for a, b in zip(one, other, strict=True)
    )


def kind(error: str) -> str:
    return error.partition(":")[0]


def main() -> int:
    first, second = (answers(Path(word)) for word in sys.argv[1:3])
    different = 0
    for name in sorted(first["found"].keys() | second["found"].keys()):
        one, other = first["found"][name], second["found"][name]
        if kind(one["error"]) != kind(other["error"]):
            different += 1
            print(f"DIFFERS {name}: {one['error'] or 'works'} | {other['error'] or 'works'}")
        elif one["error"]:
            print(f"fails in both: {name}: {one['error']}")
        elif not same(one["numbers"], other["numbers"]):
            different += 1
            print(f"DIFFERS {name}: {one['numbers'][:6]} | {other['numbers'][:6]}")
    for found in (first, second):
        works = sum(not one["error"] for one in found["found"].values())
        print(
            f"torch {found['torch']}, Python {found['python']}: {works} of {len(found['found'])} work, "
            f"of {found['entries']} entries; not run: {len(found['left'])} "
            f"({', '.join(sorted(set(found['left'].values())))})"
        )
    print(f"{different} differ")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
