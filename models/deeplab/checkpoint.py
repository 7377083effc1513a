"""TensorFlow's checkpoints, read without TensorFlow: ``<name>.index``, and the bytes in ``<name>.data-00000-of-00001``.

The index is a table of LevelDB (github.com/google/leveldb, doc/table_format.md) from names to protocol buffers
(tensorflow/core/protobuf/tensor_bundle.proto). Nothing in it is executed.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data.system.errors import UserError
from models.deeplab.crc32c import masked_crc32c

_MAGIC = 0xDB4775248B80FB57
_FOOTER, _TRAILER = 48, 5
_FLOAT = 1
"""TensorFlow's number of float32, of which weights are."""


class CheckpointError(UserError):
    """A checkpoint that is missing, damaged, or of another kind."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a tensor lies."""

    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc: int


class Checkpoint:
    """The float32 tensors of a checkpoint, read one by one.

    Args:
        path: without ``.index``, such as model.ckpt-30000.

    Raises:
        CheckpointError: its index is damaged.
        OSError: there is none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        index = path.with_name(f"{path.name}.index")
        try:
            self.entries, self._shards = _read_index(index.read_bytes())
        except (IndexError, KeyError, ValueError, struct.error) as error:
            raise CheckpointError(f"checkpoint: {index} is damaged, or not an index of TensorFlow's ({error}).") from error

    def tensor(self, name: str) -> npt.NDArray[np.float32]:
        """The values of one.

        Raises:
            CheckpointError: its bytes are missing or damaged.
        """
        entry = self.entries[name]
        file = self._path.with_name(f"{self._path.name}.data-{entry.shard:05}-of-{self._shards:05}")
        if not file.is_file():
            raise CheckpointError(f"checkpoint: no file {file}, which has {name}.")
        with file.open("rb") as opened:
            opened.seek(entry.offset)
            data = opened.read(entry.size)
        if len(data) != 4 * prod(entry.shape) or masked_crc32c(data) != entry.crc:
            raise CheckpointError(f"checkpoint: {file} is damaged: {name} is not what was written.")
        return np.frombuffer(data, "<f4").reshape(entry.shape)


def _read_index(data: bytes) -> tuple[dict[str, Entry], int]:
    """The entries of float32 tensors, and into how many files their bytes are divided."""
    *handles, magic = struct.unpack("<40sQ", data[-_FOOTER:])
    if magic != _MAGIC:
        raise ValueError("it does not end as a table does")
    _, position = _varint(handles[0], 0)
    _, position = _varint(handles[0], position)
    found: dict[bytes, bytes] = {}
    for _, handle in _block(data, *_handle(handles[0], position)):
        found |= dict(_block(data, *_handle(handle, 0)))
    header = dict(_fields(found.pop(b"")))
    if header.get(2, 0) != 0:
        raise ValueError("its numbers are big-endian")
    entries = {name.decode(): entry for name, value in found.items() if (entry := _entry(value)) is not None}
    return entries, header[1]


def _entry(value: bytes) -> Entry | None:
    fields = list(_fields(value))
    given = dict(fields)
    if given.get(1) != _FLOAT or 7 in given:  # slices of a tensor that was divided have names of their own
        return None
    dimensions = [dict(_fields(size)) for field, size in _fields(given.get(2, b"")) if field == 2]
    shape = tuple(dimension.get(1, 0) for dimension in dimensions)
    return Entry(shape, given.get(3, 0), given.get(4, 0), given.get(5, 0), given[6])


def _block(data: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values of a block: a key is said by what it has beyond the one before."""
    block, (compression, crc) = data[offset : offset + size], struct.unpack("<BI", data[offset + size :][:_TRAILER])
    if compression != 0:
        raise ValueError("its blocks are compressed, which TensorFlow's are not")
    if crc != masked_crc32c(block + b"\0"):
        raise ValueError("its checksum does not fit")
    (restarts,) = struct.unpack("<I", block[-4:])
    key, position, end = b"", 0, len(block) - 4 * (restarts + 1)
    while position < end:
        shared, position = _varint(block, position)
        own, position = _varint(block, position)
        length, position = _varint(block, position)
        key = key[:shared] + block[position : position + own]
        yield key, block[position + own : position + own + length]
        position += own + length


def _handle(data: bytes, position: int) -> tuple[int, int]:
    offset, position = _varint(data, position)
    return offset, _varint(data, position)[0]


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """The numbered fields of a protocol buffer: integers, and bytes of all that is longer."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        match tag & 7:
            case 0:
                value, position = _varint(message, position)
                yield tag >> 3, value
            case 2:
                size, position = _varint(message, position)
                yield tag >> 3, message[position : position + size]
                position += size
            case 5:
                yield tag >> 3, struct.unpack("<I", message[position : position + 4])[0]
                position += 4
            case kind:
                raise ValueError(f"a field of kind {kind}")


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """A number in seven bits a byte, and where it ends."""
    number = shift = 0
    while True:
        byte = data[position]
        number |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return number, position
