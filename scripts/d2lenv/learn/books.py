"""The books' own notebooks: where they are, how they are unpacked, how they run without a network.

The addresses are those that the books' installation chapters print (seen on 2026-11-22 in several independent
copies of those chapters). No sha256 of the archives was seen anywhere, so none is given and nothing is
downloaded: a file that cannot be checked is the reader's to fetch.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import stat
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from d2lenv.base.errors import USAGE, D2lEnvError
from d2lenv.base.messages import tr
from d2lenv.smoke.run import Check, NotebookResult


@dataclass(frozen=True)
class Archive:
    """A book's archive of notebooks.

    Attributes:
        address: where the book says that it is.
        sha256: of the file; empty because nobody has been seen to state it.
        d2l: the release of the library that its notebooks need.
    """

    address: str
    d2l: str
    sha256: str = ""


ARCHIVES = {
    "en": Archive("https://d2l.ai/d2l-en-1.0.3.zip", "1.0.3"),
    "zh": Archive("https://zh-v2.d2l.ai/d2l-zh-2.0.0.zip", "0.17.6"),
}

FRAMEWORKS = ("pytorch", "mxnet", "tensorflow", "jax", "paddle")
"""The folders at the top of an archive, one set of notebooks each."""

# Both archives together are far smaller; a file that unpacks to more is not one of them.
_MOST_BYTES = 8 * 10**9


# ---------------------------------------------------------------------------------------------- get


def get(edition: str, archive: Path | None, target: Path, framework: str = "pytorch") -> tuple[Path, str]:
    """Unpack one framework's notebooks of a downloaded archive into ``target``.

    Returns:
        the folder with the chapters, and the archive's sha256.

    Raises:
        D2lEnvError: no archive is given (the message says where it is), it is none, or ``target`` is taken.
    """
    book = ARCHIVES[edition]
    if archive is None:
        name = book.address.rsplit("/", 1)[1]
        raise D2lEnvError(
            tr("d2lenv does not download {name}: no sha256 is known to check it with", name=name),
            fix=tr(
                "`curl -L -O {address}`, then `d2lenv books get {edition} {name}`",
                address=book.address,
                edition=edition,
                name=name,
            ),
        )
    if target.exists():
        raise D2lEnvError(
            tr("{path} is there already", path=target),
            fix=tr("choose another --folder, or remove it yourself"),
            status=USAGE,
        )
    digest = _sha256(archive)
    if book.sha256 and digest != book.sha256:
        raise D2lEnvError(
            tr("{path} is not the archive that it should be", path=archive),
            why=f"sha256 {digest} != {book.sha256}",
            fix=tr("download it again"),
        )
    building = target.with_name(f".{target.name}.unpacking")
    shutil.rmtree(building, ignore_errors=True)
    try:
        with zipfile.ZipFile(archive) as file:
            members = list(_members(file, framework))
            if sum(member.file_size for member, _ in members) > _MOST_BYTES:
                raise D2lEnvError(tr("{path} unpacks to more than a book has", path=archive))
            for member, place in members:
                path = building.joinpath(*place.parts)
                path.parent.mkdir(parents=True, exist_ok=True)
                with file.open(member) as source, path.open("wb") as copy:
                    shutil.copyfileobj(source, copy)
        if not any(building.rglob("*.ipynb")):
            raise D2lEnvError(
                tr("{path} has no notebooks for {framework}", path=archive, framework=framework),
                fix=tr("choose one of: {names}", names=", ".join(FRAMEWORKS)),
                status=USAGE,
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        building.rename(target)
    except (zipfile.BadZipFile, EOFError) as error:
        raise D2lEnvError(
            tr("{path} is not a zip archive that can be read", path=archive),
            why=str(error),
            fix=tr("download it again"),
        ) from error
    except OSError as error:
        raise D2lEnvError(
            tr("{path} cannot be written", path=error.filename or target),
            why=error.strerror or str(error),
            fix=tr("free some space or make the folder writable, then run the command again"),
        ) from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return target, digest


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise D2lEnvError(
            tr("{path} cannot be read", path=path), why=error.strerror or str(error), status=USAGE
        ) from error
    return digest.hexdigest()


def _members(file: zipfile.ZipFile, framework: str) -> Iterator[tuple[zipfile.ZipInfo, PurePosixPath]]:
    """(file in the archive, its place below the target): the framework's, and what all frameworks share.

    Raises:
        D2lEnvError: a name leads out of the folder.
    """
    for member in file.infolist():
        place = PurePosixPath(member.filename.replace("\\", "/"))
        link = stat.S_ISLNK(member.external_attr >> 16)
        if place.is_absolute() or ".." in place.parts or ":" in member.filename or link:
            raise D2lEnvError(
                tr("the archive has a file that leads out of its folder: {name}", name=member.filename)
            )
        if member.is_dir() or place.parts[0] == "__MACOSX":
            continue
        if place.parts[0] == framework:
            yield member, PurePosixPath(*place.parts[1:])
        elif place.parts[0] not in FRAMEWORKS:
            yield member, place


# -------------------------------------------------------------------------------------------- smoke


def find(folder: Path) -> tuple[Path, ...]:
    """Every notebook in ``folder`` and below it, chapters in order; hidden folders are not looked into.

    Raises:
        D2lEnvError: there are none.
    """
    found = sorted(
        path
        for path in folder.rglob("*.ipynb")
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not found:
        raise D2lEnvError(tr("no notebooks in {folder}", folder=folder), status=USAGE)
    return tuple(found)


def has_chapters(folder: Path) -> bool:
    """Are the notebooks of ``folder`` in folders of their own, as a book's are?"""
    return not any(folder.glob("*.ipynb")) and any(folder.glob("*/*.ipynb"))


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
    for path in source.rglob("*"):
        place = target / path.relative_to(source)
        if path.is_dir() or path.suffix == ".ipynb" or place.exists() or ".ipynb_checkpoints" in path.parts:
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
