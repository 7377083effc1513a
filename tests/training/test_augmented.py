import os

import pytest
import torch

from data.datasets.contract import DatasetInfo, LabelRangeError, UnreadableError, palette_of
from data.datasets.shapes import Shapes
from models.settings import BackboneSettings
from training.augmented import AugmentedSamples, image_batches, loaders_for
from training.settings import RetrainSettings
from training.workers import ALONE


@pytest.mark.parametrize(("device", "cpus", "loaders"), [("cuda", 6, 6), ("cuda", 64, 16), ("cpu", 6, 1)])
def test_as_many_processes_load_images_for_a_gpu_as_cpus_are_reserved(device, cpus, loaders, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: cpus)
    assert loaders_for(torch.device(device)) == loaders


class Damaged:
    """A data set of which no sample can be read."""

    info = DatasetInfo("toy", ("a", "b"), palette_of(2))

    def __init__(self, error):
        self.error = error

    def split(self, name):
        return self

    def __len__(self):
        return 2

    def __getitem__(self, index):
        raise self.error


@pytest.mark.parametrize("loaders", [0, 1])
@pytest.mark.parametrize("error", [LabelRangeError("a.png: label 9", {9: 4}), UnreadableError("a.png: gone")], ids=repr)
def test_what_is_wrong_with_a_sample_is_told_in_its_own_words_whoever_loads_it(error, loaders):
    settings = RetrainSettings(2, eval_every=2, height_px=33, width_px=33, batch_size=2, workers=loaders)
    batch_at = image_batches(Damaged(error), BackboneSettings("local"), settings, 0, 0, ALONE)
    with pytest.raises(type(error)) as raised:
        batch_at(0)
    assert str(raised.value) == str(error)


def test_what_is_sent_to_the_group_of_a_training_does_not_reach_the_processes_that_load_its_images(monkeypatch):
    def leads_its_group(samples, number):
        return torch.full((1, 1, 3), 255 * (os.getpgid(0) == os.getpid()), dtype=torch.uint8), torch.zeros(1, 1)

    monkeypatch.setattr(AugmentedSamples, "__getitem__", leads_its_group)
    asked = RetrainSettings(1, 1, 33, 33, batch_size=2, workers=1)
    images_BCHW, _ = image_batches(Shapes(num_train=2, num_val=1), BackboneSettings("local"), asked, 0, 0, ALONE)(0)
    assert (images_BCHW == 1).all()
