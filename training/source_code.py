"""Which code makes something: a digest of what modules and all that they import do, however they are written down."""

import ast
import hashlib
import re
import sys
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

PROJECT = ("models", "data", "training", "search")
PUBLIC = "dpc"
"""Names all that is public of this project, of which a task of one's own uses some."""
INSTALLED = ("site-packages", "dist-packages")
_MODULE = re.compile(r"\w+(\.\w+)+")


def source_digest(*modules: str) -> str:
    """Of ``modules`` and of what they import, and what that imports: comments, docstrings and layout do not count.

    Imports are followed within this project, within the packages that ``modules`` are of, such as those of a data set or an
    operator of one's own, and to what lies beside these. What a function imports counts, too.
    """
    packages = {*PROJECT, *(name.partition(".")[0] for name in modules)}
    homes = {home for package in packages.difference(PROJECT) if (home := home_of(package))}
    found: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        path = None if name in found else _file(name)
        if path is None:
            continue
        found[name], imported = _read(path, path.stat().st_mtime_ns, name)
        waiting.append(name.rpartition(".")[0])  # a package's own file is executed first
        if homes:
            unknown = {other.partition(".")[0] for other in imported} - packages - {PUBLIC}
            packages |= {package for package in unknown if home_of(package) in homes}
        waiting += [other for other in imported if other.partition(".")[0] in packages]
    digest = hashlib.sha256()
    for name in sorted(found):
        digest.update(f"{name}\0{found[name]}\0".encode())
    return digest.hexdigest()[:16]


def home_of(package: str) -> Path | None:
    """The folder that a top-level module or package of one's own is imported from; None of what is installed, or nowhere."""
    places: list[str | None] = []
    if known := sys.modules.get(package):
        places = [*getattr(known, "__path__", ()), getattr(known, "__file__", None)]
    elif spec := find_spec(package):
        places = [*(spec.submodule_search_locations or ()), spec.origin]
    home = Path(places[0]).parent if places and places[0] else None
    return None if home is None or home.name in INSTALLED else home


def _file(module: str) -> Path | None:
    """Its source; None where it is no module, but a name in one, or has none. Nothing is imported to find it."""
    if module in sys.modules:
        file = getattr(sys.modules[module], "__file__", None)
        return Path(file) if file and file.endswith(".py") else None
    package, *rest = module.split(".")
    spec = find_spec(package) if package else None
    if spec and not rest and (spec.origin or "").endswith(".py"):
        return Path(str(spec.origin))
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        place = Path(folder, *rest)
        for path in (place / "__init__.py", place.with_suffix(".py")):
            if path.is_file():
                return path
    return None


@cache
def _read(path: Path, changed_ns: int, name: str) -> tuple[str, tuple[str, ...]]:
    """A digest of a file's syntax tree, and the names of the modules that it may import."""
    tree = ast.parse(path.read_bytes())
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    text = "".join(_canonical(tree))
    return hashlib.sha256(text.encode()).hexdigest(), tuple(imports_of(tree, package))


def imports_of(tree: ast.AST, package: str = "") -> Iterator[str]:
    """The names of modules, and of what is in them, that code of ``package`` may import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            for alias in node.names:
                yield f"{base}.{alias.name}"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _MODULE.fullmatch(node.value):
            yield node.value  # for import_module, or for Hydra


def _canonical(node: object) -> Iterator[str]:
    """A tree as text that is the same in every version of Python: without places, docstrings, and what is empty."""
    if isinstance(node, list):
        for element in node:
            yield from _canonical(element)
    elif isinstance(node, ast.AST):
        yield f"({type(node).__name__}"
        for field, value in ast.iter_fields(node):
            if value is None or value == []:
                continue
            yield f" {field}="
            yield from _canonical(value[1:] if field == "body" and _has_docstring(node) else value)
        yield ")"
    else:
        yield repr(node)


def _has_docstring(node: ast.AST) -> bool:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return isinstance(node, kinds) and ast.get_docstring(node, clean=False) is not None
