"""The Triton kernels, in Triton's interpreter on a CPU."""

import copy
import logging

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from models import fused
from models.depthwise import AtrousDepthwise
from models.dpc import classifier_on
from models.fused import check_layer_kernels, kernels_that_work
from models.settings import CellSettings
from models.spec import CellSpec
from search.conf_files import CONF
from training.losses import check_loss_kernels

pytest.importorskip("triton")

from models.kernels import atrous, batch_norm, joined, layers, shapes, tuning
from models.kernels.atrous import Walk
from models.kernels.batch_norm import batch_norm_relu
from models.kernels.shapes import Shape
from training.kernels import upsampled_loss

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")
SMALL = [(24, (2, 3), torch.float32)]


@pytest.fixture(autouse=True)
def few_programs(monkeypatch):
    """The interpreter's time goes with the programs; several parts are left to merge."""
    for choice in (atrous.CONVOLVE, atrous.CORRELATE):
        monkeypatch.setattr(choice, "chosen", Walk(64, 2, steps=2))
    for name in ("MEASURE", "REDUCE"):
        monkeypatch.setattr(batch_norm, name, Shape(64, 2))
    monkeypatch.setattr(batch_norm, "EACH", Shape(256, 1))
    monkeypatch.setattr(shapes, "PARTS", 4)


def error_of(found, expected):
    found, expected = found.detach().double(), expected.detach().double()
    return float((found - expected).norm() / expected.norm())


# Layers


def step(norm, features, upstream, rate):
    """Ours in the features' type and torch's in float64: outputs, gradients, running statistics."""
    torch.manual_seed(0)
    depthwise = AtrousDepthwise(features.shape[1], rate) if rate else nn.Identity()
    exact_norm, exact_depthwise = copy.deepcopy(norm).double(), copy.deepcopy(depthwise).double()
    ours, exact = features.clone().requires_grad_(), features.double().requires_grad_()
    if rate:
        output = atrous.atrous_batch_norm_relu(ours, depthwise.weight, rate, norm)
        convolved = F.conv2d(exact, exact_depthwise.weight, padding=rate, dilation=rate, groups=features.shape[1])
    else:
        output, convolved = batch_norm_relu(ours, norm), exact
    expected = F.relu(exact_norm(convolved))
    output.backward(upstream)
    expected.backward(upstream.double())
    names = ["output", "features", "gamma", "beta", "running mean", "running var", *(["weight"] if rate else [])]
    sides = [
        [y, x.grad, n.weight.grad, n.bias.grad, n.running_mean, n.running_var, *(p.grad for p in d.parameters())]
        for y, x, n, d in ((output, ours, norm, depthwise), (expected, exact, exact_norm, exact_depthwise))
    ]
    return {name: (a.detach(), b.detach()) for name, a, b in zip(names, *sides, strict=True)}


def layer(channels, size, dtype, rate, batch=2, shift=0.0):
    torch.manual_seed(1)
    norm = nn.BatchNorm2d(channels, momentum=0.3).train()
    nn.init.uniform_(norm.weight, 0.5, 2)
    nn.init.normal_(norm.bias)
    features = (torch.randn(batch, channels, *size) + shift).to(dtype)
    return step(norm, features, torch.randn(batch, channels, *size).to(dtype), rate)


@pytest.mark.parametrize(
    ("rate", "channels", "size"),
    [(None, 70, (9, 24)), ((1, 1), 24, (13, 11)), ((1, 6), 70, (9, 24)), ((6, 21), 24, (9, 24)), ((18, 15), 24, (13, 11))],
    ids=str,
)
def test_layers_equal_torchs_in_float64(channels, size, rate):
    for name, (found, expected) in layer(channels, size, torch.float32, rate).items():
        assert (found - expected).abs().max() < 1e-4 * max(1.0, expected.abs().max()), name


