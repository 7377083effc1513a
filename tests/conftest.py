import os

import pytest

os.environ.setdefault("TRITON_INTERPRET", "1")  # kernels run on the CPU; Triton reads it when it is first imported


@pytest.fixture
def one_thread():
    """Torch on one CPU thread, where equal arguments give equal bits."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
