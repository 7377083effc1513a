"""A cell as text for a terminal."""

from rich.text import Text
from rich.tree import Tree

from models.spec import BACKBONE, CellSpec


def cell_tree(cell: CellSpec) -> Tree:
    """The cell as a tree: the backbone's features at the root, below each branch those that read it.

    Every branch also flows into the concat, so that is not shown.
    """
    tree = Tree("F  backbone features")
    nodes = {BACKBONE: tree}
    for index, branch in enumerate(cell.branches):
        label = Text.assemble((f"b{index + 1}", "bold"), f"  {branch.operator}")
        nodes[index] = nodes[branch.input].add(label)
    return tree
