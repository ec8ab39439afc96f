"""Change a real environment in hundreds of ways, and look which of them `d2lenv verify` finds.

    python benchmarks/tamper [--environment cuda] [--seed 1] [--count 330] [--single] [--plain]

The environment is built in .d2lenv/, used once so that it has compiled files, and removed at the end. The
named changes are verified one by one; the drawn ones, of which no two touch the same path, fifty at a time
(`--single`: one by one too). Exit status 1 when one is neither found nor in the list of docs/fingerprint.md.

A digest is computed once for each inode and time of its last change (which no program can set), so that a
run takes minutes; `--plain` reads everything each time.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from drawn import RANDOM, Tampering
from named import NAMED
from sandbox import Sandbox

from d2lenv.base.errors import D2lEnvError
from d2lenv.base.messages import printable
from d2lenv.engines import build
from d2lenv.prefix import baseline, scan
from d2lenv.prefix.scan import Entry
from d2lenv.verify.prefix import files, verification
from d2lenv.workspace import manifest

ROOT = Path(__file__).resolve().parents[2]
HARMLESS = ROOT / "docs" / "fingerprint.md"
BATCH = 50
# A change of these decides with what other paths are compared.
ALONE = re.compile(r".*\.dist-info(/.*)?|pyvenv\.cfg|d2lenv\.json")

Drawn = tuple[Tampering, str]


class Memory:
    """The digests of the files that were not touched since they were read."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int, int], str] = {}

    def digests(
        self, root: Path, entries: Iterable[Entry], progress: Callable[[int], None]
    ) -> tuple[dict[str, str], dict[str, str]]:
        """Stand in for :func:`d2lenv.prefix.scan.digests`."""
        marks = {entry: _mark(root / entry.path) for entry in entries}
        unread = [entry for entry, mark in marks.items() if mark not in self._known]
        found, failed = scan.digests(root, unread, progress)
        self._known |= {marks[entry]: found[entry.path] for entry in unread if entry.path in found}
        known = {entry.path: self._known[mark] for entry, mark in marks.items() if mark in self._known}
        return known, failed


def _mark(path: Path) -> tuple[int, int, int]:
    status = path.lstat()
    return status.st_dev, status.st_ino, status.st_ctime_ns


class Judge:
    """Runs `verify` on the sandbox and counts what it said."""

    def __init__(self, box: Sandbox, environment: str) -> None:
        self._box = box
        self._environment = environment
        self._workspace = manifest.load(ROOT)
        self._page = HARMLESS.read_text(encoding="utf-8")
        self.table: dict[str, Counter[str]] = defaultdict(Counter)
        self.missed: list[str] = []

    def findings(self, *, quick: bool) -> list[str] | None:
        """Return the paths that were found; None if verify refused the whole prefix."""
        try:
            found = verification.verify(
                self._workspace, str(self._box.root), {}, environment=self._environment, quick=quick
            )
        except D2lEnvError:
            return None
        return [finding.path for finding in found.findings]

    def judge(self, batch: Sequence[Drawn]) -> None:
        touched: list[tuple[Tampering, list[str]]] = []
        for tampering, path in batch:
            before = len(self._box.touched)
            tampering.apply(self._box, path)
            touched.append((tampering, self._box.touched[before:]))
        fully, quickly = self.findings(quick=False), self.findings(quick=True)
        self._box.restore()
        for tampering, paths in touched:
            self._count(tampering, paths, fully, quickly)

    def _count(
        self, tampering: Tampering, paths: list[str], fully: list[str] | None, quickly: list[str] | None
    ) -> None:
        if _is_among(paths, fully):
            verdict = "found"
        elif tampering.harmless:
            assert tampering.harmless in self._page, tampering.harmless
            verdict = "harmless"
        else:
            verdict = "MISSED"
            self.missed.append(f"{tampering.name}: {paths}")
        self.table[tampering.name][verdict] += 1
        if tampering.quick and not tampering.harmless:
            found = _is_among(paths, quickly)
            self.table[tampering.name]["quick" if found else "QUICK MISSED"] += 1
            if not found:
                self.missed.append(f"--quick, {tampering.name}: {paths}")

    def show(self, title: str, names: Sequence[Tampering]) -> None:
        print(f"\n{title:56} {'tried':>6} {'found':>6} {'harmless':>9} {'missed':>7} {'--quick found':>14}")
        for name in dict.fromkeys(tampering.name for tampering in names):
            row = self.table[name]
            if not row:
                continue
            tried = row["found"] + row["harmless"] + row["MISSED"]
            of = row["quick"] + row["QUICK MISSED"]
            quick = f"{row['quick']} of {of}" if of else "-"
            cells = f"{tried:>6} {row['found']:>6} {row['harmless']:>9} {row['MISSED']:>7}"
            print(f"{printable(name):56} {cells} {quick:>14}")


