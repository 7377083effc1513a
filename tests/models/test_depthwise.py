from itertools import product

import pytest
import torch
import torch.nn.functional as F

from models.depthwise import AtrousDepthwise
from models.dpc import classifier_on
from models.settings import CellSettings
from models.spec import CellSpec
from search.conf_files import CONF

RATES = (1, 3, 6, 9, 12, 15, 18, 21)

pytestmark = pytest.mark.usefixtures("one_thread")


def gradients(rate, size, dtype, layout, channels=6):
    """Output and gradients of ours, and of ``F.conv2d`` in float64."""
    torch.manual_seed(0)
    module = AtrousDepthwise(channels, rate)
    features = torch.randn(2, channels, *size).to(dtype).contiguous(memory_format=layout).requires_grad_()
    upstream = torch.randn(2, channels, *size).to(dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        output = module(features)
    output.backward(upstream)
    exact = features.detach().double().contiguous().requires_grad_()
    weight = module.weight.detach().to(dtype).double().requires_grad_()
    expected = F.conv2d(exact, weight, padding=rate, dilation=rate, groups=channels)
    expected.backward(upstream.double())
    return (output, features.grad, module.weight.grad), (expected, exact.grad, weight.grad)


@pytest.mark.parametrize("size", [(49, 49), (24, 31), (7, 5), (1, 1)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["nchw", "nhwc"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)], ids=["fp32", "bf16"])
def test_values_and_gradients_are_right_at_every_rate(size, layout, dtype, tolerance):
    for rate in product(RATES, RATES):
        for ours, expected in zip(*gradients(rate, size, dtype, layout), strict=True):
            scale = expected.abs().max().clamp(min=1)
            assert (ours.double() - expected).abs().max() / scale < tolerance, rate


def test_no_gradient_is_asked_for_of_features_that_need_none():
    module = AtrousDepthwise(3, (1, 2))
    module(torch.randn(1, 3, 5, 5)).sum().backward()
    assert module.weight.grad is not None


def test_gradcheck():
    module = AtrousDepthwise(2, (1, 2)).double()
    features = torch.randn(2, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda features, weight: torch.func.functional_call(module, {"weight": weight}, (features,)),
        (features, module.weight.detach().requires_grad_()),
        atol=1e-4,  # the weight's gradient is summed in float32
    )


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["nchw", "nhwc"])
@pytest.mark.parametrize("cell", ["dpc_top1", "aspp"])
def test_every_gradient_of_a_cell_in_bfloat16_is_near_that_in_float32(cell, layout):
    """Parameter by parameter: a norm over all of them hides one that is garbage."""
    settings = CellSettings(filters=16, dropout=0.0)
    torch.manual_seed(0)
    model = classifier_on(CellSpec.read(CONF / "cell" / f"{cell}.json"), 24, 5, settings).train()
    features = torch.randn(4, 24, 49, 49)
    upstream = torch.randn(4, 5, 49, 49)
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        model.zero_grad()
        inputs = features.to(dtype).contiguous(memory_format=layout)
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            output = model(inputs)
        output.backward(upstream.to(output.dtype))
        found[dtype] = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    scale = max(gradient.norm() / gradient.numel() ** 0.5 for gradient in found[torch.float32].values())
    for name, expected in found[torch.float32].items():
        error = (found[torch.bfloat16][name] - expected).norm()
        assert error < 0.3 * expected.norm() + 0.01 * scale * expected.numel() ** 0.5, name  # garbage is 1e3 and more
