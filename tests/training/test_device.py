"""Where a process computes."""

import pytest
import torch

from training.device import NoGpuError, given_device

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="here torch has a GPU to give")


@pytest.mark.parametrize("gpus", ["0", "2,3", "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", "MIG-1"])
def test_a_process_that_was_promised_a_gpu_and_has_none_says_which_and_why(monkeypatch, gpus):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus)
    with pytest.raises(NoGpuError, match=rf"gave this process GPU {gpus} \(CUDA_VISIBLE_DEVICES\): \S.*\S$") as caught:
        given_device()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("gpus", [None, "", "-1"])
def test_a_process_that_was_promised_none_takes_the_cpu(monkeypatch, gpus):
    if gpus is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus)
    assert given_device() == torch.device("cpu")
