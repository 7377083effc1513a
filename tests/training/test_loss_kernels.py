"""The loss kernels, in Triton's interpreter on a CPU."""

import pytest
import torch
import torch.nn.functional as F

from training import losses
from training.losses import loss_and_gradient_in_strips

pytest.importorskip("triton")

from training.kernels import upsampled_loss

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def large_programs(monkeypatch):
    """The interpreter's time goes with the programs."""
    monkeypatch.setattr(upsampled_loss, "_THREADS", 512)


SIZES = [((3, 4), (33, 49)), ((4, 3), (50, 27)), ((1, 1), (7, 5)), ((1, 3), (9, 40)), ((4, 4), (4, 4)), ((7, 6), (4, 5))]


@pytest.mark.parametrize(("features", "pixels"), SIZES, ids=str)
@pytest.mark.parametrize(("classes", "ignore_label"), [(5, 255), (3, 3)])
def test_the_loss_equals_torchs_in_float64(features, pixels, classes, ignore_label):
    compare(classes, features, pixels, ignore_label)


@pytest.mark.parametrize(("classes", "threads"), [(25, 32), (49, 256), (150, 512)])
def test_threads_that_share_many_classes_find_the_same(classes, threads, monkeypatch):
    monkeypatch.setattr(upsampled_loss, "_THREADS", threads)
    compare(classes, (2, 2), (5, 19), ignore_label=255)


@pytest.mark.parametrize("ignore_label", [0, 2, 3, -100])
def test_any_label_can_be_ignored(ignore_label):
    compare(4, (2, 2), (17, 17), ignore_label)


def test_logits_that_lie_far_apart_neither_overflow_nor_vanish():
    compare(3, (2, 3), (17, 33), 255, scale=500.0)


@pytest.mark.parametrize(("is_weighted", "smoothing"), [(True, 0.0), (False, 0.1), (True, 0.2)])
@pytest.mark.parametrize("classes", [5, 25])
def test_classes_that_weigh_differently_and_smoothed_labels_are_torchs(is_weighted, smoothing, classes):
    weights = torch.linspace(0, 0.01, classes) if is_weighted else None  # one counts nothing, and all together little
    compare(classes, (3, 2), (17, 19), 255, weights=weights, smoothing=smoothing)


def test_a_gpu_finds_the_loss_of_hard_pixels_that_strips_find(monkeypatch):
    torch.manual_seed(0)
    logits, labels = 3 * torch.randn(2, 5, 3, 4), torch.randint(0, 6, (2, 33, 49), dtype=torch.uint8)
    weighing = losses.Weighing(torch.linspace(0.5, 2, 5), hard_pixels=0.3, label_smoothing=0.1)
    found = []
    for kernels in (None, upsampled_loss):
        monkeypatch.setattr(losses, "_loss_kernels", lambda *_, kernels=kernels: kernels)
        given = logits.clone().requires_grad_()
        loss = losses.segmentation_loss(given, labels, 5, weighing=weighing)
        loss.backward()
        found.append((loss.detach(), given.grad))
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-6)


def compare(classes, features, pixels, ignore_label, scale=3.0, weights=None, smoothing=0.0):
    torch.manual_seed(0)
    logits = scale * torch.randn(2, classes, *features)
    labels = torch.randint(0, classes, (2, *pixels))
    if ignore_label >= 0:
        labels[torch.rand(2, *pixels) < 0.2] = ignore_label
    exact = logits.double().requires_grad_()
    upsampled = F.interpolate(exact, size=pixels, mode="bilinear", align_corners=True)
    exact_weights = None if weights is None else weights.double()
    expected = F.cross_entropy(upsampled, labels, exact_weights, ignore_index=ignore_label, label_smoothing=smoothing)
    expected.backward()
    arguments = logits, labels.to(torch.uint8), ignore_label, weights, smoothing
    loss, gradient = upsampled_loss.loss_and_gradient(*arguments)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    torch.testing.assert_close(gradient.double(), exact.grad, rtol=1e-4, atol=1e-6)


def test_the_gradient_of_half_precision_logits_with_channels_last_is_like_them():
    torch.manual_seed(0)
    logits = torch.randn(2, 5, 4, 3).bfloat16().contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 6, (2, 49, 33), dtype=torch.uint8)
    loss, gradient = upsampled_loss.loss_and_gradient(logits, labels, 5)
    expected_loss, expected = loss_and_gradient_in_strips(logits.float(), labels, 5)
    assert loss.item() == pytest.approx(expected_loss.item(), rel=1e-4)
    assert gradient.dtype == torch.bfloat16
    assert gradient.stride() == logits.stride()
    assert (gradient.double() - expected).norm() < 1e-2 * expected.norm()


def test_no_labelled_pixel_is_no_loss_and_no_gradient():
    unlabelled = torch.full((1, 49, 49), 255, dtype=torch.uint8)
    loss, gradient = upsampled_loss.loss_and_gradient(torch.randn(1, 3, 4, 4), unlabelled, 255)
    assert loss.item() == 0
    assert not gradient.any()


@pytest.mark.parametrize("classes", [3, 30])
def test_a_logit_that_is_no_number_shows_in_the_loss(classes):
    logits = torch.zeros(1, classes, 2, 2)
    logits[0, 1, 0, 0] = torch.nan
    assert upsampled_loss.loss_and_gradient(logits, torch.zeros(1, 17, 17, dtype=torch.uint8), 255)[0].isnan()
