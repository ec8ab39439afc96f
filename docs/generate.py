"""Write those parts of the documents that repeat what the code and the locks say.

`python docs/generate.py` writes them, `--check` compares. A part stands between two comments of the document,
`<!-- generated: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import tomli
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from book_rows import chapter_rows, run_rows
from d2lenv import doctor
from d2lenv.doctor import fitting
from d2lenv.doctor.rules import (
    d2l,
    drift,
    gpu,
    jupyter,
    machine,
    names,
    plan,
    requires,
    sources,
    versions,
)
from d2lenv.doctor.rules.loading import (
    absent,
    clashes,
    interpreter,
    libraries,
    numerics,
    records,
    surroundings,
)
from d2lenv.explain import documents
from d2lenv.export.formats import environment_yml, registry
from d2lenv.facts import gpus, platforms
from d2lenv.facts.names import CONDA_TO_PYPI, pypi_name
from d2lenv.workspace import lockfile, settings
from d2lenv.workspace import manifest as workspace
from d2lenv.workspace import pins as pinned
from data_rows import data_rows, own_places

ROOT = Path(__file__).resolve().parents[1]
ADVISORIES = ROOT / "docs" / "advisories.toml"
DOCUMENTS = (
    "README.md",
    "README.zh-CN.md",
    "docs/doctor.md",
    "docs/data.md",
    "docs/book-runs.md",
    "SECURITY.md",
    "docs/errors.md",
    "docs/errors.zh-CN.md",
    ".github/workflows/ci.yml",
    ".github/ISSUE_TEMPLATE/environment.yml",
)

Kind = Literal["conda", "wheel"]

NEEDS = {
    "model": "a model file of somebody else's is loaded",
    "image": "an image or a font of somebody else's is opened",
    "notebook": "a notebook or a file of somebody else's is opened in JupyterLab",
    "link": "an address of somebody else's is followed",
    "network": "somebody is between this machine and a server, or is the server",
    "code": "code calls just that with somebody else's data",
}
"""What has to happen before an advisory does harm: the key in advisories.toml → the words of the table."""


@dataclass(frozen=True)
class Advisory:
    """One row of advisories.toml.

    Attributes:
        fixed: the first release with the mend; empty where the page knew none.
        last: the last release that is known to have the error, where ``fixed`` is empty.
        kind: where only the wheel or only the conda package has the error.
    """

    package: str
    ids: tuple[str, ...]
    what: str
    needs: str
    source: str
    seen: date
    since: str = "0"
    fixed: str = ""
    last: str = ""
    kind: Kind | None = None

    def affects(self, version: str) -> bool:
        try:
            given = Version(version)
        except InvalidVersion:
            return False
        if given < Version(self.since):
            return False
        return given < Version(self.fixed) if self.fixed else given <= Version(self.last)


@cache
def table() -> dict[str, Any]:
    return tomli.loads(ADVISORIES.read_text(encoding="utf-8"))


def advisories() -> tuple[Advisory, ...]:
    return tuple(Advisory(**{**row, "ids": tuple(row["ids"])}) for row in table()["advisory"])


@cache
def locked() -> frozenset[tuple[str, str, Kind, str]]:
    """(package, version, kind, environment) of all that is locked, under its name on the Python index."""
    found: set[tuple[str, str, Kind, str]] = set()
    for path in sorted((ROOT / "envs").glob("*/requirements*.txt")):
        for name, version in re.findall(r"^([\w.-]+)==([^ ;\\]+)", path.read_text("utf-8"), re.MULTILINE):
            found.add((canonicalize_name(name), version.partition("+")[0], "wheel", path.parent.name))
    for path in sorted((ROOT / "envs").glob("*/conda-*.lock")):
        for name, version in re.findall(
            r"/([^/\s]+)-([^-/\s]+)-[^-/\s]+\.(?:conda|tar\.bz2)", path.read_text("utf-8")
        ):
            found.add((canonicalize_name(CONDA_TO_PYPI.get(name, name)), version, "conda", path.parent.name))
    return frozenset(found)


def versions_of(package: str, affected: Callable[[str], bool], kind: Kind | None = None) -> str:
    """``9.2.0 (cpu, cuda), 9.3.0 (zh)``: the locked versions that are affected, with their environments."""
    places: dict[str, set[str]] = {}
    for name, version, found, environment in locked():
        if name == package and affected(version) and kind in (None, found):
            places.setdefault(version, set()).add(environment)
    return ", ".join(f"{v} ({', '.join(sorted(e))})" for v, e in sorted(places.items()))


def advisory_rows() -> Iterator[str]:
    yield "| package | locked | mended in | advisory | what it is | what it needs |"
    yield "|---|---|---|---|---|---|"
    for row in advisories():
        found = versions_of(row.package, row.affects, row.kind)
        if not found:
            raise SystemExit(
                f"{ADVISORIES.name}: {', '.join(row.ids)} concerns no locked {row.package} any more"
            )
        ids = f"[{row.ids[0]}]({row.source})" + "".join(f", {name}" for name in row.ids[1:])
        mended = row.fixed or f"– (after {row.last})"
        yield f"| {row.package} | {found} | {mended} | {ids} | {row.what} | {NEEDS[row.needs]} |"


def environment_rows() -> Iterator[str]:
    """How many advisories concern each environment."""
    environments = sorted({environment for _, _, _, environment in locked()} - {"dev"})
    yield "| environment | advisories in the table | of these for loading a model, an image or a notebook |"
    yield "|---|---|---|"
    for environment in environments:
        hit = [row for row in advisories() if concerns(row, environment)]
        files = [row for row in hit if row.needs in ("model", "image", "notebook")]
        yield f"| `{environment}` | {len(hit)} | {len(files)} |"


def concerns(row: Advisory, environment: str) -> bool:
    return any(
        name == row.package and place == environment and row.kind in (None, kind) and row.affects(version)
        for name, version, kind, place in locked()
    )


def not_looked_up() -> Iterator[str]:
    found = [
        (name, versions_of(name, lambda _: True)) for name in sorted(table()["not-looked-up"]["packages"])
    ]
    for name, where in found:
        if not where:
            raise SystemExit(f"{ADVISORIES.name}: {name} is locked nowhere any more")
    yield "; ".join(f"{name} {where}" for name, where in found) + "."


def codes(*modules: ModuleType) -> Callable[[], Iterator[str]]:
    """The findings of modules of doctor/rules."""
    places = {module.__name__ for module in modules}

    def rows() -> Iterator[str]:
        yield "| code | finding | why it matters |"
        yield "|---|---|---|"
        checks: list[tuple[str, Callable[..., object]]] = [*doctor.FINDINGS, *doctor.PLANNED]
        for code, check in checks:
            # What could not be read has a heading of its own.
            if check.__module__ in places and check is not names.unreadable:
                yield code_row(code, check)

    return rows


def code_row(code: str, check: Callable[..., object]) -> str:
    name = check.__name__.removeprefix("plan_").replace("_", " ")
    return f"| {code} | {name} | {doctor.explanation_key(check)} |"


def unreadable() -> Iterator[str]:
    yield "| code | finding | why it matters |"
    yield "|---|---|---|"
    yield from (code_row(code, check) for code, check in doctor.FINDINGS if check is names.unreadable)


# -- README -------------------------------------------------------------------------------------------

Language = Literal["en", "zh"]

NOTES = {("cpu", "osx-64"): "¹", ("cpu", "osx-arm64"): "²", ("cuda", "win-64"): "³"}
"""The notes of README that a cell of the table of versions refers to."""


@cache
def versions_in(environment: str, platform: str) -> Mapping[str, str]:
    """Name on the Python index → version, of what is locked there; empty where the environment is not."""
    space = workspace.load(ROOT)
    lock = lockfile.read(space.lock)
    own = settings.get(space, environment)
    # Where it exists in both worlds, each with a choice of its own, the wheels are told (see README).
    if platform in lock.platforms(environment) and not own.requirements:
        records = lock.records(environment, platform)
        return {pypi_name(r) or r.name.normalized: str(r.version) for r in records}
    if platform not in own.wheels:
        return {}
    python = pinned.python_version(own, lock, platform)
    return {**wheels_in(environment, platform), "python": python}


def wheels_in(
    environment: str, platform: str, variation: pinned.Variation | None = None
) -> Mapping[str, str]:
    pins = pinned.read(workspace.load(ROOT), environment, platform, variation)
    return {pin.name: pin.version for pin in pins}


def several(environment: str) -> Iterator[Mapping[str, str]]:
    """Yield the versions for each Python, the oldest first, of an environment that is for several."""
    own = settings.get(workspace.load(ROOT), environment)
    for python in sorted(own.pythons, key=Version):
        for platform in own.wheels:
            yield {**wheels_in(environment, platform, pinned.Variation(python)), "python": python}


def exported() -> dict[str, settings.Settings]:
    """The environments that a learner has: pixi.toml's and those of wheels alone."""
    return {name: own for name, own in settings.load(workspace.load(ROOT)).items() if own.exported}


