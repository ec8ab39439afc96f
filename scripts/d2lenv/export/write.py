"""Compare an export with the files on disk, and write those that differ."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from d2lenv.base import files
from d2lenv.base.errors import D2lEnvError
from d2lenv.base.messages import tr
from d2lenv.export.formats.registry import REQUIREMENTS
from d2lenv.export.plan import ExportPlan
from d2lenv.export.request import Request


@dataclass(frozen=True)
class FileProblem:
    """One file that is not as it should be.

    Attributes:
        kind: ``missing``, ``changed``, ``stale`` (nothing makes it) or ``requirements``.
        detail: a unified diff, or the reasons, one a line.
    """

    path: str
    kind: str
    detail: str


@dataclass(frozen=True)
class ExportResult:
    """The files that were written and removed, and those that are still not as they should be."""

    written: tuple[str, ...]
    removed: tuple[str, ...]
    problems: tuple[FileProblem, ...]


def compare(plan: ExportPlan) -> list[FileProblem]:
    """Return every file that differs from the plan, and every requirements file of another lock."""
    found: list[FileProblem] = []
    for path, text in sorted(plan.texts.items()):
        try:
            present = (plan.root / path).read_bytes()
        except OSError:
            found.append(FileProblem(path, "missing", ""))
            continue
        if present != text.encode("utf-8"):
            found.append(FileProblem(path, "changed", _diff(path, present, text)))
    found += [FileProblem(path, "stale", tr("nothing makes this file any more")) for path in stale(plan)]
    found += [FileProblem(path, REQUIREMENTS, detail) for path, detail in sorted(plan.requirements.items())]
    return found


def stale(plan: ExportPlan) -> list[str]:
    """Return exported files that lie there although the plan has no such file."""
    found: set[str] = set()
    for pattern in plan.covered:
        for path in plan.root.glob(pattern):
            relative = path.relative_to(plan.root).as_posix()
            if path.is_file() and relative not in plan.texts:
                found.add(relative)
    return sorted(found)


def write(plan: ExportPlan) -> tuple[list[str], list[str]]:
    """Write the files that differ, remove stale ones, and return (written, removed).

    Raises:
        D2lEnvError: if a file cannot be written or removed.
    """
    written: list[str] = []
    for path, text in sorted(plan.texts.items()):
        file = plan.root / path
        if not file.is_file() or file.read_bytes() != text.encode("utf-8"):
            files.write_atomic(file, text)
            written.append(path)
    removed = stale(plan)
    for path in removed:
        _remove(plan.root / path)
    return written, removed


def _remove(path: Path) -> None:
    try:
        path.unlink()
    except OSError as error:
        raise D2lEnvError(
            tr("{path} cannot be removed", path=path),
            why=error.strerror or str(error),
            fix=tr("make its folder writable, then run the command again"),
        ) from error


def run(plan: ExportPlan, request: Request) -> ExportResult:
    """Write, or compare.

    Raises:
        D2lEnvError: if a file cannot be written.
    """
    written, removed = write(plan) if request.write else ([], [])
    return ExportResult(tuple(written), tuple(removed), tuple(compare(plan)))


def _diff(path: str, present: bytes, wanted: str) -> str:
    try:
        old = present.decode("utf-8")
    except UnicodeDecodeError:
        return tr("it is not UTF-8 text")
    if old.replace("\r\n", "\n") == wanted:
        return tr("only the line ends differ")
    there, made = old.splitlines(keepends=True), wanted.splitlines(keepends=True)
    lines = difflib.unified_diff(there, made, f"{path} (there)", f"{path} (from the lock)")
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)
