"""The model that a command is told of."""

from pathlib import Path

import torch

from models.segmenter import Segmenter


def load_model(checkpoint: Path) -> Segmenter:
    """The model in a folder, ready to predict, on a GPU where there is one.

    Raises:
        ModelFileError: there is none, or it is damaged.
    """
    model = Segmenter.from_pretrained(checkpoint)
    return model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
