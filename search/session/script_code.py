"""Which code a script or notebook has for something that it defines: an objective, an algorithm."""

import ast
import hashlib
import inspect
import re
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

from data.system.errors import UserError
from training.source_code import PROJECT, PUBLIC, home_of, imports_of, source_digest

MAIN = "__main__"


def script_code(what: str, kind: Any) -> str:
    """A digest of a function or class of the script that runs: of its text, of what it uses of the script, and of the modules
    beside the script that these use. The rest of a script may ask for more trials, and is still the same search.

    Args:
        what: the argument that it is given as, for a message.

    Raises:
        UserError: a text cannot be read, as of what was typed at a prompt.
    """
    script, homes = vars(sys.modules[MAIN]), {home_of(MAIN), Path.cwd()}
    texts: dict[object, str] = {}
    modules: set[str] = set()
    waiting = [kind]
    while waiting:
        kind = waiting.pop()
        texts[kind] = _text(what, kind)
        names, imported = _used(texts[kind])
        used = [script[name] for name in names & script.keys()]
        kinds = {kind_of(thing) for thing in used if not inspect.ismodule(thing)}
        waiting += [other for other in kinds - texts.keys() if module_of(other) == MAIN]
        modules |= imported | {thing.__name__ for thing in used if inspect.ismodule(thing)} | set(map(module_of, kinds))
    own = hashlib.sha256("".join(sorted(texts.values())).encode()).hexdigest()[:16]
    packages = {module.partition(".")[0] for module in modules} - {*PROJECT, PUBLIC, MAIN}
    beside = {package for package in packages if home_of(package) in homes}
    near = [module for module in modules if module.partition(".")[0] in beside]
    return f"{own}-{source_digest(*near)}" if near else own


def kind_of(thing: object) -> Any:
    """A function or class itself; of another object its class."""
    return thing if inspect.isroutine(thing) or inspect.isclass(thing) else type(thing)


def module_of(kind: object) -> str:
    """The module that a function or class was defined in; "" of what Python does not know of."""
    return getattr(kind, "__module__", None) or ""


def _text(what: str, kind: Any) -> str:
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError) as error:
        raise UserError(f"{what}: its source cannot be read ({error}); define {kind.__qualname__} in a file.") from error


def _used(text: str) -> tuple[set[str], set[str]]:
    """The names that a text uses, and those of modules that it imports."""
    try:
        tree = ast.parse(dedent(text))
    except SyntaxError:  # of a lambda in the midst of a call
        return set(re.findall(r"\w+", text)), set()
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}, set(imports_of(tree))
