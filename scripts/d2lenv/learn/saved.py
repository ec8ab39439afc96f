"""``d2lenv saved``: what ``#@save`` has kept of the book in the installed ``d2l``.

``#@save`` is a mark for the book's authors: their build copies what it stands on into ``d2l/torch.py`` and
its sisters. For a reader it is only a comment; running a marked cell adds nothing to the library. The files
are parsed, never imported, so this works without PyTorch and for the modules of other frameworks too.
"""

from __future__ import annotations

import ast
import difflib
import io
import json
import re
import tokenize
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from d2lenv.base.errors import USAGE, D2lEnvError
from d2lenv.base.messages import tr
from d2lenv.workspace.manifest import Workspace

Kind = Literal["function", "class", "method", "alias", "value", "dataset"]
State = Literal["same", "differs", "yours"]

# As d2lbook writes it: """Register functions … Defined in :numref:`sec_oo-design`"""
_SECTION = re.compile(r"Defined in :numref:`([^`]+)`")
_MARK = re.compile(r"#\s*@save\b")
_DIFF_LINES = 12

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Saved:
    """One thing that the library keeps from the book.

    Attributes:
        name: ``Vocab``, ``Classifier.accuracy``; of a dataset its key in ``DATA_HUB``.
        section: label of the section that defined it; empty where the library does not say.
        network: the chain of calls that ends in a download, such as ``load_array → download →
            requests.get``; empty when there is none.
        replaced: a later definition of the same name in the same file is the one that counts.
    """

    module: str
    name: str
    kind: Kind
    line: int
    section: str = ""
    network: str = ""
    replaced: bool = False


@dataclass(frozen=True)
class Module:
    """One framework's file of the library: ``torch`` of ``d2l/torch.py``."""

    name: str
    path: Path
    tree: ast.Module
    entries: tuple[Saved, ...]


@dataclass(frozen=True)
class Library:
    """An installed ``d2l``."""

    version: str
    folder: Path
    modules: Mapping[str, Module]


@dataclass(frozen=True)
class Marked:
    """A statement of a notebook that carries ``#@save``, compared with the library.

    Attributes:
        cell: number of the cell, counted from 1 over all cells.
        line: of the installed definition; 0 without one.
        difference: what differs, as lines of a unified diff without docstrings.
    """

    cell: int
    name: str
    state: State
    module: str
    line: int = 0
    difference: tuple[str, ...] = ()


# --------------------------------------------------------------------------------------------------------
# The library.


def read(prefix: Path) -> Library:
    """The ``d2l`` installed in ``prefix``, every framework module that can be parsed.

    Raises:
        D2lEnvError: there is none, or a file of it is not Python.
    """
    folder = _folder(prefix)
    if folder is None:
        raise D2lEnvError(
            tr("{prefix} has no d2l", prefix=prefix),
            fix=tr("name an environment that has it with --prefix, or build one: `d2lenv build default`"),
        )
    version = next(
        (
            found.name.removeprefix("d2l-").removesuffix(".dist-info")
            for found in folder.parent.glob("d2l-*.dist-info")
        ),
        "",
    )
    modules = {
        path.stem: _module(path) for path in sorted(folder.glob("*.py")) if not path.stem.startswith("_")
    }
    return Library(version, folder, modules)


def _module(path: Path) -> Module:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError) as error:
        raise D2lEnvError(
            tr("{path} cannot be read", path=path),
            why=str(error),
            fix=tr("install d2l again: the file is damaged"),
        ) from error
    return Module(path.stem, path, tree, tuple(_entries(path.stem, tree)))


def _entries(module: str, tree: ast.Module) -> Iterator[Saved]:
    network = _Network(tree)
    last = {node.name: node for node in tree.body if isinstance(node, Definition)}
    for node in tree.body:
        if isinstance(node, Definition):
            kind: Kind = "class" if isinstance(node, ast.ClassDef) else "function"
            replaced = last[node.name] is not node
            chain = "" if replaced else network.of(node.name)
            yield Saved(module, node.name, kind, node.lineno, _section(node), chain, replaced)
            if isinstance(node, ast.ClassDef):
                yield from _methods(module, node, network)
        elif isinstance(node, ast.Assign) and len(node.targets) == 1:
            yield from _assigned(module, node, node.targets[0])


def _methods(module: str, owner: ast.ClassDef, network: _Network) -> Iterator[Saved]:
    """Methods that a later section added to ``owner`` (``@d2l.add_to_class``): those that say where."""
    members = [node for node in owner.body if isinstance(node, ast.FunctionDef)]
    last = {node.name: node for node in members}
    for node in members:
        section = _own_section(node)
        if section:
            name = f"{owner.name}.{node.name}"
            replaced = last[node.name] is not node
            chain = "" if replaced else network.of(name)
            yield Saved(module, name, "method", node.lineno, section, chain, replaced)


