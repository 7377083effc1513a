import os
import pickle
from functools import partial

import pytest
import torch
from torch import nn

from training.checkpoint import load_checkpoint, save_checkpoint, scores_in
from training.optim import build_optimizer
from training.settings import OptimizerSettings

METADATA = {"scores": [{"rung": 1, "miou": 0.1 + 0.2}], "note": "mIoU ≥ 0"}


def small_training(seed=0):
    """A model and its optimiser after a few steps, so that both have a state."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1))
    optimizer = build_optimizer(OptimizerSettings("adamw", 0.01), model)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(2, 2, 5, 5)).square().mean().backward()
        optimizer.step()
    return model, [optimizer]


def states(model, optimizers):
    moments = {
        (number, index, name): value
        for number, optimizer in enumerate(optimizers)
        for index, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }
    return {**model.state_dict(), **moments}


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
        assert value.dtype == second[name].dtype, name


def test_model_optimiser_and_metadata_come_back_exactly(tmp_path):
    path = tmp_path / "deep" / "state.safetensors"
    model, optimizers = small_training()
    save_checkpoint(path, model, optimizers, METADATA)
    other = small_training(seed=1)
    assert load_checkpoint(path, *other) == METADATA
    assert_same(states(*other), states(model, optimizers))


def test_several_models_with_an_optimiser_each_come_back_from_one_file(tmp_path):
    path = tmp_path / "state.safetensors"
    trained, other = ([small_training(seed) for seed in seeds] for seeds in ((0, 1), (2, 3)))
    kept, restored = ((nn.ModuleList([one[0] for one in pair]), [one[1][0] for one in pair]) for pair in (trained, other))
    save_checkpoint(path, *kept, METADATA)
    assert load_checkpoint(path, *restored) == METADATA
    assert_same(states(*restored), states(*kept))


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_a_training_with_channels_last_goes_on_as_if_it_had_not_stopped(name, tmp_path):
    """A fused optimiser, which a GPU has, takes wrong values where layouts differ, or refuses."""

    def fused_training(seed):
        torch.manual_seed(seed)
        model = nn.Conv2d(2, 4, 3).to(memory_format=torch.channels_last)
        kinds = {"adamw": torch.optim.AdamW, "sgd": partial(torch.optim.SGD, momentum=0.9)}
        return model, kinds[name](model.parameters(), lr=0.1, fused=True)

    def step(model, optimizer, seed):
        images_BCHW = torch.randn(2, 2, 5, 5, generator=torch.Generator().manual_seed(seed))
        optimizer.zero_grad()
        model(images_BCHW).square().mean().backward()
        optimizer.step()

    model, optimizer = fused_training(0)
    step(model, optimizer, 0)
    save_checkpoint(tmp_path / "state.safetensors", model, [optimizer], METADATA)
    other, resumed = fused_training(1)
    assert load_checkpoint(tmp_path / "state.safetensors", other, [resumed]) == METADATA
    step(model, optimizer, 1)
    step(other, resumed, 1)
    assert other.weight.is_contiguous(memory_format=torch.channels_last)
    assert_same(states(other, [resumed]), states(model, [optimizer]))


def test_without_a_checkpoint_nothing_is_loaded(tmp_path):
    model, optimizers = small_training()
    before = {name: value.clone() for name, value in states(model, optimizers).items()}
    assert load_checkpoint(tmp_path / "none.safetensors", model, optimizers) is None
    assert_same(states(model, optimizers), before)


@pytest.mark.parametrize("kind", ["scores", "validations"], ids=["of the proxy task", "of a full training"])
def test_a_checkpoint_says_how_many_scores_it_tells_again_and_a_damaged_one_none(kind, tmp_path):
    path = tmp_path / "state.safetensors"
    assert scores_in(path) == 0
    save_checkpoint(path, *small_training(), {kind: [{"miou": 0.1}, {"miou": 0.2}]})
    assert scores_in(path) == 2
    path.write_bytes(path.read_bytes()[:100])
    assert scores_in(path) == 0


@pytest.mark.parametrize("share", [0.0, 0.002, 0.1, 0.5, 0.999])
def test_a_truncated_checkpoint_is_ignored_and_changes_nothing(share, tmp_path):
    path = tmp_path / "state.safetensors"
    save_checkpoint(path, *small_training(), METADATA)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    model, optimizers = small_training(seed=1)
    before = {name: value.clone() for name, value in states(model, optimizers).items()}
    assert load_checkpoint(path, model, optimizers) is None
    assert_same(states(model, optimizers), before)


def test_a_pickle_in_its_place_is_not_executed(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    path = tmp_path / "state.safetensors"
    for content in (pickle.dumps(Trap()), pickle.dumps(Trap()) * 50):
        path.write_bytes(content)
        assert load_checkpoint(path, *small_training()) is None
    torch.save({"model": Trap()}, path)
    assert load_checkpoint(path, *small_training()) is None
    assert not (tmp_path / "executed").exists()


def test_a_kill_while_writing_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    path = tmp_path / "state.safetensors"
    save_checkpoint(path, *small_training(), METADATA)

    def killed(tensors, partial, metadata):
        partial.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("models.tensor_file.save_file", killed)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, *small_training(seed=1), {})
    model, optimizers = small_training(seed=2)
    assert load_checkpoint(path, model, optimizers) == METADATA
    assert_same(states(model, optimizers), states(*small_training()))


def test_a_checkpoint_replaces_the_one_before_and_leaves_no_partial_file(tmp_path):
    path = tmp_path / "state.safetensors"
    for number in range(2):
        save_checkpoint(path, *small_training(seed=number), {"number": number})
    assert load_checkpoint(path, *small_training(seed=3)) == {"number": 1}
    assert list(tmp_path.iterdir()) == [path]
