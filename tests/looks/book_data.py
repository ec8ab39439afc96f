"""Derive the table of the books' data from the books and the wheels themselves: a look for before a release.

    python tests/looks/book_data.py --en BOOK PREFIX --zh BOOK PREFIX --dlwpt BOOK PREFIX [--write]

BOOK is a checkout of d2l-ai/d2l-pytorch-colab, d2l-ai/d2l-zh-pytorch-colab or
deep-learning-with-pytorch/dlwpt-code, PREFIX a built environment with the d2l and torchvision of that book
(`d2lenv build cuda`, `d2lenv build zh`). `--torchvision PREFIX` asks the torchvision of a further one
(`modern`). Without `--write` the committed table is compared: exit status 1 when it is another one.

Addresses and digests come from `d2l.DATA_HUB`, from what notebooks add to it, and from torchvision's tables.
A notebook needs a file when code that runs names it: its cells, and the functions and classes of the notebook
and of `d2l.torch` that they lead to. Nothing of a notebook is executed.
"""

from __future__ import annotations

import argparse
import ast
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from d2lenv.base.process import run

TABLE = Path(__file__).resolve().parents[2] / "scripts" / "d2lenv" / "data" / "table.json"
DATASETS = ("FashionMNIST", "MNIST", "CIFAR10")
MODELS = ("resnet18", "resnet34", "resnet101", "vgg19")

# Runs in the prefix: what d2l and torchvision say of themselves.
ASK = """
import json, sys, d2l, torchvision, importlib.metadata as m
from torchvision import datasets, models
from d2l import torch as library
def weights(name):
    for other in dir(models):
        if other.lower() == name + "_weights":
            return getattr(models, other).IMAGENET1K_V1.url
mnist = {n: {"mirrors": getattr(datasets, n).mirrors, "resources": getattr(datasets, n).resources}
         for n in ("FashionMNIST", "MNIST")}
cifar = datasets.CIFAR10
print(json.dumps({"d2l": m.version("d2l"), "torchvision": m.version("torchvision"), "file": library.__file__,
  "url": library.DATA_URL, "hub": library.DATA_HUB, "mnist": mnist,
  "cifar": [cifar.url, cifar.filename, cifar.tgz_md5],
  "weights": {n: weights(n) for n in sys.argv[1:]}}))
"""


@dataclass
class File:
    """A file to be had: where, how it is known, and the data set that it belongs to."""

    path: str
    algorithm: str
    digest: str
    dataset: str = ""
    urls: list[str] = field(default_factory=list)
    sources: set[str] = field(default_factory=set)


Files = dict[str, File]


def add(files: Files, path: str, algorithm: str, digest: str, url: str, source: str, dataset: str) -> None:
    file = files.setdefault(path, File(path, algorithm, digest))
    if (file.algorithm, file.digest) != (algorithm, digest):
        raise SystemExit(f"{path}: {file.digest} and {digest}")
    if url not in file.urls:
        file.urls.append(url)
    file.sources.add(source)
    # The English book names some files by their address alone, the Chinese one gives each a name.
    file.dataset = file.dataset or dataset


def of_wheels(files: Files, told: Mapping[str, Any]) -> None:
    for name, (url, sha1) in told["hub"].items():
        add(files, url.rpartition("/")[2], "sha1", sha1, url, f"d2l {told['d2l']}", name)
    of_torchvision(files, told)


def of_torchvision(files: Files, told: Mapping[str, Any]) -> None:
    vision = f"torchvision {told['torchvision'].partition('+')[0]}"
    for name, row in told["mnist"].items():
        for resource, md5 in row["resources"]:
            for mirror in row["mirrors"]:
                add(files, f"{name}/raw/{resource}", "md5", md5, mirror + resource, vision, name)
    url, filename, md5 = told["cifar"]
    add(files, filename, "md5", md5, url, vision, "CIFAR10")
    for model, url in told["weights"].items():
        path = url.rpartition("/")[2]
        prefix = path.rpartition("-")[2].removesuffix(".pth")
        add(files, f"hub/checkpoints/{path}", "sha256-prefix", prefix, url, vision, model)