def served() -> tuple[str, ...]:
    """The subdirs that some of them are for."""
    ours = workspace.load(ROOT).environments
    own = {name for one in exported().values() for name in one.wheels}
    own |= {name for one in exported() if one in ours for name in ours[one].platforms}
    return tuple(subdir for subdir in platforms.ROWS if subdir in own)


def purpose(environment: str, language: Language) -> str:
    """For whom it is, as pixi.toml says; the digits are README's notes."""
    about = workspace.load(ROOT).tool["environments"][environment].get("about", {})
    if language not in about:
        raise SystemExit(f"pixi.toml: [tool.d2lenv.environments.{environment}] needs `about.{language}`")
    return str(about[language])


def trio(environment: str, platform: str) -> str:
    found = versions_in(environment, platform)
    if not found:
        return ""
    text = " / ".join(
        found.get(name, "–").partition("+")[0] for name in ("torch", "torchvision", "torchaudio")
    )
    return f"{text} {NOTES.get((environment, platform), '')}".strip()


def environment_table(language: Language) -> Iterator[str]:
    """PyTorch, torchvision and torchaudio of each environment and platform."""
    yield f"| {'environment | for' if language == 'en' else '环境 | 适用'} | {' | '.join(served())} |"
    yield "|---|---|" + "---|" * len(served())
    for name in exported():
        cells = " | ".join(trio(name, platform) for platform in served())
        yield f"| `{name}` | {purpose(name, language)} | {cells} |"


