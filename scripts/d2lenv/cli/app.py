"""The commands and their options, nothing else.

Modules are imported inside the commands: ``d2lenv --help`` and ``d2lenv doctor`` must not pay for a
solver or a notebook client that they do not use.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from d2lenv.base.errors import FAILED, D2lEnvError
from d2lenv.base.messages import tr

if TYPE_CHECKING:
    from d2lenv.solve.wheels import Difference
    from d2lenv.workspace.manifest import Workspace

# The exit status of a program stopped by Ctrl-C, as shells have it: 128 + SIGINT.
_INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="d2lenv", prog_name="d2lenv")
@click.option(
    "--workspace",
    "root",
    type=click.Path(file_okay=False, path_type=Path),
    default=None,
    help=tr("Folder with pixi.toml (default: this one or the nearest above)."),
)
@click.pass_context
def cli(context: click.Context, root: Path | None) -> None:
    context.obj = root


cli.help = tr("Reproducible deep-learning environments for d2l and Deep Learning with PyTorch.")


def _root(context: click.Context) -> Path:
    from d2lenv.workspace import manifest as workspace

    root: Path | None = context.find_root().obj
    return root if root is not None else workspace.find(Path.cwd())


def _workspace(context: click.Context) -> Workspace:
    from d2lenv.workspace import manifest as workspace

    return workspace.load(_root(context))


@cli.command(short_help=tr("Solve pixi.toml into pixi.lock."))
@click.option(
    "--snapshot",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help=tr("Solve offline from DIR/<channel>/<subdir>/repodata.json."),
)
@click.option(
    "--update", "names", multiple=True, metavar="NAME", help=tr("Let this package move (repeatable).")
)
@click.option("--update-all", is_flag=True, help=tr("Let every package move."))
@click.option("--no-wheels", is_flag=True, help=tr("Leave envs/*/requirements-*.txt as they are."))
@click.option("--record", is_flag=True, help=tr("Solve nothing: accept the pixi.lock that pixi wrote."))
@click.option("--json", "as_json", is_flag=True, help=tr("One JSON document on standard output."))
@click.pass_context
def lock(
    context: click.Context,
    snapshot: Path | None,
    names: tuple[str, ...],
    update_all: bool,
    no_wheels: bool,
    record: bool,
    as_json: bool,
) -> None:
    from d2lenv.base.console import note
    from d2lenv.solve import update as locking
    from d2lenv.solve import wheels
    from d2lenv.workspace import lockfile
    from d2lenv.workspace import settings as variants

    workspace = _workspace(context)
    if record:
        if snapshot or names or update_all:
            raise click.UsageError(tr("--record solves nothing: it goes with none of the other options"))
        locking.show_recorded(locking.record(workspace), as_json)
        return
    moved = frozenset(names)
    locking.show(locking.lock(workspace, snapshot, moved, update_all), as_json)
    if not no_wheels:
        for path in wheels.lock_wheels(
            workspace,
            lockfile.read(workspace.lock),
            variants.load(workspace),
            update=moved,
            update_all=update_all,
            say=note,
        ):
            note(tr("{path} written", path=path.relative_to(workspace.root)))


lock.help = tr(
    "Solve pixi.toml into pixi.lock: with pixi where it is installed and the channels answer, otherwise "
    "with the embedded solver. Locked packages stay where they are unless they must move.\n\n"
    "Example: d2lenv lock --snapshot ../shared/channels --update numpy"
)


@cli.command(short_help=tr("Does pixi.lock satisfy pixi.toml?"))
@click.option(
    "--solve", "solve_again", is_flag=True, help=tr("Also solve again from the locked records alone.")
)
@click.option("--json", "as_json", is_flag=True, help=tr("One JSON document on standard output."))
@click.pass_context
def check(context: click.Context, solve_again: bool, as_json: bool) -> int:
    from d2lenv.base.console import print_json
    from d2lenv.solve import check as checking
    from d2lenv.workspace import lockfile

    workspace = _workspace(context)
    locked = lockfile.read(workspace.lock)
    recorded = lockfile.read_digests(workspace.root / lockfile.DIGESTS)
    findings = checking.check(workspace, locked, recorded)
    if solve_again:
        findings += checking.solve_again(workspace, locked)
    if as_json:
        print_json(checking.as_json(findings, locked))
    else:
        checking.show(findings, locked)
    return FAILED if any(finding.level == "error" for finding in findings) else 0


check.help = tr(
    "Prove, offline and without pixi, that pixi.lock satisfies pixi.toml and is what `d2lenv lock` "
    "recorded. One line for each finding; exit status 1 when there is an error among them.\n\n"
    "Example: d2lenv check --solve"
)


_engine = click.option(
    "--engine",
    default="auto",
    show_default=True,
    metavar="auto|pixi|rattler|wheels",
    help=tr("Who builds it."),
)
_python = click.option(
    "--python", type=click.Path(path_type=Path), help=tr("Interpreter for the wheels engine.")
)


@cli.command(short_help=tr("Build an environment on this machine."))
@click.argument("environment")
@_engine
@click.option(
    "--prefix",
    type=click.Path(path_type=Path),
    help=tr("Where (default: .pixi/envs/ENV or .d2lenv/ENV-ENGINE)."),
)
@_python
@click.option("--fresh", is_flag=True, help=tr("Build anew although the prefix is up to date."))
@click.option("--link-scripts", is_flag=True, help=tr("Let conda packages run their post-link scripts."))
@click.option("--manifest", is_flag=True, help=tr("Record every file's mode and time for `verify`, too."))
@click.option("--no-space-check", is_flag=True, help=tr("Build although the disk looks too small."))
@click.option("--json", "as_json", is_flag=True, help=tr("One JSON document on standard output."))
@click.pass_context
def build(
    context: click.Context,
    environment: str,
    engine: str,
    prefix: Path | None,
    python: Path | None,
    fresh: bool,
    link_scripts: bool,
    manifest: bool,
    no_space_check: bool,
    as_json: bool,
) -> None:
    from d2lenv.base.console import note, print_json
    from d2lenv.engines import build as building

    built = building.build(
        _workspace(context),
        environment,
        engine=engine,
        prefix=prefix,
        python=python,
        fresh=fresh,
        link_scripts=link_scripts,
        check_space=not no_space_check,
        full_manifest=manifest,
        say=note,
    )
    if as_json:
        print_json(built.as_json())
    else:
        building.show(built)


build.help = tr(
    "Build an environment from its lock: with pixi, with py-rattler, or from wheels. An up-to-date one is "
    "used again at once.\n\n"
    "Example: d2lenv build cuda --engine wheels"
)


@cli.command(short_help=tr("Run the notebooks in an environment and report."))
@click.argument("environment", metavar="ENV")
@click.option(
    "--prefix",
    type=click.Path(file_okay=False, path_type=Path),
    help=tr("Run in this conda environment or virtual environment."),
)
@_engine
@_python
@click.option(
    "--notebook", "names", multiple=True, metavar="NAME", help=tr("Run only this notebook (repeatable).")
)
@click.option(
    "--notebooks",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help=tr("Run the notebooks of this folder, a book's with its chapters (default: ours, notebooks/)."),
)
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help=tr("With --notebooks: where d2l.download finds its files, instead of ../data."),
)
@click.option("--require-gpu", is_flag=True, help=tr("What needs a GPU and finds none has failed."))
@click.option(
    "--cell-timeout",
    type=click.IntRange(min=1),
    default=600,
    show_default=True,
    metavar="SECONDS",
    help=tr("The most seconds for one cell."),
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    metavar="N",
    help=tr("Notebooks at a time (default: by cores and memory)."),
)
@click.option(
    "--report",
    type=click.Path(file_okay=False, path_type=Path),
    help=tr("Folder for the report (default: reports/ENV)."),
)
@click.option("--json", "as_json", is_flag=True, help=tr("One JSON document on standard output."))
@click.pass_context
def smoke(
    context: click.Context,
    environment: str,
    prefix: Path | None,
    engine: str,
    python: Path | None,
    names: tuple[str, ...],
    folder: Path | None,
    data: Path | None,
    require_gpu: bool,
    cell_timeout: int,
    jobs: int | None,
    report: Path | None,
    as_json: bool,
) -> int:
    import tempfile

    from d2lenv.base.console import note, print_json
    from d2lenv.engines import build as building
    from d2lenv.learn import books
    from d2lenv.smoke import report as reporting
    from d2lenv.smoke import run as smoking

    if data is not None and folder is None:
        raise click.UsageError(tr("--data goes with --notebooks"))
    differences: tuple[Difference, ...] = ()
    if prefix is None:
        built = building.build(_workspace(context), environment, engine=engine, python=python, say=note)
        prefix, differences = built.prefix, built.differences
    else:
        # Outside a workspace, or in one without this environment, there is nothing to compare with.
        with suppress(D2lEnvError):
            differences = building.differences_in(prefix, _root(context))
    target = report or _root(context) / "reports" / smoking.checked_name(environment)
    with tempfile.TemporaryDirectory(prefix="d2lenv-book-", ignore_cleanup_errors=True) as scratch:
        if folder is not None and (data is not None or books.has_chapters(folder)):
            notebooks = books.stage(folder, names, data, Path(scratch))
        else:
            notebooks = smoking.find(folder or _root(context) / "notebooks", names)
        with reporting.progress(len(notebooks)) as on_event:
            run = smoking.run(
                smoking.interpreter_of(prefix),
                notebooks,
                target / reporting.EXECUTED,
                require_gpu=require_gpu,
                cell_timeout_s=cell_timeout,
                jobs=jobs,
                revise=(lambda result: result) if folder is None else books.revise,
                on_event=on_event,
            )
    page = reporting.write(run, environment, target, differences)
    if as_json:
        print_json(reporting.as_dict(run, environment, differences))
    else:
        reporting.show(run, page)
    if run.interrupted:
        return _INTERRUPTED
    return FAILED if run.failed else 0


smoke.help = tr(
    "Run the notebooks in an environment's own kernel, several at a time, and write what they prove to "
    "reports/ENV: a page (report.html), JUnit XML, result.json and the executed notebooks. Exit status 1 "
    "when something failed.\n\n"
    "Example: d2lenv smoke cuda --prefix .d2lenv/cuda-wheels --notebook 02-gpu-tensor-op"
)


@cli.command("export", short_help=tr("Write envs/: the lock for conda, mamba, Colab and others."))
@click.argument("names", nargs=-1, metavar="[ENV]...")
@click.option(
    "--format", "formats", multiple=True, metavar="FORMAT", help=tr("Only this format (repeatable).")
)
@click.option("--check", "checking", is_flag=True, help=tr("Write nothing: exit 1 and a diff when stale."))
@click.option(
    "--lock",
    "lock_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help=tr("Export this pixi.lock (format 4 to 7) instead; needs --output."),
)
@click.option(
    "--output", type=click.Path(file_okay=False, path_type=Path), help=tr("Where --lock's exports go.")
)
@click.option(
    "--conda-only", is_flag=True, help=tr("Leave PyPI packages out of formats without a place for them.")
)
@click.option(
    "--previous", metavar="LOCK|REVISION", help=tr("Compare MANIFEST.md with this release from now on.")
)
@click.option("--json", "as_json", is_flag=True, help=tr("One JSON document on standard output."))
@click.pass_context
def export_(
    context: click.Context,
    names: tuple[str, ...],
    formats: tuple[str, ...],
    checking: bool,
    lock_file: Path | None,
    output: Path | None,
    conda_only: bool,
    previous: str | None,
    as_json: bool,
) -> int:
    from d2lenv.export import plan as exports

    if (lock_file is None) != (output is None):
        raise click.UsageError(tr("--lock and --output go together"))
    request = exports.Request(names, formats, conda_only, previous, write=not checking)
    if lock_file is not None and output is not None:
        plan = exports.of_lock(lock_file, output, request)
    else:
        plan = exports.of_workspace(_workspace(context), request)
    return exports.report(plan, exports.run(plan, request), as_json)


export_.help = tr(
    "Write what other tools read, made from pixi.lock alone: conda-lock.yml, explicit lists, "
    "environment.yml, Colab, Studio Lab and Binder, an SBOM and a MANIFEST.md for each environment. "
    "--check writes nothing and fails with a diff when a file is stale or was edited.\n\n"
    "Example: d2lenv export --check\n\n"
    "Example: d2lenv export --lock ../other/pixi.lock --output exported --format conda-lock"
)


@cli.command(short_help=tr("What is wrong with an environment, why, and what to type."))
@click.argument("words", nargs=-1, metavar="[PREFIX|ENV]")
@click.option(
    "--plan", is_flag=True, help=tr("Judge what is about to be installed: python=3.12 d2l==0.17.6.")
)
@click.option("--deep", is_flag=True, help=tr("Also start its Python, import torch and use the GPU."))
@click.option("--fix", is_flag=True, help=tr("Print only the commands that mend what was found."))
@click.option("--yes", is_flag=True, help=tr("With --fix: run the commands that are safe."))
@click.option("--lang", type=click.Choice(["en", "zh"]), help=tr("Language of the answer."))
@click.option("--json", "as_json", is_flag=True, help=tr("One JSON document on standard output."))
@click.pass_context
def doctor(
    context: click.Context,
    words: tuple[str, ...],
    plan: bool,
    deep: bool,
    fix: bool,
    yes: bool,
    lang: str | None,
    as_json: bool,
) -> int:
    if lang is not None:
        os.environ["D2LENV_LANG"] = lang
    if yes and not fix:
        raise click.UsageError(tr("--yes goes with --fix"))
    if len(words) > 1 and not plan:
        raise click.UsageError(tr("one environment at a time"))
    from d2lenv.doctor import command

    if plan:
        return command.plan(words, as_json)
    root: Path | None = context.find_root().obj
    return command.examine(words[0] if words else None, root, deep=deep, fix=fix, yes=yes, as_json=as_json)


doctor.help = tr(
    "Examine an environment: ours, a conda environment, a venv or a system Python; without a name the "
    "active one. Reads files only, imports nothing. Exit status 1 when errors are found.\n\n"
    "Examples: d2lenv doctor, d2lenv doctor cuda --lang zh, d2lenv doctor --plan python=3.12 d2l==0.17.6"
)


@cli.command(short_help=tr("Is an environment exactly what the lock says?"))
@click.argument("name", required=False, metavar="[PREFIX|ENV]")
@click.option("--quick", is_flag=True, help=tr("Compare sizes and times, read no content."))
@click.option("--json", "as_json", is_flag=True, help=tr("One JSON document on standard output."))
@click.pass_context
def verify(context: click.Context, name: str | None, quick: bool, as_json: bool) -> int:
    from d2lenv.base.console import print_json
    from d2lenv.verify import files as verifying

    with verifying.progress_bar() as progress:
        found = verifying.verify(_workspace(context), name, os.environ, quick=quick, progress=progress)
    if as_json:
        print_json(found.as_json())
    else:
        verifying.show(found)
    return 0 if found.clean else FAILED


verify.help = tr(
    "Compare an environment with the lock: every package, every file by its digest, every link, and what "
    "is there besides. What normal use leaves behind is tolerated and listed. Exit status 1 when anything "
    "else differs.\n\n"
    "Examples: d2lenv verify cuda, d2lenv verify cuda --quick"
)


@cli.command(short_help=tr("Build an environment twice and compare every file."))
@click.argument("environment")
@click.option(
    "--engine",
    default="auto",
    show_default=True,
    metavar="auto|pixi|rattler|wheels",
    help=tr("Who builds it."),
)
@click.option(
    "--against",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help=tr("Compare this prefix with one build instead of two builds."),
)
@click.option("--warm", is_flag=True, help=tr("Let the second build use the caches too."))
@click.option("--keep", is_flag=True, help=tr("Leave both builds in .d2lenv/ for inspection."))
@click.option("--json", "as_json", is_flag=True, help=tr("One JSON document on standard output."))
@click.pass_context
def repro(
    context: click.Context,
    environment: str,
    engine: str,
    against: Path | None,
    warm: bool,
    keep: bool,
    as_json: bool,
) -> int:
    from d2lenv.base.console import note, print_json
    from d2lenv.verify import repro as reproducing

    workspace = _workspace(context)
    found = reproducing.repro(
        workspace,
        environment,
        engine=engine,
        against=against.absolute() if against else None,
        warm=warm,
        keep=keep,
        say=note,
    )
    page = reproducing.write_reports(found, workspace.root / "reports" / f"repro-{environment}")
    note(tr("{path} written", path=page.relative_to(workspace.root)))
    if as_json:
        print_json(found.as_json())
    else:
        reproducing.show(found)
    return 0 if found.comparison.same else FAILED


repro.help = tr(
    "Build an environment twice from one lock, in different places and the second time with an empty cache, "
    "and compare every path, mode, link and byte. Exit status 1 when anything differs.\n\n"
    "Examples: d2lenv repro cuda --engine wheels, d2lenv repro cuda --against .d2lenv/cuda-wheels"
)


@cli.command(short_help=tr("One line that two machines can compare."))
@click.argument("environment", required=False)
@click.option(
    "--prefix",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help=tr("Also of what is installed there."),
)
@click.option("--platform", help=tr("Conda subdir (default: this machine's)."))
@click.option(
    "--json", "as_json", is_flag=True, help=tr("One JSON document, with every line that was hashed.")
)
@click.pass_context
def fingerprint(
    context: click.Context, environment: str | None, prefix: Path | None, platform: str | None, as_json: bool
) -> None:
    from d2lenv.base.console import print_json
    from d2lenv.facts import platforms
    from d2lenv.verify import fingerprint as fingerprints

    if (environment is None) == (prefix is None):
        raise click.UsageError(tr("give an environment, or --prefix DIR"))
    workspace = _workspace(context)
    if prefix is not None:
        found = list(fingerprints.of_prefix(workspace, prefix.absolute()))
    else:
        subdir = platform or platforms.current()
        found = [fingerprints.of_environment(workspace, str(environment), subdir)]
    if as_json:
        print_json([one.as_json() for one in found])
    else:
        for one in found:
            click.echo(one)


fingerprint.help = tr(
    "Print the digest of what is locked and, with --prefix, of what is installed. docs/fingerprint.md says "
    "exactly what is hashed.\n\n"
    "Examples: d2lenv fingerprint cuda, d2lenv fingerprint --prefix .d2lenv/cuda-wheels"
)


@cli.command(short_help=tr("What differs between two locks, environments or revisions."))
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option("--environment", help=tr("Only this environment."))
@click.option("--platform", help=tr("Only this platform."))
@click.option("--markdown", "as_markdown", is_flag=True, help=tr("A Markdown table for a pull request."))
@click.option("--json", "as_json", is_flag=True, help=tr("One JSON document on standard output."))
@click.pass_context
def diff(
    context: click.Context,
    first: str,
    second: str,
    environment: str | None,
    platform: str | None,
    as_markdown: bool,
    as_json: bool,
) -> int:
    from d2lenv.base.console import print_json
    from d2lenv.verify import lock_diff as differing

    found = differing.diff(_workspace(context), first, second, environment, platform)
    if as_json:
        print_json({"changes": [change.as_json() for change in found]})
    elif as_markdown:
        click.echo(differing.markdown(found), nl=False)
    else:
        differing.show(found)
    return FAILED if found else 0


diff.help = tr(
    "Compare A with B: each a prefix, a lock or requirements file, a checkout, what `fingerprint --json` "
    "printed, or a git revision of this checkout. Exit status 1 when they differ.\n\n"
    "Examples: d2lenv diff HEAD~1 pixi.lock, d2lenv diff v1.0 v1.1 --markdown"
)


@cli.command(short_help=tr("Write what a release vouches for."))
@click.option("--json", "as_json", is_flag=True, help=tr("One JSON document on standard output."))
@click.pass_context
def attest(context: click.Context, as_json: bool) -> None:
    from d2lenv.base.console import note, print_json
    from d2lenv.verify import attest as attesting

    workspace = _workspace(context)
    statement = attesting.statement(workspace, os.environ)
    for path in attesting.write(statement, workspace.root / "reports"):
        note(tr("{path} written", path=path.relative_to(workspace.root)))
    if as_json:
        print_json(statement)
    else:
        attesting.show(statement)


attest.help = tr(
    "Write reports/attestation.json: the digests of the locks and of all exported files, how they were made, "
    "fingerprints, and the results of smoke and repro runs that lie in reports/. It signs nothing: the "
    "release workflow does, with GitHub's own identity.\n\n"
    "Example: d2lenv attest"
)


@cli.command(short_help=tr("Open JupyterLab in an environment, on the notebooks."))
@click.argument("environment", metavar="ENV", default="default")
@click.option(
    "--prefix",
    type=click.Path(file_okay=False, path_type=Path),
    help=tr("Use this conda environment or virtual environment; build nothing."),
)
@click.option(
    "--notebooks",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help=tr("The folder to show (default: ours, notebooks/)."),
)
@click.option("--no-browser", is_flag=True, help=tr("Open no browser; print the address and the ssh line."))
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    metavar="N",
    help=tr("This port or none (default: the first free one from 8888)."),
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help=tr("Listen on this address. Beyond loopback only with a token or password of yours."),
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help=tr("When ready, one JSON document with the address and the token."),
)
@click.pass_context
def lab(
    context: click.Context,
    environment: str,
    prefix: Path | None,
    folder: Path | None,
    no_browser: bool,
    port: int | None,
    host: str,
    as_json: bool,
) -> int:
    import os

    from d2lenv.base.console import note, print_json
    from d2lenv.engines import build as building
    from d2lenv.learn import lab as laboratory

    if prefix is None:
        prefix = laboratory.find_or_build(_workspace(context), environment, note)
    root = _root(context)
    ready = laboratory.prepare(
        environment,
        prefix.absolute(),
        building.python_of(prefix.absolute()),
        (folder or root / "notebooks").absolute(),
        root / ".d2lenv" / "lab" / environment,
        host=host,
        port=port,
        browser=not no_browser,
        environ=os.environ,
        say=note,
    )

    def on_ready(answer: laboratory.Answer) -> None:
        if as_json:
            print_json(answer.as_json())
            sys.stdout.flush()
        else:
            laboratory.show(ready, answer, os.environ, note)

    status = laboratory.run(ready, os.environ, on_ready)
    note(tr("the lab has ended, and its kernels with it"))
    return status


lab.help = tr(
    "Open JupyterLab of an environment (built first if there is none) on 127.0.0.1, in your browser, with "
    "the notebooks and the right kernel. Ctrl-C ends it and its kernels.\n\n"
    "Examples: d2lenv lab cuda, d2lenv lab zh --no-browser --port 9000"
)


@cli.command(short_help=tr("What #@save has kept of the book in the installed d2l."))
@click.argument("name", required=False)
@click.option("--environment", metavar="ENV", help=tr("Look into this environment, which has to be built."))
@click.option(
    "--prefix",
    type=click.Path(file_okay=False, path_type=Path),
    help=tr("Look into this conda environment or virtual environment."),
)
@click.option("--module", metavar="FRAMEWORK", help=tr("torch, tensorflow, mxnet … (default: torch)."))
@click.option("--all", "every", is_flag=True, help=tr("All framework modules of the release."))
@click.option(
    "--notebook",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=tr("Compare the #@save cells of this notebook with the library."),
)
@click.option("--json", "as_json", is_flag=True, help=tr("One JSON document on standard output."))
@click.pass_context
def saved(
    context: click.Context,
    name: str | None,
    environment: str | None,
    prefix: Path | None,
    module: str | None,
    every: bool,
    notebook: Path | None,
    as_json: bool,
) -> None:
    import os
    from dataclasses import asdict

    from d2lenv.base.console import print_json
    from d2lenv.learn import saved as saving

    if prefix is None:
        prefix = saving.find_prefix(lambda: _workspace(context), environment, os.environ)
    library = saving.read(prefix)
    if notebook is not None:
        found = saving.compare(notebook, library, module)
        if as_json:
            print_json({"d2l": library.version, "notebook": str(notebook), "marked": [*map(asdict, found)]})
        else:
            saving.show_notebook(library, notebook, found)
        return
    modules = list(library.modules) if every else [saving.module_named(library, module or "torch")]
    entries = (
        saving.find(library, name, modules)
        if name
        else tuple(entry for chosen in modules for entry in library.modules[chosen].entries)
    )
    if as_json:
        print_json(saving.as_json(library, entries))
    elif name:
        saving.show_found(library, entries)
    else:
        saving.show(library, entries)


saved.help = tr(
    "List what the installed d2l keeps from the book: name, place, the section that defined it, and whether "
    "it needs the network. The files are read, not imported. With --notebook: which of your #@save cells "
    "are in the library, which differ from it, and which are yours.\n\n"
    "Examples: d2lenv saved Vocab, d2lenv saved --environment zh, d2lenv saved --notebook my.ipynb"
)


@cli.group(short_help=tr("The books' own notebooks."))
def books() -> None:
    pass


books.help = tr("The books' own notebooks.")


@books.command("get", short_help=tr("Unpack a book's archive, or say where it is."))
@click.argument("edition", type=click.Choice(["en", "zh"]))
@click.argument(
    "archive", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="[FILE]"
)
@click.option(
    "--folder", type=click.Path(path_type=Path), help=tr("Where to unpack it (default: books/EDITION).")
)
@click.option("--framework", default="pytorch", show_default=True, help=tr("Whose notebooks."))
@click.option("--json", "as_json", is_flag=True, help=tr("One JSON document on standard output."))
@click.pass_context
def books_get(
    context: click.Context,
    edition: str,
    archive: Path | None,
    folder: Path | None,
    framework: str,
    as_json: bool,
) -> None:
    from d2lenv.base.console import note, print_json
    from d2lenv.learn import books as shelf

    target, digest = shelf.get(edition, archive, folder or _root(context) / "books" / edition, framework)
    count = len(shelf.find(target))
    if as_json:
        print_json(
            {
                "folder": str(target),
                "notebooks": count,
                "sha256": digest,
                "sha256_known": bool(shelf.ARCHIVES[edition].sha256),
            }
        )
        return
    click.echo(target)
    note(tr("{count} notebooks; they need d2l {version}", count=count, version=shelf.ARCHIVES[edition].d2l))
    note(tr("sha256 of the archive: {digest} (no known one to compare with)", digest=digest))


books_get.help = tr(
    "Unpack the notebooks of a book's archive that you have downloaded. Without FILE: say where the book "
    "says that it is. Nothing is downloaded, because no sha256 is known to check it with.\n\n"
    "Example: d2lenv books get en d2l-en-1.0.3.zip, then d2lenv smoke cuda --notebooks books/en --data DIR"
)


def main() -> None:
    """Console entry point: shows what a user can mend without a traceback."""
    # A command makes some hundred thousand small objects and keeps them until it ends: with Python's own 700
    # the collector goes through all of them again and again and finds nothing (a fifth of a manifest's time).
    gc.set_threshold(100_000, 50)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # A terminal or a pipe of another encoding gets `?` for what it cannot show.
            stream.reconfigure(errors="replace")
    try:
        status = _run()
    except KeyboardInterrupt:  # a second Ctrl-C, while the first was being answered
        _leave(_INTERRUPTED)
    # All is done and said; Ctrl-C from here on would only add a traceback.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if "rattler" in sys.modules:
        _leave(status)
    sys.exit(status)


def _run() -> int:
    try:
        returned = cli.main(standalone_mode=False)
    except (Exception, KeyboardInterrupt) as error:
        if _was_interrupted(error):
            click.echo(tr("stopped"), err=True)
            # From here, where the exception still holds what was interrupted (a coroutine, a half-made loop).
            _leave(_INTERRUPTED)
        if isinstance(error, click.ClickException):
            error.show()
            return error.exit_code
        if isinstance(error, D2lEnvError):
            if "--json" in sys.argv:
                from d2lenv.base.console import print_json

                print_json(error.as_dict())
            click.echo(tr("error: {message}", message=error), err=True)
            return error.status
        raise
    return returned if isinstance(returned, int) else 0


def _was_interrupted(error: BaseException) -> bool:
    """Whether ``error`` began with Ctrl-C, which what was being done may have turned into another error:
    shutil.rmtree closes its folder a second time then and raises OSError (Python 3.11, 2026-11-24)."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, (KeyboardInterrupt, click.Abort)):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _leave(status: int) -> NoReturn:
    """End the process with ``status`` at once, without the end of the interpreter.

    After a solve py-rattler's worker threads still drop Python objects; one that meets the end of the
    interpreter kills the process with SIGABRT or SIGSEGV (0.25 to 0.28, Python 3.10 to 3.12, about every
    fourth of the shortest solves, 2026-11-22; there is no call that waits for those threads:
    https://github.com/PyO3/pyo3-async-runtimes/issues/40). After Ctrl-C what was interrupted complains when
    it is dropped. Everything is written by now.
    """
    with suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)
