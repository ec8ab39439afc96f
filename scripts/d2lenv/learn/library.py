"""The installed ``d2l``: the definitions that it keeps from the book, read without importing it.

The build of the book copies the statements that ``#@save`` stands on into ``d2l/torch.py`` and its sisters.
These files are parsed, so this works without PyTorch and for the modules of other frameworks too.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from d2lenv.base.errors import USAGE, D2lEnvError
from d2lenv.base.messages import tr
from d2lenv.prefix import locations

Kind = Literal["function", "class", "method", "alias", "value", "dataset"]

# As d2lbook writes it: """Register functions … Defined in :numref:`sec_oo-design`"""
_SECTION = re.compile(r"Defined in :numref:`([^`]+)`")

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Kept:
    """A definition that the library keeps from the book.

    Attributes:
        name: ``Vocab``, ``Classifier.accuracy``; of a dataset its key in ``DATA_HUB``.
        section: label of the section that defined it, empty where the library does not say.
        network: the chain of calls that ends in a download, such as ``load_array → download →
            requests.get``, empty when there is none.
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
    """A framework's file of the library: ``torch`` of ``d2l/torch.py``."""

    name: str
    path: Path
    tree: ast.Module
    entries: tuple[Kept, ...]


@dataclass(frozen=True)
class Library:
    """An installed ``d2l``."""

    version: str
    folder: Path
    modules: Mapping[str, Module]


def read(prefix: Path) -> Library:
    """Read the ``d2l`` that is installed in ``prefix``, with every framework module.

    Raises:
        D2lEnvError: if there is none, or a file of it is not Python.
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


def parse(source: str) -> ast.Module:
    """Parse Python without a word about it: a reader's doubtful escape sequence is not ours to warn of.

    Raises:
        SyntaxError: if it is no Python, or nested too deeply.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except (ValueError, RecursionError, MemoryError) as error:
        raise SyntaxError(str(error)) from error


def _module(path: Path) -> Module:
    try:
        tree = parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, SyntaxError) as error:
        raise D2lEnvError(
            tr("{path} cannot be read", path=path),
            why=str(error),
            fix=tr("install d2l again: the file is damaged"),
        ) from error
    return Module(path.stem, path, tree, tuple(_entries(path.stem, tree)))


def _entries(module: str, tree: ast.Module) -> Iterator[Kept]:
    network = _Network(tree)
    last = {node.name: node for node in tree.body if isinstance(node, Definition)}
    for node in tree.body:
        if isinstance(node, Definition):
            kind: Kind = "class" if isinstance(node, ast.ClassDef) else "function"
            replaced = last[node.name] is not node
            chain = "" if replaced else network.of(node.name)
            yield Kept(module, node.name, kind, node.lineno, _section(node), chain, replaced)
            if isinstance(node, ast.ClassDef):
                yield from _methods(module, node, network)
        elif isinstance(node, ast.Assign) and len(node.targets) == 1:
            yield from _assigned(module, node, node.targets[0])


def _methods(module: str, owner: ast.ClassDef, network: _Network) -> Iterator[Kept]:
    """Yield the methods that say which later section added them to ``owner`` (``@d2l.add_to_class``)."""
    members = [node for node in owner.body if isinstance(node, ast.FunctionDef)]
    last = {node.name: node for node in members}
    for node in members:
        section = _own_section(node)
        if section:
            name = f"{owner.name}.{node.name}"
            replaced = last[node.name] is not node
            chain = "" if replaced else network.of(name)
            yield Kept(module, name, "method", node.lineno, section, chain, replaced)


def _assigned(module: str, node: ast.Assign, target: ast.expr) -> Iterator[Kept]:
    if isinstance(target, ast.Subscript) and dotted(target.value).endswith("DATA_HUB"):
        if isinstance(target.slice, ast.Constant):
            yield Kept(module, str(target.slice.value), "dataset", node.lineno)
    elif isinstance(target, ast.Name) and target.id not in ("d2l", "DATA_HUB", "DATA_URL"):
        # `ones = torch.ones`, `reshape = lambda x, …`: names that are the same for every framework.
        alias = isinstance(node.value, ast.Attribute | ast.Lambda)
        yield Kept(module, target.id, "alias" if alias else "value", node.lineno)


def _section(node: Definition) -> str:
    """Return the section in ``node``'s docstring, for a class without one its first method's."""
    own = _own_section(node)
    if own or not isinstance(node, ast.ClassDef):
        return own
    members = (member for member in node.body if isinstance(member, ast.FunctionDef))
    return next((section for member in members if (section := _own_section(member))), "")


def _own_section(node: Definition) -> str:
    found = _SECTION.search(ast.get_docstring(node) or "")
    return found.group(1) if found else ""


def dotted(node: ast.AST) -> str:
    """Return ``d2l.DATA_HUB`` of an attribute or name, empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return ""


class _Network:
    """The calls of a module, followed from name to name to find the definitions that end in a download.

    Calls count, not mentions: ``d2l.download`` in a string or an alias does not. A call on an object of
    unknown type is not followed.
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
        """Return ``name → … → requests.get``, the shortest chain, empty when nothing is downloaded."""
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
        """Return the functions that a use of ``name`` runs: itself, or a class's methods and its bases'."""
        if name not in self.classes:
            return [name] if name in self.calls else []
        names = [f"{name}.{member}" for member in self._members(name)]
        for base in self.classes[name].bases:
            above = dotted(base).removeprefix("d2l.")
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
    """Return (dotted name, call) of each call; names such as ``dataset = gluon.data.vision`` are resolved."""
    local = {
        found.targets[0].id: dotted(found.value)
        for found in ast.walk(node)
        if isinstance(found, ast.Assign)
        and isinstance(found.targets[0], ast.Name)
        and isinstance(found.value, ast.Attribute)
    }
    calls: list[tuple[str, ast.Call]] = []
    for found in ast.walk(node):
        if isinstance(found, ast.Call):
            first, dot, rest = dotted(found.func).partition(".")
            calls.append((local.get(first, first) + dot + rest, found))
    return calls


def _downloads(target: str, call: ast.Call) -> str:
    """Return how the call itself reaches for the network, empty when it does not."""
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


def has_d2l(prefix: Path) -> bool:
    """Return whether there is a ``d2l`` in ``prefix``."""
    return _folder(prefix) is not None


def _folder(prefix: Path) -> Path | None:
    places = (site / "d2l" for site in locations.site_packages(prefix))
    return next((place for place in places if place.is_dir()), None)


def module_named(library: Library, name: str) -> str:
    """Return ``name`` after a check that it is a framework module of ``library``.

    Raises:
        D2lEnvError: if it is not.
    """
    if name not in library.modules:
        raise D2lEnvError(
            tr("d2l {version} has no module `{name}`", version=library.version, name=name),
            fix=tr("choose one of: {names}", names=", ".join(library.modules)),
            status=USAGE,
        )
    return name