def package_table(language: Language) -> Iterator[str]:
    """What else a reader looks for; one version, or each platform's in their order."""
    names = {"python": "Python", "d2l": "`d2l`", "numpy": "NumPy", "pandas": "pandas"}
    names |= {"matplotlib": "Matplotlib", "jupyterlab": "JupyterLab"}
    yield f"| {'environment' if language == 'en' else '环境'} | {' | '.join(names.values())} |"
    yield "|---|" + "---|" * len(names)
    for name in exported():
        here = lockfile.read(ROOT / "pixi.lock").platforms(name) or served()
        tables = [
            found for platform in served() if platform in here and (found := versions_in(name, platform))
        ]
        if settings.get(workspace.load(ROOT), name).universal:
            tables = [*several(name)]
        cells = [" / ".join(dict.fromkeys(found.get(key, "–") for found in tables)) for key in names]
        yield f"| `{name}` | {' | '.join(cells)} |"


def gpu_table(language: Language) -> Iterator[str]:
    """Which environment computes on which GPU, and the oldest driver of each."""
    words = {"yes": "✓", "no": "–", "in part": "✓"}
    here = fitting.fits(workspace.load(ROOT))
    head = (
        ("GPU", "driver for Linux from", "for Windows from")
        if language == "en"
        else ("GPU", "Linux 驱动不低于", "Windows 驱动不低于")
    )
    yield f"| {head[0]} | {' | '.join(f'`{one.name}`' for one in here)} |"
    yield "|---|" + "---|" * len(here)
    for family in gpus.FAMILIES:
        numbers = ", ".join(f"{major}.{minor}" for major, minor in family.capabilities)
        examples = "; ".join(filter(None, (family.examples, numbers)))
        cells = [words[one.uses(family, family.capabilities)] for one in here]
        yield f"| {family.title}{f' ({examples})' if examples else ''} | {' | '.join(cells)} |"
    for text, system in ((head[1], "Linux"), (head[2], "Windows")):
        yield f"| {text} | {' | '.join(fitting.drivers(one).get(system, '–') for one in here)} |"


