#!/usr/bin/env -S uv run --script
# /// script
# requires-python = ">=3.10"
# dependencies = ["nox>=2024.4.15"]
# ///
"""Everything that is done to this repository: `nox -l` lists it, plain `nox` does what this machine can."""

from __future__ import annotations

import filecmp
import os
import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2024.4.15"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"

MANIFEST = nox.project.load_toml("pixi.toml")

# Every environment that a learner has is exported: pixi.toml's own and those that exist as wheels alone, but
# not the tool's and not the second name of `cpu`.
SETTINGS = MANIFEST["tool"]["d2lenv"]["environments"]
ENVIRONMENTS = list(dict.fromkeys([*MANIFEST["environments"], *SETTINGS]))
LEARNERS = [name for name in ENVIRONMENTS if SETTINGS.get(name, {}).get("export", True)]
NOTEBOOKS = sorted(Path("notebooks").glob("*.ipynb"))
FORMS_CONFIG = Path(".github/ISSUE_TEMPLATE/config.yml")
# The schema of check-jsonschema → files.
SCHEMAS = {
    "github-workflows": sorted(Path(".github/workflows").glob("*.yml")),
    "github-issue-forms": sorted({*Path(".github/ISSUE_TEMPLATE").glob("*.yml")} - {FORMS_CONFIG}),
    "github-issue-config": [FORMS_CONFIG],
    "dependabot": [Path(".github/dependabot.yml")],
    "citation-file-format": [Path("CITATION.cff")],
}
# What is installed, with the hash of every file: file → what it is solved from, in this order.
LOCKED = Path(".ci/requirements")
REQUIREMENTS = {
    "dev.txt": ("pyproject.toml", "--group=dev"),
    "tool.txt": ("pyproject.toml", "--group=run", f"--constraints={LOCKED / 'dev.txt'}"),
    "browser.txt": ("--group=browser", f"--constraints={LOCKED / 'dev.txt'}"),
}
HASHED = ("--require-hashes", "--no-deps", "--only-binary=:all:")
BENCHMARKS = sorted(Path("benchmarks").glob("bench_*.py"))

nox.options.sessions = ["lint", "check", "export", "tests", f"smoke({LEARNERS[0]})"]

each_environment = nox.parametrize("environment", [nox.param(name, id=name) for name in LEARNERS])


def install(session: nox.Session, *names: str) -> None:
    """Install the tool, editable, and what the files of ``LOCKED`` list: nothing that has no hash there."""
    files = [f"--requirement={LOCKED / name}.txt" for name in names or ("tool",)]
    session.install(*HASHED, *files)
    session.install("--no-deps", "--no-build-isolation", "-e", ".")


def d2lenv(session: nox.Session, *arguments: str) -> None:
    """Run the tool, which Ctrl-C reaches too: it ends its kernels and writes its report first.

    nox would kill it half a second later.
    """
    session.run("python", "-m", "d2lenv", *arguments, *session.posargs, interrupt_timeout=60)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, types, documents, workflows and shell scripts."""
    install(session, "dev")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("mypy")
    session.run("lint-imports")
    session.run("typos")
    session.run("nbstripout", "--verify", "--keep-id", *map(str, NOTEBOOKS))
    session.run("sp-repo-review", ".")
    for schema, files in SCHEMAS.items():
        session.run("check-jsonschema", "--builtin-schema", f"vendor.{schema}", *map(str, files))
    session.run("python", "docs/generate.py", "--check")
    session.run("zizmor", "--quiet", "--offline", "--persona=auditor", ".")
    session.run("jactionlint", "--profile=pedantic", "--strict-exit")
    session.run("shellcheck", ".ci/run")


@nox.session
def docs(session: nox.Session) -> None:
    """Write the tables of the documents that repeat the code and the locks."""
    install(session)
    session.run("python", "docs/generate.py", *session.posargs)


@nox.session
def requirements(session: nox.Session) -> None:
    """Solve .ci/requirements again; `-- --upgrade` moves versions, `-- --check` proves it current."""
    check = "--check" in session.posargs
    session.install(*HASHED, f"--requirement={LOCKED / 'tool.txt'}")
    folder = Path(session.create_tmp())
    for name, sources in REQUIREMENTS.items():
        target = folder / name if check else LOCKED / name
        if check:
            shutil.copyfile(LOCKED / name, target)  # uv keeps the versions that stand in its output
        # No address: the index is the reader's own choice.
        options = ("--universal", "--python-version=3.10", "--generate-hashes", "--only-binary=:all:")
        moved = [word for word in session.posargs if word != "--check"]
        session.run(
            "uv", "pip", "compile", "--quiet", *options, "--no-header", "--no-annotate", *moved,
            f"--output-file={target}", *sources,
        )  # fmt: skip
        if check and not filecmp.cmp(LOCKED / name, target, shallow=False):
            session.error(f"{LOCKED / name} is not what pyproject.toml gives: nox -s requirements")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests with the coverage floor."""
    install(session, "dev")
    # Where the CUDA environment was built, its copies are damaged with real pip and mended by the doctor.
    built = Path(".d2lenv/cuda-wheels").absolute()
    environment = {"D2LENV_REAL_PREFIX": str(built)} if built.is_dir() else {}
    # Many tests wait for processes of their own: more workers than cores.
    workers = max(4, os.cpu_count() or 1)
    session.run(
        "pytest",
        f"--numprocesses={workers}",
        "--dist=worksteal",
        "--cov",
        "--cov-report=term-missing:skip-covered",
        *session.posargs,
        env=environment,
    )


