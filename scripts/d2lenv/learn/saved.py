"""``d2lenv saved``: a look into the installed ``d2l``, and a notebook's ``#@save`` compared with it.

``#@save`` is a mark for the book's authors, whose build acts on it (library.py). For a reader it is only a
comment: running a marked cell adds nothing to the library.
"""

from __future__ import annotations

import ast
import difflib
import io
import json
import re
import tokenize
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from d2lenv.base.console import print_table, say
from d2lenv.base.errors import USAGE, D2lEnvError
from d2lenv.base.messages import tr
from d2lenv.learn.library import Definition, Kept, Library, dotted, has_d2l, module_named, parse
from d2lenv.workspace.manifest import Workspace

State = Literal["same", "differs", "yours"]

_MARK = re.compile(r"#\s*@save\b")
_DIFF_LINES = 12


@dataclass(frozen=True)
class Marked:
    """A statement of a notebook that carries ``#@save``, compared with the library.

    Attributes:
        cell: number of the cell, counted from 1 over all cells.
        line: of the installed definition; 0 without one.
        difference: lines of a unified diff without docstrings, empty unless the state is ``differs``.
    """

    cell: int
    name: str
    state: State
    module: str
    line: int = 0
    difference: tuple[str, ...] = ()


def find_prefix(
    workspace: Callable[[], Workspace], environment: str | None, environ: Mapping[str, str]
) -> Path:
    """Return the prefix of ``environment``; without one, the active prefix or the first that is built.

    Raises:
        D2lEnvError: if there is none.
    """
    from d2lenv.engines import find
    from d2lenv.workspace import settings

    if environment is None:
        for variable in ("CONDA_PREFIX", "VIRTUAL_ENV"):
            active = environ.get(variable)
            if active and has_d2l(Path(active)):
                return Path(active)
    place = workspace()
    names = [environment] if environment is not None else list(settings.load(place))
    for name in names:
        settings.get(place, name)
        for _, prefix in find.default_prefixes(place, name):
            if has_d2l(prefix):
                return prefix
    raise D2lEnvError(
        tr("no environment with d2l is built"),
        fix=tr("build one: `d2lenv build {name}`, or name one with --prefix", name=names[0]),
    )


def find(library: Library, name: str, modules: Sequence[str]) -> tuple[Kept, ...]:
    """Return the entries called ``name`` (with or without ``d2l.``); a class with its added methods.

    Raises:
        D2lEnvError: if there is none; it suggests near names.
    """
    wanted = name.removeprefix("d2l.")
    every = [entry for module in modules for entry in library.modules[module].entries]
    found = tuple(e for e in every if e.name == wanted or e.name.startswith(f"{wanted}."))
    if found:
        return found
    raise _not_kept(library, wanted, modules, every)


def _not_kept(library: Library, wanted: str, modules: Sequence[str], every: Sequence[Kept]) -> D2lEnvError:
    near = difflib.get_close_matches(wanted, sorted({entry.name for entry in every}), n=5)
    elsewhere = sorted(
        module.name
        for module in library.modules.values()
        if module.name not in modules and any(entry.name == wanted for entry in module.entries)
    )
    fix = ""
    if elsewhere:
        fix = tr(
            "it is in {modules}: `d2lenv saved {name} --module {first}`",
            modules=", ".join(f"d2l.{module}" for module in elsewhere),
            name=wanted,
            first=elsewhere[0],
        )
    elif near:
        fix = tr("did you mean: {names}", names=", ".join(near))
    return D2lEnvError(
        tr("d2l {version} keeps no `{name}`", version=library.version, name=wanted),
        why=tr("what a reader marks with #@save is not added to the library"),
        fix=fix,
    )


def compare(path: Path, library: Library, module: str | None = None) -> tuple[Marked, ...]:
    """Compare every statement of the notebook that carries ``#@save`` with the installed library.

    Args:
        module: the framework; without one, the one that the notebook imports as ``d2l``, else ``torch``.

    Raises:
        D2lEnvError: if the file is not a notebook.
    """
    sources = _code_cells(path)
    if module is None:
        everything = "\n".join(source for _, source in sources)
        imported = re.search(r"^\s*from d2l import (\w+) as d2l", everything, re.MULTILINE)
        module = imported.group(1) if imported and imported.group(1) in library.modules else "torch"
    tree = library.modules[module_named(library, module)].tree
    try:
        return tuple(
            _compare(number, statement, tree, module)
            for number, source in sources
            for statement in marked(source)
        )
    except (RecursionError, MemoryError) as error:  # an expression of a thousand levels
        raise _unreadable(path, str(error)) from error


