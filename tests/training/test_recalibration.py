"""Batch norm whose statistics are placeholders."""

import pytest
import torch
from torch import nn

from training.recalibration import recalibrate


@pytest.fixture
def network():
    """Two layers of batch norm; the first has placeholders, the second a weight and bias of its own."""
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 1), nn.BatchNorm2d(5))
    nn.init.uniform_(layers[4].weight, 0.5, 2.0)
    nn.init.normal_(layers[4].bias)
    return layers.eval()


BATCHES = torch.randn(3, 8, 3, 9, 9) * 2 + 1


def test_the_output_stays_and_the_statistics_become_those_of_the_data(network):
    before = [network(batch) for batch in BATCHES]
    recalibrate(network, BATCHES)
    for batch, output in zip(BATCHES, before, strict=True):
        torch.testing.assert_close(network(batch), output, rtol=1e-4, atol=1e-5)
    inputs = network[0](BATCHES.flatten(0, 1))
    torch.testing.assert_close(network[1].running_mean, inputs.mean(dim=(0, 2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(network[1].running_var, inputs.var(dim=(0, 2, 3), correction=0), rtol=1e-4, atol=1e-5)
    assert not network.training


def test_in_training_mode_the_network_now_computes_what_it_does_in_evaluation(network):
    whole = BATCHES.flatten(0, 1)
    expected = network(whole)
    apart = (network.train()(whole) - expected).abs().max()
    network.eval()
    for layer in (network[1], network[4]):
        layer.reset_running_stats()
    recalibrate(network, [whole])
    close = (network.train()(whole) - expected).abs().max()
    assert close < 1e-3
    assert apart > 0.1


def test_layers_that_no_image_reaches_stay_as_they_are():
    network = nn.Sequential(nn.BatchNorm2d(3))
    recalibrate(network, [])
    assert not network[0].running_mean.any()