@contextmanager
def speaking(language: Language) -> Iterator[None]:
    before = os.environ.get("D2LENV_LANG")
    os.environ["D2LENV_LANG"] = language
    try:
        yield
    finally:
        os.environ.pop("D2LENV_LANG")
        if before is not None:
            os.environ["D2LENV_LANG"] = before


def export_table(language: Language) -> Iterator[str]:
    """Each format of `d2lenv export`, and the file of the wheels engine."""
    with speaking(language):
        yield from [*export_rows(language)]


def error_sections(language: Language) -> Iterator[str]:
    """What `d2lenv explain` knows."""
    with speaking(language):
        yield from [*documents.sections()]


def export_rows(language: Language) -> Iterator[str]:
    environment, platform = ("environment", "platform") if language == "en" else ("环境", "平台")
    heads = ("for", "exactly the locked packages") if language == "en" else ("用于", "正是锁定的软件包")
    place = f"file in `envs/<{environment}>/`" if language == "en" else f"`envs/<{environment}>/` 中的文件"
    yield f"| {place} | {' | '.join(heads)} |"
    yield "|---|---|---|"
    for row in registry.FORMATS.values():
        about = row.about()
        names = [pattern.replace("*", f"<{platform}>") for pattern in row.patterns] or [
            environment_yml.BINDER
        ]
        yield f"| {', '.join(f'`{name}`' for name in names)} | {about.readers} | {about.exact} |"
    about = registry.requirements_about()
    yield f"| `requirements-<{platform}>.txt` | {about.readers} | {about.exact} |"


PARTS: dict[str, Callable[[], Iterator[str]]] = {
    "advisories": advisory_rows,
    "environments": environment_rows,
    "not looked up": not_looked_up,
    "unreadable": unreadable,
    "data": data_rows,
    "own places": own_places,
    "book runs": run_rows,
    **{f"chapters {book}": partial(chapter_rows, book) for book in ("en", "zh", "dlwpt")},
    "sources": codes(sources, numerics),
    "loading": codes(interpreter, records, clashes, libraries, absent, surroundings),
    **{
        f"{name} {language}": partial(make, language)
        for name, make in (
            ("environments", environment_table),
            ("packages", package_table),
            ("gpus", gpu_table),
            ("exports", export_table),
            ("errors", error_sections),
        )
        for language in ("en", "zh")
    },
    **{
        module.__name__.rpartition(".")[2]: codes(module)
        for module in (names, versions, requires, d2l, jupyter, gpu, machine, drift, plan)
    },
}


def matrix() -> Iterator[str]:
    """Each environment on the machine of each of its platforms."""
    ours = workspace.load(ROOT).environments
    for name in (name for name in exported() if name in ours):
        subdirs = sorted({platform.subdir for platform in ours[name].targets.values()})
        for runner in filter(None, (platforms.row(subdir).runner for subdir in subdirs)):
            yield f"- {{ os: {runner}, environment: {name} }}"


LISTS: Mapping[str, Callable[[], Iterator[str]]] = {
    "matrix": matrix,
    "environments": lambda: (f"- {name}" for name in exported()),
}
"""Parts of YAML files."""

FILES: Mapping[str, Callable[[], str]] = {"docs/explain.html": documents.page}
"""Documents that are generated as a whole."""


def generated(text: str) -> str:
    """Return a document with its generated parts as they should be."""

    def part(match: re.Match[str]) -> str:
        return "\n".join((f"<!-- generated: {match[1]} -->", "", *PARTS[match[1]](), "", "<!-- end -->"))

    def items(match: re.Match[str]) -> str:
        lines = (f"# generated: {match[2]}", *LISTS[match[2]](), "# end")
        return "\n".join(match[1] + line for line in lines)

    text = re.sub(r"<!-- generated: ([\w ]+) -->\n.*?<!-- end -->", part, text, flags=re.DOTALL)
    return re.sub(r"( *)# generated: (\w+)\n.*?# end", items, text, flags=re.DOTALL)


def main(words: list[str]) -> int:
    stale = []
    for name in (*DOCUMENTS, *FILES):
        path = ROOT / name
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        now = FILES[name]() if name in FILES else generated(text)
        if now != text:
            stale.append(name)
            if "--check" not in words:
                path.write_text(now, encoding="utf-8")
    if stale and "--check" in words:
        print(f"not what the code and the locks say: {', '.join(stale)}; run `nox -s docs`")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