@pytest.mark.parametrize("rate", [None, (1, 6), (6, 3)], ids=str)
def test_layers_in_bfloat16_are_as_near_as_that_type_allows(rate):
    found = layer(24, (13, 11), torch.bfloat16, rate)
    assert found["output"][0].dtype == torch.bfloat16
    for name, (ours, expected) in found.items():
        assert error_of(ours, expected) < 0.08, name


@pytest.mark.parametrize(("size", "batch"), [((1, 1), 8), ((5, 7), 1)], ids=str)
def test_the_smallest_maps_are_right(size, batch):
    for name, (found, expected) in layer(24, size, torch.float32, (2, 3), batch).items():
        assert (found - expected).abs().max() < 1e-4 * max(1.0, expected.abs().max()), name


@pytest.mark.parametrize("steps", [1, 3, 8])
def test_walks_of_any_length_compute_the_same(steps, monkeypatch):
    for choice in (atrous.CONVOLVE, atrous.CORRELATE):
        monkeypatch.setattr(choice, "chosen", Walk(32, 2, steps=steps))
    for name, (found, expected) in layer(24, (11, 5), torch.float32, (3, 2)).items():
        assert (found - expected).abs().max() < 1e-4 * max(1.0, expected.abs().max()), name


def test_statistics_do_not_cancel_where_the_mean_is_large():
    found, expected = layer(24, (13, 11), torch.float32, None, shift=1000.0)["running var"]
    assert error_of(found, expected) < 1e-4


def test_features_in_any_layout_and_runs_give_the_same_bits():
    runs = []
    for layout in (torch.contiguous_format, torch.channels_last, torch.channels_last):
        torch.manual_seed(0)
        features = torch.randn(2, 24, 9, 7).contiguous(memory_format=layout)
        weight = torch.randn(24, 1, 3, 3, requires_grad=True)
        output = atrous.atrous_batch_norm_relu(features, weight, (1, 2), nn.BatchNorm2d(24))
        output.square().sum().backward()
        runs.append((output, weight.grad))
    assert all(torch.equal(a, b) for run in runs[1:] for a, b in zip(run, runs[0], strict=True))


@pytest.mark.parametrize("cell", ["dpc_top1", "aspp"])
def test_a_cell_of_fused_layers_takes_the_same_step(cell, monkeypatch):
    sides = []
    for kernels in (None, layers):
        monkeypatch.setattr(fused, "_layer_kernels", lambda device, kernels=kernels: kernels)
        torch.manual_seed(0)
        model = classifier_on(CellSpec.read(CONF / "cell" / f"{cell}.json"), 10, 3, CellSettings(filters=12, dropout=0)).train()
        output = model(torch.randn(3, 10, 5, 7))
        output.square().mean().backward()
        gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
        sides.append({"output": output, **gradients, **{name: b for name, b in model.named_buffers() if "running" in name}})
    for name, expected in sides[0].items():
        assert error_of(sides[1][name], expected) < 1e-2, name  # rounding may move a value across the ReLU's edge