def _code_cells(path: Path) -> list[tuple[int, str]]:
    """Return (number, source) of each code cell."""
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        return [
            (number, "".join(cell["source"]))
            for number, cell in enumerate(cells, 1)
            if cell["cell_type"] == "code"
        ]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise _unreadable(path, reason) from error


def _unreadable(path: Path, reason: str) -> D2lEnvError:
    return D2lEnvError(tr("{path} is not a notebook that can be read", path=path), why=reason, status=USAGE)


def marked(source: str) -> list[ast.stmt]:
    """Return the top-level statements of a cell that ``#@save`` stands on or right before."""
    # A magic or a shell command is not Python; its line stays, so that the numbers do.
    text = re.sub(r"^([ \t]*)[%!?].*$", r"\1pass", source, flags=re.MULTILINE)
    try:
        statements = parse(text).body
        comments = [
            token.start[0]
            for token in tokenize.generate_tokens(io.StringIO(text).readline)
            if token.type == tokenize.COMMENT and _MARK.search(token.string)
        ]
    except (SyntaxError, tokenize.TokenError):
        return []
    found: list[ast.stmt] = []
    for line in comments:
        for statement in statements:
            if line <= (statement.end_lineno or statement.lineno):
                if statement not in found:
                    found.append(statement)
                break
    return found


def _compare(cell: int, statement: ast.stmt, library: ast.Module, module: str) -> Marked:
    if isinstance(statement, Definition):
        owner = _added_to(statement)
        name = f"{owner}.{statement.name}" if owner else statement.name
        pool = library.body
        if owner:
            pool = [
                member
                for node in library.body
                if isinstance(node, ast.ClassDef) and node.name == owner
                for member in node.body
            ]
        there = [node for node in pool if isinstance(node, Definition) and node.name == statement.name]
    else:
        name = _target(statement)
        there_any = [node for node in library.body if name and _target(node) == name]
        return _verdict(cell, name or ast.unparse(statement)[:60], module, statement, there_any)
    return _verdict(cell, name, module, statement, there)


def _verdict(cell: int, name: str, module: str, mine: ast.stmt, there: Sequence[ast.stmt]) -> Marked:
    if not there:
        return Marked(cell, name, "yours", module)
    for node in there:
        if _covers(node, mine):
            return Marked(cell, name, "same", module, node.lineno)
    return Marked(cell, name, "differs", module, there[-1].lineno, _difference(there[-1], mine))


def _covers(theirs: ast.stmt, mine: ast.stmt) -> bool:
    """Return whether the library holds the notebook's definition; a class may have got more methods since."""
    if isinstance(theirs, ast.ClassDef) and isinstance(mine, ast.ClassDef):
        if [_text(base) for base in theirs.bases] != [_text(base) for base in mine.bases]:
            return False
        have = {_text(member) for member in theirs.body}
        return all(_text(member) in have for member in mine.body if not _is_docstring(member))
    return _text(theirs) == _text(mine)


def _difference(theirs: ast.stmt, mine: ast.stmt) -> tuple[str, ...]:
    lines = difflib.unified_diff(
        _text(theirs).splitlines(), _text(mine).splitlines(), tr("library"), tr("notebook"), "", "", 1, ""
    )
    return tuple(lines)


def _text(node: ast.AST) -> str:
    """Return ``node`` in one spelling: without docstrings, comments, ``add_to_class`` and ``d2l.``."""
    copy = _Normal().visit(ast.parse(ast.unparse(node)))
    return ast.unparse(ast.fix_missing_locations(copy))


