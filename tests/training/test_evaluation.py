import numpy as np
import pytest
import torch
from sklearn.metrics import jaccard_score

from data.datasets.shapes import Shapes
from models.segmenter import Segmenter
from models.settings import BackboneSettings, CellSettings
from models.spec import AtrousConv, Branch, CellSpec, PyramidPooling
from training.evaluation import Scores, count_confusion
from training.settings import Inference
from training.workers import Alone

CELL = CellSpec((Branch(-1, AtrousConv((3, 3))), Branch(-1, PyramidPooling((2, 2)))))
SHAPES = Shapes(num_train=1, num_val=2)
PAPER = Inference(scales=(0.5, 0.75, 1.0, 1.25, 1.5, 1.75), flip=True)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def model():
    """Untrained, with a classifier that is not lost to one class."""
    torch.manual_seed(1)
    model = Segmenter(CELL, SHAPES.info.num_classes, BackboneSettings("local"), CellSettings(filters=16)).eval()
    images_BCHW = torch.stack([image_of(sample) for sample in samples()])
    with torch.inference_mode():
        model.classifier.weight.mul_(20)
        model.classifier.bias -= model(images_BCHW).mean(dim=(0, 2, 3))
    return model


def samples():
    split = SHAPES.split("val")
    return [split[index] for index in range(len(split))]


def image_of(sample):
    return torch.from_numpy(sample.image_HWC).permute(2, 0, 1) / 127.5 - 1


def weights(wanted_px, given_px):
    """(wanted, given) weights of linear interpolation between corners, one basis vector at a time."""
    places = np.linspace(0, given_px - 1, wanted_px)
    return torch.tensor(np.stack([np.interp(places, range(given_px), basis) for basis in np.eye(given_px)], axis=1))


def resized(maps_CHW, height_px, width_px):
    rows, columns = weights(height_px, maps_CHW.shape[1]), weights(width_px, maps_CHW.shape[2])
    return rows @ maps_CHW.double() @ columns.T


def rival_labels(model, sample, scales, flip):
    """DeepLab's multi-scale inference, written down plainly in float64."""
    image_CHW = image_of(sample)
    _, height_px, width_px = image_CHW.shape
    probabilities = []
    for scale in scales:
        scaled_CHW = resized(image_CHW, int((height_px - 1) * scale + 1), int((width_px - 1) * scale + 1)).float()
        for is_mirrored in (False, True)[: 1 + flip]:
            given_CHW = torch.flip(scaled_CHW, [2]) if is_mirrored else scaled_CHW
            logits_KHW = resized(model(given_CHW[None])[0], height_px, width_px)
            one_KHW = logits_KHW.exp() / logits_KHW.exp().sum(dim=0)
            probabilities.append(torch.flip(one_KHW, [2]) if is_mirrored else one_KHW)
    return torch.stack(probabilities).mean(dim=0).argmax(dim=0).numpy()


@pytest.mark.parametrize(("scales", "flip"), [((1.0,), False), ((1.0,), True), (PAPER.scales, False), (PAPER.scales, True)])
def test_scores_are_those_of_a_plain_computation(model, scales, flip):
    with torch.inference_mode():
        predictions = np.concatenate([rival_labels(model, sample, scales, flip).ravel() for sample in samples()])
    labels = np.concatenate([sample.labels_HW.ravel() for sample in samples()])
    matrix = count_confusion(model, SHAPES.split("val"), SHAPES.info, inference=Inference(scales, flip))
    scores = Scores.of(matrix, SHAPES.info)
    occurring = sorted(set(labels) | set(predictions))
    expected = dict(zip(occurring, jaccard_score(labels, predictions, labels=occurring, average=None), strict=True))
    assert len(set(predictions)) > 3
    assert scores.pixel_accuracy == pytest.approx((labels == predictions).mean(), abs=1e-4)
    assert scores.miou == pytest.approx(np.mean(list(expected.values())), abs=1e-4)
    for number, iou in enumerate(scores.iou.values()):
        assert iou == pytest.approx(expected.get(number), abs=1e-3)


def test_scales_and_flips_change_what_is_predicted(model):
    single, averaged = (count_confusion(model, SHAPES.split("val"), SHAPES.info, inference=i) for i in (Inference(), PAPER))
    assert single.counts_KK.sum() == averaged.counts_KK.sum() == 2 * 321 * 321
    assert (single.counts_KK - averaged.counts_KK).abs().sum() > 0.01 * single.counts_KK.sum()


def test_shares_are_of_the_labels_and_missing_where_there_are_none(model):
    matrix = count_confusion(model, SHAPES.split("val"), SHAPES.info)
    matrix.counts_KK[2] = 0
    shares_KK = matrix.shares_KK()
    assert shares_KK[2].isnan().all()
    torch.testing.assert_close(shares_KK[0], matrix.counts_KK[0] / matrix.counts_KK[0].sum().double())


def test_a_matrix_without_a_pixel_is_no_score(model):
    matrix = count_confusion(model, SHAPES.split("val"), SHAPES.info)
    matrix.counts_KK.zero_()
    with pytest.raises(ValueError, match="shapes: no pixel of the split has a label"):
        Scores.of(matrix, SHAPES.info)


def test_workers_that_share_a_split_count_together_what_one_does(model):
    split = Shapes(num_train=1, num_val=3).split("val")
    whole, *parts = (count_confusion(model, split, SHAPES.info, workers=Alone(*of)) for of in ((0, 1), (0, 2), (1, 2)))
    assert all(part.counts_KK.sum() < whole.counts_KK.sum() for part in parts)
    assert torch.equal(sum(part.counts_KK for part in parts), whole.counts_KK)