@pytest.mark.parametrize(("channels", "is_read"), [(64, True), (70, False)])
def test_maps_are_written_into_their_concatenation_with_dropout_and_so_come_their_gradients(channels, is_read):
    def run(dropout, seed=0):
        torch.manual_seed(seed)
        sources = [torch.randn(2, channels, 5, 7, requires_grad=True) for _ in range(3)]
        norms = [nn.BatchNorm2d(channels) for _ in range(2)]
        torch.manual_seed(seed + 1)
        joint = joined.Joint(3, dropout)
        pairs = [
            batch_norm.batch_norm_relu_into(source, norm, joint.place(number, source), is_read)
            for number, (source, norm) in enumerate(zip(sources, norms, strict=False))
        ]
        last = sources[2].relu()
        whole = joint.whole([*(part for _, part in pairs), joined.placed(last, joint.place(2, last))])
        plain = [*(norm(source).relu() for source, norm in zip(sources, norms, strict=False)), sources[2].relu()]
        return sources, [output for output, _ in pairs], plain, whole

    sources, outputs, plain, whole = run(0.25)
    expected = torch.cat(plain, dim=1)
    kept = (whole != 0) | (expected == 0)
    assert 0.7 < (whole != 0).sum() / (expected != 0).sum() < 0.8
    torch.testing.assert_close(whole, expected * kept / 0.75, rtol=1e-4, atol=1e-5)
    upstream = torch.randn_like(whole)
    ours, theirs = (whole * upstream).sum(), (expected * kept / 0.75 * upstream).sum()
    if is_read:
        ours, theirs = ours + sum(o.square().sum() for o in outputs), theirs + sum(p.square().sum() for p in plain[:2])
    else:
        assert outputs == [None, None]
    for found, wanted in zip(torch.autograd.grad(ours, sources), torch.autograd.grad(theirs, sources), strict=True):
        assert error_of(found, wanted) < 1e-4
    assert torch.equal(run(0.25)[3], whole)
    assert not torch.equal(run(0.25, seed=7)[3] != 0, whole != 0)
    torch.testing.assert_close(run(0.0)[3], expected, rtol=1e-4, atol=1e-5)


# Trust


def test_the_checks_that_a_gpu_makes_first_pass(monkeypatch):
    monkeypatch.setattr(upsampled_loss, "_THREADS", 512)
    check_layer_kernels(layers, CPU, [(80, (1, 6), torch.bfloat16)], (5, 7))
    check_loss_kernels(upsampled_loss, CPU, (3,))
    check_loss_kernels(upsampled_loss, CPU, (3,), kind=(True, True))


def test_the_first_run_on_a_gpu_chooses_among_kernels_that_run_and_says_what(monkeypatch, caplog, tmp_path):
    timed = []

    def do_bench(call, **options):
        call()
        timed.append(call)
        return 1.0 if atrous.CONVOLVE.chosen.steps == 1 else 2.0

    short = (Walk(32, 1, steps=2), Walk(32, 1, steps=1))
    for choice in (atrous.CONVOLVE, atrous.CORRELATE):
        monkeypatch.setattr(choice, "shapes", short)
    monkeypatch.setattr(tuning, "do_bench", do_bench)
    monkeypatch.setattr(layers, "choose_shapes", lambda device, kept: tuning.choose_shapes(CPU, kept, (1, 8, 3, 5)))
    monkeypatch.setattr(fused, "check_layer_kernels", lambda kernels, device: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    for times in (12, 12):  # the second time the file is read
        with caplog.at_level(logging.WARNING):
            assert fused._layer_kernels.__wrapped__(torch.device("cuda")) is layers
        assert len(timed) == times
    assert atrous.CONVOLVE.chosen == short[1]
    assert [path.name for path in tmp_path.glob("*.json")] == ["dpc-search-shapes-NVIDIA-H100.json"]
    assert [record.message for record in caplog.records if "fastest on NVIDIA-H100" in record.message] != []


def test_kernels_that_are_wrong_or_do_not_compile_are_not_used_and_that_is_logged(monkeypatch, caplog):
    monkeypatch.setattr(layers, "placed", lambda maps, place: 1.01 * joined.placed(maps, place))
    with caplog.at_level(logging.WARNING):
        kernels = kernels_that_work(
            "models.kernels.layers", torch.device("cuda"), lambda kernels: check_layer_kernels(kernels, CPU, SMALL, (3, 5))
        )
        assert kernels is None
        assert kernels_that_work("models.kernels.missing", torch.device("cuda"), lambda kernels: None) is None
    messages = [record.message for record in caplog.records]
    assert messages[0].startswith("models.kernels.layers: not used on cuda, torch's own operators are (RuntimeError: differs")
    assert messages[1].startswith("models.kernels.missing: not used on cuda, torch's own operators are (ModuleNotFoundError")


def test_a_cpu_uses_none_and_says_nothing(caplog):
    assert kernels_that_work("models.kernels.layers", CPU, lambda kernels: None) is None
    assert not caplog.records
