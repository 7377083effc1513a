"""One image of the validation split, as a model in training sees it: what numbers do not show."""

import time
from collections.abc import Callable

from PIL import Image

from data.datasets.contract import SegmentationDataset
from models.segmenter import Segmenter
from search.views.figures.prediction import draw_prediction
from training.end_to_end import Validation
from training.evaluation import SINGLE_SCALE
from training.prediction import predict_labels

SHARE = 0.01
"""Of a training's time that pictures may take."""


class Glimpses:
    """Draws the split's first image, its labels and the prediction at validations, as often as ``SHARE`` allows.

    Args:
        last: the iteration whose validation is drawn in any case.
        keep: is given a picture and the iteration that it is of.
    """

    def __init__(self, dataset: SegmentationDataset, split: str, last: int, keep: Callable[[Image.Image, int], None]) -> None:
        self._dataset, self._split, self._last, self._keep = dataset, split, last, keep
        self._next_s = 0.0

    def __call__(self, validation: Validation) -> None:
        """Draw one, if it is time to and the model is here: a resumed training only repeats the scores of what came before."""
        began_s = time.monotonic()
        is_due = began_s >= self._next_s or validation.iteration == self._last
        if validation.model is None or not is_due:
            return
        self._keep(self._picture(validation.model), validation.iteration)
        ended_s = time.monotonic()
        self._next_s = ended_s + (ended_s - began_s) / SHARE

    def _picture(self, model: Segmenter) -> Image.Image:
        sample, info = self._dataset.split(self._split)[0], self._dataset.info
        predicted_HW = predict_labels(model, sample.image_HWC, SINGLE_SCALE).cpu().numpy()
        return draw_prediction(sample.image_HWC, sample.labels_HW, predicted_HW, info.palette, info.ignore_label)
