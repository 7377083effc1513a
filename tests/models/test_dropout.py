import pytest
import torch

from models.dropout import Dropout


def test_it_drops_its_share_scales_the_others_and_keeps_the_mean():
    torch.manual_seed(0)
    dropped = Dropout(0.1)(torch.ones(1_000_003))
    values, counts = dropped.unique(return_counts=True)
    assert values.tolist() == pytest.approx([0, 1 / 0.9], rel=1e-4)
    assert counts[0] / len(dropped) == pytest.approx(0.1, abs=0.002)
    assert dropped.mean() == pytest.approx(1, abs=0.002)


def test_every_value_is_as_likely_to_be_dropped_as_its_neighbour():
    torch.manual_seed(0)
    is_dropped = torch.stack([Dropout(0.5)(torch.ones(64)) == 0 for _ in range(2000)]).float()
    assert (is_dropped.mean(0) - 0.5).abs().max() < 0.06
    assert (torch.corrcoef(is_dropped.T) - torch.eye(64)).abs().max() < 0.12


def test_the_gradient_flows_where_values_were_kept():
    torch.manual_seed(0)
    values = torch.randn(1000, requires_grad=True)
    dropped = Dropout(0.3)(values)
    dropped.sum().backward()
    torch.testing.assert_close(values.grad * values, dropped)


def test_torchs_seed_decides():
    draws = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        draws.append(Dropout(0.5)(torch.ones(100)))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_keeps_the_type(dtype):
    assert Dropout(0.1)(torch.ones(10, dtype=dtype)).dtype == dtype


@pytest.mark.parametrize("dropout", [Dropout(0.5).eval(), Dropout(0.0)], ids=["evaluation", "p = 0"])
def test_nothing_is_dropped_in(dropout):
    values = torch.randn(100)
    assert torch.equal(dropout(values), values)
