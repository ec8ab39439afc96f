"""``beside-conda.txt``: what pip installs, by hash, beside the conda packages of an environment."""

from __future__ import annotations

from d2lenv.export.formats.text import comment
from d2lenv.export.table import EnvironmentTable
from d2lenv.workspace.beside import FILE, PIP, lines


def files(table: EnvironmentTable) -> dict[str, str]:
    """Return the file of an environment that has such wheels."""
    if not table.beside:
        return {}
    notes = (
        f"Made from pixi.toml, {table.environment}, by `{table.command}`. Do not edit.",
        "",
        "Beside the conda packages of pixi.lock; `d2lenv build` and pixi's task `d2l` do it:",
        f"  python -I -m {' '.join(PIP)} {FILE}",
    )
    return {f"{table.folder}/{FILE}": comment(*notes) + "".join(f"{line}\n" for line in lines(table.beside))}
