import json
from itertools import permutations, product

import pytest

from models.spec import BACKBONE, AtrousConv, Branch, CellError, CellSpec, Conv1x1, PyramidPooling

TOP1 = json.loads(
    '[{"kernel":3,"rate":[1,6],"op":"conv","input":-1},{"kernel":3,"rate":[18,15],"op":"conv","input":0},'
    '{"kernel":3,"rate":[6,3],"op":"conv","input":1},{"kernel":3,"rate":[1,1],"op":"conv","input":0},'
    '{"kernel":3,"rate":[6,21],"op":"conv","input":0}]'
)
SMALL = (Conv1x1(), AtrousConv((1, 6)), PyramidPooling((2, 1)))


def test_the_published_winner_round_trips():
    assert CellSpec.from_json(TOP1).to_json() == TOP1


def test_every_published_operator_round_trips():
    cell = CellSpec(tuple(Branch(BACKBONE, operator) for operator in SMALL))
    assert CellSpec.from_json(json.loads(json.dumps(cell.to_json()))) == cell


@pytest.mark.parametrize("kernel", [1, [1, 1]])
def test_a_kernel_may_be_a_number_or_a_pair(kernel):
    assert CellSpec.from_json([{"op": "conv", "kernel": kernel, "input": -1}]).branches[0].operator == Conv1x1()


def reordered(cell, order):
    """The same network with its branches listed in ``order``, or None where a branch would come before what it reads."""
    place = {old: new for new, old in enumerate(order)} | {BACKBONE: BACKBONE}
    branches = [Branch(place[cell.branches[old].input], cell.branches[old].operator) for old in order]
    is_possible = all(branch.input < index for index, branch in enumerate(branches))
    return CellSpec(tuple(branches)) if is_possible else None


@pytest.mark.parametrize("num_branches", [1, 2, 3, 4])
def test_cells_have_one_digest_exactly_when_some_branch_order_makes_them_equal(num_branches):
    operators = SMALL if num_branches < 4 else SMALL[:2]
    groups: dict[str, set[CellSpec]] = {}
    for sources in product(*(range(BACKBONE, i) for i in range(num_branches))):
        for chosen in product(operators, repeat=num_branches):
            cell = CellSpec(tuple(map(Branch, sources, chosen)))
            groups.setdefault(cell.digest, set()).add(cell)
    for cells in groups.values():
        cell = next(iter(cells))
        same = {reordered(cell, order) for order in permutations(range(num_branches))} - {None}
        assert cells == same
        assert {other.canonical() for other in cells} == {cell.canonical()}


def test_identical_siblings_are_told_apart_by_who_reads_them():
    conv, atrous = Conv1x1(), AtrousConv()
    one_feeds_both = CellSpec((Branch(-1, conv), Branch(-1, conv), Branch(0, atrous), Branch(0, atrous)))
    each_feeds_one = CellSpec((Branch(-1, conv), Branch(-1, conv), Branch(0, atrous), Branch(1, atrous)))
    assert one_feeds_both.digest != each_feeds_one.digest


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ({}, "expected a JSON list"),
        ([], "1 to 64 branches, got 0"),
        ([7], "branch 0 must be a JSON object"),
        ([{"op": "conv", "kernel": 1}], "branch 0 needs an integer 'input', got null"),
        ([{"op": "conv", "kernel": 1, "input": True}], "needs an integer 'input'"),
        ([{"op": "conv", "kernel": 1, "input": 0}], "branch 0 must read the backbone"),
        ([{"op": "conv", "kernel": 1, "input": -1}, {"op": "conv", "kernel": 1, "input": 1}], "branch 1 must read"),
        ([{"op": "conv", "kernel": 5, "input": -1}], "no known operator"),
        ([{"op": "conv", "kernel": 3, "rate": [0, 1], "input": -1}], "two integers of at least 1"),
        ([{"op": "conv", "kernel": 3, "rate": [1, 2, 3], "input": -1}], "two integers of at least 1"),
        ([{"op": "pyramid_pooling", "grid_size": "8", "input": -1}], "two integers of at least 1"),
        ([{"op": "conv", "kernel": 1, "input": -1}] * 65, "1 to 64 branches, got 65"),
    ],
)
def test_a_malformed_cell_is_named_in_one_line(value, complaint):
    with pytest.raises(CellError, match="cell") as caught:
        CellSpec.from_json(value)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[}", "\x00\xff", "[" * 100_000])
def test_a_file_that_is_no_json_is_named(tmp_path, text):
    path = tmp_path / "cell.json"
    path.write_text(text)
    with pytest.raises(CellError, match=str(path)):
        CellSpec.read(path)


def test_a_cell_kept_with_its_digest_is_read_and_refused_once_it_is_changed(tmp_path):
    path = tmp_path / "best.json"
    cell = CellSpec((Branch(-1, AtrousConv((1, 6))), Branch(0, Conv1x1())))
    kept = {"digest": cell.digest, "miou": 0.5, "cell": cell.to_json()}
    path.write_text(json.dumps(kept))
    assert CellSpec.read(path) == cell
    kept["cell"][0]["rate"] = [1, 9]
    path.write_text(json.dumps(kept))
    with pytest.raises(CellError, match=f"{path}: its digest was {cell.digest} and is .*: it has been changed"):
        CellSpec.read(path)
