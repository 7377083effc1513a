"""A cell as a sign in a row of a table: one square per branch, coloured by its kind, with how far it sees."""

from markupsafe import Markup

from models.spec import BACKBONE, AtrousConv, CellSpec, Conv1x1, Operator, PyramidPooling
from search.views.figures.cell_layout import Box, Measures, Wire, layout_cell
from search.views.figures.operator_card import PAPER_RATE

SIGN = Measures(11, 11, 2, 2, 4, 1.6, inset=11, inset_top=0, text=0)
"""In pixels."""
_KINDS: dict[type[Operator], str] = {Conv1x1: "k", AtrousConv: "a", PyramidPooling: "p"}


def glyph(cell: CellSpec) -> Markup:
    """As SVG for a page; its text says the whole cell."""
    layout = layout_cell(cell, SIGN)
    wires = "".join(_path(wire) for wire in (*layout.reads.values(), *layout.outputs.values()))
    cards = "".join(_card(layout.boxes[index], branch.operator) for index, branch in enumerate(cell.branches))
    bars = "".join(_rect(box, "") for box in (layout.boxes[BACKBONE], layout.concat))
    width, height = layout.concat.right + 1, layout.concat.bottom + 1
    size = Markup('viewBox="-1 -1 {} {}" width="{}" height="{}"').format(*map(_short, (width + 1, height + 1) * 2))
    drawn = Markup(f'<path d="{wires}"/>{bars}{cards}')  # numbers alone
    return Markup('<svg class="glyph" role="img" {}><title>{}</title>{}</svg>').format(size, str(cell), drawn)


def _card(box: Box, operator: Operator) -> str:
    seen = ""
    if isinstance(operator, AtrousConv):
        down, across = (max(1.5, min(1.0, rate / PAPER_RATE) * (box.height - 2)) for rate in operator.rate)
        seen = _rect(Box(box.centre - across / 2, box.middle - down / 2, across, down), "s")
    return _rect(box, _KINDS.get(type(operator), "o")) + seen


def _rect(box: Box, kind: str) -> str:
    name = f' class="{kind}"' if kind else ""
    return (
        f'<rect{name} x="{_short(box.left)}" y="{_short(box.top)}" width="{_short(box.width)}" height="{_short(box.height)}"/>'
    )


def _path(wire: Wire) -> str:
    return "M" + "L".join(f"{_short(x)} {_short(y)}" for x, y in wire)


def _short(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")
