"""A page for each command and each group of choices, from conf/: its comments are the descriptions, and else docstrings."""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache

from descriptions import described
from yaml import safe_load

from search.conf_files import CONF
from search.help import COMMANDS, groups, sources


@cache
def command_pages() -> dict[str, str]:
    return {name: "\n".join(_command_page(name)) for name in COMMANDS}


@cache
def choice_pages() -> dict[str, str]:
    used = {group: [name for name in COMMANDS if group in groups(name)] for name in COMMANDS for group in groups(name)}
    return {group: "\n".join(_choice_page(group, used[group])) for group in sorted(used)}


def _command_page(name: str) -> Iterator[str]:
    command = COMMANDS[name]
    summary = command.summary[0].upper() + command.summary[1:]
    yield from (
        f"# dpc {name}",
        "",
        f"{summary.rstrip('.?')}{'?' if summary.endswith('?') else '.'}",
        "",
        "```",
        command.example,
        "```",
        "",
    )
    if chosen := groups(name):
        yield from ("## Choices", "", "| group | choices |", "|---|---|")
        yield from (f"| [`{group}=`](../choices/{group}.md) | {_code(names)} |" for group, names in chosen.items())
        yield from (
            "",
            "Their settings are keys as well, such as those of [`proxy=`](../choices/proxy.md): `proxy.batch_size=4`."
            * ("proxy" in chosen),
            "",
        )
    yield from ("## Settings", "")
    yield from _table([row for text in sources(name) for row in _filled(_rows(text), described(safe_load(text)))])


def _choice_page(group: str, commands: list[str]) -> Iterator[str]:
    used = ", ".join(f"[{name}](../settings/{name}.md)" for name in commands)
    yield from (f"# {group}=", "", f"Files of `conf/{group}/`. Commands that take it: {used}.", "")
    for file in sorted((CONF / group).glob("*.yaml")):
        text = file.read_text()
        about = [line[2:] for line in _head(text) if line != "# @package _global_"]
        parents = _parents(text)
        overridden = re.findall(r"^  - override /(\w+): (\w+)$", text, re.MULTILINE)
        yield from (f"## {group}={file.stem}", "", " ".join(about), "")
        if parents:
            yield from (f"As {_code(parents)}, but for:", "")
        if overridden:
            yield from ("Chooses " + ", ".join(f"[`{key}={value}`]({key}.md)" for key, value in overridden) + ".", "")
        yield from _table(_filled(_rows(text, _prefix(group)), _known(group, file.stem)))


def _prefix(group: str) -> str:
    return "" if group == "experiment" else f"{group}."


def _known(group: str, name: str) -> dict[str, str]:
    """What a choice's files, and those that they begin with, say of each setting."""
    text = (CONF / group / f"{name}.yaml").read_text()
    known = {}
    for parent in _parents(text):
        known |= _known(group, parent)
    known |= described(safe_load(text), _prefix(group))
    return known | {key: comment for key, _, comment in _rows(text, _prefix(group)) if comment}


def _filled(rows: Iterable[tuple[str, str, str]], known: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """With what is known where there is no comment, and without lines that only head others."""
    told = [(key, value, comment or known.get(key, "")) for key, value, comment in rows]
    return [row for row in told if row[1] or row[2]]


def _parents(text: str) -> list[str]:
    return [name for name in re.findall(r"^  - (\w+)$", text, re.MULTILINE) if name != "_self_"]


def _head(text: str) -> list[str]:
    """The comments that a file begins with."""
    return re.match(r"(#.*\n)*", text)[0].splitlines()


def _rows(text: str, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Key, value and comment of each line that sets something, in order."""
    above: list[tuple[int, str]] = []
    for line in text.splitlines():
        found = re.match(r"(\s*)([\w-]+):\s*(.*?)(?:\s+#\s*(.*))?$", line)
        if not found or found[2].startswith("_") or found[2] == "defaults":
            continue
        indent, key, value, comment = len(found[1]), found[2], found[3], found[4] or ""
        if value.startswith("#"):
            value, comment = "", value[1:].strip()
        above = [(depth, name) for depth, name in above if depth < indent]
        path = prefix + ".".join([*(name for _, name in above), key])
        above.append((indent, key))
        yield path, value, comment


def _table(rows: list[tuple[str, str, str]]) -> Iterator[str]:
    if not rows:
        yield from ("It has no settings.", "")
        return
    yield from ('<div class="settings" markdown>', "", "| setting | value | what |", "|---|---|---|")
    for key, value, comment in rows:
        shown = {"": "", "???": "*must be given*"}.get(value, f"`{value}`")
        yield f"| <code>{key.replace('.', '.<wbr>')}</code> | {_cell(shown)} | {_cell(comment)} |"
    yield from ("", "</div>", "")


def _cell(text: str) -> str:
    """Code, or a comment, whose signs are no Markdown."""
    signs = "|" if text.startswith("`") else "|_*<["
    return re.sub(f"([{re.escape(signs)}])", r"\\\1", text)


def _code(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
