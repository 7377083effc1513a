"""A figure's SVG as a part of a page: no style of its own, names of its own, marks that say what they are and lead to a row."""

import re
from collections.abc import Mapping
from xml.etree import ElementTree as Tree

from markupsafe import Markup

_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
PX = 1.55
"""Pixels a point, about as in a column of the page: text of figures has one size wherever it stands."""
_FONT = re.compile(r"(?:(?P<weight>\d+|bold) )?(?P<size>[\d.]+)px .*")
"""As older versions of matplotlib write it."""
_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_NUMBERS = ("d", "x", "y", "transform", "width", "height", "viewBox", "cx", "cy", "r")
_PLAIN = re.compile(r"fill|stroke|opacity|text-anchor|image-rendering|font-size|font-weight|font-style")


def inline(svg: bytes, name: str, label: str, hovers: Mapping[str, str]) -> Markup:
    """The figure for a page whose policy lets no element have a style.

    Args:
        name: of the figure, before each of its ids: other figures of the page have the same.
        label: for who does not see it.
        hovers: by the address that a mark leads to, what it says.
    """
    root = Tree.fromstring(svg)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):
                parent.remove(child)
    for element in root.iter():
        _plain(element, name, hovers)
    root.attrib["width"] = f"{PX * float(root.attrib['width'].removesuffix('pt')):.0f}"
    del root.attrib["height"]
    root.attrib |= {"role": "group" if hovers else "img", "aria-label": label}
    Tree.register_namespace("", _SVG)
    return Markup(Tree.tostring(root, encoding="unicode"))  # escaped by ElementTree


def _plain(element: Tree.Element, name: str, hovers: Mapping[str, str]) -> None:
    """An element's style as attributes, short numbers, no blank text, names with the figure's; of a link, its title."""
    given = element.attrib
    element.text, element.tail = ((one or "").strip() or None for one in (element.text, element.tail))
    for rule in filter(None, map(str.strip, given.pop("style", "").split(";"))):
        key, _, value = (part.strip() for part in rule.partition(":"))
        if key == "font" and (font := _FONT.fullmatch(value)):
            given["font-size"] = font["size"]
            given |= {"font-weight": font["weight"]} if font["weight"] else {}
        elif _PLAIN.match(key):
            given[key] = value.removesuffix("px")
    target = given.pop(f"{{{_XLINK}}}href", None)
    if "id" in given:
        given["id"] = f"{name}-{given['id']}"
    for key, value in given.items():
        given[key] = re.sub(r"url\(#", f"url(#{name}-", value)
        if key in _NUMBERS:
            short = _NUMBER.sub(lambda match: f"{float(match[0]):.2f}".rstrip("0").rstrip("."), given[key])
            given[key] = " ".join(short.split())
    if target is None:
        return
    if element.tag == f"{{{_SVG}}}a":
        given["href"] = target
        title = Tree.Element(f"{{{_SVG}}}title")
        title.text = hovers[target]
        element.insert(0, title)
        given.pop("target", None)
    else:
        given["href"] = f"#{name}-{target[1:]}" if target.startswith("#") else target
