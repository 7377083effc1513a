"""The model that a command is told of."""

from collections.abc import Iterable
from pathlib import Path

from models.segmenter import Segmenter
from models.spec import Operator
from training.allocator import keep_freed_memory
from training.device import given_device


def load_model(checkpoint: Path, operators: Iterable[type[Operator]], output_stride: int | None = None) -> Segmenter:
    """The model in a folder, whose cell may hold ``operators``, ready to predict, on a GPU where there is one.

    Raises:
        ModelFileError: there is none, it is damaged, or its cell has other operators.
        BackboneError: its backbone has no such output stride.
    """
    keep_freed_memory()
    model = Segmenter.from_pretrained(checkpoint, output_stride, operators)
    return model.eval().to(given_device())
