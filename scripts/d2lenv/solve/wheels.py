"""Resolve the requirements files of the wheels engine.

uv's resolver writes them: what pixi.lock has is preferred, so both worlds hold the same versions wherever the
package index has them; the rest is the newest of the day named in ``[tool.d2lenv]``. uv and not pip because
it resolves for another platform and Python than the one it runs on.
"""

from __future__ import annotations

import hashlib
import itertools
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name
from packaging.version import Version

from d2lenv.base.errors import D2lEnvError
from d2lenv.base.files import write_atomic
from d2lenv.base.messages import tr
from d2lenv.facts.names import CONDA_TO_PYPI
from d2lenv.facts.platforms import index_cuda, row
from d2lenv.facts.pytorch import releases
from d2lenv.solve import uv
from d2lenv.workspace.lockfile import Lock
from d2lenv.workspace.lockfile import digest as conda_digest
from d2lenv.workspace.manifest import Workspace
from d2lenv.workspace.pins import (
    Pin,
    applying,
    locked_platform,
    locked_versions,
    parse,
    path_of,
    python_version,
    read_file,
    text_of,
)
from d2lenv.workspace.settings import Settings

_RESOLVE_TIMEOUT_S = 900.0


def roots(workspace: Workspace, lock: Lock, settings: Settings, platform: str) -> list[str]:
    """Return the resolver's question: the settings' own list, or the manifest's packages as locked."""
    if settings.requirements:
        return [*settings.requirements, *settings.extra]
    like = locked_platform(lock, settings.name, platform)
    conda = locked_versions(lock, settings.name, like)
    index_names = {conda_name: (name, version) for name, (conda_name, version) in conda.items()}
    wanted = {spec.name for spec in workspace.environments[settings.name].specs[like]}
    asked = ["{}=={}".format(*index_names[name]) for name in sorted(wanted & set(index_names))]
    release = releases.release(conda["torch"][1]) if "torch" in conda else None
    if "torchaudio" not in conda and release is not None and release.audio:
        asked.append(f"torchaudio=={release.audio[0]}")  # conda has none for this platform
    return [*asked, *settings.extra]


def overriding(settings: Settings) -> list[str]:
    """Return the requirements that hold whatever a package's metadata says."""
    return [text for override in settings.overrides for text in override.requirements]


def files(settings: Settings) -> Sequence[str]:
    """Return the platform of each requirements file; an empty one for a file that is for all."""
    return [""] if settings.universal else settings.wheels


def preferences(lock: Lock, settings: Settings, platform: str) -> dict[str, str]:
    """Return index name → the version in pixi.lock, which the resolver takes where it can."""
    if settings.requirements:
        return {}
    like = locked_platform(lock, settings.name, platform)
    return {name: version for name, (_, version) in locked_versions(lock, settings.name, like).items()}


@dataclass(frozen=True)
class _Question:
    """What is asked for one requirements file, and which pins are kept where that allows it.

    Attributes:
        platform: empty for all that the environment is for.
        head: the file's first lines.
        present: pins that are kept if possible.
    """

    settings: Settings
    platform: str
    head: list[str]
    present: Sequence[Pin]

    @property
    def title(self) -> str:
        platforms = [self.platform] if self.platform else self.settings.wheels
        return tr("{name} for {platform}", name=self.settings.name, platform=", ".join(platforms))


def resolve(workspace: Workspace, lock: Lock, question: _Question) -> list[Pin]:
    """Resolve the wheels of a requirements file with uv.

    Raises:
        D2lEnvError: if uv fails; its reason is given.
    """
    settings, platform = question.settings, question.platform
    preferred = preferences(lock, settings, platform)
    kept = [f"{name}=={version}" for name, version in sorted(preferred.items())]
    kept += [pin.requirement for pin in question.present if pin.name not in preferred]
    with tempfile.TemporaryDirectory() as folder:
        asked, answer, overrides = (Path(folder) / name for name in ("asked.in", "answer.txt", "overrides"))
        _write_lines(asked, roots(workspace, lock, settings, platform))
        _write_lines(overrides, overriding(settings))
        # uv prefers the versions of an output file that is already there.
        _write_lines(answer, kept)
        place = ("--python-platform", row(platform).uv) if platform else ("--universal",)
        arguments: list[str | Path] = [
            *("pip", "compile", "--quiet", asked, "--output-file", answer, "--python", sys.executable),
            *("--python-version", _oldest(settings) or python_version(settings, lock, platform), *place),
            *("--override", overrides, "--exclude-newer", settings.exclude_newer),
            *("--only-binary", ":all:", "--generate-hashes", "--no-header", "--no-annotate"),
            *("--no-emit-index-url", "--no-emit-find-links", "--no-sources"),
        ]
        _run(arguments, tr("{environment} cannot be resolved", environment=question.title))
        pins = parse(answer.read_text(encoding="utf-8"), answer.name)
    if settings.universal:
        _check_everywhere(settings, pins)
    return pins


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _oldest(settings: Settings) -> str:
    return min(settings.pythons, key=Version, default="")


def _check_everywhere(settings: Settings, pins: Sequence[Pin]) -> None:
    """Prove that every pin has a wheel on each platform for each Python: uv asks one file of each release.

    Raises:
        D2lEnvError: if one has not.
    """

    def check(place: tuple[str, str]) -> None:
        platform, python = place
        with tempfile.TemporaryDirectory() as folder:
            asked, answer = Path(folder) / "pins.in", Path(folder) / "answer.txt"
            _write_lines(asked, [pin.requirement for pin in applying(pins, platform, python)])
            arguments: list[str | Path] = [
                *("pip", "compile", "--quiet", asked, "--output-file", answer, "--no-deps", "--no-sources"),
                *("--python", sys.executable, "--python-version", python, "--only-binary", ":all:"),
                *("--python-platform", row(platform).uv, "--exclude-newer", settings.exclude_newer),
            ]
            where = f"{settings.name}, {platform}, Python {python}"
            _run(arguments, tr("not every package has a wheel: {place}", place=where))

    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(check, itertools.product(settings.wheels, settings.pythons)))


