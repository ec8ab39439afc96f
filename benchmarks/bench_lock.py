"""How long `d2lenv check` and a full offline `d2lenv lock` take, beside a plain YAML parser on the same lock.

    python benchmarks/bench_lock.py [SNAPSHOT]

SNAPSHOT (default: D2LENV_SNAPSHOT, then ../shared/channels) holds <channel>/<subdir>/repodata.json. Exit
status 1 when a bound is missed or nothing could be timed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import yaml
from timing import Timed, report, timed

from d2lenv.workspace import lockfile

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "pixi.lock"

CHECK_BOUND_S = 2.0
LOCK_BOUND_S = 30.0


def d2lenv(*words: str) -> None:
    """The real command, its process start included."""
    subprocess.run(
        [sys.executable, "-m", "d2lenv", *words], check=True, capture_output=True, timeout=600, cwd=ROOT
    )


def parse_yaml(loader: type[yaml.SafeLoader]) -> None:
    with LOCK.open(encoding="utf-8") as file:
        yaml.load(file, Loader=loader)


def lock_from_nothing(snapshot: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "pixi.toml").write_bytes((ROOT / "pixi.toml").read_bytes())
        d2lenv("--workspace", folder, "lock", "--no-wheels", "--snapshot", str(snapshot))


def main() -> int:
    given = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("D2LENV_SNAPSHOT", "")
    snapshot = Path(given).resolve() if given else ROOT.parent / "shared" / "channels"
    rows: list[Timed] = [
        timed("d2lenv check", lambda: d2lenv("check"), bound_s=CHECK_BOUND_S),
        timed("d2lenv check --solve", lambda: d2lenv("check", "--solve")),
    ]
    if snapshot.is_dir():
        again = ("lock", "--no-wheels", "--snapshot", str(snapshot))
        rows += [
            timed("d2lenv lock, from nothing", partial(lock_from_nothing, snapshot), bound_s=LOCK_BOUND_S),
            timed("d2lenv lock, nothing to change", lambda: d2lenv(*again), bound_s=LOCK_BOUND_S),
        ]
    else:
        print(f"d2lenv lock: not timed, no channel snapshot at {snapshot}")
    rows.append(timed("read the lock: py-rattler", lambda: lockfile.read(LOCK)))
    if hasattr(yaml, "CSafeLoader"):
        rows.append(timed("read the lock: PyYAML, libyaml", lambda: parse_yaml(yaml.CSafeLoader)))
    else:
        print("PyYAML has no C loader here: not timed")
    rows.append(timed("read the lock: PyYAML, pure Python", lambda: parse_yaml(yaml.SafeLoader), runs=3))
    return report(rows)


if __name__ == "__main__":
    sys.exit(main())