def _assigned(module: str, node: ast.Assign, target: ast.expr) -> Iterator[Saved]:
    if isinstance(target, ast.Subscript) and _plain(target.value).endswith("DATA_HUB"):
        if isinstance(target.slice, ast.Constant):
            yield Saved(module, str(target.slice.value), "dataset", node.lineno)
    elif isinstance(target, ast.Name) and target.id not in ("d2l", "DATA_HUB", "DATA_URL"):
        # `ones = torch.ones`, `reshape = lambda x, …`: names that are the same for every framework.
        alias = isinstance(node.value, ast.Attribute | ast.Lambda)
        yield Saved(module, target.id, "alias" if alias else "value", node.lineno)


def _section(node: Definition) -> str:
    """The section in ``node``'s docstring; of a class without one, that of its first method with one."""
    own = _own_section(node)
    if own or not isinstance(node, ast.ClassDef):
        return own
    members = (member for member in node.body if isinstance(member, ast.FunctionDef))
    return next((section for member in members if (section := _own_section(member))), "")


def _own_section(node: Definition) -> str:
    found = _SECTION.search(ast.get_docstring(node) or "")
    return found.group(1) if found else ""


def _plain(node: ast.AST) -> str:
    """``d2l.DATA_HUB`` of an attribute or name; empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = _plain(node.value)
        return f"{before}.{node.attr}" if before else ""
    return ""


class _Network:
    """Which definitions of a module end in a download, by following calls from name to name.

    Calls count, not mentions: ``d2l.download`` in a string or an alias does not. What is called on an object
    of unknown type is not followed.
    """

    def __init__(self, tree: ast.Module) -> None:
        self.calls: dict[str, list[tuple[str, ast.Call]]] = {}
        self.classes: dict[str, ast.ClassDef] = {}
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                self.classes[node.name] = node
                for member in node.body:
                    if isinstance(member, ast.FunctionDef):
                        self.calls[f"{node.name}.{member.name}"] = _calls(member)
            elif isinstance(node, ast.FunctionDef):
                self.calls[node.name] = _calls(node)

    def of(self, name: str) -> str:
        """``name → … → requests.get``, the shortest chain; empty when nothing is downloaded."""
        waiting: list[tuple[str, ...]] = [(step,) for step in self._inside(name)]
        seen = set(self._inside(name))
        while waiting:
            chain = waiting.pop(0)
            calls = self.calls.get(chain[-1], [])
            for target, call in calls:
                if end := _downloads(target, call):
                    return " → ".join([*chain, end])
            for target, _ in calls:
                for step in self._called(target, chain[-1]):
                    if step not in seen:
                        seen.add(step)
                        waiting.append((*chain, step))
        return ""

    def _inside(self, name: str) -> list[str]:
        """The functions that using ``name`` runs: itself, or every method of a class and of its bases."""
        if name not in self.classes:
            return [name] if name in self.calls else []
        names = [f"{name}.{member}" for member in self._members(name)]
        for base in self.classes[name].bases:
            above = _plain(base).removeprefix("d2l.")
            if above in self.classes and above != name:
                own = {step.split(".")[1] for step in names}
                names += [step for step in self._inside(above) if step.split(".")[1] not in own]
        return names

    def _members(self, name: str) -> list[str]:
        return [node.name for node in self.classes[name].body if isinstance(node, ast.FunctionDef)]

    def _called(self, target: str, caller: str) -> list[str]:
        if target.startswith("self.") and "." in caller:
            wanted = target.removeprefix("self.")
            return [step for step in self._inside(caller.split(".")[0]) if step.split(".")[-1] == wanted]
        target = target.removeprefix("d2l.")
        if target in self.classes:  # making an object runs its __init__
            return [step for step in self._inside(target) if step.endswith(".__init__")]
        return [target] if target in self.calls else []


def _calls(node: ast.AST) -> list[tuple[str, ast.Call]]:
    """(what is called, the call), local names such as ``dataset = gluon.data.vision`` resolved."""
    local = {
        found.targets[0].id: _plain(found.value)
        for found in ast.walk(node)
        if isinstance(found, ast.Assign)
        and isinstance(found.targets[0], ast.Name)
        and isinstance(found.value, ast.Attribute)
    }
    calls: list[tuple[str, ast.Call]] = []
    for found in ast.walk(node):
        if isinstance(found, ast.Call):
            first, dot, rest = _plain(found.func).partition(".")
            calls.append((local.get(first, first) + dot + rest, found))
    return calls


def _downloads(target: str, call: ast.Call) -> str:
    """How the call itself reaches for the network; empty when it does not."""
    if target.startswith(("requests.", "urllib.request.", "torch.hub.")):
        return target
    for keyword in call.keywords:
        on = isinstance(keyword.value, ast.Constant) and keyword.value.value is True
        if keyword.arg in ("download", "pretrained") and on:
            return f"{target}({keyword.arg}=True)"
    # These three frameworks' datasets download without being asked.
    if re.search(r"(^|\.)keras\.datasets\.\w+\.load_data$", target):
        return target
    if re.match(r"(paddle\.vision\.datasets|gluon\.data\.vision)\.[A-Z]\w+$", target):
        quiet = any(word.arg == "download" for word in call.keywords)
        is_data = not target.rsplit(".", 1)[1].endswith("Dataset")  # ImageFolderDataset reads a folder
        return target if is_data and not quiet else ""
    return ""


def find_prefix(
    workspace: Callable[[], Workspace], environment: str | None, environ: Mapping[str, str]
) -> Path:
    """The prefix to look into: that of ``environment``, else the active one, else the first that is built.

    Raises:
        D2lEnvError: there is none.
    """
    from d2lenv.engines import find
    from d2lenv.workspace import settings as variants

    if environment is None:
        for variable in ("CONDA_PREFIX", "VIRTUAL_ENV"):
            active = environ.get(variable)
            if active and has_d2l(Path(active)):
                return Path(active)
    place = workspace()
    names = [environment] if environment is not None else list(variants.load(place))
    for name in names:
        variants.get(place, name)
        for engine in find.ENGINES:
            prefix = find.default_prefix(place, name, engine)
            if has_d2l(prefix):
                return prefix
    raise D2lEnvError(
        tr("no environment with d2l is built"),
        fix=tr("build one: `d2lenv build {name}`, or name one with --prefix", name=names[0]),
    )


def has_d2l(prefix: Path) -> bool:
    """Is there a ``d2l`` in ``prefix``?"""
    return _folder(prefix) is not None


def _folder(prefix: Path) -> Path | None:
    patterns = ("lib/python*/site-packages/d2l", "Lib/site-packages/d2l")
    found = (path for pattern in patterns for path in sorted(prefix.glob(pattern)) if path.is_dir())
    return next(found, None)


def module_named(library: Library, name: str) -> str:
    """``name``, which is a framework module of ``library``.

    Raises:
        D2lEnvError: it is not.
    """
    if name not in library.modules:
        raise D2lEnvError(
            tr("d2l {version} has no module `{name}`", version=library.version, name=name),
            fix=tr("choose one of: {names}", names=", ".join(library.modules)),
            status=USAGE,
        )
    return name


def find(library: Library, name: str, modules: Sequence[str]) -> tuple[Saved, ...]:
    """The entries called ``name`` (with or without ``d2l.``); a class with its added methods.

    Raises:
        D2lEnvError: there is none; near names are suggested.
    """
    wanted = name.removeprefix("d2l.")
    every = [entry for module in modules for entry in library.modules[module].entries]
    found = tuple(e for e in every if e.name == wanted or e.name.startswith(f"{wanted}."))
    if found:
        return found
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
    raise D2lEnvError(
        tr("d2l {version} keeps no `{name}`", version=library.version, name=wanted),
        why=tr("what a reader marks with #@save is not added to the library"),
        fix=fix,
    )


# --------------------------------------------------------------------------------------------------------
# A notebook.


def compare(path: Path, library: Library, module: str | None = None) -> tuple[Marked, ...]:
    """Every statement of the notebook that carries ``#@save``, compared with the installed library.

    Args:
        module: the framework; without one, the one that the notebook imports as ``d2l``, else ``torch``.

    Raises:
        D2lEnvError: the file is not a notebook.
    """
    sources = _code_cells(path)
    if module is None:
        everything = "\n".join(source for _, source in sources)
        imported = re.search(r"^\s*from d2l import (\w+) as d2l", everything, re.MULTILINE)
        module = imported.group(1) if imported and imported.group(1) in library.modules else "torch"
    tree = library.modules[module_named(library, module)].tree
    return tuple(
        _compare(number, statement, tree, module)
        for number, source in sources
        for statement in marked(source)
    )


def _code_cells(path: Path) -> list[tuple[int, str]]:
    """(number, source) of each code cell."""
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        return [
            (number, "".join(cell["source"]))
            for number, cell in enumerate(cells, 1)
            if cell["cell_type"] == "code"
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise D2lEnvError(
            tr("{path} is not a notebook that can be read", path=path), why=reason, status=USAGE
        ) from error


def marked(source: str) -> list[ast.stmt]:
    """The top-level statements of a cell that ``#@save`` stands on or right before."""
    # A magic or a shell command is not Python; its line stays, so that the numbers do.
    text = re.sub(r"^([ \t]*)[%!?].*$", r"\1pass", source, flags=re.MULTILINE)
    try:
        statements = ast.parse(text).body
        comments = [
            token.start[0]
            for token in tokenize.generate_tokens(io.StringIO(text).readline)
            if token.type == tokenize.COMMENT and _MARK.search(token.string)
        ]
    except (SyntaxError, ValueError, tokenize.TokenError):
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
    """Does the library hold what the notebook defines? A class may have got more methods since."""
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
    """``node`` in one spelling: without docstrings, comments, ``add_to_class`` and the prefix ``d2l.``."""
    copy = _Normal().visit(ast.parse(ast.unparse(node)))
    return ast.unparse(ast.fix_missing_locations(copy))


