"""``d2lenv attest``: the in-toto statement of a release.

The statement follows https://in-toto.io/Statement/v1 (in-toto/attestation, spec/v1/statement.md). It is not
signed here and no key is made: ``.github/workflows/release.yml`` hands subjects and predicate to GitHub's
attest action, which signs with the workflow's identity.
"""

from __future__ import annotations

import hashlib
import json
import platform as machine
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from d2lenv import __version__
from d2lenv.base.console import print_table, say
from d2lenv.base.errors import D2lEnvError
from d2lenv.base.files import write_atomic
from d2lenv.base.git import GitError, git
from d2lenv.base.messages import tr, trn
from d2lenv.verify import fingerprint
from d2lenv.workspace import lockfile, settings
from d2lenv.workspace import pins as pinned
from d2lenv.workspace.manifest import LOCK, MANIFEST, Workspace

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "tag:d2l-env,2026:release/v1"
"""A name, not an address (RFC 4151); docs/fingerprint.md says what the predicate holds."""

# What GitHub says of the run (docs.github.com, default environment variables).
_RUN = (
    "GITHUB_SERVER_URL",
    "GITHUB_REPOSITORY",
    "GITHUB_SHA",
    "GITHUB_REF",
    "GITHUB_WORKFLOW_REF",
    "GITHUB_RUN_ID",
    "GITHUB_RUN_ATTEMPT",
)


def statement(workspace: Workspace, environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the whole statement; the same checkout, reports, tools and workflow run give the same.

    Raises:
        D2lEnvError: if a file of the release cannot be read, or the lock is damaged.
    """
    return {
        "_type": STATEMENT,
        "subject": [
            {"name": name, "digest": {"sha256": _sha256(workspace.root / name)}}
            for name in subjects(workspace)
        ],
        "predicateType": PREDICATE,
        "predicate": {
            "source": _source(workspace.root),
            "tools": _tools(),
            "run": {name: environ[name] for name in _RUN if environ.get(name)},
            "fingerprints": [str(one) for one in _fingerprints(workspace)],
            "smoke": list(_smoke(workspace.root)),
            "not_counted": list(_not_counted(workspace.root)),
            "repro": list(_repro(workspace.root / "reports")),
        },
    }


def subjects(workspace: Workspace) -> list[str]:
    """Return the files of a release, sorted: manifest, lock, and everything that is made from them."""
    root = workspace.root
    files = [root / MANIFEST, root / LOCK, *root.glob("envs/**/*"), *root.glob(".binder/*")]
    # A link could make the release vouch for a file outside of it.
    return sorted(
        path.relative_to(root).as_posix() for path in files if path.is_file() and not path.is_symlink()
    )


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise D2lEnvError(tr("{path} cannot be read", path=path), why=error.strerror or str(error)) from error


def _source(root: Path) -> dict[str, Any]:
    """Return the commit and whether the files are its own, empty outside of git."""
    try:
        commit = git(root, "rev-parse", "HEAD").strip()
        changed = git(root, "status", "--porcelain", "--untracked-files=no")
    except GitError:
        return {}
    return {"commit": commit, "changed": bool(changed)}


def _tools() -> dict[str, str]:
    found = {"d2lenv": __version__, "python": machine.python_version()}
    for name in ("py-rattler", "uv"):
        found[name] = metadata.version(name)
    return found


def _fingerprints(workspace: Workspace) -> Iterator[fingerprint.Fingerprint]:
    for environment, platform in lockfile.of(workspace).pairs():
        yield fingerprint.of_lock(workspace, environment, platform)
    for name, own in settings.load(workspace).items():
        for platform in own.wheels:
            for one in pinned.variations(own, platform):
                yield fingerprint.of_wheels(workspace, name, platform, one)


def _reports(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in sorted(folder.glob("*/result.json")):
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise D2lEnvError(
                tr("{path} cannot be read", path=path),
                why=str(error),
                fix=tr("remove the file, or run what wrote it again"),
            ) from error
        if isinstance(data, dict):
            yield path, data


def _smoke(root: Path) -> Iterator[dict[str, Any]]:
    for path, data in _reports(root / "reports"):
        if "notebooks" in data and _covers(root, data):
            yield {
                "environment": data.get("environment"),
                "passed": data.get("ok"),
                "interrupted": data.get("interrupted"),
                "started": data.get("started"),
                "platform": data.get("python", {}).get("platform"),
                "notebooks": {one.get("name"): one.get("status") for one in data["notebooks"]},
                "sha256": _sha256(path),
            }


def _not_counted(root: Path) -> Iterator[dict[str, Any]]:
    for path, data in _reports(root / "reports"):
        if "notebooks" in data and not _covers(root, data):
            keys = ("environment", "ended", "total")
            yield {"report": path.relative_to(root).as_posix()} | {key: data.get(key) for key in keys}


def _covers(root: Path, data: Mapping[str, Any]) -> bool:
    """Return whether every notebook of this checkout came to an end in that run."""
    ours = {path.stem for path in (root / "notebooks").glob("*.ipynb")}
    return data.get("partial") is False and ours <= {one.get("name") for one in data["notebooks"]}


def _repro(folder: Path) -> Iterator[dict[str, Any]]:
    for path, data in _reports(folder):
        if "undone" in data:
            keys = ("environment", "engine", "platform", "cold", "ok", "entries", "bytes", "undone")
            yield {key: data.get(key) for key in keys} | {"sha256": _sha256(path)}


def write(made: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write the statement and, for GitHub's action, its two halves, and return their paths.

    Raises:
        D2lEnvError: if the folder is not writable.
    """
    sums = "".join(f"{one['digest']['sha256']}  {one['name']}\n" for one in made["subject"])
    texts = {
        "attestation.json": json.dumps(made, indent=2, ensure_ascii=False) + "\n",
        "attestation-predicate.json": json.dumps(made["predicate"], indent=2, ensure_ascii=False) + "\n",
        "attestation-subjects.sha256": sums,
    }
    for name, text in texts.items():
        write_atomic(folder / name, text)
    return [folder / name for name in texts]


def show(made: Mapping[str, Any]) -> None:
    """Print the subjects, and which parts of a full release are not there."""
    print_table([tr("file"), "sha256"], [[one["name"], one["digest"]["sha256"]] for one in made["subject"]])
    predicate = made["predicate"]
    if predicate["source"].get("changed"):
        say(tr("files differ from the commit: this is no release"))
    for one in predicate["smoke"]:
        state = tr("passed") if one["passed"] else tr("failed")
        say(tr("smoke {name}: {state}", name=one["environment"], state=state))
    for one in predicate["repro"]:
        state = tr("the same") if one["ok"] else tr("not the same")
        say(tr("repro {name}: {state}", name=one["environment"], state=state))
    for one in predicate["not_counted"]:
        say(tr("{path} is not counted: it is not of every notebook of this checkout", path=one["report"]))
    if not predicate["smoke"]:
        say(tr("not checked: no smoke run lies in reports/"))
    if not predicate["repro"]:
        say(tr("not checked: no repro run lies in reports/"))
    say(trn("{count} file; not signed", "{count} files; not signed", count=len(made["subject"])))