def constant(node: ast.expr | None, names: Mapping[str, Any]) -> Any:
    """Return the value of an expression of literals, and of names whose value is known; None for another."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        return names.get(node.attr)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = constant(node.left, names), constant(node.right, names)
        return left + right if isinstance(left, str) and isinstance(right, str) else None
    if isinstance(node, ast.Tuple):
        return tuple(constant(part, names) for part in node.elts)
    return None


def callee(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def registered(tree: ast.AST, names: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield name, address and sha1 of `DATA_HUB[name] = (…)` and of `download(address, folder, sha1)`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
            hub = node.targets[0].value
            if (getattr(hub, "attr", None) or getattr(hub, "id", None)) == "DATA_HUB":
                value, key = constant(node.value, names), constant(node.targets[0].slice, names)
                if not (isinstance(value, tuple) and all(isinstance(part, str) for part in value)):
                    raise SystemExit(f"not understood: {ast.unparse(node)}")
                yield key, *value
        elif isinstance(node, ast.Call) and callee(node) == "download" and node.args:
            words = {word.arg: word.value for word in node.keywords}
            sha1 = constant(node.args[2] if len(node.args) == 3 else words.get("sha1_hash"), names)
            if sha1:
                yield "", constant(node.args[0], names), sha1


Defined = dict[str, list[ast.AST]]


def definitions(tree: ast.Module) -> Defined:
    """Return the functions and classes of a module; `@add_to_class(C)` adds to C."""
    found: Defined = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            owner = node.name
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call) and callee(decorator) == "add_to_class":
                    argument = decorator.args[0]
                    owner = argument.attr if isinstance(argument, ast.Attribute) else argument.id  # type: ignore[attr-defined]
            found.setdefault(owner, []).append(node)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found.setdefault(node.targets[0].id, []).append(node.value)
    return found


def reached(cells: ast.Module, library: Defined) -> list[ast.AST]:
    """Return the code that runs: the statements of the cells, and all that they lead to."""
    own = definitions(cells)
    code: list[ast.AST] = [n for n in cells.body if not isinstance(n, ast.ClassDef | ast.FunctionDef)]
    seen: set[tuple[bool, str]] = set()
    done: list[ast.AST] = []
    while code:
        node = code.pop()
        done.append(node)
        for part in ast.walk(node):
            wanted = part.id if isinstance(part, ast.Name) else getattr(part, "attr", None)
            if not isinstance(wanted, str) or not isinstance(getattr(part, "ctx", ast.Load()), ast.Load):
                continue
            of_d2l = isinstance(part, ast.Attribute) and getattr(part.value, "id", "") == "d2l"
            home = (False, own) if isinstance(part, ast.Name) and wanted in own else (True, library)
            if isinstance(part, ast.Name) or of_d2l:
                if of_d2l and wanted in own and wanted not in library:
                    home = (False, own)
                if (home[0], wanted) not in seen:
                    seen.add((home[0], wanted))
                    code += home[1].get(wanted, [])
    return done


Use = tuple[str, str, bool]
"""A data set, the folder in which the notebook looks for it, and whether it must be unpacked there before."""


def uses(code: list[ast.AST], names: Mapping[str, Any], files: Files) -> Iterator[Use]:
    """Yield the data sets that the code names; those of a model's weights have no folder."""
    hub = {name: file.dataset for file in files.values() for name in (file.dataset, file.path)}
    for node in (part for top in code for part in without_registrations(top)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in hub:
            if node.value not in (*DATASETS, *MODELS):
                yield hub[node.value], "../data", False
        elif isinstance(node, ast.Call) and callee(node) in DATASETS and is_torchvisions(node):
            yield dataset(node, names)
        elif isinstance(node, ast.Call) and callee(node) in MODELS and wants_weights(node):
            yield callee(node), "", False


def without_registrations(top: ast.AST) -> Iterator[ast.AST]:
    """Yield the parts of the code, as `ast.walk` does, but for `DATA_HUB[…] = …`, which downloads nothing."""
    left = [top]
    while left:
        node = left.pop()
        if not (isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript)):
            yield node
            left += ast.iter_child_nodes(node)


def is_torchvisions(node: ast.Call) -> bool:
    """Return whether the call makes torchvision's data set: `d2l.FashionMNIST` is a class of d2l's own."""
    return isinstance(node.func, ast.Attribute) and "datasets" in ast.unparse(node.func.value)


def dataset(node: ast.Call, names: Mapping[str, Any]) -> Use:
    words = {word.arg: word.value for word in node.keywords}
    root = constant(words.get("root", node.args[0] if node.args else None), names)
    if not isinstance(root, str):
        raise SystemExit(f"root not understood: {ast.unparse(node)}")
    return callee(node), root.rstrip("/"), not constant(words.get("download"), names)


def wants_weights(node: ast.Call) -> bool:
    return any(
        word.arg in ("pretrained", "weights")
        and not (isinstance(word.value, ast.Constant) and not word.value.value)
        for word in node.keywords
    )


def cells_of(path: Path) -> ast.Module | None:
    """Return the code of a notebook without IPython's own lines; None if it is empty or has no code."""
    text = path.read_text(encoding="utf-8")
    if not text.strip():
        return None
    body: list[ast.stmt] = []
    for cell in json.loads(text)["cells"]:
        if cell["cell_type"] == "code":
            lines = "".join(cell["source"]).splitlines()
            kept = [line for line in lines if not line.lstrip().startswith(("%", "!"))]
            try:
                body += ast.parse("\n".join(kept)).body
            except SyntaxError as error:
                print(f"not read: {path.name}: {error}", file=sys.stderr)
    return ast.Module(body, []) if body else None


