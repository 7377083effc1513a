"""The model that a command is told of."""

import torch

from models.segmenter import Segmenter
from search.config import Config


def load_model(config: Config) -> Segmenter:
    """The model in the folder ``checkpoint``, ready to predict, on a GPU where there is one.

    Raises:
        ModelFileError: there is none, or it is damaged.
    """
    model = Segmenter.from_pretrained(config.value("checkpoint", str))
    return model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
