"""A cell as text: whole, readable in 80 columns, and where there is no UTF-8."""

import io
from random import Random

import pytest
from rich.console import Console

from models.spec import AtrousConv, Branch, CellSpec
from search.deciding.space import AtrousConvs, CellSpace, PointwiseConvs, PyramidPoolings
from search.views.diagram import cell_tree

FAMILIES = {"one": PointwiseConvs(), "atrous": AtrousConvs([1, 6, 21]), "pooling": PyramidPoolings([1, 8])}


def shown(cell: CellSpec, encoding: str = "utf-8") -> str:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    Console(width=80, file=file).print(cell_tree(cell))
    file.seek(0)
    return file.read()


def test_a_branch_stands_below_what_it_reads():
    cell = CellSpec(
        (
            Branch(-1, AtrousConv((1, 6))),
            Branch(0, AtrousConv((18, 15))),
            Branch(1, AtrousConv((6, 3))),
            Branch(0, AtrousConv()),
        )
    )
    assert shown(cell).splitlines() == [
        "F  backbone features",
        "└── b1  atrous 1x6",
        "    ├── b2  atrous 18x15",
        "    │   └── b3  atrous 6x3",
        "    └── b4  atrous 1x1",
    ]


@pytest.mark.parametrize("num_branches", [1, 5, 8, 64])
def test_every_branch_has_one_whole_line(num_branches):
    space = CellSpace(num_branches, FAMILIES)
    for seed in range(20):
        cell = space.sample(Random(seed))
        lines = [line.split("─ ")[-1] for line in shown(cell).splitlines()[1:]]
        assert len(lines) == num_branches
        for index, branch in enumerate(cell.branches):
            assert sum(line.startswith(f"b{index + 1}  {branch.operator}") for line in lines) == 1


def test_a_chain_too_deep_to_indent_says_what_each_branch_reads():
    chain = CellSpec(tuple(Branch(index - 1, AtrousConv((21, 21))) for index in range(64)))
    lines = shown(chain).splitlines()
    assert len(lines) == 65
    assert lines[12].endswith("b12  atrous 21x21")
    assert lines[13].endswith("b13  atrous 21x21 <- b12")
    assert lines[64].endswith("b64  atrous 21x21 <- b63")


def test_it_prints_where_there_is_no_utf_8():
    cell = CellSpec((Branch(-1, AtrousConv((1, 6))),))
    assert shown(cell, "ascii") == "F  backbone features\n`-- b1  atrous 1x6\n"
