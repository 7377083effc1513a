"""The model that a command is told of."""

from pathlib import Path

from models.segmenter import Segmenter
from training.device import given_device


def load_model(checkpoint: Path) -> Segmenter:
    """The model in a folder, ready to predict, on a GPU where there is one.

    Raises:
        ModelFileError: there is none, or it is damaged.
    """
    model = Segmenter.from_pretrained(checkpoint)
    return model.eval().to(given_device())