class _Normal(ast.NodeTransformer):
    """Leave out all in which a notebook and the library may differ and still be the same."""

    def _definition(self, node: Definition) -> ast.AST:
        self.generic_visit(node)
        if node.body and _is_docstring(node.body[0]):
            node.body = node.body[1:] or [ast.Pass()]
        node.decorator_list = [
            entry
            for entry in node.decorator_list
            if not (isinstance(entry, ast.Call) and dotted(entry.func).endswith("add_to_class"))
        ]
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._definition(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._definition(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return self._definition(node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.value, ast.Name) and node.value.id == "d2l":
            return ast.Name(id=node.attr, ctx=node.ctx)
        return node


def _is_docstring(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _added_to(node: Definition) -> str:
    """Return the class to which ``@d2l.add_to_class(Class)`` adds the function, empty without it."""
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call) and dotted(decorator.func).endswith("add_to_class"):
            return dotted(decorator.args[0]).removeprefix("d2l.") if decorator.args else ""
    return ""


def _target(node: ast.stmt) -> str:
    """Return the target of an assignment: ``VOC_CLASSES``, ``DATA_HUB['pokemon']``, empty otherwise."""
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        target = node.targets[0]
        if isinstance(target, ast.Name | ast.Attribute):
            return dotted(target).removeprefix("d2l.")
        if isinstance(target, ast.Subscript):
            return ast.unparse(target).removeprefix("d2l.")
    return ""


def as_json(library: Library, entries: Sequence[Kept]) -> dict[str, object]:
    """Return the document of ``--json`` for a look into the library."""
    return {
        "d2l": library.version,
        "folder": str(library.folder),
        "modules": list(library.modules),
        "entries": [asdict(entry) for entry in entries],
    }


def show(library: Library, entries: Sequence[Kept]) -> None:
    """Print a table of functions, classes and added methods; aliases and datasets in a line each."""
    listed = [entry for entry in entries if entry.kind in ("function", "class", "method")]
    print_table(
        [tr("name"), tr("place"), tr("section"), tr("network")],
        [
            [_label(entry), _place(entry), entry.section or "–", tr("yes") if entry.network else "–"]
            for entry in listed
        ],
        title=f"d2l {library.version}: {library.folder}",
    )
    for kind, title in (
        ("alias", tr("names that are the same for every framework")),
        ("value", tr("values")),
        ("dataset", tr("datasets (d2l.DATA_HUB)")),
    ):
        names = [entry.name for entry in entries if entry.kind == kind]
        if names:
            say(f"{title} ({len(names)}): {', '.join(dict.fromkeys(names))}")
    functions, classes, methods = (
        sum(entry.kind == kind for entry in entries) for kind in ("function", "class", "method")
    )
    say(
        tr(
            "{functions} functions, {classes} classes, {methods} methods that a section added later",
            functions=functions,
            classes=classes,
            methods=methods,
        ),
    )
    if any(entry.network for entry in listed):
        say(tr("network: downloads its data unless ../data/<file> is there already"))


def show_found(library: Library, entries: Sequence[Kept]) -> None:
    """Print a few entries in full, the chain of calls that ends in a download included."""
    for entry in entries:
        lines = [f"{_label(entry)}: d2l {library.version}, {library.folder / _place(entry)}"]
        if entry.section:
            lines.append("  " + tr("section: {section}", section=entry.section))
        if entry.network:
            lines.append("  " + tr("network: {chain}", chain=entry.network))
        for line in lines:
            say(line)


def _label(entry: Kept) -> str:
    name = {"class": f"class {entry.name}", "function": f"{entry.name}()", "method": f"{entry.name}()"}.get(
        entry.kind, entry.name
    )
    return f"{name} ({tr('replaced below')})" if entry.replaced else name


def _place(entry: Kept) -> str:
    return f"{entry.module}.py:{entry.line}"


def _show_difference(entry: Marked) -> None:
    if entry.difference:
        say(tr("cell {number}: {line}", number=entry.cell, line=entry.name))
        for line in entry.difference[:_DIFF_LINES]:
            say(f"    {line}")
        if len(entry.difference) > _DIFF_LINES:
            say("    …")


def show_notebook(library: Library, path: Path, found: Sequence[Marked]) -> None:
    """Print what became of each ``#@save`` of the notebook."""
    states = {
        "same": tr("in the library"),
        "differs": tr("differs from the library"),
        "yours": tr("yours"),
    }
    print_table(
        [tr("cell"), tr("name"), tr("state"), tr("place")],
        [
            [
                str(entry.cell),
                entry.name,
                states[entry.state],
                f"{entry.module}.py:{entry.line}" if entry.line else "–",
            ]
            for entry in found
        ],
        title=f"{path.name} · d2l {library.version}",
    )
    for entry in found:
        _show_difference(entry)
    if not found:
        say(tr("no cell of this notebook carries #@save"))
    if any(entry.state == "yours" for entry in found):
        say(
            tr(
                "What is yours works in this notebook from its cell on, and only there: #@save is a mark for "
                "the book's authors and adds nothing to the library. To use it elsewhere, put it into a file "
                "of your own, such as mine.py beside the notebook, and `import mine`."
            ),
        )