def _is_among(paths: list[str], found: list[str] | None) -> bool:
    if found is None:
        return True
    # The baseline lies beside the prefix: what is wrong with it shows at the prefix's own entries.
    beside = any(path.startswith("../") for path in paths) and bool(found)
    return beside or any(one == path or one.startswith(f"{path}/") for path in paths for one in found)


def draw(root: Path, seed: int, count: int) -> Iterator[Drawn]:
    """Yield changes and the entries that they are for; every kind of change equally often."""
    chance = random.Random(seed)
    entries = scan.scan(root).entries
    kinds: dict[str, list[str]] = defaultdict(list)
    for path, entry in entries.items():
        if path.endswith(".pyc") and "/__pycache__/" in path:
            kinds["compiled"].append(path)
        elif not path.endswith("__pycache__") and (entry.kind != "folder" or path.count("/") > 2):
            kinds[entry.kind].append(path)
    order = list(RANDOM) * (count // len(RANDOM) + 1)
    chance.shuffle(order)
    for tampering in order[:count]:
        yield tampering, chance.choice(kinds[tampering.kind])


def batches(drawn: Sequence[Drawn], size: int) -> Iterator[list[Drawn]]:
    """Group changes so that none is within what another touches, and compiled files by themselves."""
    groups: list[list[Drawn]] = []
    for tampering, path in drawn:
        alone = ALONE.fullmatch(path)
        for group in groups:
            fits = all(
                _apart(path, other) and (one.kind == "compiled") == (tampering.kind == "compiled")
                for one, other in group
            )
            if not alone and len(group) < size and fits and not ALONE.fullmatch(group[0][1]):
                group.append((tampering, path))
                break
        else:
            groups.append([(tampering, path)])
    yield from groups


def _apart(one: str, other: str) -> bool:
    return not f"{one}/".startswith(f"{other}/") and not f"{other}/".startswith(f"{one}/")


def made(environment: str, folder: Path) -> Sandbox:
    """Build the environment and run it once."""
    place = folder.with_name(f"{folder.name}-{environment}")
    built = build.build(manifest.load(ROOT), environment, engine="wheels", prefix=place, say=print)
    code = "import sys; sys.dont_write_bytecode = False; import d2l, idna, requests, IPython"
    subprocess.run([built.python, "-c", code], check=True, timeout=300)
    (folder / "attic").mkdir(parents=True)
    return Sandbox(built.prefix, folder / "attic")


def told(number: int, of: int, name: str) -> None:
    """Say on standard error how far the run is."""
    print(f"{number}/{of} {printable(name)}", file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--environment", default="cuda")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=330)
    parser.add_argument("--single", action="store_true")
    parser.add_argument("--plain", action="store_true")
    return parser.parse_args()


def main() -> int:
    asked = arguments()
    folder = ROOT / ".d2lenv" / "tamper"
    shutil.rmtree(folder, ignore_errors=True)
    start = time.monotonic()
    box = made(asked.environment, folder)
    judge = Judge(box, asked.environment)
    if not asked.plain:
        files.digests = Memory().digests
    try:
        assert judge.findings(quick=False) == [], "the untouched environment is not clean"
        assert judge.findings(quick=True) == [], "the untouched environment is not clean (--quick)"
        for number, tampering in enumerate(NAMED, 1):
            told(number, len(NAMED), tampering.name)
            judge.judge([(tampering, "")])
        drawn = list(draw(box.root, asked.seed, asked.count))
        groups = list(batches(drawn, 1 if asked.single else BATCH))
        for number, group in enumerate(groups, 1):
            told(number, len(groups), f"{len(group)} drawn changes")
            judge.judge(group)
        judge.show("named, one by one", NAMED)
        judge.show(f"drawn with seed {asked.seed}, in {len(groups)} runs", RANDOM)
        left = judge.findings(quick=False)
        assert left == [], f"what was changed was not put back: {left}"
    finally:
        box.restore()
        shutil.rmtree(folder)
        shutil.rmtree(box.root)
        baseline.path_of(box.root).unlink(missing_ok=True)
    total = Counter[str]()
    for row in judge.table.values():
        total += row
    verdicts = (
        f"{total['found']} found, {total['harmless']} documented as harmless, {total['MISSED']} missed, "
        f"{total['QUICK MISSED']} missed by --quick"
    )
    print(f"\n{len(NAMED)} named and {len(drawn)} drawn: {verdicts}; {time.monotonic() - start:.0f} s")
    for line in judge.missed:
        print(f"MISSED {printable(line)}")
    return 1 if judge.missed else 0


if __name__ == "__main__":
    sys.exit(main())
