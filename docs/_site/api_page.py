"""The public names of `dpc`, by the sections of its docstring; their texts are read from the source by mkdocstrings."""

import re

import dpc


def api_page() -> str:
    return "\n".join(
        line
        for title, names in _sections().items()
        for line in (f"## {title}", "", *(f"::: {dpc._MODULE_OF[name]}.{name}\n" for name in names))
    )


def _sections() -> dict[str, list[str]]:
    """Each name where the docstring has it first; the others at the end."""
    sections: dict[str, list[str]] = {}
    left, title = set(dpc.__all__), ""
    for line in (dpc.__doc__ or "").splitlines():
        if re.fullmatch(r"[A-Z][\w ]+", line):
            title = line
        elif title and line.startswith("    "):
            for name in (word for word in re.findall(r"\w+", line) if word in left):
                sections.setdefault(title, []).append(name)
                left.remove(name)
    return sections | ({"Others": sorted(left)} if left else {})
