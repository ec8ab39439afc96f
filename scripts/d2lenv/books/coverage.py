"""Whole runs of the books, made small enough to commit, and the tables of "what runs where" made of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from d2lenv.books.classes import CLASSES, NAMES, Class


@dataclass(frozen=True)
class Row:
    """A notebook of a run: what it was, why, and the CPU seconds that it took."""

    notebook: str
    kind: Class
    reason: str
    cpu_s: float

    @property
    def chapter(self) -> str:
        """Return the folder of the notebook."""
        return self.notebook.rpartition("/")[0]


@dataclass(frozen=True)
class Coverage:
    """A run: the head of its document, and its rows."""

    head: Mapping[str, Any]
    rows: tuple[Row, ...]


_HEAD = (
    "book", "environment", "started", "fingerprint", "machine", "cores", "gpus", "jobs", "seconds", "total",
    "code", "ended", "extras",
)  # fmt: skip


def small(document: Mapping[str, Any]) -> str:
    """Return what is kept of the document of a run."""
    head = {name: document[name] for name in _HEAD}
    head["limits"] = {name: document["limits"].get(name, 0) for name in ("cpu_s", "wall_s")}
    rows = [
        [known["notebook"], known["kind"], known["reason"], known["cpu_s"]] for known in document["notebooks"]
    ]
    lines = ",\n ".join(json.dumps(row, ensure_ascii=False) for row in rows)
    return f'{{"head": {json.dumps(head, ensure_ascii=False)},\n "rows": [\n {lines}]}}\n'


def read(folder: Path) -> list[Coverage]:
    """Return the runs that are kept in ``folder``, by the names of the files."""
    found = []
    for path in sorted(folder.glob("*.json")):
        data = json.loads(path.read_text(encoding="utf-8"))
        found.append(Coverage(data["head"], tuple(Row(*row) for row in data["rows"])))
    return found


def runs_table(runs: Sequence[Coverage]) -> Iterator[str]:
    """Yield a table of the runs: where, when, how many of each class."""
    kinds = [kind for kind in CLASSES if any(row.kind == kind for run in runs for row in run.rows)]
    yield f"| book | environment | {' | '.join(NAMES[kind] for kind in kinds)} | run | date, fingerprint |"
    yield f"|---|---|{'---:|' * len(kinds)}---|---|"
    for run in runs:
        head, counted = run.head, Counter(row.kind for row in run.rows)
        numbers = " | ".join(str(counted[kind] or "") for kind in kinds)
        minutes = sum(row.cpu_s for row in run.rows) / 60
        where = f"{minutes:.0f} CPU min, {head['limits']['cpu_s']:.0f} s at most, {head['gpus']} GPUs"
        yield (
            f"| {head['book']} | `{head['environment']}` | {numbers} | {head['ended']} of {head['code']} "
            f"with code, {where} | {head['started'][:10]}, `{head['fingerprint'][:12]}` |"
        )


def chapters_table(runs: Sequence[Coverage], book: str) -> Iterator[str]:
    """Yield a table of a book: what each chapter gave in each environment."""
    chosen = [run for run in runs if run.head["book"] == book]
    yield f"| chapter | {' | '.join('`' + run.head['environment'] + '`' for run in chosen)} |"
    yield f"|---|{'---|' * len(chosen)}"
    for chapter in dict.fromkeys(row.chapter for run in chosen for row in run.rows):
        cells = [_counted(row for row in run.rows if row.chapter == chapter) for run in chosen]
        if any(cells):
            yield f"| {chapter or 'beside the chapters'} | {' | '.join(cells)} |"


def _counted(rows: Iterable[Row]) -> str:
    counted = Counter(row.kind for row in rows)
    found = (
        f"{counted[kind]} {NAMES[kind]}" for kind in CLASSES if counted[kind] and kind != "not-applicable"
    )
    return ", ".join(found)


def reasons(runs: Sequence[Coverage], book: str) -> Iterator[str]:
    """Yield a line for each notebook of a book that did not pass somewhere, with the reason."""
    for run in runs:
        if run.head["book"] == book:
            for row in run.rows:
                if row.kind not in ("passed", "not-applicable"):
                    name = row.notebook.removesuffix(".ipynb")
                    yield f"| {name} | `{run.head['environment']}` | {NAMES[row.kind]} | {row.reason} |"
