"""A cell as text for a terminal."""

from rich.text import Text
from rich.tree import Tree

from models.spec import BACKBONE, CellSpec

DEEPEST = 12
"""Levels of indentation: with these, the text of an operator still fits into 80 columns."""


def cell_tree(cell: CellSpec) -> Tree:
    """The cell as a tree: the backbone's features at the root, below each branch those that read it.

    Every branch also flows into the concat, so that is not shown. Branches deeper than ``DEEPEST`` are not indented
    further, but say what they read.
    """
    root = Tree("F  backbone features")
    below, depth = {BACKBONE: root}, {BACKBONE: 0}
    for index, branch in enumerate(cell.branches):
        level = depth[index] = depth[branch.input] + 1
        text = f"  {branch}" if level > DEEPEST else f"  {branch.operator}"
        node = below[branch.input].add(Text.assemble((f"b{index + 1}", "bold"), text))
        below[index] = node if level < DEEPEST else below[branch.input]
    return root
