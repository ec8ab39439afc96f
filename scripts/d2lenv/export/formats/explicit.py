"""``conda-PLATFORM.lock``: the ``@EXPLICIT`` list that conda, mamba and micromamba install without solving.

The format is CEP 23 (https://conda.org/learn/ceps/cep-0023/). Packages stand dependencies first, because
micromamba links them in the order of the file. sha256 is written where the lock has it (conda reads it
since 24.9, mamba and micromamba too), else md5, else nothing: a hash is never made up.
"""

from __future__ import annotations

from d2lenv.export.formats.text import comment
from d2lenv.export.table import CondaPackage, EnvironmentTable, PlatformTable


def files(table: EnvironmentTable) -> dict[str, str]:
    return {f"{table.folder}/conda-{t.platform}.lock": text(table, t) for t in table.targets}


def text(table: EnvironmentTable, target: PlatformTable) -> str:
    name = f"conda-{target.platform}.lock"
    notes = [
        table.head(target),
        *target.needs_note,
        "",
        "Needs conda >= 24.9, mamba or micromamba:",
        f"  conda create --name {table.title} --file {name}",
        f"  micromamba create --name {table.title} --file {name}",
    ]
    notes += [*table.beside_note, *missing_notes(target)]
    if target.wheels:
        names = ", ".join(wheel.name for wheel in target.wheels)
        notes += ["", f"LEFT OUT, this format has no place for PyPI packages: {names}"]
    lines = [line(package) for package in target.packages]
    body = "".join(f"{one}\n" for one in lines)
    return f"{comment(*notes)}# platform: {target.subdir}\n@EXPLICIT\n{body}"


def line(package: CondaPackage) -> str:
    """Return the line of a package: its address, and its best hash after ``#``."""
    if package.sha256:
        return f"{package.url}#sha256:{package.sha256}"
    return f"{package.url}#{package.md5}" if package.md5 else package.url


def missing_notes(target: PlatformTable) -> list[str]:
    """Name the packages whose bytes nothing verifies, or only an md5."""
    bare = [p.file_name for p in target.packages if not p.sha256 and not p.md5]
    weak = [p.name for p in target.packages if not p.sha256 and p.md5]
    notes: list[str] = []
    if bare:
        notes += ["", f"No hash is known, so what is downloaded is not verified: {', '.join(bare)}"]
    if weak:
        notes += ["", f"Only an md5 is known of: {', '.join(weak)}"]
    return notes
