"""The notebooks of a folder and their needs."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from d2lenv.base.errors import USAGE, D2lEnvError
from d2lenv.base.messages import tr
from d2lenv.smoke.interpreter import Interpreter


def find(folder: Path, names: Sequence[str] = ()) -> tuple[Path, ...]:
    """Return the notebooks in ``folder`` (not below it), sorted; only those in ``names`` when there are any.

    Raises:
        D2lEnvError: if there are none, or a name is not among them.
    """
    every = {path.stem: path for path in sorted(folder.glob("*.ipynb"), key=lambda path: path.stem)}
    if not every:
        raise D2lEnvError(tr("no notebooks in {folder}", folder=folder), status=USAGE)
    wanted = [name.removesuffix(".ipynb") for name in names]
    for name in wanted:
        if name not in every:
            raise D2lEnvError(
                tr("{folder} has no notebook `{name}`", folder=folder, name=name),
                fix=tr("choose one of: {names}", names=", ".join(every)),
                status=USAGE,
            )
    return tuple(path for stem, path in every.items() if not wanted or stem in wanted)


def read(path: Path) -> Any:
    """Return a notebook, brought to format 4.

    Raises:
        D2lEnvError: if the file cannot be read or is not a notebook; ``why`` says it in one sentence.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a cell without an id: older than the rule
            notebook = nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)
            nbformat.validate(notebook)
    except OSError as error:
        why = tr("the file cannot be read: {reason}", reason=error.strerror or error)
    except (ValueError, KeyError, AttributeError, TypeError, nbformat.ValidationError) as error:
        lines = str(error).strip().splitlines()
        why = tr(
            "the file is not a notebook: {reason}", reason=lines[0][:200] if lines else type(error).__name__
        )
    else:
        return notebook
    raise D2lEnvError(tr("{path} cannot be read", path=path), why=why)


def needs(notebook: Any, interpreter: Interpreter) -> str:
    """Return why the notebook is not for this prefix, in one sentence, empty when it is.

    Notebooks say so in their metadata: ``"d2lenv": {"requires": ["d2l>=1.0"]}`` (PEP 508).
    """
    language = (notebook.metadata.get("kernelspec") or {}).get("language") or "python"
    if str(language).lower() != "python":
        return tr("needs a kernel for {language}", language=language)
    wanted = (notebook.metadata.get("d2lenv") or {}).get("requires") or []
    for text in wanted:
        try:
            requirement = Requirement(str(text))
        except InvalidRequirement:
            return tr("its metadata asks for `{requirement}`, which cannot be read", requirement=text)
        if requirement.marker and not requirement.marker.evaluate(
            {"python_version": _short(interpreter.version)}
        ):
            continue
        here = interpreter.packages.get(canonicalize_name(requirement.name))
        if here is None:
            return tr("needs {requirement}, which is not installed here", requirement=text)
        if not requirement.specifier.contains(here, prereleases=True):
            return tr("needs {requirement}, here {version}", requirement=text, version=here)
    return ""


def _short(version: str) -> str:
    return ".".join(version.split(".")[:2])


def code_cells(notebook: Any) -> int:
    return sum(cell.cell_type == "code" for cell in notebook.cells)