def _run(arguments: Sequence[str | Path], failure: str) -> None:
    """Run uv, quietly unless it fails.

    Raises:
        D2lEnvError: if it fails or takes too long; ``failure`` comes first, then uv's reason.
    """
    try:
        # A Python to build with is never needed here: without this uv tries, slowly, to download one.
        done = uv.run(*arguments, timeout_s=_RESOLVE_TIMEOUT_S, UV_PYTHON_DOWNLOADS="never")
    except TimeoutError as error:
        raise D2lEnvError(
            failure, why=tr("no end after {seconds} s", seconds=f"{_RESOLVE_TIMEOUT_S:g}")
        ) from error
    if done.returncode != 0:
        raise D2lEnvError(
            failure,
            why="\n".join(done.stderr.strip().splitlines()[-20:]),
            fix=tr(
                "check the network, or name a package index that answers in UV_DEFAULT_INDEX: uv does not "
                "read pip's settings"
            ),
        )


def head_of(workspace: Workspace, lock: Lock, settings: Settings, platform: str) -> list[str]:
    """Return the comment lines at the top of the file: its source and the digest of its question."""
    python = ", ".join(settings.pythons) or python_version(settings, lock, platform)
    question = [
        python,
        settings.exclude_newer,
        *roots(workspace, lock, settings, platform),
        *(f"override {text}" for text in overriding(settings)),
        *(f"{name} {version}" for name, version in sorted(preferences(lock, settings, platform).items())),
    ]
    lines = [*_title(settings, platform, python)]
    if settings.requirements:
        lines.append(f"From [tool.d2lenv.environments.{settings.name}] in pixi.toml.")
    else:
        like = locked_platform(lock, settings.name, platform)
        lines.append("Versions are those of pixi.lock wherever the package index has them. Its digest:")
        lines.append(f"    {settings.name}/{like} {conda_digest(lock, settings.name, like).digest}")
    if not settings.cuda and index_cuda(platform):
        lines.append("The index has only the CUDA build of PyTorch for Linux; it runs on the CPU too.")
    lines.append(f"Question: sha256 {hashlib.sha256(chr(10).join(question).encode()).hexdigest()}")
    return lines


def _title(settings: Settings, platform: str, python: str) -> Iterator[str]:
    if settings.universal:
        pythons = ", ".join(sorted(settings.pythons, key=Version))
        yield f"{settings.name} for Python {pythons} on {', '.join(settings.wheels)}:"
        yield "every wheel by version and sha256."
    else:
        yield f"{settings.name} for {platform}, Python {python}: every wheel by version and sha256."
    yield "Generated by `d2lenv lock`; do not edit. Install with:"
    if settings.universal:
        yield "    pip install --no-deps --require-hashes --only-binary :all: -r requirements.txt"
        yield "(`uv pip install` takes the same options). --no-deps, because some packages ask for other"
        yield "versions than they get here: the overrides in pixi.toml say which and why."
    else:
        yield f"    uv pip install --require-hashes --only-binary :all: -r requirements-{platform}.txt"


def lock_wheels(
    workspace: Workspace,
    lock: Lock,
    every: Mapping[str, Settings],
    *,
    update: frozenset[str] = frozenset(),
    update_all: bool = False,
    say: Callable[[str], None],
) -> list[Path]:
    """Resolve and write the requirements files whose question is new, and return those that changed.

    Args:
        update: names, on the index or in pixi.lock, whose present pins are given up.
        update_all: every present pin is given up.

    Raises:
        D2lEnvError: if one could not be resolved; no file is then changed.
    """

    def answer(one: _Question) -> tuple[Path, str]:
        say(tr("resolving the wheels of {environment}", environment=one.title))
        pins = resolve(workspace, lock, one)
        return path_of(workspace, one.settings.name, one.platform), text_of(pins, one.head)

    questions = list(_questions(workspace, lock, every, update, update_all))
    uv.program()  # found before the threads start: sysconfig, which it asks, fills its table without a lock
    # uv waits for the index most of the time.
    with ThreadPoolExecutor(max_workers=4) as pool:
        texts = dict(pool.map(answer, questions))
    changed = []
    for path, text in texts.items():
        if not path.is_file() or path.read_bytes() != text.encode("utf-8"):
            write_atomic(path, text)
            changed.append(path)
    return changed


def _questions(
    workspace: Workspace,
    lock: Lock,
    every: Mapping[str, Settings],
    update: frozenset[str],
    update_all: bool,
) -> Iterator[_Question]:
    """Yield the questions that are not those of the files that are there."""
    given_up = {canonicalize_name(name) for name in update}
    given_up |= {canonicalize_name(CONDA_TO_PYPI[name]) for name in update if name in CONDA_TO_PYPI}
    for settings in every.values():
        for platform in files(settings):
            head = head_of(workspace, lock, settings, platform)
            path = path_of(workspace, settings.name, platform)
            try:
                pins = read_file(path)
                text = path.read_text(encoding="utf-8")
            except D2lEnvError:
                pins, text = [], ""
            if update or update_all or text != text_of(pins, head):
                kept = [] if update_all else [pin for pin in pins if pin.name not in given_up]
                yield _Question(settings, platform, head, kept)
