"""Which code a script or notebook has for something that it defines: an objective, an algorithm."""

import ast
import hashlib
import inspect
import json
import linecache
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from symtable import SymbolTable, symtable
from textwrap import dedent
from typing import Any

from data.system.errors import UserError
from training.source_code import PROJECT, PUBLIC, home_of, imports_of, source_digest

MAIN = "__main__"
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def script_code(what: str, kind: Any) -> str:
    """A digest of a function or class of the script that runs: of its text, of what it uses of the script, constants too, and
    of the modules beside the script that these use. The rest of a script may ask for more trials, and is still the same search.

    In a script the text is the statements that bind the names. A notebook has no file: there it is that of functions, those of
    classes included, and what plain constants are.

    Args:
        what: the argument that it is given as, for a message.

    Raises:
        UserError: its text cannot be read, as of what was typed at a prompt.
    """
    main = sys.modules[MAIN]
    values, statements = vars(main), _statements(getattr(main, "__file__", None) or "")
    own_name = next((name for name, value in values.items() if value is kind), kind.__qualname__.partition(".")[0])
    texts = {own_name: statements.get(own_name) or _texts(kind)}
    if not texts[own_name]:
        raise UserError(f"{what}: its source cannot be read; define {kind.__qualname__} in a file.")
    modules: set[str] = set(_modules(kind))
    waiting = [own_name]
    while waiting:
        for text in texts[waiting.pop()]:
            names, imported = _used(text)
            new = {name for name in names & values.keys() if not name.startswith("__")} - texts.keys()
            texts |= {name: statements.get(name) or _texts(values[name]) for name in new}
            modules.update(imported, *(_modules(values[name]) for name in new))
            waiting += new
    own = hashlib.sha256("".join(sorted(text for of_name in texts.values() for text in of_name)).encode()).hexdigest()[:16]
    homes = {home for home in (home_of(MAIN), Path.cwd()) if home}
    packages = {module.partition(".")[0] for module in modules} - {*PROJECT, PUBLIC, MAIN, ""}
    beside = {package for package in packages if home_of(package) in homes}
    near = [module for module in modules if module.partition(".")[0] in beside]
    return f"{own}-{source_digest(*near)}" if near else own


def kind_of(thing: object) -> Any:
    """A function or class itself; of another object its class."""
    return thing if inspect.isroutine(thing) or inspect.isclass(thing) else type(thing)


def module_of(kind: object) -> str:
    """The module that a function or class was defined in; "" of what Python does not know of."""
    return getattr(kind, "__module__", None) or ""


def _statements(file: str) -> dict[str, list[str]]:
    """The statements of a script, also of those under ``if __name__``, that bind or change each name."""
    lines = linecache.getlines(file)
    found: dict[str, list[str]] = defaultdict(list)
    for one in ast.parse("".join(lines)).body:
        for statement in one.body if isinstance(one, ast.If) and "'__name__'" in ast.dump(one.test) else [one]:
            first = min(node.lineno for node in [statement, *getattr(statement, "decorator_list", [])])
            for name in set(_bound(statement)):
                found[name].append(dedent("".join(lines[first - 1 : statement.end_lineno])))
    return found


def _bound(statement: ast.stmt) -> Iterator[str]:
    for node in [statement] if isinstance(statement, _DEFINITIONS) else ast.walk(statement):
        if isinstance(node, _DEFINITIONS):
            yield node.name
        elif isinstance(node, ast.alias):
            yield (node.asname or node.name).partition(".")[0]
        elif isinstance(getattr(node, "ctx", None), ast.Store):  # a name, or a place in what it names
            yield from (inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name))


def _texts(thing: Any) -> list[str]:
    """What there is to read of a value without a statement: the text of a function, or what a constant is."""
    if inspect.ismodule(thing):
        return []
    kind = kind_of(thing)
    if module_of(kind) != MAIN:
        return _constant(thing)
    if inspect.isclass(kind):
        return [text for part in kind.__mro__ if module_of(part) == MAIN for text in _texts_of_class(part)]
    try:
        return [dedent(inspect.getsource(kind))]
    except (OSError, TypeError):
        return []


def _texts_of_class(kind: type) -> Iterator[str]:
    """Python finds the text of a class in a file alone, and of a function wherever it is kept."""
    for name, member in vars(kind).items():
        function = getattr(member, "__func__", None) or getattr(member, "fget", None) or member
        if inspect.isfunction(function):
            yield from _texts(function)
        elif not name.startswith("__"):
            yield from (f"{name} = {text}" for text in _constant(member))


def _constant(value: object) -> list[str]:
    try:
        return [json.dumps(value, skipkeys=True)]
    except (TypeError, ValueError):
        return []


def _modules(thing: Any) -> Iterable[str]:
    return [thing.__name__] if inspect.ismodule(thing) else map(module_of, getattr(kind_of(thing), "__mro__", [kind_of(thing)]))


def _used(text: str) -> tuple[set[str], set[str]]:
    """The names of a script that a text uses, and those of modules that it imports."""
    try:
        tree, table = ast.parse(text), symtable(text, "", "exec")
    except SyntaxError:  # of a lambda in the midst of a call
        return set(re.findall(r"\w+", text)), set()
    return set(_global(table)), set(imports_of(tree))


def _global(table: SymbolTable) -> Iterator[str]:
    yield from (symbol.get_name() for symbol in table.get_symbols() if symbol.is_global() and symbol.is_referenced())
    for inner in table.get_children():
        yield from _global(inner)
