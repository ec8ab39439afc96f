"""The commands that prove something: verify, repro, fingerprint, diff and attest."""

from __future__ import annotations

import os
from pathlib import Path

import click

from d2lenv.base.errors import FAILED
from d2lenv.base.messages import mark, tr
from d2lenv.cli import shared


@shared.command(
    short_help=mark("Is an environment exactly what the lock says?"),
    help=mark(
        "Compare an environment with the lock: every package, every file by its digest, every link, and what "
        "is there besides. What normal use leaves behind is tolerated and listed. Exit status 1 when "
        "anything else differs.\n\n"
        "Examples: d2lenv verify cuda, d2lenv verify ~/miniconda3/envs/d2l --environment cuda"
    ),
)
@click.argument("name", required=False, metavar="[PREFIX|ENV]")
@shared.option(
    "--environment",
    default="",
    metavar="ENV",
    help=mark("The environment that PREFIX must be, if conda, mamba or pixi made it from our lock."),
)
@shared.option("--quick", is_flag=True, help=mark("Compare sizes and times, read no content."))
@shared.as_json
@click.pass_obj
def verify(place: shared.Place, name: str | None, environment: str, quick: bool, as_json: bool) -> int:
    from d2lenv.base.console import print_json
    from d2lenv.verify.prefix import verification

    with verification.progress_bar() as progress:
        found = verification.verify(
            place.workspace(), name, os.environ, environment=environment, quick=quick, progress=progress
        )
    if as_json:
        print_json("verify", found.ok, found.as_json())
    else:
        verification.show(found)
    return 0 if found.ok else FAILED


@shared.command(
    short_help=mark("Build an environment twice and compare every file."),
    help=mark(
        "Build an environment twice from one lock, in different places and the second time with an empty "
        "cache, and compare every path, mode, link and byte. Exit status 1 when anything differs.\n\n"
        "Examples: d2lenv repro cuda --engine wheels, d2lenv repro cuda --against .d2lenv/cuda-wheels"
    ),
)
@click.argument("environment")
@shared.engine
@shared.option(
    "--against",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help=mark("Compare this prefix with one build instead of two builds."),
)
@shared.option("--warm", is_flag=True, help=mark("Let the second build use the caches too."))
@shared.option("--keep", is_flag=True, help=mark("Leave both builds in .d2lenv/ for inspection."))
@shared.as_json
@click.pass_obj
def repro(
    place: shared.Place,
    environment: str,
    engine: str,
    against: Path | None,
    warm: bool,
    keep: bool,
    as_json: bool,
) -> int:
    from d2lenv.base.console import note, print_json
    from d2lenv.verify import repro

    workspace, other = place.workspace(), against.absolute() if against else None
    found = repro.repro(workspace, environment, engine=engine, against=other, warm=warm, keep=keep, say=note)
    page = repro.write_reports(found, workspace.root / "reports" / f"repro-{environment}")
    note(tr("{path} written", path=page.relative_to(workspace.root)))
    if as_json:
        print_json("repro", found.comparison.same, found.as_json())
    else:
        repro.show(found)
    return 0 if found.comparison.same else FAILED


@shared.command(
    short_help=mark("One line that two machines can compare."),
    help=mark(
        "Print the digest of what is locked and, with --prefix, of what is installed. docs/fingerprint.md "
        "says exactly what is hashed.\n\n"
        "Examples: d2lenv fingerprint cuda, d2lenv fingerprint --prefix .d2lenv/cuda-wheels"
    ),
)
@click.argument("environment", required=False)
@shared.option(
    "--prefix",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help=mark("Also of what is installed there; with an environment's name, whoever installed it."),
)
@shared.option("--platform", help=mark("Platform, as linux-64 (default: this machine's)."))
@shared.option(
    "--json", "as_json", is_flag=True, help=mark("One JSON document, with every line that was hashed.")
)
@click.pass_obj
def fingerprint(
    place: shared.Place, environment: str | None, prefix: Path | None, platform: str | None, as_json: bool
) -> None:
    from d2lenv.base.console import print_json
    from d2lenv.verify import fingerprint
    from d2lenv.workspace import host

    if environment is None and prefix is None:
        raise click.UsageError(tr("give an environment, or --prefix DIR"))
    if prefix is not None:
        found = [*fingerprint.of_prefix(place.workspace(), prefix.absolute(), environment or "")]
    else:
        workspace, name = place.workspace(), str(environment)
        wanted = platform or host.platform_for(workspace, name)
        found = fingerprint.of_environment(workspace, name, wanted)
    if as_json:
        print_json("fingerprint", True, {"fingerprints": [one.as_json() for one in found]})
    else:
        click.echo("\n".join(map(str, found)))


@shared.command(
    short_help=mark("What differs between two locks, environments or revisions."),
    help=mark(
        "Compare A with B: each a prefix, a lock or requirements file, a checkout, what `fingerprint --json` "
        "printed, or a git revision of this checkout. Exit status 1 when they differ.\n\n"
        "Examples: d2lenv diff HEAD~1 pixi.lock, d2lenv diff v1.0 v1.1 --markdown"
    ),
)
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@shared.option("--environment", help=mark("Only this environment."))
@shared.option("--platform", help=mark("Only this platform."))
@shared.option("--markdown", "as_markdown", is_flag=True, help=mark("A Markdown table for a pull request."))
@shared.as_json
@click.pass_obj
def diff(
    place: shared.Place,
    first: str,
    second: str,
    environment: str | None,
    platform: str | None,
    as_markdown: bool,
    as_json: bool,
) -> int:
    from d2lenv.base.console import print_json
    from d2lenv.verify import lock_diff

    found = lock_diff.diff(place.workspace(), first, second, environment, platform)
    if as_json:
        print_json("diff", not found, {"changes": [change.as_json() for change in found]})
    elif as_markdown:
        click.echo(lock_diff.markdown(found), nl=False)
    else:
        lock_diff.show(found)
    return FAILED if found else 0


@shared.command(
    short_help=mark("Write what a release vouches for."),
    help=mark(
        "Write reports/attestation.json: the digests of the locks and of all exported files, how they were "
        "made, fingerprints, and the results of smoke and repro runs that lie in reports/. It signs nothing: "
        "the release workflow does, with GitHub's own identity.\n\n"
        "Example: d2lenv attest"
    ),
)
@shared.as_json
@click.pass_obj
def attest(place: shared.Place, as_json: bool) -> None:
    from d2lenv.base.console import note, print_json
    from d2lenv.verify import attest

    workspace = place.workspace()
    statement = attest.statement(workspace, os.environ)
    for path in attest.write(statement, workspace.root / "reports"):
        note(tr("{path} written", path=path.relative_to(workspace.root)))
    if as_json:
        print_json("attest", True, {"statement": statement})
    else:
        attest.show(statement)