def notebooks(book: str, root: Path) -> list[Path]:
    found = sorted(root.rglob("*.ipynb"))
    if book == "dlwpt":
        found = [path for path in found if path.relative_to(root).parts[0].startswith("p1ch")]
    return found


def derive(book: str, root: Path, told: Mapping[str, Any], files: Files) -> dict[str, list[list[str]]]:
    """Return notebook → its data sets and their folders; add to ``files`` all that the book's code names."""
    base = {"DATA_URL": told["url"], "root": "../data"}
    source = ast.parse(Path(told["file"]).read_text(encoding="utf-8"))
    library = {} if book == "dlwpt" else definitions(source)
    read = {path: tree for path in notebooks(book, root) if (tree := cells_of(path))}
    if book != "dlwpt":
        for origin, tree in (
            (f"d2l {told['d2l']}", source),
            *((f"{book} notebooks", t) for t in read.values()),
        ):
            for name, url, sha1 in registered(tree, base):
                add(files, url.rpartition("/")[2], "sha1", sha1, url, origin, name)
    found: dict[str, list[list[str]]] = {}
    for path, tree in read.items():
        wanted = sorted(set(uses(reached(tree, library), base | strings(tree), files)))
        ready = {(name, place) for name, place, unpacked in wanted if not unpacked}
        rows = sorted(ready | {(n, p, "unpacked") for n, p, _ in wanted if (n, p) not in ready})
        if rows:
            found[path.relative_to(root).as_posix()] = [list(row) for row in rows]
    return found


def strings(tree: ast.Module) -> dict[str, str]:
    """Return the names that a notebook's cells give to texts."""
    found: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            value = constant(node.value, found)
            if isinstance(value, str):
                found[node.targets[0].id] = value
    return found


def rows_of(files: Files) -> list[dict[str, Any]]:
    by_name: dict[str, list[File]] = {}
    for file in sorted(files.values(), key=lambda file: file.path.lower()):
        by_name.setdefault(file.dataset, []).append(file)
    return [
        {
            "name": name,
            "sources": sorted(set().union(*(file.sources for file in group))),
            "files": [{"path": file.path, file.algorithm: file.digest, "urls": file.urls} for file in group],
        }
        for name, group in sorted(by_name.items(), key=lambda item: item[0].lower())
    ]


def laid_out(table: Mapping[str, Any]) -> str:
    """Return JSON with a line for each file and each notebook: a change is one line of a diff."""
    sets = []
    for row in table["sets"]:
        files = ",\n".join(f"   {json.dumps(file)}" for file in row["files"])
        sets.append(
            f'  {{"name": "{row["name"]}", "sources": {json.dumps(row["sources"])}, "files": [\n{files}]}}'
        )
    needs = []
    for book, rows in table["needs"].items():
        lines = ",\n".join(f"   {json.dumps(path)}: {json.dumps(rows[path])}" for path in rows)
        needs.append(f'  "{book}": {{\n{lines}}}')
    return '{"sets": [\n' + ",\n".join(sets) + '],\n "needs": {\n' + ",\n".join(needs) + "}}\n"


def asked(prefix: Path) -> Mapping[str, Any]:
    """Return what d2l and torchvision of a prefix say of themselves."""
    done = run([prefix / "bin" / "python", "-I", "-c", ASK, *MODELS], timeout_s=300)
    if done.returncode:
        raise SystemExit(done.stderr)
    return dict(json.loads(done.stdout))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for book in ("en", "zh", "dlwpt"):
        parser.add_argument(f"--{book}", nargs=2, required=True, type=Path, metavar=("BOOK", "PREFIX"))
    parser.add_argument("--torchvision", nargs="*", default=[], type=Path, metavar="PREFIX")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    files: Files = {}
    told: dict[str, Any] = {}
    for book in ("en", "zh", "dlwpt"):
        told[book] = asked(getattr(given, book)[1])
        of_wheels(files, told[book])
    for prefix in given.torchvision:
        of_torchvision(files, asked(prefix))
    needs = {book: derive(book, getattr(given, book)[0], told[book], files) for book in told}
    text = laid_out({"sets": rows_of(files), "needs": needs})
    if given.write:
        TABLE.write_text(text, encoding="utf-8")
    same = TABLE.read_text(encoding="utf-8") == text
    count = sum(map(len, needs.values()))
    print(f"{len(files)} files, {count} notebooks: the table is {'current' if same else 'NOT current'}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
