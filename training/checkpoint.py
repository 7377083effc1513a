"""The state of a training that was interrupted: one safetensors file, replaced in one step."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from models.tensor_file import opened_tensors, read_tensors, write_tensors

_NOT_WHOLE = (FileNotFoundError, SafetensorError, KeyError, TypeError, ValueError)


def save_checkpoint(
    path: Path, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], metadata: Mapping[str, Any]
) -> None:
    """Write model, optimisers and JSON ``metadata``; a kill leaves the old checkpoint or the new one.

    Raises:
        OSError: the disk is full or cannot be written.
    """
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for number, optimizer in enumerate(optimizers):
        for index, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{index}.{name}": torch.as_tensor(value) for name, value in state.items()}
    write_tensors(path, tensors, {"json": json.dumps(metadata)})


def read_metadata(path: Path) -> dict[str, Any] | None:
    """The metadata of a checkpoint; None where there is none whose header is whole."""
    try:
        with opened_tensors(path) as file:
            return dict(json.loads(file.metadata()["json"]))
    except _NOT_WHOLE:
        return None


def scores_in(path: Path) -> int:
    """How many scores a checkpoint tells again, of a proxy trial or of a full training; 0 of one whose header is not whole."""
    metadata = read_metadata(path) or {}
    return len(metadata.get("scores", metadata.get("validations", ())))


def load_checkpoint(path: Path, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, Any] | None:
    """Restore what ``save_checkpoint`` wrote and return its metadata; None where there is no whole checkpoint.

    The model lies in memory as it is going to be trained: what the optimisers keep is laid out likewise.
    """
    try:
        tensors, header = read_tensors(path)
        metadata: dict[str, Any] = json.loads(header["json"])
    except _NOT_WHOLE:
        return None
    model.load_state_dict({name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")})
    states: list[dict[int, dict[str, Any]]] = [{} for _ in optimizers]
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, number, index, key = name.split(".", 3)
            states[int(number)].setdefault(int(index), {})[key] = value
    for optimizer, state in zip(optimizers, states, strict=True):
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
        _lay_out(optimizer)
    return metadata


def _lay_out(optimizer: torch.optim.Optimizer) -> None:
    """Give what is kept of a parameter the parameter's layout, which no file has: a fused optimiser reads both by one index."""
    for parameter, kept in optimizer.state.items():
        for name, value in kept.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                kept[name] = torch.empty_like(parameter, dtype=value.dtype, device=value.device).copy_(value)
