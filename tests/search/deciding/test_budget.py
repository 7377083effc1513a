import re

import pytest

from models.cost import CellCost
from search.deciding.budget import Budget
from search.deciding.space import AtrousConvs, CellSpace, PointwiseConvs

SPACE = CellSpace(3, {"pointwise": PointwiseConvs(), "atrous": AtrousConvs([1, 6])})


def dear_to_chain(cell):
    """A branch that reads another costs three times as much as one that reads the backbone."""
    params = sum(branch.operator.to_json()["kernel"] * (1 if branch.input < 0 else 3) for branch in cell.branches)
    return CellCost(params, 100 - params, params, params)


def dear_to_read_the_backbone(cell):
    params = sum(branch.operator.to_json()["kernel"] * (9 if branch.input < 0 else 1) for branch in cell.branches)
    return CellCost(params, 10 * params, params, params)


def test_a_cell_is_allowed_up_to_each_limit():
    budget = Budget(madds=20, params=10)
    costs = {(10, 20): True, (11, 20): False, (10, 21): False, (1, 1): True}
    assert {cost: budget.allows(CellCost(*cost, *cost)) for cost in costs} == costs
    assert Budget().allows(CellCost(10**12, 10**12, 1, 1))


@pytest.mark.parametrize("cost_of", [dear_to_chain, dear_to_read_the_backbone])
def test_a_limit_is_refused_exactly_below_the_cheapest_cell_of_the_space(cost_of):
    cheapest = min(cost_of(cell).params for cell in SPACE.enumerate())
    Budget(params=cheapest).check(SPACE, cost_of)
    message = f"budget.params: the space's cheapest cell has {cheapest}, got a limit of {cheapest - 1}."
    with pytest.raises(ValueError, match=re.escape(message)):
        Budget(params=cheapest - 1).check(SPACE, cost_of)


@pytest.mark.parametrize("name", ["madds", "params"])
def test_a_limit_of_nothing_is_refused(name):
    with pytest.raises(ValueError, match=f"budget.{name} must be above 0, or null for no limit, got 0"):
        Budget(**{name: 0})
