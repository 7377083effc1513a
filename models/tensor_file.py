"""Tensors and a few words about them in one safetensors file, which is there whole or not at all."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from data.system.files import whole_file


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Make or replace ``path`` in one step.

    Raises:
        OSError: the disk is full or cannot be written.
    """
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with whole_file(path) as partial:
        try:
            save_file(stored, partial, metadata=dict(metadata))
        except SafetensorError as error:
            raise OSError(f"{path}: {error}") from error


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a file, and its metadata.

    Raises:
        SafetensorError: the file is damaged.
        FileNotFoundError: there is none.
    """
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
