"""``PACKAGES.md``: for each environment a table for people, and the changes since a release.

The previous release stands in ``previous.json`` at the root of the exports, written by
``d2lenv export --previous``: a name and the versions of that time. The listing depends on
committed files only, because tags are missing in a shallow clone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from d2lenv.base.errors import D2lEnvError
from d2lenv.base.messages import tr
from d2lenv.export.formats.text import bytes_text, escaped
from d2lenv.export.table import CondaPackage, EnvironmentTable, PlatformTable, Wheel, channel_name

FILE = "PACKAGES.md"
PREVIOUS = "previous.json"


@dataclass(frozen=True)
class PreviousRelease:
    """The packages of an earlier release.

    Attributes:
        name: of the release: a tag, or a file's name.
        environments: environment → platform → package → "version build".
    """

    name: str
    environments: Mapping[str, Mapping[str, Mapping[str, str]]]


def files(table: EnvironmentTable) -> dict[str, str]:
    return {f"{table.folder}/{FILE}": _text(table)}


def versions(target: PlatformTable) -> dict[str, str]:
    """Return package → "version build", as :data:`PREVIOUS` keeps a platform."""
    found = {package.name: f"{package.version} {package.build}" for package in target.packages}
    return found | {f"{wheel.name} (PyPI)": wheel.version for wheel in target.wheels}


def previous_text(release: PreviousRelease) -> str:
    """Return the text of :data:`PREVIOUS`."""
    data = {
        "made-by": "d2lenv export --previous",
        "release": release.name,
        "environments": release.environments,
    }
    return json.dumps(data, indent=1, sort_keys=True) + "\n"


def read_previous(path: Path) -> PreviousRelease | None:
    """Return the release that ``path`` keeps, None where there is no such file.

    Raises:
        D2lEnvError: if the file is there and ``d2lenv export --previous`` did not write it.
    """
    if not path.exists():
        return None
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        environments = {
            str(environment): {
                str(platform): {str(package): str(version) for package, version in packages.items()}
                for platform, packages in platforms.items()
            }
            for environment, platforms in data["environments"].items()
        }
        return PreviousRelease(str(data["release"]), environments)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise D2lEnvError(
            tr("{path} is not a list of a release's packages", path=path),
            why=f"{type(error).__name__}: {error}",
            fix=tr("`d2lenv export --previous REVISION` writes it again"),
        ) from error


def _cell(text: str) -> str:
    """Leave ordinary names readable in the source, escape everything else."""
    return text if re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9 .,=/-]|_(?=[A-Za-z0-9]))*", text) else escaped(text)


def _text(table: EnvironmentTable) -> str:
    lines = [f"<!-- {table.head().replace('--', '-&#45;')} -->", "", f"# {_cell(table.environment)}", ""]
    lines += ["| platform | packages | download |", "|---|--:|--:|"]
    for target in table.targets:
        count = len(target.packages) + len(target.wheels)
        size = sum(package.size or 0 for package in target.packages)
        unknown = sum(package.size is None for package in target.packages) + len(target.wheels)
        note = f" and {unknown} of unknown size" if unknown else ""
        where = _cell(", ".join([target.platform, *target.needs]))
        lines.append(f"| {where} | {count} | {bytes_text(size)}{note} |")
    lines += ["", "## Packages", ""]
    platforms = [target.platform for target in table.targets]
    lines.append(f"| package | {' | '.join(platforms)} | licence | size | from |")
    lines.append(f"|---|{'---|' * len(platforms)}---|--:|---|")
    lines += _rows(table)
    if table.beside:
        names = ", ".join(_cell(f"{pin.name} {pin.version}") for pin in table.beside)
        lines += ["", f"Beside them, from a package index by hash: {names}."]
    bare = sorted({p.file_name for t in table.targets for p in t.packages if not p.md5 and not p.sha256})
    if bare:
        names = ", ".join(_cell(name) for name in bare)
        lines += ["", f"No hash is known of: {names}. What is downloaded is not verified."]
    lines += ["", "## Changes", "", *_changes(table)]
    return "\n".join(lines) + "\n"


def _rows(table: EnvironmentTable) -> Iterable[str]:
    found: dict[tuple[str, str], dict[str, CondaPackage | Wheel]] = {}
    for target in table.targets:
        for package in target.packages:
            found.setdefault((package.name, ""), {})[target.platform] = package
        for wheel in target.wheels:
            found.setdefault((wheel.name, "PyPI"), {})[target.platform] = wheel
    for (name, kind), where in sorted(found.items()):
        conda = [package for package in where.values() if isinstance(package, CondaPackage)]
        cells = [_cell(where[t.platform].version) if t.platform in where else "–" for t in table.targets]
        licence = ", ".join(sorted({package.license or "unknown" for package in conda})) or "unknown"
        sizes = sorted({package.size for package in conda if package.size is not None})
        size = "unknown" if not sizes else bytes_text(sizes[0])
        if len(sizes) > 1 and bytes_text(sizes[0]) != bytes_text(sizes[-1]):
            size = f"{bytes_text(sizes[0])} – {bytes_text(sizes[-1])}"
        source = kind or ", ".join(sorted({channel_name(package.channel) for package in conda}))
        yield f"| {_cell(name)} | {' | '.join(cells)} | {_cell(licence)} | {size} | {_cell(source)} |"


def _changes(table: EnvironmentTable) -> list[str]:
    if not table.previous_name:
        return ["No release before this one."]
    lines = [f"Since {_cell(table.previous_name)}:", ""]
    if table.previous is None:
        return [*lines, "This environment is new."]
    platforms = sorted(set(table.previous) | {target.platform for target in table.targets})
    now = {target.platform: versions(target) for target in table.targets}
    rows: list[str] = []
    for platform in platforms:
        old, new = table.previous.get(platform, {}), now.get(platform, {})
        for name in sorted(set(old) | set(new)):
            before, after = old.get(name, "–"), new.get(name, "–")
            if before != after:
                rows.append(f"| {_cell(platform)} | {_cell(name)} | {_cell(before)} | {_cell(after)} |")
    if not rows:
        return [*lines, "Nothing changed."]
    return [*lines, "| platform | package | before | now |", "|---|---|---|---|", *rows]
