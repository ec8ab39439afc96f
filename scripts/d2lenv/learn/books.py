"""The books' own notebooks: found, laid out, and run without a network."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
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
    found = sorted(path for path in files(folder) if path.suffix == ".ipynb")
    if not found:
        raise D2lEnvError(tr("no notebooks in {folder}", folder=folder), status=USAGE)
    return tuple(found)


# A folder with one of these is an environment, or a report whose notebooks were executed already.
_NOT_A_BOOK = ("pyvenv.cfg", "conda-meta", "report.html")


def files(folder: Path) -> Iterator[Path]:
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


_LARGE = 64 * 2**20


def stage(folder: Path, names: Sequence[str], data: Path | None, scratch: Path) -> tuple[Path, ...]:
    """Lay a book out in ``scratch`` so that its notebooks find their pictures and ``../data``.

    A notebook is copied under a name that says its chapter (every chapter has an ``index.ipynb``), and so are
    the files beside it but for very large ones: notebooks of the books write some of them anew. Data files
    are linked. All that ``d2l`` unpacks or downloads goes to ``scratch``.

    Args:
        names: only these notebooks, by their name with or without the chapter; all when empty.
        data: the folder whose files ``d2l.download`` is to find, by their names in ``DATA_HUB``.

    Raises:
        D2lEnvError: if a folder or a name is not there.
    """
    if data is not None and not data.is_dir():
        raise D2lEnvError(tr("{path} is not a folder", path=data), status=USAGE)
    book = scratch / "book"
    _lay(folder, book, linked_from=_LARGE)
    if (folder.parent / "img").is_dir():  # the folder is one chapter: its pictures are beside it
        _lay(folder.parent / "img", scratch / "img", linked_from=_LARGE)
    staged: list[Path] = []
    for path in _chosen(folder, [name.removesuffix(".ipynb") for name in names]):
        relative = path.relative_to(folder)
        staged.append(book / relative.parent / f"{_full_name(relative)}.ipynb")
        staged[-1].parent.mkdir(parents=True, exist_ok=True)
        staged[-1].write_bytes(without_installations(path.read_bytes()))
    for place in {path.parent.parent / "data" for path in staged}:
        place.mkdir(parents=True, exist_ok=True)
        if data is not None:
            _lay(data, place, linked_from=0)
    return tuple(staged)


_INSTALLATION = re.compile(r"\s*[!%]\s*(?:python3? -m )?(?:pip3?|conda|mamba)\s+install\b")


def without_installations(raw: bytes) -> bytes:
    """Return a notebook with each line that would install packages turned into a comment.

    The notebooks of Colab begin so. The environment has its packages, and whatever pip comes first on PATH
    might put others elsewhere.
    """
    if b"install" not in raw:
        return raw
    try:
        notebook = json.loads(raw)
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                text = cell["source"] if isinstance(cell["source"], str) else "".join(cell["source"])
                cell["source"] = "".join(
                    f"# d2lenv: not run: {line.lstrip()}" if _INSTALLATION.match(line) else line
                    for line in text.splitlines(keepends=True)
                )
    except (ValueError, KeyError, TypeError, AttributeError):
        return raw  # whoever runs it will say what is wrong with it
    return json.dumps(notebook, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _full_name(relative: Path) -> str:
    """Return ``chapter.name`` of a notebook."""
    return ".".join(relative.with_suffix("").parts)


def _chosen(folder: Path, wanted: Sequence[str]) -> list[Path]:
    """Return the notebooks with these names, with or without their chapter; all if there are no names.

    Raises:
        D2lEnvError: if a name is not there.
    """
    known = {_full_name(path.relative_to(folder)): path for path in find(folder)}
    for name in wanted:
        if name not in known and not any(path.stem == name for path in known.values()):
            raise D2lEnvError(
                tr("{folder} has no notebook `{name}`", folder=folder, name=name),
                fix=tr("choose one of: {names}", names=", ".join(known)),
                status=USAGE,
            )
    return [path for name, path in known.items() if not wanted or name in wanted or path.stem in wanted]


def _lay(source: Path, target: Path, *, linked_from: int) -> None:
    """Put every file of ``source`` that is not a notebook to its place in ``target``, unless it is there.

    Args:
        linked_from: bytes from which on a file is linked; a smaller one is copied.
    """
    for path in files(source):
        place = target / path.relative_to(source)
        if path.suffix == ".ipynb" or place.exists() or not path.is_file():
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.stat().st_size >= linked_from:
            with suppress(OSError):  # Windows asks for a privilege
                place.symlink_to(path.resolve())
                continue
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
    """Return whether a cell failed because nobody answered a download."""
    if result.cause != "error" or not _NO_ANSWER.match(result.reason):
        return False
    return _NETWORK_CODE.search(result.traceback) is not None


def revise(result: NotebookResult) -> NotebookResult:
    """Return the result of a notebook that a download has stopped as not checked instead of failed."""
    if not needs_network(result):
        return result
    reason = tr("needs the network, or the file in --data ({error})", error=result.reason[:200])
    rest = Check(tr("from {place} on", place=result.place), "not-checked", reason, "network")
    checks = (*result.checks, rest)
    return replace(result, status="not-checked", cause="network", reason=reason, checks=checks)
