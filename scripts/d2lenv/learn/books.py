"""The books' own notebooks: found, laid out, and run without a network."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from d2lenv.base.errors import USAGE, D2lEnvError
from d2lenv.base.messages import tr
from d2lenv.smoke.results import Check, NotebookResult


def find(folder: Path) -> tuple[Path, ...]:
    """Return every notebook in ``folder`` and below it, chapters in order.

    Raises:
        D2lEnvError: if there are none.
    """
    found = sorted(path for path in _files(folder) if path.suffix == ".ipynb")
    if not found:
        raise D2lEnvError(tr("no notebooks in {folder}", folder=folder), status=USAGE)
    return tuple(found)


# A folder with one of these is an environment, or a report whose notebooks were executed already.
_NOT_A_BOOK = ("pyvenv.cfg", "conda-meta", "report.html")


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files in ``folder`` and below it, without hidden folders and those that no book has."""
    for place, folders, files in os.walk(folder):
        if Path(place) != folder and any(name in _NOT_A_BOOK for name in (*folders, *files)):
            folders.clear()
            continue
        folders[:] = [name for name in folders if not name.startswith(".") and name != "node_modules"]
        yield from (Path(place, name) for name in files)


def has_chapters(folder: Path) -> bool:
    """Return whether notebooks lie in folders below ``folder``, as a book's do, whatever lies in it besides.

    Both books have an ``index.ipynb`` beside their chapters.

    Raises:
        D2lEnvError: if there are no notebooks.
    """
    return any(path.parent != folder for path in find(folder))


def stage(folder: Path, names: Sequence[str], data: Path | None, scratch: Path) -> tuple[Path, ...]:
    """Lay a book out in ``scratch`` so that its notebooks find their pictures and ``../data``.

    A notebook is copied under a name that says its chapter (every chapter has an ``index.ipynb``). Everything
    beside it is linked. What ``d2l`` unpacks or downloads goes to ``scratch`` and not into ``data``.

    Args:
        names: only these notebooks, by their name with or without the chapter; all when empty.
        data: the folder whose files ``d2l.download`` is to find, by their names in ``DATA_HUB``.

    Raises:
        D2lEnvError: a folder or a name is not there.
    """
    if data is not None and not data.is_dir():
        raise D2lEnvError(tr("{path} is not a folder", path=data), status=USAGE)
    wanted = [name.removesuffix(".ipynb") for name in names]
    book = scratch / "book"
    staged: list[Path] = []
    known: list[str] = []
    for path in find(folder):
        relative = path.relative_to(folder).with_suffix("")
        name = ".".join(relative.parts)
        known.append(name)
        if wanted and name not in wanted and path.stem not in wanted:
            continue
        chapter = book / relative.parent
        chapter.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, chapter / f"{name}.ipynb")
        staged.append(chapter / f"{name}.ipynb")
    for name in wanted:
        if name not in known and not any(full.split(".")[-1] == name for full in known):
            raise D2lEnvError(
                tr("{folder} has no notebook `{name}`", folder=folder, name=name),
                fix=tr("choose one of: {names}", names=", ".join(known)),
                status=USAGE,
            )
    _link_others(folder, book)
    if (folder.parent / "img").is_dir():  # the folder is one chapter: its pictures are beside it
        _link_others(folder.parent / "img", scratch / "img")
    for place in {path.parent.parent / "data" for path in staged}:
        place.mkdir(parents=True, exist_ok=True)
        if data is not None:
            _link_others(data, place)
    return tuple(staged)


def _link_others(source: Path, target: Path) -> None:
    """Link every file of ``source`` that is not a notebook to the same place in ``target``; or copy it."""
    for path in _files(source):
        place = target / path.relative_to(source)
        if path.suffix == ".ipynb" or place.exists():
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            place.symlink_to(path.resolve())
        except OSError:  # Windows asks for a privilege
            shutil.copyfile(path, place)


# The exceptions with which requests, urllib3, urllib and http.client say that nobody answers; torchvision and
# torch.hub wrap the latter. An answer such as "404" is not among them: then there is a network.
_NO_ANSWER = re.compile(
    r"^(?:\w+\.)*(?:ConnectionError|ConnectTimeout|ReadTimeout|Timeout|ProxyError|SSLError|URLError|"
    r"NewConnectionError|MaxRetryError|NameResolutionError|RemoteDisconnected|gaierror)\b"
    r"|^RuntimeError: Error downloading"
)
_NETWORK_CODE = re.compile(r"\b(?:requests|urllib3|urllib|torchvision[/\\.]datasets|torch[/\\.]hub)\b")


def needs_network(result: NotebookResult) -> bool:
    """Did a cell fail because nobody answered a download?"""
    if result.cause != "error" or not _NO_ANSWER.match(result.reason):
        return False
    return _NETWORK_CODE.search(result.traceback) is not None


def revise(result: NotebookResult) -> NotebookResult:
    """A notebook that a download has stopped was not checked from there on; it has not failed."""
    if not needs_network(result):
        return result
    reason = tr("needs the network, or the file in --data ({error})", error=result.reason[:200])
    rest = Check(tr("from {place} on", place=result.place), "not-checked", reason, "network")
    checks = (*result.checks, rest)
    return replace(result, status="not-checked", cause="network", reason=reason, checks=checks)