@nox.session
@each_environment
def smoke(session: nox.Session, environment: str) -> None:
    """Build an environment and run the notebooks that prove it."""
    install(session)
    d2lenv(session, "smoke", environment)


@nox.session
@each_environment
def lab(session: nox.Session, environment: str) -> None:
    """Open JupyterLab on the notebooks; builds the environment if needed."""
    install(session)
    d2lenv(session, "lab", environment)


@nox.session
@each_environment
def repro(session: nox.Session, environment: str) -> None:
    """Build an environment twice, the second time with a cold cache, and compare every file."""
    install(session)
    d2lenv(session, "repro", environment)


@nox.session
def check(session: nox.Session) -> None:
    """Prove that pixi.lock satisfies pixi.toml."""
    install(session)
    d2lenv(session, "check", "--solve")


@nox.session
def lock(session: nox.Session) -> None:
    """Solve pixi.toml into pixi.lock and the wheels; `-- --snapshot DIR` does it offline."""
    install(session)
    d2lenv(session, "lock")


@nox.session
def export(session: nox.Session) -> None:
    """Prove that envs/ is what the lock gives."""
    install(session)
    d2lenv(session, "export", "--check")


@nox.session
@each_environment
def conda(session: nox.Session, environment: str) -> None:
    """Create an environment with micromamba, mamba or conda from its explicit list and run its notebooks."""
    install(session)
    tool = next((name for name in ("micromamba", "mamba", "conda") if shutil.which(name)), None)
    if tool is None:
        session.error("not checked: none of micromamba, mamba and conda is installed here")
    answer = session.run(
        "python", "-c", "from d2lenv.facts.platforms import current; print(current())", silent=True, log=False
    )
    packages = Path("envs") / environment / f"conda-{str(answer).strip()}.lock"
    if not packages.is_file():
        session.error(f"not checked: {packages} does not exist, {environment} is not for this platform")
    prefix = Path(session.create_tmp()) / environment
    session.run(tool, "create", "--yes", "--prefix", str(prefix), "--file", str(packages), external=True)
    d2lenv(session, "smoke", environment, "--prefix", str(prefix))


@nox.session
def lab_test(session: nox.Session) -> None:
    """Open JupyterLab from the real environments in a headless browser."""
    install(session, "dev", "browser")
    for environment in MANIFEST["tool"]["d2lenv"]["browser"]:
        session.run("python", "-m", "d2lenv", "build", environment, "--engine", "wheels")
    session.run("python", "-m", "pytest", "-m", "browser", "tests/browser", *session.posargs)


@nox.session
def readme(session: nox.Session) -> None:
    """Type README's first commands as an ordinary user with an empty home folder."""
    install(session, "dev")
    # Slow tests are named, so that a run that skips one says so.
    session.run("pytest", "-rA", "tests/fresh", *session.posargs, env={"D2LENV_FRESH": "1"})


@nox.session
def bench(session: nox.Session) -> None:
    """Measure what the issues promise; `-- build lock` picks benchmarks."""
    install(session, "dev")
    for script in BENCHMARKS:
        if not session.posargs or script.stem.removeprefix("bench_") in session.posargs:
            session.run("python", str(script))


@nox.session
def tamper(session: nox.Session) -> None:
    """Change a copy of the CUDA environment in hundreds of ways: `verify` must find each of them."""
    install(session, "dev")
    session.run("python", "benchmarks/tamper", *session.posargs)


if __name__ == "__main__":
    nox.main()
