import pytest
import torch
import torch.nn.functional as F

from training.losses import Weighing, segmentation_loss


def reference(logits, labels, ignore_label):
    logits = F.interpolate(logits, size=labels.shape[-2:], mode="bilinear", align_corners=True)
    return F.cross_entropy(logits, labels.long(), ignore_index=ignore_label)


@pytest.mark.parametrize(
    ("features", "pixels"),
    [((3, 4), (33, 49)), ((5, 5), (70, 61)), ((1, 1), (7, 5)), ((2, 3), (17, 40)), ((9, 9), (9, 9))],
)
@pytest.mark.parametrize(("classes", "ignore_label"), [(2, 2), (19, 255)])
def test_value_and_gradient_equal_upsampling_and_cross_entropy(features, pixels, classes, ignore_label):
    torch.manual_seed(0)
    logits = (3 * torch.randn(2, classes, *features)).requires_grad_()
    labels = torch.randint(0, classes + 1, (2, *pixels))
    labels[labels == classes] = ignore_label
    exact = logits.detach().double().requires_grad_()
    expected = reference(exact, labels, ignore_label)
    expected.backward()
    loss = segmentation_loss(logits, labels.to(torch.uint8), ignore_label)
    (2 * loss).backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    torch.testing.assert_close(logits.grad.double(), 2 * exact.grad, rtol=1e-4, atol=1e-7)


def test_images_without_a_labelled_pixel_give_no_loss_and_no_gradient():
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    loss = segmentation_loss(logits, torch.full((1, 49, 49), 255, dtype=torch.uint8), 255)
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


def test_a_logit_that_is_no_number_shows_in_the_loss():
    logits = torch.full((1, 3, 4, 4), float("nan"))
    assert segmentation_loss(logits, torch.zeros(1, 49, 49, dtype=torch.uint8), 255).isnan()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("is_weighed", [False, True], ids=["alike", "weighed"])
@pytest.mark.parametrize("hard_pixels", [1.0, 0.3])
def test_weights_smoothed_labels_and_hard_pixels_are_those_of_plain_pytorch(smoothing, is_weighed, hard_pixels):
    torch.manual_seed(0)
    weights_K = torch.tensor([0.5, 2.0, 0.0, 1.0]) if is_weighed else None
    logits = (3 * torch.randn(2, 4, 3, 5)).requires_grad_()
    given = torch.randint(0, 4, (2, 33, 49)).where(torch.rand(2, 33, 49) > 0.1, 255)
    labels = given
    exact = logits.detach().double().requires_grad_()
    full = F.interpolate(exact, size=(33, 49), mode="bilinear", align_corners=True)
    weights = None if weights_K is None else weights_K.double()
    if hard_pixels < 1:
        losses = F.cross_entropy(full, labels, weights, ignore_index=255, reduction="none").detach()
        number = -(-int((labels != 255).sum()) * 3 // 10)
        least = losses[labels != 255].sort(descending=True).values[number - 1]
        labels = labels.where(losses >= least, 255)
    expected = F.cross_entropy(full, labels, weights, ignore_index=255, label_smoothing=smoothing)
    expected.backward()
    loss = segmentation_loss(logits, given.to(torch.uint8), 255, weighing=Weighing(weights_K, hard_pixels, smoothing))
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    torch.testing.assert_close(logits.grad.double(), exact.grad, rtol=1e-4, atol=1e-7)
