from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from models.dropout import Dropout
from training.checkpoint import load_checkpoint, save_checkpoint
from training.loop import train
from training.optim import build_optimizer
from training.score import DivergedError
from training.settings import OptimizerSettings
from training.step import Step

STOPS = (3, 5, 9)
SGD = OptimizerSettings("sgd", learning_rate=0.1)
ADAMW = OptimizerSettings("adamw", learning_rate=0.01)
PLAIN_SGD = OptimizerSettings("sgd", learning_rate=0.1, momentum=0.0)
each_optimizer = pytest.mark.parametrize("settings", [SGD, ADAMW, PLAIN_SGD], ids=["sgd", "adamw", "no momentum"])


pytestmark = pytest.mark.usefixtures("one_thread")


def small_model():
    """With all that has a state or draws at random: batch norm and dropout."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 1))


def batch_at(iteration):
    inputs = torch.randn(6, 5, generator=torch.Generator().manual_seed(iteration))
    return inputs, inputs.sum(dim=1, keepdim=True)


def trained(model, settings=SGD, optimizer=None, seed=7, stops=STOPS, start=0, **options):
    optimizer = optimizer or build_optimizer(settings, model)
    loss_of = options.pop("loss_of", nn.functional.mse_loss)
    step = Step(model, optimizer, settings, options.pop("batch_at", batch_at), loss_of, stops[-1])
    return train(model, step, seed, stops, start, **options)


def same_state(model, other):
    pairs = zip(model.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


# The schedule


def test_the_learning_rate_falls_by_the_poly_schedule():
    settings = OptimizerSettings(learning_rate=0.02, power=0.9)
    rates = [settings.learning_rate_at(iteration, 10) for iteration in range(11)]
    assert rates[0] == 0.02
    assert rates[5] == pytest.approx(0.02 * 0.5358867312681466)  # 0.5 ** 0.9
    assert rates[9] == pytest.approx(0.02 * 0.12589254117941673)  # 0.1 ** 0.9
    assert rates[10] == 0
    assert rates == sorted(rates, reverse=True)


def test_a_power_of_one_falls_in_a_straight_line():
    settings = OptimizerSettings(learning_rate=1.0, power=1.0)
    assert [settings.learning_rate_at(iteration, 4) for iteration in range(5)] == [1.0, 0.75, 0.5, 0.25, 0.0]


def test_every_step_is_taken_at_the_rate_of_its_iteration_whatever_the_stops():
    model = small_model()
    optimizer = build_optimizer(SGD, model)
    used, step = [], optimizer.step

    def remember_the_rate():
        used.append(optimizer.param_groups[0]["lr"])
        step()

    optimizer.step = remember_the_rate
    list(trained(model, optimizer=optimizer))
    assert used == [SGD.learning_rate_at(iteration, STOPS[-1]) for iteration in range(STOPS[-1])]


def test_frozen_parameters_are_not_given_to_the_optimiser():
    model = small_model().requires_grad_(False)
    model[-1].requires_grad_(True)
    given = build_optimizer(SGD, model).param_groups[0]["params"]
    assert [id(parameter) for parameter in given] == [id(parameter) for parameter in model[-1].parameters()]


# Stops and resuming


def test_it_stops_at_each_of_the_stops_with_the_mean_loss_since_the_one_before():
    losses = []

    def remembered(outputs, labels):
        losses.append(nn.functional.mse_loss(outputs, labels))
        return losses[-1]

    reached = list(trained(small_model(), loss_of=remembered))
    assert [progress.iteration for progress in reached] == list(STOPS)
    spans = [losses[0:3], losses[3:5], losses[5:9]]
    expected = [torch.stack(span).mean().item() for span in spans]
    assert [progress.loss for progress in reached] == pytest.approx(expected)


def test_the_loss_falls():
    losses = [progress.loss for progress in trained(small_model(), ADAMW, stops=(5, 200))]
    assert losses[1] < 0.8 * losses[0]


@each_optimizer
@pytest.mark.parametrize("resumed_at", [0, 1])
def test_a_training_resumed_at_any_stop_ends_with_the_same_bits(settings, resumed_at, tmp_path):
    whole = small_model()
    expected = list(trained(whole, settings))

    interrupted, path = small_model(), tmp_path / "state.safetensors"
    optimizer = build_optimizer(settings, interrupted)
    for stop, _ in zip(range(resumed_at + 1), trained(interrupted, settings, optimizer), strict=False):
        save_checkpoint(path, interrupted, [optimizer], {"stop": stop})

    torch.manual_seed(99)  # the process that goes on has drawn other numbers
    resumed = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 1))
    optimizer = build_optimizer(settings, resumed)
    assert load_checkpoint(path, resumed, [optimizer]) == {"stop": resumed_at}
    assert not same_state(resumed, whole)
    assert list(trained(resumed, settings, optimizer, start=STOPS[resumed_at])) == expected[resumed_at + 1 :]
    assert same_state(resumed, whole)


def test_what_happens_at_a_stop_does_not_change_the_training():
    quiet, disturbed = small_model(), small_model()
    list(trained(quiet))
    for _ in trained(disturbed):
        disturbed.eval()
        torch.manual_seed(1234)
    assert same_state(quiet, disturbed)


def test_the_same_seed_gives_the_same_bits_and_another_seed_others():
    models = []
    for seed in (7, 7, 8):
        models.append(small_model())
        list(trained(models[-1], seed=seed))
    assert same_state(models[0], models[1])
    assert not same_state(models[0], models[2])  # dropout draws from the seed


def test_each_of_the_processes_that_share_a_batch_drops_other_values_and_the_first_what_one_alone_drops():
    def dropped(**rank):
        masks, dropout = [], Dropout(0.5).train()

        def step(iteration):
            masks.append(dropout(torch.ones(64)) == 0)
            return torch.zeros(())

        list(train(small_model(), step, 7, (1, 2), **rank))
        return torch.stack(masks)

    alone, first, second, third = dropped(), dropped(rank=0), dropped(rank=1), dropped(rank=2)
    assert torch.equal(alone, first)
    torch.manual_seed(np.random.SeedSequence([7, 0]).generate_state(1)[0])
    assert torch.equal(alone[0], Dropout(0.5).train()(torch.ones(64)) == 0)
    for masks, others in ((first, second), (first, third), (second, third)):
        assert 20 < (masks != others).sum() < 108  # of 128, by chance a half


def test_no_span_between_stops_repeats_the_random_numbers_of_another():
    drawn = []

    def remembered(outputs, labels):
        drawn.append(torch.rand(()).item())
        return nn.functional.mse_loss(outputs, labels)

    list(trained(small_model(), loss_of=remembered))
    assert len(set(drawn)) == STOPS[-1]


def test_a_training_that_is_already_done_takes_no_step():
    model, untouched = small_model(), small_model()
    assert list(trained(model, start=STOPS[-1])) == []
    assert same_state(model, untouched)


def test_the_model_is_put_into_its_mode_again_after_each_stop():
    model, modes = small_model(), []
    for _ in trained(model, set_mode=lambda model: modes.append(model.train())):
        model.eval()
    assert len(modes) == len(STOPS)


# Divergence


def test_a_loss_that_is_no_number_is_a_divergence_even_within_one_span():
    with pytest.raises(DivergedError, match="not finite by iteration 50$"):
        list(trained(small_model(), OptimizerSettings(learning_rate=1e30), stops=(5000,)))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_single_bad_batch_is_noticed_at_the_next_stop(value):
    def spoiled(bad, iteration):
        inputs, labels = batch_at(iteration)
        return inputs, labels + (value if iteration == bad else 0)

    with pytest.raises(DivergedError, match="by iteration 5$"):
        list(trained(small_model(), batch_at=partial(spoiled, 3)))
    for progress in trained(small_model(), batch_at=partial(spoiled, 99)):
        assert progress.loss < 1e6


def test_where_it_stands_is_told_every_fifty_iterations_and_at_each_stop():
    told = []
    reached = [progress.loss for progress in trained(small_model(), ADAMW, stops=(60, 120), tell=told.append)]
    assert [progress.iteration for progress in told] == [50, 60, 100, 120]
    assert [told[1].loss, told[3].loss] == reached
