import pytest
import torch

from training.augmented import loaders_for


@pytest.mark.parametrize(("device", "cpus", "loaders"), [("cuda", 6, 6), ("cuda", 64, 16), ("cpu", 6, 1)])
def test_as_many_processes_load_images_for_a_gpu_as_cpus_are_reserved(device, cpus, loaders, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: cpus)
    assert loaders_for(torch.device(device)) == loaders
