"""Tensors and a few words about them in one safetensors file, which is there whole or not at all.

A digest of all that it holds stands among the words: a file in which a single bit has changed is damaged.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from data.system.files import whole_file

DIGEST = "digest"


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Make or replace ``path`` in one step.

    Raises:
        OSError: the disk is full or cannot be written.
    """
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with whole_file(path) as partial:
        try:
            save_file(stored, partial, metadata={**metadata, DIGEST: _digest(stored, metadata)})
        except SafetensorError as error:
            raise _of_system(error, path) from error


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a file, and its metadata.

    Raises:
        SafetensorError: the file is damaged, which shows in all but those from before there were digests.
        FileNotFoundError: there is none.
        OSError: it cannot be read; the error names it.
    """
    with opened_tensors(path) as file:
        tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    digest = metadata.pop(DIGEST, None)
    if digest is not None and digest != _digest(tensors, metadata):
        raise SafetensorError("its digest does not fit what it holds")
    return tensors, metadata


@contextmanager
def opened_tensors(path: Path) -> Iterator[Any]:
    """The file, of which the header is read. Errors of the operating system name it, which safetensors leaves out."""
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _of_system(error, path) from error


def _of_system(error: SafetensorError | OSError, path: Path) -> OSError:
    """The operating system's error that safetensors tells in words."""
    if number := re.search(r"\(os error (\d+)\)", str(error)):
        return OSError(int(number[1]), os.strerror(int(number[1])), str(path))
    return OSError(f"{path}: {error}")


def _digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    digest = hashlib.blake2b(json.dumps(dict(metadata), sort_keys=True).encode(), digest_size=16)
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
