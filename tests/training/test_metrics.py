import math

import numpy as np
import pytest
import torch
from sklearn.metrics import jaccard_score

from training.metrics import ConfusionMatrix


def count(predictions, labels, num_classes, ignore_label):
    matrix = ConfusionMatrix(num_classes, ignore_label)
    matrix.update(torch.as_tensor(predictions), torch.as_tensor(labels))
    return matrix


@pytest.mark.parametrize(("num_classes", "ignore_label"), [(2, 2), (11, 11), (19, 255), (127, 255), (128, 128), (150, 255)])
@pytest.mark.parametrize("seed", range(5))
def test_it_agrees_with_scikit_learn(num_classes, ignore_label, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, num_classes + 1, (2, 17, 23))
    labels[labels == num_classes] = ignore_label
    predictions = rng.integers(0, num_classes, labels.shape)
    counted = labels != ignore_label
    present = sorted(set(labels[counted]) | set(predictions[counted]))
    expected = jaccard_score(labels[counted], predictions[counted], labels=present, average=None)
    matrix = count(predictions, labels.astype(np.uint8), num_classes, ignore_label)
    assert matrix.iou_K()[present].tolist() == pytest.approx(expected.tolist(), abs=1e-12)
    assert matrix.miou() == pytest.approx(expected.mean(), abs=1e-12)
    assert matrix.pixel_accuracy() == pytest.approx((labels == predictions)[counted].mean())


def test_a_class_in_neither_labels_nor_predictions_does_not_count():
    matrix = count([[[0, 1, 1]]], [[[0, 1, 0]]], num_classes=5, ignore_label=255)
    assert matrix.miou() == pytest.approx((0.5 + 0.5) / 2)
    assert matrix.iou_K()[2:].isnan().all()


def test_a_class_that_is_only_predicted_counts_as_zero():
    assert count([[[0, 2]]], [[[0, 0]]], num_classes=3, ignore_label=255).miou() == pytest.approx((0.5 + 0.0) / 2)


def test_all_pixels_ignored_is_no_score():
    matrix = count(torch.zeros(1, 4, 4).long(), torch.full((1, 4, 4), 255), num_classes=3, ignore_label=255)
    assert math.isnan(matrix.miou())
    assert math.isnan(matrix.pixel_accuracy())


def test_batches_add_up():
    rng = torch.Generator().manual_seed(0)
    predictions, labels = (torch.randint(0, 4, (6, 9, 9), generator=rng) for _ in range(2))
    whole = count(predictions, labels, 4, 255)
    parts = ConfusionMatrix(4, 255)
    for part in range(3):
        parts.update(predictions[2 * part : 2 * part + 2], labels[2 * part : 2 * part + 2])
    assert torch.equal(whole.counts_KK, parts.counts_KK)


@pytest.mark.parametrize(("num_classes", "ignore_label"), [(1, 255), (256, 256), (19, 18), (19, 256)])
def test_an_impossible_matrix_is_refused(num_classes, ignore_label):
    with pytest.raises(ValueError, match="must be from"):
        ConfusionMatrix(num_classes, ignore_label)
