"""Completion of `dpc` in bash and zsh: commands, options, groups with their choices, settings, names of searches.

The shell asks `dpc --complete <words so far>` and gets one candidate a line. What is given already counts: after
``dataset=folder`` the settings below ``dataset.`` are a folder's.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from yaml import safe_load

from search.conf_files import CONF
from search.config import load
from search.config_errors import ConfigError
from search.help import COMMANDS, OPTIONS, groups

SHELLS = {
    "bash": r"""_dpc() {
  local line=${COMP_LINE:0:COMP_POINT} word candidate
  local -a words
  read -ra words <<< "$line"
  [[ $line == *[[:space:]] ]] && words+=("")
  word=${words[-1]}
  COMPREPLY=()
  while IFS= read -r candidate; do
    [[ -n $candidate ]] && COMPREPLY+=("${candidate#"${word%"${word##*[=:]}"}"}")
  done < <("${words[0]}" --complete "${words[@]:1}" 2> /dev/null)
  [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[.=] ]] && compopt -o nospace
}
complete -o default -F _dpc dpc .venv/bin/dpc""",
    "zsh": r"""(( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
_dpc() {
  local -a found open closed
  found=("${(@f)$("${(@Q)words[1]}" --complete "${(@)words[2,CURRENT]}" 2> /dev/null)}")
  open=(${(M)found:#*[.=]})
  closed=(${found:#*[.=]})
  (( $#open )) && compadd -Q -S '' -- $open
  (( $#closed )) && compadd -Q -- $closed
  (( $#open + $#closed )) || { compset -P '*='; _files }
}
compdef _dpc dpc""",
}
"""What a shell runs to complete: `source <(dpc --completion bash)`."""

_FLAGS = tuple(option for option, _ in OPTIONS)


def script_for(shell: str) -> str:
    """Raises a ConfigError where there is none."""
    if shell not in SHELLS:
        raise ConfigError(f"--completion: accepted are {' and '.join(SHELLS)}, got {shell!r}.")
    return SHELLS[shell]


def candidates(words: Sequence[str]) -> list[str]:
    """What the last word may become. Those before it follow `dpc`, or the ``--`` of `dpc submit`."""
    *before, word = words or [""]
    if before[:1] == ["submit"] and "--" in before:
        before = before[before.index("--") + 1 :]
    command = next((text for text in before if text in COMMANDS), None)
    if word.startswith("-"):
        found: Iterator[str] = iter(_FLAGS)
    elif command is None:
        found = iter(COMMANDS)
    else:
        found = _settings(command, [text for text in before if "=" in text and not text.startswith("-")], word)
    return sorted(text for text in found if text.startswith(word))


def _settings(command: str, given: Sequence[str], word: str) -> Iterator[str]:
    key, equals, _ = word.partition("=")
    tree = _composed(command, given)
    if equals:
        yield from (f"{key}={value}" for value in _values(command, tree, key))
        return
    sign = key[: len(key) - len(key.lstrip("+~"))]
    where, _, _ = key[len(sign) :].rpartition(".")
    for name, value in _below(tree, where).items():
        path = f"{sign}{where}.{name}" if where else f"{sign}{name}"
        if isinstance(value, dict):
            yield f"{path}."
        if not isinstance(value, dict) or sign == "~":
            yield path if sign == "~" else f"{path}="
    if not where:
        yield from (f"{sign}{group}=" for group in groups(command))


def _composed(command: str, given: Sequence[str]) -> dict[str, Any]:
    """The settings of ``command`` with what is given or, where that is not whole yet, without; empty where neither composes."""
    for overrides in (given, ()):
        try:
            return dict(safe_load(load(command, overrides).yaml()) or {})
        except ConfigError:
            continue
    return {}


def _below(tree: Any, path: str) -> dict[str, Any]:
    for name in filter(None, path.split(".")):
        tree = tree.get(name) if isinstance(tree, dict) else None
    return {name: value for name, value in tree.items() if not str(name).startswith("_")} if isinstance(tree, dict) else {}


def _values(command: str, tree: dict[str, Any], key: str) -> Iterator[str]:
    where, _, name = key.lstrip("+~").rpartition(".")
    outputs = Path(str(tree.get("output_dir", "outputs")))
    if choices := groups(command).get(key.lstrip("+~")):
        yield from choices
    elif isinstance(_below(tree, where).get(name), bool):
        yield from ("false", "true")
    elif key in ("name", "from"):
        yield from (journal.parent.name for journal in outputs.glob("*/journal.jsonl"))
    elif name == "cell":
        yield from (file.stem for file in (CONF / "cell").glob("*.json"))
    elif key == "checkpoint":
        yield from (str(path) for path in outputs.glob("*/retrain-*") if path.is_dir())
