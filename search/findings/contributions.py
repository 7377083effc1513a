"""How strongly a trained cell reads each of its branches (Chen et al. 2018, figure 5b)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from data.system.errors import UserError
from models.spec import PUBLISHED_OPERATORS, CellSpec, Operator

PROJECTION = "cell.project.1.weight"
"""The 1x1 convolution behind the concat, as a saved ``Segmenter`` names it."""


@dataclass(frozen=True, slots=True)
class Contributions:
    """The mean absolute weight with which a trained cell's projection reads each branch."""

    cell: CellSpec
    by_branch: Sequence[float]


def branch_contributions(projection_OI: npt.ArrayLike, num_branches: int) -> list[float]:
    """The mean absolute weight of each branch's slice of a projection.

    Args:
        projection_OI: the weight of ``DensePredictionCell.project[1]``, with or without its two axes of size 1. Its inputs
            are the branches' channels, branch by branch.

    Raises:
        ValueError: the inputs cannot be shared out among so many branches.
    """
    weights = np.asarray(projection_OI, dtype=float)
    inputs = weights.shape[1] if weights.ndim in (2, 4) else 0
    if inputs == 0 or inputs % num_branches or weights.size != weights.shape[0] * inputs:
        raise ValueError(
            f"projection must be (filters, {num_branches} x filters) or (filters, {num_branches} x filters, 1, 1), "
            f"got {weights.shape}."
        )
    return [float(value) for value in np.abs(weights).reshape(len(weights), num_branches, -1).mean(axis=(0, 2))]


def model_contributions(path: Path, operators: tuple[type[Operator], ...] = PUBLISHED_OPERATORS) -> Contributions:
    """Those of a saved model, read without building it.

    Args:
        path: the ``model.safetensors`` that ``Segmenter.save_pretrained`` wrote.

    Raises:
        ValueError: it is none, or damaged; the message names the file.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            cell = CellSpec.from_json(json.loads((file.metadata() or {})["config"])["cell"], operators)
            return Contributions(cell, branch_contributions(file.get_tensor(PROJECTION), len(cell)))
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not a model of dpc-search, or damaged ({error}).") from error
