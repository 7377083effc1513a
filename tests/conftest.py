import pytest


@pytest.fixture
def one_thread():
    """Torch on one CPU thread, where equal arguments give equal bits."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