class _Normal(ast.NodeTransformer):
    def _definition(self, node: Definition) -> ast.AST:
        self.generic_visit(node)
        if node.body and _is_docstring(node.body[0]):
            node.body = node.body[1:] or [ast.Pass()]
        node.decorator_list = [
            entry
            for entry in node.decorator_list
            if not (isinstance(entry, ast.Call) and _plain(entry.func).endswith("add_to_class"))
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
    """The class to which ``@d2l.add_to_class(Class)`` adds the function; empty without it."""
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call) and _plain(decorator.func).endswith("add_to_class"):
            return _plain(decorator.args[0]).removeprefix("d2l.") if decorator.args else ""
    return ""


def _target(node: ast.stmt) -> str:
    """What an assignment gives a value to: ``VOC_CLASSES``, ``DATA_HUB['pokemon']``; empty otherwise."""
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        target = node.targets[0]
        if isinstance(target, ast.Name | ast.Attribute):
            return _plain(target).removeprefix("d2l.")
        if isinstance(target, ast.Subscript):
            return ast.unparse(target).removeprefix("d2l.")
    return ""


# --------------------------------------------------------------------------------------------------------
# What the command shows.


def as_json(library: Library, entries: Sequence[Saved]) -> dict[str, object]:
    return {
        "d2l": library.version,
        "folder": str(library.folder),
        "modules": list(library.modules),
        "entries": [asdict(entry) for entry in entries],
    }


