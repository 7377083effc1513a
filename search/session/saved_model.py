"""The model that a command is told of."""

from pathlib import Path

from models.segmenter import Segmenter
from training.device import given_device


def load_model(checkpoint: Path, output_stride: int | None = None) -> Segmenter:
    """The model in a folder, ready to predict, on a GPU where there is one.

    Raises:
        ModelFileError: there is none, or it is damaged.
        BackboneError: its backbone has no such output stride.
    """
    model = Segmenter.from_pretrained(checkpoint, output_stride)
    return model.eval().to(given_device())
