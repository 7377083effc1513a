"""What a person sees of a model in training: one image, now and then."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from data.datasets.shapes import Shapes
from search.session import glimpses
from search.session.glimpses import Glimpses
from search.views.figures.prediction import IGNORED, draw_prediction
from training.end_to_end import Validation
from training.evaluation import Scores

PALETTE = ((0, 0, 0), (255, 0, 0))


def validation(iteration, model="a model"):
    return Validation(iteration, 0.1, Scores(0.5, 0.6, {}), 1.0, is_best=False, model=model)


@pytest.fixture
def clock(monkeypatch):
    """A prediction takes two seconds of a clock that stands still otherwise."""
    now_s = [0.0]

    def predict(model, image_HWC, inference):
        now_s[0] += 2.0
        return torch.zeros(image_HWC.shape[:2], dtype=torch.uint8)

    monkeypatch.setattr(glimpses, "time", SimpleNamespace(monotonic=lambda: now_s[0]))
    monkeypatch.setattr(glimpses, "predict_labels", predict)
    return now_s


def test_pictures_take_a_hundredth_of_the_time_and_the_last_is_of_the_end(clock):
    kept = []
    look = Glimpses(Shapes(num_train=2, num_val=1), "val", 320, lambda picture, iteration: kept.append(iteration))
    look(validation(10, model=None))
    for iteration in range(20, 330, 10):
        look(validation(iteration))
        clock[0] += 19.0
    assert kept == [20, 130, 240, 320]


def test_the_image_is_always_the_same_and_stands_beside_its_labels_and_the_prediction(clock):
    kept = []
    data = Shapes(num_train=2, num_val=1)
    look = Glimpses(data, "val", 320, lambda picture, iteration: kept.append(picture))
    look(validation(10))
    clock[0] += 1000.0
    look(validation(20))
    assert kept[0].tobytes() == kept[1].tobytes()
    height_px, width_px = data.split("val")[0].labels_HW.shape
    assert kept[0].size == (3 * width_px + 2 * 8, height_px)


def test_pixels_that_do_not_count_are_grey_and_a_large_image_is_made_smaller():
    labels_HW = np.zeros((2, 4), np.uint8)
    labels_HW[0, 0], labels_HW[1, 3] = 255, 1
    picture = draw_prediction(np.full((2, 4, 3), 9, np.uint8), labels_HW, labels_HW * 0, PALETTE, 255)
    parts = np.asarray(picture)
    assert parts[0, 0].tolist() == [9, 9, 9]
    assert parts[0, 12].tolist() == list(IGNORED)
    assert parts[1, 15].tolist() == [255, 0, 0]
    assert parts[1, 27].tolist() == [0, 0, 0]
    large = draw_prediction(*(np.zeros((1000, 2000, *rest), np.uint8) for rest in ((3,), (), ())), PALETTE, 255)
    assert large.size == (3 * 640 + 2 * 8, 320)