def show(library: Library, entries: Sequence[Saved]) -> None:
    """A table of functions, classes and added methods; aliases and datasets in a line each."""
    from d2lenv.base.console import out, print_table

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
            out().print(f"{title} ({len(names)}): {', '.join(dict.fromkeys(names))}", markup=False)
    functions, classes, methods = (
        sum(entry.kind == kind for entry in entries) for kind in ("function", "class", "method")
    )
    out().print(
        tr(
            "{functions} functions, {classes} classes, {methods} methods that a section added later",
            functions=functions,
            classes=classes,
            methods=methods,
        ),
        markup=False,
    )
    if any(entry.network for entry in listed):
        out().print(tr("network: downloads its data unless ../data/<file> is there already"), markup=False)


def show_found(library: Library, entries: Sequence[Saved]) -> None:
    """A few entries in full, the chain of calls that ends in a download included."""
    from d2lenv.base.console import out

    for entry in entries:
        lines = [f"{_label(entry)}: d2l {library.version}, {library.folder / _place(entry)}"]
        if entry.section:
            lines.append("  " + tr("section: {section}", section=entry.section))
        if entry.network:
            lines.append("  " + tr("network: {chain}", chain=entry.network))
        for line in lines:
            out().print(line, markup=False, soft_wrap=True)


def _label(entry: Saved) -> str:
    name = {"class": f"class {entry.name}", "function": f"{entry.name}()", "method": f"{entry.name}()"}.get(
        entry.kind, entry.name
    )
    return f"{name} ({tr('replaced below')})" if entry.replaced else name


def _place(entry: Saved) -> str:
    return f"{entry.module}.py:{entry.line}"


def show_notebook(library: Library, path: Path, found: Sequence[Marked]) -> None:
    """What became of each ``#@save`` of the notebook."""
    from d2lenv.base.console import out, print_table

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
        if entry.difference:
            out().print(tr("cell {number}: {line}", number=entry.cell, line=entry.name), markup=False)
            for line in entry.difference[:_DIFF_LINES]:
                out().print(f"    {line}", markup=False, soft_wrap=True)
            if len(entry.difference) > _DIFF_LINES:
                out().print("    …", markup=False)
    if not found:
        out().print(tr("no cell of this notebook carries #@save"), markup=False)
    if any(entry.state == "yours" for entry in found):
        out().print(
            tr(
                "What is yours works in this notebook from its cell on, and only there: #@save is a mark for "
                "the book's authors and adds nothing to the library. To use it elsewhere, put it into a file "
                "of your own, such as mine.py beside the notebook, and `import mine`."
            ),
            markup=False,
        )
